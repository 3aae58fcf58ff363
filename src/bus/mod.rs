//! The event bus: wakes the nodes that have subscribers. The log is the truth; a message that is lost costs latency.
//!
//! [`memory`] is one process's; [`redis`] carries messages between nodes. Both hand them to the same local [`Topics`].
//! A topic is made only from a [`TenantScope`], so that no message can reach another tenant's listeners.

pub mod memory;
pub mod redis;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use tributary_entity::{
    event,
    ids::{AffiliateId, CampaignId, TenantId},
};

use crate::domain::{event::Committed, tenancy::TenantScope};

/// Messages that a listener may be behind before it loses some; it then reads the log.
const TOPIC_CAPACITY: usize = 256;

/// What one commit did: its events, and whose totals it changed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EventBatch {
    pub tenant_id: TenantId,
    /// 0, as the last, of a commit without events: behind nobody who follows the log.
    pub first_seq: i64,
    pub last_seq: i64,
    /// The events themselves, unless they are too many for a message.
    pub events: Option<Vec<event::Model>>,
    /// Whose hourly totals changed, unless they are too many for a message. Clicks are in no log: this is all that tells
    /// of them.
    #[serde(default)]
    pub counted: Option<Vec<(CampaignId, AffiliateId)>>,
}

/// Events of one commit that travel whole, and owners of totals; larger commits send only that there are some.
const ITEMS_PER_MESSAGE: usize = 200;

impl EventBatch {
    /// The message for what a commit of a tenant did; none when nobody can wait for it.
    pub fn of(tenant_id: TenantId, Committed { events, counted }: Committed) -> Option<Self> {
        if events.is_empty() && counted.is_empty() {
            return None;
        }
        Some(Self {
            tenant_id,
            first_seq: events.first().map_or(0, |event| event.seq),
            last_seq: events.last().map_or(0, |event| event.seq),
            events: (events.len() <= ITEMS_PER_MESSAGE).then_some(events),
            counted: (counted.len() <= ITEMS_PER_MESSAGE).then(|| counted.into_iter().collect()),
        })
    }

    /// Whether totals may have changed whose owner `concerns`.
    pub fn counts(&self, concerns: impl Fn(CampaignId, AffiliateId) -> bool) -> bool {
        self.counted
            .as_ref()
            .is_none_or(|owners| owners.iter().any(|(campaign, affiliate)| concerns(*campaign, *affiliate)))
    }
}

/// What a listener hears.
#[derive(Clone, Debug)]
pub enum Message {
    /// What a commit did.
    Events(Arc<EventBatch>),
    /// Messages may have been lost: look into the log.
    Wake,
}

/// Carries committed events to listeners, best effort.
pub trait EventBus: Send + Sync {
    /// Hands over what a commit wrote. Returns at once; never fails the caller, whose commit stands.
    fn publish(&self, batch: EventBatch);

    /// Hears the messages of the scope's tenant until the listener is dropped.
    fn listen(&self, scope: &TenantScope) -> Listener;
}

/// The listening end of a tenant's topic.
pub struct Listener {
    receiver: broadcast::Receiver<Message>,
    topics: Topics,
    tenant_id: TenantId,
}

impl Listener {
    /// The next message. Overflow is told as [`Message::Wake`].
    pub async fn next(&mut self) -> Message {
        match self.receiver.recv().await {
            Ok(message) => message,
            Err(broadcast::error::RecvError::Lagged(_)) => Message::Wake,
            // The sender lives in `topics`, which we hold; only a replaced topic closes.
            Err(broadcast::error::RecvError::Closed) => {
                self.receiver = self.topics.subscribe(self.tenant_id);
                Message::Wake
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.topics.release(self.tenant_id);
    }
}

/// The topics that this process listens to.
#[derive(Clone, Default)]
pub struct Topics(Arc<Mutex<HashMap<TenantId, broadcast::Sender<Message>>>>);

impl Topics {
    fn with<T>(&self, act: impl FnOnce(&mut HashMap<TenantId, broadcast::Sender<Message>>) -> T) -> T {
        // The map is whole at every step; a panic elsewhere cannot have left it half changed.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn subscribe(&self, tenant_id: TenantId) -> broadcast::Receiver<Message> {
        self.with(|topics| topics.entry(tenant_id).or_insert_with(|| broadcast::channel(TOPIC_CAPACITY).0).subscribe())
    }

    fn listen(&self, scope: &TenantScope) -> Listener {
        let tenant_id = scope.tenant_id();
        Listener { receiver: self.subscribe(tenant_id), topics: self.clone(), tenant_id }
    }

    fn release(&self, tenant_id: TenantId) {
        self.with(|topics| {
            // The receiver that is being dropped still counts.
            if topics.get(&tenant_id).is_some_and(|sender| sender.receiver_count() <= 1) {
                topics.remove(&tenant_id);
            }
        });
    }

    /// The tenants somebody here listens to.
    fn tenants(&self) -> Vec<TenantId> {
        self.with(|topics| topics.keys().copied().collect())
    }

    fn deliver(&self, batch: EventBatch) {
        self.with(|topics| {
            if let Some(sender) = topics.get(&batch.tenant_id) {
                // No receiver is no fault: the last one is just leaving.
                let _ = sender.send(Message::Events(Arc::new(batch)));
            }
        });
    }

    fn wake_all(&self) {
        self.with(|topics| {
            for sender in topics.values() {
                let _ = sender.send(Message::Wake);
            }
        });
    }
}
