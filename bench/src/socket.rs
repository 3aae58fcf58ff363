//! A subscriber: one WebSocket that counts what it receives and how long each event took.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};

use futures_util::{SinkExt, StreamExt};
use hdrhistogram::Histogram;
use serde_json::json;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{Message, client::IntoClientRequest, protocol::WebSocketConfig},
};

use crate::{BenchError, api, server::Server};

/// When each order was sent and answered, in microseconds since the start; and what arrived of it.
pub struct Log {
    pub start: Instant,
    sent: Vec<AtomicU64>,
    answered: Vec<AtomicU64>,
    pub received: AtomicUsize,
}

/// What one subscriber saw.
#[derive(Default)]
pub struct Seen {
    pub received: usize,
    pub lost: usize,
    pub doubled: usize,
    /// Microseconds from the sending of the mutation.
    from_send: Vec<u32>,
    /// Microseconds from its answer; none where the event came first.
    from_answer: Vec<u32>,
}

impl Log {
    pub fn new(orders: usize) -> Arc<Self> {
        let none = || (0..orders).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Self { start: Instant::now(), sent: none(), answered: none(), received: AtomicUsize::new(0) })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    pub fn send(&self, order: usize) {
        self.sent[order].store(self.now(), Relaxed);
    }

    pub fn answer(&self, order: usize) {
        self.answered[order].store(self.now(), Relaxed);
    }
}

/// A socket that is acknowledged and has subscribed.
pub struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    /// Opens a socket to a server; to the floor it says the same, which the floor does not read.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn open(server: &Server, document: usize) -> Result<Self, BenchError> {
        let address = server.url.trim_start_matches("http://");
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut request = format!("ws://{address}/graphql").into_client_request()?;
        let protocol = "graphql-transport-ws".parse().map_err(|_| BenchError::Failed("a header".to_owned()))?;
        request.headers_mut().insert("sec-websocket-protocol", protocol);
        let config = WebSocketConfig::default().read_buffer_size(4_096).write_buffer_size(0);
        let (mut stream, _) = client_async_with_config(request, stream, Some(config)).await?;
        let init = json!({ "type": "connection_init", "payload": { "token": server.token } });
        stream.send(Message::text(init.to_string())).await?;
        if !server.token.is_empty() {
            match stream.next().await {
                Some(Ok(Message::Text(text))) if text.contains("connection_ack") => {}
                other => return Err(BenchError::Failed(format!("no acknowledgement: {other:?}"))),
            }
        }
        let payload = json!({ "query": api::subscription(document) });
        let subscribe = json!({ "id": "1", "type": "subscribe", "payload": payload });
        stream.send(Message::text(subscribe.to_string())).await?;
        Ok(Self(stream))
    }

    /// Reads until every order from `first` to `last` came, or the socket ends. They are sent at once and may be committed
    /// in another order.
    pub async fn read(mut self, log: Arc<Log>, first: usize, last: usize) -> Seen {
        let mut seen = Seen::default();
        let mut missing = vec![true; last + 1 - first];
        seen.lost = missing.len();
        while seen.lost > 0 {
            let Some(Ok(message)) = self.0.next().await else { break };
            let Message::Text(text) = message else { continue };
            let Some(order) = order_of(text.as_str()) else { continue };
            if !(first..=last).contains(&order) {
                continue;
            }
            let now = log.now();
            log.received.fetch_add(1, Relaxed);
            seen.received += 1;
            let since = |at: &AtomicU64| now.saturating_sub(at.load(Relaxed));
            seen.from_send.push(u32::try_from(since(&log.sent[order])).unwrap_or(u32::MAX));
            let answered = log.answered[order].load(Relaxed);
            // Zero: the event came before the answer, the best there is.
            let behind = if answered == 0 { 0 } else { now.saturating_sub(answered) };
            seen.from_answer.push(u32::try_from(behind).unwrap_or(u32::MAX));
            match std::mem::take(&mut missing[order - first]) {
                true => seen.lost -= 1,
                false => seen.doubled += 1,
            }
        }
        seen
    }

    /// Keeps the socket open and silent.
    pub async fn hold(mut self) {
        while let Some(Ok(_)) = self.0.next().await {}
    }
}

/// The number in `"orderId":"order-17"`.
fn order_of(text: &str) -> Option<usize> {
    let (_, rest) = text.split_once("\"orderId\":\"order-")?;
    rest.split('"').next()?.parse().ok()
}

/// Latencies of all subscribers together.
pub struct Latency {
    pub from_send: Histogram<u64>,
    pub from_answer: Histogram<u64>,
}

impl Latency {
    /// # Errors
    /// Never for microseconds within an hour.
    pub fn of(all: &[Seen]) -> Result<Self, BenchError> {
        let failed = |_| BenchError::Failed("a histogram".to_owned());
        let histogram = || Histogram::new_with_bounds(1, 3_600_000_000, 3).map_err(failed);
        let mut latency = Self { from_send: histogram()?, from_answer: histogram()? };
        for seen in all {
            for micros in &seen.from_send {
                latency.from_send.saturating_record(u64::from(*micros));
            }
            for micros in &seen.from_answer {
                latency.from_answer.saturating_record(u64::from(*micros));
            }
        }
        Ok(latency)
    }
}
