//! Tells which cached routes are still true: one task per tenant with routes on this node reads the tenant's log and marks
//! what its events concern.
//!
//! The log reaches every node within a second also while Redis is away (see [`crate::services::feed`]).

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_util::StreamExt;
use tokio::task::AbortHandle;
use tributary_entity::{event, ids::TenantId, kinds::EventKind};
use uuid::Uuid;

use crate::{
    domain::{event::Interest, tenancy::TenantScope},
    services::feed::{Feeds, Member},
    store::error::StoreError,
};

/// Events of these kinds may change where a link leads.
const MATTERS: &[EventKind] = &[
    EventKind::TenantChanged,
    EventKind::CampaignChanged,
    EventKind::AffiliateChanged,
    EventKind::EnrollmentChanged,
    EventKind::LinkChanged,
];

/// The object that an event makes every route doubtful of which stands on it.
fn concerned(event: &event::Model) -> Option<Uuid> {
    match event.kind {
        EventKind::TenantChanged
        | EventKind::CampaignChanged
        | EventKind::AffiliateChanged
        | EventKind::LinkChanged => Some(event.subject_id),
        // An affiliate has few enrollments: all of its routes are looked at again.
        EventKind::EnrollmentChanged => event.affiliate_id.map(|id| id.uuid()),
        _ => None,
    }
}

/// The tenants that this node follows; cheap to clone.
#[derive(Clone)]
pub(super) struct Followings {
    feeds: Feeds,
    running: Arc<Mutex<HashMap<TenantId, Weak<Following>>>>,
}

/// A tenant that is followed for as long as somebody holds this.
pub(super) struct Following {
    marks: Arc<Marks>,
    task: AbortHandle,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Followings {
    pub fn new(feeds: Feeds) -> Self {
        Self { feeds, running: Arc::default() }
    }

    /// The following of the scope's tenant. What is read after this is marked by whatever changes it.
    ///
    /// # Errors
    /// As the database answers.
    pub async fn of(&self, scope: &TenantScope) -> Result<Arc<Following>, StoreError> {
        if let Some(following) = self.running(scope.tenant_id()) {
            return Ok(following);
        }
        let member = self.feeds.join(scope, Interest::in_kinds(MATTERS)).await?;
        let mut running = self.lock();
        if let Some(following) = running.get(&scope.tenant_id()).and_then(Weak::upgrade) {
            return Ok(following);
        }
        running.retain(|_, following| following.strong_count() > 0);
        let marks = Arc::new(Marks::default());
        let task = tokio::spawn(follow(self.feeds.clone(), *scope, member, Arc::clone(&marks))).abort_handle();
        let following = Arc::new(Following { marks, task });
        running.insert(scope.tenant_id(), Arc::downgrade(&following));
        Ok(following)
    }

    /// Takes note of what was just committed on this node: whoever changed it sees it hold at once, here.
    pub fn heed(&self, tenant_id: TenantId, events: &[event::Model]) {
        if let Some(following) = self.running(tenant_id) {
            events.iter().for_each(|event| following.marks.heed(event));
        }
    }

    fn running(&self, tenant_id: TenantId) -> Option<Arc<Following>> {
        self.lock().get(&tenant_id).and_then(Weak::upgrade)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TenantId, Weak<Following>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Following {
    /// Tells from now on whether one of these objects changed.
    pub fn watch(self: &Arc<Self>, objects: [Uuid; 4]) -> Watch {
        let marks = objects.map(|object| {
            let mark = self.marks.of(object);
            let seen = mark.load(Ordering::Acquire);
            (mark, seen)
        });
        Watch { marks, _following: Arc::clone(self) }
    }
}

async fn follow(feeds: Feeds, scope: TenantScope, mut member: Member, marks: Arc<Marks>) {
    loop {
        let tip = member.tip().seq;
        let mut events = std::pin::pin!(member.events(tip, None));
        while let Some(Ok(event)) = events.next().await {
            marks.heed(&event.row);
        }
        // The log has become another history: what was read of the old one tells nothing.
        member = feeds.persist(|| feeds.join(&scope, Interest::in_kinds(MATTERS))).await;
        marks.all_changed();
    }
}

/// How often each object changed that a route stands on.
#[derive(Default)]
struct Marks(Mutex<MarksByObject>);

#[derive(Default)]
struct MarksByObject {
    marks: HashMap<Uuid, Weak<AtomicU64>>,
    /// How many there may be before those are dropped that nobody looks at any more.
    sweep_at: usize,
}

impl Marks {
    fn of(&self, object: Uuid) -> Arc<AtomicU64> {
        let mut by_object = self.lock();
        if let Some(mark) = by_object.marks.get(&object).and_then(Weak::upgrade) {
            return mark;
        }
        if by_object.marks.len() >= by_object.sweep_at {
            by_object.marks.retain(|_, mark| mark.strong_count() > 0);
            by_object.sweep_at = 2 * by_object.marks.len() + 64;
        }
        let mark = Arc::new(AtomicU64::new(0));
        by_object.marks.insert(object, Arc::downgrade(&mark));
        mark
    }

    fn heed(&self, event: &event::Model) {
        let Some(object) = concerned(event) else { return };
        if let Some(mark) = self.lock().marks.get(&object).and_then(Weak::upgrade) {
            mark.fetch_add(1, Ordering::Release);
        }
    }

    fn all_changed(&self) {
        for mark in self.lock().marks.values().filter_map(Weak::upgrade) {
            mark.fetch_add(1, Ordering::Release);
        }
    }

    fn lock(&self) -> MutexGuard<'_, MarksByObject> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks after the objects that a route stands on.
pub(super) struct Watch {
    marks: [(Arc<AtomicU64>, u64); 4],
    _following: Arc<Following>,
}

impl Watch {
    /// Whether none of the objects changed since.
    pub fn is_quiet(&self) -> bool {
        self.marks.iter().all(|(mark, seen)| mark.load(Ordering::Acquire) == *seen)
    }
}
