//! Inserts that wait for their transaction's next other statement, and are then sent as one.
//!
//! A conversion is a row in each of eight tables, none of which its transaction reads again. Sent one after the other, each
//! costs a journey to the server and back, in which nothing is done.
//!
//! # Decisions
//! - Whoever asks the connection anything has what was deferred written before: nobody reads a table without the rows that
//!   they have put into it.
//! - PostgreSQL gets one `WITH` whose parts are the inserts. Foreign keys are checked when all of it is done, so that their
//!   order is of no matter. The driver keeps a prepared statement for each set of tables, of which there are few.
//! - SQLite, which is a call away and knows no such `WITH`, gets them one by one.
//! - What an insert runs into is told by the statement that makes it be written, at the latest by the commit: only what
//!   nobody has another answer to than to give the transaction up may be deferred.

use std::{
    fmt::Write,
    mem::take,
    sync::{Mutex, MutexGuard, PoisonError},
};

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, ExecResult, QueryResult, Statement, Value};

use super::dialect;

/// Inserts of one statement: more would only make a longer text.
const TOGETHER: usize = 32;

/// The connection of a transaction.
pub(super) struct Connection {
    inner: DatabaseTransaction,
    deferred: Mutex<Vec<Statement>>,
}

impl Connection {
    pub(super) fn new(inner: DatabaseTransaction) -> Self {
        Self { inner, deferred: Mutex::default() }
    }

    /// Has inserts written before the next other statement. They bind `$1` and so on, each its own.
    pub(super) fn defer(&self, inserts: Vec<Statement>) {
        self.deferred().extend(inserts);
    }

    /// Writes what is deferred, and commits.
    pub(super) async fn commit(self) -> Result<(), DbErr> {
        self.flush().await?;
        self.inner.commit().await
    }

    /// Writes what is deferred.
    pub(super) async fn flush(&self) -> Result<(), DbErr> {
        let mut inserts = take(&mut *self.deferred()).into_iter().peekable();
        while inserts.peek().is_some() {
            let together: Vec<Statement> = match self.inner.get_database_backend() {
                DbBackend::Postgres => inserts.by_ref().take(TOGETHER).collect(),
                _ => inserts.by_ref().take(1).collect(),
            };
            self.inner.execute_raw(as_one(together)).await?;
        }
        Ok(())
    }

    /// A panic elsewhere leaves it whole: every change is one call.
    fn deferred(&self) -> MutexGuard<'_, Vec<Statement>> {
        self.deferred.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait::async_trait]
impl ConnectionTrait for Connection {
    fn get_database_backend(&self) -> DbBackend {
        self.inner.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.flush().await?;
        self.inner.execute_raw(statement).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.flush().await?;
        self.inner.execute_unprepared(sql).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.flush().await?;
        self.inner.query_one_raw(statement).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.flush().await?;
        self.inner.query_all_raw(statement).await
    }
}

/// One statement that does what these do. There is at least one, of one backend.
fn as_one(mut statements: Vec<Statement>) -> Statement {
    let last = statements.pop().expect("there is at least one");
    if statements.is_empty() {
        return last;
    }
    let mut sql = String::new();
    let mut values: Vec<Value> = Vec::new();
    let backend = last.db_backend;
    for (number, statement) in statements.into_iter().enumerate() {
        let begin = if number == 0 { "WITH" } else { "," };
        write!(sql, "{begin} part{number} AS (").expect("a text takes what is written to it");
        dialect::append(statement, &mut sql, &mut values);
        sql.push(')');
    }
    sql.push(' ');
    dialect::append(last, &mut sql, &mut values);
    Statement::from_sql_and_values(backend, sql, values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(sql: &str, values: &[i64]) -> Statement {
        Statement::from_sql_and_values(DbBackend::Postgres, sql, values.iter().map(|value| Value::from(*value)))
    }

    #[test]
    fn inserts_become_one_statement_that_binds_what_they_bind() {
        let one = insert("INSERT INTO a SELECT $2, $1, $2", &[1, 2]);
        assert_eq!(as_one(vec![one.clone()]), one);
        let three =
            as_one(vec![one, insert("INSERT INTO b VALUES (0)", &[]), insert("INSERT INTO c VALUES ($1)", &[3])]);
        assert_eq!(
            three.sql,
            "WITH part0 AS (INSERT INTO a SELECT $2, $1, $2), part1 AS (INSERT INTO b VALUES (0)) \
             INSERT INTO c VALUES ($3)"
        );
        assert_eq!(three.values.expect("values").0, [1_i64, 2, 3].map(Value::from));
    }
}
