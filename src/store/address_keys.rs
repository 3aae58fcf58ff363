//! Keys of address hashes.

use chrono::NaiveDate;
use sea_orm::{ColumnTrait, QueryFilter};
use tributary_entity::address_key::{Column, Entity, Model};

use super::{
    error::StoreError,
    scope::{Tx, any_of},
};

/// The keys of these days that there are.
///
/// # Errors
/// As the database answers.
pub async fn get_many(tx: &Tx, days: &[NaiveDate]) -> Result<Vec<(NaiveDate, Vec<u8>)>, StoreError> {
    let select = tx.find::<Entity>().filter(any_of(Column::Day, days.iter().copied()));
    Ok(select.all(tx.connection()).await?.into_iter().map(|row| (row.day, row.key)).collect())
}

/// Keeps keys; a day that has one keeps the one that it has.
///
/// # Errors
/// As the database answers.
pub async fn insert_missing(tx: &mut Tx, keys: Vec<(NaiveDate, Vec<u8>)>) -> Result<(), StoreError> {
    let tenant_id = tx.scope().tenant_id();
    let rows = keys.into_iter().map(|(day, key)| Model { tenant_id, day, key }).collect();
    tx.insert_ignoring::<Entity>(rows, Some(&[Column::TenantId, Column::Day])).await?;
    Ok(())
}

/// Destroys the keys from before a day. Answers how many.
///
/// # Errors
/// As the database answers.
pub async fn delete_before(tx: &mut Tx, day: NaiveDate) -> Result<u64, StoreError> {
    let delete = tx.delete_many::<Entity>().filter(Column::Day.lt(day));
    Ok(delete.exec(tx.connection()).await?.rows_affected)
}
