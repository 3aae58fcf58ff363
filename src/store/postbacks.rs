//! Postback endpoints, and the calls that they refused. The look-up by token, before the tenant is known, is in
//! [`super::directory`].

use sea_orm::{ColumnTrait, QueryFilter, Select};
use tributary_entity::{Instant, ids::PostbackEndpointId, postback_call, postback_endpoint};

use super::{
    dialect,
    error::StoreError,
    page,
    scope::{Tx, any_of},
};
use crate::domain::{
    page::{Page, PageRequest},
    postback::endpoint::CallFilter,
};

/// # Errors
/// As the database answers.
pub async fn get(tx: &Tx, id: PostbackEndpointId) -> Result<Option<postback_endpoint::Model>, StoreError> {
    Ok(tx.by_id::<postback_endpoint::Entity>(id).one(tx.connection()).await?)
}

/// # Errors
/// As the database answers.
pub async fn get_many(tx: &Tx, ids: &[PostbackEndpointId]) -> Result<Vec<postback_endpoint::Model>, StoreError> {
    let select = tx.find::<postback_endpoint::Entity>();
    let select = select.filter(any_of(postback_endpoint::Column::Id, ids.iter().copied()));
    Ok(select.all(tx.connection()).await?)
}

/// Reads an endpoint to change it: nobody else can until the transaction ends.
///
/// # Errors
/// As the database answers.
pub async fn lock(tx: &Tx, id: PostbackEndpointId) -> Result<Option<postback_endpoint::Model>, StoreError> {
    Ok(dialect::lock(tx, tx.by_id::<postback_endpoint::Entity>(id)).one(tx.connection()).await?)
}

/// # Errors
/// As the database answers.
pub async fn list(tx: &Tx, request: &PageRequest) -> Result<Page<postback_endpoint::Model>, StoreError> {
    page::page(tx, tx.find::<postback_endpoint::Entity>(), request, None).await
}

/// # Errors
/// As the database answers.
pub async fn count(tx: &Tx) -> Result<i64, StoreError> {
    page::count(tx, tx.find::<postback_endpoint::Entity>()).await
}

/// # Errors
/// As the database answers.
pub async fn insert(tx: &mut Tx, row: postback_endpoint::Model) -> Result<(), StoreError> {
    tx.insert::<postback_endpoint::Entity>(row).await
}

/// # Errors
/// As the database answers.
pub async fn update(tx: &mut Tx, row: postback_endpoint::Model) -> Result<(), StoreError> {
    tx.save::<postback_endpoint::Entity>(row.id, row).await
}

fn filtered(tx: &Tx, filter: &CallFilter) -> Select<postback_call::Entity> {
    let select = tx.find::<postback_call::Entity>();
    match &filter.endpoint_ids {
        Some(ids) => select.filter(any_of(postback_call::Column::EndpointId, ids.iter().copied())),
        None => select,
    }
}

/// # Errors
/// As the database answers.
pub async fn calls(
    tx: &Tx,
    filter: &CallFilter,
    request: &PageRequest,
) -> Result<Page<postback_call::Model>, StoreError> {
    page::page(tx, filtered(tx, filter), request, None).await
}

/// # Errors
/// As the database answers.
pub async fn count_calls(tx: &Tx, filter: &CallFilter) -> Result<i64, StoreError> {
    page::count(tx, filtered(tx, filter)).await
}

/// # Errors
/// As the database answers.
pub async fn insert_call(tx: &mut Tx, row: postback_call::Model) -> Result<(), StoreError> {
    tx.insert::<postback_call::Entity>(row).await
}

/// Deletes calls that were received before. Answers how many.
///
/// # Errors
/// As the database answers.
pub async fn delete_calls_before(tx: &mut Tx, before: Instant) -> Result<u64, StoreError> {
    let delete = tx.delete_many::<postback_call::Entity>().filter(postback_call::Column::ReceivedAt.lt(before));
    Ok(delete.exec(tx.connection()).await?.rows_affected)
}
