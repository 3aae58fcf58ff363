//! Work in the background: due outbox work every second, payout batches that are due every minute, the seal on ledgers,
//! retention every hour, processors' books of every day that is over, this node's spool while it holds anything;
//! what visitors are known by is kept current, and what PostgreSQL plans by. Safe on any number of nodes.
//!
//! # Adding one
//! For work that follows from a fact: an `OutboxKind`, asked for in the fact's transaction, and an arm in [`outbox`].
//! For work by the clock: a loop in [`start`]. Either way it must be safe to do twice.

pub mod fx_rates;
pub mod outbox;
pub mod payout_schedules;
pub mod reconcile;
pub mod retention;
pub mod seal;
pub mod visitors;

use std::time::Duration;

use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::services::{ServiceError, Services, spool, statistics};

const OUTBOX_EVERY: Duration = Duration::from_secs(1);
/// How soon a spool is looked at again; an empty one costs nothing.
const SPOOL_EVERY: Duration = Duration::from_millis(250);
const RETENTION_EVERY: Duration = Duration::from_secs(3_600);
const RECONCILE_EVERY: Duration = Duration::from_secs(900);
const ADDRESS_KEYS_EVERY: Duration = Duration::from_secs(600);
/// The ECB publishes once on each working day; who asks each hour has it soon, whenever that is.
const FX_FEED_EVERY: Duration = Duration::from_secs(3_600);
/// Days begin in every time zone; nobody waits for the minute.
const PAYOUT_SCHEDULES_EVERY: Duration = Duration::from_secs(60);
/// A table that is filled at full speed has been empty a moment ago.
const STATISTICS_EVERY: Duration = Duration::from_secs(2);
const COUNTRIES_EVERY: Duration = Duration::from_secs(60);

/// The running jobs of a node.
pub struct Jobs {
    stop: CancellationToken,
    loops: JoinSet<()>,
}

impl Jobs {
    /// Lets what is under way finish, and ends.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while self.loops.join_next().await.is_some() {}
    }
}

/// Starts all jobs.
pub fn start(services: Services) -> Jobs {
    let stop = CancellationToken::new();
    let mut loops = JoinSet::new();
    loops.spawn(every(OUTBOX_EVERY, stop.clone(), services.clone(), "outbox", async |services| {
        outbox::run_due(services).await
    }));
    loops.spawn(every(OUTBOX_EVERY, stop.clone(), services.clone(), "processors", async |services| {
        outbox::call_processors(services).await
    }));
    loops.spawn(every(RECONCILE_EVERY, stop.clone(), services.clone(), "reconcile", async |services| {
        reconcile::run(services).await
    }));
    loops.spawn(every(SPOOL_EVERY, stop.clone(), services.clone(), "spool", async |services| {
        spool::replay(services).await
    }));
    loops.spawn(every(RETENTION_EVERY, stop.clone(), services.clone(), "retention", async |services| {
        retention::run(services).await
    }));
    loops.spawn(every(PAYOUT_SCHEDULES_EVERY, stop.clone(), services.clone(), "payout_schedules", async |services| {
        payout_schedules::run(services).await
    }));
    let seal_every = Duration::from_secs(services.settings.ledger_seal_secs);
    loops.spawn(every(seal_every, stop.clone(), services.clone(), "seal", async |services| seal::run(services).await));
    loops.spawn(every(ADDRESS_KEYS_EVERY, stop.clone(), services.clone(), "address_keys", async |services| {
        visitors::prepare_keys(services).await
    }));
    loops.spawn(every(FX_FEED_EVERY, stop.clone(), services.clone(), "fx_feed", async |services| {
        fx_rates::feed(services).await
    }));
    loops.spawn(every(STATISTICS_EVERY, stop.clone(), services.clone(), "statistics", async |services| {
        statistics::renew(services).await
    }));
    loops.spawn(every(COUNTRIES_EVERY, stop.clone(), services, "countries", async |services| {
        visitors::reload_countries(services).await
    }));
    Jobs { stop, loops }
}

async fn every<F>(period: Duration, stop: CancellationToken, services: Services, name: &'static str, job: F)
where
    F: AsyncFn(&Services) -> Result<u64, ServiceError>,
{
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        match job(&services).await {
            Ok(0) => {}
            Ok(count) => tracing::debug!(job = name, job.count = count, "job done"),
            Err(error) => tracing::warn!(job = name, ?error, "job failed; it runs again at the next tick"),
        }
    }
}
