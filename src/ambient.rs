//! The one home of the clock, of new ids and of randomness; everywhere else they are arguments (clippy holds it).
//!
//! # Decisions
//! - The clock truncates to microseconds: PostgreSQL keeps no more, SQLite would, and a row must read back as written.
//! - Ids are UUIDv7 from one process-wide monotonic source: rows made by one node sort by creation.

use std::sync::Arc;

use chrono::{SubsecRound, TimeDelta, Utc};
use rand::Rng;
use tributary_entity::Instant;
use uuid::Uuid;

/// Tells the time, in UTC, to the microsecond.
pub trait Clock: Send + Sync {
    fn now(&self) -> Instant;
}

/// The machine's clock.
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one home of the clock")]
    fn now(&self) -> Instant {
        Utc::now().trunc_subsecs(6)
    }
}

/// A clock that runs with the machine's, shifted by what a test has advanced it.
#[derive(Clone, Default)]
pub struct ShiftedClock(Arc<std::sync::atomic::AtomicI64>);

impl ShiftedClock {
    /// Moves the clock forward (or back, with a negative delta) for everybody who holds it.
    pub fn advance(&self, delta: TimeDelta) {
        let micros = delta.num_microseconds().expect("tests advance by less than 292 000 years");
        self.0.fetch_add(micros, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Clock for ShiftedClock {
    fn now(&self) -> Instant {
        SystemClock.now() + TimeDelta::microseconds(self.0.load(std::sync::atomic::Ordering::SeqCst))
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
