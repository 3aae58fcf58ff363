//! A database that dies, hangs, fills up or is held open by somebody else, under load: whoever writes is told to come back,
//! nothing is lost or done twice, and it heals by itself.

use std::time::{Duration, Instant};

use rand::RngExt;
use sea_orm::ConnectionTrait;
use serde_json::json;
use tokio::{sync::watch, time::sleep};

use crate::support::{
    Backend, Client, Programme, Terms, Watcher, Watching,
    client::mutation,
    log,
    node::Node,
    pair::Pair,
    postgres::Postgres,
    programme::sale,
    seeded,
    world::World,
    writer::{self, Writer, Writing},
};

/// On a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);
/// How soon after a fault somebody is served again.
const SOON: Duration = Duration::from_secs(10);

/// The code of the error that a sale is answered with; none when it is recorded.
async fn refusal(client: &Client, click: &str) -> Option<String> {
    let order = format!("begin-{}", uuid::Uuid::new_v4());
    let input = json!({ "input": sale(click, &order, "1.00") });
    let (_, body) = client.send(&mutation("recordConversion", "conversion { id }"), input).await;
    let code = body["errors"][0]["extensions"]["code"].as_str();
    assert!(code.is_some() || body["data"]["result"]["conversion"]["id"].is_string(), "{body}");
    code.map(str::to_owned)
}

/// Waits until sales are recorded again; how long.
async fn until_recorded(client: &Client, click: &str, excuses: &[&str]) -> Duration {
    let began = Instant::now();
    while let Some(code) = refusal(client, click).await {
        assert!(excuses.contains(&code.as_str()), "{code}");
        assert!(began.elapsed() < PATIENCE, "it does not heal");
        sleep(Duration::from_millis(50)).await;
    }
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_is_killed_under_load_and_started_again() {
    const KILLS: usize = 3;
    let mut rng = seeded();
    let mut postgres = Postgres::start().await.expect("PostgreSQL starts");
    let world = World::on(Some(postgres.url()), None).await;
    let node = Node::start(&world.data).await;
    let owner = world.owner(&node);
    let programme = Programme::build(&owner, &Terms::default()).await;
    let click = programme.click(&owner).await;
    let watcher = Watcher::begin(&owner, &click).await;
    let (_, nodes) = watch::channel(vec![owner.clone()]);
    let watching = Watching::begin(watcher, &nodes);
    let writing = Writing::begin(4, &Writer::new(&click), &nodes, &mut rng);
    for _ in 0..KILLS {
        sleep(Duration::from_millis(rng.random_range(200..1_000))).await;
        postgres.kill().await.expect("PostgreSQL is killed");
        sleep(Duration::from_millis(rng.random_range(0..1_500))).await;
        postgres.start_again().await.expect("PostgreSQL starts again");
        let healed = until_recorded(&owner, &click, &["UNAVAILABLE"]).await;
        println!("healed after {healed:?}");
        assert!(healed < SOON, "{healed:?}");
    }
    writer::assert_agree(&world.auditor, &owner, writing.end().await).await;
    watching.assert_saw_everything(&world.auditor).await;
    node.stop().await;
    world.finish().await;
}

/// Nobody answers, and no connection breaks: callers are sent away in time, what waits is bounded, and when PostgreSQL
/// goes on, so does the node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_is_frozen_under_load_and_goes_on() {
    const FROZEN: Duration = Duration::from_secs(30);
    const EXCUSES: &[&str] = &["UNAVAILABLE", "OVERLOADED", "TIMEOUT"];
    const ROOM_KB: u64 = 64 * 1_024;
    let mut rng = seeded();
    let postgres = Postgres::start().await.expect("PostgreSQL starts");
    let world = World::on(Some(postgres.url()), None).await;
    let node = Node::start(&world.data).await;
    let owner = world.owner(&node);
    let programme = Programme::build(&owner, &Terms::default()).await;
    let click = programme.click(&owner).await;
    node.stop().await;
    let hasty = [("TRIBUTARY_INGEST_QUEUE_ITEMS", "1000"), ("TRIBUTARY_REQUEST_TIMEOUT_SECS", "2")];
    let node = Node::start_with(&world.data, &hasty).await;
    let owner = world.owner(&node);
    let mut watcher = Watcher::begin(&owner, &click).await;
    let (_, nodes) = watch::channel(vec![owner.clone()]);
    let writing = Writing::begin(48, &Writer::new(&click).excusing(EXCUSES), &nodes, &mut rng);
    for _ in 0..300 {
        assert!(watcher.read().await);
    }
    let before = node.peak_memory_kb();
    postgres.freeze().await.expect("PostgreSQL is frozen");
    let frozen = Instant::now();
    let mut codes = std::collections::BTreeSet::new();
    while frozen.elapsed() < FROZEN {
        let asked = Instant::now();
        codes.extend(refusal(&owner, &click).await);
        // Two seconds to execute it, or five until nobody knows who asks; and what the machine takes besides.
        assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
        sleep(Duration::from_millis(100)).await;
    }
    postgres.thaw().await.expect("PostgreSQL goes on");
    let healed = until_recorded(&owner, &click, EXCUSES).await;
    println!("told {codes:?}; healed after {healed:?}; {before:?} kB before, {:?} at most", node.peak_memory_kb());
    assert!(healed < SOON, "{healed:?}");
    assert!(!codes.is_empty() && codes.iter().all(|code| EXCUSES.contains(&code.as_str())), "{codes:?}");
    if let (Some(before), Some(most)) = (before, node.peak_memory_kb()) {
        assert!(most < before + ROOM_KB, "{before} kB before, {most} at most");
    }
    let writers = writing.end().await;
    // What a lane still has is recorded before it ends; the next node does not send away so soon.
    node.stop().await;
    let node = Node::start(&world.data).await;
    let owner = world.owner(&node);
    writer::assert_agree(&world.auditor, &owner, writers).await;
    assert!(watcher.connect(&owner).await);
    let (_, end) = log::all(&world.auditor).await.pop().expect("a log");
    watcher.read_until(&end).await;
    log::assert_saw_everything(&world.auditor, &watcher.seen).await;
    node.stop().await;
    world.finish().await;
}

/// A transaction that has written and lies open, of another tenant and another program, holds up nobody's events.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transaction_that_lies_open_elsewhere_delays_no_events() {
    const SECOND: Duration = Duration::from_secs(1);
    let pair = Pair::start(World::new(Backend::Postgres).await).await;
    let away = ["--slug", "away", "--name", "Away", "--owner-email", "owner@away.test"];
    let password = ["--owner-password", crate::support::app::PASSWORD];
    pair.world.data.run(&[&["tenant", "create"][..], &away, &password].concat()).await;
    let mut watchers = pair.watchers().await;
    let open = pair.world.auditor.begin().await;
    let write = "UPDATE tenant SET name = 'Elsewhere' WHERE slug = 'away'";
    open.execute_unprepared(write).await.expect("written");
    for number in 0..20 {
        let (answered, seen) = pair.time(number % 2, &mut watchers).await;
        assert!(answered < SECOND && seen < SECOND, "answered after {answered:?}, seen {seen:?} later");
    }
    open.rollback().await.expect("ends");
    pair.assert_see_all(&mut watchers).await;
    pair.stop().await;
}

/// No file grows any more: callers are told to come back, and when there is room again, all goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disk_of_sqlite_is_full_and_has_room_again() {
    const ROOM: u64 = 1 << 19;
    let mut rng = seeded();
    let world = World::new(Backend::Sqlite).await;
    let node = Node::start_limitable(&world.data).await;
    let owner = world.owner(&node);
    let programme = Programme::build(&owner, &Terms::default()).await;
    let click = programme.click(&owner).await;
    let mut watcher = Watcher::begin(&owner, &click).await;
    let (_, nodes) = watch::channel(vec![owner.clone()]);
    let writing = Writing::begin(2, &Writer::new(&click), &nodes, &mut rng);
    for _ in 0..2 {
        for _ in 0..30 {
            assert!(watcher.read().await);
        }
        // Less than the database has already.
        node.limit_files(Some(ROOM)).await;
        let full = Instant::now();
        while refusal(&owner, &click).await.as_deref() != Some("UNAVAILABLE") {
            assert!(full.elapsed() < PATIENCE, "it is never full");
        }
        // Reading goes on.
        owner.data("{ campaigns(first: 1) { nodes { id } } }", json!({})).await;
        sleep(Duration::from_millis(500)).await;
        node.limit_files(None).await;
        let healed = until_recorded(&owner, &click, &["UNAVAILABLE"]).await;
        assert!(healed < SOON, "{healed:?}");
    }
    let writers = writing.end().await;
    assert!(writers.iter().map(Writer::unanswered).sum::<usize>() > 0);
    writer::assert_agree(&world.auditor, &owner, writers).await;
    let (_, end) = log::all(&world.auditor).await.pop().expect("a log");
    watcher.read_until(&end).await;
    log::assert_saw_everything(&world.auditor, &watcher.seen).await;
    node.stop().await;
    world.finish().await;
}
