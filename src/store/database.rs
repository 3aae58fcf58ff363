//! Connections: one path for PostgreSQL and for SQLite, migrated at start.
//!
//! # Decisions
//! - SQLite has one writer connection and a pool of readers (`query_only`), in WAL mode with `synchronous=FULL`: group
//!   commit makes the full sync nearly free.
//! - On PostgreSQL every connection assumes [`APP_ROLE`] as it is opened, so that row-level security holds also when
//!   the configured user owns the tables or is a superuser. Migrations run as the configured user.
//! - What is acknowledged is on disk: each commit waits for it, whatever a role or a database has set, and a server that
//!   does not write safely is refused at start.
//! - A transaction that is dropped while a statement runs, because its request took too long, gives its connection
//!   [`GRACE`] to become free; then the connection is closed, and the server, which looks after its client each second
//!   ([`CLIENT_CHECK`]), ends the statement. The driver alone would wait for it. SQLite's runs to its end.
//! - Small pools: past 16 backends on two cores throughput falls by a third.

use std::{future::ready, panic::Location as Place, path::Path, sync::Arc, time::Duration};

use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, RuntimeErr,
    SqliteTransactionMode, Statement, TransactionOptions, TransactionTrait,
    sqlx::{
        self, ConnectOptions as _, Connection as _,
        postgres::{PgConnectOptions, PgConnection, PgPoolOptions},
        sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
    },
};
use tokio::time::timeout;
use tributary_migration::protect::APP_ROLE;

use super::{
    error::{StoreError, is_broken, plans_are_older_than},
    migrations,
    replica::{Replica, ReplicaAt, ReplicaState},
    scope::{Held, Tx},
    shares::{Share, Shares},
    spanned::Spanned,
};
use crate::domain::tenancy::TenantScope;

/// Where the data is.
#[derive(Clone, Debug)]
pub enum Location<'a> {
    /// A SQLite file, made when missing.
    File(&'a Path),
    /// A `postgres://` address; `admin_url` migrates, when that is another user.
    Postgres { url: &'a str, admin_url: Option<&'a str>, connections: u32, replica: Option<ReplicaAt<'a>> },
}

/// The schema beside this program's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schema {
    Current,
    /// A newer release has migrated it; it serves this one, too.
    Newer,
    /// Steps of this release are missing: another database has taken the place of the one that was migrated.
    Behind,
}

/// The database. Hands out transactions, never connections.
#[derive(Clone, Debug)]
pub struct Db {
    write: DatabaseConnection,
    read: DatabaseConnection,
    backend: DbBackend,
    /// Of the pool that is read from; on PostgreSQL it is the only one. SQLite's one writer is everybody's.
    shares: Arc<Shares>,
    /// PostgreSQL's, for who may be told what was so a moment ago.
    replica: Option<Arc<Replica>>,
}

/// What a tenant's transaction is begun for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Intent {
    Write,
    /// Writes what follows from whole tables.
    Rebuild,
    /// Reads one state.
    Read,
}

impl Intent {
    const fn writes(self) -> bool {
        matches!(self, Self::Write | Self::Rebuild)
    }

    /// SQLite's deferred transactions fail with "database is locked" when they turn into writers.
    fn on_sqlite(self) -> TransactionOptions {
        let mode = if self.writes() { SqliteTransactionMode::Immediate } else { SqliteTransactionMode::Deferred };
        TransactionOptions { sqlite_transaction_mode: Some(mode), ..TransactionOptions::default() }
    }

    /// What PostgreSQL is told once a transaction is begun: the driver would send it by itself, a journey more for each.
    const fn on_postgres(self) -> &'static str {
        match self {
            Self::Write => "",
            Self::Rebuild => "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; ",
            Self::Read => "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY; ",
        }
    }
}

/// How long a connection to PostgreSQL is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a transaction on the replica may take to begin.
const REPLICA_PATIENCE: Duration = Duration::from_millis(500);

/// Connections that read from SQLite.
const READERS: u32 = 4;

/// How long a statement whose request was given up may still run before its connection is closed.
const GRACE: Duration = Duration::from_millis(250);

/// How often PostgreSQL looks whether the client of a running statement is still there.
const CLIENT_CHECK: &str = "1s";

impl Db {
    /// Connects and brings the schema up to date.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot be reached, [`StoreError::Other`] when a migration fails, the
    /// application role would bypass row-level security, or the server may lose what it has committed.
    pub async fn open(location: &Location<'_>) -> Result<Self, StoreError> {
        match location {
            Location::File(path) => Self::open_file(path).await,
            Location::Postgres { url, admin_url, connections, replica } => {
                Self::open_postgres(url, admin_url.unwrap_or(url), *connections, *replica).await
            }
        }
    }

    async fn open_file(path: &Path) -> Result<Self, StoreError> {
        let connect = async |connections: u32, reader: bool| {
            let file = path.to_owned();
            let mut options = ConnectOptions::new("sqlite::memory:");
            options
                .max_connections(connections)
                .min_connections(1)
                .sqlx_logging(false)
                .test_before_acquire(false)
                .idle_timeout(None)
                .max_lifetime(None)
                .acquire_timeout(Duration::from_secs(30))
                .map_sqlx_sqlite_opts(move |_| {
                    SqliteConnectOptions::new()
                        .filename(&file)
                        .create_if_missing(true)
                        .journal_mode(SqliteJournalMode::Wal)
                        .synchronous(SqliteSynchronous::Full)
                        .foreign_keys(true)
                        .busy_timeout(Duration::from_secs(10))
                        // Else REPLACE would slip past the triggers that keep append-only tables.
                        .pragma("recursive_triggers", "ON")
                        .pragma("query_only", if reader { "ON" } else { "OFF" })
                        .pragma("cache_size", "-32000")
                        .statement_cache_capacity(256)
                })
                .map_sqlx_sqlite_pool_opts(|options: SqlitePoolOptions| {
                    options.after_release(|connection, _| Box::pin(has_ended(connection)))
                });
            Database::connect(options).await
        };
        let write = connect(1, false).await?;
        migrations::up(&write).await?;
        let read = connect(READERS, true).await?;
        Ok(Self { write, read, backend: DbBackend::Sqlite, shares: Arc::new(Shares::of(READERS)), replica: None })
    }

    async fn open_postgres(
        url: &str,
        admin_url: &str,
        connections: u32,
        replica: Option<ReplicaAt<'_>>,
    ) -> Result<Self, StoreError> {
        migrate_postgres(admin_url, url).await?;
        let options = postgres_options(url, connections, |_| false);
        let pool = match Database::connect(options).await {
            Ok(pool) => pool,
            Err(error) => return Err(explain(url, error).await),
        };
        refuse_privileged_role(&pool).await?;
        let shares = Arc::new(Shares::of(connections));
        let replica = match replica {
            Some(at) => Some(Arc::new(Replica::open(at, url, connections).await?)),
            None => None,
        };
        Ok(Self { write: pool.clone(), read: pool, backend: DbBackend::Postgres, shares, replica })
    }

    /// Of each pool, how many connections are open and how many of them idle.
    pub fn connections(&self) -> Vec<(&'static str, [u32; 2])> {
        let counts = |pool: &DatabaseConnection| {
            let (open, idle) = match self.backend {
                DbBackend::Postgres => {
                    let pool = pool.get_postgres_connection_pool();
                    (pool.size(), pool.num_idle())
                }
                _ => {
                    let pool = pool.get_sqlite_connection_pool();
                    (pool.size(), pool.num_idle())
                }
            };
            [open, u32::try_from(idle).unwrap_or(u32::MAX)]
        };
        match (self.backend, &self.replica) {
            (DbBackend::Postgres, None) => vec![("shared", counts(&self.write))],
            (DbBackend::Postgres, Some(replica)) => {
                vec![("shared", counts(&self.write)), ("replica", counts(&replica.pool))]
            }
            _ => vec![("write", counts(&self.write)), ("read", counts(&self.read))],
        }
    }

    /// Whether only one transaction at a time can write, however many begin.
    pub fn has_one_writer(&self) -> bool {
        self.backend == DbBackend::Sqlite
    }

    /// Begins a transaction that writes, for one tenant.
    ///
    /// # Errors
    /// As the database answers.
    #[track_caller]
    pub fn begin(&self, scope: &TenantScope) -> impl Future<Output = Result<Tx, StoreError>> + Send {
        self.open_on(&self.write, &self.shares, Intent::Write, *scope, Place::caller())
    }

    /// Begins a transaction that reads one state of one tenant: all its reads see the same moment.
    ///
    /// # Errors
    /// As the database answers.
    #[track_caller]
    pub fn snapshot(&self, scope: &TenantScope) -> impl Future<Output = Result<Tx, StoreError>> + Send {
        self.read_one_state(*scope, Place::caller())
    }

    /// Whether queries of a tenant may be answered by the replica: it is young enough, and has what this node wrote.
    pub fn replica_has(&self, scope: &TenantScope) -> bool {
        self.replica.as_ref().is_some_and(|replica| replica.has(scope.tenant_id()))
    }

    /// How the replica is, and how old the state that it has for certain; none where there is no replica.
    pub fn replica(&self) -> Option<(ReplicaState, Duration)> {
        self.replica.as_ref().map(|replica| (replica.state(), replica.lag()))
    }

    /// As [`Db::snapshot`], of a state that may be older than the newest: the replica's.
    ///
    /// # Errors
    /// As the replica answers: whoever began there begins anew by the newest.
    #[track_caller]
    pub fn snapshot_of_replica(&self, scope: &TenantScope) -> impl Future<Output = Result<Tx, StoreError>> + Send {
        let (scope, wanted_by) = (*scope, Place::caller());
        async move {
            let Some(replica) = &self.replica else { return self.read_one_state(scope, wanted_by).await };
            let begun = self.open_on(&replica.pool, &replica.shares, Intent::Read, scope, wanted_by);
            timeout(REPLICA_PATIENCE, begun).await.unwrap_or_else(|_| Err(StoreError::timed_out()))
        }
    }

    /// Waits until the replica does not answer any more.
    pub async fn replica_lost(&self) {
        match &self.replica {
            Some(replica) => replica.lost().await,
            None => std::future::pending().await,
        }
    }

    /// Something was written for the tenant, here or elsewhere, that somebody is told of: the replica may not have it yet.
    pub fn heard_of(&self, scope: &TenantScope) {
        if let Some(replica) = &self.replica {
            replica.heard_of(scope.tenant_id());
        }
    }

    /// As [`Db::snapshot`], for who reads whole tables: no statement of it is ended for its length.
    ///
    /// # Errors
    /// As the database answers.
    #[track_caller]
    pub fn audit(&self, scope: &TenantScope) -> impl Future<Output = Result<Tx, StoreError>> + Send {
        let snapshot = self.read_one_state(*scope, Place::caller());
        async move { self.take_time(snapshot.await?).await }
    }

    /// As [`Db::begin`], for who writes what follows from whole tables: what others change meanwhile is not overwritten
    /// but a `Conflict`.
    ///
    /// # Errors
    /// As the database answers.
    #[track_caller]
    pub fn begin_rebuild(&self, scope: &TenantScope) -> impl Future<Output = Result<Tx, StoreError>> + Send {
        let begun = self.open_on(&self.write, &self.shares, Intent::Rebuild, *scope, Place::caller());
        async move { self.take_time(begun.await?).await }
    }

    fn read_one_state(
        &self,
        scope: TenantScope,
        wanted_by: &'static Place<'static>,
    ) -> impl Future<Output = Result<Tx, StoreError>> + Send {
        self.open_on(&self.read, &self.shares, Intent::Read, scope, wanted_by)
    }

    /// Begins a transaction of a tenant, on one of its share of a pool's connections; who wants it tells what it is for.
    async fn open_on(
        &self,
        pool: &DatabaseConnection,
        shares: &Shares,
        intent: Intent,
        scope: TenantScope,
        wanted_by: &'static Place<'static>,
    ) -> Result<Tx, StoreError> {
        let spanned = Spanned::begin(self.backend, &scope, wanted_by);
        let share = if intent.writes() && self.has_one_writer() { None } else { Some(share(shares, scope).await?) };
        let begun = match self.backend {
            DbBackend::Postgres => {
                let begun = begin_on(pool, TransactionOptions::default()).await?;
                begun.execute_unprepared(&format!("{}{}", intent.on_postgres(), of_tenant(&scope))).await?;
                begun
            }
            _ => begin_on(pool, intent.on_sqlite()).await?,
        };
        let replica = self.replica.as_ref().filter(|_| intent.writes());
        let held = Held { _share: share, _writing: replica.map(|replica| replica.writing(scope.tenant_id())) };
        Ok(Tx::open(begun, scope, self.backend, spanned, held))
    }

    async fn take_time(&self, tx: Tx) -> Result<Tx, StoreError> {
        if self.backend == DbBackend::Postgres {
            tx.connection().execute_unprepared("SET LOCAL statement_timeout = 0").await?;
        }
        Ok(tx)
    }

    /// A transaction that reads and belongs to no tenant, for [`super::directory`].
    pub(super) async fn begin_unscoped(&self) -> Result<(DatabaseTransaction, DbBackend), StoreError> {
        Ok((begin_on(&self.read, TransactionOptions::default()).await?, self.backend))
    }

    /// A transaction that changes tables themselves, for [`super::partitions`]; none on SQLite, which has no partitions.
    pub(super) async fn begin_upkeep(&self) -> Result<Option<DatabaseTransaction>, StoreError> {
        if self.backend != DbBackend::Postgres {
            return Ok(None);
        }
        Ok(Some(begin_on(&self.write, TransactionOptions::default()).await?))
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// As the database answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.read.execute_unprepared("SELECT 1").await?;
        Ok(())
    }

    /// How the schema stands to this program.
    ///
    /// # Errors
    /// As the database answers.
    pub async fn schema(&self) -> Result<Schema, StoreError> {
        migrations::compare(&self.read).await
    }

    /// Closes all connections; SQLite folds its log into the file.
    ///
    /// # Errors
    /// As the database answers.
    pub async fn close(self) -> Result<(), StoreError> {
        if let Some(replica) = &self.replica {
            replica.close().await;
        }
        self.read.close().await?;
        self.write.close().await?;
        Ok(())
    }
}

/// One of the tenant's connections of a pool, waited for as long as for one of all.
async fn share(shares: &Shares, scope: TenantScope) -> Result<Share, StoreError> {
    let share = timeout(PATIENCE, shares.take(scope.tenant_id())).await;
    share.map_err(|_| StoreError::timed_out())
}

/// How a node connects to PostgreSQL: as the role that row-level security binds, and with limits. Connections of an age that
/// `is_lost` are closed instead of being used again.
pub(super) fn postgres_options(
    url: &str,
    connections: u32,
    is_lost: impl Fn(Duration) -> bool + Send + Sync + 'static,
) -> ConnectOptions {
    let is_lost = Arc::new(is_lost);
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(connections)
        .sqlx_logging(false)
        .test_before_acquire(false)
        .acquire_timeout(PATIENCE)
        .map_sqlx_postgres_opts(|options: PgConnectOptions| {
            options
                // A server that hangs must not hold a lane, nor a client that hangs a row.
                .options([
                    ("role", APP_ROLE),
                    ("synchronous_commit", "on"),
                    ("statement_timeout", "30s"),
                    ("idle_in_transaction_session_timeout", "60s"),
                    ("client_connection_check_interval", CLIENT_CHECK),
                ])
                .application_name("tributary")
                // Statements of many rows weigh megabytes in each backend.
                .statement_cache_capacity(64)
        })
        .map_sqlx_postgres_pool_opts(move |options: PgPoolOptions| {
            let is_lost = Arc::clone(&is_lost);
            options
                .before_acquire(move |_, connection| {
                    let age = connection.age;
                    Box::pin(ready(Ok(!plans_are_older_than(age) && !is_lost(age))))
                })
                .after_release(|connection, _| Box::pin(is_soon_free(connection)))
        });
    options
}

/// Tells PostgreSQL's row-level security whose rows a transaction may see.
fn of_tenant(scope: &TenantScope) -> String {
    // Digits and dashes: nothing that would have to be escaped.
    format!("SET LOCAL app.tenant = '{}'", scope.tenant_id().uuid())
}

/// Begins a transaction on a connection that lives. Those that the server closed while they lay in the pool tell only
/// when they are used; nothing was done on them yet, so the next one is taken instead of failing the caller.
async fn begin_on(pool: &DatabaseConnection, options: TransactionOptions) -> Result<DatabaseTransaction, DbErr> {
    let pooled = match pool.get_database_backend() {
        DbBackend::Postgres => pool.get_postgres_connection_pool().size(),
        _ => 0,
    };
    for _ in 0..pooled {
        match pool.begin_with_options(options).await {
            Err(error) if is_broken(&error) => tracing::debug!(%error, "a connection was closed in the pool"),
            result => return result,
        }
    }
    pool.begin_with_options(options).await
}

/// Whether a connection to SQLite that comes back has ended its transaction. An error of the disk ends one by itself, behind
/// the driver's back, which then believes in it for ever: what comes next is a savepoint to it, one that fails leaves a
/// transaction open, and whatever is released inside that is acknowledged and never committed. Closed, all of it is undone.
async fn has_ended(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    // Behind the rollback of what was dropped.
    connection.ping().await?;
    Ok(!connection.is_in_transaction())
}

/// Whether a connection that comes back can be used again. An error closes it without a word to the server, which
/// could not hear it.
async fn is_soon_free(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    // What was dropped has left a rollback to be sent; all others are free.
    if connection.should_flush() {
        timeout(GRACE, connection.ping()).await.map_err(|_| sqlx::Error::PoolTimedOut)??;
    }
    Ok(true)
}

/// Brings the schema up to date as the user of `admin_url`, and lets the user of `url` assume the application's role.
async fn migrate_postgres(admin_url: &str, url: &str) -> Result<(), StoreError> {
    let mut options = ConnectOptions::new(admin_url);
    // One connection: the locks and limits of a migration belong to the session that does the work.
    options.max_connections(1).sqlx_logging(false).acquire_timeout(PATIENCE);
    let connection = match Database::connect(options).await {
        Ok(connection) => connection,
        Err(error) => return Err(explain(admin_url, error).await),
    };
    // Before anything is written to it.
    refuse_unsafe_writes(&connection).await?;
    let migrated = migrations::up_postgres(&connection, login_role(url)?).await;
    connection.close().await?;
    migrated
}

/// Says where and why there is no connection: a pool only tells that it waited in vain.
async fn explain(url: &str, error: DbErr) -> StoreError {
    let Ok(options) = url.parse::<PgConnectOptions>() else { return error.into() };
    let place = format!("{}:{}", options.get_host(), options.get_port());
    match timeout(PATIENCE, options.connect()).await {
        Ok(Ok(_)) => error.into(),
        Ok(Err(why)) => StoreError::Unavailable(DbErr::Conn(RuntimeErr::Internal(format!("{place}: {why}")))),
        Err(_) => StoreError::Unavailable(DbErr::Conn(RuntimeErr::Internal(format!("{place} does not answer")))),
    }
}

/// The user that an address logs in as.
fn login_role(url: &str) -> Result<String, DbErr> {
    let options: PgConnectOptions =
        url.parse().map_err(|error: sea_orm::sqlx::Error| DbErr::Custom(format!("DATABASE_URL: {error}")))?;
    Ok(options.get_username().to_owned())
}

/// Row-level security does not bind superusers, BYPASSRLS roles and (unless forced) owners.
async fn refuse_privileged_role(connection: &DatabaseConnection) -> Result<(), StoreError> {
    let row = connection
        .query_one_raw(Statement::from_string(
            DbBackend::Postgres,
            "SELECT rolsuper OR rolbypassrls AS privileged FROM pg_roles WHERE rolname = current_user",
        ))
        .await?;
    match row.map(|row| row.try_get::<bool>("", "privileged")).transpose()? {
        Some(false) => Ok(()),
        _ => Err(StoreError::Other(DbErr::Custom(format!(
            "the database role of the application must be neither superuser nor BYPASSRLS; expected {APP_ROLE}"
        )))),
    }
}

/// A server that does not sync its log, or not whole pages, may lose or tear what it has committed.
async fn refuse_unsafe_writes(connection: &DatabaseConnection) -> Result<(), StoreError> {
    for setting in ["fsync", "full_page_writes"] {
        let sql = format!("SELECT current_setting('{setting}') AS value");
        let row = connection.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
        let value = row.map(|row| row.try_get::<String>("", "value")).transpose()?;
        if value.as_deref() != Some("on") {
            return Err(StoreError::Other(DbErr::Custom(format!(
                "PostgreSQL runs with {setting}={}: it may lose what it has committed; set {setting}=on",
                value.unwrap_or_default(),
            ))));
        }
    }
    Ok(())
}
