//! Payouts and their history.

use std::collections::{BTreeMap, HashSet};

use sea_orm::{ColumnTrait, Condition, QueryFilter, QueryOrder, QuerySelect, Select, sea_query::Expr};
use tributary_entity::{
    Instant,
    ids::{AffiliateId, PayoutBatchId, PayoutId},
    kinds::PayoutStatus,
    money::Currency,
    payout, payout_history,
};

use super::{
    dialect,
    error::StoreError,
    page,
    scope::{Tx, any_of},
};
use crate::domain::{
    page::{Page, PageRequest},
    payout::{OPEN, PayoutFilter},
};

/// Rows of one statement.
const CHUNK: usize = 1_000;

fn filtered(tx: &Tx, filter: &PayoutFilter) -> Select<payout::Entity> {
    use payout::Column;
    let mut condition = Condition::all();
    if let Some(ids) = &filter.affiliate_ids {
        condition = condition.add(any_of(Column::AffiliateId, ids.iter().copied()));
    }
    if let Some(ids) = &filter.batch_ids {
        condition = condition.add(any_of(Column::BatchId, ids.iter().copied()));
    }
    if let Some(currencies) = &filter.currencies {
        condition = condition.add(any_of(Column::Currency, currencies.iter().copied()));
    }
    if let Some(statuses) = &filter.statuses {
        condition = condition.add(any_of(Column::Status, statuses.iter().copied()));
    }
    tx.visible::<payout::Entity>().filter(condition)
}

/// # Errors
/// As the database answers.
pub async fn get_many(tx: &Tx, ids: &[PayoutId]) -> Result<Vec<payout::Model>, StoreError> {
    let select = tx.visible::<payout::Entity>().filter(any_of(payout::Column::Id, ids.iter().copied()));
    Ok(select.all(tx.connection()).await?)
}

/// Reads a payout to move it: nobody else can until the transaction ends.
///
/// # Errors
/// As the database answers.
pub async fn lock(tx: &Tx, id: PayoutId) -> Result<Option<payout::Model>, StoreError> {
    let select = tx.visible::<payout::Entity>().filter(payout::Column::Id.eq(id));
    Ok(dialect::lock(tx, select).one(tx.connection()).await?)
}

/// The next payouts of a batch that are in a state, locked in id order.
///
/// # Errors
/// As the database answers.
pub async fn lock_of_batch(
    tx: &Tx,
    batch_id: PayoutBatchId,
    status: PayoutStatus,
    after: Option<PayoutId>,
    limit: u64,
) -> Result<Vec<payout::Model>, StoreError> {
    let mut select = tx
        .find::<payout::Entity>()
        .filter(payout::Column::BatchId.eq(batch_id))
        .filter(payout::Column::Status.eq(status));
    if let Some(after) = after {
        select = select.filter(payout::Column::Id.gt(after));
    }
    let select = select.order_by_asc(payout::Column::Id).limit(limit);
    Ok(dialect::lock(tx, select).all(tx.connection()).await?)
}

/// # Errors
/// As the database answers.
pub async fn list(tx: &Tx, filter: &PayoutFilter, request: &PageRequest) -> Result<Page<payout::Model>, StoreError> {
    page::page(tx, filtered(tx, filter), request, None).await
}

/// # Errors
/// As the database answers.
pub async fn count(tx: &Tx, filter: &PayoutFilter) -> Result<i64, StoreError> {
    page::count(tx, filtered(tx, filter)).await
}

/// The steps of a payout's life, oldest first.
///
/// # Errors
/// As the database answers.
pub async fn history(tx: &Tx, id: PayoutId) -> Result<Vec<payout_history::Model>, StoreError> {
    let select = tx.find::<payout_history::Entity>().filter(payout_history::Column::PayoutId.eq(id));
    Ok(select.order_by_asc(payout_history::Column::Version).limit(100).all(tx.connection()).await?)
}

/// Whether a payout ever was in a state.
///
/// # Errors
/// As the database answers.
pub async fn has_been(tx: &Tx, id: PayoutId, status: PayoutStatus) -> Result<bool, StoreError> {
    let select = tx
        .find::<payout_history::Entity>()
        .filter(payout_history::Column::PayoutId.eq(id))
        .filter(payout_history::Column::ToStatus.eq(status));
    Ok(select.one(tx.connection()).await?.is_some())
}

/// When an affiliate's last payout in a currency was submitted before an instant.
///
/// # Errors
/// As the database answers.
pub async fn submitted_before(
    tx: &Tx,
    affiliate_id: AffiliateId,
    currency: Currency,
    before: Instant,
) -> Result<Option<Instant>, StoreError> {
    let select = tx
        .visible::<payout::Entity>()
        .filter(payout::Column::AffiliateId.eq(affiliate_id))
        .filter(payout::Column::Currency.eq(currency))
        .filter(payout::Column::SubmittedAt.lt(before))
        .order_by_desc(payout::Column::SubmittedAt);
    Ok(select.one(tx.connection()).await?.and_then(|row| row.submitted_at))
}

/// The open payouts of these affiliates in a currency.
///
/// # Errors
/// As the database answers.
pub async fn open(
    tx: &Tx,
    currency: Currency,
    affiliate_ids: &[AffiliateId],
) -> Result<BTreeMap<AffiliateId, PayoutId>, StoreError> {
    let rows: Vec<(AffiliateId, PayoutId)> = tx
        .find::<payout::Entity>()
        .select_only()
        .columns([payout::Column::AffiliateId, payout::Column::Id])
        .filter(payout::Column::Currency.eq(currency))
        .filter(any_of(payout::Column::Status, OPEN.iter().copied()))
        .filter(any_of(payout::Column::AffiliateId, affiliate_ids.iter().copied()))
        .into_tuple()
        .all(tx.connection())
        .await?;
    Ok(rows.into_iter().collect())
}

/// Inserts one payout.
///
/// # Errors
/// `Constraint::PayoutOpen` while the affiliate has another open one in the currency; `Constraint::PayoutRetry` when the
/// payout that this one repeats was repeated before.
pub async fn insert(tx: &mut Tx, row: payout::Model) -> Result<(), StoreError> {
    tx.insert::<payout::Entity>(row).await
}

/// Inserts payouts, which are sorted by affiliate, and answers those that went in: the others' affiliates have an open
/// payout. Waits for another transaction that is drafting for the same affiliate.
///
/// # Errors
/// As the database answers.
pub async fn insert_unless_open(tx: &mut Tx, rows: Vec<payout::Model>) -> Result<Vec<payout::Model>, StoreError> {
    tx.insert_ignoring::<payout::Entity>(rows.clone(), Some(&[])).await?;
    let ids: Vec<PayoutId> = rows.iter().map(|row| row.id).collect();
    let mut inserted: HashSet<PayoutId> = HashSet::with_capacity(ids.len());
    for chunk in ids.chunks(CHUNK) {
        inserted.extend(get_many(tx, chunk).await?.into_iter().map(|row| row.id));
    }
    Ok(rows.into_iter().filter(|row| inserted.contains(&row.id)).collect())
}

/// What a step sets, apart from the version.
fn state(row: &payout::Model) -> impl PartialEq + use<'_> {
    let instants = (row.approved_at, row.submitted_at, row.paid_at, row.closed_at, row.updated_at);
    (row.status, row.reference.as_deref(), row.reason.as_deref(), instants)
}

/// Writes locked payouts as they are after a step, those that took the same one together.
///
/// # Errors
/// `Inconsistent` when one of them vanished.
pub async fn update_many(tx: &mut Tx, rows: &[payout::Model]) -> Result<(), StoreError> {
    use payout::Column;
    for alike in rows.chunk_by(|a, b| state(a) == state(b)).flat_map(|alike| alike.chunks(CHUNK)) {
        let Some(after) = alike.first() else { continue };
        let update = tx
            .update_many::<payout::Entity>()
            .col_expr(Column::Status, Expr::value(after.status))
            .col_expr(Column::Reference, Expr::value(after.reference.clone()))
            .col_expr(Column::Reason, Expr::value(after.reason.clone()))
            .col_expr(Column::ApprovedAt, Expr::value(after.approved_at))
            .col_expr(Column::SubmittedAt, Expr::value(after.submitted_at))
            .col_expr(Column::PaidAt, Expr::value(after.paid_at))
            .col_expr(Column::ClosedAt, Expr::value(after.closed_at))
            .col_expr(Column::UpdatedAt, Expr::value(after.updated_at))
            .col_expr(Column::Version, Expr::cust("version + 1"))
            .filter(any_of(Column::Id, alike.iter().map(|row| row.id)));
        let changed = update.exec(tx.connection()).await?.rows_affected;
        if changed != alike.len() as u64 {
            return Err(StoreError::inconsistent("payout", format!("{changed} of {} rows changed", alike.len())));
        }
    }
    Ok(())
}

/// # Errors
/// As the database answers.
pub async fn insert_history(tx: &mut Tx, rows: Vec<payout_history::Model>) -> Result<(), StoreError> {
    tx.insert_all::<payout_history::Entity>(rows).await
}
