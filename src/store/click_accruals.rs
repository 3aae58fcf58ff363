//! What clicks earned that is not posted yet: one row for each campaign and affiliate.

use std::collections::BTreeMap;

use sea_orm::{ColumnTrait, Condition, QueryFilter, QueryOrder, sea_query::Expr};
use tributary_entity::{
    click_accrual,
    ids::{AffiliateId, CampaignId},
};

use super::{
    deltas::{Counters, Delta},
    dialect,
    error::StoreError,
    scope::Tx,
};

const ACCRUALS: Counters = Counters {
    table: "click_accrual",
    keys: &["campaign_id", "affiliate_id"],
    counters: &["clicks", "accrued_micros"],
    version: None,
};

/// Whose accrual it is.
pub type Key = (CampaignId, AffiliateId);

/// Adds clicks and what they earned, in millionths of the major unit.
///
/// # Errors
/// `Constraint::CounterRange` when a sum is past what can be held; nothing is added then.
pub async fn add(tx: &mut Tx, deltas: &BTreeMap<Key, (i64, i64)>) -> Result<(), StoreError> {
    let deltas: Vec<Delta> = deltas
        .iter()
        .map(|((campaign_id, affiliate_id), (clicks, micros))| Delta {
            key: vec![(*campaign_id).into(), (*affiliate_id).into()],
            amounts: vec![*clicks, *micros],
        })
        .collect();
    ACCRUALS.add(tx, &deltas).await
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

/// Leaves a remainder in a locked accrual.
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
    Ok(())
}
