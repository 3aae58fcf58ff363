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
            Some(url) => Location::Postgres { url, admin_url: None, connections: 2 },
            None => Location::File(&file),
        };
        invariants::check(&self.auditor, &location).await;
        self.auditor.close().await;
    }
}

/// A Redis of one test, always on the same port.
pub struct Redis {
    port: u16,
    process: Option<Child>,
    folder: TempDir,
}

impl Redis {
    /// A port, and no server.
    pub async fn absent() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        Self { port, process: None, folder: tempfile::tempdir().expect("a temporary folder") }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Starts the server and waits until it answers.
    pub async fn start(&mut self) {
        let program = std::env::var("TRIBUTARY_TEST_REDIS_SERVER").expect("tests/with-servers names redis-server");
        let process = Command::new(program)
            .args(["--bind", "127.0.0.1", "--port", &self.port.to_string(), "--save", "", "--appendonly", "no"])
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

    /// Kills the server (SIGKILL).
    pub async fn kill(&mut self) {
        self.process.take().expect("running").kill().await.expect("Redis is killed");
    }

    async fn connection(&self) -> Option<redis::aio::MultiplexedConnection> {
        let client = redis::Client::open(self.url()).expect("an address");
        let mut connection = client.get_multiplexed_async_connection().await.ok()?;
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
        let client = redis::Client::open(self.url()).expect("an address");
        let mut listening = client.get_async_pubsub().await.expect("a connection");
        listening.psubscribe("tributary:events:*").await.expect("subscribes");
        listening
    }
}
