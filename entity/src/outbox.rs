//! The outbox: work to do after commit, written in the same transaction as its cause.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{OutboxId, TenantId},
    kinds::OutboxKind,
};

table! {
    /// A unit of work. Claimed with a lease, done at least once, deleted when done.
    "outbox" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        id: OutboxId,
        kind: OutboxKind,
        /// Unique per kind: asking twice for the same thing is one row.
        dedup_key: String,
        due_at: Instant,
        attempts: i32,
        leased_until: Option<Instant>,
        created_at: Instant,
    }
    id OutboxId;
}
