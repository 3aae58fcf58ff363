//! The one home of the clock, of new ids and of randomness; everywhere else they are arguments (clippy holds it).
//!
//! # Decisions
//! - The clock truncates to microseconds: PostgreSQL keeps no more, SQLite would, and a row must read back as written.
//! - Ids are UUIDv7 from one process-wide monotonic source: rows made by one node sort by creation.
//! - Who waits for an instant asks the clock to: a timer set for what is left now would miss a clock that is moved, by a
//!   test or by the machine's own time service.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{SubsecRound, TimeDelta, Utc};
use rand::Rng;
use tokio::{sync::watch, time::sleep};
use tributary_entity::Instant;
use uuid::Uuid;

/// Tells the time, in UTC, to the microsecond.
#[async_trait]
pub trait Clock: Send + Sync {
    fn now(&self) -> Instant;

    /// Waits until it is `at`. Safe to cancel.
    async fn until(&self, at: Instant);
}

/// How long a wait may go without a look at the clock.
const LOOK: Duration = Duration::from_secs(30);

/// How long to sleep before the clock is looked at again; none when it is `at`.
fn nap(now: Instant, at: Instant) -> Option<Duration> {
    (at - now).to_std().ok().filter(|left| !left.is_zero()).map(|left| left.min(LOOK))
}

/// The machine's clock.
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one home of the clock")]
    fn now(&self) -> Instant {
        Utc::now().trunc_subsecs(6)
    }

    async fn until(&self, at: Instant) {
        while let Some(nap) = nap(self.now(), at) {
            sleep(nap).await;
        }
    }
}

/// A clock that runs with the machine's, shifted by what a test has advanced it.
#[derive(Clone, Default)]
pub struct ShiftedClock(Arc<watch::Sender<TimeDelta>>);

impl ShiftedClock {
    /// Moves the clock forward (or back, with a negative delta) for everybody who holds it.
    pub fn advance(&self, delta: TimeDelta) {
        self.0.send_modify(|shift| *shift += delta);
    }
}

#[async_trait]
impl Clock for ShiftedClock {
    fn now(&self) -> Instant {
        SystemClock.now() + *self.0.borrow()
    }

    async fn until(&self, at: Instant) {
        let mut shifts = self.0.subscribe();
        while let Some(nap) = nap(self.now(), at) {
            // The sender lives in `self`.
            let _ = tokio::time::timeout(nap, shifts.changed()).await;
        }
    }
}

/// A new time-ordered UUID, for the typed ids of new rows.
#[expect(clippy::disallowed_methods, reason = "the one home of new ids")]
pub fn new_uuid() -> Uuid {
    Uuid::now_v7()
}

/// Random bytes from the operating system's generator, for secrets and public codes.
#[expect(clippy::disallowed_methods, reason = "the one home of randomness")]
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::rng().fill_bytes(&mut bytes);
    bytes
}
