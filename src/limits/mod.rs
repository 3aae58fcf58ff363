//! Counters that bound how often something may happen, and buckets that bound what it may cost: one process's, or shared
//! through Redis.

pub mod budget;
pub mod memory;
pub mod redis;

use std::time::Duration;

use async_trait::async_trait;

/// How often, in which time.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    pub count: u32,
    pub window: Duration,
}

/// Bounds how often a key may come up.
#[async_trait]
pub trait RateLimits: Send + Sync {
    /// Counts one use of `key`. `Err` holds how long to wait when the limit is exceeded. When the counters themselves
    /// cannot be reached, use is allowed: a limiter must not become the outage.
    async fn hit(&self, key: &str, limit: Limit) -> Result<(), Duration>;
}
