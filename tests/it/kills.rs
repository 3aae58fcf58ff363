//! Nodes that are killed, and nodes that end in order: nothing acknowledged is lost, nothing is done twice, and whoever
//! watches sees the log.

use std::time::{Duration, Instant};

use rand::RngExt;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    time::sleep,
};

use crate::support::{
    Backend, Client, Programme, Terms, Watcher, Watching,
    client::mutation,
    log,
    node::Node,
    programme::sale,
    seeded,
    socket::Socket,
    world::World,
    writer::{self, Writer, Writing},
};

async fn kill_during_ingest(backend: Backend) {
    const KILLS: usize = 5;
    const WRITERS: usize = 4;
    let mut rng = seeded();
    let world = World::new(backend).await;
    let mut node = Node::start(&world.data).await;
    let owner = world.owner(&node);
    let programme = Programme::build(&owner, &Terms::default()).await;
    let click = programme.click(&owner).await;
    let watcher = Watcher::begin(&owner, &click).await;

    let (set_nodes, nodes) = watch::channel(vec![owner]);
    let watching = Watching::begin(watcher, &nodes);
    let writing = Writing::begin(WRITERS, &Writer::new(&click), &nodes, &mut rng);
    for _ in 0..KILLS {
        // A moment at random, not one to wait for anything.
        sleep(Duration::from_millis(rng.random_range(100..1_200))).await;
        node.kill().await;
        node = Node::start(&world.data).await;
        set_nodes.send(vec![world.owner(&node)]).expect("somebody writes");
    }
    sleep(Duration::from_millis(200)).await;
    let calls = writer::assert_agree(&world.auditor, &world.owner(&node), writing.end().await).await;
    assert!(calls > KILLS * WRITERS);
    watching.assert_saw_everything(&world.auditor).await;
    node.stop().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_during_ingest_sqlite() {
    kill_during_ingest(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_during_ingest_postgres() {
    kill_during_ingest(Backend::Postgres).await;
}

/// PostgreSQL ends every connection of a node, again and again: callers are told to come back, and nothing is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn terminated_connections_heal() {
    const ROUNDS: usize = 8;
    let mut rng = seeded();
    let world = World::new(Backend::Postgres).await;
    let node = Node::start(&world.data).await;
    let owner = world.owner(&node);
    let programme = Programme::build(&owner, &Terms::default()).await;
    let click = programme.click(&owner).await;
    let mut watcher = Watcher::begin(&owner, &click).await;
    let (_, nodes) = watch::channel(vec![owner.clone()]);
    let writing = Writing::begin(4, &Writer::new(&click), &nodes, &mut rng);
    for _ in 0..ROUNDS {
        for _ in 0..rng.random_range(1..60) {
            assert!(watcher.read().await, "the socket outlives the database's connections");
        }
        let all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE datname = current_database() AND application_name = 'tributary'";
        world.auditor.rows(all).await;
    }
    for _ in 0..60 {
        assert!(watcher.read().await);
    }
    writer::assert_agree(&world.auditor, &owner, writing.end().await).await;
    let (_, end) = log::all(&world.auditor).await.pop().expect("a log");
    watcher.read_until(&end).await;
    log::assert_saw_everything(&world.auditor, &watcher.seen).await;
    node.stop().await;
    world.finish().await;
}

/// A request whose head the node has read and whose body it waits for.
struct Pending {
    stream: TcpStream,
    body: String,
}

impl Pending {
    async fn begin(client: &Client, click: &str, order: &str) -> Self {
        let document = mutation("recordConversion", "conversion { orderId }");
        let body = json!({ "query": document, "variables": { "input": sale(click, order, "1.00") } }).to_string();
        let host = client.url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(host).await.expect("connects");
        let head = format!(
            "POST /graphql HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\nexpect: 100-continue\r\n\r\n",
            client.token.as_deref().unwrap_or(""),
            body.len(),
        );
        stream.write_all(head.as_bytes()).await.expect("sent");
        let mut answer = [0; 25];
        stream.read_exact(&mut answer).await.expect("an answer");
        assert_eq!(&answer, b"HTTP/1.1 100 Continue\r\n\r\n");
        Self { stream, body }
    }

    async fn finish(mut self) -> String {
        self.stream.write_all(self.body.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        self.stream.read_to_string(&mut answer).await.expect("an answer");
        answer
    }
}

async fn end_in_order(backend: Backend) {
    let world = World::new(backend).await;
    let node = Node::start(&world.data).await;
    let owner = world.owner(&node);
    let programme = Programme::build(&owner, &Terms::default()).await;
    let click = programme.click(&owner).await;
    let mut watcher = Watcher::begin(&owner, &click).await;
    let mut idle = Socket::connect(&owner.url).await;
    let mut open = owner.subscribe("subscription { conversions { cursor } }", json!({})).await;
    let pending = Pending::begin(&owner, &click, "pending").await;

    let began = Instant::now();
    let stopping = tokio::spawn(node.stop());
    // It has begun to end when it says good-bye to its sockets.
    assert_eq!(open.close_code().await, Some(1012));
    assert_eq!(idle.close_code().await, Some(1012));
    while watcher.read().await {}
    let answer = pending.finish().await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"orderId\":\"pending\""), "{answer}");
    stopping.await.expect("the node ends well");
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    assert!(writer::durable(&world.auditor).await.contains("pending"));

    // What came after the good-bye is waiting for those who come back.
    let node = Node::start(&world.data).await;
    assert!(watcher.connect(&world.owner(&node)).await);
    let (_, end) = log::all(&world.auditor).await.pop().expect("a log");
    watcher.read_until(&end).await;
    log::assert_saw_everything(&world.auditor, &watcher.seen).await;
    node.stop().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn end_in_order_sqlite() {
    end_in_order(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn end_in_order_postgres() {
    end_in_order(Backend::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_that_never_ends_does_not_keep_the_node() {
    let world = World::new(Backend::Sqlite).await;
    let node = Node::start(&world.data).await;
    let owner = world.owner(&node);
    let programme = Programme::build(&owner, &Terms::default()).await;
    let click = programme.click(&owner).await;
    let stuck = Pending::begin(&owner, &click, "stuck").await;
    let began = Instant::now();
    node.stop().await;
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    drop(stuck);
    assert!(!writer::durable(&world.auditor).await.contains("stuck"));
    world.finish().await;
}
