//! What clicks earned that is not posted yet: one row for each campaign and affiliate, and beside it by which rates.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::{ColumnTrait, Condition, ExprTrait, QueryFilter, QueryOrder, sea_query::Expr};
use tributary_entity::{
    click_accrual, click_rate_accrual, click_rate_version,
    ids::{AffiliateId, CampaignId, ClickRateId},
};

use super::{
    deltas::{Counters, Delta},
    dialect,
    error::StoreError,
    scope::Tx,
};
use crate::domain::click_rate::{Basis, Part};

const ACCRUALS: Counters = Counters {
    table: "click_accrual",
    keys: &["campaign_id", "affiliate_id"],
    counters: &["clicks", "accrued_micros"],
    version: None,
};

const BY_RATE: Counters = Counters {
    table: "click_rate_accrual",
    keys: &["campaign_id", "affiliate_id", "rate_id", "rate_version", "modifier_ppm"],
    counters: &["clicks", "accrued_micros"],
    version: None,
};

/// Whose accrual it is.
pub type Key = (CampaignId, AffiliateId);

/// Adds clicks and what they earned, in millionths of the major unit, by what they earned it.
///
/// # Errors
/// `Constraint::CounterRange` when a sum is past what can be held; nothing is added then.
pub async fn add(tx: &mut Tx, deltas: &BTreeMap<(Key, Basis), (i64, i64)>) -> Result<(), StoreError> {
    let mut sums: BTreeMap<Key, (i64, i64)> = BTreeMap::new();
    let mut by_rate = Vec::with_capacity(deltas.len());
    for ((key, basis), (clicks, micros)) in deltas {
        let (all_clicks, sum) = sums.entry(*key).or_default();
        *all_clicks += clicks;
        *sum = sum.saturating_add(*micros);
        let (rate_id, version) = (basis.rate_id.into(), basis.version.into());
        by_rate.push(Delta {
            key: vec![key.0.into(), key.1.into(), rate_id, version, basis.modifier_ppm.into()],
            amounts: vec![*clicks, *micros],
        });
    }
    let sum = |((campaign_id, affiliate_id), (clicks, micros)): (Key, (i64, i64))| Delta {
        key: vec![campaign_id.into(), affiliate_id.into()],
        amounts: vec![clicks, micros],
    };
    let sums: Vec<Delta> = sums.into_iter().map(sum).collect();
    // First: who holds these holds what is beside them.
    ACCRUALS.add(tx, &sums).await?;
    BY_RATE.add(tx, &by_rate).await
}

/// All accruals of the tenant with at least so much.
///
/// # Errors
/// As the database answers.
pub async fn of_at_least(tx: &Tx, micros: i64) -> Result<Vec<click_accrual::Model>, StoreError> {
    use click_accrual::Column;
    let select = tx.find::<click_accrual::Entity>().filter(Column::AccruedMicros.gte(micros));
    Ok(select.order_by_asc(Column::CampaignId).order_by_asc(Column::AffiliateId).all(tx.connection()).await?)
}

/// The accruals of these pairs that the scope's ring may see.
///
/// # Errors
/// As the database answers.
pub async fn of(tx: &Tx, keys: &[Key]) -> Result<Vec<click_accrual::Model>, StoreError> {
    use click_accrual::Column;
    let wanted = keys.iter().fold(Condition::any(), |wanted, (campaign_id, affiliate_id)| {
        wanted.add(Condition::all().add(Column::CampaignId.eq(*campaign_id)).add(Column::AffiliateId.eq(*affiliate_id)))
    });
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    Ok(tx.visible::<click_accrual::Entity>().filter(wanted).all(tx.connection()).await?)
}

/// Reads an accrual to post it: nobody else can until the transaction ends.
///
/// # Errors
/// As the database answers.
pub async fn lock(tx: &Tx, key: Key) -> Result<Option<click_accrual::Model>, StoreError> {
    use click_accrual::Column;
    let select = tx.find::<click_accrual::Entity>();
    let select = select.filter(Column::CampaignId.eq(key.0)).filter(Column::AffiliateId.eq(key.1));
    Ok(dialect::lock(tx, select).one(tx.connection()).await?)
}

/// Leaves a remainder in a locked accrual: all clicks are posted.
///
/// # Errors
/// As the database answers.
pub async fn settle(tx: &mut Tx, key: Key, remainder_micros: i64) -> Result<(), StoreError> {
    use click_accrual::Column;
    tx.update_many::<click_accrual::Entity>()
        .col_expr(Column::Clicks, Expr::value(0_i64))
        .col_expr(Column::AccruedMicros, Expr::value(remainder_micros))
        .filter(Column::CampaignId.eq(key.0))
        .filter(Column::AffiliateId.eq(key.1))
        .exec(tx.connection())
        .await?;
    tx.update_many::<click_rate_accrual::Entity>()
        .col_expr(click_rate_accrual::Column::PostedClicks, Expr::col(click_rate_accrual::Column::Clicks))
        .filter(click_rate_accrual::Column::CampaignId.eq(key.0))
        .filter(click_rate_accrual::Column::AffiliateId.eq(key.1))
        .exec(tx.connection())
        .await?;
    Ok(())
}

/// By which rates a locked accrual was earned, of what is not posted yet; with the terms.
///
/// # Errors
/// As the database answers.
pub async fn parts(tx: &Tx, key: Key) -> Result<Vec<Part>, StoreError> {
    use click_rate_accrual::Column;
    let select = tx.find::<click_rate_accrual::Entity>();
    let select = select.filter(Column::CampaignId.eq(key.0)).filter(Column::AffiliateId.eq(key.1));
    let select = select.filter(Expr::col(Column::PostedClicks).lt(Expr::col(Column::Clicks)));
    let select =
        select.order_by_asc(Column::RateId).order_by_asc(Column::RateVersion).order_by_asc(Column::ModifierPpm);
    let rows = select.all(tx.connection()).await?;
    let terms = terms(tx, &rows).await?;
    let part = |row: &click_rate_accrual::Model| {
        let terms = terms.get(&(row.rate_id, row.rate_version));
        let terms = terms.ok_or_else(|| StoreError::inconsistent("click_rate_accrual", "of no version of a rate"))?;
        Ok(Part::open(row, terms.clone()))
    };
    rows.iter().map(part).collect()
}

/// The terms that accruals were earned by.
///
/// # Errors
/// As the database answers.
pub(super) async fn terms(
    tx: &Tx,
    rows: &[click_rate_accrual::Model],
) -> Result<BTreeMap<(ClickRateId, i32), click_rate_version::Model>, StoreError> {
    use click_rate_version::Column;
    if rows.is_empty() {
        return Ok(BTreeMap::new());
    }
    let named: BTreeSet<(ClickRateId, i32)> = rows.iter().map(|row| (row.rate_id, row.rate_version)).collect();
    let named = named.into_iter().fold(Condition::any(), |named, (rate_id, version)| {
        named.add(Condition::all().add(Column::RateId.eq(rate_id)).add(Column::Version.eq(version)))
    });
    let rows = tx.find::<click_rate_version::Entity>().filter(named).all(tx.connection()).await?;
    Ok(rows.into_iter().map(|row| ((row.rate_id, row.version), row)).collect())
}
