//! Clicks: written in batches, never changed.

use std::collections::HashMap;

use sea_orm::{ColumnTrait, ConnectionTrait, QueryFilter, Select, Value};
use tributary_entity::{
    Instant, click,
    ids::{ClickId, LinkId},
};

use super::{
    error::StoreError,
    page,
    scope::{Tx, any_of},
};
use crate::domain::{
    click::ClickFilter,
    page::{Page, PageRequest},
};

fn filtered(tx: &Tx, filter: &ClickFilter) -> Select<click::Entity> {
    use click::Column;
    let mut select = tx.visible::<click::Entity>();
    if let Some(ids) = &filter.campaign_ids {
        select = select.filter(any_of(Column::CampaignId, ids.iter().copied()));
    }
    if let Some(ids) = &filter.affiliate_ids {
        select = select.filter(any_of(Column::AffiliateId, ids.iter().copied()));
    }
    if let Some(ids) = &filter.link_ids {
        select = select.filter(any_of(Column::LinkId, ids.iter().copied()));
    }
    if let Some(from) = filter.occurred_from {
        select = select.filter(Column::OccurredAt.gte(from));
    }
    if let Some(before) = filter.occurred_before {
        select = select.filter(Column::OccurredAt.lt(before));
    }
    match filter.valid {
        Some(true) => select.filter(Column::InvalidReason.is_null()),
        Some(false) => select.filter(Column::InvalidReason.is_not_null()),
        None => select,
    }
}

/// # Errors
/// As the database answers.
pub async fn get_many(tx: &Tx, ids: &[ClickId]) -> Result<Vec<click::Model>, StoreError> {
    let select = tx.visible::<click::Entity>().filter(any_of(click::Column::Id, ids.iter().copied()));
    Ok(select.all(tx.connection()).await?)
}

/// # Errors
/// As the database answers.
pub async fn list(tx: &Tx, filter: &ClickFilter, request: &PageRequest) -> Result<Page<click::Model>, StoreError> {
    page::page(tx, filtered(tx, filter), request, None).await
}

/// # Errors
/// As the database answers.
pub async fn count(tx: &Tx, filter: &ClickFilter) -> Result<i64, StoreError> {
    page::count(tx, filtered(tx, filter)).await
}

/// # Errors
/// As the database answers.
pub async fn insert(tx: &mut Tx, rows: Vec<click::Model>) -> Result<(), StoreError> {
    tx.insert_all::<click::Entity>(rows).await
}

/// When each of these visitors last made a valid click on the link, at or after `since`. Visitors without such a click are left out.
///
/// # Errors
/// As the database answers.
pub async fn last_visits(
    tx: &Tx,
    visitors: &[(LinkId, String)],
    since: Instant,
) -> Result<HashMap<(LinkId, String), Instant>, StoreError> {
    let mut visits = HashMap::new();
    for chunk in visitors.chunks(500) {
        let mut values: Vec<Value> = vec![tx.scope().tenant_id().into(), since.into()];
        let pairs: Vec<String> = chunk
            .iter()
            .map(|(link_id, visitor_id)| {
                values.extend([(*link_id).into(), visitor_id.clone().into()]);
                format!("(${}, ${})", values.len() - 1, values.len())
            })
            .collect();
        let sql = format!(
            "SELECT link_id, visitor_id, MAX(occurred_at) AS last_at FROM click \
             WHERE tenant_id = $1 AND occurred_at >= $2 AND visitor_id IS NOT NULL \
             AND invalid_reason IS NULL AND (link_id, visitor_id) IN (VALUES {}) GROUP BY link_id, visitor_id",
            pairs.join(", ")
        );
        for row in tx.connection().query_all_raw(tx.statement(sql, values)).await? {
            let key = (row.try_get("", "link_id")?, row.try_get("", "visitor_id")?);
            visits.insert(key, row.try_get("", "last_at")?);
        }
    }
    Ok(visits)
}
