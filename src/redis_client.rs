//! Commands to Redis: one connection per user of it, opened when first needed and opened anew for ever.
//!
//! # Decisions
//! - Not the crate's connection manager: it gives up after its retries, and hangs on a half-open connection. Here any
//!   command that fails or is not answered in time drops the connection; the next one opens another.
//! - A cluster's connection mends itself, shard by shard: it is dropped only when nothing succeeds for long. It is made
//!   beside who asks, as it takes as long as the slowest of the nodes that are named.
//! - After a failure nobody asks for [`REST`], but one: whoever can do without Redis must not wait for it at each step.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult, Value,
    aio::{ConnectionLike, MultiplexedConnection},
    cluster::{ClusterClient, ClusterClientBuilder},
    cluster_async::ClusterConnection,
};
use tokio::time::{Instant, timeout};
use tracing::debug;

/// How long an answer is waited for, and a connection.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long Redis is left alone after it has failed.
const REST: Duration = Duration::from_millis(500);
/// How long a cluster may take to be connected to, whose nodes may be away.
const CLUSTER_PATIENCE: Duration = Duration::from_secs(5);
/// Commands to a cluster that fail one after the other before its connection is given up.
const FAILURES: u32 = 20;
/// How often a command is sent again within a cluster: the slot of its key has moved.
const REDIRECTIONS: u32 = 3;

/// Where Redis is.
#[derive(Clone)]
pub enum Servers {
    /// One server, or an address that leads to one.
    One(Box<Client>),
    /// A cluster; these of its nodes are asked for the others.
    Cluster(Vec<String>),
}

impl Servers {
    /// From `redis://host` or `rediss://host`, or from `redis-cluster://host,host` or `rediss-cluster://host,host`. A
    /// user and a password stand before the first host and are those of all.
    ///
    /// # Errors
    /// When the address itself is not valid.
    pub fn parse(url: &str) -> RedisResult<Self> {
        let Some((scheme, hosts)) = url.split_once("-cluster://") else {
            return Ok(Self::One(Box::new(Client::open(url)?)));
        };
        let (credentials, hosts) = match hosts.rsplit_once('@') {
            Some((credentials, hosts)) => (format!("{credentials}@"), hosts),
            None => (String::new(), hosts),
        };
        if !matches!(scheme, "redis" | "rediss") || hosts.contains(['/', '?']) {
            let why = "a cluster's address is redis-cluster://host:port,host:port, and its keys are in one database";
            return Err(RedisError::from((ErrorKind::InvalidClientConfig, why)));
        }
        let nodes: Vec<String> =
            hosts.split(',').map(|host| format!("{scheme}://{credentials}{}", host.trim())).collect();
        let servers = Self::Cluster(nodes);
        // The library looks at the addresses when a client is made of them.
        if let Self::Cluster(nodes) = &servers {
            of_cluster(nodes).build()?;
        }
        Ok(servers)
    }

    async fn connect(&self) -> RedisResult<Connection> {
        Ok(match self {
            Self::One(client) => {
                let config = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
                Connection::One(client.get_multiplexed_async_connection_with_config(&config).await?)
            }
            Self::Cluster(nodes) => Connection::Cluster(of_cluster(nodes).build()?.get_async_connection().await?),
        })
    }
}

/// A client of a cluster, which gives up soon: whoever asks can do without.
pub fn of_cluster(nodes: &[String]) -> ClusterClientBuilder {
    ClusterClient::builder(nodes.iter().map(String::as_str))
        .connection_timeout(PATIENCE)
        .response_timeout(PATIENCE)
        .overall_response_timeout(Some(CLUSTER_PATIENCE))
        .retries(REDIRECTIONS)
        .max_retry_wait(100)
}

/// A connection that carries commands of many at once.
#[derive(Clone)]
pub enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::One(connection) => connection.req_packed_command(cmd),
            Self::Cluster(connection) => connection.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        cmd: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::One(connection) => connection.req_packed_commands(cmd, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(cmd, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::One(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}

fn away() -> RedisError {
    RedisError::from((ErrorKind::Io, "the cluster does not answer in time"))
}

/// The connection that is open.
#[derive(Clone, Default)]
struct Slot(Arc<Mutex<Option<Connection>>>);

impl Slot {
    fn get(&self) -> Option<Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn put(&self, connection: Option<Connection>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = connection;
    }
}

/// A connection for commands; not for subscriptions, and for nothing that blocks.
pub struct RedisClient {
    servers: Servers,
    connection: Slot,
    /// Somebody connects.
    connecting: Arc<tokio::sync::Mutex<()>>,
    /// Commands that failed since one succeeded.
    failures: AtomicU32,
    began: Instant,
    /// Milliseconds since `began` until which Redis is left alone.
    rest_until: AtomicU64,
}

impl RedisClient {
    /// Connects when first used.
    ///
    /// # Errors
    /// When the address itself is not valid.
    pub fn new(url: &str) -> RedisResult<Self> {
        Ok(Self {
            servers: Servers::parse(url)?,
            connection: Slot::default(),
            connecting: Arc::default(),
            failures: AtomicU32::new(0),
            began: Instant::now(),
            rest_until: AtomicU64::new(0),
        })
    }

    /// Whether Redis answers.
    pub async fn answers(&self) -> bool {
        self.ask(async |connection| redis::cmd("PING").query_async::<String>(connection).await).await.is_some()
    }

    /// Runs a command. None when Redis cannot be asked: it is away, slow, or was a moment ago.
    pub async fn ask<T>(&self, run: impl AsyncFnOnce(&mut Connection) -> RedisResult<T>) -> Option<T> {
        if !self.may_ask() {
            return None;
        }
        let asked = timeout(PATIENCE, async {
            let mut connection = self.connected().await?;
            run(&mut connection).await
        })
        .await;
        match asked {
            Ok(Ok(answer)) => {
                self.rest_until.store(0, Ordering::Relaxed);
                self.failures.store(0, Ordering::Relaxed);
                return Some(answer);
            }
            Ok(Err(error)) => debug!(%error, "Redis did not do a command"),
            Err(_) => debug!("Redis does not answer"),
        }
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if matches!(self.servers, Servers::One(_)) || failures.is_multiple_of(FAILURES) {
            self.connection.put(None);
        }
        self.rest_until.store(self.millis() + millis(REST), Ordering::Relaxed);
        None
    }

    /// Whether Redis is not to be left alone. When a rest is over, the first to ask begins another: the others go on
    /// without Redis until it has answered.
    fn may_ask(&self) -> bool {
        let (now, until) = (self.millis(), self.rest_until.load(Ordering::Relaxed));
        let next = now + millis(REST);
        until == 0
            || (until <= now
                && self.rest_until.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed).is_ok())
    }

    async fn connected(&self) -> RedisResult<Connection> {
        if let Some(connection) = self.connection.get() {
            return Ok(connection);
        }
        if matches!(self.servers, Servers::One(_)) {
            // Several may connect at once; the last one's stays.
            let connection = self.servers.connect().await?;
            self.connection.put(Some(connection.clone()));
            return Ok(connection);
        }
        let (servers, slot) = (self.servers.clone(), self.connection.clone());
        let alone = Arc::clone(&self.connecting).lock_owned().await;
        if let Some(connection) = slot.get() {
            return Ok(connection);
        }
        // Goes on when who asked has given up.
        let connecting = tokio::spawn(async move {
            let _alone = alone;
            let connection = timeout(CLUSTER_PATIENCE, servers.connect()).await.map_err(|_| away())??;
            slot.put(Some(connection.clone()));
            Ok(connection)
        });
        connecting.await.unwrap_or_else(|_| Err(away()))
    }

    fn millis(&self) -> u64 {
        millis(self.began.elapsed())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(url: &str) -> Vec<String> {
        match Servers::parse(url) {
            Ok(Servers::Cluster(nodes)) => nodes,
            Ok(Servers::One(_)) => panic!("{url} is one server"),
            Err(error) => panic!("{url}: {error}"),
        }
    }

    #[test]
    fn a_cluster_is_named_by_some_of_its_nodes() {
        assert_eq!(nodes("redis-cluster://a:7000"), ["redis://a:7000"]);
        assert_eq!(nodes("redis-cluster://a, b:7001"), ["redis://a", "redis://b:7001"]);
        let with_password = ["rediss://me:p%40ss@a", "rediss://me:p%40ss@b"];
        assert_eq!(nodes("rediss-cluster://me:p%40ss@a,b"), with_password);
        assert!(matches!(Servers::parse("redis://a/3"), Ok(Servers::One(_))));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for url in ["redis-cluster://", "redis-cluster://a,,b", "redis-cluster://a/1", "http-cluster://a", "http://a"] {
            assert!(Servers::parse(url).is_err(), "{url}");
        }
    }
}
