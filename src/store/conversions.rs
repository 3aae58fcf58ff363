//! Conversions and their history.

use std::collections::{BTreeSet, HashSet};

use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, ExprTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait, Select,
    Value, sea_query::Expr,
};
use tributary_entity::{
    Instant, click, conversion, conversion_affiliate, conversion_history,
    ids::{AffiliateId, CampaignId, ClickId, ConversionId, GoalId},
    kinds::{ConversionReason, ConversionStatus},
};

use super::{
    arrays, deltas, dialect,
    error::StoreError,
    page,
    scope::{Tx, any_of},
};
use crate::domain::{
    conversion::ConversionFilter,
    page::{Page, PageRequest},
    tenancy::Ring,
};

/// Whose conversions a select is narrowed to: those in whose own row an affiliate stands, and those that credit it besides.
fn credited(tx: &Tx, ids: &[AffiliateId], besides: bool) -> Condition {
    let first = any_of(conversion::Column::AffiliateId, ids.iter().copied());
    if !besides {
        return first;
    }
    let shared = tx
        .find::<conversion_affiliate::Entity>()
        .select_only()
        .column(conversion_affiliate::Column::ConversionId)
        .filter(any_of(conversion_affiliate::Column::AffiliateId, ids.iter().copied()));
    Condition::any().add(first).add(conversion::Column::Id.in_subquery(shared.into_query()))
}

/// Whether any conversion credits one of these affiliates besides another. Where none does, which is usual, lists can go
/// by the index of the affiliate alone.
async fn has_shared(tx: &Tx, ids: &[AffiliateId]) -> Result<bool, StoreError> {
    let select = tx
        .find::<conversion_affiliate::Entity>()
        .filter(any_of(conversion_affiliate::Column::AffiliateId, ids.iter().copied()));
    Ok(select.limit(1).one(tx.connection()).await?.is_some())
}

/// A select over the conversions that the scope's ring may see.
fn visible(tx: &Tx) -> Select<conversion::Entity> {
    match tx.scope().ring() {
        Ring::Tenant => tx.find(),
        Ring::Affiliate(own) => tx.find().filter(credited(tx, &[own], true)),
    }
}

async fn filtered(tx: &Tx, filter: &ConversionFilter) -> Result<Select<conversion::Entity>, StoreError> {
    use conversion::Column;
    let mut condition = Condition::all();
    if let Some(own) = tx.scope().own_affiliate() {
        condition = condition.add(credited(tx, &[own], has_shared(tx, &[own]).await?));
    }
    if let Some(ids) = &filter.campaign_ids {
        condition = condition.add(any_of(Column::CampaignId, ids.iter().copied()));
    }
    if let Some(ids) = &filter.affiliate_ids {
        condition = condition.add(credited(tx, ids, has_shared(tx, ids).await?));
    }
    if let Some(statuses) = &filter.statuses {
        condition = condition.add(any_of(Column::Status, statuses.iter().copied()));
    }
    if let Some(goals) = &filter.goals {
        condition = condition.add(any_of(Column::GoalCode, goals.iter().cloned()));
    }
    if let Some(order_ids) = &filter.order_ids {
        condition = condition.add(any_of(Column::OrderId, order_ids.iter().cloned()));
    }
    if let Some(reasons) = &filter.reasons {
        condition = condition.add(any_of(Column::Reason, reasons.iter().copied()));
    }
    if let Some(customer_ids) = &filter.customer_ids {
        condition = condition.add(any_of(Column::CustomerId, customer_ids.iter().cloned()));
    }
    if let Some(codes) = &filter.coupon_codes {
        condition = condition.add(any_of(Column::CouponCode, codes.iter().cloned()));
    }
    if let Some(from) = filter.occurred_from {
        condition = condition.add(Column::OccurredAt.gte(from));
    }
    if let Some(before) = filter.occurred_before {
        condition = condition.add(Column::OccurredAt.lt(before));
    }
    Ok(tx.find::<conversion::Entity>().filter(condition))
}

/// # Errors
/// As the database answers.
pub async fn get_many(tx: &Tx, ids: &[ConversionId]) -> Result<Vec<conversion::Model>, StoreError> {
    let select = visible(tx).filter(any_of(conversion::Column::Id, ids.iter().copied()));
    Ok(select.all(tx.connection()).await?)
}

/// Which of these conversions credit several affiliates.
///
/// # Errors
/// As the database answers.
pub async fn shared(tx: &Tx, ids: &[ConversionId]) -> Result<HashSet<ConversionId>, StoreError> {
    use conversion_affiliate::Column;
    let select = tx.find::<conversion_affiliate::Entity>().filter(any_of(Column::ConversionId, ids.iter().copied()));
    Ok(select.all(tx.connection()).await?.into_iter().map(|row| row.conversion_id).collect())
}

/// Says whom conversions credit besides the affiliates in their own rows, in place of what was said of them before.
///
/// # Errors
/// As the database answers.
pub async fn share(
    tx: &mut Tx,
    said_before: &[ConversionId],
    rows: Vec<conversion_affiliate::Model>,
) -> Result<(), StoreError> {
    if !said_before.is_empty() {
        let of_these = any_of(conversion_affiliate::Column::ConversionId, said_before.iter().copied());
        tx.delete_many::<conversion_affiliate::Entity>().filter(of_these).exec(tx.connection()).await?;
    }
    tx.insert_later::<conversion_affiliate::Entity>(rows, None)
}

/// Whether any conversion waits for its click.
///
/// # Errors
/// As the database answers.
pub async fn any_awaits(tx: &Tx) -> Result<bool, StoreError> {
    let waiting = tx.find::<conversion::Entity>().filter(conversion::Column::HeldUntil.is_not_null());
    let first = waiting.select_only().column(conversion::Column::Id).limit(1);
    Ok(first.into_tuple::<ConversionId>().one(tx.connection()).await?.is_some())
}

/// The conversions that wait for one of these clicks, oldest first; locked, so that each is decided once.
///
/// # Errors
/// As the database answers.
pub async fn lock_awaiting(tx: &Tx, click_ids: &[ClickId]) -> Result<Vec<conversion::Model>, StoreError> {
    use conversion::Column;
    let mut rows = Vec::new();
    for chunk in click_ids.chunks(1_000) {
        let select = tx
            .find::<conversion::Entity>()
            .filter(Column::HeldUntil.is_not_null())
            .filter(any_of(Column::SentClickId, chunk.iter().copied()));
        rows.extend(dialect::lock_by_id(tx, select).all(tx.connection()).await?);
    }
    rows.sort_unstable_by_key(|row| row.id);
    Ok(rows)
}

/// Up to `limit` conversions that have waited long enough, or whose click is there; locked.
///
/// # Errors
/// As the database answers.
pub async fn lock_resolvable(tx: &Tx, now: Instant, limit: u64) -> Result<Vec<conversion::Model>, StoreError> {
    use conversion::Column;
    let come = tx
        .find::<click::Entity>()
        .select_only()
        .column(click::Column::Id)
        .filter(Expr::col((click::Entity, click::Column::Id)).equals((conversion::Entity, Column::SentClickId)));
    let select = tx
        .find::<conversion::Entity>()
        .filter(Column::HeldUntil.is_not_null())
        .filter(Condition::any().add(Column::HeldUntil.lte(now)).add(Expr::exists(come.into_query())))
        .limit(limit);
    let mut rows = dialect::lock_by_id(tx, select).all(tx.connection()).await?;
    rows.sort_unstable_by_key(|row| row.id);
    Ok(rows)
}

/// Conversions behind an id that wait for an exchange rate, locked, in the order of their ids.
///
/// # Errors
/// As the database answers.
pub async fn lock_unrated(
    tx: &Tx,
    after: Option<ConversionId>,
    limit: u64,
) -> Result<Vec<conversion::Model>, StoreError> {
    use conversion::Column;
    let mut select = tx
        .find::<conversion::Entity>()
        .filter(Column::Status.eq(ConversionStatus::Held))
        .filter(Column::Reason.eq(ConversionReason::FxRateMissing));
    if let Some(after) = after {
        select = select.filter(Column::Id.gt(after));
    }
    Ok(dialect::lock(tx, select.order_by_asc(Column::Id).limit(limit)).all(tx.connection()).await?)
}

/// Which of these conversions stand where they stand because a person took them up again.
///
/// # Errors
/// As the database answers.
pub async fn reopened(tx: &Tx, ids: &[ConversionId]) -> Result<HashSet<ConversionId>, StoreError> {
    use conversion_history::Column;
    let select = tx
        .find::<conversion_history::Entity>()
        .filter(any_of(Column::ConversionId, ids.iter().copied()))
        .filter(Column::FromStatus.eq(ConversionStatus::Rejected));
    Ok(select.all(tx.connection()).await?.into_iter().map(|row| row.conversion_id).collect())
}

/// The conversion with an order id: the one that counts before its refused duplicates, the newest of several.
///
/// # Errors
/// As the database answers.
pub async fn get_by_order(tx: &Tx, order_id: &str) -> Result<Option<conversion::Model>, StoreError> {
    let select = visible(tx).filter(conversion::Column::OrderId.eq(order_id));
    let counted = Expr::cust("CASE WHEN unique_order_id IS NULL THEN 1 ELSE 0 END");
    let select = select.order_by_asc(counted).order_by_desc(conversion::Column::Id);
    Ok(select.limit(1).one(tx.connection()).await?)
}

/// Reads conversions to change them, locked in id order.
///
/// # Errors
/// As the database answers.
pub async fn lock_many(tx: &Tx, ids: &[ConversionId]) -> Result<Vec<conversion::Model>, StoreError> {
    let select = tx.find::<conversion::Entity>().filter(any_of(conversion::Column::Id, ids.iter().copied()));
    Ok(dialect::lock(tx, select.order_by_asc(conversion::Column::Id)).all(tx.connection()).await?)
}

/// # Errors
/// As the database answers.
pub async fn list(
    tx: &Tx,
    filter: &ConversionFilter,
    request: &PageRequest,
) -> Result<Page<conversion::Model>, StoreError> {
    page::page(tx, filtered(tx, filter).await?, request, Some(conversion::Column::OccurredAt)).await
}

/// # Errors
/// As the database answers.
pub async fn count(tx: &Tx, filter: &ConversionFilter) -> Result<i64, StoreError> {
    page::count(tx, filtered(tx, filter).await?).await
}

/// # Errors
/// `Inconsistent` for a row without a value. When it is written, `Constraint::ConversionOrder` or `ConversionClick` when
/// another transaction was first with a natural key.
pub fn insert(tx: &mut Tx, rows: Vec<conversion::Model>) -> Result<(), StoreError> {
    tx.insert_later::<conversion::Entity>(rows, None)
}

/// Overwrites a locked conversion.
///
/// # Errors
/// The constraints of [`insert`]; `Inconsistent` when it vanished.
pub async fn update(tx: &mut Tx, row: conversion::Model) -> Result<(), StoreError> {
    tx.save::<conversion::Entity>(row.id, row).await
}

/// # Errors
/// As [`insert`], without its constraints.
pub fn insert_history(tx: &mut Tx, rows: Vec<conversion_history::Model>) -> Result<(), StoreError> {
    tx.insert_later::<conversion_history::Entity>(rows, None)
}

/// The steps of a conversion's life, oldest first.
///
/// # Errors
/// As the database answers.
pub async fn history(tx: &Tx, id: ConversionId) -> Result<Vec<conversion_history::Model>, StoreError> {
    let select = tx.find::<conversion_history::Entity>().filter(conversion_history::Column::ConversionId.eq(id));
    Ok(select.order_by_asc(conversion_history::Column::Version).limit(100).all(tx.connection()).await?)
}

/// The newest step of a conversion that moved it to another state, before one of its versions.
///
/// # Errors
/// As the database answers.
pub async fn last_move(
    tx: &Tx,
    id: ConversionId,
    before: i32,
) -> Result<Option<conversion_history::Model>, StoreError> {
    use conversion_history::Column;
    let moved = Condition::any()
        .add(Column::FromStatus.is_null())
        .add(Expr::col(Column::FromStatus).not_equals(Column::ToStatus));
    let select = tx.find::<conversion_history::Entity>().filter(Column::ConversionId.eq(id));
    let select = select.filter(Column::Version.lt(before)).filter(moved).order_by_desc(Column::Version);
    Ok(select.limit(1).one(tx.connection()).await?)
}

/// A change of state, the same for many conversions.
pub struct StatusChange {
    pub status: ConversionStatus,
    pub reason: ConversionReason,
    pub approved_at: Option<Instant>,
    pub payable_at: Option<Instant>,
    pub at: Instant,
}

/// Moves locked conversions to a state.
///
/// # Errors
/// `Inconsistent` when one of them vanished.
pub async fn set_status(tx: &mut Tx, ids: &[ConversionId], change: &StatusChange) -> Result<(), StoreError> {
    use conversion::Column;
    let update = tx
        .update_many::<conversion::Entity>()
        .col_expr(Column::Status, Expr::value(change.status))
        .col_expr(Column::Reason, Expr::value(change.reason))
        .col_expr(Column::ApprovedAt, Expr::value(change.approved_at))
        .col_expr(Column::PayableAt, Expr::value(change.payable_at))
        // Whatever it waited for, it waits no longer.
        .col_expr(Column::HeldUntil, Expr::value(None::<Instant>))
        .col_expr(Column::UpdatedAt, Expr::value(change.at))
        .col_expr(Column::Version, Expr::cust("version + 1"))
        .filter(any_of(Column::Id, ids.iter().copied()));
    let changed = update.exec(tx.connection()).await?.rows_affected;
    if changed == ids.len() as u64 {
        Ok(())
    } else {
        Err(StoreError::inconsistent("conversion", format!("{changed} of {} rows changed", ids.len())))
    }
}

/// Adds to the commissions of locked conversions, each a version more.
///
/// # Errors
/// As the database answers.
pub async fn adjust(tx: &mut Tx, changes: &[(ConversionId, i64)], at: Instant) -> Result<(), StoreError> {
    let deltas: Vec<_> = changes.iter().map(|(id, amount)| ((*id).into(), *amount)).collect();
    let set = "commission_minor = commission_minor + delta.amount, version = version + 1, updated_at = $2";
    deltas::add_to_rows(tx, "conversion", set, Some(at.into()), &deltas).await
}

/// Which of these order ids already count, by campaign and goal.
///
/// # Errors
/// As the database answers.
pub async fn orders_taken(tx: &Tx, order_ids: &[String]) -> Result<HashSet<(CampaignId, GoalId, String)>, StoreError> {
    let mut taken = HashSet::new();
    for chunk in order_ids.chunks(1_000) {
        let mut values: Vec<Value> = vec![tx.scope().tenant_id().into()];
        let wanted = chunk.iter().map(|order_id| vec![order_id.clone().into()]);
        let wanted = arrays::relation(tx.backend(), wanted, &mut values)?;
        // That the order has to be the only one of its number is not asked of PostgreSQL: an index has all of those, in
        // another order, and while statistics are missing it would be gone through for each order.
        let condition = "found.tenant_id = $1 AND found.order_id = wanted.order_id";
        let sql = format!(
            "WITH wanted (order_id) AS ({wanted}) SELECT found.campaign_id, found.goal_id, found.unique_order_id \
             FROM wanted {}",
            dialect::join_each(tx.backend(), "conversion", condition)
        );
        for row in tx.connection().query_all_raw(tx.statement(sql, values)).await? {
            if let Some(order_id) = row.try_get_by_index(2)? {
                taken.insert((row.try_get_by_index(0)?, row.try_get_by_index(1)?, order_id));
            }
        }
    }
    Ok(taken)
}

/// Which of these clicks already count for these once-per-click goals.
///
/// # Errors
/// As the database answers.
pub async fn clicks_taken(
    tx: &Tx,
    pairs: &BTreeSet<(GoalId, ClickId)>,
) -> Result<HashSet<(GoalId, ClickId)>, StoreError> {
    let mut taken = HashSet::new();
    for chunk in Vec::from_iter(pairs).chunks(1_000) {
        let mut values: Vec<Value> = vec![tx.scope().tenant_id().into()];
        let wanted = chunk.iter().map(|(goal_id, click_id)| vec![(*goal_id).into(), (*click_id).into()]);
        let wanted = arrays::relation(tx.backend(), wanted, &mut values)?;
        let condition =
            "found.tenant_id = $1 AND found.goal_id = wanted.goal_id AND found.unique_click_id = wanted.click_id";
        let sql = format!(
            "WITH wanted (goal_id, click_id) AS ({wanted}) SELECT found.goal_id, found.unique_click_id FROM wanted {}",
            dialect::join_each(tx.backend(), "conversion", condition)
        );
        for row in tx.connection().query_all_raw(tx.statement(sql, values)).await? {
            taken.insert((row.try_get_by_index(0)?, row.try_get_by_index(1)?));
        }
    }
    Ok(taken)
}
