//! The ledger: posting journals (inside another noun's transaction) and reading what was posted.

use std::collections::{BTreeMap, BTreeSet};

use tributary_entity::{
    Instant, account, entry,
    ids::{AccountId, AffiliateId, JournalId},
    journal,
    money::Currency,
};

use super::{ServiceError, Services};
use crate::{
    ambient,
    auth::Viewer,
    domain::{
        instant,
        ledger::{AccountKey, Available, Code, CodeTotal, Debts, Journal, JournalFilter, Side},
        page::{Page, PageRequest},
    },
    store::{
        balances,
        error::{Constraint, StoreError},
        ledger,
        scope::Tx,
    },
};

/// Posts journals: accounts made as needed, entries appended, guarded balances moved. Answers their ids, in order.
///
/// # Errors
/// `Constraint::JournalBusinessKey` when one was posted before; `Constraint::CounterRange` when a guarded balance would
/// fall below zero. Nothing is posted then.
pub async fn post(tx: &mut Tx, journals: &[Journal], now: Instant) -> Result<Vec<JournalId>, StoreError> {
    let named: Vec<(JournalId, &Journal)> =
        journals.iter().map(|journal| (JournalId::from_uuid(ambient::new_uuid()), journal)).collect();
    post_named(tx, &named, now).await?;
    Ok(named.into_iter().map(|(id, _)| id).collect())
}

/// As [`post`], of journals that have their ids.
///
/// # Errors
/// As [`post`].
pub async fn post_named(tx: &mut Tx, journals: &[(JournalId, &Journal)], now: Instant) -> Result<(), StoreError> {
    if journals.is_empty() {
        return Ok(());
    }
    let lines = || journals.iter().flat_map(|(_, journal)| journal.lines());
    let accounts: BTreeSet<AccountKey> = lines().map(|line| line.account).collect();
    ledger::ensure_accounts(tx, &accounts, now)?;
    ledger::append(tx, journals, now)?;

    let tenant_id = tx.scope().tenant_id();
    let mut deltas: BTreeMap<AccountId, i64> = BTreeMap::new();
    for line in lines().filter(|line| line.account.code.is_guarded()) {
        let grown = match line.account.code.side() {
            Side::Debit => line.amount_minor,
            Side::Credit => -line.amount_minor,
        };
        let sum = deltas.entry(line.account.id(tenant_id)).or_default();
        *sum = sum.checked_add(grown).ok_or(StoreError::Constraint(Constraint::CounterRange))?;
    }
    balances::add(tx, &deltas).await?;
    // Whoever posts hears from this what was posted before.
    tx.write_deferred().await
}

/// What these affiliates owe, locked with what they have available: whoever credits one after the other would wait for who
/// debits both. Before anything else of theirs is: whoever credits affiliates takes the locks in this order.
///
/// # Errors
/// As the database answers.
pub async fn debts(
    tx: &mut Tx,
    owners: impl Iterator<Item = &(AffiliateId, Currency)>,
    now: Instant,
) -> Result<Debts, StoreError> {
    Ok(standing(tx, &owners.copied().collect(), now).await?.0)
}

/// As [`debts`], and what these affiliates have available, all locked together in the order of the accounts.
///
/// # Errors
/// As the database answers.
pub async fn standing(
    tx: &mut Tx,
    owners: &BTreeSet<(AffiliateId, Currency)>,
    now: Instant,
) -> Result<(Debts, Available), StoreError> {
    let tenant_id = tx.scope().tenant_id();
    let key = |code, (affiliate_id, currency)| AccountKey::of_affiliate(code, affiliate_id, currency);
    let (debts, available) = (Code::AffiliateReceivable, Code::AffiliateAvailable);
    let keys: BTreeSet<AccountKey> =
        owners.iter().flat_map(|owner| [key(debts, *owner), key(available, *owner)]).collect();
    let ids: Vec<AccountId> = keys.iter().map(|key| key.id(tenant_id)).collect();
    let mut balances = balances::lock_many(tx, &ids).await?;
    // What is not there cannot be locked, and what somebody makes while this waits for another lock is not seen: two would
    // both find neither debt nor money, and make one each.
    let missing: BTreeSet<AccountKey> =
        keys.into_iter().filter(|key| !balances.contains_key(&key.id(tenant_id))).collect();
    if !missing.is_empty() {
        ledger::ensure_accounts(tx, &missing, now)?;
        balances::open(tx, missing.iter().map(|key| key.id(tenant_id)).collect()).await?;
        balances = balances::lock_many(tx, &ids).await?;
    }
    let of = |code| {
        let of_one = |owner: &(AffiliateId, Currency)| balances.get(&key(code, *owner).id(tenant_id)).copied();
        owners.iter().filter_map(|owner| Some((*owner, of_one(owner)?))).collect()
    };
    Ok((of(debts), of(available)))
}

/// A journal with its lines and their accounts.
#[derive(Clone, Debug)]
pub struct PostedJournal {
    pub head: journal::Model,
    pub lines: Vec<(entry::Model, account::Model)>,
}

/// A page of the tenant's journals with their lines.
///
/// # Errors
/// As the database answers.
pub async fn journals(
    services: &Services,
    viewer: &Viewer,
    filter: &JournalFilter,
    request: &PageRequest,
) -> Result<Page<PostedJournal>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    let page = ledger::list(&tx, filter, request).await?;
    let rows = with_lines(&tx, page.rows).await?;
    Ok(Page { rows, has_next: page.has_next, has_previous: page.has_previous })
}

/// The journals with these ids.
///
/// # Errors
/// As the database answers.
pub async fn get_many(
    services: &Services,
    viewer: &Viewer,
    ids: &[JournalId],
) -> Result<Vec<PostedJournal>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    let heads = ledger::get_many(&tx, ids).await?;
    Ok(with_lines(&tx, heads).await?)
}

async fn with_lines(tx: &Tx, heads: Vec<journal::Model>) -> Result<Vec<PostedJournal>, StoreError> {
    let ids: Vec<JournalId> = heads.iter().map(|head| head.id).collect();
    let entries = ledger::entries(tx, &ids).await?;
    let account_ids: BTreeSet<AccountId> = entries.iter().map(|entry| entry.account_id).collect();
    let accounts: BTreeMap<AccountId, account::Model> =
        ledger::accounts(tx, &account_ids.into_iter().collect::<Vec<_>>())
            .await?
            .into_iter()
            .map(|row| (row.id, row))
            .collect();
    let mut lines: BTreeMap<JournalId, Vec<(entry::Model, account::Model)>> = BTreeMap::new();
    for entry in entries {
        let account = accounts
            .get(&entry.account_id)
            .ok_or_else(|| StoreError::inconsistent("entry", "an account is not there"))?;
        lines.entry(entry.journal_id).or_default().push((entry, account.clone()));
    }
    Ok(heads
        .into_iter()
        .map(|head| PostedJournal { lines: lines.remove(&head.id).unwrap_or_default(), head })
        .collect())
}

/// How many journals a list has.
///
/// # Errors
/// As the database answers.
pub async fn count(services: &Services, viewer: &Viewer, filter: &JournalFilter) -> Result<i64, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(ledger::count(&tx, filter).await?)
}

/// The trial balance: sums of all entries posted up to an instant, or so far, by account code and currency.
///
/// # Errors
/// `OUT_OF_RANGE` for an instant that cannot be kept.
pub async fn trial_balance(
    services: &Services,
    viewer: &Viewer,
    at: Option<Instant>,
) -> Result<Vec<CodeTotal>, ServiceError> {
    let at = at.map(|at| instant::checked(&["at"], at)).transpose()?;
    let tx = services.snapshot(viewer).await?;
    Ok(ledger::totals(&tx, at).await?)
}
