//! API keys. The look-up by hash, before the tenant is known, is in [`super::directory`].

use sea_orm::{ColumnTrait, ExprTrait, QueryFilter, sea_query::Expr};
use tributary_entity::{Instant, api_key, ids::ApiKeyId};

use super::{error::StoreError, page, scope::Tx};
use crate::domain::page::{Page, PageRequest};

/// # Errors
/// As the database answers.
pub async fn get(tx: &Tx, id: ApiKeyId) -> Result<Option<api_key::Model>, StoreError> {
    Ok(tx.by_id::<api_key::Entity>(id).one(tx.connection()).await?)
}

/// # Errors
/// As the database answers.
pub async fn list(tx: &Tx, request: &PageRequest) -> Result<Page<api_key::Model>, StoreError> {
    page::page(tx, tx.find::<api_key::Entity>(), request, None).await
}

/// # Errors
/// As the database answers.
pub async fn count(tx: &Tx) -> Result<i64, StoreError> {
    page::count(tx, tx.find::<api_key::Entity>()).await
}

/// # Errors
/// As the database answers.
pub async fn insert(tx: &mut Tx, row: api_key::Model) -> Result<(), StoreError> {
    tx.insert::<api_key::Entity>(row).await
}

/// Ends a key. False when there is none that has not ended.
///
/// # Errors
/// As the database answers.
pub async fn revoke(tx: &mut Tx, id: ApiKeyId, now: Instant) -> Result<bool, StoreError> {
    let update = tx
        .update_many::<api_key::Entity>()
        .filter(api_key::Column::Id.eq(id))
        .filter(api_key::Column::RevokedAt.is_null())
        .col_expr(api_key::Column::RevokedAt, Expr::value(now));
    Ok(update.exec(tx.connection()).await?.rows_affected == 1)
}

/// Notes that a key is used now, unless a use since `since` is noted: of many that come at once, one writes.
///
/// # Errors
/// As the database answers.
pub async fn note_use(tx: &mut Tx, id: ApiKeyId, since: Instant, now: Instant) -> Result<(), StoreError> {
    let unnoted = api_key::Column::LastUsedAt.is_null().or(api_key::Column::LastUsedAt.lte(since));
    let update = tx
        .update_many::<api_key::Entity>()
        .filter(api_key::Column::Id.eq(id))
        .filter(unnoted)
        .col_expr(api_key::Column::LastUsedAt, Expr::value(now));
    update.exec(tx.connection()).await?;
    Ok(())
}
