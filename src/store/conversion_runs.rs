//! Runs over many conversions, and what each refused.

use sea_orm::{ColumnTrait, QueryFilter, QueryOrder, QuerySelect};
use tributary_entity::{conversion_run as run, conversion_run_refusal as refusal, ids::ConversionRunId};

use super::{
    dialect,
    error::StoreError,
    page,
    scope::{Tx, any_of},
};
use crate::domain::page::{Page, PageRequest};

/// # Errors
/// As the database answers.
pub async fn get(tx: &Tx, id: ConversionRunId) -> Result<Option<run::Model>, StoreError> {
    Ok(tx.by_id::<run::Entity>(id).one(tx.connection()).await?)
}

/// # Errors
/// As the database answers.
pub async fn get_many(tx: &Tx, ids: &[ConversionRunId]) -> Result<Vec<run::Model>, StoreError> {
    let select = tx.find::<run::Entity>().filter(any_of(run::Column::Id, ids.iter().copied()));
    Ok(select.all(tx.connection()).await?)
}

/// Reads a run to go on with it, or to end it: nobody else can until the transaction ends.
///
/// # Errors
/// As the database answers.
pub async fn lock(tx: &Tx, id: ConversionRunId) -> Result<Option<run::Model>, StoreError> {
    Ok(dialect::lock(tx, tx.by_id::<run::Entity>(id)).one(tx.connection()).await?)
}

/// # Errors
/// As the database answers.
pub async fn list(tx: &Tx, request: &PageRequest) -> Result<Page<run::Model>, StoreError> {
    page::page(tx, tx.find::<run::Entity>(), request, None).await
}

/// # Errors
/// As the database answers.
pub async fn count(tx: &Tx) -> Result<i64, StoreError> {
    page::count(tx, tx.find::<run::Entity>()).await
}

/// # Errors
/// As the database answers.
pub async fn insert(tx: &mut Tx, row: run::Model) -> Result<(), StoreError> {
    tx.insert::<run::Entity>(row).await
}

/// # Errors
/// `Inconsistent` when there is no such run.
pub async fn update(tx: &mut Tx, row: run::Model) -> Result<(), StoreError> {
    tx.save::<run::Entity>(row.id, row).await
}

/// # Errors
/// As the database answers.
pub async fn insert_refusals(tx: &mut Tx, rows: Vec<refusal::Model>) -> Result<(), StoreError> {
    tx.insert_all::<refusal::Entity>(rows).await
}

/// The first conversions that a run refused, by their ids.
///
/// # Errors
/// As the database answers.
pub async fn refusals(tx: &Tx, id: ConversionRunId, limit: u64) -> Result<Vec<refusal::Model>, StoreError> {
    let select = tx.find::<refusal::Entity>().filter(refusal::Column::RunId.eq(id));
    Ok(select.order_by_asc(refusal::Column::ConversionId).limit(limit).all(tx.connection()).await?)
}
