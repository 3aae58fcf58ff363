//! Dashboards: the best rows of a report, read anew when their totals may have changed, once for all who watch the same.
//!
//! Who asks for the same, in the same scope and at the same pace, shares a board: one task, one read of the database per
//! interval and only when there may be something new, the newest state for everybody. What a subscriber was shown is
//! its own business: it is told the difference, at its own pace, so that a slow one skips states and no one queues.
//!
//! # Decisions
//! - A board wakes by the totals that commits say they changed (`EventBatch::counted`), not by events: clicks are in no
//!   log, where they would outnumber all the rest, and whatever else counts later is heard of without a word here.
//! - The bus may lose a message, and no number tells so. A node that lost its connection to Redis is woken when it is
//!   back; for what is lost otherwise a board is read every [`UNPROMPTED`] all the same.
//! - A report over many rows takes its time: a board is not read again before [`REST`] times as long as the last
//!   reading took, so that all that anybody watches cannot wear the database out.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use futures_util::FutureExt;
use tokio::{
    sync::watch,
    task::AbortHandle,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{ServiceError, feed, reports};
use crate::{
    ambient::Clock,
    bus::{EventBus, Listener, Message},
    domain::{
        cursor::Position,
        dashboard::{Board, Change, DashboardRequest, Span},
        tenancy::TenantScope,
    },
    store::database::Db,
};

/// How often a board looks whether its period has moved on.
const LOOK: Duration = Duration::from_secs(1);
/// How long a board stays unread when nothing tells of a change.
const UNPROMPTED: Duration = Duration::from_secs(10);
/// How many times as long as a reading took a board rests after it.
const REST: u32 = 10;
/// How long to wait before asking a database again that did not answer.
const RETRY: Duration = Duration::from_millis(500);

/// A state of a dashboard and its place in the event log.
#[derive(Clone, Debug)]
pub struct Shown {
    pub board: Board,
    pub position: Position,
}

/// What makes two subscribers watch the same.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    scope: TenantScope,
    request: DashboardRequest,
    interval: Duration,
}

/// The boards of this node; cheap to clone.
#[derive(Clone)]
pub struct Dashboards {
    db: Db,
    bus: Arc<dyn EventBus>,
    clock: Arc<dyn Clock>,
    boards: Arc<Mutex<HashMap<Key, Weak<Shared>>>>,
}

/// A board that is kept; lives as long as somebody watches it.
struct Shared {
    states: watch::Receiver<Arc<Shown>>,
    task: AbortHandle,
}

impl Shared {
    /// Whether it is still kept current: a reading that cannot succeed ends it.
    fn is_kept(&self) -> bool {
        self.states.has_changed().is_ok()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Dashboards {
    pub fn new(db: Db, bus: Arc<dyn EventBus>, clock: Arc<dyn Clock>) -> Self {
        Self { db, bus, clock, boards: Arc::default() }
    }

    /// Watches a checked dashboard of what the scope sees, with at least `interval` between two states.
    ///
    /// # Errors
    /// As [`reports::report`].
    pub async fn watch(
        &self,
        scope: &TenantScope,
        request: DashboardRequest,
        interval: Duration,
    ) -> Result<Watcher, ServiceError> {
        let key = Key { scope: *scope, request, interval };
        let board = self.board(&key).await?;
        Ok(Watcher { dashboards: self.clone(), states: unseen(&board), board, key, shown: None, next: Instant::now() })
    }

    /// The board that others watch already, or a new one.
    async fn board(&self, key: &Key) -> Result<Arc<Shared>, ServiceError> {
        if let Some(board) = self.with(|boards| kept(boards, key)) {
            return Ok(board);
        }
        // The bus first, then the state: what is committed between the two is heard.
        let listener = self.bus.listen(&key.scope);
        let (db, clock) = (self.db.clone(), Arc::clone(&self.clock));
        let mut keeper = Keeper { db, clock, key: key.clone(), listener, rested: Instant::now() };
        let first = keeper.read().await?;
        Ok(self.with(|boards| {
            boards.retain(|_, board| board.strong_count() > 0);
            // Another may have been first meanwhile.
            kept(boards, key).unwrap_or_else(|| {
                let (sender, states) = watch::channel(Arc::new(first));
                let task = tokio::spawn(keeper.run(sender)).abort_handle();
                let board = Arc::new(Shared { states, task });
                boards.insert(key.clone(), Arc::downgrade(&board));
                board
            })
        }))
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashMap<Key, Weak<Shared>>) -> T) -> T {
        act(&mut self.boards.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn kept(boards: &HashMap<Key, Weak<Shared>>, key: &Key) -> Option<Arc<Shared>> {
    boards.get(key).and_then(Weak::upgrade).filter(|board| board.is_kept())
}

/// A board's states from the present one on.
fn unseen(board: &Shared) -> watch::Receiver<Arc<Shown>> {
    let mut states = board.states.clone();
    states.mark_changed();
    states
}

/// Keeps one board current.
struct Keeper {
    db: Db,
    clock: Arc<dyn Clock>,
    key: Key,
    listener: Listener,
    /// Not read again before.
    rested: Instant,
}

impl Keeper {
    /// Goes on until a reading cannot succeed: whoever watches then begins anew, and is told why it cannot.
    async fn run(mut self, states: watch::Sender<Arc<Shown>>) {
        loop {
            let span = states.borrow().board.span;
            self.wait_for_change(span).await;
            sleep_until(self.rested).await;
            // One reading answers all that was heard meanwhile.
            while self.listener.next().now_or_never().is_some() {}
            match self.read().await {
                // A newcomer is shown the newest position, also where nothing changed.
                Ok(shown) => drop(states.send_if_modified(|current| {
                    let is_new = current.board != shown.board;
                    *current = Arc::new(shown);
                    is_new
                })),
                Err(error) => {
                    tracing::warn!(%error, "a dashboard cannot be read any more");
                    return;
                }
            }
        }
    }

    /// Waits until the board may differ from what it was over `span`.
    async fn wait_for_change(&mut self, span: Span) {
        let Key { scope, request, .. } = &self.key;
        let unprompted = Instant::now() + UNPROMPTED;
        loop {
            match timeout(LOOK, self.listener.next()).await {
                Ok(Message::Wake) => return,
                Ok(Message::Events(batch)) if batch.counts(|of, by| request.concerns(scope.ring(), of, by)) => return,
                Ok(Message::Events(_)) | Err(_) => {}
            }
            if Instant::now() >= unprompted || request.period.at(self.clock.now()) != span {
                return;
            }
        }
    }

    /// Reads the present state. A database that is away is waited for.
    async fn read(&mut self) -> Result<Shown, ServiceError> {
        loop {
            let begin = Instant::now();
            let answer = self.try_read().await;
            self.rested = begin + self.key.interval.max(begin.elapsed() * REST);
            match answer {
                Err(error) if error.is_transient() => {
                    tracing::warn!(%error, "a dashboard cannot be read; trying again");
                    sleep(RETRY).await;
                }
                answer => return answer,
            }
        }
    }

    async fn try_read(&self) -> Result<Shown, ServiceError> {
        let DashboardRequest { period, top, .. } = self.key.request;
        let span = period.at(self.clock.now());
        self.db.heard_of(&self.key.scope);
        let tx = self.db.snapshot(&self.key.scope).await?;
        let rows = reports::read(&tx, &self.key.request.report(span), Some(top)).await?;
        let position = feed::position(&tx).await?;
        Ok(Shown { board: Board { span, rows: top.of(rows) }, position })
    }
}

/// One subscriber of a dashboard.
pub struct Watcher {
    dashboards: Dashboards,
    key: Key,
    board: Arc<Shared>,
    states: watch::Receiver<Arc<Shown>>,
    shown: Option<Arc<Shown>>,
    /// Nothing is told before.
    next: Instant,
}

impl Watcher {
    /// The place of the present state.
    pub fn position(&self) -> Position {
        self.states.borrow().position
    }

    /// What the subscriber does not know: first all there is, then, when something changed, how. With the state that it
    /// leads to. Whoever asks late skips states.
    ///
    /// # Errors
    /// As [`reports::report`]; `CursorExpired` when the log becomes another history.
    pub async fn next(&mut self) -> Result<(Change, Arc<Shown>), ServiceError> {
        loop {
            sleep_until(self.next).await;
            if self.states.changed().await.is_err() {
                self.board = self.dashboards.board(&self.key).await?;
                self.states = unseen(&self.board);
                continue;
            }
            let state = Arc::clone(&self.states.borrow_and_update());
            let change = match &self.shown {
                None => Some(state.board.snapshot()),
                Some(shown) if shown.position.epoch != state.position.epoch => return Err(ServiceError::CursorExpired),
                Some(shown) => state.board.since(&shown.board),
            };
            if let Some(change) = change {
                self.next = Instant::now() + self.key.interval;
                self.shown = Some(Arc::clone(&state));
                return Ok((change, state));
            }
        }
    }
}
