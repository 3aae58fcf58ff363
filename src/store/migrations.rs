//! The schema brought up to date at start, beside nodes that work.
//!
//! # Decisions
//! - On PostgreSQL under an advisory lock: two nodes may start at once.
//! - A step that changes a table waits for all who use it, and all who come after wait behind it. So it waits no longer
//!   than [`LOCK_TIMEOUT`], then gives way and comes again: one long transaction somewhere must not stop every writer.
//! - A node of the release before may start again after a newer one has migrated: steps are additive, so the schema
//!   serves both.

use std::{collections::BTreeSet, time::Duration};

use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, Statement};
use tokio::time::sleep;
use tributary_migration::{
    Migrator, MigratorTrait,
    protect::{create_app_role, let_app_see_steps},
};

use super::{database::Schema, error::StoreError};

/// Serialises the migrations of nodes that start together. Any constant does.
const MIGRATION_LOCK: i64 = 0x7472_6962_7574_6172;

/// How long one statement of a migration may wait for a lock, and keep those waiting that are behind it.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);
/// How long those are let through before it comes again.
const GIVE_WAY: Duration = Duration::from_secs(2);
/// How often it comes; all in all it waits for as long as PostgreSQL lets one of our transactions lie idle, and more.
const ATTEMPTS: u32 = 30;

/// How the schema stands to the steps of this program. Changes nothing.
///
/// # Errors
/// As the database answers.
pub(super) async fn compare(connection: &DatabaseConnection) -> Result<Schema, StoreError> {
    let statement = Statement::from_string(connection.get_database_backend(), "SELECT version FROM seaql_migrations");
    let rows = connection.query_all_raw(statement).await?;
    let applied: BTreeSet<String> = rows.iter().map(|row| row.try_get_by_index(0)).collect::<Result<_, _>>()?;
    let ours = ours();
    Ok(match (applied.is_superset(&ours), applied.len() > ours.len()) {
        (true, false) => Schema::Current,
        (true, true) => Schema::Newer,
        (false, _) => Schema::Behind,
    })
}

fn ours() -> BTreeSet<String> {
    Migrator::migrations().iter().map(|step| step.name().to_owned()).collect()
}

/// Brings the schema up to date. Steps that were done stay done when a later one fails.
///
/// # Errors
/// As the database answers, and when newer steps are there while some of ours are not.
pub(super) async fn up(connection: &DatabaseConnection) -> Result<(), StoreError> {
    let applied = Migrator::get_migration_models(connection).await?;
    let applied: BTreeSet<String> = applied.into_iter().map(|row| row.version).collect();
    let ours = ours();
    let newer: Vec<&str> = applied.difference(&ours).map(String::as_str).collect();
    // With one of ours missing as well this is another history of the schema, which `Migrator` refuses.
    if !newer.is_empty() && applied.is_superset(&ours) {
        tracing::warn!(steps = ?newer, "the schema is a newer release's; going on with it as it is");
        return Ok(());
    }
    Ok(Migrator::up(connection, None).await?)
}

/// As [`up`], on the one connection of a pool to PostgreSQL; and lets the user `login` assume the application's role.
///
/// # Errors
/// As [`up`]; a conflict when others kept a table locked at each attempt.
pub(super) async fn up_postgres(connection: &DatabaseConnection, login: String) -> Result<(), StoreError> {
    connection.execute_unprepared(&format!("SELECT pg_advisory_lock({MIGRATION_LOCK})")).await?;
    // Only now: the advisory lock is waited for however long another node migrates.
    let limit = format!("SET lock_timeout = {}", LOCK_TIMEOUT.as_millis());
    connection.execute_unprepared(&limit).await?;
    let migrated = give_way(async || {
        // At every start, not by a migration: roles belong to the cluster, not to the database that a backup restores.
        create_app_role(connection, login.clone()).await?;
        up(connection).await?;
        // Only now is the table there that it is of.
        Ok(let_app_see_steps(connection).await?)
    })
    .await;
    connection.execute_unprepared(&format!("SELECT pg_advisory_unlock({MIGRATION_LOCK})")).await?;
    migrated
}

/// Does it until it loses no race for locks, or too many.
async fn give_way(migrate: impl AsyncFn() -> Result<(), StoreError>) -> Result<(), StoreError> {
    for _ in 1..ATTEMPTS {
        match migrate().await {
            Err(StoreError::Conflict(error)) => {
                tracing::warn!(%error, "a table is in use; migrating later");
                sleep(GIVE_WAY).await;
            }
            result => return result,
        }
    }
    migrate().await.map_err(|error| match error {
        StoreError::Conflict(error) => StoreError::Unavailable(DbErr::Custom(format!(
            "others keep locked what a migration has to change, such as by a transaction that lies open: {error}"
        ))),
        error => error,
    })
}
