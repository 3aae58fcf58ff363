//! Commissions.

use sea_orm::{ColumnTrait, QueryFilter, QueryOrder, QuerySelect, Select, sea_query::Expr};
use tributary_entity::{
    Instant, commission,
    ids::{CommissionId, ConversionId},
    kinds::CommissionStatus,
};

use super::{
    deltas, dialect,
    error::StoreError,
    page,
    scope::{Tx, any_of},
};
use crate::domain::{
    commission::CommissionFilter,
    page::{Page, PageRequest},
};

fn filtered(tx: &Tx, filter: &CommissionFilter) -> Select<commission::Entity> {
    use commission::Column;
    let mut select = tx.visible::<commission::Entity>();
    if let Some(ids) = &filter.affiliate_ids {
        select = select.filter(any_of(Column::AffiliateId, ids.iter().copied()));
    }
    if let Some(ids) = &filter.conversion_ids {
        select = select.filter(any_of(Column::ConversionId, ids.iter().copied()));
    }
    if let Some(statuses) = &filter.statuses {
        select = select.filter(any_of(Column::Status, statuses.iter().copied()));
    }
    if let Some(levels) = &filter.levels {
        select = select.filter(any_of(Column::Level, levels.iter().copied()));
    }
    select
}

/// # Errors
/// As the database answers.
pub async fn get_many(tx: &Tx, ids: &[CommissionId]) -> Result<Vec<commission::Model>, StoreError> {
    let select = tx.visible::<commission::Entity>().filter(any_of(commission::Column::Id, ids.iter().copied()));
    Ok(select.all(tx.connection()).await?)
}

/// # Errors
/// As the database answers.
pub async fn list(
    tx: &Tx,
    filter: &CommissionFilter,
    request: &PageRequest,
) -> Result<Page<commission::Model>, StoreError> {
    page::page(tx, filtered(tx, filter), request, None).await
}

/// # Errors
/// As the database answers.
pub async fn count(tx: &Tx, filter: &CommissionFilter) -> Result<i64, StoreError> {
    page::count(tx, filtered(tx, filter)).await
}

/// The commissions of these conversions that the scope's ring may see, oldest first.
///
/// # Errors
/// As the database answers.
pub async fn of_conversions(tx: &Tx, ids: &[ConversionId]) -> Result<Vec<commission::Model>, StoreError> {
    use commission::Column;
    let select = tx.visible::<commission::Entity>().filter(any_of(Column::ConversionId, ids.iter().copied()));
    let mut rows = select.all(tx.connection()).await?;
    rows.sort_unstable_by_key(|row| row.id);
    Ok(rows)
}

/// # Errors
/// `Inconsistent` for a row without a value; the database answers when it is written.
pub fn insert(tx: &mut Tx, rows: Vec<commission::Model>) -> Result<(), StoreError> {
    tx.insert_later::<commission::Entity>(rows, None)
}

/// As [`of_conversions`], of the whole tenant and locked in id order until the transaction ends.
///
/// # Errors
/// As the database answers.
pub async fn lock_of_conversions(tx: &Tx, ids: &[ConversionId]) -> Result<Vec<commission::Model>, StoreError> {
    use commission::Column;
    let select = tx.find::<commission::Entity>().filter(any_of(Column::ConversionId, ids.iter().copied()));
    let mut rows = dialect::lock_by_id(tx, select).all(tx.connection()).await?;
    rows.sort_unstable_by_key(|row| row.id);
    Ok(rows)
}

/// Adds to what runs added to or took from locked commissions.
///
/// # Errors
/// As the database answers.
pub async fn adjust(tx: &mut Tx, deltas: &[(CommissionId, i64)]) -> Result<(), StoreError> {
    let deltas: Vec<_> = deltas.iter().map(|(id, amount)| ((*id).into(), *amount)).collect();
    deltas::add_to_rows(tx, "commission", "adjusted_minor = adjusted_minor + delta.amount", None, &deltas).await
}

/// Adds to what was taken back of locked commissions.
///
/// # Errors
/// As the database answers.
pub async fn reverse(tx: &mut Tx, deltas: &[(CommissionId, i64)]) -> Result<(), StoreError> {
    let deltas: Vec<_> = deltas.iter().map(|(id, amount)| ((*id).into(), *amount)).collect();
    deltas::add_to_rows(tx, "commission", "reversed_minor = reversed_minor + delta.amount", None, &deltas).await
}

/// Keeps what a cap left of a locked commission when it rose.
///
/// # Errors
/// As the database answers.
pub async fn set_clamp(tx: &mut Tx, id: CommissionId, clamp: Option<String>) -> Result<(), StoreError> {
    use commission::Column;
    let update = tx.update_many::<commission::Entity>().col_expr(Column::Clamp, Expr::value(clamp));
    update.filter(Column::Id.eq(id)).exec(tx.connection()).await?;
    Ok(())
}

/// Moves locked commissions to a state.
///
/// # Errors
/// As the database answers.
pub async fn set_status(tx: &mut Tx, ids: &[CommissionId], status: CommissionStatus) -> Result<(), StoreError> {
    use commission::Column;
    let update = tx.update_many::<commission::Entity>().col_expr(Column::Status, Expr::value(status));
    update.filter(any_of(Column::Id, ids.iter().copied())).exec(tx.connection()).await?;
    Ok(())
}

/// Takes away the commissions of conversions that are decided anew: nothing of them was ever posted.
///
/// # Errors
/// As the database answers.
pub async fn delete_rejected(tx: &mut Tx, ids: &[ConversionId]) -> Result<(), StoreError> {
    use commission::Column;
    tx.delete_many::<commission::Entity>()
        .filter(any_of(Column::ConversionId, ids.iter().copied()))
        .filter(Column::Status.eq(CommissionStatus::Rejected))
        .exec(tx.connection())
        .await?;
    Ok(())
}

/// Moves the commissions of these conversions to a state, with the time from which they are payable.
///
/// # Errors
/// As the database answers.
pub async fn set_status_of_conversions(
    tx: &mut Tx,
    ids: &[ConversionId],
    status: CommissionStatus,
    payable_at: Option<Instant>,
) -> Result<(), StoreError> {
    use commission::Column;
    tx.update_many::<commission::Entity>()
        .col_expr(Column::Status, Expr::value(status))
        .col_expr(Column::PayableAt, Expr::value(payable_at))
        .filter(any_of(Column::ConversionId, ids.iter().copied()))
        .exec(tx.connection())
        .await?;
    Ok(())
}

/// Up to `limit` conversions with commissions whose hold is over, with all their commissions that are in hold; locked.
///
/// # Errors
/// As the database answers.
pub async fn lock_due(tx: &Tx, now: Instant, limit: u64) -> Result<Vec<commission::Model>, StoreError> {
    use commission::Column;
    let pending = || tx.find::<commission::Entity>().filter(Column::Status.eq(CommissionStatus::Pending));
    let ids: Vec<ConversionId> = pending()
        .select_only()
        .column(Column::ConversionId)
        .filter(Column::PayableAt.lte(now))
        .order_by_asc(Column::PayableAt)
        .order_by_asc(Column::Id)
        .limit(limit)
        .into_tuple()
        .all(tx.connection())
        .await?;
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let select = pending().filter(any_of(Column::ConversionId, ids));
    let locked = dialect::lock_by_id(tx, select.clone()).all(tx.connection()).await?;
    if locked.is_empty() {
        return Ok(locked);
    }
    // Whoever held the locks before may have given the conversions further commissions: they leave the hold together.
    Ok(dialect::lock_by_id(tx, select).all(tx.connection()).await?)
}

/// Marks locked commissions as released.
///
/// # Errors
/// `Inconsistent` when one of them was not in hold.
pub async fn release(tx: &mut Tx, ids: &[CommissionId], now: Instant) -> Result<(), StoreError> {
    use commission::Column;
    let update = tx
        .update_many::<commission::Entity>()
        .col_expr(Column::Status, Expr::value(CommissionStatus::Available))
        .col_expr(Column::ReleasedAt, Expr::value(now))
        .filter(any_of(Column::Id, ids.iter().copied()))
        .filter(Column::Status.eq(CommissionStatus::Pending));
    let changed = update.exec(tx.connection()).await?.rows_affected;
    if changed == ids.len() as u64 {
        Ok(())
    } else {
        Err(StoreError::inconsistent("commission", format!("{changed} of {} rows released", ids.len())))
    }
}
