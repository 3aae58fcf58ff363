//! Caps, what periods have used of them, and what of that is each conversion's.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::{ColumnTrait, PaginatorTrait, QueryFilter, QueryOrder};
use tributary_entity::{
    Instant, cap, cap_share, cap_usage,
    ids::{CampaignId, CapId, ConversionId},
    kinds::CapStatus,
};

use super::{
    deltas::{Counters, Delta},
    dialect,
    error::StoreError,
    scope::{Tx, any_of},
};

const USAGE: Counters =
    Counters { table: "cap_usage", keys: &["cap_id", "period_start"], counters: &["used"], version: None };

/// A period of a cap.
pub type UsageKey = (CapId, Instant);

/// # Errors
/// As the database answers.
pub async fn get_many(tx: &Tx, ids: &[CapId]) -> Result<Vec<cap::Model>, StoreError> {
    let select = tx.visible::<cap::Entity>().filter(any_of(cap::Column::Id, ids.iter().copied()));
    Ok(select.all(tx.connection()).await?)
}

/// Reads a cap to change it: nobody else can until the transaction ends.
///
/// # Errors
/// As the database answers.
pub async fn lock(tx: &Tx, id: CapId) -> Result<Option<cap::Model>, StoreError> {
    Ok(dialect::lock(tx, tx.by_id::<cap::Entity>(id)).one(tx.connection()).await?)
}

/// The caps of campaigns, oldest first.
///
/// # Errors
/// As the database answers.
pub async fn of_campaigns(tx: &Tx, ids: &[CampaignId]) -> Result<Vec<cap::Model>, StoreError> {
    let select = tx.visible::<cap::Entity>().filter(any_of(cap::Column::CampaignId, ids.iter().copied()));
    Ok(select.order_by_asc(cap::Column::Id).all(tx.connection()).await?)
}

/// Every active cap of the campaigns, for deciding: rings do not apply to the machine.
///
/// # Errors
/// As the database answers.
pub async fn for_campaigns(tx: &Tx, ids: &[CampaignId]) -> Result<Vec<cap::Model>, StoreError> {
    let select = tx.find::<cap::Entity>().filter(any_of(cap::Column::CampaignId, ids.iter().copied()));
    Ok(select.filter(cap::Column::Status.eq(CapStatus::Active)).all(tx.connection()).await?)
}

/// How many caps a campaign has, archived ones and its enrollments' too.
///
/// # Errors
/// As the database answers.
pub async fn count_of_campaign(tx: &Tx, id: CampaignId) -> Result<u64, StoreError> {
    Ok(tx.find::<cap::Entity>().filter(cap::Column::CampaignId.eq(id)).count(tx.connection()).await?)
}

/// # Errors
/// `Constraint::CapSame` when there is an active one of this target, metric and period.
pub async fn insert(tx: &mut Tx, row: cap::Model) -> Result<(), StoreError> {
    tx.insert::<cap::Entity>(row).await
}

/// # Errors
/// As the database answers.
pub async fn update(tx: &mut Tx, row: cap::Model) -> Result<(), StoreError> {
    tx.save::<cap::Entity>(row.id, row).await
}

/// What periods have used; those that nothing was counted in are left out.
///
/// # Errors
/// As the database answers.
pub async fn used(tx: &Tx, keys: &BTreeSet<UsageKey>) -> Result<BTreeMap<UsageKey, i64>, StoreError> {
    let mut used = BTreeMap::new();
    let keys: Vec<UsageKey> = keys.iter().copied().collect();
    for chunk in keys.chunks(500) {
        // Some more than was asked for, where caps have different periods.
        let select = tx
            .find::<cap_usage::Entity>()
            .filter(any_of(cap_usage::Column::CapId, chunk.iter().map(|(id, _)| *id)))
            .filter(any_of(cap_usage::Column::PeriodStart, chunk.iter().map(|(_, start)| *start)));
        let rows = select.all(tx.connection()).await?;
        used.extend(rows.into_iter().map(|row| ((row.cap_id, row.period_start), row.used)));
    }
    Ok(used)
}

/// As [`used`], of all keys; nobody else can count in these periods until the transaction ends.
///
/// # Errors
/// As the database answers.
pub async fn lock_used(tx: &mut Tx, keys: &BTreeSet<UsageKey>) -> Result<BTreeMap<UsageKey, i64>, StoreError> {
    USAGE.open(tx, keys.iter().map(|(cap_id, start)| vec![(*cap_id).into(), (*start).into()])).await?;
    let mut used = used(tx, keys).await?;
    used.retain(|key, _| keys.contains(key));
    Ok(used)
}

/// Adds to what periods have used.
///
/// # Errors
/// `Constraint::CounterRange` when one would fall below zero; nothing is changed then.
pub async fn add(tx: &mut Tx, amounts: &BTreeMap<UsageKey, i64>) -> Result<(), StoreError> {
    let deltas: Vec<Delta> = amounts
        .iter()
        .map(|((cap_id, period_start), amount)| Delta {
            key: vec![(*cap_id).into(), (*period_start).into()],
            amounts: vec![*amount],
        })
        .collect();
    USAGE.add(tx, &deltas).await
}

/// Keeps what conversions took.
///
/// # Errors
/// As the database answers.
pub async fn insert_shares(tx: &mut Tx, rows: Vec<cap_share::Model>) -> Result<(), StoreError> {
    tx.insert_all::<cap_share::Entity>(rows).await
}

/// What conversions have taken, of caps that are archived too.
///
/// # Errors
/// As the database answers.
pub async fn shares_of(tx: &Tx, ids: &[ConversionId]) -> Result<Vec<cap_share::Model>, StoreError> {
    let select = tx.find::<cap_share::Entity>().filter(any_of(cap_share::Column::ConversionId, ids.iter().copied()));
    Ok(select.all(tx.connection()).await?)
}

/// Keeps what conversions have taken now, instead of what they had; what periods have used is the caller's to change.
///
/// # Errors
/// As the database answers.
pub async fn replace_shares(tx: &mut Tx, ids: &[ConversionId], rows: Vec<cap_share::Model>) -> Result<(), StoreError> {
    let of_them = any_of(cap_share::Column::ConversionId, ids.iter().copied());
    tx.delete_many::<cap_share::Entity>().filter(of_them).exec(tx.connection()).await?;
    insert_shares(tx, rows).await
}

/// Gives back what conversions took, each in the period that it was counted in.
///
/// # Errors
/// As the database answers.
pub async fn give_back(tx: &mut Tx, ids: &[ConversionId]) -> Result<(), StoreError> {
    let mut returned: BTreeMap<UsageKey, i64> = BTreeMap::new();
    for chunk in ids.chunks(1_000) {
        let of_chunk = || any_of(cap_share::Column::ConversionId, chunk.iter().copied());
        for row in tx.find::<cap_share::Entity>().filter(of_chunk()).all(tx.connection()).await? {
            *returned.entry((row.cap_id, row.period_start)).or_default() -= row.amount;
        }
        tx.delete_many::<cap_share::Entity>().filter(of_chunk()).exec(tx.connection()).await?;
    }
    if returned.is_empty() { Ok(()) } else { add(tx, &returned).await }
}
