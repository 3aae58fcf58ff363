//! Hourly totals: added to in the transaction of the facts, summed for reports.

use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait, Value};
use tributary_entity::{
    Instant,
    ids::{AffiliateId, CampaignId},
    money::Currency,
};

use super::{
    deltas::{Counters, Delta},
    dialect,
    error::StoreError,
    scope::Tx,
};
use crate::domain::{
    dashboard::{Metric, Top},
    report::{Dimension, ReportRequest, ReportRow, RowKey, Totals},
    tenancy::Ring,
};

const ROLLUPS: Counters = Counters {
    table: "rollup_hourly",
    keys: &["bucket_at", "campaign_id", "affiliate_id", "currency"],
    counters: &["clicks_gross", "clicks_unique", "clicks_invalid", "conversions", "sale_minor", "commission_minor"],
    version: None,
};

/// Which total.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RollupKey {
    pub bucket_at: Instant,
    pub campaign_id: CampaignId,
    pub affiliate_id: AffiliateId,
    pub currency: Currency,
}

/// Adds to the totals.
///
/// # Errors
/// `Constraint::CounterRange` when one would leave its range; nothing is added then.
pub async fn add(tx: &mut Tx, deltas: &BTreeMap<RollupKey, Totals>) -> Result<(), StoreError> {
    let rows: Vec<Delta> = deltas
        .iter()
        .map(|(key, totals)| Delta {
            key: vec![key.bucket_at.into(), key.campaign_id.into(), key.affiliate_id.into(), key.currency.into()],
            amounts: vec![
                totals.clicks_gross,
                totals.clicks_unique,
                totals.clicks_invalid,
                totals.conversions,
                totals.sale_minor,
                totals.commission_minor,
            ],
        })
        .collect();
    ROLLUPS.add(tx, &rows).await?;
    tx.count(deltas.keys().map(|key| (key.campaign_id, key.affiliate_id)));
    Ok(())
}

/// Up to `limit` rows of a report, of what the scope's ring may see; with `top`, the best of each currency. Days are
/// summed by the caller from hours.
///
/// # Errors
/// As the database answers.
pub async fn report(
    tx: &Tx,
    request: &ReportRequest,
    top: Option<Top>,
    limit: usize,
) -> Result<Vec<ReportRow>, StoreError> {
    let mut values: Vec<Value> = vec![tx.scope().tenant_id().into(), request.from.into(), request.until.into()];
    let mut conditions = String::new();
    let mut restrict = |column: &str, ids: Vec<Value>| {
        let first = values.len() + 1;
        let placeholders: Vec<String> = (first..first + ids.len()).map(|n| format!("${n}")).collect();
        values.extend(ids);
        // No id is no row: `IN ()` is not SQL everywhere.
        conditions.push_str(&match placeholders.is_empty() {
            true => " AND 1 = 0".to_owned(),
            false => format!(" AND {column} IN ({})", placeholders.join(", ")),
        });
    };
    if let Some(ids) = &request.campaign_ids {
        restrict("campaign_id", ids.iter().map(|id| (*id).into()).collect());
    }
    if let Some(ids) = &request.affiliate_ids {
        restrict("affiliate_id", ids.iter().map(|id| (*id).into()).collect());
    }
    if let Ring::Affiliate(id) = tx.scope().ring() {
        restrict("affiliate_id", vec![id.into()]);
    }
    let mut columns: Vec<&str> = Vec::new();
    for dimension in &request.group_by {
        let column = match dimension {
            Dimension::Hour | Dimension::Day => "bucket_at",
            Dimension::Campaign => "campaign_id",
            Dimension::Affiliate => "affiliate_id",
        };
        if !columns.contains(&column) {
            columns.push(column);
        }
    }
    let has = |column: &str| columns.contains(&column);
    let (by_time, by_campaign, by_affiliate) = (has("bucket_at"), has("campaign_id"), has("affiliate_id"));
    columns.push("currency");
    let sums: Vec<String> =
        ROLLUPS.counters.iter().map(|column| format!("{} AS {column}", dialect::sum(column))).collect();
    let columns = columns.join(", ");
    let mut sql = format!(
        "SELECT {columns}, {} FROM rollup_hourly \
         WHERE tenant_id = $1 AND bucket_at >= $2 AND bucket_at < $3{conditions} GROUP BY {columns}",
        sums.join(", ")
    );
    if let Some(Top { by, rows }) = top {
        let by = counter(by);
        sql = format!(
            "SELECT * FROM (SELECT sums.*, ROW_NUMBER() OVER (PARTITION BY currency ORDER BY {by} DESC, {columns}) AS place \
             FROM ({sql}) sums) ranked WHERE place <= {rows}"
        );
    }
    sql = format!("{sql} ORDER BY {columns} LIMIT {limit}");
    let rows = tx.connection().query_all_raw(tx.statement(sql, values)).await?;
    rows.iter()
        .map(|row| {
            Ok(ReportRow {
                key: RowKey {
                    bucket_at: by_time.then(|| row.try_get("", "bucket_at")).transpose()?,
                    campaign_id: by_campaign.then(|| row.try_get("", "campaign_id")).transpose()?,
                    affiliate_id: by_affiliate.then(|| row.try_get("", "affiliate_id")).transpose()?,
                    currency: row.try_get("", "currency")?,
                },
                totals: Totals {
                    clicks_gross: row.try_get("", "clicks_gross")?,
                    clicks_unique: row.try_get("", "clicks_unique")?,
                    clicks_invalid: row.try_get("", "clicks_invalid")?,
                    conversions: row.try_get("", "conversions")?,
                    sale_minor: row.try_get("", "sale_minor")?,
                    commission_minor: row.try_get("", "commission_minor")?,
                },
            })
        })
        .collect()
}

/// The column that a metric is the sum of.
const fn counter(metric: Metric) -> &'static str {
    match metric {
        Metric::Clicks => "clicks_unique",
        Metric::Conversions => "conversions",
        Metric::SaleAmount => "sale_minor",
        Metric::Commission => "commission_minor",
    }
}
