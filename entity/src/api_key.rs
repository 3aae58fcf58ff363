//! API keys: how programs authenticate.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{ApiKeyId, TenantId},
};

table! {
    /// A key that a tenant's program uses; only the hash of its secret is kept.
    "api_key" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        id: ApiKeyId,
        name: String,
        /// SHA-256 of the whole key; the key has 160 random bits, so a slow hash would add nothing.
        key_hash: Vec<u8>,
        /// The key's last four characters, to tell keys apart in a list.
        hint: String,
        /// Comma-separated [`crate::kinds::ApiKeyScope`]s.
        scopes: String,
        created_at: Instant,
        expires_at: Option<Instant>,
        /// To the minute.
        last_used_at: Option<Instant>,
        revoked_at: Option<Instant>,
    }
    id ApiKeyId;
}
