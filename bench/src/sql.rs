//! SQL that the benchmark asks of PostgreSQL itself, past the program: to seed, and to compare with.

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, QueryResult, Statement};

use tributary_entity::ids::ClickId;
use uuid::Uuid;

use crate::{BenchError, server};

impl From<sea_orm::DbErr> for BenchError {
    fn from(error: sea_orm::DbErr) -> Self {
        Self::Failed(error.to_string())
    }
}

/// A connection of the benchmark's own, and the address that it goes to.
///
/// # Errors
/// When the database is an embedded one, or does not answer.
pub async fn connect(database: &server::Database) -> Result<(DatabaseConnection, String), BenchError> {
    let url = database.url.clone().ok_or_else(|| BenchError::Failed("no PostgreSQL".to_owned()))?;
    Ok((sea_orm::Database::connect(url.clone()).await?, url))
}

/// All rows of a query.
///
/// # Errors
/// When the database refuses.
pub async fn all(database: &DatabaseConnection, sql: &str) -> Result<Vec<QueryResult>, BenchError> {
    Ok(database.query_all_raw(Statement::from_string(DbBackend::Postgres, sql)).await?)
}

/// The only row of a query.
///
/// # Errors
/// When there is none, or the database refuses.
pub async fn one(database: &DatabaseConnection, sql: &str) -> Result<QueryResult, BenchError> {
    let row = database.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
    row.ok_or_else(|| BenchError::Failed(format!("nothing is answered to: {sql}")))
}

/// Whose a click is.
///
/// # Errors
/// When it is not stored.
pub async fn tenant_of(database: &DatabaseConnection, click: &str) -> Result<Uuid, BenchError> {
    let id: ClickId = click.parse().map_err(|_| BenchError::Failed(format!("{click} is no click")))?;
    let row = one(database, &format!("SELECT tenant_id FROM click WHERE id = '{}'", id.uuid())).await?;
    Ok(row.try_get("", "tenant_id")?)
}
