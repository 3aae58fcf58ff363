//! The feed: a tenant's event log as live streams, on this node, without gap or duplicate.
//!
//! One task per tenant with subscribers ([`follower`]) follows the log: woken by the bus, checked every second, it reads
//! what is missing, prepares each event once ([`event`]) and hands it to those members whose interest it meets
//! ([`index`]). A member ([`member`]) joins, reads the log from its cursor to the tip, and goes on with what is handed
//! out; if it falls behind ([`queue`]), it goes back to the log. The log is the truth; everything else only makes it fast.
//!
//! # Decisions
//! - A member enters the index before it reads the tip: what is committed in between is in both, and dropped once by its
//!   number.
//! - A member sees no gap of its own, as it gets only what it asked for. That nothing is left out is the follower's
//!   duty, which goes through all numbers in order; an overflow of a member's queue is told to it in its place.
//! - Another history of the log (an older backup was restored) retires the feed: its members are told that their
//!   cursors have expired, and the next to join starts a new one.
//! - Memory is bounded by events: each member's queue holds at most [`member::QUEUE`] that are shared with all others.

mod event;
mod follower;
mod index;
mod member;
mod outage;
pub(crate) mod queue;

use std::{
    collections::HashMap,
    fmt::Display,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use tokio::{sync::Semaphore, task::AbortHandle};
use tributary_entity::ids::TenantId;
use uuid::Uuid;

pub use event::{ConversionView, LiveEvent, Relations};
pub use member::Member;

use super::ServiceError;
use crate::{
    bus::EventBus,
    domain::{cursor::Position, event::Interest, tenancy::TenantScope},
    store::{database::Db, error::StoreError, events, scope::Tx, tenants},
};
use follower::Follower;
use index::Index;
use outage::Outage;

/// Members that read the log at once: a wave of returning subscribers leaves connections for everybody else.
const READERS: usize = 4;

/// The feeds of this node; cheap to clone.
#[derive(Clone)]
pub struct Feeds {
    db: Db,
    bus: Arc<dyn EventBus>,
    feeds: Arc<Mutex<HashMap<TenantId, Weak<Feed>>>>,
    readers: Arc<Semaphore>,
    outage: Outage,
}

/// One tenant's feed; lives as long as it has a member.
struct Feed {
    log: Arc<Log>,
    follower: AbortHandle,
}

/// What the follower and the members of a feed share.
struct Log {
    db: Db,
    scope: TenantScope,
    /// The history that the feed follows.
    epoch: Uuid,
    index: Mutex<Index>,
    readers: Arc<Semaphore>,
    outage: Outage,
}

impl Log {
    fn index(&self) -> MutexGuard<'_, Index> {
        // An event that was handed out in part is handed out again; members drop what they have.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this place is in the history that the feed follows, and not before what it handed out.
    fn is_continued_by(&self, tip: Position, handed: i64) -> bool {
        tip.epoch == self.epoch && tip.seq >= handed
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

impl Feeds {
    pub fn new(db: Db, bus: Arc<dyn EventBus>) -> Self {
        let readers = Arc::new(Semaphore::new(READERS));
        Self { db, bus, feeds: Arc::default(), readers, outage: Outage::default() }
    }

    /// Joins the tenant's feed. Every event of interest after the moment of the call is handed to the member or in the
    /// log.
    ///
    /// # Errors
    /// As the database answers.
    pub async fn join(&self, scope: &TenantScope, interest: Interest) -> Result<Member, StoreError> {
        let scope = scope.whole_tenant();
        loop {
            let feed = match self.running(&scope) {
                Some(feed) => feed,
                None => self.start(scope).await?,
            };
            let (slot, handed) = feed.log.index().enter(interest.clone());
            let mut member = Member::new(feed, slot);
            let tx = self.db.snapshot(&scope).await?;
            let tip = position(&tx).await?;
            if member.begins_at(tip, handed) {
                return Ok(member);
            }
        }
    }

    /// Does something until the database answers; that it does not is logged once, whoever else waits for it.
    pub async fn persist<T, E, F>(&self, act: impl FnMut() -> F) -> T
    where
        E: Display,
        F: Future<Output = Result<T, E>>,
    {
        self.outage.persist(act).await
    }

    fn running(&self, scope: &TenantScope) -> Option<Arc<Feed>> {
        self.with(|feeds| running(feeds, scope))
    }

    async fn start(&self, scope: TenantScope) -> Result<Arc<Feed>, StoreError> {
        // The bus first, then the tip: what is committed between the two is heard.
        let listener = self.bus.listen(&scope);
        let tx = self.db.snapshot(&scope).await?;
        let tip = position(&tx).await?;
        drop(tx);
        Ok(self.with(|feeds| {
            feeds.retain(|_, feed| feed.strong_count() > 0);
            if let Some(feed) = running(feeds, &scope) {
                return feed;
            }
            let log = Arc::new(Log {
                db: self.db.clone(),
                scope,
                epoch: tip.epoch,
                index: Mutex::new(Index::new(tip.seq)),
                readers: Arc::clone(&self.readers),
                outage: self.outage.clone(),
            });
            let follower = tokio::spawn(Follower::new(Arc::clone(&log), listener).run()).abort_handle();
            let feed = Arc::new(Feed { log, follower });
            feeds.insert(scope.tenant_id(), Arc::downgrade(&feed));
            feed
        }))
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashMap<TenantId, Weak<Feed>>) -> T) -> T {
        act(&mut self.feeds.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn running(feeds: &HashMap<TenantId, Weak<Feed>>, scope: &TenantScope) -> Option<Arc<Feed>> {
    let feed = feeds.get(&scope.tenant_id())?.upgrade()?;
    let is_retired = feed.log.index().is_retired();
    (!is_retired).then_some(feed)
}

/// The place in the log of a moment, within its transaction.
///
/// # Errors
/// As the database answers.
pub async fn position(tx: &Tx) -> Result<Position, StoreError> {
    Ok(Position { epoch: tenants::get(tx).await?.epoch, seq: events::tip(tx).await? })
}

/// The place in the log that a cursor names, checked against the log as it is.
///
/// # Errors
/// `CursorExpired` when the log is another history or shorter than the cursor says.
pub fn resume(position: Position, tip: Position) -> Result<i64, ServiceError> {
    if position.epoch == tip.epoch && (0..=tip.seq).contains(&position.seq) {
        Ok(position.seq)
    } else {
        Err(ServiceError::CursorExpired)
    }
}
