//! What an audit reads: the ledger's lines in order, and what contradicts the facts.

mod clicks;
mod facts;
pub mod payouts;
mod projections;
mod revenue;

use sea_orm::{ConnectionTrait, Value};
use tributary_entity::Instant;

use super::{error::StoreError, scope::Tx};
use crate::domain::audit::{Difference, RawLine};

pub use projections::{ALL as PROJECTIONS, Projection};

/// Lines behind journal `after` and up to journal `until`, in the order of journals and lines, at most `limit`.
///
/// # Errors
/// As the database answers; `Inconsistent` for a row that cannot be read.
pub async fn lines(tx: &Tx, after: i64, until: i64, limit: u64) -> Result<Vec<RawLine>, StoreError> {
    let sql = format!(
        "SELECT entry.seq AS seq, entry.journal_id AS journal_id, entry.line AS line, entry.account_id AS account_id, \
         entry.amount_minor AS amount_minor, entry.currency AS currency, journal.kind AS kind, \
         journal.business_key AS business_key, journal.conversion_id AS conversion_id, journal.posted_at AS posted_at, \
         account.code AS code, account.affiliate_id AS affiliate_id, account.processor AS processor, \
         account.currency AS account_currency FROM entry \
         LEFT JOIN journal ON journal.tenant_id = entry.tenant_id AND journal.id = entry.journal_id \
         LEFT JOIN account ON account.tenant_id = entry.tenant_id AND account.id = entry.account_id \
         WHERE entry.tenant_id = $1 AND entry.seq > $2 AND entry.seq <= $3 \
         ORDER BY entry.seq, entry.line, entry.journal_id LIMIT {limit}"
    );
    let statement = tx.statement(sql, vec![tx.scope().tenant_id().into(), after.into(), until.into()]);
    tx.connection().query_all_raw(statement).await?.iter().map(|row| Ok(line(row)?)).collect()
}

fn line(row: &sea_orm::QueryResult) -> Result<RawLine, sea_orm::DbErr> {
    Ok(RawLine {
        seq: row.try_get("", "seq")?,
        journal_id: row.try_get("", "journal_id")?,
        line: row.try_get("", "line")?,
        account_id: row.try_get("", "account_id")?,
        amount_minor: row.try_get("", "amount_minor")?,
        currency: row.try_get("", "currency")?,
        kind: row.try_get("", "kind")?,
        business_key: row.try_get("", "business_key")?,
        conversion_id: row.try_get("", "conversion_id")?,
        posted_at: row.try_get("", "posted_at")?,
        code: row.try_get("", "code")?,
        affiliate_id: row.try_get("", "affiliate_id")?,
        processor: row.try_get("", "processor")?,
        account_currency: row.try_get("", "account_currency")?,
    })
}

/// What contradicts the facts: conversions, payouts, commissions, net revenue, the event log. Clicks count from
/// `clicks_from` on.
///
/// # Errors
/// As the database answers.
pub async fn facts(tx: &Tx, clicks_from: Instant) -> Result<Vec<Difference>, StoreError> {
    let mut differences = Vec::new();
    for (check, sql) in facts::checks(tx.backend()) {
        differences.extend(found(tx, check, &sql, clicks_from).await?);
    }
    differences.extend(clicks::differences(tx).await?);
    differences.extend(revenue::differences(tx).await?);
    Ok(differences)
}

/// The values of a statement, which PostgreSQL wants all named: the tenant `$1`, and the instant from which clicks are kept
/// `$2`.
fn values(tx: &Tx, sql: &str, clicks_from: Instant) -> Vec<Value> {
    let mut values = vec![tx.scope().tenant_id().into()];
    values.extend(sql.contains("$2").then(|| Value::from(clicks_from)));
    values
}

/// The rows of a check.
async fn found(tx: &Tx, check: &'static str, sql: &str, clicks_from: Instant) -> Result<Vec<Difference>, StoreError> {
    found_with(tx, check, sql, values(tx, sql, clicks_from)).await
}

/// The rows of a check: what it is about, what must be, what is.
async fn found_with(
    tx: &Tx,
    check: &'static str,
    sql: &str,
    values: Vec<Value>,
) -> Result<Vec<Difference>, StoreError> {
    let rows = tx.connection().query_all_raw(tx.statement(sql, values)).await?;
    rows.iter()
        .map(|row| {
            let text = |name| row.try_get::<String>("", name);
            Ok(Difference::new(check, text("subject")?, text("expected")?, text("found")?))
        })
        .collect()
}
