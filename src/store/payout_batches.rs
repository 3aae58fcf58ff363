//! Payout batches, and whom they passed over.

use sea_orm::{ColumnTrait, ConnectionTrait, QueryFilter, QueryOrder, QuerySelect};
use tributary_entity::{
    ids::PayoutBatchId,
    kinds::PayoutBatchStatus,
    money::{Currency, Money},
    payout_batch, payout_skip,
};

use super::{
    dialect,
    error::StoreError,
    page,
    scope::{Tx, any_of},
};
use crate::domain::{
    page::{Page, PageRequest},
    payout::StatusTotal,
};

/// The most passed-over affiliates that one answer tells.
const SKIPS_MAX: u64 = 1_000;

/// # Errors
/// As the database answers.
pub async fn get(tx: &Tx, id: PayoutBatchId) -> Result<Option<payout_batch::Model>, StoreError> {
    Ok(tx.by_id::<payout_batch::Entity>(id).one(tx.connection()).await?)
}

/// # Errors
/// As the database answers.
pub async fn get_many(tx: &Tx, ids: &[PayoutBatchId]) -> Result<Vec<payout_batch::Model>, StoreError> {
    let select = tx.find::<payout_batch::Entity>().filter(any_of(payout_batch::Column::Id, ids.iter().copied()));
    Ok(select.all(tx.connection()).await?)
}

/// Reads a batch to move it: nobody else can until the transaction ends.
///
/// # Errors
/// As the database answers.
pub async fn lock(tx: &Tx, id: PayoutBatchId) -> Result<Option<payout_batch::Model>, StoreError> {
    Ok(dialect::lock(tx, tx.by_id::<payout_batch::Entity>(id)).one(tx.connection()).await?)
}

fn filtered(tx: &Tx, statuses: Option<&[PayoutBatchStatus]>) -> sea_orm::Select<payout_batch::Entity> {
    let select = tx.find::<payout_batch::Entity>();
    match statuses {
        Some(statuses) => select.filter(any_of(payout_batch::Column::Status, statuses.iter().copied())),
        None => select,
    }
}

/// # Errors
/// As the database answers.
pub async fn list(
    tx: &Tx,
    statuses: Option<&[PayoutBatchStatus]>,
    request: &PageRequest,
) -> Result<Page<payout_batch::Model>, StoreError> {
    page::page(tx, filtered(tx, statuses), request, None).await
}

/// # Errors
/// As the database answers.
pub async fn count(tx: &Tx, statuses: Option<&[PayoutBatchStatus]>) -> Result<i64, StoreError> {
    page::count(tx, filtered(tx, statuses)).await
}

/// Whether a schedule's batch of a day is there.
///
/// # Errors
/// As the database answers.
pub async fn is_drafted(
    tx: &Tx,
    currency: Currency,
    schedule: &str,
    due_on: chrono::NaiveDate,
) -> Result<bool, StoreError> {
    let select = tx
        .find::<payout_batch::Entity>()
        .filter(payout_batch::Column::Currency.eq(currency))
        .filter(payout_batch::Column::Schedule.eq(schedule))
        .filter(payout_batch::Column::DueOn.eq(due_on));
    Ok(select.one(tx.connection()).await?.is_some())
}

/// # Errors
/// `Constraint::PayoutDue` when the schedule's batch of the day is there.
pub async fn insert(tx: &mut Tx, row: payout_batch::Model) -> Result<(), StoreError> {
    tx.insert::<payout_batch::Entity>(row).await
}

/// # Errors
/// `Inconsistent` when there is no such batch.
pub async fn update(tx: &mut Tx, row: payout_batch::Model) -> Result<(), StoreError> {
    tx.save::<payout_batch::Entity>(row.id, row).await
}

/// # Errors
/// As the database answers.
pub async fn insert_skips(tx: &mut Tx, rows: Vec<payout_skip::Model>) -> Result<(), StoreError> {
    tx.insert_all::<payout_skip::Entity>(rows).await
}

/// Whom a batch passed over, by affiliate.
///
/// # Errors
/// As the database answers.
pub async fn skips(tx: &Tx, id: PayoutBatchId) -> Result<Vec<payout_skip::Model>, StoreError> {
    let select = tx.visible::<payout_skip::Entity>().filter(payout_skip::Column::BatchId.eq(id));
    Ok(select.order_by_asc(payout_skip::Column::AffiliateId).limit(SKIPS_MAX).all(tx.connection()).await?)
}

/// The payouts of these batches, counted and summed by state.
///
/// # Errors
/// As the database answers.
pub async fn totals(tx: &Tx, ids: &[PayoutBatchId]) -> Result<Vec<StatusTotal>, StoreError> {
    let mut values = vec![tx.scope().tenant_id().into()];
    let named: Vec<String> = ids
        .iter()
        .map(|id| {
            values.push((*id).into());
            format!("${}", values.len())
        })
        .collect();
    if named.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT batch_id, status, currency, COUNT(*) AS payouts, {} AS total FROM payout \
         WHERE tenant_id = $1 AND batch_id IN ({}) GROUP BY batch_id, status, currency",
        dialect::sum("gross_minor"),
        named.join(", ")
    );
    let rows = tx.connection().query_all_raw(tx.statement(sql, values)).await?;
    rows.iter()
        .map(|row| {
            Ok(StatusTotal {
                batch_id: row.try_get("", "batch_id")?,
                status: row.try_get("", "status")?,
                count: row.try_get("", "payouts")?,
                total: Money::new(row.try_get("", "total")?, row.try_get("", "currency")?),
            })
        })
        .collect()
}
