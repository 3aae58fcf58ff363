//! A standby that answers queries: only while it is young enough, never without what its asker wrote, and nothing hangs on it.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::support::{
    Client,
    app::PASSWORD,
    database::{self, Auditor},
    node::Node,
    postgres::Postgres,
    world::World,
};

/// How long a node may take to see how its standby is.
const PATIENCE: Duration = Duration::from_secs(30);
/// How old the standby may be, where it is to become too old.
const SHORT: &str = "5000";
/// And where it is not: longer than all that is done meanwhile.
const LONG: &str = "60000";

const AFFILIATE: &str = "query($id: ID!) { affiliate(id: $id) { name } }";

/// A database, its standby, and a node on both.
struct Stage {
    primary: Postgres,
    standby: Postgres,
    world: World,
    node: Node,
    owner: Client,
    /// On the standby.
    lookout: Auditor,
}

impl Stage {
    async fn build(max_lag_ms: &str) -> Self {
        let primary = Postgres::start().await.expect("a server");
        let world = World::on(Some(primary.url()), None).await;
        let standby = primary.standby().await.expect("a standby");
        let settings = [
            ("TRIBUTARY_DATABASE_REPLICA_URL", &*standby.url()),
            ("TRIBUTARY_DATABASE_REPLICA_MAX_LAG_MS", max_lag_ms),
        ];
        let node = Node::start_with(&world.data, &settings).await;
        let owner = world.owner(&node);
        let lookout = Auditor::postgres(&standby.url()).await;
        let stage = Self { primary, standby, world, node, owner, lookout };
        stage.until("follows").await;
        stage
    }

    /// Waits until the node sees its standby so.
    async fn until(&self, wanted: &str) {
        let seen = async {
            while self.replica().await != wanted {
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, seen).await.unwrap_or_else(|_| panic!("the replica is not seen to be: {wanted}"));
    }

    async fn replica(&self) -> String {
        let ready = reqwest::get(format!("{}/readyz", self.node.url)).await.expect("answers");
        assert_eq!(ready.status(), 200, "a node is ready without its replica");
        let ready: Value = ready.json().await.expect("JSON");
        ready["parts"]["replica"]["state"].as_str().expect("a state").to_owned()
    }

    /// Keeps the standby from going on, and renames the tenant meanwhile as nobody does: no node hears of it.
    async fn rename_unseen(&self, name: &str) {
        let before = self.name().await;
        let seen = async {
            // The node may have written for the tenant just before: the standby has to have that.
            loop {
                sleep(Duration::from_millis(1_000)).await;
                self.lookout.rows("SELECT pg_wal_replay_pause()").await;
                self.rename(name).await;
                if self.name().await == before {
                    return;
                }
                self.rename(&before).await;
                self.resume().await;
            }
        };
        timeout(PATIENCE, seen).await.expect("queries are answered by the standby");
    }

    async fn resume(&self) {
        self.lookout.rows("SELECT pg_wal_replay_resume()").await;
    }

    async fn rename(&self, name: &str) {
        self.world.auditor.run(&format!("UPDATE tenant SET name = '{name}' WHERE slug = 'home'")).await.expect("runs");
    }

    async fn name(&self) -> String {
        name(&self.owner).await
    }

    async fn finish(self) {
        self.lookout.close().await;
        self.node.stop().await;
        self.world.finish().await;
        drop((self.standby, self.primary));
    }
}

async fn name(client: &Client) -> String {
    let answer = client.data("{ tenant { name } }", json!({})).await;
    answer["tenant"]["name"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_are_answered_by_it_while_it_is_young() {
    let stage = Stage::build(SHORT).await;
    stage.rename_unseen("Renamed").await;
    let newest = stage.owner.with_header("cache-control", "max-age=0, no-cache");
    assert_eq!(name(&newest).await, "Renamed", "who wants the newest is told");
    // Nothing comes any more, so it grows too old, and nobody asks it.
    stage.until("behind").await;
    assert_eq!(stage.name().await, "Renamed");
    stage.resume().await;
    stage.until("follows").await;
    stage.rename("Again").await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(stage.name().await, "Again", "it goes on");
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_writes_sees_it_at_once_and_other_tenants_are_not_held_from_it() {
    let stage = Stage::build(LONG).await;
    let tenant = ["--slug", "other", "--name", "Other", "--currency", "EUR"];
    let owner = ["--owner-email", "owner@other.test", "--owner-password", PASSWORD];
    stage.world.data.run(&[&["tenant", "create"][..], &tenant, &owner].concat()).await;
    let token = stage.world.data.run(&["token", "--tenant", "other", "--role", "owner"]).await.trim().to_owned();
    let other = Client::new(&stage.node.url, Some(token));
    stage.rename_unseen("Renamed").await;
    let input = json!({ "name": "Ada", "email": "ada@home.test" });
    let affiliate = stage.owner.done("createAffiliate", input, "affiliate { id }").await;
    let id = &affiliate["affiliate"]["id"];
    let found = stage.owner.data(AFFILIATE, json!({ "id": id })).await;
    assert_eq!(found["affiliate"]["name"], "Ada", "{found}");
    assert_eq!(stage.name().await, "Renamed", "from now on the tenant's queries are the primary's");
    stage.world.auditor.run("UPDATE tenant SET name = 'Otherwise' WHERE slug = 'other'").await.expect("runs");
    assert_eq!(name(&other).await, "Other", "another tenant is answered by the standby");
    let strange = other.data(AFFILIATE, json!({ "id": id })).await;
    assert!(strange["affiliate"].is_null(), "{strange}");
    stage.resume().await;
    // Once the standby has it, the tenant is answered there again.
    stage.rename_unseen("Home again").await;
    // Whoever asks for the end of the log is told the newest, and so is all that is asked after it.
    let after = stage.owner.data("{ conversionCursor events(last: 1) { edges { cursor } } }", json!({})).await;
    assert!(after["conversionCursor"].is_string(), "{after}");
    assert_eq!(stage.name().await, "Home again");
    stage.resume().await;
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_does_without_it_and_takes_it_again() {
    let mut stage = Stage::build(SHORT).await;
    stage.standby.kill().await.expect("killed");
    for _ in 0..20 {
        assert_eq!(stage.name().await, "Home", "nobody is told that it is away");
    }
    stage.until("behind").await;
    stage.standby.start_again().await.expect("starts");
    stage.until("follows").await;
    // Frozen, it holds up nobody for long, not even who asks at that moment.
    stage.standby.freeze().await.expect("frozen");
    for _ in 0..3 {
        let began = Instant::now();
        assert_eq!(stage.name().await, "Home");
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
    stage.until("behind").await;
    stage.standby.thaw().await.expect("thawed");
    stage.until("follows").await;
    // One that is promoted goes its own way.
    stage.lookout.rows("SELECT pg_promote()").await;
    stage.until("behind").await;
    stage.rename("Renamed").await;
    assert_eq!(stage.name().await, "Renamed");
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_starts_without_it_and_takes_no_other_database() {
    let primary = Postgres::start().await.expect("a server");
    let world = World::on(Some(primary.url()), None).await;
    let elsewhere = database::new_postgres().await;
    for url in ["postgres://nobody@127.0.0.1:1/nothing".to_owned(), elsewhere, primary.url()] {
        let node = Node::start_with(&world.data, &[("TRIBUTARY_DATABASE_REPLICA_URL", &*url)]).await;
        sleep(Duration::from_secs(1)).await;
        let ready: Value =
            reqwest::get(format!("{}/readyz", node.url)).await.expect("answers").json().await.expect("JSON");
        assert_eq!(ready["parts"]["replica"]["state"], "behind", "{ready}");
        assert_eq!(name(&world.owner(&node)).await, "Home");
        node.stop().await;
    }
    world.finish().await;
}
