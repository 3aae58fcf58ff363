//! The one reader of a tenant's log on this node: goes through all numbers in order and hands each event out.
//!
//! # Decisions
//! - It outlives its own panics: where it stands is kept outside it, so it begins again behind what it handed out. A
//!   dead follower would leave its subscribers silent for ever.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::{
    sync::Mutex,
    time::{MissedTickBehavior, interval, sleep},
};
use tributary_entity::event;

use super::{
    Log,
    event::{LiveEvent, load_relations},
    position,
};
use crate::{
    bus::{Listener, Message},
    store::{error::StoreError, events},
};

/// Events read from the log at once.
const PAGE: u64 = 500;
/// How often the log is looked at without being woken.
const POLL: Duration = Duration::from_secs(1);
/// How long a follower that panicked waits before it begins again.
const RECOVERY: Duration = Duration::from_millis(500);

/// Follows the log and hands out what is new.
pub(super) struct Follower {
    log: Arc<Log>,
    /// Of one run at a time.
    listener: Mutex<Listener>,
}

/// What the follower finds when it looks.
#[derive(PartialEq, Eq)]
enum Found {
    /// The log as it was, perhaps longer.
    Continuation,
    /// Another history.
    Another,
}

impl Follower {
    pub fn new(log: Arc<Log>, listener: Listener) -> Self {
        Self { log, listener: Mutex::new(listener) }
    }

    /// Runs until the log is another history.
    pub async fn run(self) {
        outlive_panics(RECOVERY, || self.follow()).await;
        self.log.index().retire();
    }

    async fn follow(&self) {
        let mut listener = self.listener.lock().await;
        let mut poll = interval(POLL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let message = tokio::select! {
                message = listener.next() => message,
                _ = poll.tick() => Message::Wake,
            };
            let found = self.log.outage.persist(|| self.hear(&message)).await;
            if found == Found::Another {
                return;
            }
        }
    }

    async fn hear(&self, message: &Message) -> Result<Found, StoreError> {
        if let Message::Events(batch) = message {
            let handed = self.log.index().handed();
            if batch.last_seq <= handed {
                return Ok(Found::Continuation);
            }
            if batch.first_seq == handed + 1
                && let Some(rows) = &batch.events
            {
                self.hand_out(rows.clone()).await?;
                return Ok(Found::Continuation);
            }
        }
        self.read_log().await
    }

    async fn read_log(&self) -> Result<Found, StoreError> {
        loop {
            let handed = self.log.index().handed();
            let tx = self.log.db.snapshot(&self.log.scope).await?;
            let tip = position(&tx).await?;
            if !self.log.is_continued_by(tip, handed) {
                return Ok(Found::Another);
            }
            if tip.seq == handed {
                return Ok(Found::Continuation);
            }
            let rows = events::list_after(&tx, handed, PAGE).await?;
            drop(tx);
            self.hand_out(rows).await?;
        }
    }

    async fn hand_out(&self, rows: Vec<event::Model>) -> Result<(), StoreError> {
        // Who hears of it may ask for it next.
        self.log.db.heard_of(&self.log.scope);
        let mut events: Vec<LiveEvent> = rows.into_iter().map(LiveEvent::read).collect();
        // What nobody wants needs no relations. Who joins meanwhile and wants it loads them by itself.
        let wanted: Vec<bool> = {
            let index = self.log.index();
            events.iter().map(|event| index.is_wanted(event)).collect()
        };
        let to_load = events.iter_mut().zip(wanted).filter_map(|(event, wanted)| wanted.then_some(event));
        load_relations(&self.log.db, &self.log.scope, to_load).await?;
        let mut handed = 0;
        let count = events.len();
        {
            let mut index = self.log.index();
            for event in events {
                handed += index.hand_out(&Arc::new(event));
            }
        }
        metrics::counter!("tributary_feed_events_total").increment(count as u64);
        metrics::counter!("tributary_feed_events_handed_total").increment(handed as u64);
        Ok(())
    }
}

/// Does something to its end, again from its beginning whenever it panics.
async fn outlive_panics<F: Future<Output = ()>>(recovery: Duration, mut act: impl FnMut() -> F) {
    // The panic itself was logged where it happened.
    while AssertUnwindSafe(act()).catch_unwind().await.is_err() {
        tracing::error!("the follower of an event log panicked; it begins again behind what it handed out");
        metrics::counter!("tributary_feed_restarts_total").increment(1);
        sleep(recovery).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn panics_are_outlived() {
        let mut runs = 0;
        outlive_panics(Duration::ZERO, || {
            runs += 1;
            let run = runs;
            async move { assert!(run == 3, "a defect") }
        })
        .await;
        assert_eq!(runs, 3);
    }
}
