//! Several nodes on the same data: what one records reaches who watches at another, with Redis, without it, and while it
//! comes and goes.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::json;
use tokio::time::timeout;

use crate::support::{
    Backend, Client, Watcher, log,
    pair::{Pair, read_for},
    programme::{id, sale},
    seeded,
    world::{self, Redis, World},
    writer::{self, Writer},
};

async fn reaches_the_other_node(backend: Backend) {
    let pair = Pair::start(World::new(backend).await).await;
    let mut watchers = pair.watchers().await;
    let began = Instant::now();
    for number in 0..20 {
        let conversion = pair.record(number % 2).await;
        watchers[1 - number % 2].read_until(&conversion).await;
    }
    println!("{backend:?}: {:?} from node to node, each", began.elapsed() / 20);
    pair.assert_see_all(&mut watchers).await;
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conversion_reaches_the_other_node() {
    reaches_the_other_node(Backend::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn second_process_may_share_a_file() {
    reaches_the_other_node(Backend::Sqlite).await;
}

/// Batches remember what is agreed. Whatever is changed at one node, the next conversion at the other one is decided by it,
/// while others keep both busy.
async fn change_counts_for_the_next_conversion_elsewhere(backend: Backend) {
    let mut rng = seeded();
    let pair = Pair::start(World::new(backend).await).await;
    let writing = pair.write(2, &mut rng);
    let sell = async |node: usize, order: String| {
        let selection = "conversion { status reason commissions { amount { amount } } }";
        let input = sale(&pair.click, &order, "100.00");
        pair.owners[node].done("recordConversion", input, selection).await["conversion"].take()
    };
    for turn in 1..=20 {
        let (here, there) = (turn % 2, 1 - turn % 2);
        let terms = json!({ "id": pair.programme.rule, "terms": { "percent": turn.to_string() } });
        pair.owners[here].done("updateCommissionRule", terms, "").await;
        let sold = sell(there, format!("rule-{turn}")).await;
        let amount = &sold["commissions"][0]["amount"]["amount"];
        assert_eq!(*amount, format!("{turn}.00"), "{sold}");
    }
    writing.end().await;
    let affiliate = json!({ "id": pair.programme.affiliate });
    for turn in 1..=6 {
        let (here, there) = (turn % 2, 1 - turn % 2);
        let sold = sell(there, format!("before-{turn}")).await;
        assert_eq!(sold["status"], "APPROVED", "{sold}");
        pair.owners[here].done("suspendAffiliate", affiliate.clone(), "").await;
        let sold = sell(there, format!("suspended-{turn}")).await;
        assert_eq!((&sold["status"], &sold["reason"]), (&json!("REJECTED"), &json!("AFFILIATE_NOT_ACTIVE")), "{sold}");
        pair.owners[here].done("approveAffiliate", affiliate.clone(), "").await;
    }
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn change_counts_for_the_next_conversion_elsewhere_postgres() {
    change_counts_for_the_next_conversion_elsewhere(Backend::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn change_counts_for_the_next_conversion_elsewhere_sqlite() {
    change_counts_for_the_next_conversion_elsewhere(Backend::Sqlite).await;
}

/// A subscriber goes back and forth between the nodes while writers send to both.
async fn alternating_reader_sees_the_log(backend: Backend) {
    let mut rng = seeded();
    let pair = Pair::start(World::new(backend).await).await;
    let mut watcher = Watcher::begin(&pair.owners[0], &pair.click).await;
    let writing = pair.write(3, &mut rng);
    for turn in 0..40 {
        assert!(watcher.connect(&pair.owners[turn % 2]).await);
        for _ in 0..rng.random_range(1..25) {
            assert!(watcher.read().await);
        }
        watcher.disconnect();
    }
    let writers = writing.end().await;
    assert!(watcher.connect(&pair.owners[0]).await);
    pair.assert_see_all(std::slice::from_mut(&mut watcher)).await;
    println!("{} events", watcher.seen.len());
    assert_eq!(writers.iter().map(Writer::unanswered).sum::<usize>(), 0);
    writer::assert_agree(&pair.world.auditor, &pair.owners[1], writers).await;
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alternating_reader_sees_the_log_postgres() {
    alternating_reader_sees_the_log(Backend::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alternating_reader_sees_the_log_sqlite() {
    alternating_reader_sees_the_log(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_node_leaves_its_work_to_the_other() {
    let mut rng = seeded();
    let pair = Pair::start(World::new(Backend::Postgres).await).await;
    let mut watcher = Watcher::begin(&pair.owners[1], &pair.click).await;
    let writing = pair.write(4, &mut rng);
    let Pair { world, nodes: [first, second], owners, click, .. } = pair;
    for _ in 0..rng.random_range(20..80) {
        assert!(watcher.read().await);
    }
    first.kill().await;
    // The other goes on as if nothing had happened.
    for _ in 0..50 {
        assert!(watcher.read().await);
    }
    let writers = writing.end().await;
    assert!(writers.iter().map(Writer::unanswered).sum::<usize>() > 0);
    writer::assert_agree(&world.auditor, &owners[1], writers).await;
    let last = owners[1].done("recordConversion", sale(&click, "begin-last", "1.00"), "conversion { id }").await;
    watcher.read_until(&id(&last, "conversion")).await;
    log::assert_saw_everything(&world.auditor, &watcher.seen).await;
    second.stop().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_comes_and_goes() {
    let mut rng = seeded();
    let mut redis = Redis::absent().await;
    redis.start().await;
    let pair = Pair::start(World::with_redis(Backend::Postgres, Some(redis.url())).await).await;
    let mut watchers = pair.watchers().await;
    redis.wait_for_listeners(2).await;
    let writing = pair.write(2, &mut rng);
    read_for(&mut watchers, Duration::from_millis(500)).await;

    redis.kill().await;
    read_for(&mut watchers, Duration::from_secs(4)).await;
    let without = [pair.record(0).await, pair.record(1).await];
    for (watcher, conversion) in watchers.iter_mut().zip(without.iter().rev()) {
        watcher.read_until(conversion).await;
    }

    redis.start().await;
    redis.wait_for_listeners(2).await;
    let writers = writing.end().await;
    assert_eq!(writers.iter().map(Writer::unanswered).sum::<usize>(), 0, "ingest does not need Redis");
    pair.assert_see_all(&mut watchers).await;
    assert_publishes(&pair, &redis).await;

    let () = redis.command(&["FLUSHALL"]).await;
    for node in [0, 1] {
        let conversion = pair.record(node).await;
        for watcher in &mut watchers {
            watcher.read_until(&conversion).await;
        }
    }
    pair.assert_see_all(&mut watchers).await;
    pair.stop().await;
}

/// An address `rediss://` is connected to by TLS, with the certificates that the system trusts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_may_speak_tls() {
    let mut redis = Redis::absent_with_tls().await;
    redis.start().await;
    let world = World::with_redis(Backend::Postgres, Some(redis.url())).await;
    let pair = Pair::start_with(world, &[("SSL_CERT_FILE", world::CERTIFICATE)]).await;
    let mut watchers = pair.watchers().await;
    redis.wait_for_listeners(2).await;
    assert_publishes(&pair, &redis).await;
    pair.assert_see_all(&mut watchers).await;
    pair.stop().await;
}

/// Connects behind what was seen, to either node, reads a little, and hangs up.
async fn come_and_go(watcher: &mut Watcher, owners: &[Client; 2], times: usize, rng: &mut StdRng) {
    for _ in 0..times {
        assert!(watcher.connect(&owners[rng.random_range(0..2)]).await, "both nodes are up");
        for _ in 0..rng.random_range(0..20) {
            watcher.read_within(Duration::from_millis(rng.random_range(1..100))).await;
        }
        watcher.disconnect();
    }
}

/// A thousand reconnects of four subscribers, with Redis away for a minute among them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousand_reconnects_over_two_nodes_and_an_outage_lose_nothing() {
    const OUTAGE: Duration = Duration::from_secs(60);
    let mut rng = seeded();
    let mut redis = Redis::absent().await;
    redis.start().await;
    let pair = Pair::start(World::with_redis(Backend::Postgres, Some(redis.url())).await).await;
    let mut watchers = [pair.watchers().await, pair.watchers().await].into_iter().flatten().collect::<Vec<_>>();
    let writing = pair.write(1, &mut rng);
    let mut all_reconnect = async |times: usize| {
        let goings = watchers.iter_mut().map(|watcher| {
            let (owners, mut rng) = (&pair.owners, StdRng::seed_from_u64(rng.random()));
            async move { come_and_go(watcher, owners, times, &mut rng).await }
        });
        futures_util::future::join_all(goings).await;
    };

    all_reconnect(75).await;
    redis.kill().await;
    let began = Instant::now();
    all_reconnect(50).await;
    while began.elapsed() < OUTAGE {
        all_reconnect(5).await;
    }
    redis.start().await;
    all_reconnect(125).await;

    let writers = writing.end().await;
    assert_eq!(writers.iter().map(Writer::unanswered).sum::<usize>(), 0, "ingest does not need Redis");
    for watcher in &mut watchers {
        assert!(watcher.connect(&pair.owners[0]).await);
    }
    pair.assert_see_all(&mut watchers).await;
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_start_and_work_without_redis() {
    let mut redis = Redis::absent().await;
    let pair = Pair::start(World::with_redis(Backend::Postgres, Some(redis.url())).await).await;
    let mut watchers = pair.watchers().await;
    for node in [0, 1, 0] {
        let conversion = pair.record(node).await;
        for watcher in &mut watchers {
            watcher.read_until(&conversion).await;
        }
    }
    // And use it when it comes.
    redis.start().await;
    redis.wait_for_listeners(2).await;
    assert_publishes(&pair, &redis).await;
    pair.assert_see_all(&mut watchers).await;
    pair.stop().await;
}

/// Waits until what each node records is heard through Redis.
async fn assert_publishes(pair: &Pair, redis: &Redis) {
    let mut heard = redis.eavesdrop().await;
    let mut messages = heard.on_message();
    for node in [0, 1] {
        let patience = Instant::now() + Duration::from_secs(30);
        'recorded: loop {
            assert!(Instant::now() < patience, "node {node} does not publish");
            let conversion = pair.record(node).await;
            // What was held back while Redis was away may come first, and its own first try may be lost.
            while let Ok(Some(message)) = timeout(Duration::from_millis(500), messages.next()).await {
                let text: String = message.get_payload().expect("text");
                if text.contains(&conversion) {
                    break 'recorded;
                }
            }
        }
    }
}
