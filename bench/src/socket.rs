//! A subscriber: one WebSocket that counts what it receives and how long each event took.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use futures_util::{SinkExt, StreamExt};
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
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
    /// Opens a socket to a server, for one of several documents.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn open(server: &Server, document: usize) -> Result<Self, BenchError> {
        Self::subscribe(server, &api::subscription(document)).await
    }

    /// Opens a socket to a server and subscribes; to the floor it says the same, which the floor does not read.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn subscribe(server: &Server, payload: &Value) -> Result<Self, BenchError> {
        let address = server.address();
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
        let subscribe = json!({ "id": "1", "type": "subscribe", "payload": payload });
        stream.send(Message::text(subscribe.to_string())).await?;
        Ok(Self(stream))
    }

    /// Reads until every order from `first` to `last` came, or the socket ends. They are sent at once and may be committed
    /// in another order.
    pub async fn read(mut self, log: Arc<Log>, first: usize, last: usize) -> Seen {
        let mut seen = Seen::default();
        let mut orders = Orders::new(first, last);
        while orders.missing > 0 {
            let Some(order) = self.next_order().await else { break };
            if !orders.take(order) {
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
        }
        Seen { doubled: orders.doubled, ..seen }
    }

    /// Reads until so many orders came, from the first one; and then a little longer, lest one comes again.
    pub async fn catch_up(mut self, count: usize) -> CaughtUp {
        let mut orders = Orders::new(0, count.saturating_sub(1));
        let reading = async {
            while orders.missing > 0 {
                let Some(order) = self.next_order().await else { break };
                orders.take(order);
            }
        };
        // Who has not seen them all by then will not.
        let _ = timeout(PATIENCE, reading).await;
        let last = Instant::now();
        let reading = async {
            while let Some(order) = self.next_order().await {
                orders.take(order);
            }
        };
        let _ = timeout(LONGER, reading).await;
        CaughtUp { last, lost: orders.missing, doubled: orders.doubled }
    }

    /// The number of the next event's order; none when the socket ends.
    async fn next_order(&mut self) -> Option<usize> {
        loop {
            if let Message::Text(text) = self.0.next().await?.ok()?
                && let Some(order) = order_of(text.as_str())
            {
                return Some(order);
            }
        }
    }

    /// Keeps the socket open and silent.
    pub async fn hold(mut self) {
        while let Some(Ok(_)) = self.0.next().await {}
    }
}

/// How long events that were missed may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long is listened for what comes again.
const LONGER: Duration = Duration::from_millis(50);

/// What one who came back saw.
pub struct CaughtUp {
    /// When the last of the missed events came.
    pub last: Instant,
    pub lost: usize,
    pub doubled: usize,
}

/// Which orders came of those that are waited for.
struct Orders {
    first: usize,
    came: Vec<bool>,
    missing: usize,
    doubled: usize,
}

impl Orders {
    fn new(first: usize, last: usize) -> Self {
        let count = last + 1 - first;
        Self { first, came: vec![false; count], missing: count, doubled: 0 }
    }

    /// One came; whether it is waited for.
    fn take(&mut self, order: usize) -> bool {
        let Some(came) = order.checked_sub(self.first).and_then(|place| self.came.get_mut(place)) else { return false };
        match std::mem::replace(came, true) {
            false => self.missing -= 1,
            true => self.doubled += 1,
        }
        true
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_counted_once_and_again() {
        let mut orders = Orders::new(2, 4);
        assert!(![1, 5].into_iter().any(|other| orders.take(other)));
        assert!(orders.take(2) && orders.take(4) && orders.take(2));
        assert_eq!((orders.missing, orders.doubled), (1, 1));
        assert!(orders.take(3));
        assert_eq!((orders.missing, orders.doubled), (0, 1));
    }

    #[test]
    fn order_is_read_off_a_frame() {
        assert_eq!(order_of(&api::sample_frame("order-17")), Some(17));
        assert_eq!(order_of(&api::sample_frame("another")), None);
        assert_eq!(order_of("{\"type\":\"ping\"}"), None);
    }
}
