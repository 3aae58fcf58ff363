//! One who follows a tenant's feed: from a place in the log to its end, and on with what is handed out.
//!
//! # Decisions
//! - The log is read by an interest in the database, a bounded stretch of numbers at a time: a rare interest far behind
//!   must neither read every payload nor run one query over the whole log.

use std::{collections::VecDeque, sync::Arc};

use futures_util::{Stream, stream};

use tokio::task::JoinSet;

use super::{
    Feed, Log,
    event::{LiveEvent, load_relations},
    index::Slot,
    queue::Popped,
};
use crate::{
    domain::{cursor::Position, event::Interest},
    services::ServiceError,
    store::{error::StoreError, events},
};

/// Events that wait for a member before it goes back to the log.
pub(super) const QUEUE: usize = 1_024;
/// Events that a member reads from the log at once.
const PAGE: u64 = 100;
/// Numbers that one query passes over at most.
const STRETCH: i64 = 20_000;

/// A place in a tenant's feed.
pub struct Member {
    feed: Arc<Feed>,
    slot: Arc<Slot>,
    tip: Position,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.feed.log.index().leave(&self.slot);
    }
}

impl Member {
    pub(super) fn new(feed: Arc<Feed>, slot: Arc<Slot>) -> Self {
        let tip = Position { epoch: feed.log.epoch, seq: 0 };
        Self { feed, slot, tip }
    }

    /// Notes the log's tip after joining. Retires the feed when that is another history than it follows.
    pub(super) fn begins_at(&mut self, tip: Position, handed: i64) -> bool {
        let continued = self.feed.log.is_continued_by(tip, handed);
        if !continued {
            self.feed.log.index().retire();
        }
        self.tip = tip;
        continued
    }

    /// The end of the log when the member joined.
    pub const fn tip(&self) -> Position {
        self.tip
    }

    /// Every event of interest after `seq`, once, in order; for ever, or as far as `until`. A database that is away is
    /// waited for.
    ///
    /// # Errors
    /// `CursorExpired`, as the last item, when the log becomes another history.
    pub fn events(
        self,
        seq: i64,
        until: Option<i64>,
    ) -> impl Stream<Item = Result<Arc<LiveEvent>, ServiceError>> + Send + 'static {
        let target = self.tip.seq;
        let start = Reading { member: self, last: seq, target, until, page: VecDeque::new(), page_end: seq };
        stream::unfold(Some(start), async |reading| {
            let mut reading = reading?;
            let item = reading.next().await?;
            let goes_on = item.is_ok();
            Some((item, goes_on.then_some(reading)))
        })
    }

    /// Waits until something of interest happens. Many at once count as one.
    ///
    /// # Errors
    /// `CursorExpired` when the log becomes another history.
    pub async fn changed(&mut self) -> Result<(), ServiceError> {
        match self.slot.queue.pop().await {
            Popped::Item(_) | Popped::Overflow => {
                self.skip_pending();
                Ok(())
            }
            Popped::Closed => Err(ServiceError::CursorExpired),
        }
    }

    /// Forgets what was handed out and not looked at.
    pub fn skip_pending(&mut self) {
        self.slot.queue.restart();
    }

    fn log(&self) -> &Log {
        &self.feed.log
    }
}

struct Reading {
    member: Member,
    /// Every event of interest up to this one was given out.
    last: i64,
    /// Up to here the log has to be read; what is after it comes by the queue.
    target: i64,
    until: Option<i64>,
    page: VecDeque<Arc<LiveEvent>>,
    /// How far the page reaches.
    page_end: i64,
}

impl Reading {
    async fn next(&mut self) -> Option<Result<Arc<LiveEvent>, ServiceError>> {
        loop {
            if let Some(event) = self.page.pop_front() {
                self.last = event.row.seq;
                return Some(Ok(event));
            }
            self.last = self.last.max(self.page_end);
            if self.until.is_some_and(|until| self.last >= until) {
                return None;
            }
            if self.last < self.target {
                self.read_log().await;
                continue;
            }
            match self.member.slot.queue.pop().await {
                Popped::Item(event) if self.until.is_some_and(|until| event.row.seq > until) => return None,
                Popped::Item(event) if event.row.seq > self.last => {
                    self.last = event.row.seq;
                    return Some(Ok(event));
                }
                Popped::Item(_) => {}
                Popped::Overflow => {
                    metrics::counter!("tributary_feed_overflows_total").increment(1);
                    self.target = self.member.log().index().restart(&self.member.slot);
                }
                Popped::Closed => return Some(Err(ServiceError::CursorExpired)),
            }
        }
    }

    async fn read_log(&mut self) {
        let end = self.target.min(self.until.unwrap_or(i64::MAX)).min(self.last.saturating_add(STRETCH));
        let (feed, slot, last) = (Arc::clone(&self.member.feed), Arc::clone(&self.member.slot), self.last);
        // On a task of its own: a client that takes nothing is not asked for more, and a read that stopped half-way would
        // keep its connection from everybody else.
        let mut reading = JoinSet::new();
        reading.spawn(async move {
            let log = &feed.log;
            log.outage.persist(|| read(log, &slot.interest, last, end)).await
        });
        let events = match reading.join_next().await.expect("one was spawned") {
            Ok(events) => events,
            // As if it had panicked here: the subscription fails, and its client is told.
            Err(failed) => std::panic::resume_unwind(failed.into_panic()),
        };
        let is_full = events.len() as u64 == PAGE;
        self.page_end = events.last().filter(|_| is_full).map_or(end, |event| event.row.seq);
        self.page = events.into_iter().map(Arc::new).collect();
    }
}

/// A page of the log.
async fn read(log: &Log, interest: &Interest, after: i64, last: i64) -> Result<Vec<LiveEvent>, StoreError> {
    let _permit = log.readers.acquire().await;
    let tx = log.db.snapshot(&log.scope).await?;
    let rows = events::list_of_interest(&tx, interest, after, last, PAGE).await?;
    drop(tx);
    let mut events: Vec<LiveEvent> = rows.into_iter().map(LiveEvent::read).collect();
    load_relations(&log.db, &log.scope, events.iter_mut()).await?;
    Ok(events)
}
