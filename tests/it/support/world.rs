//! Data for node processes: a tenant, a token, an auditor; and a Redis that can be killed.

use std::{process::Stdio, time::Duration};

use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    process::{Child, Command},
    time::{sleep, timeout},
};

use tributary::store::database::Location;

use super::{
    Backend, Client,
    app::PASSWORD,
    database::{self, Auditor},
    invariants,
    node::{Data, Node},
};

/// One database for any number of nodes, with the tenant `home`.
pub struct World {
    pub data: Data,
    pub token: String,
    pub auditor: Auditor,
    _folder: TempDir,
}

impl World {
    pub async fn new(backend: Backend) -> Self {
        let redis_url = (backend == Backend::Postgres).then(database::redis_url);
        Self::with_redis(backend, redis_url).await
    }

    pub async fn with_redis(backend: Backend, redis_url: Option<String>) -> Self {
        let database_url = match backend {
            Backend::Sqlite => None,
            Backend::Postgres => Some(database::new_postgres().await),
        };
        Self::on(database_url, redis_url).await
    }

    /// On a database that is there.
    pub async fn on(database_url: Option<String>, redis_url: Option<String>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data = Data { folder: folder.path().to_owned(), database_url, redis_url };
        let tenant = ["--slug", "home", "--name", "Home", "--currency", "EUR"];
        let owner = ["--owner-email", "owner@home.test", "--owner-password", PASSWORD];
        data.run(&[&["tenant", "create"][..], &tenant, &owner].concat()).await;
        let token = data.run(&["token", "--tenant", "home", "--role", "owner"]).await.trim().to_owned();
        let auditor = match &data.database_url {
            Some(url) => Auditor::postgres(url).await,
            None => Auditor::file(folder.path().join("tributary.db")).await,
        };
        Self { data, token, auditor, _folder: folder }
    }

    /// The owner at a node.
    pub fn owner(&self, node: &Node) -> Client {
        self.owner_at(&node.url)
    }

    pub fn owner_at(&self, url: &str) -> Client {
        Client::new(url, Some(self.token.clone()))
    }

    /// Checks what must always hold.
    pub async fn finish(self) {
        let file = self.data.folder.join("tributary.db");
        let location = match &self.data.database_url {
            Some(url) => Location::Postgres { url, admin_url: None, connections: 2, replica: None },
            None => Location::File(&file),
        };
        invariants::check(&self.auditor, &location).await;
        self.auditor.close().await;
    }
}

/// The certificate of a Redis that speaks TLS, for 127.0.0.1, which is signed by itself.
pub const CERTIFICATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/redis/certificate.pem");
const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/redis/key.pem");

/// A port that nothing listens on.
pub async fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("bound").port()
}

/// A Redis of one test, always on the same port.
pub struct Redis {
    port: u16,
    has_tls: bool,
    more: Vec<String>,
    process: Option<Child>,
    folder: TempDir,
}

impl Redis {
    /// A port, and no server.
    pub async fn absent() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { port: free_port().await, has_tls: false, more: Vec::new(), process: None, folder }
    }

    /// A port, and no server; it will be started with more arguments.
    pub async fn absent_with(more: &[&str]) -> Self {
        Self { more: more.iter().map(ToString::to_string).collect(), ..Self::absent().await }
    }

    /// A port, and no server; it will speak TLS.
    pub async fn absent_with_tls() -> Self {
        Self { has_tls: true, ..Self::absent().await }
    }

    pub const fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        let scheme = if self.has_tls { "rediss" } else { "redis" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// Starts the server and waits until it answers.
    pub async fn start(&mut self) {
        let program = std::env::var("TRIBUTARY_TEST_REDIS_SERVER").expect("tests/with-servers names redis-server");
        let port = self.port.to_string();
        let ports = match self.has_tls {
            true => vec!["--port", "0", "--tls-port", &port, "--tls-auth-clients", "no"],
            false => vec!["--port", &port],
        };
        let files = ["--tls-cert-file", CERTIFICATE, "--tls-key-file", KEY];
        let process = Command::new(program)
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(ports)
            .args(&self.more)
            .args(self.has_tls.then_some(files).into_iter().flatten())
            .current_dir(self.folder.path())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        self.process = Some(process.expect("Redis starts"));
        timeout(Duration::from_secs(30), async {
            while self.connection().await.is_none() {
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await
        .expect("Redis answers");
    }

    /// Whether it was started, and not killed.
    pub const fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Kills the server (SIGKILL).
    pub async fn kill(&mut self) {
        self.process.take().expect("running").kill().await.expect("Redis is killed");
    }

    fn client(&self) -> redis::Client {
        tributary::app::choose_tls();
        let client = match self.has_tls {
            true => {
                let root_cert = Some(std::fs::read(CERTIFICATE).expect("readable"));
                redis::Client::build_with_tls(self.url(), redis::TlsCertificates { client_tls: None, root_cert })
            }
            false => redis::Client::open(self.url()),
        };
        client.expect("an address")
    }

    async fn connection(&self) -> Option<redis::aio::MultiplexedConnection> {
        let mut connection = self.client().get_multiplexed_async_connection().await.ok()?;
        redis::cmd("PING").query_async::<String>(&mut connection).await.ok()?;
        Some(connection)
    }

    /// Does a command and answers what it says.
    pub async fn command<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut connection = self.connection().await.expect("Redis answers");
        let mut command = redis::cmd(words[0]);
        for word in &words[1..] {
            command.arg(*word);
        }
        command.query_async(&mut connection).await.expect("done")
    }

    /// Waits until so many nodes listen to some tenant's events.
    pub async fn wait_for_listeners(&self, count: i64) {
        timeout(Duration::from_secs(30), async {
            loop {
                let channels: Vec<String> = self.command(&["PUBSUB", "CHANNELS", "tributary:events:*"]).await;
                if let [channel] = &channels[..] {
                    let (_, listeners): (String, i64) = self.command(&["PUBSUB", "NUMSUB", channel]).await;
                    if listeners == count {
                        return;
                    }
                }
                sleep(Duration::from_millis(50)).await;
            }
        })
        .await
        .expect("the nodes listen");
    }

    /// Hears what is published on the events' channels from now on.
    pub async fn eavesdrop(&self) -> redis::aio::PubSub {
        let mut listening = self.client().get_async_pubsub().await.expect("a connection");
        listening.psubscribe("tributary:events:*").await.expect("subscribes");
        listening
    }
}
