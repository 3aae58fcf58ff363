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
        /// Whether affiliates' own thresholds go before `minimum_minor`.
        by_terms: bool,
        /// The schedule that it follows; none for one by hand.
        schedule: Option<String>,
        /// The day that was due, in the tenant's time zone.
        due_on: Option<Date>,
        /// Only what was available before is paid; none means all that is.
        earned_before: Option<Instant>,
        /// How far it is worked off in its state: the last affiliate, or the last payout.
        done_to: Option<Uuid>,
        /// Who submitted it, in `kind:id` form.
        submitter: Option<String>,
        /// Who gave it up, in `kind:id` form.
        #[serde(default)]
        canceller: Option<String>,
        #[serde(default)]
        cancelled_at: Option<Instant>,
    }
    id PayoutBatchId;
}
