//! Counters shared by all nodes: fixed windows in Redis.

use std::time::Duration;

use async_trait::async_trait;

use super::{Limit, RateLimits};
use crate::redis_client::RedisClient;

/// Counts in Redis.
pub struct RedisLimits(RedisClient);

impl RedisLimits {
    /// Connects when first used.
    ///
    /// # Errors
    /// When the address itself is not valid.
    pub fn new(url: &str) -> redis::RedisResult<Self> {
        RedisClient::new(url).map(Self)
    }

    /// The uses in the current window, and what is left of it.
    async fn count(&self, key: &str, window: Duration) -> Option<(u32, i64)> {
        let millis = i64::try_from(window.as_millis()).unwrap_or(i64::MAX);
        let mut count = redis::pipe();
        count.atomic().incr(key, 1).cmd("PEXPIRE").arg(key).arg(millis).arg("NX").ignore().pttl(key);
        self.0.ask(async |connection| count.query_async(connection).await).await
    }
}

#[async_trait]
impl RateLimits for RedisLimits {
    async fn hit(&self, key: &str, limit: Limit) -> Result<(), Duration> {
        match self.count(&format!("tributary:limit:{key}"), limit.window).await {
            Some((count, left)) if count > limit.count => {
                Err(u64::try_from(left).map_or(limit.window, Duration::from_millis))
            }
            _ => Ok(()),
        }
    }
}
