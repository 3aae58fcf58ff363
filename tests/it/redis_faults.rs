//! A Redis that is slow, or has vanished without a word: whoever writes does not wait for it, and whoever watches another
//! node goes on from the log.

use std::time::Duration;

use crate::support::{
    Backend,
    gate::Gate,
    pair::{Pair, read_for},
    seeded,
    world::{Redis, World},
    writer::Writer,
};

/// How long an acknowledgement may take, and how late an event may be.
const LIMIT: Duration = Duration::from_secs(2);

async fn redis_fails(fail: impl Fn(&Gate)) {
    let mut rng = seeded();
    let mut redis = Redis::absent().await;
    redis.start().await;
    let gate = Gate::before(&redis.url()).await;
    let world = World::with_redis(Backend::Postgres, Some(gate.through(&redis.url()))).await;
    let pair = Pair::start(world).await;
    let mut watchers = pair.watchers().await;
    redis.wait_for_listeners(2).await;
    fail(&gate);
    for number in 0..10 {
        let (answered, seen) = pair.time(number % 2, &mut watchers).await;
        println!("answered after {answered:?}, seen {seen:?} later");
        assert!(answered < LIMIT && seen < LIMIT, "answered after {answered:?}, seen {seen:?} later");
    }
    let writing = pair.write(2, &mut rng);
    read_for(&mut watchers, Duration::from_secs(3)).await;
    gate.open();
    read_for(&mut watchers, Duration::from_millis(500)).await;
    redis.wait_for_listeners(2).await;
    let writers = writing.end().await;
    let slowest = writers.iter().map(|writer| writer.slowest).max();
    assert!(slowest.is_some_and(|slowest| slowest < LIMIT), "{slowest:?}");
    assert_eq!(writers.iter().map(Writer::unanswered).sum::<usize>(), 0, "ingest does not need Redis");
    pair.assert_see_all(&mut watchers).await;
    pair.stop().await;
}

/// Slower than it is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_redis_holds_up_nobody() {
    redis_fails(|gate| gate.delay(Duration::from_millis(400))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_redis_holds_up_nobody() {
    redis_fails(Gate::freeze).await;
}
