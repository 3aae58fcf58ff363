//! A client that writes down what it is about to send, and the answer after it: the oracle of every fault test.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{Client, client::mutation, database::Auditor, programme::sale};

/// Where the nodes are now; writers ask anew before each call.
pub type Nodes = watch::Receiver<Vec<Client>>;

/// What one call sent, and what came back.
#[derive(Clone, Debug)]
pub struct Call {
    pub orders: Vec<String>,
    /// The conversions' ids; none while there is no answer.
    pub answer: Option<Vec<String>>,
}

/// A client's own books.
#[derive(Clone, Debug)]
pub struct Writer {
    pub click: String,
    pub calls: Vec<Call>,
    /// The longest that an acknowledgement took.
    pub slowest: Duration,
    /// Codes of errors that are no answer: the same call may succeed later.
    excuses: &'static [&'static str],
    /// How long it waits after a call without an answer.
    pause: Duration,
}

/// What a node says whose database goes away; nothing else is an excuse, where a test names no other.
const AWAY: &[&str] = &["UNAVAILABLE"];

impl Writer {
    pub fn new(click: &str) -> Self {
        let pause = Duration::from_millis(20);
        Self { click: click.to_owned(), calls: Vec::new(), slowest: Duration::ZERO, excuses: AWAY, pause }
    }

    /// Takes these codes as excuses, and then waits for as long as nodes with too much to do ask for.
    pub fn excusing(self, excuses: &'static [&'static str]) -> Self {
        Self { excuses, pause: Duration::from_millis(250), ..self }
    }

    /// Sends single conversions and batches until told to stop, to any of the nodes.
    pub async fn write(mut self, name: &str, nodes: Nodes, mut stop: watch::Receiver<bool>, mut rng: StdRng) -> Self {
        for number in 0.. {
            if *stop.borrow_and_update() {
                break;
            }
            let size = if rng.random_bool(0.75) { 1 } else { rng.random_range(2..=25) };
            self.calls
                .push(Call { orders: (0..size).map(|item| format!("{name}-{number}-{item}")).collect(), answer: None });
            let client = any(&nodes, &mut rng);
            let call = self.calls.last_mut().expect("just pushed");
            let began = Instant::now();
            call.answer = send(&client, &self.click, &call.orders, self.excuses).await.map(|(ids, _)| ids);
            if call.answer.is_some() {
                self.slowest = self.slowest.max(began.elapsed());
            } else {
                // The node is gone, and the next call finds another, or the same one started anew; or it has too much to do.
                tokio::time::sleep(self.pause).await;
            }
        }
        self
    }

    /// Sends everything again with the same keys: what was answered must be answered the same, and the rest now.
    pub async fn settle(&mut self, client: &Client) {
        for call in &mut self.calls {
            let (ids, replayed) = send(client, &self.click, &call.orders, &[]).await.expect("an answer");
            match &call.answer {
                Some(first) => {
                    assert_eq!(*first, ids, "{:?}", call.orders);
                    assert!(replayed, "{:?}", call.orders);
                }
                None => {
                    let (again, replayed) = send(client, &self.click, &call.orders, &[]).await.expect("an answer");
                    assert!(replayed && again == ids, "{:?}", call.orders);
                    call.answer = Some(ids);
                }
            }
        }
    }

    /// How many calls are without an answer.
    pub fn unanswered(&self) -> usize {
        self.calls.iter().filter(|call| call.answer.is_none()).count()
    }
}

/// Writers at work.
pub struct Writing {
    stop: watch::Sender<bool>,
    tasks: Vec<tokio::task::JoinHandle<Writer>>,
}

impl Writing {
    /// Writers like one who has written nothing yet, who send to the nodes until they are told to stop.
    pub fn begin(count: usize, writer: &Writer, nodes: &Nodes, rng: &mut StdRng) -> Self {
        let (stop, stopped) = watch::channel(false);
        let tasks = (0..count)
            .map(|number| {
                let (nodes, stopped, rng) = (nodes.clone(), stopped.clone(), StdRng::seed_from_u64(rng.random()));
                let writer = writer.clone();
                let name = format!("w{number}-{}", uuid::Uuid::new_v4());
                tokio::spawn(async move { writer.write(&name, nodes, stopped, rng).await })
            })
            .collect();
        Self { stop, tasks }
    }

    /// Tells them to stop, and takes their books.
    pub async fn end(self) -> Vec<Writer> {
        self.stop.send(true).expect("somebody writes");
        let mut writers = Vec::new();
        for task in self.tasks {
            writers.push(task.await.expect("a writer writes"));
        }
        writers
    }
}

/// One of the nodes.
fn any(nodes: &Nodes, rng: &mut StdRng) -> Client {
    let nodes = nodes.borrow();
    nodes[rng.random_range(0..nodes.len())].clone()
}

/// Sends one call: a single conversion as such, more as a batch. None without a sound answer; else the ids, and whether
/// all of them are replays.
async fn send(client: &Client, click: &str, orders: &[String], excuses: &[&str]) -> Option<(Vec<String>, bool)> {
    let selection = "conversion { id orderId status } replayed";
    let (name, input, document) = match orders {
        [order] => ("recordConversion", sale(click, order, "1.00"), mutation("recordConversion", selection)),
        _ => {
            let items: Vec<Value> = orders.iter().map(|order| sale(click, order, "1.00")).collect();
            let selection = format!("items {{ {selection} userErrors {{ code }} }}");
            ("recordConversions", json!({ "items": items }), mutation("recordConversions", &selection))
        }
    };
    let is_excuse = |code: &Value| code.as_str().is_some_and(|code| excuses.contains(&code));
    let (status, body) = client.try_send(&document, json!({ "input": input })).await.ok()?;
    if body.get("errors").is_some() {
        assert!(is_excuse(&body["errors"][0]["extensions"]["code"]), "{name}: {status} {body}");
        return None;
    }
    let payload = &body["data"]["result"];
    let items = payload["items"].as_array().cloned().unwrap_or_else(|| vec![payload.clone()]);
    assert_eq!(items.len(), orders.len());
    if items.iter().any(|item| is_excuse(&item["userErrors"][0]["code"])) {
        return None;
    }
    let ids = items.iter().zip(orders).map(|(item, order)| {
        assert_eq!(item["conversion"]["orderId"], order.as_str(), "{item}");
        assert_eq!(item["conversion"]["status"], "APPROVED", "{item}");
        item["conversion"]["id"].as_str().expect("an id").to_owned()
    });
    Some((ids.collect(), items.iter().all(|item| item["replayed"] == true)))
}

/// The orders that are in the database. Fails where one is there twice.
pub async fn durable(auditor: &Auditor) -> BTreeSet<String> {
    let mut orders = BTreeSet::new();
    for row in auditor.rows("SELECT order_id FROM conversion").await {
        let order: String = row.try_get_by_index(0).expect("text");
        assert!(orders.insert(order.clone()), "{order} is there twice");
    }
    orders
}

/// Demands that what was acknowledged is durable, that what is durable was sent, and that no call was done by halves.
pub async fn assert_oracle(auditor: &Auditor, writers: &[Writer]) {
    let durable = durable(auditor).await;
    let mut sent = BTreeSet::new();
    for call in writers.iter().flat_map(|writer| &writer.calls) {
        let there = call.orders.iter().filter(|order| durable.contains(*order)).count();
        assert!(there == 0 || there == call.orders.len(), "{there} of {} are there: {call:?}", call.orders.len());
        assert!(call.answer.is_none() || there > 0, "acknowledged and lost: {call:?}");
        sent.extend(&call.orders);
    }
    let strange: Vec<_> =
        durable.iter().filter(|order| !order.starts_with("begin-") && !sent.contains(order)).collect();
    assert!(strange.is_empty(), "nobody sent {strange:?}");
}

/// Holds the books of writers who have stopped against the database, has each retry at a node all that it sent, and holds
/// them again. Answers how many calls there were.
pub async fn assert_agree(auditor: &Auditor, client: &Client, mut writers: Vec<Writer>) -> usize {
    let calls = writers.iter().map(|writer| writer.calls.len()).sum();
    println!("{calls} calls, {} unanswered", writers.iter().map(Writer::unanswered).sum::<usize>());
    assert_oracle(auditor, &writers).await;
    join_all(writers.iter_mut().map(|writer| writer.settle(client))).await;
    assert_settled(auditor, &writers).await;
    calls
}

/// Demands that exactly what was sent is there, each order as the conversion that its writer was told.
pub async fn assert_settled(auditor: &Auditor, writers: &[Writer]) {
    assert_oracle(auditor, writers).await;
    let log = super::log::entries(auditor).await;
    let recorded: BTreeMap<&str, &str> = log
        .iter()
        .filter(|entry| entry.seen.0 == "RECORDED")
        .map(|entry| (entry.conversion["order_id"].as_str().unwrap_or(""), entry.seen.1.as_str()))
        .collect();
    for call in writers.iter().flat_map(|writer| &writer.calls) {
        let ids = call.answer.as_ref().expect("settled");
        for (order, id) in call.orders.iter().zip(ids) {
            assert_eq!(recorded.get(order.as_str()), Some(&id.as_str()), "{order}");
        }
    }
}
