//! Databases for tests: a SQLite file in a temporary folder, or a PostgreSQL database cloned from a migrated template.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};

use sea_orm::{
    ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, QueryResult, SqliteTransactionMode, Statement,
    TransactionOptions, TransactionTrait,
};
use tokio::sync::OnceCell;
use tributary::store::database::{Db, Location};

const NEED: &str = "the tests need private PostgreSQL and Redis servers: run them by `make test`, or one by one by \
                    `tests/with-servers cargo test --test it NAME`";

/// The address of the test server's `postgres` database, as superuser.
pub fn postgres_url() -> String {
    std::env::var("TRIBUTARY_TEST_DATABASE_URL").expect(NEED)
}

/// The address of the test server.
pub fn redis_url() -> String {
    std::env::var("TRIBUTARY_TEST_REDIS_URL").expect(NEED)
}

/// Databases of the test server, as `tests/with-servers` starts it.
const REDIS_DATABASES: u32 = 4_096;
static NEXT_REDIS: AtomicU32 = AtomicU32::new(0);

/// An empty Redis database; its address. Rate limits are counted in it, and tests must not use up each other's.
pub async fn new_redis() -> String {
    // Another process may run tests against the same server.
    let number = std::process::id().wrapping_mul(61).wrapping_add(NEXT_REDIS.fetch_add(1, Ordering::Relaxed));
    let url = format!("{}/{}", redis_url().trim_end_matches('/'), number % REDIS_DATABASES);
    let client = redis::Client::open(url.as_str()).expect("an address");
    let mut connection = client.get_multiplexed_async_connection().await.expect(NEED);
    redis::cmd("FLUSHDB").exec_async(&mut connection).await.expect("empties");
    url
}

/// The server's address with another database.
fn with_database(name: &str) -> String {
    let url = postgres_url();
    let (server, _) = url.rsplit_once('/').expect("an address with a database");
    format!("{server}/{name}")
}

static TEMPLATE: OnceCell<String> = OnceCell::const_new();
/// CREATE DATABASE waits for nobody: two clones at once of one template fail.
static CLONING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A new PostgreSQL database without a schema; its address.
pub async fn empty_postgres() -> String {
    let name = format!("test_{}", uuid::Uuid::new_v4().simple());
    let admin = Database::connect(postgres_url()).await.expect(NEED);
    admin.execute_unprepared(&format!("CREATE DATABASE {name}")).await.expect("a database");
    admin.close().await.expect("closes");
    with_database(&name)
}

/// A new, migrated PostgreSQL database; its address.
pub async fn new_postgres() -> String {
    let template = TEMPLATE
        .get_or_init(|| async {
            let name = format!("template_{}", std::process::id());
            let admin = Database::connect(postgres_url()).await.expect(NEED);
            admin.execute_unprepared(&format!("CREATE DATABASE {name}")).await.expect("a template");
            admin.close().await.expect("closes");
            let url = with_database(&name);
            let location = Location::Postgres { url: &url, admin_url: None, connections: 2, replica: None };
            let db = Db::open(&location).await.expect("the template migrates");
            db.close().await.expect("closes");
            name
        })
        .await;
    let name = format!("test_{}", uuid::Uuid::new_v4().simple());
    let _alone = CLONING.lock().await;
    let admin = Database::connect(postgres_url()).await.expect(NEED);
    // A connection that was just closed may still be on its way out of the template.
    for attempt in 0.. {
        let created = admin.execute_unprepared(&format!("CREATE DATABASE {name} TEMPLATE {template}")).await;
        match created {
            Ok(_) => break,
            Err(error) if attempt < 50 && error.to_string().contains("being accessed") => {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
            Err(error) => panic!("clone of the template: {error}"),
        }
    }
    admin.close().await.expect("closes");
    with_database(&name)
}

/// A connection past the store: sees every tenant, as an auditor does.
pub struct Auditor(DatabaseConnection);

impl Auditor {
    pub async fn file(path: PathBuf) -> Self {
        Self(Database::connect(format!("sqlite://{}", path.display())).await.expect("the file opens"))
    }

    pub async fn postgres(url: &str) -> Self {
        let mut options = sea_orm::ConnectOptions::new(url);
        options.max_connections(2);
        Self(Database::connect(options).await.expect("the database opens"))
    }

    pub fn is_postgres(&self) -> bool {
        self.0.get_database_backend() == sea_orm::DbBackend::Postgres
    }

    /// An id as SQL writes it.
    pub fn literal(&self, id: uuid::Uuid) -> String {
        if self.is_postgres() { format!("'{id}'") } else { format!("X'{}'", id.simple()) }
    }

    pub async fn rows(&self, sql: &str) -> Vec<QueryResult> {
        let statement = Statement::from_string(self.0.get_database_backend(), sql);
        self.0.query_all_raw(statement).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The first column of the only row.
    pub async fn number(&self, sql: &str) -> i64 {
        self.rows(sql).await[0].try_get_by_index(0).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Runs a statement; its error is the point of some tests.
    pub async fn run(&self, sql: &str) -> Result<(), sea_orm::DbErr> {
        self.0.execute_unprepared(sql).await.map(drop)
    }

    /// Changes by hand what is agreed: batches remember it for a second, unless they are told.
    pub async fn agree(&self, sql: &str) {
        let told = "UPDATE tenant_counter SET programme_version = programme_version + 1";
        self.run(&format!("{sql}; {told}")).await.expect("a known column");
    }

    /// A transaction, to lock what a node needs.
    pub async fn begin(&self) -> DatabaseTransaction {
        self.0.begin().await.expect("begins")
    }

    /// Stops all writing of the app until the answer is rolled back.
    pub async fn block(&self) -> DatabaseTransaction {
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        let blocking = self.0.begin_with_options(options).await.expect("a transaction");
        if self.is_postgres() {
            // Whoever commits numbers its events by these rows.
            let lock = "SELECT * FROM tenant_counter FOR UPDATE";
            blocking.execute_unprepared(lock).await.expect("locked");
        }
        blocking
    }

    /// Stops all recording of clicks until the answer is rolled back; nobody is told.
    pub async fn block_clicks(&self) -> DatabaseTransaction {
        if !self.is_postgres() {
            return self.block().await;
        }
        let blocking = self.begin().await;
        blocking.execute_unprepared("LOCK TABLE click IN EXCLUSIVE MODE").await.expect("locked");
        blocking
    }

    pub async fn close(self) {
        self.0.close().await.expect("closes");
    }
}
