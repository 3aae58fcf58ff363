//! Sessions: log-ins with their rotating refresh token.

use sea_orm::{ColumnTrait, QueryFilter, sea_query::Expr};
use tributary_entity::{
    Instant,
    ids::{SessionId, UserId},
    session,
};

use super::{dialect, error::StoreError, scope::Tx};

/// # Errors
/// As the database answers.
pub async fn insert(tx: &mut Tx, row: session::Model) -> Result<(), StoreError> {
    tx.insert::<session::Entity>(row).await
}

/// Reads a session to rotate it: nobody else can until the transaction ends.
///
/// # Errors
/// As the database answers.
pub async fn lock(tx: &Tx, id: SessionId) -> Result<Option<session::Model>, StoreError> {
    Ok(dialect::lock(tx, tx.by_id::<session::Entity>(id)).one(tx.connection()).await?)
}

/// What a session becomes when its refresh token is used.
pub struct Rotation {
    /// The generation that was presented.
    pub from: i32,
    pub token_hash: [u8; 32],
    pub rotated_at: Instant,
    pub expires_at: Instant,
}

/// Moves a session to its next generation. False when it is no longer in the one that was presented, or revoked: of
/// two that present the same token, one gets through.
///
/// # Errors
/// As the database answers.
pub async fn rotate(tx: &mut Tx, id: SessionId, rotation: Rotation) -> Result<bool, StoreError> {
    let update = tx
        .update_many::<session::Entity>()
        .filter(session::Column::Id.eq(id))
        .filter(session::Column::Generation.eq(rotation.from))
        .filter(session::Column::RevokedAt.is_null())
        .col_expr(session::Column::Generation, Expr::value(rotation.from.saturating_add(1)))
        .col_expr(session::Column::TokenHash, Expr::value(rotation.token_hash.to_vec()))
        .col_expr(session::Column::RotatedAt, Expr::value(rotation.rotated_at))
        .col_expr(session::Column::ExpiresAt, Expr::value(rotation.expires_at));
    Ok(update.exec(tx.connection()).await?.rows_affected == 1)
}

/// Ends a session, if it has not ended.
///
/// # Errors
/// As the database answers.
pub async fn revoke(tx: &mut Tx, id: SessionId, now: Instant) -> Result<(), StoreError> {
    let update = tx
        .update_many::<session::Entity>()
        .filter(session::Column::Id.eq(id))
        .filter(session::Column::RevokedAt.is_null())
        .col_expr(session::Column::RevokedAt, Expr::value(now));
    update.exec(tx.connection()).await?;
    Ok(())
}

/// Ends all sessions of a user.
///
/// # Errors
/// As the database answers.
pub async fn revoke_of_user(tx: &mut Tx, user_id: UserId, now: Instant) -> Result<(), StoreError> {
    let update = tx
        .update_many::<session::Entity>()
        .filter(session::Column::UserId.eq(user_id))
        .filter(session::Column::RevokedAt.is_null())
        .col_expr(session::Column::RevokedAt, Expr::value(now));
    update.exec(tx.connection()).await?;
    Ok(())
}
