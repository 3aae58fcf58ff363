//! Settlements of net revenue, each reckoned again: from its records, the version of the deal that it names, and what the
//! one before it left, as that is kept. So each is held against what is kept by itself, and together they are the whole
//! history.
//!
//! Of the tenant, some settlements are held at a time, and of one of them its customers, as when it was made.

use std::collections::BTreeMap;

use sea_orm::{ColumnTrait, Condition, ExprTrait, QueryFilter, QueryOrder, QuerySelect, sea_query::Expr};
use tributary_entity::{
    ids::{RevenueDealId, RevenueSettlementId},
    revenue_carried, revenue_deal_version, revenue_qualification,
    revenue_settlement::{Column, Entity, Model},
};

use crate::{
    domain::{
        audit::Difference,
        revenue_deal::Terms,
        revenue_replay::{Kept, read_carried},
        revenue_settlement::{Carried, pass, settle},
    },
    store::{
        error::StoreError,
        revenue_records::{self, Part},
        scope::Tx,
    },
};

/// Settlements that are read at once.
const PAGE: u64 = 200;

/// By deal and version; none that cannot be read.
type Versions = BTreeMap<(RevenueDealId, i32), Option<Terms>>;

/// What is kept of settlements and is not what they come to.
///
/// # Errors
/// As the database answers; `Inconsistent` for a settlement that cannot be read.
pub async fn differences(tx: &Tx) -> Result<Vec<Difference>, StoreError> {
    let mut differences = Vec::new();
    let mut before: Option<(Model, Carried)> = None;
    loop {
        let page = after(tx, before.as_ref().map(|(row, _)| row)).await?;
        if page.is_empty() {
            return Ok(differences);
        }
        let versions = versions(tx, &page).await?;
        for row in page {
            let carried = replay(tx, &row, before.as_ref(), &versions, &mut differences).await?;
            before = Some((row, carried));
        }
    }
}

/// Reckons a settlement again. Answers what it left to the next one.
async fn replay(
    tx: &Tx,
    row: &Model,
    before: Option<&(Model, Carried)>,
    versions: &Versions,
    differences: &mut Vec<Difference>,
) -> Result<Carried, StoreError> {
    let kept_carried = carried(tx, row.id).await?;
    let left = read_carried(&kept_carried);
    let Some(terms) = versions.get(&(row.deal_id, row.deal_version)).and_then(Option::as_ref) else {
        let subject = format!("revenue settlement {}", row.id);
        let expected = format!("version {} of {}", row.deal_version, row.deal_id);
        differences.push(Difference::new("REVENUE_RECKONING", subject, expected, "none that can be read"));
        return Ok(left.unwrap_or_default());
    };
    let key = (row.campaign_id, row.affiliate_id);
    let mut carried = Carried::default();
    if let Some((settled, left)) = before.filter(|(before, _)| (before.campaign_id, before.affiliate_id) == key) {
        carried = left.clone();
        pass(&mut carried, terms.periods_between(settled.period_end, row.period_start));
    }
    let customers = match terms.qualified {
        None => Vec::new(),
        Some(cpa) => revenue_records::qualified_in(tx, key, row.period_end, cpa).await?,
    };
    let activities = revenue_records::activities(tx, key, Part::Of(row.id)).await?;
    let again = settle(terms, &activities, &carried, customers.len());
    let qualified = qualified(tx, row.id).await?;
    let kept = Kept { row, carried: &kept_carried, qualified: &qualified };
    differences.extend(kept.differences(again.as_ref(), &customers));
    // What cannot be read was told; the next one is held against what it should be.
    Ok(left.or(again.map(|again| again.carried)).unwrap_or_default())
}

/// The settlements behind one, those of an affiliate in a campaign together and in their order.
async fn after(tx: &Tx, before: Option<&Model>) -> Result<Vec<Model>, StoreError> {
    let mut select = tx.find::<Entity>();
    if let Some(row) = before {
        let key = Expr::tuple([Column::CampaignId, Column::AffiliateId, Column::PeriodEnd].map(Expr::col));
        let bound =
            Expr::tuple([Expr::value(row.campaign_id), Expr::value(row.affiliate_id), Expr::value(row.period_end)]);
        select = select.filter(key.gt(bound));
    }
    for column in [Column::CampaignId, Column::AffiliateId, Column::PeriodEnd] {
        select = select.order_by_asc(column);
    }
    Ok(select.limit(PAGE).all(tx.connection()).await?)
}

/// The terms that settlements name.
async fn versions(tx: &Tx, page: &[Model]) -> Result<Versions, StoreError> {
    use revenue_deal_version::Column;
    let named = page.iter().fold(Condition::any(), |named, row| {
        named.add(Condition::all().add(Column::DealId.eq(row.deal_id)).add(Column::Version.eq(row.deal_version)))
    });
    let rows = tx.find::<revenue_deal_version::Entity>().filter(named).all(tx.connection()).await?;
    Ok(rows.into_iter().map(|row| ((row.deal_id, row.version), serde_json::from_str(&row.terms).ok())).collect())
}

/// JSON of what a settlement left; empty where nothing is there.
async fn carried(tx: &Tx, id: RevenueSettlementId) -> Result<String, StoreError> {
    let select = tx.find::<revenue_carried::Entity>().filter(revenue_carried::Column::SettlementId.eq(id));
    Ok(select.one(tx.connection()).await?.map(|row| row.carried).unwrap_or_default())
}

/// Who qualified in a settlement, by reference.
async fn qualified(tx: &Tx, id: RevenueSettlementId) -> Result<Vec<revenue_qualification::Model>, StoreError> {
    use revenue_qualification::Column;
    let select = tx.find::<revenue_qualification::Entity>().filter(Column::SettlementId.eq(id));
    Ok(select.order_by_asc(Column::CustomerId).all(tx.connection()).await?)
}
