//! The node dies at a step of ingest, named and counted, and whoever was not answered tries again: the end is as if nothing
//! had happened.

use chrono::{DurationRound, TimeDelta};
use serde_json::{Value, json};
use tributary::ambient::{Clock, SystemClock};

use crate::support::{
    Backend, Client, Programme, Terms,
    client::mutation,
    node::Node,
    programme::{merge, sale},
    world::World,
};

/// The steps of a batch, in order.
const STEPS: [&str; 4] =
    ["ingest.before_insert", "ingest.before_commit", "ingest.after_commit", "ingest.before_answer"];
/// How often a step is reached before the node dies there: at a sale of its own, and at the batch.
const NUMBERS: [u32; 2] = [7, 12];

/// A node that may die once, and somebody who has something to tell it, whatever it takes.
struct Stubborn {
    world: World,
    node: Node,
    owner: Client,
    deaths: u32,
}

impl Stubborn {
    async fn tell(&mut self, name: &str, input: Value, selection: &str) -> Value {
        let document = mutation(name, selection);
        loop {
            match self.owner.try_send(&document, json!({ "input": input })).await {
                Ok((_, mut body)) => {
                    assert!(body.get("errors").is_none(), "{name}: {body}");
                    return body["data"]["result"].take();
                }
                Err(_) => {
                    self.node.ended().await;
                    self.deaths += 1;
                    self.node = Node::start(&self.world.data).await;
                    self.owner = self.world.owner(&self.node);
                }
            }
        }
    }
}

/// What there is in the end, by names that every run gives alike.
async fn end_state(world: &World) -> Vec<String> {
    let mut state = Vec::new();
    for sql in [
        "SELECT order_id || ' ' || status || ' ' || COALESCE(reason, '') FROM conversion ORDER BY 1",
        "SELECT kind FROM event ORDER BY seq",
        "SELECT kind FROM journal ORDER BY kind",
        "SELECT CAST(account.code AS text) || ' ' || CAST(balance.amount_minor AS text) FROM balance \
         JOIN account ON account.tenant_id = balance.tenant_id AND account.id = balance.account_id ORDER BY 1",
        "SELECT currency || ' ' || CAST(SUM(clicks_gross) AS text) || ' ' || CAST(SUM(conversions) AS text) || ' ' || \
         CAST(SUM(sale_minor) AS text) || ' ' || CAST(SUM(commission_minor) AS text) FROM rollup_hourly \
         GROUP BY currency, bucket_at ORDER BY 1",
        "SELECT CAST(COUNT(*) AS text) FROM click",
    ] {
        for row in world.auditor.rows(sql).await {
            let text: String = row.try_get_by_index(0).expect("text");
            state.push(text);
        }
    }
    state
}

/// Runs the programme on a node that dies where it is told; what there is in the end.
async fn run(backend: Backend, dies_at: Option<(&str, u32)>) -> Vec<String> {
    let world = World::new(backend).await;
    let node = Node::start(&world.data).await;
    let owner = world.owner(&node);
    // Nothing is released while this runs.
    let programme = Programme::build(&owner, &Terms { hold_seconds: 30 * 86_400, ..Terms::default() }).await;
    node.stop().await;
    let fault = dies_at.map_or_else(String::new, |(step, number)| format!("{step}:{number}"));
    let node = Node::start_with(&world.data, &[("TRIBUTARY_TEST_FAIL", &fault)]).await;
    let owner = world.owner(&node);
    let mut client = Stubborn { world, node, owner, deaths: 0 };

    let yesterday = (SystemClock.now() - TimeDelta::days(1)).duration_trunc(TimeDelta::hours(1)).expect("an hour");
    let mut click = String::new();
    for number in 0..5 {
        let mut input = json!({ "linkId": programme.link, "idempotencyKey": format!("click-{number}") });
        merge(&mut input, json!({ "occurredAt": yesterday }));
        let payload = client.tell("recordClick", input, "click { id }").await;
        click = crate::support::programme::id(&payload, "click");
    }
    let later = |order: &str, amount: &str| {
        let mut input = sale(&click, order, amount);
        merge(&mut input, json!({ "occurredAt": yesterday + TimeDelta::minutes(1) }));
        input
    };
    for number in 0..5 {
        let order = format!("single-{number}");
        let payload = client.tell("recordConversion", later(&order, "7.00"), "conversion { orderId }").await;
        assert_eq!(payload["conversion"]["orderId"], order.as_str(), "{payload}");
    }
    let mut again = later("single-0", "7.00");
    merge(&mut again, json!({ "idempotencyKey": "another" }));
    client.tell("recordConversion", again, "conversion { status }").await;
    let items: Vec<Value> = (0..20).map(|number| later(&format!("batch-{number:02}"), "3.00")).collect();
    let payload = client.tell("recordConversions", json!({ "items": items }), "items { conversion { id } }").await;
    assert_eq!(payload["items"].as_array().map(Vec::len), Some(20));
    client.tell("recordConversion", later("last", "9.00"), "conversion { id }").await;

    assert_eq!(client.deaths, u32::from(dies_at.is_some()), "{dies_at:?}");
    let state = end_state(&client.world).await;
    client.node.stop().await;
    client.world.finish().await;
    state
}

async fn dies_anywhere(backend: Backend) {
    let expected = run(backend, None).await;
    assert!(expected.len() > 60, "{expected:?}");
    for step in STEPS {
        for number in NUMBERS {
            assert_eq!(run(backend, Some((step, number))).await, expected, "{step}:{number}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_that_dies_at_any_step_of_ingest_changes_nothing_sqlite() {
    dies_anywhere(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_that_dies_at_any_step_of_ingest_changes_nothing_postgres() {
    dies_anywhere(Backend::Postgres).await;
}
