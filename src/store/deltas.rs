//! Running totals: adds signed amounts to counter rows, many in one statement, never by read-then-write.
//!
//! Rows are made when missing and locked in key order, so that two nodes never wait for each other in a circle; the
//! table's CHECKs are the guard against leaving the range.

use sea_orm::{ConnectionTrait, Value};

use super::{arrays, dialect, error::StoreError, scope::Tx};

/// A table of counters.
pub(super) struct Counters {
    pub table: &'static str,
    /// Key columns after `tenant_id`.
    pub keys: &'static [&'static str],
    pub counters: &'static [&'static str],
    /// A column that grows by one with each change.
    pub version: Option<&'static str>,
}

/// What to add to one row.
pub(super) struct Delta {
    pub key: Vec<Value>,
    /// One for each counter.
    pub amounts: Vec<i64>,
}

/// Adds amounts to one column of rows that are there, found by their id, many in one statement. `set` may name `$2`.
///
/// # Errors
/// `Inconsistent` when one of them is not there; nothing is to be kept then.
pub(super) async fn add_to_rows(
    tx: &mut Tx,
    table: &'static str,
    set: &str,
    also: Option<Value>,
    deltas: &[(Value, i64)],
) -> Result<(), StoreError> {
    for deltas in deltas.chunks(1_000) {
        let mut values = vec![tx.scope().tenant_id().into()];
        values.extend(also.clone());
        let rows = deltas.iter().map(|(id, amount)| vec![id.clone(), (*amount).into()]);
        let rows = arrays::relation(tx.backend(), rows, &mut values)?;
        let sql = format!(
            "WITH delta (id, amount) AS ({rows}) UPDATE {table} SET {set} FROM delta \
             WHERE {table}.tenant_id = $1 AND {table}.id = delta.id"
        );
        let changed = tx.connection().execute_raw(tx.statement(sql, values)).await?.rows_affected();
        if changed != deltas.len() as u64 {
            return Err(StoreError::inconsistent(table, format!("{changed} of {} rows changed", deltas.len())));
        }
    }
    Ok(())
}

impl Counters {
    /// How many rows one statement takes.
    fn chunk(&self, tx: &Tx) -> usize {
        let per_row = self.keys.len() + self.counters.len();
        ((dialect::bind_limit(tx.backend()) - 1) / per_row).min(500)
    }

    /// Makes missing rows of zeros and locks all; the keys are distinct and sorted.
    ///
    /// # Errors
    /// As the database answers.
    pub async fn open(&self, tx: &mut Tx, keys: impl Iterator<Item = Vec<Value>>) -> Result<(), StoreError> {
        let zeros = |key| Delta { key, amounts: vec![0; self.counters.len()] };
        let deltas: Vec<Delta> = keys.map(zeros).collect();
        for deltas in deltas.chunks(self.chunk(tx)) {
            self.upsert(tx, deltas, true).await?;
        }
        Ok(())
    }

    /// Adds `deltas`, whose keys are distinct and sorted.
    ///
    /// # Errors
    /// `Constraint::CounterRange` when a counter would leave its range; nothing is added then.
    pub async fn add(&self, tx: &mut Tx, deltas: &[Delta]) -> Result<(), StoreError> {
        for deltas in deltas.chunks(self.chunk(tx)) {
            // An insert of a negative start would break the CHECK even where the row exists: those take two steps.
            if deltas.iter().all(|delta| delta.amounts.iter().all(|amount| *amount >= 0)) {
                self.upsert(tx, deltas, false).await?;
            } else {
                self.upsert(tx, deltas, true).await?;
                self.update(tx, deltas).await?;
            }
        }
        Ok(())
    }

    /// Makes missing rows and adds to the others; with `only_lock`, adds nothing.
    async fn upsert(&self, tx: &mut Tx, deltas: &[Delta], only_lock: bool) -> Result<(), StoreError> {
        let Self { table, keys, counters, version } = self;
        let mut values = vec![tx.scope().tenant_id().into()];
        let rows = rows(tx, deltas, &mut values, only_lock)?;
        let first_version = if version.is_some() { ", 1" } else { "" };
        let columns: Vec<&str> = keys.iter().chain(counters.iter()).chain(version.iter()).copied().collect();
        let mut set: Vec<String> =
            counters.iter().map(|column| format!("{column} = {table}.{column} + excluded.{column}")).collect();
        set.extend(version.map(|column| {
            let step = if only_lock { 0 } else { 1 };
            format!("{column} = {table}.{column} + {step}")
        }));
        let sql = format!(
            // SQLite would take ON for a join's without the WHERE.
            "INSERT INTO {table} (tenant_id, {}) SELECT $1, delta.*{first_version} FROM ({rows}) AS delta WHERE TRUE \
             ON CONFLICT (tenant_id, {}) DO UPDATE SET {}",
            columns.join(", "),
            keys.join(", "),
            set.join(", "),
        );
        tx.connection().execute_raw(tx.statement(sql, values)).await?;
        Ok(())
    }

    async fn update(&self, tx: &mut Tx, deltas: &[Delta]) -> Result<(), StoreError> {
        let Self { table, keys, counters, version } = self;
        let mut values = vec![tx.scope().tenant_id().into()];
        let rows = rows(tx, deltas, &mut values, false)?;
        let columns: Vec<&str> = keys.iter().chain(counters.iter()).copied().collect();
        let mut set: Vec<String> =
            counters.iter().map(|column| format!("{column} = {table}.{column} + delta.{column}")).collect();
        set.extend(version.map(|column| format!("{column} = {table}.{column} + 1")));
        let on: Vec<String> = keys.iter().map(|column| format!("{table}.{column} = delta.{column}")).collect();
        let sql = format!(
            "WITH delta ({}) AS ({rows}) UPDATE {table} SET {} FROM delta WHERE {table}.tenant_id = $1 AND {}",
            columns.join(", "),
            set.join(", "),
            on.join(" AND "),
        );
        let result = tx.connection().execute_raw(tx.statement(sql, values)).await?;
        if result.rows_affected() == deltas.len() as u64 {
            Ok(())
        } else {
            Err(StoreError::inconsistent(table, "a counter row vanished between lock and update"))
        }
    }
}

/// Keys and amounts as a relation; with `zero`, nothing to add.
fn rows(tx: &Tx, deltas: &[Delta], values: &mut Vec<Value>, zero: bool) -> Result<String, StoreError> {
    let rows = deltas.iter().map(|delta| {
        let amounts = delta.amounts.iter().map(|amount| Value::from(if zero { 0 } else { *amount }));
        delta.key.iter().cloned().chain(amounts).collect()
    });
    arrays::relation(tx.backend(), rows, values)
}
