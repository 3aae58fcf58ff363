//! Nodes that share a Redis Cluster: what one records reaches who watches at the other by sharded channels, while primaries
//! are killed and slots move.

use std::time::Duration;

use tributary::{
    limits::{
        Limit, RateLimits,
        budget::{Budgets, Rate, redis::RedisBudgets},
        redis::RedisLimits,
    },
    redis_client::RedisClient,
    services::documents::{DocumentHash, Documents},
};
use tributary_entity::ids::TenantId;

use crate::support::{
    Backend, Watcher,
    cluster::Cluster,
    pair::{Pair, read_for},
    seeded,
    world::World,
    writer::Writer,
};

/// How long an acknowledgement may take, and how late an event may be.
const LIMIT: Duration = Duration::from_secs(2);

async fn start(cluster: &Cluster) -> (Pair, String) {
    let pair = Pair::start(World::with_redis(Backend::Postgres, Some(cluster.url())).await).await;
    let tenant = pair.world.auditor.rows("SELECT tenant_id FROM tenant").await[0].try_get_by_index::<uuid::Uuid>(0);
    let channel = format!("tributary:events:{}", TenantId::from_uuid(tenant.expect("an id")));
    (pair, channel)
}

/// By the cluster, not by a look into the log from time to time.
async fn reaches_at_once(pair: &Pair, watchers: &mut [Watcher; 2]) {
    let mut took = Vec::new();
    for number in 0..10 {
        took.push(pair.time(number % 2, watchers).await.1);
    }
    took.sort();
    println!("{took:?} from node to node");
    assert!(took[took.len() / 2] < Duration::from_millis(250), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_go_by_the_shard_of_their_tenant() {
    let cluster = Cluster::start().await;
    let (pair, channel) = start(&cluster).await;
    let mut watchers = pair.watchers().await;
    cluster.wait_for_listeners(&channel, 2).await;
    reaches_at_once(&pair, &mut watchers).await;
    // The slot moves away under the subscriptions.
    cluster.move_slot(&channel).await;
    cluster.wait_for_listeners(&channel, 2).await;
    reaches_at_once(&pair, &mut watchers).await;
    pair.assert_see_all(&mut watchers).await;
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_primary_holds_up_nobody() {
    let mut rng = seeded();
    let mut cluster = Cluster::start().await;
    let (pair, channel) = start(&cluster).await;
    let mut watchers = pair.watchers().await;
    cluster.wait_for_listeners(&channel, 2).await;
    cluster.kill(cluster.home_of(&channel).await).await;
    for number in 0..10 {
        let (answered, seen) = pair.time(number % 2, &mut watchers).await;
        println!("answered after {answered:?}, seen {seen:?} later");
        assert!(answered < LIMIT && seen < LIMIT, "answered after {answered:?}, seen {seen:?} later");
    }
    let writing = pair.write(2, &mut rng);
    read_for(&mut watchers, Duration::from_secs(1)).await;
    cluster.until_whole().await;
    cluster.wait_for_listeners(&channel, 2).await;
    read_for(&mut watchers, Duration::from_millis(500)).await;
    let writers = writing.end().await;
    let slowest = writers.iter().map(|writer| writer.slowest).max();
    assert!(slowest.is_some_and(|slowest| slowest < LIMIT), "{slowest:?}");
    assert_eq!(writers.iter().map(Writer::unanswered).sum::<usize>(), 0, "ingest does not need Redis");
    reaches_at_once(&pair, &mut watchers).await;
    pair.assert_see_all(&mut watchers).await;
    pair.stop().await;
}

/// Counters, buckets and documents, each by its key on some primary.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_count_together_whichever_primary_has_the_key() {
    let cluster = Cluster::start().await;
    let url = cluster.url();
    let limits = [RedisLimits::new(&url).expect("an address"), RedisLimits::new(&url).expect("an address")];
    let budgets = [RedisBudgets::new(&url).expect("an address"), RedisBudgets::new(&url).expect("an address")];
    let node = || Documents::new(Some(RedisClient::new(&url).expect("an address")), None);
    let documents = [node(), node()];
    // Whoever cannot ask yet counts alone.
    for limits in &limits {
        limits.hit("first", Limit { count: 9, window: Duration::from_secs(600) }).await.expect("few");
    }
    let limit = Limit { count: 3, window: Duration::from_secs(600) };
    let rate = Rate { per_second: 1, burst: 100 };
    for number in 0..20 {
        let key = format!("key-{number}");
        for count in 0..6 {
            assert_eq!(limits[count % 2].hit(&key, limit).await.is_ok(), count < 3, "{key}, {count}");
        }
        budgets[0].take(&key, rate, 60).await.expect("there are a hundred");
        budgets[1].take(&key, rate, 60).await.expect_err("some of them are gone");
        let text = format!("{{ field{number} }}");
        let hash = DocumentHash::of(&text);
        documents[0].keep(None, hash.clone(), &text).await;
        assert_eq!(documents[1].find(None, &hash).await.as_deref(), Some(&*text));
    }
    assert!(RedisClient::new(&url).expect("an address").answers().await);
}
