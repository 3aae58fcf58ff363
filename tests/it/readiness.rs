//! What `/readyz` tells: which part is missing, which the node does without, and nothing that is secret.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::support::{
    Backend, Programme, Terms, Visitor,
    node::Node,
    postgres::Postgres,
    visitor::path,
    world::{Redis, World},
};

/// The statuses for all work and for redirects, and what is told of it.
async fn probe(url: &str) -> ([u16; 2], Value) {
    tributary::app::choose_tls();
    let response = reqwest::get(format!("{url}/readyz")).await.expect("an answer");
    let status = response.status().as_u16();
    let body = response.json().await.expect("JSON");
    let redirects = reqwest::get(format!("{url}/readyz/redirects")).await.expect("an answer").status().as_u16();
    ([status, redirects], body)
}

/// Waits until a part is in a state; what was told then.
async fn until(url: &str, part: &str, state: &str) -> ([u16; 2], Value) {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let (statuses, body) = probe(url).await;
        if body["parts"][part]["state"] == state {
            return (statuses, body);
        }
        assert!(Instant::now() < end, "{part} is not {state}: {body}");
        sleep(Duration::from_millis(50)).await;
    }
}

fn states(body: &Value) -> Vec<(&str, &str)> {
    let parts = body["parts"].as_object().expect("parts");
    parts.iter().map(|(name, part)| (name.as_str(), part["state"].as_str().expect("a state"))).collect()
}

async fn well_node_says_so(backend: Backend) {
    let world = World::new(backend).await;
    let node = Node::start(&world.data).await;
    let (statuses, body) = probe(&node.url).await;
    let redis = if backend == Backend::Postgres { "answers" } else { "unused" };
    assert_eq!(statuses, [200, 200]);
    let expected = [
        ("database", "answers"),
        ("migrations", "current"),
        ("node", "working"),
        ("redis", redis),
        ("replica", "unused"),
        ("spool", "empty"),
    ];
    assert_eq!(states(&body), expected);
    assert_eq!((&body["ready"], &body["missing"], &body["degraded"]), (&json!(true), &json!([]), &json!([])));
    // Since it was seen first.
    let (_, again) = probe(&node.url).await;
    assert_eq!(again["parts"]["database"]["since"], body["parts"]["database"]["since"]);
    let text = body.to_string();
    assert!(!text.contains("://") && !text.contains(&*world.data.folder.to_string_lossy()), "{text}");

    // A later release's step harms nobody; one of ours that is not there does.
    let newer = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m29991231_1_next_release', 0)";
    world.auditor.run(newer).await.expect("inserted");
    let (statuses, body) = probe(&node.url).await;
    assert_eq!((statuses, &body["parts"]["migrations"]["state"]), ([200, 200], &json!("newer")), "{body}");
    let ours = "UPDATE seaql_migrations SET version = 'm29991231_2_else' WHERE version LIKE '%tenancy'";
    world.auditor.run(ours).await.expect("forgotten");
    let (statuses, body) = probe(&node.url).await;
    assert_eq!((statuses, &body["missing"]), ([503, 200], &json!(["migrations"])), "{body}");
    assert_eq!(body["parts"]["migrations"]["state"], "behind");
    let back = "UPDATE seaql_migrations SET version = 'm20261120_1_tenancy' WHERE version = 'm29991231_2_else'";
    world.auditor.run(back).await.expect("known again");
    node.stop().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn well_node_says_so_sqlite() {
    well_node_says_so(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn well_node_says_so_postgres() {
    well_node_says_so(Backend::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_does_without_redis() {
    let mut redis = Redis::absent().await;
    let world = World::with_redis(Backend::Sqlite, Some(redis.url())).await;
    let node = Node::start(&world.data).await;
    let (statuses, body) = probe(&node.url).await;
    assert_eq!((statuses, &body["ready"], &body["degraded"]), ([200, 200], &json!(true), &json!(["redis"])), "{body}");
    redis.start().await;
    let (_, well) = until(&node.url, "redis", "answers").await;
    assert_eq!(well["degraded"], json!([]));
    redis.kill().await;
    let (statuses, ill) = until(&node.url, "redis", "away").await;
    assert_eq!(statuses, [200, 200]);
    assert!(ill["parts"]["redis"]["since"].as_str() > well["parts"]["redis"]["since"].as_str(), "{ill}");
    assert_eq!(ill["parts"]["database"]["since"], well["parts"]["database"]["since"]);
    node.stop().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_without_its_database_only_redirects() {
    let mut postgres = Postgres::start().await.expect("PostgreSQL starts");
    let world = World::on(Some(postgres.url()), None).await;
    let node = Node::start(&world.data).await;
    let owner = world.owner(&node);
    let programme = Programme::build(&owner, &Terms::default()).await;
    let path = path(&owner, &programme.link).await;
    let visitor = Visitor::new(&node.url);
    visitor.get(&path).await.click();
    assert_eq!(probe(&node.url).await.0, [200, 200]);

    postgres.kill().await.expect("killed");
    let (statuses, body) = until(&node.url, "database", "away").await;
    assert_eq!((statuses, &body["missing"]), ([503, 200], &json!(["database"])), "{body}");
    assert_eq!((&body["redirects"], &body["parts"]["migrations"]["state"]), (&json!(true), &json!("unknown")));
    // As it says.
    visitor.get(&path).await.click();
    let (statuses, body) = until(&node.url, "spool", "holds clicks").await;
    assert_eq!((statuses, &body["degraded"]), ([503, 200], &json!(["migrations", "spool"])), "{body}");

    postgres.start_again().await.expect("PostgreSQL starts");
    let (_, body) = until(&node.url, "database", "answers").await;
    assert_eq!(body["ready"], true);
    let (statuses, body) = until(&node.url, "spool", "empty").await;
    assert_eq!((statuses, &body["degraded"]), ([200, 200], &json!([])), "{body}");

    // One that takes connections and says nothing is away as well.
    postgres.freeze().await.expect("stopped");
    let began = Instant::now();
    let (statuses, _) = until(&node.url, "database", "away").await;
    assert!(statuses == [503, 200] && began.elapsed() < Duration::from_secs(15), "{statuses:?} {:?}", began.elapsed());
    postgres.thaw().await.expect("goes on");
    until(&node.url, "database", "answers").await;
    node.stop().await;
    world.finish().await;
}
