//! Idempotency keys with the result of the first call.

use sea_orm::entity::prelude::*;

use crate::{Instant, ids::TenantId};

table! {
    /// What a mutation answered to a key. Written in the transaction of its effect.
    "idempotency" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        /// The caller's key behind the name of its ring (`tenant:` or `aff_..:`), so that rings cannot read each other's results.
        #[sea_orm(primary_key, auto_increment = false)]
        key: String,
        /// SHA-256 of the operation and its canonical input.
        input_hash: Vec<u8>,
        /// The object that the first call made or changed.
        result_id: Option<Uuid>,
        created_at: Instant,
    }
}
