//! The bus between nodes: Redis pub/sub, one publishing and one subscribing connection per node.
//!
//! # Decisions
//! - The subscribing side is our own loop (ping each second under a timeout, capped back-off): the crate's automatic
//!   resubscription goes silent for ever after about six failed attempts and hangs on a half-open connection.
//! - After each reconnect every listener is woken: what was published meanwhile is lost here and is in the log.
//! - Own commits are delivered locally at once and heard again through Redis; listeners drop what they have by number.

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures_util::StreamExt;
use redis::AsyncCommands;
use tokio::{
    sync::{Notify, mpsc},
    time::{interval, sleep, timeout},
};
use tracing::{debug, info, warn};
use tributary_entity::ids::TenantId;

use super::{EventBatch, EventBus, Listener, Topics};
use crate::{domain::tenancy::TenantScope, redis_client::RedisClient};

/// Batches that may wait for a slow or absent Redis; more are dropped, the log has them.
const PUBLISH_QUEUE: usize = 4_096;
const RECONNECT_MAX: Duration = Duration::from_secs(1);

/// Delivers to all nodes.
pub struct RedisBus {
    topics: Topics,
    /// Tells the subscribing loop that a tenant was added.
    changed: Arc<Notify>,
    outgoing: mpsc::Sender<EventBatch>,
}

impl RedisBus {
    /// Starts the bus. It works, locally, also while Redis is away, and reconnects for ever.
    ///
    /// # Errors
    /// When the address itself is not valid.
    pub fn start(url: &str) -> redis::RedisResult<Self> {
        let client = redis::Client::open(url)?;
        let topics = Topics::default();
        let changed = Arc::new(Notify::new());
        let (outgoing, queue) = mpsc::channel(PUBLISH_QUEUE);
        tokio::spawn(publish_loop(RedisClient::new(url)?, queue));
        tokio::spawn(subscribe_loop(client, topics.clone(), Arc::clone(&changed)));
        Ok(Self { topics, changed, outgoing })
    }
}

impl EventBus for RedisBus {
    fn publish(&self, batch: EventBatch) {
        self.topics.deliver(batch.clone());
        if self.outgoing.try_send(batch).is_err() {
            debug!("event batch not sent to Redis: the queue is full; other nodes will read it from the log");
        }
    }

    fn listen(&self, scope: &TenantScope) -> Listener {
        let listener = self.topics.listen(scope);
        self.changed.notify_one();
        listener
    }
}

fn channel(tenant_id: TenantId) -> String {
    format!("tributary:events:{tenant_id}")
}

async fn publish_loop(client: RedisClient, mut queue: mpsc::Receiver<EventBatch>) {
    while let Some(batch) = queue.recv().await {
        let Ok(message) = serde_json::to_vec(&batch) else { continue };
        let channel = channel(batch.tenant_id);
        let sent = client.ask(async |connection| connection.publish::<_, _, ()>(channel, message).await).await;
        if sent.is_none() {
            debug!("event batch not sent to Redis; other nodes will read it from the log");
        }
    }
}

async fn subscribe_loop(client: redis::Client, topics: Topics, changed: Arc<Notify>) {
    let mut back_off = Duration::from_millis(50);
    let mut told = false;
    loop {
        match timeout(Duration::from_secs(2), client.get_async_pubsub()).await {
            Ok(Ok(connection)) => {
                info!("listening to Redis");
                told = false;
                back_off = Duration::from_millis(50);
                let reason = listen(connection, &topics, &changed).await;
                warn!(reason, "lost the Redis subscription; events are read from the log until it is back");
            }
            // Once for each time that it goes away: it may also be its certificate, or its password.
            Ok(Err(error)) if !told => {
                warn!(%error, "Redis cannot be reached; trying again for ever");
                told = true;
            }
            Ok(Err(error)) => debug!(%error, "Redis cannot be reached"),
            Err(_) => debug!("Redis does not answer"),
        }
        sleep(back_off).await;
        back_off = (back_off * 2).min(RECONNECT_MAX);
    }
}

/// Serves one connection until it breaks; says why.
async fn listen(connection: redis::aio::PubSub, topics: &Topics, changed: &Notify) -> &'static str {
    let (mut sink, mut messages) = connection.split();
    let mut subscribed: HashSet<TenantId> = HashSet::new();
    let mut ping = interval(Duration::from_secs(1));
    let limit = Duration::from_secs(2);
    let mut first = true;
    loop {
        let wanted: HashSet<TenantId> = topics.tenants().into_iter().collect();
        for tenant_id in wanted.difference(&subscribed) {
            if !matches!(timeout(limit, sink.subscribe(channel(*tenant_id))).await, Ok(Ok(()))) {
                return "subscribe failed";
            }
        }
        for tenant_id in subscribed.difference(&wanted) {
            if !matches!(timeout(limit, sink.unsubscribe(channel(*tenant_id))).await, Ok(Ok(()))) {
                return "unsubscribe failed";
            }
        }
        if first || wanted != subscribed {
            // Whoever listened before the subscription stood may have missed something.
            topics.wake_all();
            first = false;
        }
        subscribed = wanted;
        tokio::select! {
            message = messages.next() => match message {
                None => return "connection closed",
                Some(message) => match serde_json::from_slice(message.get_payload_bytes()) {
                    Ok(batch) => topics.deliver(batch),
                    Err(error) => {
                        warn!(%error, "a message on an event channel cannot be read; reading the log instead");
                        topics.wake_all();
                    }
                },
            },
            () = changed.notified() => {}
            _ = ping.tick() => {
                if !matches!(timeout(limit, sink.ping::<redis::Value>()).await, Ok(Ok(_))) {
                    return "ping not answered";
                }
            }
        }
    }
}
