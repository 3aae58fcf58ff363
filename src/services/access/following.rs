//! Follows what credentials are worth for as long as connections stand on them: one task per tenant with connections on
//! this node, which reads the tenant's log and, where an event concerns a basis that somebody follows, reads that again,
//! once, however many connections stand on it.
//!
//! The log reaches every node within a second also while Redis is away (see [`crate::services::feed`]).

use std::{
    collections::HashMap,
    ops::ControlFlow,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use futures_util::{Stream, StreamExt, stream};
use tokio::{
    sync::mpsc,
    task::AbortHandle,
    time::{Instant, sleep},
};
use tributary_entity::{
    event,
    ids::TenantId,
    kinds::{EventKind, TenantStatus},
};

use super::{
    slot::{Key, Slot},
    worth::Worth,
};
use crate::{
    auth::Basis,
    domain::{event::Interest, tenancy::TenantScope},
    services::{
        ServiceError,
        feed::{Feeds, LiveEvent},
    },
    store::{database::Db, error::StoreError, standings},
};

/// Newcomers that are read before the log is looked at again: a storm of connections must not hold up a revocation.
const NEWCOMERS: usize = 16;
/// Reads at once. Few: they are not to take the pool from requests.
const READS: usize = 4;
/// How long to wait before asking a database again that did not answer.
const RETRY: Duration = Duration::from_millis(500);

/// Events of these kinds may change what some basis is worth.
const MATTERS: &[EventKind] = &[
    EventKind::TenantChanged,
    EventKind::UserChanged,
    EventKind::SessionEnded,
    EventKind::ApiKeyChanged,
    EventKind::AffiliateChanged,
];

/// Whether events of a kind may change what some basis is worth.
pub(super) fn matters(kind: EventKind) -> bool {
    MATTERS.contains(&kind)
}

/// Whether an event may change what a basis is worth.
pub(super) fn concerns(event: &event::Model, (scope, basis): &Key) -> bool {
    if event.tenant_id != scope.tenant_id() {
        return false;
    }
    match (event.kind, basis) {
        (EventKind::TenantChanged, _) => true,
        (EventKind::UserChanged, Basis::Session { user_id, .. }) => event.subject_id == user_id.uuid(),
        (EventKind::SessionEnded, Basis::Session { session_id, .. }) => event.subject_id == session_id.uuid(),
        (EventKind::ApiKeyChanged, Basis::ApiKey(id)) => event.subject_id == id.uuid(),
        (EventKind::AffiliateChanged, _) => scope.own_affiliate().is_some_and(|id| event.subject_id == id.uuid()),
        _ => false,
    }
}

/// The tenants that this node follows; cheap to clone.
#[derive(Clone)]
pub(super) struct Followings {
    db: Db,
    feeds: Feeds,
    running: Arc<Mutex<HashMap<TenantId, Weak<Following>>>>,
}

/// A tenant that is followed for as long as somebody holds this.
pub(super) struct Following {
    watched: Arc<Watched>,
    newcomers: mpsc::UnboundedSender<Arc<Slot>>,
    task: AbortHandle,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Followings {
    pub(super) fn new(db: Db, feeds: Feeds) -> Self {
        Self { db, feeds, running: Arc::default() }
    }

    /// The following of the scope's tenant, begun when there is none.
    pub(super) fn of(&self, scope: &TenantScope) -> Arc<Following> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(following) = running.get(&scope.tenant_id()).and_then(Weak::upgrade) {
            return following;
        }
        running.retain(|_, following| following.strong_count() > 0);
        let (newcomers, arriving) = mpsc::unbounded_channel();
        let watched = Arc::new(Watched::default());
        let follower = Follower {
            db: self.db.clone(),
            feeds: self.feeds.clone(),
            scope: *scope,
            watched: Arc::clone(&watched),
            newcomers: arriving,
        };
        let task = tokio::spawn(follower.run()).abort_handle();
        let following = Arc::new(Following { watched, newcomers, task });
        running.insert(scope.tenant_id(), Arc::downgrade(&following));
        following
    }
}

impl Following {
    /// The slot of a basis, followed from now on. `slot` is asked for one when nobody follows the basis yet.
    pub(super) fn slot(&self, key: Key, slot: impl FnOnce() -> Arc<Slot>) -> Arc<Slot> {
        let (slot, is_new) = self.watched.enter(key, slot);
        if is_new {
            // It may have changed between its last reading and now. The task lives as long as this does.
            let _ = self.newcomers.send(Arc::clone(&slot));
        }
        slot
    }
}

/// The slots that somebody follows.
#[derive(Default)]
struct Watched(Mutex<WatchedSlots>);

#[derive(Default)]
struct WatchedSlots {
    slots: HashMap<Key, Weak<Slot>>,
    /// How many there may be before those are dropped that nobody follows any more.
    sweep_at: usize,
}

impl Watched {
    fn enter(&self, key: Key, slot: impl FnOnce() -> Arc<Slot>) -> (Arc<Slot>, bool) {
        let mut watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = watched.slots.get(&key).and_then(Weak::upgrade) {
            return (slot, false);
        }
        if watched.slots.len() >= watched.sweep_at {
            watched.slots.retain(|_, slot| slot.strong_count() > 0);
            watched.sweep_at = 2 * watched.slots.len() + 64;
        }
        let slot = slot();
        watched.slots.insert(key, Arc::downgrade(&slot));
        (slot, true)
    }

    fn all(&self) -> Vec<Arc<Slot>> {
        let watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        watched.slots.values().filter_map(Weak::upgrade).collect()
    }

    fn concerned(&self, event: &event::Model) -> Vec<Arc<Slot>> {
        let watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        watched.slots.iter().filter(|(key, _)| concerns(event, key)).filter_map(|(_, slot)| slot.upgrade()).collect()
    }
}

struct Follower {
    db: Db,
    feeds: Feeds,
    scope: TenantScope,
    watched: Arc<Watched>,
    newcomers: mpsc::UnboundedReceiver<Arc<Slot>>,
}

impl Follower {
    async fn run(mut self) {
        while self.follow().await.is_continue() {
            // The log has become another history: what was read of the old one tells nothing.
            self.refresh(self.watched.all()).await;
        }
    }

    /// Follows one history of the log to its end; breaks when nobody is there any more.
    async fn follow(&mut self) -> ControlFlow<()> {
        let mut events = std::pin::pin!(self.changes().await);
        let mut arrived = Vec::with_capacity(NEWCOMERS);
        loop {
            tokio::select! {
                biased;
                event = events.next() => match event {
                    Some(Ok(event)) => self.heed(&event.row).await,
                    Some(Err(_)) | None => return ControlFlow::Continue(()),
                },
                count = self.newcomers.recv_many(&mut arrived, NEWCOMERS) => {
                    if count == 0 {
                        return ControlFlow::Break(());
                    }
                    self.refresh(std::mem::take(&mut arrived)).await;
                }
            }
        }
    }

    /// The events of the tenant that may change what a credential is worth, from now on.
    async fn changes(&self) -> impl Stream<Item = Result<Arc<LiveEvent>, ServiceError>> + use<> {
        let member = loop {
            match self.feeds.join(&self.scope, Interest::in_kinds(MATTERS)).await {
                Ok(member) => break member,
                Err(error) => {
                    tracing::warn!(%error, "credentials cannot be followed; trying again");
                    sleep(RETRY).await;
                }
            }
        };
        let tip = member.tip().seq;
        member.events(tip, None)
    }

    async fn heed(&self, event: &event::Model) {
        let concerned = self.watched.concerned(event);
        if concerned.is_empty() {
            return;
        }
        if event.kind == EventKind::TenantChanged && self.is_suspended().await {
            // Thousands may stand on a tenant: one reading tells all of them.
            let now = Instant::now();
            for slot in concerned {
                slot.set(Worth::Nothing, now);
            }
            return;
        }
        self.refresh(concerned).await;
    }

    async fn is_suspended(&self) -> bool {
        let ask = async || {
            let tx = self.db.snapshot(&self.scope).await?;
            Ok::<_, StoreError>(standings::of_scope(&tx).await?.0)
        };
        loop {
            match ask().await {
                Ok(status) => return status == TenantStatus::Suspended,
                Err(error) => {
                    tracing::warn!(%error, "a tenant's standing cannot be read; trying again");
                    sleep(RETRY).await;
                }
            }
        }
    }

    /// Reads slots again until each is read.
    async fn refresh(&self, mut slots: Vec<Arc<Slot>>) {
        let since = Instant::now();
        while !slots.is_empty() {
            let reads = stream::iter(slots).map(async |slot| match slot.refresh(&self.db, since).await {
                Ok(()) => None,
                Err(StoreError::Unavailable(_) | StoreError::Conflict(_)) => Some(slot),
                Err(error) => {
                    tracing::error!(%error, "what a credential is worth cannot be read: it is taken for nothing");
                    slot.set(Worth::Nothing, since);
                    None
                }
            });
            let unread: Vec<_> = reads.buffer_unordered(READS).collect().await;
            slots = unread.into_iter().flatten().collect();
            if !slots.is_empty() {
                sleep(RETRY).await;
            }
        }
    }
}
