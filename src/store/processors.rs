//! Accounts at processors, and the calls that come to their addresses. The look-up by token, before the tenant is known,
//! is in [`super::directory`].

use std::collections::BTreeSet;

use sea_orm::{ColumnTrait, QueryFilter, QueryOrder, QuerySelect, sea_query::Expr};
use tributary_entity::{
    Instant,
    ids::ProcessorId,
    kinds::PayoutMethod,
    processor::{self, Column},
    processor_call,
};

use super::{
    dialect,
    error::StoreError,
    page,
    scope::{Tx, any_of},
};
use crate::domain::page::{Page, PageRequest};

/// # Errors
/// As the database answers.
pub async fn get_many(tx: &Tx, ids: &[ProcessorId]) -> Result<Vec<processor::Model>, StoreError> {
    let select = tx.find::<processor::Entity>().filter(any_of(Column::Id, ids.iter().copied()));
    Ok(select.all(tx.connection()).await?)
}

/// Those in use, by method.
///
/// # Errors
/// As the database answers.
pub async fn live(tx: &Tx) -> Result<Vec<processor::Model>, StoreError> {
    let select = tx.find::<processor::Entity>().filter(Column::EndedAt.is_null());
    Ok(select.order_by_asc(Column::Method).all(tx.connection()).await?)
}

/// The methods whose processors are in use.
///
/// # Errors
/// As the database answers.
pub async fn methods(tx: &Tx) -> Result<BTreeSet<PayoutMethod>, StoreError> {
    let select = tx.find::<processor::Entity>().select_only().column(Column::Method).filter(Column::EndedAt.is_null());
    Ok(select.into_tuple().all(tx.connection()).await?.into_iter().collect())
}

/// The one in use at a processor.
///
/// # Errors
/// As the database answers.
pub async fn live_of(tx: &Tx, method: PayoutMethod) -> Result<Option<processor::Model>, StoreError> {
    let select = tx.find::<processor::Entity>().filter(Column::Method.eq(method)).filter(Column::EndedAt.is_null());
    Ok(select.one(tx.connection()).await?)
}

/// The first that was ever in use at a processor.
///
/// # Errors
/// As the database answers.
pub async fn first_of(tx: &Tx, method: PayoutMethod) -> Result<Option<processor::Model>, StoreError> {
    let select = tx.find::<processor::Entity>().filter(Column::Method.eq(method)).order_by_asc(Column::CreatedAt);
    Ok(select.one(tx.connection()).await?)
}

/// The last that was in use at a processor: it may be still.
///
/// # Errors
/// As the database answers.
pub async fn last_of(tx: &Tx, method: PayoutMethod) -> Result<Option<processor::Model>, StoreError> {
    let select = tx.find::<processor::Entity>().filter(Column::Method.eq(method)).order_by_desc(Column::CreatedAt);
    Ok(select.one(tx.connection()).await?)
}

/// As [`live_of`], locked until the transaction ends.
///
/// # Errors
/// As the database answers.
pub async fn lock_live_of(tx: &Tx, method: PayoutMethod) -> Result<Option<processor::Model>, StoreError> {
    let select = tx.find::<processor::Entity>().filter(Column::Method.eq(method)).filter(Column::EndedAt.is_null());
    Ok(dialect::lock(tx, select).one(tx.connection()).await?)
}

/// # Errors
/// `Constraint::ProcessorLive` when another one was set at the same time.
pub async fn insert(tx: &mut Tx, row: processor::Model) -> Result<(), StoreError> {
    tx.insert::<processor::Entity>(row).await
}

/// # Errors
/// As the database answers.
pub async fn update(tx: &mut Tx, row: processor::Model) -> Result<(), StoreError> {
    tx.save::<processor::Entity>(row.id, row).await
}

/// Ends one that is in use. False when it is not.
///
/// # Errors
/// As the database answers.
pub async fn end(tx: &mut Tx, id: ProcessorId, now: Instant) -> Result<bool, StoreError> {
    let update = tx
        .update_many::<processor::Entity>()
        .filter(Column::Id.eq(id))
        .filter(Column::EndedAt.is_null())
        .col_expr(Column::EndedAt, Expr::value(now))
        .col_expr(Column::UpdatedAt, Expr::value(now));
    Ok(update.exec(tx.connection()).await?.rows_affected == 1)
}

/// Whether an event of a processor was told before.
///
/// # Errors
/// As the database answers.
pub async fn knows_event(tx: &Tx, id: ProcessorId, event_id: &str) -> Result<bool, StoreError> {
    let select = tx
        .find::<processor_call::Entity>()
        .filter(processor_call::Column::ProcessorId.eq(id))
        .filter(processor_call::Column::EventId.eq(event_id));
    Ok(select.one(tx.connection()).await?.is_some())
}

/// Lists a call. False when its event was listed before.
///
/// # Errors
/// As the database answers.
pub async fn insert_call(tx: &mut Tx, row: processor_call::Model) -> Result<bool, StoreError> {
    Ok(tx.insert_ignoring::<processor_call::Entity>(vec![row], Some(&[])).await? == 1)
}

/// # Errors
/// As the database answers.
pub async fn calls(tx: &Tx, request: &PageRequest) -> Result<Page<processor_call::Model>, StoreError> {
    page::page(tx, tx.find::<processor_call::Entity>(), request, None).await
}

/// # Errors
/// As the database answers.
pub async fn count_calls(tx: &Tx) -> Result<i64, StoreError> {
    page::count(tx, tx.find::<processor_call::Entity>()).await
}

/// Deletes refused calls that were received before. Events are kept: they are how a doubled one is known. Answers how many.
///
/// # Errors
/// As the database answers.
pub async fn delete_refused_before(tx: &mut Tx, before: Instant) -> Result<u64, StoreError> {
    use processor_call::Column;
    let delete = tx
        .delete_many::<processor_call::Entity>()
        .filter(Column::ReceivedAt.lt(before))
        .filter(Column::EventId.is_null());
    Ok(delete.exec(tx.connection()).await?.rows_affected)
}
