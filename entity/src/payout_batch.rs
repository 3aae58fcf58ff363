//! Payout batches: payments that are drafted, approved and submitted together.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{PayoutBatchId, TenantId},
    kinds::PayoutBatchStatus,
    money::Currency,
};

table! {
    /// Payouts of one currency that are decided on together.
    "payout_batch" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        id: PayoutBatchId,
        status: PayoutBatchStatus,
        currency: Currency,
        /// The least balance that was drafted, inclusive.
        minimum_minor: i64,
        note: Option<String>,
        /// Who drafted it, in `kind:id` form.
        author: String,
        /// Who approved it, in `kind:id` form.
        approver: Option<String>,
        created_at: Instant,
        approved_at: Option<Instant>,
        submitted_at: Option<Instant>,
    }
    id PayoutBatchId;
}
