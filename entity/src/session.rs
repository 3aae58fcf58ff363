//! Sessions: log-ins with their rotating refresh token.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{SessionId, TenantId, UserId},
};

table! {
    /// A log-in. Its refresh token changes at each use; an old one that turns up again ends the session.
    "session" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        id: SessionId,
        user_id: UserId,
        /// SHA-256 of the refresh token that is good now.
        token_hash: Vec<u8>,
        /// How often the token was rotated; an older generation that turns up was stolen or replayed.
        generation: i32,
        created_at: Instant,
        rotated_at: Instant,
        expires_at: Instant,
        revoked_at: Option<Instant>,
    }
    id SessionId;
}
