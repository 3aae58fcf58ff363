//! Awards.

use sea_orm::{ColumnTrait, QueryFilter, QueryOrder, QuerySelect, Select, sea_query::Expr};
use tributary_entity::{Instant, award, ids::AwardId, kinds::AwardStatus};

use super::{
    dialect,
    error::StoreError,
    page,
    scope::{Tx, any_of},
};
use crate::domain::{
    award::AwardFilter,
    page::{Page, PageRequest},
};

fn filtered(tx: &Tx, filter: &AwardFilter) -> Select<award::Entity> {
    use award::Column;
    let mut select = tx.visible::<award::Entity>();
    if let Some(ids) = &filter.affiliate_ids {
        select = select.filter(any_of(Column::AffiliateId, ids.iter().copied()));
    }
    if let Some(ids) = &filter.campaign_ids {
        select = select.filter(any_of(Column::CampaignId, ids.iter().copied()));
    }
    if let Some(kinds) = &filter.kinds {
        select = select.filter(any_of(Column::Kind, kinds.iter().copied()));
    }
    if let Some(statuses) = &filter.statuses {
        select = select.filter(any_of(Column::Status, statuses.iter().copied()));
    }
    select
}

/// # Errors
/// As the database answers.
pub async fn get_many(tx: &Tx, ids: &[AwardId]) -> Result<Vec<award::Model>, StoreError> {
    let select = tx.visible::<award::Entity>().filter(any_of(award::Column::Id, ids.iter().copied()));
    Ok(select.all(tx.connection()).await?)
}

/// # Errors
/// As the database answers.
pub async fn list(tx: &Tx, filter: &AwardFilter, request: &PageRequest) -> Result<Page<award::Model>, StoreError> {
    page::page(tx, filtered(tx, filter), request, None).await
}

/// # Errors
/// As the database answers.
pub async fn count(tx: &Tx, filter: &AwardFilter) -> Result<i64, StoreError> {
    page::count(tx, filtered(tx, filter)).await
}

/// # Errors
/// As the database answers.
pub async fn insert(tx: &mut Tx, rows: Vec<award::Model>) -> Result<(), StoreError> {
    tx.insert_all::<award::Entity>(rows).await
}

/// Up to `limit` awards whose hold is over, locked in id order.
///
/// # Errors
/// As the database answers.
pub async fn lock_due(tx: &Tx, now: Instant, limit: u64) -> Result<Vec<award::Model>, StoreError> {
    use award::Column;
    let select = tx.find::<award::Entity>().filter(Column::Status.eq(AwardStatus::Pending));
    let select = select.filter(Column::PayableAt.lte(now)).order_by_asc(Column::Id).limit(limit);
    Ok(dialect::lock(tx, select).all(tx.connection()).await?)
}

/// Marks locked awards as released.
///
/// # Errors
/// `Inconsistent` when one of them was not in hold.
pub async fn release(tx: &mut Tx, ids: &[AwardId], now: Instant) -> Result<(), StoreError> {
    use award::Column;
    let update = tx
        .update_many::<award::Entity>()
        .col_expr(Column::Status, Expr::value(AwardStatus::Available))
        .col_expr(Column::ReleasedAt, Expr::value(now))
        .filter(any_of(Column::Id, ids.iter().copied()))
        .filter(Column::Status.eq(AwardStatus::Pending));
    let changed = update.exec(tx.connection()).await?.rows_affected;
    if changed == ids.len() as u64 {
        Ok(())
    } else {
        Err(StoreError::inconsistent("award", format!("{changed} of {} rows released", ids.len())))
    }
}
