//! Invalid clicks by reason: counted in the transaction of the clicks, summed for reports.

use std::collections::BTreeMap;

use sea_orm::{ColumnTrait, QueryFilter, QueryOrder, QuerySelect, sea_query::Expr};
use tributary_entity::{
    Instant, click_invalid_hourly,
    ids::{AffiliateId, CampaignId},
    kinds::ClickInvalidReason,
};

use super::{
    deltas::{Counters, Delta},
    dialect,
    error::StoreError,
    scope::{Tx, any_of},
};
use crate::domain::report::{InvalidClicks, InvalidRequest};

const INVALID: Counters = Counters {
    table: "click_invalid_hourly",
    keys: &["bucket_at", "campaign_id", "affiliate_id", "reason"],
    counters: &["clicks"],
    version: None,
};

/// Which count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InvalidKey {
    pub bucket_at: Instant,
    pub campaign_id: CampaignId,
    pub affiliate_id: AffiliateId,
    pub reason: ClickInvalidReason,
}

/// Adds to the counts.
///
/// # Errors
/// As the database answers.
pub async fn add(tx: &mut Tx, counts: &BTreeMap<InvalidKey, i64>) -> Result<(), StoreError> {
    let deltas: Vec<Delta> = counts
        .iter()
        .map(|(key, clicks)| Delta {
            key: vec![key.bucket_at.into(), key.campaign_id.into(), key.affiliate_id.into(), key.reason.into()],
            amounts: vec![*clicks],
        })
        .collect();
    INVALID.add(tx, &deltas).await
}

/// The invalid clicks of a period by reason, of what the scope's ring may see; in the order of the reasons' names.
///
/// # Errors
/// As the database answers.
pub async fn by_reason(tx: &Tx, request: &InvalidRequest) -> Result<Vec<InvalidClicks>, StoreError> {
    use click_invalid_hourly::Column;
    let mut select = tx
        .visible::<click_invalid_hourly::Entity>()
        .filter(Column::BucketAt.gte(request.from))
        .filter(Column::BucketAt.lt(request.until));
    if let Some(ids) = &request.campaign_ids {
        select = select.filter(any_of(Column::CampaignId, ids.iter().copied()));
    }
    if let Some(ids) = &request.affiliate_ids {
        select = select.filter(any_of(Column::AffiliateId, ids.iter().copied()));
    }
    let sums: Vec<(ClickInvalidReason, i64)> = select
        .select_only()
        .column(Column::Reason)
        .column_as(Expr::cust(dialect::sum("clicks")), "clicks")
        .group_by(Column::Reason)
        .order_by_asc(Column::Reason)
        .into_tuple()
        .all(tx.connection())
        .await?;
    Ok(sums.into_iter().map(|(reason, clicks)| InvalidClicks { reason, clicks }).collect())
}
