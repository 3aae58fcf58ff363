//! A node of a test: production wiring on a port of its own, with a clock that can be advanced and cheap passwords.

use std::sync::Arc;

use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle};
use tributary::{
    ambient::{Clock, ShiftedClock},
    app::{App, Leaves, SecretSource},
    auth::{
        Passwords,
        passwords::Cost,
        tokens::{Grant, Subject},
    },
    config::Settings,
    domain::tenancy::TenantScope,
    graphql::execution::Api,
    http::Pace,
    services::{Services, holds, ledger_blocks, revenue_settlements, tenants::NewTenant},
    store::database::Location,
};
use tributary_entity::{
    ids::{AffiliateId, TenantId},
    kinds::Role,
};

use super::{
    Client,
    database::{self, Auditor},
    invariants,
};

/// What a test runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    Sqlite,
    Postgres,
}

pub const SECRET: &str = "the secret of all tests, long enough";
pub const PASSWORD: &str = "correct horse battery";

/// A running node with two tenants: `home`, and `away`, whose people are strangers.
pub struct TestApp {
    pub backend: Backend,
    pub services: Services,
    /// What the transports stand on, with groups of its own.
    pub api: Api,
    pub clock: ShiftedClock,
    pub url: String,
    pub settings: Settings,
    pub home: TenantId,
    pub away: TenantId,
    pub auditor: Auditor,
    /// Tests that break the ledger on purpose say so.
    pub check_invariants: std::sync::atomic::AtomicBool,
    running: Running,
    _folder: TempDir,
}

/// A node that serves in this process.
pub struct Running {
    pub services: Services,
    /// What the transports stand on, with groups of its own.
    pub api: Api,
    pub url: String,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

impl Running {
    async fn start(settings: Settings, clock: &ShiftedClock, pace: Pace) -> Self {
        let leaves = Leaves { clock: Arc::new(clock.clone()), passwords: Passwords::new(Cost::Trivial), pace };
        let app = App::open(settings, SecretSource::Settings, leaves).await.expect("the app opens");
        let services = app.services.clone();
        let api = Api::new(app.schema.clone(), services.clone());
        let listener = app.listen().await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(async move {
            let shutdown = async {
                let _ = stopped.await;
            };
            app.serve(listener, shutdown).await.expect("serves to the end");
        });
        Self { services, api, url, stop, served }
    }

    /// Stops the node.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        self.served.await.expect("stops cleanly");
    }
}

/// Runs a test's body on a fresh app, then checks what must always hold.
pub async fn run(backend: Backend, body: impl AsyncFnOnce(&TestApp)) {
    run_with(backend, |_| {}, body).await;
}

/// As [`run`], with changed settings.
pub async fn run_with(backend: Backend, change: impl FnOnce(&mut Settings), body: impl AsyncFnOnce(&TestApp)) {
    let app = TestApp::start_with(backend, change).await;
    body(&app).await;
    app.finish().await;
}

/// As [`run`], with another tuning.
pub async fn run_tuned(backend: Backend, tune: impl FnOnce(&mut Tuning), body: impl AsyncFnOnce(&TestApp)) {
    let app = TestApp::start_tuned(backend, tune).await;
    body(&app).await;
    app.finish().await;
}

/// What a test may change of a node before it starts.
pub struct Tuning {
    pub settings: Settings,
    pub pace: Pace,
}

impl TestApp {
    /// Starts with changed settings.
    pub async fn start_with(backend: Backend, change: impl FnOnce(&mut Settings)) -> Self {
        Self::start_tuned(backend, |tuning| change(&mut tuning.settings)).await
    }

    /// Starts with another tuning.
    pub async fn start_tuned(backend: Backend, tune: impl FnOnce(&mut Tuning)) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut settings = Settings {
            listen: ([127, 0, 0, 1], 0).into(),
            data_dir: folder.path().to_owned(),
            secret: Some(SECRET.to_owned()),
            database_connections: 6,
            ..Settings::default()
        };
        if backend == Backend::Postgres {
            settings.database_url = Some(database::new_postgres().await);
            settings.redis_url = Some(database::new_redis().await);
        }
        let mut tuning = Tuning { settings, pace: Pace::default() };
        tune(&mut tuning);
        let Tuning { settings, pace } = tuning;
        let clock = ShiftedClock::default();
        let running = Running::start(settings.clone(), &clock, pace).await;
        let (services, api, url) = (running.services.clone(), running.api.clone(), running.url.clone());
        let auditor = match &settings.database_url {
            Some(url) => Auditor::postgres(url).await,
            None => Auditor::file(settings.database_file()).await,
        };
        let home = new_tenant(&services, "home").await;
        let away = new_tenant(&services, "away").await;
        Self {
            backend,
            services,
            api,
            clock,
            url,
            settings,
            home,
            away,
            auditor,
            check_invariants: true.into(),
            running,
            _folder: folder,
        }
    }

    /// A token as the command line makes it.
    pub fn token(&self, tenant_id: TenantId, role: Role, affiliate_id: Option<AffiliateId>, secs: i64) -> String {
        let grant = Grant { subject: Subject::Operator, tenant_id, session_id: None, roles: vec![role], affiliate_id };
        self.services.tokens.issue(&grant, self.clock.now(), secs).0
    }

    fn client(&self, tenant_id: TenantId, role: Role, affiliate_id: Option<AffiliateId>) -> Client {
        Client::new(&self.url, Some(self.token(tenant_id, role, affiliate_id, 3_600 * 24 * 365)))
    }

    pub fn role(&self, role: Role) -> Client {
        self.client(self.home, role, None)
    }

    pub fn owner(&self) -> Client {
        self.role(Role::Owner)
    }

    pub fn affiliate(&self, id: &str) -> Client {
        self.client(self.home, Role::Affiliate, Some(id.parse().expect("an affiliate's id")))
    }

    /// The owner of another tenant.
    pub fn stranger(&self) -> Client {
        self.client(self.away, Role::Owner, None)
    }

    pub fn anonymous(&self) -> Client {
        Client::new(&self.url, None)
    }

    /// A tenant more.
    pub async fn new_tenant(&self, slug: &str) -> TenantId {
        new_tenant(&self.services, slug).await
    }

    /// Another node on the same data.
    pub async fn another_node(&self) -> Running {
        // A spool is one node's.
        let spool_dir = self.settings.data_dir.join(format!("spool-{}", uuid::Uuid::new_v4()));
        let settings = Settings { spool_dir: Some(spool_dir), ..self.settings.clone() };
        Running::start(settings, &self.clock, Pace::default()).await
    }

    /// Runs the jobs that are due by the app's clock.
    pub async fn run_jobs(&self) {
        tributary::jobs::outbox::run_due(&self.services).await.expect("jobs run");
    }

    /// Makes payable what is payable by the app's clock.
    pub async fn release_holds(&self) {
        for tenant_id in [self.home, self.away] {
            let released = holds::release_due(&self.services, &TenantScope::tenant(tenant_id)).await;
            released.expect("holds are released");
        }
    }

    /// Settles what customers brought in periods that are over. Answers how many periods.
    pub async fn settle_revenue(&self) -> u64 {
        let mut settled = 0;
        for tenant_id in [self.home, self.away] {
            let periods = revenue_settlements::settle_due(&self.services, &TenantScope::tenant(tenant_id)).await;
            settled += periods.expect("net revenue is settled");
        }
        settled
    }

    /// Seals what both tenants have posted.
    pub async fn seal(&self) {
        for tenant_id in [self.home, self.away] {
            let sealed = ledger_blocks::seal_due(&self.services, &TenantScope::tenant(tenant_id)).await;
            sealed.expect("the ledger is sealed");
        }
    }

    /// Waits until a query's number is `expected`: for what happens beside requests.
    pub async fn until(&self, sql: &str, expected: i64) {
        let reached = async {
            while self.auditor.number(sql).await != expected {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(std::time::Duration::from_secs(30), reached).await;
        waited.unwrap_or_else(|_| panic!("{sql} never became {expected}"));
    }

    /// Stops the node and checks what must always hold.
    pub async fn finish(self) {
        self.running.stop().await;
        if self.check_invariants.load(std::sync::atomic::Ordering::Relaxed) {
            let file = self.settings.database_file();
            let location = location(&self.settings, &file);
            invariants::check(&self.auditor, &location).await;
        }
        self.auditor.close().await;
    }
}

/// Where a node's data is.
pub fn location<'a>(settings: &'a Settings, file: &'a std::path::Path) -> Location<'a> {
    match &settings.database_url {
        Some(url) => Location::Postgres { url, admin_url: None, connections: 2, replica: None },
        None => Location::File(file),
    }
}

async fn new_tenant(services: &Services, slug: &str) -> TenantId {
    let input = NewTenant {
        slug: slug.to_owned(),
        name: slug.to_owned(),
        currency: "EUR".parse().expect("known"),
        owner_email: format!("owner@{slug}.test"),
        owner_name: "Owner".to_owned(),
        owner_password: PASSWORD.to_owned(),
    };
    tributary::services::tenants::create(services, input).await.expect("a tenant").0.tenant_id
}
