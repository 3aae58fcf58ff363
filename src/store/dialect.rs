//! The few places where the two databases differ in what they are told.

use std::fmt::Write;

use sea_orm::{DbBackend, QueryOrder, QuerySelect, Select, Statement, Value, sea_query::LockType};
use tributary_entity::scope::Identified;

use super::scope::Tx;

/// Locks the selected rows until the transaction ends. SQLite has one writer, who needs no row locks.
///
/// Keys never change: others may go on to insert rows that refer to a locked one. Were they kept from that, whoever locks a
/// conversion and then its commissions would wait in a circle with who releases those and posts a journal about it.
pub(super) fn lock<E: sea_orm::EntityTrait>(tx: &Tx, select: Select<E>) -> Select<E> {
    match tx.backend() {
        DbBackend::Sqlite => select,
        _ => select.lock(LockType::NoKeyUpdate),
    }
}

/// As [`lock`], in the order of their ids where rows are locked: whoever takes several takes them in one order. SQLite's
/// rows come in any order; asked for one, it would rather go through all of the table by the key than look for a few rows
/// and sort them.
pub(super) fn lock_by_id<E: Identified>(tx: &Tx, select: Select<E>) -> Select<E> {
    match tx.backend() {
        DbBackend::Sqlite => select,
        _ => lock(tx, select.order_by_asc(E::id_column())),
    }
}

/// Turns `$n` into `?`, with each value as often as it is named. SQLite looks numbered parameters up one by one, so that
/// a statement of a few thousand would spend its time there.
pub(super) fn anonymous(sql: &str, values: &[Value]) -> (String, Vec<Value>) {
    let (first, rest) = parts(sql);
    let mut text = String::with_capacity(sql.len());
    let mut bound = Vec::with_capacity(values.len());
    text.push_str(first);
    for (number, rest) in rest {
        let value = number.checked_sub(1).and_then(|place| values.get(place));
        bound.push(value.expect("our statements name only values that they bind").clone());
        text.push('?');
        text.push_str(rest);
    }
    (text, bound)
}

/// A statement's text before its first `$n`, and each of those with the text behind it.
fn parts(sql: &str) -> (&str, impl Iterator<Item = (usize, &str)>) {
    let mut parts = sql.split('$');
    let first = parts.next().unwrap_or_default();
    let rest = parts.map(|part| {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = part.split_at(digits);
        (number.parse().expect("our statements have no other dollars"), rest)
    });
    (first, rest)
}

/// Adds a statement's text and what it binds, behind what is bound already.
pub(super) fn append(statement: Statement, sql: &mut String, values: &mut Vec<Value>) {
    let before = values.len();
    let (first, rest) = parts(&statement.sql);
    sql.push_str(first);
    for (number, rest) in rest {
        write!(sql, "${}{rest}", before + number).expect("a text takes what is written to it");
    }
    values.extend(statement.values.into_iter().flat_map(|values| values.0));
}

/// Adds a value to those that a statement binds, and answers its place in the text.
pub(super) fn bind(values: &mut Vec<Value>, value: impl Into<Value>) -> String {
    values.push(value.into());
    format!("${}", values.len())
}

/// What ends a sub-select that is to be answered anew for each row around it, by an index.
///
/// PostgreSQL would turn the two into a join, which it reads as it thinks best by what it knew of the table when it was last
/// analyzed: of one that has grown since, as the new month's clicks, it goes through all rows of the tenant. Which index it
/// takes is still its choice: a plan that was made for good while the table was empty may take another one of the tenant's.
pub(super) const fn for_each_row(backend: DbBackend) -> &'static str {
    match backend {
        DbBackend::Sqlite => "",
        _ => " OFFSET 0",
    }
}

/// Joins `found`, the rows of a table that `condition` names, to each row around it; see [`for_each_row`].
pub(super) fn join_each(backend: DbBackend, table: &str, condition: &str) -> String {
    match backend {
        DbBackend::Sqlite => format!("CROSS JOIN {table} AS found ON {condition}"),
        _ => {
            let end = for_each_row(backend);
            format!("CROSS JOIN LATERAL (SELECT * FROM {table} AS found WHERE {condition}{end}) AS found")
        }
    }
}

/// How many values one statement may bind.
pub(super) const fn bind_limit(backend: DbBackend) -> usize {
    match backend {
        DbBackend::Sqlite => 32_766,
        _ => 65_535,
    }
}

/// `SUM` of a bigint column as bigint; PostgreSQL would answer NUMERIC.
pub(super) fn sum(column: &str) -> String {
    format!("CAST(COALESCE(SUM({column}), 0) AS bigint)")
}

/// A UUID column as a text: with dashes on PostgreSQL, hexadecimal on SQLite, where it is a blob.
pub(super) fn id_text(backend: DbBackend, column: &str) -> String {
    match backend {
        DbBackend::Sqlite => format!("lower(hex({column}))"),
        _ => format!("CAST({column} AS text)"),
    }
}

/// The start of the hour, UTC, of an instant's column: as `domain::report::hour`, for who counts whole tables.
pub(super) fn hour(backend: DbBackend, column: &str) -> String {
    match backend {
        // As the driver writes instants.
        DbBackend::Sqlite => format!("substr({column}, 1, 13) || ':00:00+00:00'"),
        _ => format!("date_trunc('hour', {column}, 'UTC')"),
    }
}

/// A date's column, so many days later.
pub(super) fn days_after(backend: DbBackend, column: &str, days: i32) -> String {
    match backend {
        DbBackend::Sqlite => format!("date({column}, '{days:+} days')"),
        _ => format!("({column} + {days})"),
    }
}

/// Whether an instant's column is so many minutes later than another one, or more.
pub(super) fn is_later_by(backend: DbBackend, column: &str, than: &str, minutes: u32) -> String {
    match backend {
        DbBackend::Sqlite => format!("julianday({column}) >= julianday({than}) + {minutes} / 1440.0"),
        _ => format!("{column} >= {than} + INTERVAL '{minutes} minutes'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbered_values_are_repeated_where_they_are_named() {
        let values: Vec<Value> = vec![1.into(), 2.into(), 3.into()];
        let (sql, bound) = anonymous("SELECT $3, ($1, $2), ($1, $3)", &values);
        assert_eq!(sql, "SELECT ?, (?, ?), (?, ?)");
        assert_eq!(bound, [3, 1, 2, 1, 3].map(Value::from));
        assert_eq!(anonymous("SELECT 1", &[]), ("SELECT 1".to_owned(), vec![]));
    }
}
