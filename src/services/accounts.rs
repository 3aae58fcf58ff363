//! Accounts of the ledger: lists, histories, and balances at instants.

use tributary_entity::{Instant, account, ids::AccountId, money::Money};

use super::{ServiceError, Services};
use crate::{
    auth::Viewer,
    domain::{
        account::{AccountEntry, AccountFilter, on_side},
        instant,
        ledger::Code,
        page::{Page, PageRequest},
        statement::Period,
    },
    store::{accounts, ledger},
};

/// An account; none when there is no such account.
///
/// # Errors
/// As the database answers.
pub async fn get(services: &Services, viewer: &Viewer, id: AccountId) -> Result<Option<account::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(ledger::accounts(&tx, &[id]).await?.pop())
}

/// A page of the tenant's accounts.
///
/// # Errors
/// As the database answers.
pub async fn list(
    services: &Services,
    viewer: &Viewer,
    filter: &AccountFilter,
    request: &PageRequest,
) -> Result<Page<account::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(accounts::list(&tx, filter, request).await?)
}

/// How many accounts a list has.
///
/// # Errors
/// As the database answers.
pub async fn count(services: &Services, viewer: &Viewer, filter: &AccountFilter) -> Result<i64, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(accounts::count(&tx, filter).await?)
}

/// An account's balance on its side, with all that was posted up to an instant, or now.
///
/// # Errors
/// `OUT_OF_RANGE` for an instant that cannot be kept.
pub async fn balance(
    services: &Services,
    viewer: &Viewer,
    account: &account::Model,
    at: Option<Instant>,
) -> Result<Money, ServiceError> {
    let at = at.map(|at| instant::checked(&["at"], at)).transpose()?;
    let tx = services.snapshot(viewer).await?;
    let sum = accounts::balance(&tx, account.id, at).await?;
    Ok(Money::new(on_side(code(account)?.side(), sum), account.currency))
}

/// A page of an account's entries, newest first. The balances are debits less credits.
///
/// # Errors
/// The period's problems.
pub async fn entries(
    services: &Services,
    viewer: &Viewer,
    id: AccountId,
    (from, until): (Option<Instant>, Option<Instant>),
    request: &PageRequest,
) -> Result<Page<AccountEntry>, ServiceError> {
    if let (Some(from), Some(until)) = (from, until) {
        Period { from, until }.check()?;
    }
    let from = from.map(|at| instant::checked(&["filter", "from"], at)).transpose()?;
    let until = until.map(|at| instant::checked(&["filter", "until"], at)).transpose()?;
    let tx = services.snapshot(viewer).await?;
    Ok(accounts::entries(&tx, id, (from, until), request).await?)
}

/// The account's place in the chart.
///
/// # Errors
/// `Internal` for a code that is not in it.
pub fn code(account: &account::Model) -> Result<Code, ServiceError> {
    Code::from_number(account.code).ok_or(ServiceError::Internal("an account is not in the chart"))
}
