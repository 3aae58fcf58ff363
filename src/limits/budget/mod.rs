//! Budgets: token buckets that fill with time and are spent by what requests cost.

pub mod memory;
pub mod redis;

use std::time::Duration;

use async_trait::async_trait;

/// How fast a bucket fills, and how much it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Points; at least one.
    pub per_second: u64,
    /// At least the largest cost of one request.
    pub burst: u64,
}

impl Rate {
    /// How long `points` take to come in.
    fn time_for(self, points: i64) -> Duration {
        let millis = u128::from(points.unsigned_abs()) * 1_000 / u128::from(self.per_second.max(1));
        Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX).saturating_add(1))
    }
}

/// Buckets by key.
#[async_trait]
pub trait Budgets: Send + Sync {
    /// Takes points, all or none; answers how many are left, as far as this node knows. `Err` holds when to come back.
    async fn take(&self, key: &str, rate: Rate, points: u64) -> Result<i64, Duration>;

    /// Corrects what was taken before: a positive difference is given back, a negative one charged, into debt if need
    /// be. Answers as [`Budgets::take`].
    fn settle(&self, key: &str, rate: Rate, difference: i64) -> i64;
}

/// Points as they are counted: a bucket can be in debt.
fn signed(points: u64) -> i64 {
    i64::try_from(points).unwrap_or(i64::MAX)
}
