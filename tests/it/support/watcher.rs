//! A subscriber to conversions that may lose its connection anywhere and goes on by its cursor.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinHandle};

use super::{
    Client,
    database::Auditor,
    log::{self, Seen},
    programme::sale,
    socket::Socket,
    writer::Nodes,
};

const QUERY: &str = "subscription($after: Cursor, $filter: ConversionFilterInput) { \
    conversions(after: $after, filter: $filter) { cursor type conversion { id } } }";

/// How long a subscription may take to begin before another sale is recorded for it to see.
const TRY: Duration = Duration::from_millis(200);

/// What it saw, and where it stands.
pub struct Watcher {
    pub filter: Value,
    pub cursor: Option<String>,
    pub seen: Vec<Seen>,
    socket: Option<Socket>,
}

impl Watcher {
    /// Not connected, at the end of the log.
    pub fn new(filter: Value) -> Self {
        Self { filter, cursor: None, seen: Vec::new(), socket: None }
    }

    /// Not connected, behind what another has seen.
    pub fn behind(other: &Self) -> Self {
        Self { cursor: other.cursor.clone(), ..Self::new(other.filter.clone()) }
    }

    /// Subscribes and records sales until one arrives. Nothing after the first that is seen may be missed.
    pub async fn begin(client: &Client, click: &str) -> Self {
        let mut watcher = Self::new(Value::Null);
        watcher.connect(client).await;
        while watcher.seen.is_empty() {
            client.done("recordConversion", sale(click, &format!("begin-{}", uuid::Uuid::new_v4()), "1.00"), "").await;
            watcher.read_within(TRY).await;
        }
        watcher
    }

    /// Connects, or connects anew, behind the last event that was seen. False when no node answers.
    pub async fn connect(&mut self, client: &Client) -> bool {
        let variables = json!({ "after": self.cursor, "filter": self.filter });
        self.socket = Socket::try_open(&client.url, client.token.as_deref(), QUERY, variables).await;
        self.socket.is_some()
    }

    pub fn is_connected(&self) -> bool {
        self.socket.is_some()
    }

    /// Drops the connection without a word.
    pub fn disconnect(&mut self) {
        self.socket = None;
    }

    /// Reads one event. False when the connection is, or goes, away.
    pub async fn read(&mut self) -> bool {
        let Some(socket) = &mut self.socket else { return false };
        let Some(mut message) = socket.try_message().await else {
            self.disconnect();
            return false;
        };
        assert_eq!(message["type"], "next", "{message}");
        assert!(message["payload"].get("errors").is_none(), "{message}");
        let event = message["payload"]["data"]["conversions"].take();
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        self.cursor = Some(text(&event["cursor"]));
        self.seen.push((text(&event["type"]), text(&event["conversion"]["id"])));
        true
    }

    /// As `read`, if something comes within a time.
    pub async fn read_within(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.read()).await.unwrap_or(false)
    }

    /// Reads until an event of a conversion arrives.
    pub async fn read_until(&mut self, conversion: &str) {
        while self.seen.last().is_none_or(|(_, id)| id != conversion) {
            assert!(self.read().await, "the connection was lost");
        }
    }

    /// Reads, connecting anew to wherever a node is, until the log ends at `last`.
    async fn read_through(mut self, nodes: Nodes, mut last: watch::Receiver<Option<String>>) -> Self {
        loop {
            let last = last.borrow_and_update().clone();
            if last.is_some_and(|last| self.seen.last().is_some_and(|(_, id)| *id == last)) {
                return self;
            }
            if !self.read_within(Duration::from_millis(500)).await && !self.is_connected() {
                let client = nodes.borrow()[0].clone();
                if !self.connect(&client).await {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }
}

/// A watcher at work: it reads wherever a node is, until it is told where the log ends.
pub struct Watching {
    set_last: watch::Sender<Option<String>>,
    task: JoinHandle<Watcher>,
}

impl Watching {
    pub fn begin(watcher: Watcher, nodes: &Nodes) -> Self {
        let (set_last, last) = watch::channel(None);
        Self { set_last, task: tokio::spawn(watcher.read_through(nodes.clone(), last)) }
    }

    /// Has it read to the end of the log as it is, and compares.
    pub async fn assert_saw_everything(self, auditor: &Auditor) {
        let (_, end) = log::all(auditor).await.pop().expect("a log");
        self.set_last.send(Some(end)).expect("somebody watches");
        let watcher = self.task.await.expect("the watcher watches");
        log::assert_saw_everything(auditor, &watcher.seen).await;
    }
}
