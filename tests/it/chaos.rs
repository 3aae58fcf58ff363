//! Faults at random, one after the other, on two nodes with a PostgreSQL and a Redis of their own, for as long as
//! `TRIBUTARY_TEST_CHAOS_SECS` says (`make chaos`), which is short where it says nothing. Nothing is lost or done twice, who
//! watches sees the log, and memory stays as it was.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rand::{RngExt, rngs::StdRng};
use serde_json::json;
use tokio::{sync::watch, time::sleep};

use crate::support::{
    Client, Programme, Terms, Watcher, Watching,
    client::mutation,
    gate::Gate,
    node::Node,
    postgres::Postgres,
    programme::sale,
    seeded,
    world::{Redis, World},
    writer::{self, Writer, Writing},
};

const SHORT: Duration = Duration::from_secs(20);
/// How soon after the end of a fault both nodes serve again.
const SOON: Duration = Duration::from_secs(20);
/// What a node may grow by after its first rounds.
const ROOM_KB: u64 = 96 * 1_024;
const EXCUSES: &[&str] = &["UNAVAILABLE", "OVERLOADED", "TIMEOUT"];
/// Of each node: its spool, and requests that are given up soon.
const SETTINGS: [[(&str, &str); 2]; 2] = [
    [("TRIBUTARY_SPOOL_DIR", "spool-1"), ("TRIBUTARY_REQUEST_TIMEOUT_SECS", "5")],
    [("TRIBUTARY_SPOOL_DIR", "spool-2"), ("TRIBUTARY_REQUEST_TIMEOUT_SECS", "5")],
];

#[derive(Clone, Copy, Debug)]
enum Fault {
    NodeKilled,
    NodeRestarted,
    DatabaseKilled,
    DatabaseFrozen,
    DatabaseCut,
    ConnectionsTerminated,
    RedisKilled,
    RedisFlushed,
    RedisSlow,
    RedisFrozen,
    RedisCut,
}

const FAULTS: [Fault; 11] = [
    Fault::NodeKilled,
    Fault::NodeRestarted,
    Fault::DatabaseKilled,
    Fault::DatabaseFrozen,
    Fault::DatabaseCut,
    Fault::ConnectionsTerminated,
    Fault::RedisKilled,
    Fault::RedisFlushed,
    Fault::RedisSlow,
    Fault::RedisFrozen,
    Fault::RedisCut,
];

/// Two nodes behind gates, and what they stand on.
struct Stage {
    world: World,
    postgres: Postgres,
    redis: Redis,
    to_postgres: Gate,
    to_redis: Gate,
    nodes: Vec<Node>,
    owners: watch::Sender<Vec<Client>>,
    click: String,
}

impl Stage {
    async fn build() -> Self {
        let postgres = Postgres::start().await.expect("PostgreSQL starts");
        let mut redis = Redis::absent().await;
        redis.start().await;
        let (to_postgres, to_redis) = (Gate::before(&postgres.url()).await, Gate::before(&redis.url()).await);
        let urls = (to_postgres.through(&postgres.url()), to_redis.through(&redis.url()));
        let world = World::on(Some(urls.0), Some(urls.1)).await;
        let mut nodes = Vec::new();
        for settings in &SETTINGS {
            nodes.push(Node::start_with(&world.data, settings).await);
        }
        let owners: Vec<Client> = nodes.iter().map(|node| world.owner(node)).collect();
        let programme = Programme::build(&owners[0], &Terms::default()).await;
        let click = programme.click(&owners[0]).await;
        Self { world, postgres, redis, to_postgres, to_redis, nodes, owners: watch::channel(owners).0, click }
    }

    /// Starts a node in the place of one that has ended.
    async fn replace(&mut self, place: usize) {
        let node = Node::start_with(&self.world.data, &SETTINGS[place]).await;
        self.owners.send_modify(|owners| owners[place] = self.world.owner(&node));
        self.nodes.insert(place, node);
    }

    /// Brings a fault about, and ends it.
    async fn suffer(&mut self, fault: Fault, rng: &mut StdRng) {
        let time = Duration::from_millis(rng.random_range(100..4_000));
        match fault {
            Fault::NodeKilled => {
                let place = rng.random_range(0..self.nodes.len());
                self.nodes.remove(place).kill().await;
                sleep(time / 4).await;
                self.replace(place).await;
            }
            Fault::NodeRestarted => {
                let place = rng.random_range(0..self.nodes.len());
                self.nodes.remove(place).stop().await;
                self.replace(place).await;
            }
            Fault::DatabaseKilled => {
                self.postgres.kill().await.expect("PostgreSQL is killed");
                sleep(time / 2).await;
                self.postgres.start_again().await.expect("PostgreSQL starts again");
            }
            Fault::DatabaseFrozen => {
                self.postgres.freeze().await.expect("PostgreSQL is frozen");
                sleep(time).await;
                self.postgres.thaw().await.expect("PostgreSQL goes on");
            }
            Fault::DatabaseCut => {
                self.to_postgres.close();
                sleep(time / 2).await;
                self.to_postgres.open();
            }
            Fault::ConnectionsTerminated => {
                let all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tributary'";
                self.world.auditor.rows(all).await;
            }
            Fault::RedisKilled => {
                self.redis.kill().await;
                sleep(time).await;
                self.redis.start().await;
            }
            Fault::RedisFlushed => self.redis.command(&["FLUSHALL"]).await,
            Fault::RedisSlow => {
                self.to_redis.delay(Duration::from_millis(rng.random_range(50..600)));
                sleep(time).await;
                self.to_redis.open();
            }
            Fault::RedisFrozen => {
                self.to_redis.freeze();
                sleep(time).await;
                self.to_redis.open();
            }
            Fault::RedisCut => {
                self.to_redis.close();
                sleep(time).await;
                self.to_redis.open();
            }
        }
    }

    /// Waits until every node records again.
    async fn until_healed(&self) -> Duration {
        let began = Instant::now();
        let owners = self.owners.borrow().clone();
        for owner in owners {
            loop {
                let input = json!({ "input": sale(&self.click, &format!("begin-{}", uuid::Uuid::new_v4()), "1.00") });
                let answer = owner.try_send(&mutation("recordConversion", "conversion { id }"), input).await;
                if answer.is_ok_and(|(_, body)| body["data"]["result"]["conversion"]["id"].is_string()) {
                    break;
                }
                assert!(began.elapsed() < SOON, "it does not heal");
                sleep(Duration::from_millis(50)).await;
            }
        }
        began.elapsed()
    }

    /// The most memory that each node had, in its order.
    fn memory(&self) -> Vec<(u32, Option<u64>)> {
        self.nodes.iter().map(|node| (node.id(), node.peak_memory_kb())).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_fails_nothing_is_lost_or_done_twice() {
    let mut rng = seeded();
    let length = std::env::var("TRIBUTARY_TEST_CHAOS_SECS")
        .map_or(SHORT, |secs| Duration::from_secs(secs.parse().expect("seconds")));
    let mut stage = Stage::build().await;
    let nodes = stage.owners.subscribe();
    let owner = nodes.borrow()[0].clone();
    let watchers = [Watcher::begin(&owner, &stage.click).await, Watcher::begin(&owner, &stage.click).await];
    let watching = watchers.map(|watcher| Watching::begin(watcher, &nodes));
    let (began, mut books, mut sizes) = (Instant::now(), Vec::<Writer>::new(), stage.memory());
    for round in 1.. {
        let writing = Writing::begin(3, &Writer::new(&stage.click).excusing(EXCUSES), &nodes, &mut rng);
        sleep(Duration::from_millis(rng.random_range(100..500))).await;
        let fault = FAULTS[rng.random_range(0..FAULTS.len())];
        stage.suffer(fault, &mut rng).await;
        let healed = stage.until_healed().await;
        let mut writers = writing.end().await;
        let calls: usize = writers.iter().map(|writer| writer.calls.len()).sum();
        let unanswered: usize = writers.iter().map(Writer::unanswered).sum();
        println!("{round}: {fault:?}, healed after {healed:?}; {calls} calls, {unanswered} unanswered");
        let owner = nodes.borrow()[round % 2].clone();
        join_all(writers.iter_mut().map(|writer| writer.settle(&owner))).await;
        books.append(&mut writers);
        writer::assert_oracle(&stage.world.auditor, &books).await;
        for (process, size) in stage.memory() {
            // Of a node that was there before.
            let before = sizes.iter().find_map(|(known, before)| (*known == process).then_some(*before));
            if let (Some(Some(before)), Some(size)) = (before, size) {
                assert!(size < before + ROOM_KB, "node {process}: {before} kB before, {size} now");
            } else {
                sizes.push((process, size));
            }
        }
        if began.elapsed() >= length {
            break;
        }
    }
    writer::assert_settled(&stage.world.auditor, &books).await;
    for watching in watching {
        watching.assert_saw_everything(&stage.world.auditor).await;
    }
    for node in stage.nodes {
        node.stop().await;
    }
    stage.world.finish().await;
}
