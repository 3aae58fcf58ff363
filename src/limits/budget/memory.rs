//! Buckets of a single process.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::Instant;

use super::{Budgets, Rate, signed};

/// Buckets kept before the full ones, which are as good as none, are swept.
const SWEEP_AT: usize = 10_000;

/// Counts inside the process.
#[derive(Default)]
pub struct MemoryBudgets(Mutex<HashMap<String, Bucket>>);

struct Bucket {
    level: i64,
    /// When the level was right; moves on only as far as whole points came in.
    at: Instant,
    rate: Rate,
}

impl Bucket {
    fn full(rate: Rate) -> Self {
        Self { level: signed(rate.burst), at: Instant::now(), rate }
    }

    /// Adds what came in meanwhile.
    fn fill(&mut self, rate: Rate) {
        self.rate = rate;
        let (elapsed, per_second) = (self.at.elapsed(), u128::from(rate.per_second.max(1)));
        let points = elapsed.as_nanos() * per_second / 1_000_000_000;
        let points = i64::try_from(points).unwrap_or(i64::MAX);
        self.level = self.level.saturating_add(points).min(signed(rate.burst));
        let nanos = u128::from(points.unsigned_abs()) * 1_000_000_000 / per_second;
        self.at += Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)).min(elapsed);
    }
}

impl MemoryBudgets {
    fn buckets(&self) -> MutexGuard<'_, HashMap<String, Bucket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs with a bucket that is filled up to now.
    fn with<T>(&self, key: &str, rate: Rate, run: impl FnOnce(&mut Bucket) -> T) -> T {
        let mut buckets = self.buckets();
        if buckets.len() >= SWEEP_AT && !buckets.contains_key(key) {
            buckets.retain(|_, bucket| {
                bucket.fill(bucket.rate);
                bucket.level < signed(bucket.rate.burst)
            });
        }
        let bucket = match buckets.get_mut(key) {
            Some(bucket) => bucket,
            None => buckets.entry(key.to_owned()).or_insert_with(|| Bucket::full(rate)),
        };
        bucket.fill(rate);
        run(bucket)
    }
}

#[async_trait]
impl Budgets for MemoryBudgets {
    async fn take(&self, key: &str, rate: Rate, points: u64) -> Result<i64, Duration> {
        self.with(key, rate, |bucket| {
            let left = bucket.level.saturating_sub(signed(points));
            if left < 0 {
                return Err(rate.time_for(left));
            }
            bucket.level = left;
            Ok(left)
        })
    }

    fn settle(&self, key: &str, rate: Rate, difference: i64) -> i64 {
        self.with(key, rate, |bucket| {
            bucket.level = bucket.level.saturating_add(difference).min(signed(rate.burst));
            bucket.level
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 10, burst: 100 };

    #[tokio::test(start_paused = true)]
    async fn bucket_is_spent_and_fills_with_time() {
        let budgets = MemoryBudgets::default();
        assert_eq!(budgets.take("a", RATE, 60).await, Ok(40));
        assert_eq!(budgets.take("a", RATE, 60).await, Err(Duration::from_millis(2_001)));
        assert_eq!(budgets.take("b", RATE, 60).await, Ok(40), "of another key");
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(budgets.take("a", RATE, 60).await, Ok(0));
        tokio::time::advance(Duration::from_secs(3_600)).await;
        assert_eq!(budgets.take("a", RATE, 0).await, Ok(100), "never more than it holds");
    }

    #[tokio::test(start_paused = true)]
    async fn points_that_come_in_slowly_are_not_lost() {
        let budgets = MemoryBudgets::default();
        assert_eq!(budgets.take("a", RATE, 100).await, Ok(0));
        for _ in 0..30 {
            tokio::time::advance(Duration::from_millis(50)).await;
            let _ = budgets.take("a", RATE, 50).await;
        }
        assert_eq!(budgets.take("a", RATE, 15).await, Ok(0));
    }

    #[tokio::test(start_paused = true)]
    async fn differences_are_given_back_or_charged() {
        let budgets = MemoryBudgets::default();
        assert_eq!(budgets.take("a", RATE, 50).await, Ok(50));
        assert_eq!(budgets.settle("a", RATE, 40), 90);
        assert_eq!(budgets.settle("a", RATE, 40), 100);
        assert_eq!(budgets.settle("a", RATE, -120), -20);
        assert_eq!(budgets.take("a", RATE, 1).await, Err(Duration::from_millis(2_101)));
    }

    #[tokio::test(start_paused = true)]
    async fn full_buckets_are_forgotten() {
        let budgets = MemoryBudgets::default();
        for number in 0..SWEEP_AT {
            budgets.take(&number.to_string(), RATE, 1).await.expect("there");
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        budgets.take("another", RATE, 1).await.expect("there");
        assert_eq!(budgets.buckets().len(), 1);
    }

    #[tokio::test]
    async fn numbers_at_the_end_of_their_range_do_no_harm() {
        let budgets = MemoryBudgets::default();
        let rate = Rate { per_second: u64::MAX, burst: u64::MAX };
        assert!(budgets.take("a", rate, u64::MAX).await.is_ok());
        budgets.settle("a", rate, i64::MIN);
        budgets.settle("a", rate, i64::MAX);
        assert!(budgets.take("a", Rate { per_second: 1, burst: 1 }, u64::MAX).await.is_err());
    }
}
