//! Attribution runs, and what they added to and took from commissions.

use sea_orm::{ConnectionTrait, QueryFilter};
use tributary_entity::{
    attribution_adjustment, attribution_run,
    ids::{AttributionRunId, CampaignId},
};

use super::{
    dialect,
    error::StoreError,
    page,
    scope::{Tx, any_of},
};
use crate::domain::{
    page::{Page, PageRequest},
    reattribution::Adjusted,
};

/// # Errors
/// As the database answers.
pub async fn get(tx: &Tx, id: AttributionRunId) -> Result<Option<attribution_run::Model>, StoreError> {
    Ok(tx.by_id::<attribution_run::Entity>(id).one(tx.connection()).await?)
}

/// # Errors
/// As the database answers.
pub async fn get_many(tx: &Tx, ids: &[AttributionRunId]) -> Result<Vec<attribution_run::Model>, StoreError> {
    let select = tx.find::<attribution_run::Entity>().filter(any_of(attribution_run::Column::Id, ids.iter().copied()));
    Ok(select.all(tx.connection()).await?)
}

/// Reads a run to go on with it: nobody else can until the transaction ends.
///
/// # Errors
/// As the database answers.
pub async fn lock(tx: &Tx, id: AttributionRunId) -> Result<Option<attribution_run::Model>, StoreError> {
    Ok(dialect::lock(tx, tx.by_id::<attribution_run::Entity>(id)).one(tx.connection()).await?)
}

fn filtered(tx: &Tx, campaign_ids: Option<&[CampaignId]>) -> sea_orm::Select<attribution_run::Entity> {
    let select = tx.find::<attribution_run::Entity>();
    match campaign_ids {
        Some(ids) => select.filter(any_of(attribution_run::Column::CampaignId, ids.iter().copied())),
        None => select,
    }
}

/// # Errors
/// As the database answers.
pub async fn list(
    tx: &Tx,
    campaign_ids: Option<&[CampaignId]>,
    request: &PageRequest,
) -> Result<Page<attribution_run::Model>, StoreError> {
    page::page(tx, filtered(tx, campaign_ids), request, None).await
}

/// # Errors
/// As the database answers.
pub async fn count(tx: &Tx, campaign_ids: Option<&[CampaignId]>) -> Result<i64, StoreError> {
    page::count(tx, filtered(tx, campaign_ids)).await
}

/// # Errors
/// As the database answers.
pub async fn insert(tx: &mut Tx, row: attribution_run::Model) -> Result<(), StoreError> {
    tx.insert::<attribution_run::Entity>(row).await
}

/// # Errors
/// `Inconsistent` when there is no such run.
pub async fn update(tx: &mut Tx, row: attribution_run::Model) -> Result<(), StoreError> {
    tx.save::<attribution_run::Entity>(row.id, row).await
}

/// # Errors
/// As the database answers.
pub async fn insert_adjustments(tx: &mut Tx, rows: Vec<attribution_adjustment::Model>) -> Result<(), StoreError> {
    tx.insert_all::<attribution_adjustment::Entity>(rows).await
}

const ADDED: &str = "CASE WHEN amount_minor > 0 THEN amount_minor ELSE 0 END";
const TAKEN: &str = "CASE WHEN amount_minor < 0 THEN -amount_minor ELSE 0 END";

/// The sums of a run by currency.
///
/// # Errors
/// As the database answers.
pub async fn totals(tx: &Tx, id: AttributionRunId) -> Result<Vec<Adjusted>, StoreError> {
    sums(tx, id, "currency", "ORDER BY currency").await
}

/// The sums of a run by affiliate and currency: up to `limit`, those of which the most was added or taken.
///
/// # Errors
/// As the database answers.
pub async fn affiliates(tx: &Tx, id: AttributionRunId, limit: u64) -> Result<Vec<Adjusted>, StoreError> {
    let order = format!("ORDER BY ABS(SUM(amount_minor)) DESC, affiliate_id, currency LIMIT {limit}");
    sums(tx, id, "affiliate_id, currency", &order).await
}

async fn sums(tx: &Tx, id: AttributionRunId, columns: &str, order: &str) -> Result<Vec<Adjusted>, StoreError> {
    let sql = format!(
        "SELECT {columns}, COUNT(DISTINCT conversion_id) AS conversions, {} AS added, {} AS taken \
         FROM attribution_adjustment WHERE tenant_id = $1 AND run_id = $2 GROUP BY {columns} {order}",
        dialect::sum(ADDED),
        dialect::sum(TAKEN),
    );
    let rows = tx.connection().query_all_raw(tx.statement(sql, vec![tx.scope().tenant_id().into(), id.into()])).await?;
    let by_affiliate = columns.starts_with("affiliate_id");
    rows.iter()
        .map(|row| {
            Ok(Adjusted {
                affiliate_id: by_affiliate.then(|| row.try_get("", "affiliate_id")).transpose()?,
                currency: row.try_get("", "currency")?,
                conversions: row.try_get("", "conversions")?,
                added_minor: row.try_get("", "added")?,
                taken_minor: row.try_get("", "taken")?,
            })
        })
        .collect()
}
