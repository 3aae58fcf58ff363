//! Differences between our books and those of processors.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{PayoutId, ReconciliationItemId, TenantId},
    kinds::{PayoutMethod, ReconciliationKind, ReconciliationStatus},
    money::Currency,
};

table! {
    /// One difference, until somebody says what it was.
    "reconciliation_item" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        id: ReconciliationItemId,
        method: PayoutMethod,
        kind: ReconciliationKind,
        /// What it is about; the same difference found again is the same item.
        subject: String,
        status: ReconciliationStatus,
        payout_id: Option<PayoutId>,
        /// The processor's name of the transaction.
        external_id: Option<String>,
        currency: Option<Currency>,
        ours_minor: Option<i64>,
        theirs_minor: Option<i64>,
        detail: String,
        found_at: Instant,
        note: Option<String>,
        resolved_by: Option<String>,
        resolved_at: Option<Instant>,
    }
    id ReconciliationItemId;
}
