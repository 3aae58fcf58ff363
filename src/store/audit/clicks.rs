//! What clicks earned by each version of a rate, reckoned again.

use sea_orm::{ExprTrait, QueryFilter, QueryOrder, QuerySelect, sea_query::Expr};
use tributary_entity::click_rate_accrual::{Column, Entity, Model};

use crate::{
    domain::{audit::Difference, click_rate::micros_per_click},
    store::{click_accruals, error::StoreError, scope::Tx},
};

/// Accruals that are read at once.
const PAGE: u64 = 500;
const KEY: [Column; 5] =
    [Column::CampaignId, Column::AffiliateId, Column::RateId, Column::RateVersion, Column::ModifierPpm];

/// What was accrued by a version of a rate and is not its clicks at that rate.
///
/// # Errors
/// As the database answers.
pub async fn differences(tx: &Tx) -> Result<Vec<Difference>, StoreError> {
    let mut differences = Vec::new();
    let mut last: Option<Model> = None;
    loop {
        let page = after(tx, last.as_ref()).await?;
        let terms = click_accruals::terms(tx, &page).await?;
        for row in &page {
            let micros = terms.get(&(row.rate_id, row.rate_version)).map(|terms| {
                let each = micros_per_click(terms, row.modifier_ppm);
                i128::from(row.clicks) * i128::from(each)
            });
            if micros == Some(row.accrued_micros.into()) {
                continue;
            }
            let subject = format!(
                "clicks {} {} by version {} of {}",
                row.campaign_id, row.affiliate_id, row.rate_version, row.rate_id
            );
            let expected = micros.map_or_else(|| "a version of a rate".to_owned(), |micros| micros.to_string());
            differences.push(Difference::new("CLICK_RATE_ACCRUAL", subject, expected, row.accrued_micros));
        }
        let Some(row) = page.into_iter().next_back() else { return Ok(differences) };
        last = Some(row);
    }
}

/// The accruals behind one, in the order of their keys.
async fn after(tx: &Tx, last: Option<&Model>) -> Result<Vec<Model>, StoreError> {
    let mut select = tx.find::<Entity>();
    if let Some(row) = last {
        let bound = Expr::tuple([
            Expr::value(row.campaign_id),
            Expr::value(row.affiliate_id),
            Expr::value(row.rate_id),
            Expr::value(row.rate_version),
            Expr::value(row.modifier_ppm),
        ]);
        select = select.filter(Expr::tuple(KEY.map(Expr::col)).gt(bound));
    }
    for column in KEY {
        select = select.order_by_asc(column);
    }
    Ok(select.limit(PAGE).all(tx.connection()).await?)
}
