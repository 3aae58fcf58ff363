//! What payouts are at their processors.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{PayoutId, TenantId},
    kinds::PayoutMethod,
};

table! {
    /// A payout that a processor makes: what was asked of it, and what it calls it.
    "payout_transfer" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        payout_id: PayoutId,
        method: PayoutMethod,
        /// How often the processor was called about it.
        calls: i32,
        /// When it was first asked to pay; none: it never was.
        handed_at: Option<Instant>,
        /// A worker is calling until then.
        busy_until: Option<Instant>,
        /// When it is asked about next, while it is under way.
        next_look_at: Option<Instant>,
        /// What the processor calls it, to look it up by.
        external_id: Option<String>,
        /// The processor's name of the charge that was posted.
        fee_transaction: Option<String>,
        fee_minor: Option<i64>,
        /// What stood in the way of the last call.
        trouble: Option<String>,
        updated_at: Instant,
    }
}
