//! Differences between the books, and the days that were compared.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::{ColumnTrait, QueryFilter, QueryOrder, QuerySelect, Select};
use tributary_entity::{
    Instant, account,
    ids::{PayoutId, ReconciliationItemId},
    kinds::{PayoutMethod, PayoutStatus, ReconciliationStatus},
    payout,
    reconciliation_item::{self, Column},
    reconciliation_run,
};

use super::{
    dialect,
    error::StoreError,
    page,
    scope::{Tx, any_of},
};
use crate::domain::{
    ledger::Code,
    page::{Page, PageRequest},
};

fn filtered(tx: &Tx, status: Option<ReconciliationStatus>) -> Select<reconciliation_item::Entity> {
    let select = tx.find::<reconciliation_item::Entity>();
    match status {
        Some(status) => select.filter(Column::Status.eq(status)),
        None => select,
    }
}

/// # Errors
/// As the database answers.
pub async fn list(
    tx: &Tx,
    status: Option<ReconciliationStatus>,
    request: &PageRequest,
) -> Result<Page<reconciliation_item::Model>, StoreError> {
    page::page(tx, filtered(tx, status), request, None).await
}

/// # Errors
/// As the database answers.
pub async fn count(tx: &Tx, status: Option<ReconciliationStatus>) -> Result<i64, StoreError> {
    page::count(tx, filtered(tx, status)).await
}

/// Reads one to change it: nobody else can until the transaction ends.
///
/// # Errors
/// As the database answers.
pub async fn lock(tx: &Tx, id: ReconciliationItemId) -> Result<Option<reconciliation_item::Model>, StoreError> {
    Ok(dialect::lock(tx, tx.by_id::<reconciliation_item::Entity>(id)).one(tx.connection()).await?)
}

/// # Errors
/// As the database answers.
pub async fn update(tx: &mut Tx, row: reconciliation_item::Model) -> Result<(), StoreError> {
    tx.save::<reconciliation_item::Entity>(row.id, row).await
}

/// Inserts a difference. False when it was found before.
///
/// # Errors
/// As the database answers.
pub async fn insert(tx: &mut Tx, row: reconciliation_item::Model) -> Result<bool, StoreError> {
    let key = [Column::TenantId, Column::Method, Column::Kind, Column::Subject];
    Ok(tx.insert_ignoring::<reconciliation_item::Entity>(vec![row], Some(&key)).await? == 1)
}

/// The days of a method that were compared, from one on.
///
/// # Errors
/// As the database answers.
pub async fn days(tx: &Tx, method: PayoutMethod, from: &str) -> Result<BTreeSet<String>, StoreError> {
    let select = tx
        .find::<reconciliation_run::Entity>()
        .select_only()
        .column(reconciliation_run::Column::Day)
        .filter(reconciliation_run::Column::Method.eq(method))
        .filter(reconciliation_run::Column::Day.gte(from));
    Ok(select.into_tuple::<String>().all(tx.connection()).await?.into_iter().collect())
}

/// Notes that a day was compared. False when it was noted before.
///
/// # Errors
/// As the database answers.
pub async fn finish(tx: &mut Tx, row: reconciliation_run::Model) -> Result<bool, StoreError> {
    use reconciliation_run::Column;
    let key = [Column::TenantId, Column::Method, Column::Day];
    Ok(tx.insert_ignoring::<reconciliation_run::Entity>(vec![row], Some(&key)).await? == 1)
}

/// Payouts of a method that were paid in a period, those that came back since included; the next `limit` behind one.
///
/// # Errors
/// As the database answers.
pub async fn paid(
    tx: &Tx,
    method: PayoutMethod,
    (from, to): (Instant, Instant),
    after: Option<PayoutId>,
    limit: u64,
) -> Result<Vec<payout::Model>, StoreError> {
    let mut select = tx
        .find::<payout::Entity>()
        .filter(payout::Column::Method.eq(method))
        .filter(payout::Column::PaidAt.gte(from))
        .filter(payout::Column::PaidAt.lt(to));
    if let Some(after) = after {
        select = select.filter(payout::Column::Id.gt(after));
    }
    Ok(select.order_by_asc(payout::Column::Id).limit(limit).all(tx.connection()).await?)
}

/// Payouts of a method that were submitted in a period and are in one of these states; the next `limit` behind one.
///
/// # Errors
/// As the database answers.
pub async fn under_way(
    tx: &Tx,
    method: PayoutMethod,
    statuses: &[PayoutStatus],
    (from, to): (Instant, Instant),
    after: Option<PayoutId>,
    limit: u64,
) -> Result<Vec<payout::Model>, StoreError> {
    let mut select = tx
        .find::<payout::Entity>()
        .filter(payout::Column::Method.eq(method))
        .filter(any_of(payout::Column::Status, statuses.iter().copied()))
        .filter(payout::Column::SubmittedAt.gte(from))
        .filter(payout::Column::SubmittedAt.lt(to));
    if let Some(after) = after {
        select = select.filter(payout::Column::Id.gt(after));
    }
    Ok(select.order_by_asc(payout::Column::Id).limit(limit).all(tx.connection()).await?)
}

/// The payouts whose payments a processor calls so.
///
/// # Errors
/// As the database answers.
pub async fn by_references(
    tx: &Tx,
    method: PayoutMethod,
    references: &[String],
) -> Result<Vec<payout::Model>, StoreError> {
    let select = tx
        .find::<payout::Entity>()
        .filter(payout::Column::Method.eq(method))
        .filter(any_of(payout::Column::Reference, references.iter().cloned()));
    Ok(select.all(tx.connection()).await?)
}

/// Since when which methods have had payouts: since their clearing accounts were opened.
///
/// # Errors
/// As the database answers.
pub async fn in_use_since(tx: &Tx) -> Result<BTreeMap<PayoutMethod, Instant>, StoreError> {
    let select = tx.find::<account::Entity>().filter(account::Column::Code.eq(Code::PayoutClearing.number()));
    let mut since = BTreeMap::new();
    for row in select.order_by_desc(account::Column::CreatedAt).all(tx.connection()).await? {
        since.extend(row.processor.map(|method| (method, row.created_at)));
    }
    Ok(since)
}
