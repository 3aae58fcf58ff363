//! Accounts of the ledger, their histories and balances at instants.
//!
//! # Decisions
//! - An account's entries lie in `entry_account_idx` in their order, with their amounts: a page begins where its cursor
//!   says, and the sum before it reads that index alone, not the table (a million entries: a tenth of a second). No running
//!   balance is stored, so none can be wrong.

use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait, QueryFilter, Value};
use tributary_entity::{
    Instant, account,
    ids::{AccountId, JournalId},
};

use super::{
    dialect,
    error::StoreError,
    page,
    scope::{Tx, any_of},
};
use crate::domain::{
    account::{AccountEntry, AccountFilter, Place},
    page::{Page, PageRequest},
};

fn filtered(tx: &Tx, filter: &AccountFilter) -> sea_orm::Select<account::Entity> {
    use account::Column;
    let mut select = tx.find::<account::Entity>();
    if let Some(codes) = &filter.codes {
        select = select.filter(any_of(Column::Code, codes.iter().map(|code| code.number())));
    }
    if let Some(ids) = &filter.affiliate_ids {
        select = select.filter(any_of(Column::AffiliateId, ids.iter().copied()));
    }
    if let Some(processors) = &filter.processors {
        select = select.filter(any_of(Column::Processor, processors.iter().copied()));
    }
    if let Some(currencies) = &filter.currencies {
        select = select.filter(any_of(Column::Currency, currencies.iter().copied()));
    }
    select
}

/// A page of accounts, by their ids.
///
/// # Errors
/// As the database answers.
pub async fn list(tx: &Tx, filter: &AccountFilter, request: &PageRequest) -> Result<Page<account::Model>, StoreError> {
    page::page(tx, filtered(tx, filter), request, None).await
}

/// # Errors
/// As the database answers.
pub async fn count(tx: &Tx, filter: &AccountFilter) -> Result<i64, StoreError> {
    page::count(tx, filtered(tx, filter)).await
}

/// The sum of an account's entries, debits positive, of journals posted up to an instant, or of all.
///
/// # Errors
/// As the database answers.
pub async fn balance(tx: &Tx, id: AccountId, at: Option<Instant>) -> Result<i64, StoreError> {
    let mut values: Vec<Value> = vec![tx.scope().tenant_id().into(), id.into()];
    let mut sql = format!("SELECT {} AS amount FROM entry", dialect::sum("entry.amount_minor"));
    let mut until = "";
    if let Some(at) = at {
        sql.push_str(" JOIN journal ON journal.tenant_id = entry.tenant_id AND journal.id = entry.journal_id");
        until = " AND journal.posted_at <= $3";
        values.push(at.into());
    }
    sql.push_str(&format!(" WHERE entry.tenant_id = $1 AND entry.account_id = $2{until}"));
    sum(tx, sql, values).await
}

async fn sum(tx: &Tx, sql: String, values: Vec<Value>) -> Result<i64, StoreError> {
    let row = tx.connection().query_one_raw(tx.statement(sql, values)).await?;
    Ok(row.map(|row| row.try_get("", "amount")).transpose()?.unwrap_or(0))
}

/// A page of an account's entries, newest first, each with the sum of all of the account's entries up to it, debits
/// positive. The period is of the journals' instants: from its beginning to before its end.
///
/// # Errors
/// As the database answers.
pub async fn entries(
    tx: &Tx,
    id: AccountId,
    period: (Option<Instant>, Option<Instant>),
    request: &PageRequest,
) -> Result<Page<AccountEntry>, StoreError> {
    let mut values: Vec<Value> = vec![tx.scope().tenant_id().into(), id.into()];
    let mut conditions = String::new();
    let mut bound = |condition: &str, value: Value| {
        values.push(value);
        conditions.push_str(&format!(" AND {condition} ${}", values.len()));
    };
    if let Some(from) = period.0 {
        bound("journal.posted_at >=", from.into());
    }
    if let Some(until) = period.1 {
        bound("journal.posted_at <", until.into());
    }
    // `after` goes down, as the list does.
    for (position, comparison) in [(&request.after, "<"), (&request.before, ">")] {
        if let Some(position) = position {
            let Place { seq, line } = Place::of(position);
            values.extend([Value::from(seq), Value::from(line)]);
            conditions.push_str(&format!(
                " AND (entry.seq, entry.line) {comparison} (${}, ${})",
                values.len() - 1,
                values.len()
            ));
        }
    }
    let direction = if request.backward { "ASC" } else { "DESC" };
    let sql = format!(
        "SELECT entry.seq AS seq, entry.line AS line, entry.journal_id AS journal_id, entry.amount_minor AS amount_minor \
         FROM entry JOIN journal ON journal.tenant_id = entry.tenant_id AND journal.id = entry.journal_id \
         WHERE entry.tenant_id = $1 AND entry.account_id = $2{conditions} \
         ORDER BY entry.seq {direction}, entry.line {direction} LIMIT {}",
        request.size + 1
    );
    let rows = tx.connection().query_all_raw(tx.statement(sql, values)).await?;
    let rows: Result<Vec<AccountEntry>, StoreError> = rows
        .iter()
        .map(|row| {
            Ok(AccountEntry {
                place: Place { seq: row.try_get("", "seq")?, line: row.try_get("", "line")? },
                journal_id: row.try_get::<JournalId>("", "journal_id")?,
                amount_minor: row.try_get("", "amount_minor")?,
                balance_after: 0,
            })
        })
        .collect();
    let mut page = Page::from_fetched(request, rows?);
    reckon(tx, id, &mut page.rows).await?;
    Ok(page)
}

/// Reckons the balance after each entry of a page: the sum before the earliest, and from there every entry of the account,
/// also such as the page leaves out.
async fn reckon(tx: &Tx, id: AccountId, rows: &mut [AccountEntry]) -> Result<(), StoreError> {
    let places = || rows.iter().map(|row| row.place);
    let (Some(first), Some(last)) = (places().min(), places().max()) else { return Ok(()) };
    let own = "FROM entry WHERE tenant_id = $1 AND account_id = $2";
    let values = |place: Place| -> Vec<Value> {
        vec![tx.scope().tenant_id().into(), id.into(), place.seq.into(), place.line.into()]
    };
    let sql = format!("SELECT {} AS amount {own} AND (seq, line) < ($3, $4)", dialect::sum("amount_minor"));
    let mut balance = sum(tx, sql, values(first)).await?;
    let mut bounds = values(first);
    bounds.extend([Value::from(last.seq), Value::from(last.line)]);
    let sql = format!(
        "SELECT seq, line, amount_minor {own} AND (seq, line) >= ($3, $4) AND (seq, line) <= ($5, $6) ORDER BY seq, line"
    );
    let mut after: BTreeMap<Place, i64> = BTreeMap::new();
    for row in tx.connection().query_all_raw(tx.statement(sql, bounds)).await? {
        balance += row.try_get::<i64>("", "amount_minor")?;
        after.insert(Place { seq: row.try_get("", "seq")?, line: row.try_get("", "line")? }, balance);
    }
    for row in rows {
        row.balance_after = after.get(&row.place).copied().unwrap_or_default();
    }
    Ok(())
}
