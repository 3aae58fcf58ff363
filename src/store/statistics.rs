//! What PostgreSQL knows of tables that grow, by which it plans. Of no tenant: nothing of a row is told here.

use sea_orm::{ConnectionTrait, DbBackend, Statement};

use super::{database::Db, error::StoreError};

/// Renews the statistics of tables that have doubled since they were last looked at. Answers of how many; SQLite needs none.
///
/// # Errors
/// As the database answers.
pub async fn renew(db: &Db) -> Result<u64, StoreError> {
    let Some(tx) = db.begin_upkeep().await? else { return Ok(0) };
    let row = tx.query_one_raw(Statement::from_string(DbBackend::Postgres, "SELECT analyze_grown()")).await?;
    let count: i32 = row.map_or(Ok(0), |row| row.try_get_by_index(0))?;
    tx.commit().await?;
    Ok(u64::try_from(count).unwrap_or_default())
}
