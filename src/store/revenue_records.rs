//! Revenue records: what customers brought, and what of it is open.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use sea_orm::{
    ColumnTrait, ConnectionTrait, ExprTrait, QueryFilter, QueryOrder, QuerySelect, Select, Value,
    sea_query::{Expr, Func},
};
use tributary_entity::{
    ids::{AffiliateId, CampaignId, RevenueRecordId, RevenueSettlementId},
    kinds::{ConversionReason, ConversionStatus},
    money::Money,
    revenue_record::{Column, Entity, Model},
};

use super::{
    arrays, dialect,
    error::StoreError,
    page,
    scope::{Tx, any_of},
};
use crate::domain::{
    page::{Page, PageRequest},
    revenue_deal::QualifiedCpa,
    revenue_record::RecordFilter,
    revenue_settlement::Activity,
};

/// Whose records.
pub type Key = (CampaignId, AffiliateId);

/// Records of a period.
#[derive(Clone, Copy, Debug)]
pub enum Part {
    /// What is open of the days before this one.
    Before(NaiveDate),
    /// What a settlement took.
    Of(RevenueSettlementId),
}

fn filtered(tx: &Tx, filter: &RecordFilter) -> Select<Entity> {
    let mut select = tx.visible::<Entity>();
    if let Some(ids) = &filter.affiliate_ids {
        select = select.filter(any_of(Column::AffiliateId, ids.iter().copied()));
    }
    if let Some(ids) = &filter.campaign_ids {
        select = select.filter(any_of(Column::CampaignId, ids.iter().copied()));
    }
    if let Some(ids) = &filter.customer_ids {
        select = select.filter(any_of(Column::CustomerId, ids.iter().cloned()));
    }
    for (column, wanted) in [(Column::SettlementId, filter.is_settled), (Column::Reason, filter.is_refused)] {
        select = match wanted {
            Some(true) => select.filter(column.is_not_null()),
            Some(false) => select.filter(column.is_null()),
            None => select,
        };
    }
    select
}

/// # Errors
/// As the database answers.
pub async fn list(tx: &Tx, filter: &RecordFilter, request: &PageRequest) -> Result<Page<Model>, StoreError> {
    page::page(tx, filtered(tx, filter), request, None).await
}

/// # Errors
/// As the database answers.
pub async fn count(tx: &Tx, filter: &RecordFilter) -> Result<i64, StoreError> {
    page::count(tx, filtered(tx, filter)).await
}

/// # Errors
/// As the database answers.
pub async fn get_many(tx: &Tx, ids: &[RevenueRecordId]) -> Result<Vec<Model>, StoreError> {
    let select = tx.visible::<Entity>().filter(any_of(Column::Id, ids.iter().copied()));
    Ok(select.all(tx.connection()).await?)
}

/// Inserts records; those whose reference is taken are passed over.
///
/// # Errors
/// As the database answers.
pub async fn insert_missing(tx: &mut Tx, rows: Vec<Model>) -> Result<(), StoreError> {
    let key = [Column::TenantId, Column::CampaignId, Column::Reference];
    tx.insert_ignoring::<Entity>(rows, Some(&key)).await.map(drop)
}

/// The records of a campaign with these references.
///
/// # Errors
/// As the database answers.
pub async fn of_references(
    tx: &Tx,
    campaign_id: CampaignId,
    references: impl IntoIterator<Item = String>,
) -> Result<Vec<Model>, StoreError> {
    let select = tx.find::<Entity>().filter(Column::CampaignId.eq(campaign_id));
    Ok(select.filter(any_of(Column::Reference, references)).all(tx.connection()).await?)
}

/// Whom a record's customer is credited to, by the first conversion in the campaign; `$2` is the status of those that do
/// not count.
const FIRST_CREDITED: &str = "SELECT c.affiliate_id FROM conversion c WHERE c.tenant_id = $1 \
    AND c.customer_id = revenue_record.customer_id AND c.campaign_id = revenue_record.campaign_id \
    AND c.affiliate_id IS NOT NULL AND c.status <> $2 ORDER BY c.occurred_at, c.id LIMIT 1";

/// The next `limit` open records behind an id that are nobody's, in the order of their ids, and of each whether somebody is
/// credited with its customer by now.
///
/// # Errors
/// As the database answers.
pub async fn unclaimed(
    tx: &Tx,
    after: RevenueRecordId,
    limit: u64,
) -> Result<Vec<(RevenueRecordId, bool)>, StoreError> {
    let sql = format!(
        "SELECT id, EXISTS ({FIRST_CREDITED}) AS credited FROM (SELECT id, campaign_id, customer_id \
         FROM revenue_record WHERE tenant_id = $1 AND id > $3 AND affiliate_id IS NULL AND settlement_id IS NULL \
         ORDER BY id LIMIT {limit}) AS revenue_record ORDER BY id"
    );
    let values = vec![tx.scope().tenant_id().into(), ConversionStatus::Rejected.into(), after.into()];
    let rows = tx.connection().query_all_raw(tx.statement(sql, values)).await?;
    rows.iter().map(|row| Ok((row.try_get("", "id")?, row.try_get("", "credited")?))).collect()
}

/// Gives those of some records that are open and nobody's to whom their customers are credited to.
///
/// # Errors
/// As the database answers.
pub async fn claim(tx: &mut Tx, ids: &[RevenueRecordId]) -> Result<(), StoreError> {
    for ids in ids.chunks(1_000) {
        let mut values: Vec<Value> = vec![tx.scope().tenant_id().into(), ConversionStatus::Rejected.into()];
        let rows = arrays::relation(tx.backend(), ids.iter().map(|id| vec![(*id).into()]), &mut values)?;
        let sql = format!(
            "WITH named (id) AS ({rows}) UPDATE revenue_record SET affiliate_id = ({FIRST_CREDITED}) \
             WHERE tenant_id = $1 AND id IN (SELECT id FROM named) AND affiliate_id IS NULL \
             AND settlement_id IS NULL AND EXISTS ({FIRST_CREDITED})"
        );
        tx.connection().execute_raw(tx.statement(sql, values)).await?;
    }
    Ok(())
}

/// Says of records why they count for nothing.
///
/// # Errors
/// As the database answers.
pub async fn refuse(tx: &mut Tx, ids: &[RevenueRecordId], reason: ConversionReason) -> Result<(), StoreError> {
    let update = tx.update_many::<Entity>().col_expr(Column::Reason, Expr::value(reason));
    update.filter(any_of(Column::Id, ids.iter().copied())).exec(tx.connection()).await?;
    Ok(())
}

/// What counts and is part of no settlement.
fn open(tx: &Tx) -> Select<Entity> {
    tx.find::<Entity>().filter(Column::SettlementId.is_null()).filter(Column::Reason.is_null())
}

fn of(select: Select<Entity>, key: Key) -> Select<Entity> {
    select.filter(Column::CampaignId.eq(key.0)).filter(Column::AffiliateId.eq(key.1))
}

/// Whether anything of the tenant is open, also of customers whom nobody is credited with.
///
/// # Errors
/// As the database answers.
pub async fn is_any_open(tx: &Tx) -> Result<bool, StoreError> {
    Ok(open(tx).limit(1).one(tx.connection()).await?.is_some())
}

/// Who has something open in which campaign.
///
/// # Errors
/// As the database answers.
pub async fn open_keys(tx: &Tx) -> Result<Vec<Key>, StoreError> {
    let select = open(tx).filter(Column::AffiliateId.is_not_null()).select_only().distinct();
    let select = select.columns([Column::CampaignId, Column::AffiliateId]);
    let select = select.order_by_asc(Column::CampaignId).order_by_asc(Column::AffiliateId);
    Ok(select.into_tuple().all(tx.connection()).await?)
}

/// The first day that something is open of.
///
/// # Errors
/// As the database answers.
pub async fn first_open_day(tx: &Tx, key: Key) -> Result<Option<NaiveDate>, StoreError> {
    let select = of(open(tx), key).order_by_asc(Column::Day);
    Ok(select.one(tx.connection()).await?.map(|row| row.day))
}

/// Gives what is open of the days before one to a settlement. Answers how many records.
///
/// # Errors
/// As the database answers.
pub async fn take(tx: &mut Tx, key: Key, before: NaiveDate, id: RevenueSettlementId) -> Result<u64, StoreError> {
    let update = tx
        .update_many::<Entity>()
        .col_expr(Column::SettlementId, Expr::value(id))
        .filter(Column::SettlementId.is_null())
        .filter(Column::Reason.is_null())
        .filter(Column::CampaignId.eq(key.0))
        .filter(Column::AffiliateId.eq(key.1))
        .filter(Column::Day.lt(before));
    Ok(update.exec(tx.connection()).await?.rows_affected)
}

/// What each customer brought.
///
/// # Errors
/// As the database answers.
pub async fn activities(tx: &Tx, key: Key, part: Part) -> Result<BTreeMap<String, Activity>, StoreError> {
    let select = match part {
        Part::Before(day) => open(tx).filter(Column::Day.lt(day)),
        Part::Of(id) => tx.find::<Entity>().filter(Column::SettlementId.eq(id)),
    };
    let sum = |column: Column| Func::cast_as(Expr::col((Entity, column)).sum(), "bigint");
    let rows: Vec<(String, i64, i64, i64)> = of(select, key)
        .select_only()
        .column(Column::CustomerId)
        .expr(sum(Column::GgrMinor))
        .expr(sum(Column::BonusesMinor))
        .expr(sum(Column::ChargebacksMinor))
        .group_by(Column::CustomerId)
        .into_tuple()
        .all(tx.connection())
        .await?;
    let activity = |(customer_id, ggr_minor, bonuses_minor, chargebacks_minor)| {
        (customer_id, Activity { ggr_minor, bonuses_minor, chargebacks_minor })
    };
    Ok(rows.into_iter().map(activity).collect())
}

/// The customers who qualify by what was recorded of the days before one and did not qualify before, by reference.
///
/// # Errors
/// As the database answers.
pub async fn qualified(tx: &Tx, key: Key, before: NaiveDate, cpa: QualifiedCpa) -> Result<Vec<String>, StoreError> {
    qualifying(tx, key, before, cpa, ["", ""]).await
}

/// The customers who qualified in the settlement of the period that ends before a day, as it was then, by reference: what it
/// and those before it took counts. One for whom somebody else was paid had qualified for them.
///
/// # Errors
/// As the database answers.
pub async fn qualified_in(tx: &Tx, key: Key, before: NaiveDate, cpa: QualifiedCpa) -> Result<Vec<String>, StoreError> {
    let settled = "AND EXISTS (SELECT 1 FROM revenue_settlement s WHERE s.tenant_id = $1 AND s.id = settlement_id \
        AND s.period_end <= $4)";
    let earlier = "AND EXISTS (SELECT 1 FROM revenue_settlement s WHERE s.tenant_id = $1 AND s.id = q.settlement_id \
        AND (s.affiliate_id <> $3 OR s.period_end < $4))";
    qualifying(tx, key, before, cpa, [settled, earlier]).await
}

/// As [`qualified`], by records that are `counted` besides, and without those who are `paid` for.
async fn qualifying(
    tx: &Tx,
    key: Key,
    before: NaiveDate,
    cpa: QualifiedCpa,
    [counted, paid]: [&str; 2],
) -> Result<Vec<String>, StoreError> {
    let mut values: Vec<Value> = vec![tx.scope().tenant_id().into(), key.0.into(), key.1.into(), before.into()];
    let within = match cpa.days {
        None => String::new(),
        Some(days) => format!(" AND r.day < {}", dialect::days_after(tx.backend(), "f.first_day", days)),
    };
    let mut least = |money: Option<Money>| dialect::bind(&mut values, money.map_or(0, |money| money.amount_minor));
    let (deposits, stakes) = (least(cpa.deposits), least(cpa.stakes));
    // What was settled before belongs to a customer's sums, whatever its day; of what is open only these days.
    let sql = format!(
        "WITH counted AS (SELECT customer_id, day, deposits_minor, stakes_minor FROM revenue_record \
         WHERE tenant_id = $1 AND campaign_id = $2 AND affiliate_id = $3 AND day < $4 AND reason IS NULL {counted}) \
         SELECT r.customer_id FROM counted r \
         JOIN (SELECT customer_id, MIN(day) AS first_day FROM counted GROUP BY customer_id) f \
         ON f.customer_id = r.customer_id WHERE NOT EXISTS (SELECT 1 FROM revenue_qualification q WHERE q.tenant_id = $1 \
         AND q.campaign_id = $2 AND q.customer_id = r.customer_id {paid}){within} GROUP BY r.customer_id \
         HAVING SUM(r.deposits_minor) >= {deposits} AND SUM(r.stakes_minor) >= {stakes} ORDER BY r.customer_id"
    );
    let rows = tx.connection().query_all_raw(tx.statement(sql, values)).await?;
    rows.iter().map(|row| Ok(row.try_get("", "customer_id")?)).collect()
}
