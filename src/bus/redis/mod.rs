//! The bus between nodes: Redis pub/sub, one publishing and one subscribing connection per node.
//!
//! # Decisions
//! - The subscribing side is our own loop (ping each second under a timeout, capped back-off): the crate's automatic
//!   resubscription goes silent for ever after about six failed attempts and hangs on a half-open connection.
//! - After each reconnect every listener is woken: what was published meanwhile is lost here and is in the log.
//! - In a cluster channels are sharded. When a slot moves, or a node goes, all subscriptions are made anew: what the
//!   library makes anew by itself does not tell what was missed.
//! - Own commits are delivered locally at once and heard again through Redis; listeners drop what they have by number.

mod subscription;

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, interval, sleep, timeout},
};
use tracing::{debug, info, warn};
use tributary_entity::ids::TenantId;

use self::subscription::{Heard, Subscription};
use super::{EventBatch, EventBus, Listener, Topics};
use crate::{
    domain::tenancy::TenantScope,
    redis_client::{RedisClient, Servers},
};

/// Batches that may wait for a slow or absent Redis; more are dropped, the log has them.
const PUBLISH_QUEUE: usize = 4_096;
const RECONNECT_MIN: Duration = Duration::from_millis(50);
const RECONNECT_MAX: Duration = Duration::from_secs(1);
/// A connection that held for so long was a good one.
const GOOD: Duration = Duration::from_secs(5);

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
        let servers = Servers::parse(url)?;
        let topics = Topics::default();
        let changed = Arc::new(Notify::new());
        let (outgoing, queue) = mpsc::channel(PUBLISH_QUEUE);
        let publish = match servers {
            Servers::One(_) => "PUBLISH",
            Servers::Cluster(_) => "SPUBLISH",
        };
        tokio::spawn(publish_loop(RedisClient::new(url)?, publish, queue));
        tokio::spawn(subscribe_loop(servers, topics.clone(), Arc::clone(&changed)));
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

async fn publish_loop(client: RedisClient, command: &str, mut queue: mpsc::Receiver<EventBatch>) {
    while let Some(batch) = queue.recv().await {
        let Ok(message) = serde_json::to_vec(&batch) else { continue };
        let mut publish = redis::cmd(command);
        publish.arg(channel(batch.tenant_id)).arg(message);
        let sent = client.ask(async |connection| publish.exec_async(connection).await).await;
        if sent.is_none() {
            debug!("event batch not sent to Redis; other nodes will read it from the log");
        }
    }
}

async fn subscribe_loop(servers: Servers, topics: Topics, changed: Arc<Notify>) {
    let mut back_off = RECONNECT_MIN;
    let mut told = false;
    loop {
        match timeout(subscription::PATIENCE, Subscription::open(&servers)).await {
            Ok(Ok(connection)) => {
                info!("listening to Redis");
                told = false;
                let began = Instant::now();
                let Err(reason) = listen(connection, &topics, &changed).await;
                if began.elapsed() > GOOD {
                    back_off = RECONNECT_MIN;
                }
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
async fn listen(mut connection: Subscription, topics: &Topics, changed: &Notify) -> Result<Infallible, &'static str> {
    let mut heard: HashSet<TenantId> = HashSet::new();
    // Channels that were left, whose confirmations are on their way.
    let mut leaving: HashMap<String, u32> = HashMap::new();
    let mut ping = interval(Duration::from_secs(1));
    let (mut first, mut look) = (true, true);
    loop {
        if look {
            let wanted: HashSet<TenantId> = topics.tenants().into_iter().collect();
            let gone: Vec<TenantId> = heard.difference(&wanted).copied().collect();
            for tenant_id in gone {
                heard.remove(&tenant_id);
                if connection.unsubscribe(tenant_id).await? {
                    *leaving.entry(channel(tenant_id)).or_default() += 1;
                }
            }
            let new: Vec<TenantId> = wanted.difference(&heard).copied().collect();
            let subscribed = if new.is_empty() { new } else { connection.subscribe(&new).await? };
            if first || !subscribed.is_empty() {
                // Whoever listened before the subscription stood may have missed something.
                topics.wake_all();
            }
            heard.extend(subscribed);
            first = false;
        }
        look = tokio::select! {
            message = connection.next() => {
                match message {
                    Heard::Message(message) => match serde_json::from_slice(&message) {
                        Ok(batch) => topics.deliver(batch),
                        Err(error) => {
                            warn!(%error, "a message on an event channel cannot be read; reading the log instead");
                            topics.wake_all();
                        }
                    },
                    Heard::Left(left) => match leaving.get_mut(&left) {
                        Some(1) => drop(leaving.remove(&left)),
                        Some(times) => *times -= 1,
                        None => return Err("a slot of the cluster has moved"),
                    },
                    Heard::End(why) => return Err(why),
                }
                false
            }
            () = changed.notified() => true,
            _ = ping.tick() => {
                connection.ping().await?;
                // Those who left, and of a cluster those whose part was away.
                true
            }
        };
    }
}
