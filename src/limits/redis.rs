//! Counters shared by all nodes: fixed windows in Redis.

use std::time::Duration;

use async_trait::async_trait;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use tokio::{sync::OnceCell, time::timeout};
use tracing::debug;

use super::{Limit, RateLimits};

/// Counts in Redis.
pub struct RedisLimits {
    client: redis::Client,
    connection: OnceCell<ConnectionManager>,
}

impl RedisLimits {
    /// Connects when first used.
    ///
    /// # Errors
    /// When the address itself is not valid.
    pub fn new(url: &str) -> redis::RedisResult<Self> {
        Ok(Self { client: redis::Client::open(url)?, connection: OnceCell::new() })
    }

    async fn count(&self, key: &str, window: Duration) -> redis::RedisResult<(u32, i64)> {
        let config = ConnectionManagerConfig::new().set_response_timeout(Some(Duration::from_millis(500)));
        let connect = || self.client.get_connection_manager_with_config(config);
        let mut connection = self.connection.get_or_try_init(connect).await?.clone();
        let millis = i64::try_from(window.as_millis()).unwrap_or(i64::MAX);
        let (count, (), left): (u32, (), i64) = redis::pipe()
            .atomic()
            .incr(key, 1)
            .cmd("PEXPIRE")
            .arg(key)
            .arg(millis)
            .arg("NX")
            .ignore()
            .pttl(key)
            .query_async(&mut connection)
            .await
            .map(|(count, left): (u32, i64)| (count, (), left))?;
        Ok((count, left))
    }
}

#[async_trait]
impl RateLimits for RedisLimits {
    async fn hit(&self, key: &str, limit: Limit) -> Result<(), Duration> {
        let key = format!("tributary:limit:{key}");
        match timeout(Duration::from_secs(1), self.count(&key, limit.window)).await {
            Ok(Ok((count, left))) if count > limit.count => {
                Err(u64::try_from(left).map_or(limit.window, Duration::from_millis))
            }
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => {
                debug!(%error, "rate counter not reached, use allowed");
                Ok(())
            }
            Err(_) => Ok(()),
        }
    }
}
