//! Ingest: clicks and conversions through one lane per tenant, committed in groups, answered after COMMIT.
//!
//! What arrives while a lane is at a transaction is the next batch. There is no timer: an idle lane commits at once, a busy
//! lane batches by itself. Queues are bounded: past the bound the caller is told to come back.
//! [`batch`] is one transaction; a batch that fails is halved until the item at fault stands alone.
//!
//! # Decisions
//! - A call's items stay together (at most 1 000), so that a batch mutation is usually one transaction.
//! - Where the database has several writers, two batches of a lane overlap: one is decided while the other is written and
//!   waited for. What they share (accounts, caps, totals, the tenant's numbers of events) is locked as between two nodes, and
//!   but for caps and tiers last. Clicks and conversions do not overlap: a conversion finds the click that was sent before it.
//! - Whose lane has neighbours at work is at one batch at a time: what a tenant gains by two is little, what the others lose by
//!   it is not.
//! - A caller that goes away does not stop its work: what was queued is recorded, and its key answers a retry.

mod batch;
pub(super) mod caps;
mod clicks;
pub(super) mod conversions;
mod meters;
pub(super) mod programme;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::timeout,
};
use tracing::{Instrument, Span};
use tributary_entity::{
    click,
    ids::{ClickId, TenantId},
};
use uuid::Uuid;

use meters::{Meters, Waiting};
use programme::Memory;

use super::ServiceError;
use crate::{
    ambient::Clock,
    auth::Actor,
    bus::EventBus,
    config::Settings,
    domain::{
        click::NewClick,
        conversion::{NewConversion, Snapshot},
        idempotency::Claim,
        problem::Problem,
        tenancy::TenantScope,
    },
    fault,
    store::database::Db,
};

/// What a lane is asked to record.
pub struct Item {
    pub actor: Actor,
    pub claim: Option<Claim>,
    pub work: Work,
}

/// A fact to record, checked.
#[expect(clippy::large_enum_variant, reason = "one of a call's few items, moved once; a box for each would cost more")]
pub enum Work {
    /// Shared with who sends it on should the database not take it.
    Click(Arc<NewClick>),
    Conversion(NewConversion),
}

impl Work {
    /// The id that it has to be recorded under, if that is settled.
    fn id(&self) -> Option<Uuid> {
        match self {
            Self::Click(click) => click.id.map(ClickId::uuid),
            Self::Conversion(_) => None,
        }
    }
}

/// What became of an item.
pub enum Recorded {
    Click(Box<click::Model>),
    Conversion(Box<Snapshot>),
    /// The key was used before with the same input, or the click's id is there: the id of what was recorded then.
    Replayed(Uuid),
}

/// Why an item was not recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    Refused(Problem),
    /// The database is away. The outcome may even be unknown: the same key tells.
    Unavailable,
    /// The item itself cannot be stored: a defect, logged.
    Poison,
}

/// An item's answer.
pub type Answer = Result<Recorded, Failure>;

impl From<Failure> for ServiceError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(problem) => problem.into(),
            Failure::Unavailable => Self::Unavailable,
            Failure::Poison => Self::Internal("an ingest item could not be stored"),
        }
    }
}

/// What a batch needs.
pub(super) struct Env {
    pub db: Db,
    pub clock: Arc<dyn Clock>,
    pub bus: Arc<dyn EventBus>,
    meters: Meters,
}

struct Call {
    items: Vec<Item>,
    /// The span that it is part of.
    origin: Span,
    answer: oneshot::Sender<Vec<Answer>>,
    room: Room,
}

/// Room in the queue, given back when the call is answered.
struct Room {
    _permit: OwnedSemaphorePermit,
    _waiting: Waiting,
}

/// A way into a lane.
#[derive(Clone)]
struct Lane {
    queue: mpsc::UnboundedSender<Call>,
    room: Arc<Semaphore>,
    busy: Busy,
}

/// Since when a lane is at each of its batches.
#[derive(Clone, Default)]
struct Busy(Arc<Mutex<Vec<Instant>>>);

impl Busy {
    fn begin(&self) -> Begun {
        let at = Instant::now();
        lock(&self.0).push(at);
        Begun { busy: self.clone(), at }
    }

    /// Whether one of the batches takes that long already.
    fn is_for(&self, time: Duration) -> bool {
        lock(&self.0).iter().any(|began| began.elapsed() >= time)
    }
}

/// A batch that the lane is at until this is dropped.
struct Begun {
    busy: Busy,
    at: Instant,
}

impl Drop for Begun {
    fn drop(&mut self) {
        let mut batches = lock(&self.busy.0);
        if let Some(place) = batches.iter().position(|batch| *batch == self.at) {
            batches.swap_remove(place);
        }
    }
}

/// What a panic elsewhere left locked is whole all the same: every change is one assignment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a batch is of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Clicks,
    Conversions,
    Both,
}

/// Calls that are recorded together.
#[derive(Default)]
struct Batch {
    items: Vec<Item>,
    origins: Vec<Span>,
    /// Of each call: how many items, whom to answer, and its room.
    answers: Vec<(usize, oneshot::Sender<Vec<Answer>>, Room)>,
}

impl Batch {
    fn take(&mut self, call: Call) {
        self.answers.push((call.items.len(), call.answer, call.room));
        self.items.extend(call.items);
        self.origins.push(call.origin);
    }

    /// A span that is part of the first call that is traced, and a consequence of the others.
    fn span(&mut self) -> Span {
        let mut origins = std::mem::take(&mut self.origins).into_iter().filter(|origin| !origin.is_disabled());
        let Some(first) = origins.next() else { return Span::none() };
        let span = tracing::debug_span!(parent: &first, "batch", ingest.items = self.items.len());
        if !span.is_disabled() {
            for origin in origins {
                span.follows_from(&origin);
            }
        }
        span
    }

    fn kind(&self) -> Kind {
        let has = |click: bool| self.items.iter().any(|item| matches!(item.work, Work::Click(_)) == click);
        match (has(true), has(false)) {
            (true, true) => Kind::Both,
            (true, false) => Kind::Clicks,
            (false, _) => Kind::Conversions,
        }
    }

    async fn settle(mut self, env: &Env, memory: &Memory, scope: &TenantScope) {
        let began = Instant::now();
        let span = self.span();
        let results = batch::settle(env, memory, scope, &self.items).instrument(span).await;
        env.meters.settled(self.items.len(), began.elapsed());
        for (item, answer) in self.items.iter().zip(&results) {
            env.meters.answered(answer, matches!(item.work, Work::Click(_)));
        }
        let mut results = results.into_iter();
        fault::point("ingest.before_answer");
        for (count, answer, _room) in self.answers {
            // A caller that went away needs no answer; its key will tell it.
            let _ = answer.send(results.by_ref().take(count).collect());
        }
    }
}

/// Whose batches began last: who has the node alone, and who has neighbours.
#[derive(Default)]
struct Neighbours(Mutex<[Option<(TenantId, Instant)>; 2]>);

impl Neighbours {
    /// A tenant's batch begins. Whether another tenant's did a short time ago.
    fn meet(&self, tenant_id: TenantId) -> bool {
        let mut last = lock(&self.0);
        if !matches!(last[0], Some((newest, _)) if newest == tenant_id) {
            last.swap(0, 1);
        }
        last[0] = Some((tenant_id, Instant::now()));
        last[1].is_some_and(|(_, began)| began.elapsed() < NEAR)
    }
}

/// The lanes of this node; cheap to clone.
#[derive(Clone)]
pub struct Lanes {
    env: Arc<Env>,
    lanes: Arc<Mutex<HashMap<TenantId, Lane>>>,
    queue_items: usize,
    batch_items: usize,
    /// Batches that one lane may be at, if no other one is at any.
    flights: u32,
    neighbours: Arc<Neighbours>,
}

/// How many batches of a lane overlap where the database has several writers: one is gathered, one is written.
const FLIGHTS: u32 = 2;
/// How long after its batch a tenant is somebody's neighbour.
const NEAR: Duration = Duration::from_secs(1);
/// How long an idle lane keeps its task.
const IDLE: Duration = Duration::from_secs(30);
/// When a refused caller may come back.
const RETRY_AFTER: Duration = Duration::from_millis(250);

impl Lanes {
    pub fn new(db: Db, clock: Arc<dyn Clock>, bus: Arc<dyn EventBus>, settings: &Settings) -> Self {
        Self {
            flights: if db.has_one_writer() { 1 } else { FLIGHTS },
            env: Arc::new(Env { db, clock, bus, meters: Meters::default() }),
            lanes: Arc::default(),
            neighbours: Arc::default(),
            queue_items: settings.ingest_queue_items,
            batch_items: settings.ingest_batch_items,
        }
    }

    /// Records items; answers in their order, after the commit.
    ///
    /// # Errors
    /// `Overloaded` when the tenant's queue is full; nothing was taken then.
    pub async fn record(&self, scope: &TenantScope, items: Vec<Item>) -> Result<Vec<Answer>, ServiceError> {
        self.record_in(self.lane(scope), scope, items).await
    }

    /// By a lane of the scope's tenant, or the one that takes its place.
    async fn record_in(
        &self,
        mut lane: Lane,
        scope: &TenantScope,
        items: Vec<Item>,
    ) -> Result<Vec<Answer>, ServiceError> {
        let overloaded = ServiceError::Overloaded { retry_after: RETRY_AFTER };
        let Ok(count) = u32::try_from(items.len()) else { return Err(overloaded) };
        let (answer, answered) = oneshot::channel();
        let mut waiting = Some((items, answer));
        while let Some((items, answer)) = waiting.take() {
            let Ok(permit) = Arc::clone(&lane.room).try_acquire_many_owned(count) else { return Err(overloaded) };
            // A lane that ends between look-up and send hands the call back.
            let room = Room { _permit: permit, _waiting: self.env.meters.wait(items.len()) };
            if let Err(mpsc::error::SendError(call)) =
                lane.queue.send(Call { items, origin: Span::current(), answer, room })
            {
                waiting = Some((call.items, call.answer));
                lane = self.lane(scope);
            }
        }
        answered.await.map_err(|_| ServiceError::Unavailable)
    }

    /// As [`Lanes::record`], for items some of which were refused before: each answer stands where its item stood.
    ///
    /// # Errors
    /// As [`Lanes::record`].
    pub async fn record_checked(
        &self,
        scope: &TenantScope,
        checked: Vec<Result<Item, Problem>>,
    ) -> Result<Vec<Answer>, ServiceError> {
        let mut items = Vec::with_capacity(checked.len());
        let refused: Vec<Option<Problem>> =
            checked.into_iter().map(|item| item.map(|item| items.push(item)).err()).collect();
        let mut recorded = if items.is_empty() { Vec::new() } else { self.record(scope, items).await? }.into_iter();
        Ok(refused
            .into_iter()
            .map(|problem| match problem {
                Some(problem) => Err(Failure::Refused(problem)),
                None => recorded.next().unwrap_or(Err(Failure::Poison)),
            })
            .collect())
    }

    /// Records an item for a caller who cannot wait. None when there is no answer within `patience`, or none to be
    /// expected: the lane is full, or at a batch that others have waited for so long already. The item may be recorded
    /// all the same.
    pub async fn record_within(&self, scope: &TenantScope, item: Item, patience: Duration) -> Option<Answer> {
        let lane = self.lane(scope);
        if lane.busy.is_for(patience) {
            return None;
        }
        timeout(patience, self.record_in(lane, scope, vec![item])).await.ok()?.ok()?.pop()
    }

    fn lane(&self, scope: &TenantScope) -> Lane {
        let mut lanes = lock(&self.lanes);
        // A lane that retires leaves the map first: one that is closed and still here has panicked.
        if lanes.get(&scope.tenant_id()).is_some_and(|lane| lane.queue.is_closed()) {
            lanes.remove(&scope.tenant_id());
        }
        let lane = lanes.entry(scope.tenant_id()).or_insert_with(|| {
            let (queue, calls) = mpsc::unbounded_channel();
            let room = Arc::new(Semaphore::new(self.queue_items));
            let lane = Lane { queue, room, busy: Busy::default() };
            tokio::spawn(self.clone().run(scope.whole_tenant(), calls, lane.busy.clone()));
            lane
        });
        lane.clone()
    }

    /// One lane: takes what is queued, commits it, answers, and again.
    async fn run(self, scope: TenantScope, mut calls: mpsc::UnboundedReceiver<Call>, busy: Busy) {
        let flights = Arc::new(Semaphore::new(self.flights as usize));
        let memory: Arc<Memory> = Arc::default();
        let mut held: Option<Call> = None;
        let mut before = Kind::Both;
        loop {
            let first = match held.take() {
                Some(call) => call,
                None => match timeout(IDLE, calls.recv()).await {
                    Ok(Some(call)) => call,
                    Ok(None) => return,
                    Err(_) => {
                        // What was sent until now is still done; what comes later finds a new lane.
                        self.retire(&scope);
                        calls.close();
                        continue;
                    }
                },
            };
            // Who has neighbours leaves them room.
            let wanted = if self.neighbours.meet(scope.tenant_id()) { self.flights } else { 1 };
            // Before the batch is gathered: it grows until it may begin.
            let Ok(mut flight) = Arc::clone(&flights).acquire_many_owned(wanted).await else { return };
            let batch = self.gather(first, &mut calls, &mut held);
            let kind = batch.kind();
            if kind == Kind::Both || kind != before {
                // Until the batches before it have ended; none begins meanwhile, as this is the only one to begin any.
                let others = self.flights - u32::try_from(flight.num_permits()).unwrap_or(self.flights);
                let Ok(others) = Arc::clone(&flights).acquire_many_owned(others).await else { return };
                if kind == Kind::Both {
                    flight.merge(others);
                }
            }
            before = kind;
            let (env, memory, scope, busy) = (Arc::clone(&self.env), Arc::clone(&memory), scope, busy.clone());
            let work = async move {
                let _flight = (flight, busy.begin());
                batch.settle(&env, &memory, &scope).await;
            };
            if self.flights > 1 {
                tokio::spawn(work);
            } else {
                work.await;
            }
        }
    }

    /// The calls that are queued, as far as they fit into one batch; the one that does not is held for the next.
    fn gather(&self, first: Call, calls: &mut mpsc::UnboundedReceiver<Call>, held: &mut Option<Call>) -> Batch {
        let mut batch = Batch::default();
        batch.take(first);
        while batch.items.len() < self.batch_items {
            match calls.try_recv() {
                Ok(call) if batch.items.len() + call.items.len() > self.batch_items => {
                    *held = Some(call);
                    break;
                }
                Ok(call) => batch.take(call),
                Err(_) => break,
            }
        }
        batch
    }

    /// Takes an idle lane off the map.
    fn retire(&self, scope: &TenantScope) {
        lock(&self.lanes).remove(&scope.tenant_id());
    }
}
