//! Counters of a single process: fixed windows in a bounded map.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::Instant;

use super::{Limit, RateLimits};

/// Keys kept before those whose window is over are swept.
const SWEEP_AT: usize = 10_000;

/// Counts inside the process.
#[derive(Default)]
pub struct MemoryLimits {
    windows: Mutex<HashMap<String, (Instant, u32)>>,
}

#[async_trait]
impl RateLimits for MemoryLimits {
    async fn hit(&self, key: &str, limit: Limit) -> Result<(), Duration> {
        let now = Instant::now();
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if windows.len() >= SWEEP_AT {
            windows.retain(|_, (end, _)| *end > now);
        }
        let (end, used) = windows.entry(key.to_owned()).or_insert((now + limit.window, 0));
        if *end <= now {
            (*end, *used) = (now + limit.window, 0);
        }
        *used = used.saturating_add(1);
        if *used > limit.count { Err(*end - now) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn limit_holds_inside_the_window_and_per_key() {
        let limits = MemoryLimits::default();
        let limit = Limit { count: 2, window: Duration::from_secs(60) };
        assert_eq!(limits.hit("a", limit).await, Ok(()));
        assert_eq!(limits.hit("a", limit).await, Ok(()));
        assert_eq!(limits.hit("a", limit).await, Err(Duration::from_secs(60)));
        assert_eq!(limits.hit("b", limit).await, Ok(()));
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(limits.hit("a", limit).await, Ok(()));
    }
}
