//! Changes of recorded conversions, and what each did to commissions: appended, never changed.

use std::collections::HashSet;

use sea_orm::{ColumnTrait, QueryFilter, QueryOrder, QuerySelect};
use tributary_entity::{
    conversion_change as change, conversion_change_line as line,
    ids::{ConversionChangeId, ConversionId},
};

use super::{
    error::StoreError,
    scope::{Tx, any_of},
};

/// Appends changes with what they did to commissions.
///
/// # Errors
/// As the database answers, also for a second undoing or use of a reference.
pub async fn insert(tx: &mut Tx, changes: Vec<change::Model>, lines: Vec<line::Model>) -> Result<(), StoreError> {
    tx.insert_all::<change::Entity>(changes).await?;
    tx.insert_all::<line::Entity>(lines).await
}

/// Appends what changes that were recorded before did to commissions that came after them.
///
/// # Errors
/// As the database answers.
pub async fn insert_lines(tx: &mut Tx, lines: Vec<line::Model>) -> Result<(), StoreError> {
    tx.insert_all::<line::Entity>(lines).await
}

/// # Errors
/// As the database answers.
pub async fn get(tx: &Tx, id: ConversionChangeId) -> Result<Option<change::Model>, StoreError> {
    Ok(tx.by_id::<change::Entity>(id).one(tx.connection()).await?)
}

/// The change that a caller's reference names.
///
/// # Errors
/// As the database answers.
pub async fn by_reference(
    tx: &Tx,
    conversion_id: ConversionId,
    reference: &str,
) -> Result<Option<change::Model>, StoreError> {
    let select = tx.find::<change::Entity>().filter(change::Column::ConversionId.eq(conversion_id));
    Ok(select.filter(change::Column::Reference.eq(reference)).one(tx.connection()).await?)
}

/// The changes of conversions, in their order.
///
/// # Errors
/// As the database answers.
pub async fn of_conversions(tx: &Tx, ids: &[ConversionId]) -> Result<Vec<change::Model>, StoreError> {
    let select = tx.find::<change::Entity>().filter(any_of(change::Column::ConversionId, ids.iter().copied()));
    Ok(select.order_by_asc(change::Column::Version).all(tx.connection()).await?)
}

/// The newest changes of a conversion, newest first.
///
/// # Errors
/// As the database answers.
pub async fn newest(tx: &Tx, id: ConversionId, limit: u64) -> Result<Vec<change::Model>, StoreError> {
    let select = tx.find::<change::Entity>().filter(change::Column::ConversionId.eq(id));
    Ok(select.order_by_desc(change::Column::Version).limit(limit).all(tx.connection()).await?)
}

/// Which of these changes were undone.
///
/// # Errors
/// As the database answers.
pub async fn undone(tx: &Tx, ids: &[ConversionChangeId]) -> Result<HashSet<ConversionChangeId>, StoreError> {
    let select = tx.find::<change::Entity>().filter(any_of(change::Column::UndoesId, ids.iter().copied()));
    Ok(select.all(tx.connection()).await?.into_iter().filter_map(|row| row.undoes_id).collect())
}

/// What changes did to commissions.
///
/// # Errors
/// As the database answers.
pub async fn lines(tx: &Tx, ids: &[ConversionChangeId]) -> Result<Vec<line::Model>, StoreError> {
    let select = tx.find::<line::Entity>().filter(any_of(line::Column::ChangeId, ids.iter().copied()));
    Ok(select.order_by_asc(line::Column::CommissionId).all(tx.connection()).await?)
}
