//! Bonus rules, who reached them, and what they gave.

use sea_orm::{ColumnTrait, ConnectionTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, Select, Value};
use tributary_entity::{
    bonus_grant, bonus_rule,
    ids::{AffiliateId, BonusRuleId, CampaignId},
    kinds::{AffiliateStatus, ConversionStatus, RuleStatus, TierBasis},
};

use super::{
    dialect,
    error::StoreError,
    page,
    scope::{Tx, any_of},
};
use crate::domain::{
    bonus_rule::{BonusRuleFilter, Period},
    page::{Page, PageRequest},
};

fn filtered(tx: &Tx, filter: &BonusRuleFilter) -> Select<bonus_rule::Entity> {
    use bonus_rule::Column;
    let mut select = tx.find::<bonus_rule::Entity>();
    if let Some(ids) = &filter.campaign_ids {
        select = select.filter(any_of(Column::CampaignId, ids.iter().copied()));
    }
    if let Some(statuses) = &filter.statuses {
        select = select.filter(any_of(Column::Status, statuses.iter().copied()));
    }
    select
}

/// # Errors
/// As the database answers.
pub async fn get_many(tx: &Tx, ids: &[BonusRuleId]) -> Result<Vec<bonus_rule::Model>, StoreError> {
    let select = tx.find::<bonus_rule::Entity>().filter(any_of(bonus_rule::Column::Id, ids.iter().copied()));
    Ok(select.all(tx.connection()).await?)
}

/// The rules of campaigns, archived ones too, oldest first.
///
/// # Errors
/// As the database answers.
pub async fn of_campaigns(tx: &Tx, ids: &[CampaignId]) -> Result<Vec<bonus_rule::Model>, StoreError> {
    let select = tx.find::<bonus_rule::Entity>().filter(any_of(bonus_rule::Column::CampaignId, ids.iter().copied()));
    Ok(select.order_by_asc(bonus_rule::Column::Id).all(tx.connection()).await?)
}

/// How many rules a campaign has, or the tenant for all campaigns; archived ones too.
///
/// # Errors
/// As the database answers.
pub async fn count_of(tx: &Tx, campaign_id: Option<CampaignId>) -> Result<u64, StoreError> {
    use bonus_rule::Column;
    let meant = campaign_id.map_or(Column::CampaignId.is_null(), |id| Column::CampaignId.eq(id));
    Ok(tx.find::<bonus_rule::Entity>().filter(meant).count(tx.connection()).await?)
}

/// # Errors
/// As the database answers.
pub async fn list(
    tx: &Tx,
    filter: &BonusRuleFilter,
    request: &PageRequest,
) -> Result<Page<bonus_rule::Model>, StoreError> {
    page::page(tx, filtered(tx, filter), request, None).await
}

/// # Errors
/// As the database answers.
pub async fn count(tx: &Tx, filter: &BonusRuleFilter) -> Result<i64, StoreError> {
    page::count(tx, filtered(tx, filter)).await
}

/// Up to `limit` active rules behind an id, in the order of their ids.
///
/// # Errors
/// As the database answers.
pub async fn active(tx: &Tx, after: Option<BonusRuleId>, limit: u64) -> Result<Vec<bonus_rule::Model>, StoreError> {
    use bonus_rule::Column;
    let mut select = tx.find::<bonus_rule::Entity>().filter(Column::Status.eq(RuleStatus::Active));
    if let Some(id) = after {
        select = select.filter(Column::Id.gt(id));
    }
    Ok(select.order_by_asc(Column::Id).limit(limit).all(tx.connection()).await?)
}

/// Reads a rule to change it, or to give by it: nobody else can until the transaction ends.
///
/// # Errors
/// As the database answers.
pub async fn lock(tx: &Tx, id: BonusRuleId) -> Result<Option<bonus_rule::Model>, StoreError> {
    Ok(dialect::lock(tx, tx.by_id::<bonus_rule::Entity>(id)).one(tx.connection()).await?)
}

/// # Errors
/// As the database answers.
pub async fn insert(tx: &mut Tx, row: bonus_rule::Model) -> Result<(), StoreError> {
    tx.insert::<bonus_rule::Entity>(row).await
}

/// # Errors
/// As the database answers.
pub async fn update(tx: &mut Tx, row: bonus_rule::Model) -> Result<(), StoreError> {
    tx.save::<bonus_rule::Entity>(row.id, row).await
}

/// Up to `limit` active affiliates who reached a rule's threshold in a period and were not given anything for it, in the
/// order of their ids, each with what was counted. The database counts; only those who reached it are answered.
///
/// # Errors
/// As the database answers.
pub async fn reached(
    tx: &Tx,
    rule: &bonus_rule::Model,
    period: &Period,
    limit: u64,
) -> Result<Vec<(AffiliateId, i64)>, StoreError> {
    let mut values: Vec<Value> = Vec::new();
    let tenant = dialect::bind(&mut values, tx.scope().tenant_id());
    let mut bind = |value: Value| dialect::bind(&mut values, value);
    let mut conditions = vec![
        format!("c.tenant_id = {tenant}"),
        format!("c.status = {}", bind(ConversionStatus::Approved.into())),
        format!("c.occurred_at >= {}", bind(period.from.into())),
        format!("c.occurred_at < {}", bind(period.until.into())),
    ];
    if let Some(id) = rule.campaign_id {
        conditions.push(format!("c.campaign_id = {}", bind(id.into())));
    }
    let counted = match rule.basis {
        TierBasis::Conversions => "COUNT(*)".to_owned(),
        TierBasis::SaleAmount => {
            conditions.push(format!("c.sale_currency = {}", bind(rule.currency.into())));
            dialect::sum("c.sale_minor + c.sale_adjusted_minor - c.refunded_minor")
        }
    };
    let sql = format!(
        "SELECT c.affiliate_id, {counted} AS counted FROM conversion c \
         JOIN affiliate a ON a.tenant_id = c.tenant_id AND a.id = c.affiliate_id AND a.status = {} \
         WHERE {} AND NOT EXISTS (SELECT 1 FROM bonus_grant g WHERE g.tenant_id = {tenant} AND g.rule_id = {} \
         AND g.affiliate_id = c.affiliate_id AND g.period_start = {}) \
         GROUP BY c.affiliate_id HAVING {counted} >= {} ORDER BY c.affiliate_id LIMIT {limit}",
        bind(AffiliateStatus::Active.into()),
        conditions.join(" AND "),
        bind(rule.id.into()),
        bind(period.from.into()),
        bind(rule.threshold.into()),
    );
    let rows = tx.connection().query_all_raw(tx.statement(sql, values)).await?;
    rows.iter().map(|row| Ok((row.try_get("", "affiliate_id")?, row.try_get("", "counted")?))).collect()
}

/// Keeps what a rule gave.
///
/// # Errors
/// As the database answers, also when the rule gave one of the affiliates something for the period before.
pub async fn insert_grants(tx: &mut Tx, rows: Vec<bonus_grant::Model>) -> Result<(), StoreError> {
    tx.insert_all::<bonus_grant::Entity>(rows).await
}
