//! Waiting for a database that is away: told once for the whole node, however many wait.

use std::{
    fmt::Display,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::sleep;

/// The first wait; each doubles, up to [`LONGEST`].
const FIRST: Duration = Duration::from_millis(250);
/// Subscribers go on within two seconds of the database's return.
const LONGEST: Duration = Duration::from_secs(2);

/// Whether the database is known to be away; cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Outage(Arc<AtomicBool>);

impl Outage {
    /// Does something again and again until it succeeds.
    pub async fn persist<T, E, F>(&self, mut act: impl FnMut() -> F) -> T
    where
        E: Display,
        F: Future<Output = Result<T, E>>,
    {
        let mut wait = FIRST;
        loop {
            match act().await {
                Ok(done) => {
                    if self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed) {
                        tracing::info!("the database answers again; subscriptions go on");
                    }
                    return done;
                }
                Err(error) => {
                    if !self.0.swap(true, Ordering::Relaxed) {
                        tracing::warn!(%error, "the database does not answer; subscriptions wait for it");
                    }
                }
            }
            sleep(wait).await;
            wait = (wait * 2).min(LONGEST);
        }
    }
}
