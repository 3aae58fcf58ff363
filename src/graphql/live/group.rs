//! Groups: a document is executed once per event for all who asked for the same under the same rights, and its bytes
//! are shared.
//!
//! # Decisions
//! - The key holds tenant, ring, permissions and roles, the document and its variables: whatever an answer can depend on.
//!   Cursors are bound to tenant and ring, so shared ones are good for each member of the group.
//! - A group executes under a viewer of its own: the scope and rights of its members, nobody's person and no end. Nothing
//!   that a subscription reaches shows who asks; each subscriber keeps its own end.
//! - Everything that is published reaches a subscriber or is known to be missing: joining takes the group's place under
//!   the same lock as publishing, and a full queue is marked in its place.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use futures_util::StreamExt;
use tokio::{sync::OnceCell, task::JoinSet};
use tributary_entity::kinds::Role;
use uuid::Uuid;

use super::{
    context::{Class, Start},
    document::Document,
    meters::{Meters, Present},
    run::{Item, Run},
};
use crate::{
    auth::{Actor, PermissionSet, Viewer},
    domain::tenancy::TenantScope,
    graphql::{ApiSchema, execution::Refusal},
    services::{Services, feed::queue::Queue},
};

/// Answers that wait for a subscriber before it goes back to the log: some large commits. The bytes are shared, so that
/// a full queue holds little more than their addresses.
const QUEUE: usize = 4_096;

/// Who shares an execution.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    scope: TenantScope,
    permissions: PermissionSet,
    roles: Vec<Role>,
    pub document: Document,
}

impl Key {
    pub fn of(viewer: &Viewer, document: Document) -> Self {
        Self { scope: viewer.scope, permissions: viewer.permissions, roles: viewer.roles.clone(), document }
    }
}

/// The groups of this node.
#[derive(Default)]
pub(super) struct Groups(Mutex<HashMap<Arc<Key>, Weak<Group>>>);

/// One shared execution; lives as long as it has a subscriber.
pub(super) struct Group {
    key: Arc<Key>,
    groups: Weak<Groups>,
    running: OnceCell<Running>,
}

/// A group whose source is open.
struct Running {
    class: Class,
    epoch: Uuid,
    audience: Arc<Audience>,
    /// Ends with the group.
    _task: JoinSet<()>,
    _present: Present,
}

/// Who listens to a group.
struct Audience(Mutex<Seats>);

struct Seats {
    /// The last answer that was published, or where the source began.
    seq: i64,
    ended: bool,
    next_id: u64,
    taken: BTreeMap<u64, Arc<Queue<Arc<Item>>>>,
}

/// A subscriber's place in a group.
pub(super) struct Seat {
    pub group: Arc<Group>,
    pub class: Class,
    pub epoch: Uuid,
    /// Everything after this comes by the queue.
    pub seq: i64,
    pub queue: Arc<Queue<Arc<Item>>>,
    id: u64,
    audience: Arc<Audience>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.audience.seats().taken.remove(&self.id);
    }
}

impl Groups {
    /// Takes a seat in the group of a key, which is opened when nobody is there.
    ///
    /// # Errors
    /// As the field's source.
    pub async fn join(
        self: &Arc<Self>,
        schema: &ApiSchema,
        services: &Services,
        meters: &Arc<Meters>,
        viewer: &Viewer,
        key: &Arc<Key>,
    ) -> Result<Seat, Refusal> {
        loop {
            let group = self.find_or_make(key);
            // A refusal is each one's own: who waited for the first asks again by itself.
            let running =
                group.running.get_or_try_init(|| Running::open(schema, services, meters, viewer, key)).await?;
            if let Some(seat) = running.seat(&group) {
                return Ok(seat);
            }
            self.forget(&group);
        }
    }

    fn find_or_make(self: &Arc<Self>, key: &Arc<Key>) -> Arc<Group> {
        let mut groups = self.groups();
        if let Some(group) = groups.get(key).and_then(Weak::upgrade) {
            return group;
        }
        let group = Arc::new(Group { key: Arc::clone(key), groups: Arc::downgrade(self), running: OnceCell::new() });
        groups.insert(Arc::clone(key), Arc::downgrade(&group));
        group
    }

    /// Takes a group that has ended out of the list, unless another has its place.
    fn forget(&self, group: &Group) {
        let mut groups = self.groups();
        if groups.get(&group.key).is_some_and(|listed| std::ptr::eq(listed.as_ptr(), group)) {
            groups.remove(&group.key);
        }
    }

    fn groups(&self) -> MutexGuard<'_, HashMap<Arc<Key>, Weak<Group>>> {
        // Whole at every step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Group {
    pub const fn key(&self) -> &Arc<Key> {
        &self.key
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(groups) = self.groups.upgrade() {
            groups.forget(self);
        }
    }
}

impl Running {
    async fn open(
        schema: &ApiSchema,
        services: &Services,
        meters: &Arc<Meters>,
        viewer: &Viewer,
        key: &Key,
    ) -> Result<Self, Refusal> {
        let nobody = Viewer { actor: Actor::System, expires_at: None, ..viewer.clone() };
        let mut run = Run::open(schema, services, nobody, &key.document, Start::Tip, None).await?;
        let source = run.source();
        let (class, epoch) = (source.class, source.places.epoch);
        let audience = Arc::new(Audience::new(source.begin));
        let mut task = JoinSet::new();
        task.spawn({
            let (audience, services, meters) = (Arc::clone(&audience), services.clone(), Arc::clone(meters));
            async move {
                while let Some(item) = run.next().await {
                    meters.executions.increment(1);
                    if let Some(at) = item.happened_at {
                        meters.lag.record((services.now() - at).as_seconds_f64().max(0.0));
                    }
                    // What a source says at its end, each subscriber asks for and is told by itself.
                    let Some(seq) = item.seq else { break };
                    audience.publish(class, seq, &Arc::new(item), &meters);
                }
                audience.end();
            }
        });
        Ok(Self { class, epoch, audience, _task: task, _present: Present::in_gauge(&meters.groups) })
    }

    /// A seat; none when the source has ended.
    fn seat(&self, group: &Arc<Group>) -> Option<Seat> {
        let queue = Arc::new(Queue::new(QUEUE));
        let mut seats = self.audience.seats();
        if seats.ended {
            return None;
        }
        seats.next_id += 1;
        let (id, seq) = (seats.next_id, seats.seq);
        seats.taken.insert(id, Arc::clone(&queue));
        drop(seats);
        let (group, audience) = (Arc::clone(group), Arc::clone(&self.audience));
        Some(Seat { group, class: self.class, epoch: self.epoch, seq, queue, id, audience })
    }
}

impl Audience {
    const fn new(seq: i64) -> Self {
        Self(Mutex::new(Seats { seq, ended: false, next_id: 0, taken: BTreeMap::new() }))
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        // Whole at every step: nothing in `publish` panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, class: Class, seq: i64, item: &Arc<Item>, meters: &Meters) {
        let mut seats = self.seats();
        seats.seq = seq;
        let mut conflated = 0;
        for queue in seats.taken.values() {
            match class {
                Class::Stream => drop(queue.push(Arc::clone(item))),
                Class::State => conflated += u64::from(queue.replace(Arc::clone(item))),
            }
        }
        meters.deliveries.increment(seats.taken.len() as u64);
        meters.conflated.increment(conflated);
    }

    fn end(&self) {
        let mut seats = self.seats();
        seats.ended = true;
        for queue in seats.taken.values() {
            queue.close();
        }
    }
}
