//! Conversions and their history.

use std::collections::HashSet;

use sea_orm::{ColumnTrait, Condition, QueryFilter, QueryOrder, QuerySelect, Select, sea_query::Expr};
use tributary_entity::{
    Instant, conversion, conversion_history,
    ids::{CampaignId, ClickId, ConversionId, GoalId},
    kinds::{ConversionReason, ConversionStatus},
};

use super::{
    deltas, dialect,
    error::StoreError,
    page,
    scope::{Tx, any_of},
};
use crate::domain::{
    conversion::ConversionFilter,
    page::{Page, PageRequest},
};

fn filtered(tx: &Tx, filter: &ConversionFilter) -> Select<conversion::Entity> {
    use conversion::Column;
    let mut condition = Condition::all();
    if let Some(ids) = &filter.campaign_ids {
        condition = condition.add(any_of(Column::CampaignId, ids.iter().copied()));
    }
    if let Some(ids) = &filter.affiliate_ids {
        condition = condition.add(any_of(Column::AffiliateId, ids.iter().copied()));
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
    if let Some(from) = filter.occurred_from {
        condition = condition.add(Column::OccurredAt.gte(from));
    }
    if let Some(before) = filter.occurred_before {
        condition = condition.add(Column::OccurredAt.lt(before));
    }
    tx.visible::<conversion::Entity>().filter(condition)
}

/// # Errors
/// As the database answers.
pub async fn get_many(tx: &Tx, ids: &[ConversionId]) -> Result<Vec<conversion::Model>, StoreError> {
    let select = tx.visible::<conversion::Entity>().filter(any_of(conversion::Column::Id, ids.iter().copied()));
    Ok(select.all(tx.connection()).await?)
}

/// The conversion with an order id: the one that counts before its refused duplicates, the newest of several.
///
/// # Errors
/// As the database answers.
pub async fn get_by_order(tx: &Tx, order_id: &str) -> Result<Option<conversion::Model>, StoreError> {
    let select = tx.visible::<conversion::Entity>().filter(conversion::Column::OrderId.eq(order_id));
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
    page::page(tx, filtered(tx, filter), request, Some(conversion::Column::OccurredAt)).await
}

/// # Errors
/// As the database answers.
pub async fn count(tx: &Tx, filter: &ConversionFilter) -> Result<i64, StoreError> {
    page::count(tx, filtered(tx, filter)).await
}

/// # Errors
/// `Constraint::ConversionOrder` or `ConversionClick` when another transaction was first with a natural key.
pub async fn insert(tx: &mut Tx, rows: Vec<conversion::Model>) -> Result<(), StoreError> {
    tx.insert_all::<conversion::Entity>(rows).await
}

/// # Errors
/// As the database answers.
pub async fn insert_history(tx: &mut Tx, rows: Vec<conversion_history::Model>) -> Result<(), StoreError> {
    tx.insert_all::<conversion_history::Entity>(rows).await
}

/// The steps of a conversion's life, oldest first.
///
/// # Errors
/// As the database answers.
pub async fn history(tx: &Tx, id: ConversionId) -> Result<Vec<conversion_history::Model>, StoreError> {
    let select = tx.find::<conversion_history::Entity>().filter(conversion_history::Column::ConversionId.eq(id));
    Ok(select.order_by_asc(conversion_history::Column::Version).limit(100).all(tx.connection()).await?)
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
    use conversion::Column;
    let deltas: Vec<_> = changes.iter().map(|(id, amount)| ((*id).into(), *amount)).collect();
    let set = "commission_minor = commission_minor + delta.amount, version = version + 1";
    deltas::add_to_rows(tx, "conversion", set, &deltas).await?;
    let ids = changes.iter().map(|(id, _)| *id);
    let update = tx.update_many::<conversion::Entity>().col_expr(Column::UpdatedAt, Expr::value(at));
    update.filter(any_of(Column::Id, ids)).exec(tx.connection()).await?;
    Ok(())
}

/// Which of these order ids already count, by campaign and goal.
///
/// # Errors
/// As the database answers.
pub async fn orders_taken(tx: &Tx, order_ids: &[String]) -> Result<HashSet<(CampaignId, GoalId, String)>, StoreError> {
    use conversion::Column;
    let mut taken = HashSet::new();
    for chunk in order_ids.chunks(1_000) {
        let rows: Vec<(CampaignId, GoalId, String)> = tx
            .find::<conversion::Entity>()
            .select_only()
            .columns([Column::CampaignId, Column::GoalId, Column::UniqueOrderId])
            .filter(any_of(Column::OrderId, chunk.iter().cloned()))
            .filter(Column::UniqueOrderId.is_not_null())
            .into_tuple()
            .all(tx.connection())
            .await?;
        taken.extend(rows);
    }
    Ok(taken)
}

/// Which of these clicks already count for a once-per-click goal.
///
/// # Errors
/// As the database answers.
pub async fn clicks_taken(
    tx: &Tx,
    goal_ids: &[GoalId],
    click_ids: &[ClickId],
) -> Result<HashSet<(GoalId, ClickId)>, StoreError> {
    use conversion::Column;
    let mut taken = HashSet::new();
    for chunk in click_ids.chunks(1_000) {
        let rows: Vec<(GoalId, ClickId)> = tx
            .find::<conversion::Entity>()
            .select_only()
            .columns([Column::GoalId, Column::UniqueClickId])
            .filter(any_of(Column::GoalId, goal_ids.iter().copied()))
            .filter(any_of(Column::UniqueClickId, chunk.iter().copied()))
            .into_tuple()
            .all(tx.connection())
            .await?;
        taken.extend(rows);
    }
    Ok(taken)
}
