//! The blocks that seal the ledger: appended by number, never changed.

use sea_orm::{ColumnTrait, QueryFilter, QueryOrder};
use tributary_entity::ledger_block::{Column, Entity, Model};

use super::{error::StoreError, scope::Tx};

/// The newest block; none while nothing is sealed.
///
/// # Errors
/// As the database answers.
pub async fn last(tx: &Tx) -> Result<Option<Model>, StoreError> {
    Ok(tx.find::<Entity>().order_by_desc(Column::Number).one(tx.connection()).await?)
}

/// A block.
///
/// # Errors
/// As the database answers.
pub async fn get(tx: &Tx, number: i64) -> Result<Option<Model>, StoreError> {
    Ok(tx.find::<Entity>().filter(Column::Number.eq(number)).one(tx.connection()).await?)
}

/// The first block behind a number.
///
/// # Errors
/// As the database answers.
pub async fn after(tx: &Tx, number: i64) -> Result<Option<Model>, StoreError> {
    let select = tx.find::<Entity>().filter(Column::Number.gt(number)).order_by_asc(Column::Number);
    Ok(select.one(tx.connection()).await?)
}

/// Appends a block. False when another node was first with its number.
///
/// # Errors
/// As the database answers.
pub async fn append(tx: &mut Tx, block: Model) -> Result<bool, StoreError> {
    let key = [Column::TenantId, Column::Number];
    Ok(tx.insert_ignoring::<Entity>(vec![block], Some(&key)).await? == 1)
}
