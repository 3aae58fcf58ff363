//! The composition root: settings in, a running node out. Tests use it as it is and swap only the leaves.

use std::{
    collections::HashMap,
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use data_encoding::HEXLOWER;
use tokio::{
    net::{TcpListener, TcpSocket},
    time::sleep,
};

use crate::{
    ambient::{self, Clock, SystemClock},
    auth::{ExternalIdentity, Passwords, Tokens, Vault},
    bus::{EventBus, memory::MemoryBus, redis::RedisBus},
    config::{ConfigError, Settings},
    domain::{cursor::CursorKey, ledger_chain::SealKey},
    graphql::{self, ApiSchema, execution::Api},
    http::{self, Pace, sockets::Sockets},
    jobs,
    limits::{
        RateLimits,
        budget::{Budgets, memory::MemoryBudgets, redis::RedisBudgets},
        memory::MemoryLimits,
        redis::RedisLimits,
    },
    processors::{Endpoints, Processors},
    redis_client::RedisClient,
    services::{
        Parts, Services,
        access::Access,
        budgets::Spending,
        caps::Exhaustion,
        dashboard::Dashboards,
        documents::{self, Documents, TrustError},
        feed::Feeds,
        ingest::Lanes,
        postbacks::refusals::Refusals,
        redirect::Redirects,
        visitors::{CountryError, Visitors},
    },
    spool::{Spool, SpoolError},
    store::{
        database::{Db, Location},
        error::StoreError,
        replica::ReplicaAt,
    },
    telemetry,
};

/// How long a node that ends waits for what is under way. Orchestrators kill after 30 seconds by default; a request
/// that is stuck must not keep the others' connections from being closed in order.
const DRAIN: Duration = Duration::from_secs(10);
/// Connections that may wait to be accepted; the system may allow fewer. With the library's 128, a burst of visitors fills
/// the queue, and who does not get in tries again a second later.
const BACKLOG: u32 = 4_096;

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(
        "TRIBUTARY_SECRET is not set. A production start needs a signing secret of at least 32 characters, the same \
         on every node (`openssl rand -hex 32` makes one). For a trial on a database server set \
         TRIBUTARY_MODE=development"
    )]
    SecretMissing,
    #[error("{path}: {error}")]
    File { path: PathBuf, error: std::io::Error },
    #[error("TRIBUTARY_TRUSTED_DOCUMENTS, {path}: {error}")]
    TrustedDocuments { path: PathBuf, error: TrustError },
    #[error("TRIBUTARY_GEOIP_DATABASE, {path}: {error}")]
    Countries { path: PathBuf, error: CountryError },
    #[error("cannot listen on {address}: {error}")]
    Listen { address: SocketAddr, error: std::io::Error },
    #[error("the database cannot be used: {0}{cause}", cause = cause(.0))]
    Database(#[from] StoreError),
    #[error("REDIS_URL: {0}")]
    Redis(#[from] redis::RedisError),
    #[error("no HTTP client for identity providers and processors: {0}")]
    Http(#[from] reqwest::Error),
    #[error("TRIBUTARY_OTLP_ENDPOINT: {0}")]
    Otlp(opentelemetry_otlp::ExporterBuildError),
    #[error("{0}")]
    Spool(#[from] SpoolError),
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

fn cause(error: &StoreError) -> String {
    std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default()
}

/// What tests put in place of the real thing.
pub struct Leaves {
    pub clock: Arc<dyn Clock>,
    pub passwords: Passwords,
    pub pace: Pace,
}

impl Default for Leaves {
    fn default() -> Self {
        Self { clock: Arc::new(SystemClock), passwords: Passwords::default(), pace: Pace::default() }
    }
}

/// How a start gets its signing secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// From the settings; made and kept beside the data where nothing is at stake (development).
    Settings,
    /// As above; in production also the one that a demo has made beside the data: for commands that serve nobody.
    Kept,
    /// As above, and made also in production: the demo.
    OwnIfMissing,
}

/// A node, ready to serve.
#[derive(Clone)]
pub struct App {
    pub services: Services,
    pub schema: ApiSchema,
    pace: Pace,
}

impl App {
    /// Connects everything.
    ///
    /// # Errors
    /// [`StartError`], in words an operator can act on.
    pub async fn open(settings: Settings, secret: SecretSource, leaves: Leaves) -> Result<Self, StartError> {
        settings.validate()?;
        telemetry::start_metrics();
        choose_tls();
        let secret = signing_secret(&settings, secret)?;
        let file = settings.database_file();
        let location = match &settings.database_url {
            Some(url) => Location::Postgres {
                url,
                admin_url: settings.database_admin_url.as_deref(),
                connections: settings.database_connections,
                replica: settings
                    .database_replica_url
                    .as_deref()
                    .map(|url| ReplicaAt { url, max_lag: Duration::from_millis(settings.database_replica_max_lag_ms) }),
            },
            None => {
                make_folder(&settings.data_dir)?;
                Location::File(&file)
            }
        };
        let db = Db::open(&location).await?;
        let trusted = trusted_documents(&settings)?;
        let shared = Shared::open(&settings, trusted)?;
        let settings = Arc::new(settings);
        let tokens = Arc::new(Tokens::new(&secret, &settings.issuer));
        let external = ExternalIdentity::new(&settings.identity_providers, !settings.is_production())?;
        let feeds = Feeds::new(db.clone(), Arc::clone(&shared.bus));
        let clock = Arc::clone(&leaves.clock);
        let country_file = settings.geoip_database.as_deref();
        let visitors = Visitors::open(db.clone(), Arc::clone(&leaves.clock), country_file)
            .map_err(|error| StartError::Countries { path: country_file.unwrap_or(Path::new("")).to_owned(), error })?;
        let services = Services::new(Parts {
            access: Access::new(db.clone(), Arc::clone(&tokens), Arc::new(external), clock, feeds.clone()),
            caps: Exhaustion::new(db.clone(), Arc::clone(&leaves.clock)),
            lanes: Lanes::new(db.clone(), Arc::clone(&leaves.clock), Arc::clone(&shared.bus), &settings),
            spool: Spool::new(settings.spool_folder(), settings.spool_max_bytes),
            redirects: Redirects::new(db.clone(), feeds.clone(), &secret, settings.link_cache_entries),
            feeds,
            redis: shared.redis,
            seen: Arc::default(),
            dashboards: Dashboards::new(db.clone(), Arc::clone(&shared.bus), Arc::clone(&leaves.clock)),
            cursors: Arc::new(CursorKey::new(&secret)),
            seal: Arc::new(SealKey::new(&secret)),
            tokens,
            passwords: leaves.passwords,
            clock: leaves.clock,
            spending: Spending::new(shared.budgets, Arc::clone(&settings)),
            documents: shared.documents,
            visitors,
            refusals: Refusals::default(),
            processors: Processors::new(endpoints(&settings)?)?,
            vault: Arc::new(Vault::new(&secret)),
            db,
            bus: shared.bus,
            limits: shared.limits,
            settings,
        });
        let schema = graphql::schema(services.settings.is_production());
        Ok(Self { services, schema, pace: leaves.pace })
    }

    /// Opens the port that the settings name.
    ///
    /// # Errors
    /// [`StartError::Listen`].
    pub async fn listen(&self) -> Result<TcpListener, StartError> {
        let address = self.services.settings.listen;
        let listen = || {
            let socket = if address.is_ipv6() { TcpSocket::new_v6() } else { TcpSocket::new_v4() }?;
            // As the library does where it listens by itself: a port may be taken up again at once.
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            socket.listen(BACKLOG)
        };
        listen().map_err(|error| StartError::Listen { address, error })
    }

    /// Serves requests and runs jobs until `shutdown` ends. Then says so at `/readyz`, for as long as the settings want;
    /// answers what is under way, for so long as [`DRAIN`] allows, and closes the sockets.
    ///
    /// # Errors
    /// When another process has the spool, or the port fails.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), StartError> {
        self.services.spool.open()?;
        let jobs = jobs::start(self.services.clone());
        let visitors = self.services.visitors.clone();
        tokio::task::spawn_blocking(move || visitors.warm_up());
        let sockets = Sockets::new(&self.services);
        let notice = Duration::from_secs(self.services.settings.drain_notice_secs);
        let ends = sockets.clone();
        let shutdown = async move {
            shutdown.await;
            ends.announce_end();
            sleep(notice).await;
            ends.end();
        };
        let api = Api::new(self.schema, self.services.clone());
        let serving = http::serve(listener, api, sockets.clone(), self.pace, shutdown);
        let drained = async {
            let served = serving.await;
            sockets.end();
            sockets.ended().await;
            jobs.stop().await;
            self.services.db.clone().close().await?;
            Ok(served?)
        };
        let overdue = async {
            sockets.ending().await;
            sleep(DRAIN).await;
        };
        tokio::select! {
            result = drained => result,
            () = overdue => {
                tracing::warn!("not everything was answered in time; ending without it");
                Ok(())
            }
        }
    }
}

/// What nodes share through Redis, where there is one.
struct Shared {
    bus: Arc<dyn EventBus>,
    limits: Arc<dyn RateLimits>,
    budgets: Arc<dyn Budgets>,
    documents: Documents,
    redis: Option<Arc<RedisClient>>,
}

impl Shared {
    fn open(settings: &Settings, trusted: Option<HashMap<String, Arc<str>>>) -> Result<Self, StartError> {
        Ok(match &settings.redis_url {
            Some(url) => Self {
                bus: Arc::new(RedisBus::start(url)?),
                limits: Arc::new(RedisLimits::new(url)?),
                budgets: Arc::new(RedisBudgets::new(url)?),
                documents: Documents::new(Some(RedisClient::new(url)?), trusted),
                redis: Some(Arc::new(RedisClient::new(url)?)),
            },
            None => Self {
                bus: Arc::new(MemoryBus::default()),
                limits: Arc::new(MemoryLimits::default()),
                budgets: Arc::new(MemoryBudgets::default()),
                documents: Documents::new(None, trusted),
                redis: None,
            },
        })
    }
}

/// Where processors are.
fn endpoints(settings: &Settings) -> Result<Endpoints, StartError> {
    let read =
        |path: &PathBuf| std::fs::read_to_string(path).map_err(|error| StartError::File { path: path.clone(), error });
    Ok(Endpoints {
        stripe: settings.stripe_url.clone(),
        paypal: settings.paypal_url.clone(),
        wise: settings.wise_url.clone(),
        wise_public_key: settings.wise_public_key.as_ref().map(read).transpose()?,
        patience: Duration::from_secs(settings.processor_timeout_secs),
    })
}

fn trusted_documents(settings: &Settings) -> Result<Option<HashMap<String, Arc<str>>>, StartError> {
    let Some(path) = &settings.trusted_documents else { return Ok(None) };
    match documents::read_trusted(path) {
        Ok(documents) => Ok(Some(documents)),
        Err(error) => Err(StartError::TrustedDocuments { path: path.clone(), error }),
    }
}

/// Makes ring the process's TLS provider, as the database's driver has it: HTTP clients are built without one of their own.
pub fn choose_tls() {
    // A second call finds the provider there.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn signing_secret(settings: &Settings, source: SecretSource) -> Result<String, StartError> {
    if let Some(secret) = &settings.secret {
        return Ok(secret.clone());
    }
    let path = settings.data_dir.join("secret");
    let may_make = !settings.is_production() || source == SecretSource::OwnIfMissing;
    let may_use = may_make || (source == SecretSource::Kept && path.exists());
    if !may_use {
        return Err(StartError::SecretMissing);
    }
    make_folder(&settings.data_dir)?;
    let in_file = |error| StartError::File { path: path.clone(), error };
    match write_new(&path, &HEXLOWER.encode(&ambient::random_bytes::<32>())) {
        Ok(()) => {}
        // Made by an earlier start, or by another process a moment ago.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(in_file(error)),
    }
    let secret = std::fs::read_to_string(&path).map_err(in_file)?.trim().to_owned();
    let settings = Settings { secret: Some(secret.clone()), ..settings.clone() };
    settings.validate()?;
    Ok(secret)
}

/// Writes a file that nobody else may read, whole or not at all, unless it exists.
pub(crate) fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(&draft)?.write_all(text.as_bytes())?;
    // A link fails where the name is taken, so that two starts at once agree on one secret.
    let linked = std::fs::hard_link(&draft, path);
    std::fs::remove_file(&draft)?;
    linked
}

fn make_folder(path: &Path) -> Result<(), StartError> {
    std::fs::create_dir_all(path).map_err(|error| StartError::File { path: path.to_owned(), error })
}
