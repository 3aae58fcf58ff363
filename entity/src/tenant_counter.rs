//! Per-tenant counters that are bumped inside the transaction that uses the number.

use sea_orm::entity::prelude::*;

use crate::ids::TenantId;

table! {
    /// The counters of events, journals and changes of the programme, apart from `tenant` because every commit writes it.
    "tenant_counter" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        /// The `seq` of the tenant's newest event; 0 before the first.
        event_seq: i64,
        /// The `seq` of the tenant's newest journal; 0 before the first.
        journal_seq: i64,
        /// How often what batches remember of the tenant was changed.
        programme_version: i64,
    }
}
