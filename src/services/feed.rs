//! The feed: a tenant's event log as a live stream, on this node, without gap or duplicate.
//!
//! One task per tenant with subscribers follows the log: woken by the bus, checked every second, it reads what is
//! missing, prepares the events once (payload parsed, relations loaded a batch at a time) and hands them to all
//! subscribers. A subscriber joins, reads the log from its cursor to the tip, and goes on with what is handed out; if it
//! falls behind, it goes back to the log. The log is the truth; everything else only makes it fast.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use futures_util::{Stream, stream};
use serde::de::DeserializeOwned;
use tokio::{
    sync::broadcast,
    task::AbortHandle,
    time::{MissedTickBehavior, interval, sleep},
};
use tributary_entity::{
    affiliate, campaign, click, event, goal,
    ids::{AffiliateId, CampaignId, ClickId, GoalId, TenantId},
    kinds::EventKind,
    payout,
};

use super::{
    ServiceError,
    payouts::live::{self, PayoutView},
};
use crate::{
    bus::{EventBus, Message},
    domain::{conversion::Snapshot, cursor::Position, tenancy::TenantScope},
    store::{affiliates, campaigns, clicks, database::Db, error::StoreError, events, goals, scope::Tx, tenants},
};

/// Batches a subscriber may be behind before it goes back to the log.
const LIVE_BATCHES: usize = 256;
/// Events read from the log at once.
const PAGE: u64 = 500;
/// How often the log is looked at without being woken.
const POLL: Duration = Duration::from_secs(1);
/// How long to wait before asking a database again that did not answer.
const RETRY: Duration = Duration::from_millis(500);

/// An event with its payload read and its relations loaded.
#[derive(Debug)]
pub struct LiveEvent {
    pub row: event::Model,
    /// Set for conversion events.
    pub conversion: Option<Arc<ConversionView>>,
    /// Set for payout events.
    pub payout: Option<PayoutView>,
}

/// A conversion as it was at its event, with what a subscriber may ask about it: resolving needs no I/O.
#[derive(Debug)]
pub struct ConversionView {
    pub snapshot: Snapshot,
    pub relations: Arc<Relations>,
}

/// What a batch of events refers to.
#[derive(Debug, Default)]
pub struct Relations {
    pub campaigns: HashMap<CampaignId, campaign::Model>,
    pub affiliates: HashMap<AffiliateId, affiliate::Model>,
    pub clicks: HashMap<ClickId, click::Model>,
    pub goals: HashMap<GoalId, goal::Model>,
}

/// Consecutive events.
type Batch = Arc<Vec<Arc<LiveEvent>>>;

/// The feeds of this node; cheap to clone.
#[derive(Clone)]
pub struct Feeds {
    db: Db,
    bus: Arc<dyn EventBus>,
    feeds: Arc<Mutex<HashMap<TenantId, Weak<Feed>>>>,
}

/// One tenant's feed; lives as long as somebody holds it.
struct Feed {
    live: broadcast::Sender<Batch>,
    task: AbortHandle,
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Feeds {
    pub fn new(db: Db, bus: Arc<dyn EventBus>) -> Self {
        Self { db, bus, feeds: Arc::default() }
    }

    /// Joins the tenant's feed. Every event after the moment of the call is handed to the member or in the log.
    ///
    /// # Errors
    /// As the database answers.
    pub async fn join(&self, scope: &TenantScope) -> Result<Member, StoreError> {
        let scope = scope.whole_tenant();
        let running = self.with(|feeds| feeds.get(&scope.tenant_id()).and_then(Weak::upgrade));
        let feed = match running {
            Some(feed) => feed,
            None => {
                // The bus first, then the tip: what is committed between the two is heard.
                let listener = self.bus.listen(&scope);
                let tx = self.db.snapshot(&scope).await?;
                let tip = events::tip(&tx).await?;
                drop(tx);
                self.with(|feeds| {
                    feeds.retain(|_, feed| feed.strong_count() > 0);
                    if let Some(feed) = feeds.get(&scope.tenant_id()).and_then(Weak::upgrade) {
                        return feed;
                    }
                    let live = broadcast::channel(LIVE_BATCHES).0;
                    let follower = Follower { db: self.db.clone(), scope, last: tip, live: live.clone(), listener };
                    let task = tokio::spawn(follower.run()).abort_handle();
                    let feed = Arc::new(Feed { live, task });
                    feeds.insert(scope.tenant_id(), Arc::downgrade(&feed));
                    feed
                })
            }
        };
        let receiver = feed.live.subscribe();
        let tx = self.db.snapshot(&scope).await?;
        let tip = events::tip(&tx).await?;
        Ok(Member { db: self.db.clone(), scope, receiver, tip, _feed: feed })
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashMap<TenantId, Weak<Feed>>) -> T) -> T {
        act(&mut self.feeds.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Follows the log and hands out what is new.
struct Follower {
    db: Db,
    scope: TenantScope,
    last: i64,
    live: broadcast::Sender<Batch>,
    listener: crate::bus::Listener,
}

impl Follower {
    async fn run(mut self) {
        let mut poll = interval(POLL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let message = tokio::select! {
                message = self.listener.next() => message,
                _ = poll.tick() => Message::Wake,
            };
            if let Err(error) = self.follow(message).await {
                tracing::warn!(%error, "the event log cannot be read; trying again");
                sleep(RETRY).await;
            }
        }
    }

    async fn follow(&mut self, message: Message) -> Result<(), StoreError> {
        if let Message::Events(batch) = &message {
            if batch.last_seq <= self.last {
                return Ok(());
            }
            if batch.first_seq == self.last + 1
                && let Some(rows) = &batch.events
            {
                return self.hand_out(rows.clone()).await;
            }
        }
        loop {
            let tx = self.db.snapshot(&self.scope).await?;
            let rows = events::list_after(&tx, self.last, PAGE).await?;
            drop(tx);
            if rows.is_empty() {
                return Ok(());
            }
            self.hand_out(rows).await?;
        }
    }

    async fn hand_out(&mut self, rows: Vec<event::Model>) -> Result<(), StoreError> {
        let last = rows.last().map_or(self.last, |row| row.seq);
        let batch = prepare(&self.db, &self.scope, rows).await?;
        self.last = last;
        // Nobody there is no fault: the last member is just leaving.
        let _ = self.live.send(Arc::new(batch));
        Ok(())
    }
}

/// Reads payloads and loads what they refer to, in one query per kind.
async fn prepare(db: &Db, scope: &TenantScope, rows: Vec<event::Model>) -> Result<Vec<Arc<LiveEvent>>, StoreError> {
    let parsed: Vec<_> = rows
        .into_iter()
        .map(|row| {
            let snapshot = match row.kind {
                EventKind::ConversionRecorded | EventKind::ConversionApproved | EventKind::ConversionRejected => {
                    read(&row)
                }
                EventKind::EarningsReleased
                | EventKind::CampaignChanged
                | EventKind::AffiliateChanged
                | EventKind::EnrollmentChanged
                | EventKind::LinkChanged
                | EventKind::PayoutChanged => None,
            };
            (row, snapshot)
        })
        .collect();
    let mut payouts = payouts(db, scope, parsed.iter().map(|(row, _)| row)).await?;
    let snapshots: Vec<&Snapshot> = parsed.iter().filter_map(|(_, snapshot)| snapshot.as_ref()).collect();
    let relations = Arc::new(relations(db, scope, &snapshots).await?);
    Ok(parsed
        .into_iter()
        .map(|(row, snapshot)| {
            let conversion =
                snapshot.map(|snapshot| Arc::new(ConversionView { snapshot, relations: Arc::clone(&relations) }));
            Arc::new(LiveEvent { payout: payouts.remove(&row.seq), row, conversion })
        })
        .collect())
}

/// The subject that an event tells of. One that cannot be read is a defect and is passed over, loudly: waiting for it
/// would end the tenant's feed for ever, and so would an error, at which clients come back to the very same event.
fn read<T: DeserializeOwned>(row: &event::Model) -> Option<T> {
    serde_json::from_str(&row.payload)
        .inspect_err(|error| {
            tracing::error!(
                tenant.id = %row.tenant_id, event.seq = row.seq, %error,
                "an event cannot be read; subscribers go on without it"
            );
        })
        .ok()
}

/// The payouts that events tell of, by the events' numbers.
async fn payouts<'a>(
    db: &Db,
    scope: &TenantScope,
    rows: impl Iterator<Item = &'a event::Model>,
) -> Result<HashMap<i64, PayoutView>, StoreError> {
    let told = rows.filter(|row| row.kind == EventKind::PayoutChanged);
    let (seqs, rows): (Vec<i64>, Vec<payout::Model>) = told.filter_map(|row| Some((row.seq, read(row)?))).unzip();
    if rows.is_empty() {
        return Ok(HashMap::new());
    }
    let tx = db.snapshot(scope).await?;
    Ok(seqs.into_iter().zip(live::views(&tx, rows).await?).collect())
}

async fn relations(db: &Db, scope: &TenantScope, snapshots: &[&Snapshot]) -> Result<Relations, StoreError> {
    if snapshots.is_empty() {
        return Ok(Relations::default());
    }
    let campaign_ids: BTreeSet<_> = snapshots.iter().filter_map(|snapshot| snapshot.conversion.campaign_id).collect();
    let affiliate_ids: BTreeSet<_> = snapshots
        .iter()
        .flat_map(|snapshot| {
            let touches = snapshot.touches.iter().map(|touch| touch.affiliate_id);
            let commissions = snapshot.commissions.iter().map(|row| row.affiliate_id);
            touches.chain(commissions).chain(snapshot.conversion.affiliate_id)
        })
        .collect();
    let click_ids: BTreeSet<_> = snapshots
        .iter()
        .flat_map(|snapshot| snapshot.touches.iter().map(|touch| touch.click_id).chain(snapshot.conversion.click_id))
        .collect();
    let goal_ids: BTreeSet<_> = snapshots.iter().filter_map(|snapshot| snapshot.conversion.goal_id).collect();
    let tx = db.snapshot(scope).await?;
    let goals = goals::get_many(&tx, &goal_ids.into_iter().collect::<Vec<_>>()).await?;
    let campaigns = campaigns::get_many(&tx, &campaign_ids.into_iter().collect::<Vec<_>>()).await?;
    let affiliates = affiliates::get_many(&tx, &affiliate_ids.into_iter().collect::<Vec<_>>()).await?;
    let clicks = clicks::get_many(&tx, &click_ids.into_iter().collect::<Vec<_>>()).await?;
    Ok(Relations {
        campaigns: campaigns.into_iter().map(|row| (row.id, row)).collect(),
        affiliates: affiliates.into_iter().map(|row| (row.id, row)).collect(),
        clicks: clicks.into_iter().map(|row| (row.id, row)).collect(),
        goals: goals.into_iter().map(|row| (row.id, row)).collect(),
    })
}

/// A place in a tenant's feed.
pub struct Member {
    db: Db,
    scope: TenantScope,
    receiver: broadcast::Receiver<Batch>,
    tip: i64,
    _feed: Arc<Feed>,
}

impl Member {
    /// The number of the newest event when the member joined.
    pub const fn tip(&self) -> i64 {
        self.tip
    }

    /// Every event after `seq`, once, in order, for ever. A database that is away is waited for.
    pub fn events_after(self, seq: i64) -> impl Stream<Item = Arc<LiveEvent>> + Send + 'static {
        let start = Reading { behind: seq < self.tip, last: seq, queue: VecDeque::new(), member: self };
        stream::unfold(start, async |mut reading| {
            let event = reading.next().await;
            Some((event, reading))
        })
    }

    /// Waits until events come that `touches` says matter. Many at once count as one.
    pub async fn changed(&mut self, touches: impl Fn(&LiveEvent) -> bool) {
        loop {
            match self.receiver.recv().await {
                Ok(batch) if batch.iter().any(|event| touches(event)) => return,
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => return,
                // The sender lives in the feed, which we hold.
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }

    /// Forgets what was handed out and not looked at.
    pub fn skip_pending(&mut self) {
        self.receiver = self.receiver.resubscribe();
    }
}

struct Reading {
    member: Member,
    /// The last event that was given out.
    last: i64,
    /// The log is ahead of what was given out: read it before listening.
    behind: bool,
    queue: VecDeque<Arc<LiveEvent>>,
}

impl Reading {
    async fn next(&mut self) -> Arc<LiveEvent> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                self.last = event.row.seq;
                return event;
            }
            if self.behind {
                if let Err(error) = self.read_log().await {
                    tracing::warn!(%error, "the event log cannot be read; trying again");
                    sleep(RETRY).await;
                }
                continue;
            }
            match self.member.receiver.recv().await {
                Ok(batch) => self.take(&batch),
                Err(broadcast::error::RecvError::Lagged(_)) => self.behind = true,
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }

    fn take(&mut self, batch: &Batch) {
        let Some(first) = batch.first() else { return };
        if first.row.seq > self.last + 1 {
            self.behind = true;
        } else {
            self.queue.extend(batch.iter().filter(|event| event.row.seq > self.last).cloned());
        }
    }

    async fn read_log(&mut self) -> Result<(), StoreError> {
        let tx = self.member.db.snapshot(&self.member.scope).await?;
        let rows = events::list_after(&tx, self.last, PAGE).await?;
        drop(tx);
        // A short page is the end of the log as it was; what came since is in the receiver.
        self.behind = rows.len() as u64 == PAGE;
        self.queue.extend(prepare(&self.member.db, &self.member.scope, rows).await?);
        Ok(())
    }
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
pub fn resume(position: Position, epoch: uuid::Uuid, tip: i64) -> Result<i64, ServiceError> {
    if position.epoch == epoch && (0..=tip).contains(&position.seq) {
        Ok(position.seq)
    } else {
        Err(ServiceError::CursorExpired)
    }
}
