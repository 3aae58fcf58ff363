//! The months of the click table on PostgreSQL. They belong to no tenant; nothing of a row is read or told here.

use sea_orm::{ConnectionTrait, DbBackend, Statement};

use super::{database::Db, error::StoreError};

/// Makes the partitions of this month and of `ahead` months more, where they are missing. Answers how many.
///
/// # Errors
/// As the database answers; one that would have to wait for others is given up.
pub async fn make(db: &Db, ahead: u32) -> Result<u64, StoreError> {
    call(db, "click_make_partitions", ahead).await
}

/// Drops the partitions of clicks older than this month and `keep` months before it. Answers how many.
///
/// # Errors
/// As [`make`].
pub async fn drop(db: &Db, keep: u32) -> Result<u64, StoreError> {
    call(db, "click_drop_partitions", keep).await
}

/// Nothing to do where there are no partitions.
async fn call(db: &Db, function: &str, months: u32) -> Result<u64, StoreError> {
    let Some(tx) = db.begin_upkeep().await? else { return Ok(0) };
    let sql = format!("SELECT {function}($1)");
    let months = i32::try_from(months).unwrap_or(i32::MAX);
    let row = tx.query_one_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [months.into()])).await?;
    let count: i32 = row.map_or(Ok(0), |row| row.try_get_by_index(0))?;
    tx.commit().await?;
    Ok(u64::try_from(count).unwrap_or_default())
}
