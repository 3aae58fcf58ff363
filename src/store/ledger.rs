//! The ledger's accounts, journals and entries: appended, read, summed; never changed.

use std::collections::BTreeSet;

use sea_orm::{ColumnTrait, ConnectionTrait, QueryFilter, QueryOrder, QuerySelect, Select};
use tributary_entity::{
    Instant, account, entry,
    ids::{AccountId, AffiliateId, JournalId},
    journal,
};

use super::{
    dialect,
    error::StoreError,
    page,
    scope::{Tx, any_of},
};
use crate::domain::{
    ledger::{AccountKey, Code, CodeTotal, Journal, JournalFilter, Owner},
    page::{Page, PageRequest},
};

/// Makes the accounts that are not there yet.
///
/// # Errors
/// `Inconsistent` for a row without a value; the database answers when they are written.
pub fn ensure_accounts(tx: &mut Tx, keys: &BTreeSet<AccountKey>, now: Instant) -> Result<(), StoreError> {
    let tenant_id = tx.scope().tenant_id();
    let mut rows: Vec<account::Model> = keys
        .iter()
        .map(|key| {
            let (affiliate_id, processor) = match key.owner {
                Owner::Tenant => (None, None),
                Owner::Affiliate(id) => (Some(id), None),
                Owner::Processor(processor) => (None, Some(processor)),
            };
            account::Model {
                tenant_id,
                id: key.id(tenant_id),
                code: key.code.number(),
                affiliate_id,
                processor,
                currency: key.currency,
                created_at: now,
            }
        })
        .collect();
    // Two transactions that make the same accounts must wait for each other in one order.
    rows.sort_by_key(|row| row.id);
    let conflict = [account::Column::TenantId, account::Column::Id];
    tx.insert_later::<account::Entity>(rows, Some(&conflict))
}

/// Appends journals; their entries get their numbers and are written when the transaction commits. The accounts exist.
///
/// # Errors
/// `Inconsistent` for a row without a value. When they are written, `Constraint::JournalBusinessKey` when one was posted
/// before.
pub fn append(tx: &mut Tx, journals: &[(JournalId, &Journal)], now: Instant) -> Result<(), StoreError> {
    let tenant_id = tx.scope().tenant_id();
    let heads = journals
        .iter()
        .map(|(id, journal)| journal::Model {
            tenant_id,
            id: *id,
            kind: journal.kind(),
            business_key: journal.business_key().to_owned(),
            conversion_id: journal.conversion_id(),
            posted_at: now,
        })
        .collect();
    tx.insert_later::<journal::Entity>(heads, None)?;
    for (id, journal) in journals {
        tx.enter((0..).zip(journal.lines()).map(|(line, posted)| entry::Model {
            tenant_id,
            journal_id: *id,
            line,
            seq: 0,
            account_id: posted.account.id(tenant_id),
            amount_minor: posted.amount_minor,
            currency: posted.account.currency,
        }));
    }
    Ok(())
}

/// Writes entries, numbered from 1 inside the transaction, behind the tenant's journals so far.
pub(super) fn append_entries(tx: &mut Tx, entries: Vec<entry::Model>, before: i64) -> Result<(), StoreError> {
    let numbered = entries.into_iter().map(|entry| entry::Model { seq: before + entry.seq, ..entry });
    tx.insert_later::<entry::Entity>(numbered.collect(), None)
}

fn filtered(tx: &Tx, filter: &JournalFilter) -> Select<journal::Entity> {
    let mut select = tx.find::<journal::Entity>();
    if let Some(kinds) = &filter.kinds {
        select = select.filter(any_of(journal::Column::Kind, kinds.iter().copied()));
    }
    if let Some(ids) = &filter.conversion_ids {
        select = select.filter(any_of(journal::Column::ConversionId, ids.iter().copied()));
    }
    if let Some(ids) = &filter.account_ids {
        let posted = sea_orm::sea_query::Query::select()
            .column(entry::Column::JournalId)
            .from(entry::Entity)
            .cond_where(entry::Column::TenantId.eq(tx.scope().tenant_id()))
            .cond_where(any_of(entry::Column::AccountId, ids.iter().copied()))
            .take();
        select = select.filter(journal::Column::Id.in_subquery(posted));
    }
    select
}

/// # Errors
/// As the database answers.
pub async fn list(tx: &Tx, filter: &JournalFilter, request: &PageRequest) -> Result<Page<journal::Model>, StoreError> {
    page::page(tx, filtered(tx, filter), request, None).await
}

/// # Errors
/// As the database answers.
pub async fn count(tx: &Tx, filter: &JournalFilter) -> Result<i64, StoreError> {
    page::count(tx, filtered(tx, filter)).await
}

/// # Errors
/// As the database answers.
pub async fn get_many(tx: &Tx, ids: &[JournalId]) -> Result<Vec<journal::Model>, StoreError> {
    let select = tx.find::<journal::Entity>().filter(any_of(journal::Column::Id, ids.iter().copied()));
    Ok(select.all(tx.connection()).await?)
}

/// The entries of these journals, by line.
///
/// # Errors
/// As the database answers.
pub async fn entries(tx: &Tx, ids: &[JournalId]) -> Result<Vec<entry::Model>, StoreError> {
    let select = tx.find::<entry::Entity>().filter(any_of(entry::Column::JournalId, ids.iter().copied()));
    Ok(select.order_by_asc(entry::Column::Line).all(tx.connection()).await?)
}

/// # Errors
/// As the database answers.
pub async fn accounts(tx: &Tx, ids: &[AccountId]) -> Result<Vec<account::Model>, StoreError> {
    let select = tx.find::<account::Entity>().filter(any_of(account::Column::Id, ids.iter().copied()));
    Ok(select.all(tx.connection()).await?)
}

/// All accounts of an affiliate.
///
/// # Errors
/// As the database answers.
pub async fn accounts_of_affiliate(tx: &Tx, id: AffiliateId) -> Result<Vec<account::Model>, StoreError> {
    let select = tx.visible::<account::Entity>().filter(account::Column::AffiliateId.eq(id));
    Ok(select.limit(2_000).all(tx.connection()).await?)
}

/// Sums by code and currency of all entries, or of those posted up to an instant.
///
/// # Errors
/// As the database answers; `Inconsistent` for a code that is not in the chart.
pub async fn totals(tx: &Tx, at: Option<Instant>) -> Result<Vec<CodeTotal>, StoreError> {
    let debit = dialect::sum("CASE WHEN entry.amount_minor > 0 THEN entry.amount_minor ELSE 0 END");
    let credit = dialect::sum("CASE WHEN entry.amount_minor < 0 THEN -entry.amount_minor ELSE 0 END");
    let mut values = vec![tx.scope().tenant_id().into()];
    let (mut journals, mut until) = ("", "");
    if let Some(at) = at {
        journals = "JOIN journal ON journal.tenant_id = entry.tenant_id AND journal.id = entry.journal_id ";
        until = " AND journal.posted_at <= $2";
        values.push(at.into());
    }
    let sql = format!(
        "SELECT account.code AS code, account.currency AS currency, {debit} AS debit, {credit} AS credit \
         FROM entry JOIN account ON account.tenant_id = entry.tenant_id AND account.id = entry.account_id \
         {journals}WHERE entry.tenant_id = $1{until} GROUP BY account.code, account.currency ORDER BY account.code, account.currency"
    );
    let rows = tx.connection().query_all_raw(tx.statement(sql, values)).await?;
    rows.iter()
        .map(|row| {
            let number: i32 = row.try_get("", "code")?;
            Ok(CodeTotal {
                code: Code::from_number(number)
                    .ok_or_else(|| StoreError::inconsistent("account", format!("code {number}")))?,
                currency: row.try_get("", "currency")?,
                debit_minor: row.try_get("", "debit")?,
                credit_minor: row.try_get("", "credit")?,
            })
        })
        .collect()
}
