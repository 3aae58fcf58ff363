//! Commands to Redis: one connection per user of it, opened when first needed and opened anew for ever.
//!
//! # Decisions
//! - Not the crate's connection manager: it gives up after its retries, and hangs on a half-open connection. Here any
//!   command that fails or is not answered in time drops the connection; the next one opens another.
//! - After a failure nobody asks for [`REST`], but one: whoever can do without Redis must not wait for it at each step.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::{AsyncConnectionConfig, Client, RedisResult, aio::MultiplexedConnection};
use tokio::time::{Instant, timeout};
use tracing::debug;

/// How long an answer is waited for, and a connection.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long Redis is left alone after it has failed.
const REST: Duration = Duration::from_millis(500);

/// A connection for commands; not for subscriptions, and for nothing that blocks.
pub struct RedisClient {
    client: Client,
    connection: Mutex<Option<MultiplexedConnection>>,
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
            client: Client::open(url)?,
            connection: Mutex::new(None),
            began: Instant::now(),
            rest_until: AtomicU64::new(0),
        })
    }

    /// Whether Redis answers.
    pub async fn answers(&self) -> bool {
        self.ask(async |connection| redis::cmd("PING").query_async::<String>(connection).await).await.is_some()
    }

    /// Runs a command. None when Redis cannot be asked: it is away, slow, or was a moment ago.
    pub async fn ask<T>(&self, run: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>) -> Option<T> {
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
                return Some(answer);
            }
            Ok(Err(error)) => debug!(%error, "Redis did not do a command"),
            Err(_) => debug!("Redis does not answer"),
        }
        *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = None;
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

    async fn connected(&self) -> RedisResult<MultiplexedConnection> {
        let open = self.connection.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(connection) = open {
            return Ok(connection);
        }
        // Several may connect at once; the last one's stays.
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
        let connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection.clone());
        Ok(connection)
    }

    fn millis(&self) -> u64 {
        millis(self.began.elapsed())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
