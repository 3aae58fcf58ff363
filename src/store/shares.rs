//! How many connections one tenant may have at once: never all of them, however many of its requests come together.
//!
//! # Decisions
//! - Three quarters: a tenant alone on a node loses little, as more backends than processors gain little; the others always
//!   find connections that they need not wait for.
//! - A tenant's own transactions wait for each other in the order in which they were begun, as the pool's would.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tributary_entity::ids::TenantId;

/// Tenants that are remembered before those that use nothing are forgotten.
const REMEMBERED: usize = 1_024;

/// The tenants' shares of a pool.
#[derive(Debug)]
pub(super) struct Shares {
    of_each: usize,
    tenants: Mutex<HashMap<TenantId, Arc<Semaphore>>>,
}

/// A connection of a tenant's share, until it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Shares {
    /// Of a pool of so many connections.
    pub fn of(connections: u32) -> Self {
        let connections = usize::try_from(connections).unwrap_or(Semaphore::MAX_PERMITS);
        Self { of_each: connections - connections / 4, tenants: Mutex::default() }
    }

    /// Waits until the tenant has one of its share to give.
    pub async fn take(&self, id: TenantId) -> Share {
        let share = self.share(id);
        Share { _permit: share.acquire_owned().await.ok() }
    }

    fn share(&self, id: TenantId) -> Arc<Semaphore> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if tenants.len() >= REMEMBERED {
            // Who holds one, or waits for one, refers to it.
            tenants.retain(|_, share| Arc::strong_count(share) > 1);
        }
        Arc::clone(tenants.entry(id).or_insert_with(|| Arc::new(Semaphore::new(self.of_each))))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn nobody_has_all_and_what_is_given_back_is_there_again() {
        let shares = Shares::of(4);
        let [one, two] = [Uuid::from_u128(1), Uuid::from_u128(2)].map(TenantId::from_uuid);
        let mut held = vec![shares.take(one).await, shares.take(one).await, shares.take(one).await];
        assert!(shares.take(one).now_or_never().is_none(), "a fourth of four");
        assert!(shares.take(two).now_or_never().is_some(), "another tenant's");
        held.pop();
        assert!(shares.take(one).now_or_never().is_some());
        let small = Shares::of(1);
        assert!(small.take(one).now_or_never().is_some(), "a pool of one is everybody's");
    }

    #[tokio::test]
    async fn who_uses_nothing_is_forgotten() {
        let shares = Shares::of(4);
        let id = |number| TenantId::from_uuid(Uuid::from_u128(number));
        let held = shares.take(id(0)).await;
        for number in 1..5_000 {
            drop(shares.take(id(number)).await);
        }
        assert!(shares.tenants.lock().expect("whole").len() <= REMEMBERED);
        assert_eq!(shares.share(id(0)).available_permits(), 2, "who holds one is remembered");
        drop(held);
    }
}
