//! What tiers have counted, what of that is each conversion's, and what rating anew did; customers of rules that end.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::{
    ColumnTrait, Condition, EntityTrait, ExprTrait, JoinType, QueryFilter, QueryOrder, QuerySelect, Value,
    sea_query::Expr,
};
use tributary_entity::{
    Instant, commission, conversion,
    ids::{AffiliateId, CampaignId, ConversionId},
    kinds::CommissionStatus,
    tier_adjustment, tier_share, tier_state,
};

use super::{
    deltas::{Counters, Delta},
    error::StoreError,
    scope::{Tx, any_of},
};
use crate::domain::commission::{
    book::CustomerKey,
    tiers::{Counted, TierKey},
};

const STATE: Counters = Counters {
    table: "tier_state",
    keys: &["affiliate_id", "rule_id", "period", "period_start"],
    counters: &["conversions", "sale_minor"],
    version: None,
};

const CUSTOMERS: Counters = Counters {
    table: "customer_commission",
    keys: &["campaign_id", "affiliate_id", "customer_id"],
    counters: &["conversions"],
    version: None,
};

/// What periods have counted; those that nothing was counted in are left out.
///
/// # Errors
/// As the database answers.
pub async fn counted(tx: &Tx, keys: &BTreeSet<TierKey>) -> Result<BTreeMap<TierKey, Counted>, StoreError> {
    use tier_state::Column;
    let mut counted = BTreeMap::new();
    let all: Vec<TierKey> = keys.iter().copied().collect();
    for chunk in all.chunks(500) {
        // Some more than was asked for, where rules and periods cross.
        let select = tx
            .find::<tier_state::Entity>()
            .filter(any_of(Column::AffiliateId, distinct(chunk, |key| key.affiliate_id)))
            .filter(any_of(Column::RuleId, distinct(chunk, |key| key.rule_id)))
            .filter(any_of(Column::PeriodStart, distinct(chunk, |key| key.start)));
        for row in select.all(tx.connection()).await? {
            let tier_state::Model { affiliate_id, rule_id, period, period_start: start, .. } = row;
            let key = TierKey { affiliate_id, rule_id, period, start };
            if keys.contains(&key) {
                counted.insert(key, Counted { conversions: row.conversions, sale_minor: row.sale_minor });
            }
        }
    }
    Ok(counted)
}

fn distinct<T: Ord>(keys: &[TierKey], part: impl Fn(&TierKey) -> T) -> BTreeSet<T> {
    keys.iter().map(part).collect()
}

fn values(key: &TierKey) -> Vec<Value> {
    vec![key.affiliate_id.into(), key.rule_id.into(), key.period.into(), key.start.into()]
}

fn customer_values(key: &CustomerKey) -> Vec<Value> {
    vec![key.campaign_id.into(), key.affiliate_id.into(), key.customer_id.clone().into()]
}

/// As [`counted`]; nobody else can count in these periods until the transaction ends.
///
/// # Errors
/// As the database answers.
pub async fn lock(tx: &mut Tx, keys: &BTreeSet<TierKey>) -> Result<BTreeMap<TierKey, Counted>, StoreError> {
    STATE.open(tx, keys.iter().map(values)).await?;
    counted(tx, keys).await
}

/// Adds to what periods have counted.
///
/// # Errors
/// `Constraint::CounterRange` when one would leave its range; nothing is changed then.
pub async fn add(tx: &mut Tx, amounts: &BTreeMap<TierKey, Counted>) -> Result<(), StoreError> {
    let deltas: Vec<Delta> = amounts
        .iter()
        .map(|(key, counted)| Delta { key: values(key), amounts: vec![counted.conversions, counted.sale_minor] })
        .collect();
    STATE.add(tx, &deltas).await
}

/// Keeps what conversions counted.
///
/// # Errors
/// `Inconsistent` for a row without a value; the database answers when they are written.
pub fn insert_shares(tx: &mut Tx, rows: Vec<tier_share::Model>) -> Result<(), StoreError> {
    tx.insert_later::<tier_share::Entity>(rows, None)
}

/// What of tiers' counts is these conversions'.
///
/// # Errors
/// As the database answers.
pub async fn shares_of(tx: &Tx, ids: &[ConversionId]) -> Result<Vec<tier_share::Model>, StoreError> {
    let mut shares = Vec::new();
    for chunk in ids.chunks(1_000) {
        let select =
            tx.find::<tier_share::Entity>().filter(any_of(tier_share::Column::ConversionId, chunk.iter().copied()));
        shares.extend(select.all(tx.connection()).await?);
    }
    Ok(shares)
}

/// Takes conversions out of what is counted by name.
///
/// # Errors
/// As the database answers.
pub async fn delete_shares(tx: &mut Tx, ids: &[ConversionId]) -> Result<(), StoreError> {
    for chunk in ids.chunks(1_000) {
        tx.delete_many::<tier_share::Entity>()
            .filter(any_of(tier_share::Column::ConversionId, chunk.iter().copied()))
            .exec(tx.connection())
            .await?;
    }
    Ok(())
}

/// Which shares of a period are rated otherwise than they would be now.
#[derive(Clone, Copy, Debug)]
pub struct Otherwise {
    /// Of the rule; shares of others keep their step.
    pub version: i32,
    /// The step that the period has reached.
    pub step: i64,
    /// Only those below it.
    pub only_lower: bool,
}

/// Up to `limit` conversions of a period that are rated otherwise, and of those that are due.
///
/// # Errors
/// As the database answers.
pub async fn rated_otherwise(
    tx: &Tx,
    key: &TierKey,
    otherwise: Option<Otherwise>,
    limit: u64,
) -> Result<Vec<ConversionId>, StoreError> {
    use tier_share::Column;
    let other = otherwise.map(|Otherwise { version, step, only_lower }| {
        let other = if only_lower { Column::Step.lt(step) } else { Column::Step.ne(step) };
        Condition::all().add(Column::RuleVersion.eq(version)).add(other)
    });
    let wanted = Condition::any().add(Column::IsDue.eq(true)).add_option(other);
    let select = tx
        .find::<tier_share::Entity>()
        .select_only()
        .column(Column::ConversionId)
        .filter(of_period(key).add(Column::IsCounted.eq(true)).add(wanted))
        .order_by_asc(Column::ConversionId)
        .limit(limit);
    Ok(select.into_tuple().all(tx.connection()).await?)
}

fn of_period(key: &TierKey) -> Condition {
    use tier_share::Column;
    Condition::all()
        .add(Column::AffiliateId.eq(key.affiliate_id))
        .add(Column::RuleId.eq(key.rule_id))
        .add(Column::Period.eq(key.period))
        .add(Column::PeriodStart.eq(key.start))
}

/// Notes what a conversion adds to a count.
///
/// # Errors
/// As the database answers.
pub async fn count_share(tx: &mut Tx, share: &tier_share::Model) -> Result<(), StoreError> {
    use tier_share::Column;
    tx.update_many::<tier_share::Entity>()
        .col_expr(Column::IsCounted, Expr::value(share.is_counted))
        .col_expr(Column::SaleMinor, Expr::value(share.sale_minor))
        .col_expr(Column::IsDue, Expr::value(share.is_due))
        .filter(Column::ConversionId.eq(share.conversion_id))
        .filter(Column::AffiliateId.eq(share.affiliate_id))
        .exec(tx.connection())
        .await?;
    Ok(())
}

/// Notes at which step conversions of a period are rated; they are due no more.
///
/// # Errors
/// As the database answers.
pub async fn set_step(tx: &mut Tx, key: &TierKey, ids: &[ConversionId], step: i64) -> Result<(), StoreError> {
    use tier_share::Column;
    tx.update_many::<tier_share::Entity>()
        .col_expr(Column::Step, Expr::value(step))
        .col_expr(Column::IsDue, Expr::value(false))
        .filter(of_period(key))
        .filter(any_of(Column::ConversionId, ids.iter().copied()))
        .exec(tx.connection())
        .await?;
    Ok(())
}

/// Keeps what rating anew added and took.
///
/// # Errors
/// As the database answers.
pub async fn insert_adjustments(tx: &mut Tx, rows: Vec<tier_adjustment::Model>) -> Result<(), StoreError> {
    tx.insert_all::<tier_adjustment::Entity>(rows).await
}

/// Holds these customers until the transaction ends: of two conversions at once the second sees what the first earned.
///
/// # Errors
/// As the database answers.
pub async fn lock_customers(tx: &mut Tx, keys: &BTreeSet<CustomerKey>) -> Result<(), StoreError> {
    CUSTOMERS.open(tx, keys.iter().map(customer_values)).await
}

/// When each of these customers first earned an affiliate something that was not taken back.
///
/// # Errors
/// As the database answers.
pub async fn first_commissions(
    tx: &Tx,
    keys: &BTreeSet<CustomerKey>,
) -> Result<BTreeMap<CustomerKey, Instant>, StoreError> {
    let mut firsts = BTreeMap::new();
    let customers: BTreeSet<&String> = keys.iter().map(|key| &key.customer_id).collect();
    let customers: Vec<&String> = customers.into_iter().collect();
    let taken_back = [CommissionStatus::Rejected, CommissionStatus::Reversed];
    for chunk in customers.chunks(500) {
        let of_conversion = conversion::Entity::belongs_to(commission::Entity)
            .from((conversion::Column::TenantId, conversion::Column::Id))
            .to((commission::Column::TenantId, commission::Column::ConversionId))
            .into();
        let rows: Vec<(Option<CampaignId>, AffiliateId, Option<String>, Instant)> = tx
            .find::<conversion::Entity>()
            .join(JoinType::InnerJoin, of_conversion)
            .select_only()
            .column(conversion::Column::CampaignId)
            .column(commission::Column::AffiliateId)
            .column(conversion::Column::CustomerId)
            .column_as(conversion::Column::OccurredAt.min(), "first_at")
            .filter(any_of(conversion::Column::CustomerId, chunk.iter().map(|id| (*id).clone())))
            .filter(commission::Column::Status.is_not_in(taken_back))
            // What is earned on top of another's makes nobody a customer.
            .filter(commission::Column::Level.eq(0))
            .filter(
                Expr::col((commission::Entity, commission::Column::AmountMinor))
                    .add(Expr::col((commission::Entity, commission::Column::AdjustedMinor)))
                    .gt(0),
            )
            .group_by(conversion::Column::CampaignId)
            .group_by(commission::Column::AffiliateId)
            .group_by(conversion::Column::CustomerId)
            .into_tuple()
            .all(tx.connection())
            .await?;
        for (campaign_id, affiliate_id, customer_id, first_at) in rows {
            if let (Some(campaign_id), Some(customer_id)) = (campaign_id, customer_id) {
                firsts.insert(CustomerKey { campaign_id, affiliate_id, customer_id }, first_at);
            }
        }
    }
    firsts.retain(|key, _| keys.contains(key));
    Ok(firsts)
}
