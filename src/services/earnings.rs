//! Earnings: what an affiliate has, at one moment, by currency.

use std::collections::BTreeMap;

use tributary_entity::{
    affiliate,
    ids::{AccountId, AffiliateId},
    money::{Currency, Money},
};

use super::{ServiceError, Services, feed};
use crate::{
    auth::Viewer,
    domain::{cursor::Position, earnings::Earnings, ledger::Code},
    store::{affiliates, balances, error::StoreError, ledger, scope::Tx},
};

/// An affiliate's earnings with their place in the event log: every event up to it is in the numbers, none after it.
#[derive(Clone, Debug)]
pub struct EarningsSnapshot {
    pub affiliate: affiliate::Model,
    pub earnings: Vec<Earnings>,
    pub position: Position,
}

/// The earnings of an affiliate that the viewer may see.
///
/// # Errors
/// `NOT_FOUND`, also for another affiliate's.
pub async fn of_affiliate(
    services: &Services,
    viewer: &Viewer,
    id: AffiliateId,
) -> Result<EarningsSnapshot, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    let affiliate = affiliates::get(&tx, id).await?.ok_or_else(|| ServiceError::not_found(&["affiliateId"]))?;
    let earnings = read(&tx, id).await?;
    Ok(EarningsSnapshot { affiliate, earnings, position: feed::position(&tx).await? })
}

async fn read(tx: &Tx, id: AffiliateId) -> Result<Vec<Earnings>, StoreError> {
    let accounts = ledger::accounts_of_affiliate(tx, id).await?;
    let ids: Vec<AccountId> = accounts.iter().map(|account| account.id).collect();
    let balances = balances::get_many(tx, &ids).await?;
    let mut by_currency: BTreeMap<Currency, Earnings> = BTreeMap::new();
    for account in accounts {
        let amount = Money::new(balances.get(&account.id).copied().unwrap_or(0), account.currency);
        let earnings = by_currency.entry(account.currency).or_insert(Earnings::none(account.currency));
        match Code::from_number(account.code) {
            Some(Code::AffiliatePending) => earnings.pending = amount,
            Some(Code::AffiliateAvailable) => earnings.available = amount,
            Some(Code::AffiliateReceivable) => earnings.debt = amount,
            _ => {
                return Err(StoreError::inconsistent("account", format!("code {} of an affiliate", account.code)));
            }
        }
    }
    for row in balances::unapproved(tx, id).await? {
        let earnings = by_currency.entry(row.currency).or_insert(Earnings::none(row.currency));
        earnings.unapproved = Money::new(row.unapproved_minor, row.currency);
    }
    Ok(by_currency.into_values().collect())
}
