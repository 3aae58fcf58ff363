//! Ledger journals, append-only.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{ConversionId, JournalId, TenantId},
    kinds::JournalKind,
};

table! {
    /// A set of entries that balances; its kind and business key are unique, so that a fact posts once.
    "journal" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        id: JournalId,
        kind: JournalKind,
        business_key: String,
        conversion_id: Option<ConversionId>,
        posted_at: Instant,
    }
    id JournalId;
}
