//! Buckets shared by all nodes, in Redis, which each node takes points from in handfuls.
//!
//! # Decisions
//! - No round trip per request: a node takes a tenth of a second's points at once and spends them by itself. What it
//!   takes is gone from the shared bucket, so that nodes together never spend what is not there.
//! - What is given back stays with the node, up to a burst, and is forgotten when nobody asks for a minute. Over time no
//!   more is spent than comes in; at once, N nodes can spend N bursts more, if they were given back so much.
//! - When Redis does not answer, a node goes on with a bucket of its own, for as long as that lasts: N nodes then let
//!   through N times the rate. A limiter must not become the outage.
//! - Redis tells the time: clocks of nodes may differ.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use moka::sync::Cache;

use super::{Budgets, Rate, memory::MemoryBudgets, signed};
use crate::redis_client::RedisClient;

/// Keys whose points a node holds at once.
const PURSES: u64 = 100_000;
/// How long it holds them without being asked.
const HELD: Duration = Duration::from_secs(60);

/// Takes from a bucket: all that is asked for, or as much as there is, if that is at least what is needed.
const TAKE: &str = r"
local rate, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local needed, wanted = tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local kept = redis.call('HMGET', KEYS[1], 'level', 'at')
local level, at = tonumber(kept[1]) or burst, tonumber(kept[2]) or now
level = math.min(burst, level + math.max(0, now - at) * rate / 1000)
local granted, wait = 0, 0
if level >= needed then
  granted = math.floor(math.min(level, wanted))
  level = level - granted
else
  wait = math.ceil((needed - level) * 1000 / rate)
end
redis.call('HSET', KEYS[1], 'level', string.format('%.3f', level), 'at', now)
redis.call('PEXPIRE', KEYS[1], math.ceil(burst * 1000 / rate) + 1000)
return { granted, wait, math.floor(level) }";

/// Counts in Redis.
pub struct RedisBudgets {
    client: RedisClient,
    purses: Cache<String, Arc<Purse>>,
    /// While Redis is away.
    alone: MemoryBudgets,
}

/// What a node holds of one bucket.
#[derive(Default)]
struct Purse {
    held: AtomicI64,
    /// What the shared bucket had when it was last asked.
    shared: AtomicI64,
    /// One handful at a time.
    fetching: tokio::sync::Mutex<()>,
}

impl Purse {
    /// Takes from what is held, all or none.
    fn spend(&self, points: i64) -> bool {
        self.held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| (held >= points).then(|| held - points))
            .is_ok()
    }

    fn left(&self) -> i64 {
        self.held.load(Ordering::Relaxed).saturating_add(self.shared.load(Ordering::Relaxed))
    }
}

impl RedisBudgets {
    /// Connects when first used.
    ///
    /// # Errors
    /// When the address itself is not valid.
    pub fn new(url: &str) -> redis::RedisResult<Self> {
        let purses = Cache::builder().max_capacity(PURSES).time_to_idle(HELD).build();
        Ok(Self { client: RedisClient::new(url)?, purses, alone: MemoryBudgets::default() })
    }

    fn purse(&self, key: &str) -> Arc<Purse> {
        self.purses.get_with_by_ref(key, Arc::default)
    }

    /// Granted points, milliseconds to wait, and what is left.
    async fn fetch(&self, key: &str, rate: Rate, needed: i64) -> Option<(i64, u64, i64)> {
        let handful = signed(rate.per_second / 10).clamp(1, signed(rate.burst));
        let mut take = redis::cmd("EVAL");
        take.arg(TAKE).arg(1).arg(format!("tributary:budget:{key}"));
        take.arg(rate.per_second).arg(rate.burst).arg(needed).arg(needed.max(handful));
        self.client.ask(async |connection| take.query_async(connection).await).await
    }
}

#[async_trait]
impl Budgets for RedisBudgets {
    async fn take(&self, key: &str, rate: Rate, points: u64) -> Result<i64, Duration> {
        let (purse, points_wanted) = (self.purse(key), signed(points));
        if purse.spend(points_wanted) {
            return Ok(purse.left());
        }
        let _alone = purse.fetching.lock().await;
        if purse.spend(points_wanted) {
            return Ok(purse.left());
        }
        let needed = points_wanted.saturating_sub(purse.held.load(Ordering::Relaxed));
        match self.fetch(key, rate, needed).await {
            Some((0, wait, left)) => {
                purse.shared.store(left, Ordering::Relaxed);
                Err(Duration::from_millis(wait.max(1)))
            }
            Some((granted, _, left)) => {
                // The points of this request are spent in the same step: others spend what is held meanwhile.
                purse.held.fetch_add(granted.saturating_sub(points_wanted), Ordering::Relaxed);
                purse.shared.store(left, Ordering::Relaxed);
                Ok(purse.left())
            }
            None => self.alone.take(key, rate, points).await,
        }
    }

    fn settle(&self, key: &str, rate: Rate, difference: i64) -> i64 {
        let (purse, most) = (self.purse(key), signed(rate.burst));
        let _ = purse.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
            Some(held.saturating_add(difference).min(most.max(held)))
        });
        purse.left()
    }
}
