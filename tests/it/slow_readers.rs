//! Subscribers that read slowly, and then not at all: nothing is missed, and nobody else notices.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tokio::{sync::watch, time::sleep};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{
    Backend, Client, Programme, Terms, TestApp, Watcher, app,
    log::{self, Seen},
    node::Node,
    programme::{id, merge, sale},
    socket::Socket,
    world::World,
};

/// A subscription to conversions whose answers are large.
fn large_query() -> String {
    let labels: Vec<String> = (1..=20).map(|number| format!("l{number}: labels {{ value }}")).collect();
    format!(
        "subscription($after: Cursor) {{ conversions(after: $after) {{ cursor type conversion {{ id {} }} }} }}",
        labels.join(" "),
    )
}

/// Records a sale that is large to tell of; the conversion's id.
async fn record_large(client: &Client, click: &str, order: &str) -> String {
    let long = "x".repeat(255);
    let labels: Map<String, Value> = (1..=10).map(|number| (format!("adv{number}"), json!(long))).collect();
    let mut input = sale(click, order, "1.00");
    merge(&mut input, json!({ "labels": labels }));
    id(&client.done("recordConversion", input, "conversion { id }").await, "conversion")
}

/// What a message tells of, and the cursor behind it.
fn read(message: &mut Value) -> (Seen, String) {
    let event = message["conversions"].take();
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    ((text(&event["type"]), text(&event["conversion"]["id"])), text(&event["cursor"]))
}

/// Reads nothing while hundreds of commits are made.
async fn read_late(app: &TestApp) {
    // More bytes than sockets keep.
    const COMMITS: usize = 400;
    let owner = app.owner();
    let programme = Programme::build(&owner, &Terms::default()).await;
    let click = programme.click(&owner).await;
    let start = Watcher::begin(&owner, &click).await;
    let mut socket = Socket::connect_narrow(&app.url).await;
    socket.begin(owner.token.as_deref(), &large_query(), json!({ "after": start.cursor })).await;
    for number in 0..COMMITS {
        record_large(&owner, &click, &format!("s-{number}")).await;
    }
    let log = log::all(&app.auditor).await;
    let expected = &log[log.len() - COMMITS..];
    let mut seen = Vec::new();
    while seen.len() < COMMITS {
        let (entry, _) = read(&mut socket.next().await);
        // Whatever came between the cursor and the first of ours.
        if !seen.is_empty() || entry == expected[0] {
            seen.push(entry);
        }
    }
    log::assert_same(&seen, expected);
}

/// On nodes that bear with who does not read: the others close its connection.
mod slow_reader_misses_nothing {
    use super::*;

    const PATIENT: Duration = Duration::from_secs(300);

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn sqlite() {
        app::run_tuned(Backend::Sqlite, |tuning| tuning.pace.stall = PATIENT, read_late).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn postgres() {
        app::run_tuned(Backend::Postgres, |tuning| tuning.pace.stall = PATIENT, read_late).await;
    }
}

/// Reads one message a second for a while and then nothing: is let go, with memory that stays as it was and without the
/// others' noticing, and goes on behind what it has read.
async fn read_ever_less(backend: Backend) {
    const SLOWLY: Duration = Duration::from_secs(5);
    const LIMIT: Duration = Duration::from_secs(2);
    const ROOM_KB: u64 = 64 * 1_024;
    let world = World::new(backend).await;
    let node = Node::start(&world.data).await;
    let owner = world.owner(&node);
    let programme = Programme::build(&owner, &Terms::default()).await;
    let click = programme.click(&owner).await;
    let mut quick = Watcher::begin(&owner, &click).await;
    let mut slow = Socket::connect_narrow(&owner.url).await;
    slow.begin(owner.token.as_deref(), &large_query(), json!({ "after": quick.cursor })).await;
    let (set_stop, stop) = watch::channel(false);
    let writing = tokio::spawn({
        let (owner, click) = (owner.clone(), click.clone());
        async move {
            let (mut count, mut longest) = (0, Duration::ZERO);
            while !*stop.borrow() {
                let conversion = record_large(&owner, &click, &format!("begin-{count}")).await;
                let answered = Instant::now();
                quick.read_until(&conversion).await;
                longest = longest.max(answered.elapsed());
                count += 1;
            }
            (count, longest)
        }
    });
    let (mut seen, mut cursor) = (Vec::new(), None);
    let began = Instant::now();
    while began.elapsed() < SLOWLY {
        let (entry, behind) = read(&mut slow.next().await);
        seen.push(entry);
        cursor = Some(behind);
        sleep(Duration::from_secs(1)).await;
    }
    let (before, silent) = (node.peak_memory_kb(), Instant::now());
    // What is said to a connection that was cut is refused.
    while slow.say(Message::Ping(Vec::new().into())).await {
        assert!(silent.elapsed() < Duration::from_secs(60), "who does not read is not let go");
        sleep(Duration::from_millis(500)).await;
    }
    println!("let go after {:?}", silent.elapsed());
    set_stop.send(true).expect("somebody writes");
    let (count, longest) = writing.await.expect("somebody writes");
    println!("{count} sales, seen {longest:?} after the answer at most; {before:?} kB, {:?}", node.peak_memory_kb());
    assert!(longest < LIMIT, "{longest:?}");
    if let (Some(before), Some(most)) = (before, node.peak_memory_kb()) {
        assert!(most < before + ROOM_KB, "{before} kB before, {most} at most");
    }
    let mut again = Watcher::new(Value::Null);
    again.cursor = cursor;
    assert!(again.connect(&owner).await);
    let (_, end) = log::all(&world.auditor).await.pop().expect("a log");
    again.read_until(&end).await;
    seen.append(&mut again.seen);
    log::assert_saw_everything(&world.auditor, &seen).await;
    node.stop().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reader_that_stops_is_let_go_and_goes_on_by_its_cursor_sqlite() {
    read_ever_less(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reader_that_stops_is_let_go_and_goes_on_by_its_cursor_postgres() {
    read_ever_less(Backend::Postgres).await;
}
