//! What happened to payouts, append-only.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{JournalId, PayoutId, TenantId},
    kinds::PayoutStatus,
};

table! {
    /// One step of one payout's life, with the journal that it posted.
    "payout_history" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        payout_id: PayoutId,
        #[sea_orm(primary_key, auto_increment = false)]
        version: i32,
        /// None for the draft.
        from_status: Option<PayoutStatus>,
        to_status: PayoutStatus,
        reason: Option<String>,
        /// Of the payment, or of its return.
        reference: Option<String>,
        /// None for a step that moves no money.
        journal_id: Option<JournalId>,
        /// Who: a user, key or the system, in `kind:id` form.
        actor: String,
        recorded_at: Instant,
    }
}
