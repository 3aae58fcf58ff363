//! Guarded balances of affiliates' accounts, and the projection of what is not approved yet.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::{ColumnTrait, QueryFilter, QueryOrder};
use tributary_entity::{
    balance, earning,
    ids::{AccountId, AffiliateId},
    money::Currency,
};

use super::{
    deltas::{Counters, Delta},
    dialect,
    error::StoreError,
    scope::{Tx, any_of},
};

const BALANCES: Counters =
    Counters { table: "balance", keys: &["account_id"], counters: &["amount_minor"], version: Some("version") };

const EARNINGS: Counters =
    Counters { table: "earning", keys: &["affiliate_id", "currency"], counters: &["unapproved_minor"], version: None };

/// Adds to balances, on each account's normal side.
///
/// # Errors
/// `Constraint::CounterRange` when one would fall below zero; nothing is changed then.
pub async fn add(tx: &mut Tx, deltas: &BTreeMap<AccountId, i64>) -> Result<(), StoreError> {
    let deltas: Vec<Delta> = deltas
        .iter()
        .map(|(account_id, amount)| Delta { key: vec![(*account_id).into()], amounts: vec![*amount] })
        .collect();
    BALANCES.add(tx, &deltas).await
}

/// Makes the balances that are not there, of nothing, and locks them with those that are.
///
/// # Errors
/// As the database answers.
pub async fn open(tx: &mut Tx, ids: BTreeSet<AccountId>) -> Result<(), StoreError> {
    BALANCES.open(tx, ids.into_iter().map(|id| vec![id.into()])).await
}

/// Adds to the unapproved earnings of affiliates.
///
/// # Errors
/// `Constraint::CounterRange` when one would fall below zero; nothing is changed then.
pub async fn add_unapproved(tx: &mut Tx, deltas: &BTreeMap<(AffiliateId, Currency), i64>) -> Result<(), StoreError> {
    let deltas: Vec<Delta> = deltas
        .iter()
        .map(|((affiliate_id, currency), amount)| Delta {
            key: vec![(*affiliate_id).into(), (*currency).into()],
            amounts: vec![*amount],
        })
        .collect();
    EARNINGS.add(tx, &deltas).await
}

/// Balances of these accounts; accounts that were never posted to are left out.
///
/// # Errors
/// As the database answers.
pub async fn get_many(tx: &Tx, ids: &[AccountId]) -> Result<BTreeMap<AccountId, i64>, StoreError> {
    let select = tx.find::<balance::Entity>().filter(any_of(balance::Column::AccountId, ids.iter().copied()));
    Ok(select.all(tx.connection()).await?.into_iter().map(|row| (row.account_id, row.amount_minor)).collect())
}

/// As [`get_many`], locked in id order until the transaction ends.
///
/// # Errors
/// As the database answers.
pub async fn lock_many(tx: &Tx, ids: &[AccountId]) -> Result<BTreeMap<AccountId, i64>, StoreError> {
    let select = tx.find::<balance::Entity>().filter(any_of(balance::Column::AccountId, ids.iter().copied()));
    let rows = dialect::lock(tx, select.order_by_asc(balance::Column::AccountId)).all(tx.connection()).await?;
    Ok(rows.into_iter().map(|row| (row.account_id, row.amount_minor)).collect())
}

/// The unapproved earnings of an affiliate, by currency.
///
/// # Errors
/// As the database answers.
pub async fn unapproved(tx: &Tx, affiliate_id: AffiliateId) -> Result<Vec<earning::Model>, StoreError> {
    let select = tx.visible::<earning::Entity>().filter(earning::Column::AffiliateId.eq(affiliate_id));
    Ok(select.all(tx.connection()).await?)
}
