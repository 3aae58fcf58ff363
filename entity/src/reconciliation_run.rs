//! Days whose books were compared.

use sea_orm::entity::prelude::*;

use crate::{Instant, ids::TenantId, kinds::PayoutMethod};

table! {
    /// A day of one processor that was compared.
    "reconciliation_run" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        method: PayoutMethod,
        /// In UTC, as `2026-11-26`.
        #[sea_orm(primary_key, auto_increment = false)]
        day: String,
        /// Transactions of the processor that were looked at.
        transactions: i64,
        /// Differences found, new or known.
        differences: i64,
        finished_at: Instant,
    }
}
