//! The subscribing connection, to one server or to a cluster.
//!
//! A cluster carries a sharded channel by the node alone that keeps the channel's slot: what is published there does not
//! travel to all others.

use std::{future::ready, time::Duration};

use futures_util::{StreamExt, stream};
use redis::{
    FromRedisValue, ProtocolVersion, PushInfo, PushKind, RedisResult, Value,
    aio::{PubSub, PubSubSink, PubSubStream},
    cluster_async::ClusterConnection,
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::timeout,
};
use tracing::debug;
use tributary_entity::ids::TenantId;

use super::channel;
use crate::redis_client::{Servers, of_cluster};

/// How long the server's answer is waited for, and a connection.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// Channels that are asked for at once.
const AT_ONCE: usize = 256;

/// A connection that hears channels.
pub(super) enum Subscription {
    One(PubSubSink, PubSubStream),
    Cluster(ClusterConnection, UnboundedReceiver<PushInfo>),
}

/// What comes over it.
pub(super) enum Heard {
    Message(Vec<u8>),
    /// A channel is heard no more: it was left, or its slot is another node's now.
    Left(String),
    /// Nothing more comes, or not all of it; why.
    End(&'static str),
}

impl Subscription {
    /// Connects.
    pub async fn open(servers: &Servers) -> RedisResult<Self> {
        match servers {
            Servers::One(client) => Ok(Self::of_one(client.get_async_pubsub().await?)),
            Servers::Cluster(nodes) => {
                let (pushes, heard) = unbounded_channel();
                // Messages come beside the answers to commands in this version alone.
                let client = of_cluster(nodes).use_protocol(ProtocolVersion::RESP3).push_sender(pushes).build()?;
                Ok(Self::Cluster(client.get_async_connection().await?, heard))
            }
        }
    }

    fn of_one(connection: PubSub) -> Self {
        let (sink, messages) = connection.split();
        Self::One(sink, messages)
    }

    /// Begins to hear tenants; which of them are heard now. Of a cluster, a part may be away, and its tenants with it.
    ///
    /// # Errors
    /// Why the connection is of no more use.
    pub async fn subscribe(&mut self, tenants: &[TenantId]) -> Result<Vec<TenantId>, &'static str> {
        match self {
            Self::One(sink, _) => {
                for tenants in tenants.chunks(AT_ONCE) {
                    let channels: Vec<String> = tenants.iter().copied().map(channel).collect();
                    in_time(sink.subscribe(channels)).await.ok_or("subscribe failed")?;
                }
                Ok(tenants.to_vec())
            }
            Self::Cluster(connection, _) => {
                // One by one, as each has a slot of its own, but not one after the other.
                let connection = &*connection;
                let subscribed = stream::iter(tenants.to_vec()).map(|tenant_id| async move {
                    let mut connection = connection.clone();
                    in_time(connection.ssubscribe(channel(tenant_id))).await.map(|()| tenant_id)
                });
                Ok(subscribed.buffer_unordered(AT_ONCE).filter_map(ready).collect().await)
            }
        }
    }

    /// Hears a tenant no more. Whether that will be heard, too, as [`Heard::Left`].
    ///
    /// # Errors
    /// Why the connection is of no more use.
    pub async fn unsubscribe(&mut self, tenant_id: TenantId) -> Result<bool, &'static str> {
        match self {
            Self::One(sink, _) => {
                in_time(sink.unsubscribe(channel(tenant_id))).await.map(|()| false).ok_or("unsubscribe failed")
            }
            // Where that part of the cluster is away, nothing is heard from it either.
            Self::Cluster(connection, _) => Ok(in_time(connection.sunsubscribe(channel(tenant_id))).await.is_some()),
        }
    }

    /// Asks whether all that is connected to is still there.
    ///
    /// # Errors
    /// Why the connection is of no more use.
    pub async fn ping(&mut self) -> Result<(), &'static str> {
        let answered = match self {
            Self::One(sink, _) => in_time(sink.ping::<Value>()).await.is_some(),
            Self::Cluster(connection, _) => {
                in_time(redis::cmd("PING").query_async::<Value>(connection)).await.is_some()
            }
        };
        answered.then_some(()).ok_or("ping not answered")
    }

    /// The next message. Safe to cancel.
    pub async fn next(&mut self) -> Heard {
        match self {
            Self::One(_, messages) => match messages.next().await {
                Some(message) => Heard::Message(message.get_payload_bytes().to_vec()),
                None => Heard::End("connection closed"),
            },
            Self::Cluster(_, pushes) => loop {
                let Some(push) = pushes.recv().await else { return Heard::End("connection closed") };
                if let Some(heard) = understand(push) {
                    return heard;
                }
            },
        }
    }
}

/// What a push of a cluster tells; none when that is nothing new.
fn understand(PushInfo { kind, data }: PushInfo) -> Option<Heard> {
    match kind {
        PushKind::SMessage => {
            // The channel comes first; the message names its tenant itself.
            let payload = data.into_iter().nth(1).and_then(|payload| Vec::from_redis_value(payload).ok());
            Some(payload.map_or(Heard::End("a message without content"), Heard::Message))
        }
        PushKind::SUnsubscribe => {
            let channel = data.into_iter().next().and_then(|channel| String::from_redis_value(channel).ok());
            channel.map(Heard::Left)
        }
        // The library would connect anew by itself, and say nothing of what was missed.
        PushKind::Disconnection => Some(Heard::End("a node of the cluster closed its connection")),
        _ => None,
    }
}

/// What is answered in time, and well.
async fn in_time<T>(asked: impl Future<Output = RedisResult<T>>) -> Option<T> {
    match timeout(PATIENCE, asked).await {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(error)) => {
            debug!(%error, "Redis did not do what was asked on the subscribing connection");
            None
        }
        Err(_) => None,
    }
}
