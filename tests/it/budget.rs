//! What requests cost, and what becomes of callers who spend too much.

use serde_json::{Value, json};
use tributary::config::Settings;
use tributary_entity::kinds::Role;

use crate::support::{Backend, Client, Programme, Terms, TestApp, app, on_both, programme::sale};

/// As many objects as asked for, each one point.
const PAGE: &str = "query($n: Int!) { campaigns(first: $n) { nodes { id } } }";

/// The `cost` that an answer tells.
async fn told(client: &Client, query: &str, variables: Value) -> Value {
    let (status, mut body) =
        client.ask(&json!({ "query": query, "variables": variables, "extensions": { "cost": true } })).await;
    assert!(status == 200 && body.get("errors").is_none(), "{body}");
    body["extensions"]["cost"].take()
}

on_both! {
    async fn answer_tells_what_it_cost_when_asked(app) {
        let owner = app.owner();
        Programme::build(&owner, &Terms::default()).await;
        let cost = told(&owner, PAGE, json!({ "n": 50 })).await;
        assert_eq!((&cost["requested"], &cost["actual"]), (&json!(51), &json!(2)));
        for budget in ["caller", "tenant"] {
            let budget = &cost[budget];
            assert_eq!((&budget["limit"], &budget["perSecond"]), (&json!(5_000_000), &json!(500_000)), "{cost}");
            assert!(budget["remaining"].as_i64().is_some_and(|left| left > 4_900_000 && left <= 5_000_000), "{cost}");
        }
        let (_, body) = owner.send(PAGE, json!({ "n": 1 })).await;
        assert!(body.get("extensions").is_none(), "not unless asked: {body}");
        let cost = told(&app.anonymous(), "{ __typename }", json!({})).await;
        assert!(cost["caller"].is_object() && cost.get("tenant").is_none(), "{cost}");
    }

    async fn mutations_and_batches_cost_their_work(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        let one = "mutation($i: RecordConversionInput!) { recordConversion(input: $i) { conversion { id } userErrors { code } } }";
        let cost = told(&owner, one, json!({ "i": sale(&click, "o-1", "1.00") })).await;
        assert_eq!((&cost["requested"], &cost["actual"]), (&json!(13), &json!(12)));
        let many = "mutation($i: RecordConversionsInput!) { recordConversions(input: $i) { items { conversion { id } } } }";
        let items: Vec<Value> = (0..20).map(|number| sale(&click, &format!("b-{number}"), "1.00")).collect();
        let cost = told(&owner, many, json!({ "i": { "items": items } })).await;
        assert_eq!((&cost["requested"], &cost["actual"]), (&json!(10 + 20 + 1 + 40), &json!(10 + 20 + 1 + 40)));
    }

    async fn request_that_costs_too_much_is_refused(app) {
        let nested = "{ campaigns(first: 100) { nodes { enrollments(first: 100) { nodes { affiliate { \
                      enrollments(first: 100) { nodes { id } } } } } } } }";
        let (status, body) = app.owner().send(nested, json!({})).await;
        let told = &body["errors"][0]["extensions"];
        assert_eq!((status, &told["code"], &told["allowed"]), (200, &json!("COST_EXCEEDED"), &json!(50_000)));
        assert!(told["requested"].as_u64().is_some_and(|requested| requested > 1_000_000), "{told}");
    }
}

/// Small budgets: a burst is the largest request, a second brings in little of it.
fn small(settings: &mut Settings) {
    settings.largest_cost = 1_000;
    settings.user_points_per_second = 10;
    settings.tenant_points_per_second = 15;
    settings.anonymous_points_per_second = 10;
    settings.budget_burst_secs = 1;
}

/// Runs a body with small budgets on both backends.
macro_rules! on_small_budgets {
    ($($name:ident)*) => {$(
        mod $name {
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                app::run_with(Backend::Sqlite, small, super::bodies::$name).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                app::run_with(Backend::Postgres, small, super::bodies::$name).await;
            }
        }
    )*};
}

on_small_budgets! {
    budget_that_is_spent_refuses
    budgets_are_apart
    what_is_not_used_is_given_back
}

mod bodies {
    use super::*;

    /// Costs so many points, whatever is there: introspections are 1,000.
    const DEAR: &str = "{ __schema { queryType { name } } }";

    pub async fn budget_that_is_spent_refuses(app: &TestApp) {
        let viewer = app.role(Role::Analyst);
        // Nothing of it is given back: a batch of refused items costs its items.
        let batch = |size: usize| json!({ "input": { "items": vec![json!({ "clickId": "clk_00000000000000000000000001", "goal": "sale" }); size] } });
        let record =
            "mutation($input: RecordConversionsInput!) { recordConversions(input: $input) { userErrors { code } } }";
        let recorder = app.owner();
        let (_, first) = recorder.send(record, batch(950)).await;
        assert!(first.get("errors").is_none(), "{first}");
        let (status, refused) = recorder.send(record, batch(950)).await;
        let told = &refused["errors"][0]["extensions"];
        assert_eq!((status, &told["code"]), (429, &json!("RATE_LIMITED")), "{refused}");
        let wait = told["retryAfterMs"].as_u64().expect("a hint");
        assert!(wait > 1_000 && wait < 200_000, "{wait}");
        // All of a tenant's operators are one caller; the tenant's budget would have had no more either.
        assert_eq!(viewer.error_code(DEAR, json!({})).await, "RATE_LIMITED");
    }

    pub async fn budgets_are_apart(app: &TestApp) {
        let record = "mutation($input: RecordClicksInput!) { recordClicks(input: $input) { userErrors { code } } }";
        let items = vec![json!({ "linkId": "lnk_00000000000000000000000001" }); 950];
        let spend = json!({ "input": { "items": items } });
        let (_, body) = app.owner().send(record, spend.clone()).await;
        assert!(body.get("errors").is_none(), "{body}");
        assert_eq!(app.owner().error_code(record, spend.clone()).await, "RATE_LIMITED");
        let (_, body) = app.stranger().send(record, spend.clone()).await;
        assert!(body.get("errors").is_none(), "another tenant's is its own: {body}");
        let (_, body) = app.anonymous().send("{ __typename }", json!({})).await;
        assert!(body.get("errors").is_none(), "who has no credential spends from the address's: {body}");
    }

    pub async fn what_is_not_used_is_given_back(app: &TestApp) {
        let owner = app.owner();
        for _ in 0..50 {
            owner.data(PAGE, json!({ "n": 100 })).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn budgets_without_limit_are_not_told() {
    let none = |settings: &mut Settings| {
        (settings.user_points_per_second, settings.tenant_points_per_second) = (0, 0);
    };
    app::run_with(Backend::Sqlite, none, async |app| {
        let cost = told(&app.owner(), PAGE, json!({ "n": 10 })).await;
        assert_eq!(cost, json!({ "requested": 11, "actual": 1 }));
    })
    .await;
}

/// Points of two nodes come from one bucket, and without Redis each node goes on by itself.
mod shared {
    use std::time::Duration;

    use tributary::limits::budget::{Budgets, Rate, redis::RedisBudgets};

    use crate::support::database::new_redis;

    const RATE: Rate = Rate { per_second: 1_000, burst: 10_000 };

    /// How often a bucket gives a point, asked by nodes in turn until all refuse.
    async fn drain(nodes: &[RedisBudgets], rate: Rate, points: u64) -> u64 {
        let mut taken = 0;
        loop {
            let mut refused = 0;
            for node in nodes {
                match node.take("a", rate, points).await {
                    Ok(_) => taken += points,
                    Err(retry_after) => {
                        assert!(retry_after > Duration::ZERO);
                        refused += 1;
                    }
                }
            }
            if refused == nodes.len() {
                return taken;
            }
        }
    }

    #[tokio::test]
    async fn nodes_spend_from_one_bucket() {
        let url = new_redis().await;
        let nodes = [RedisBudgets::new(&url).expect("an address"), RedisBudgets::new(&url).expect("an address")];
        let began = std::time::Instant::now();
        let taken = drain(&nodes, RATE, 10).await;
        let most = RATE.burst + RATE.per_second * (began.elapsed().as_secs() + 1);
        assert!(taken >= RATE.burst - 20 && taken <= most, "{taken} of {most}");
        assert!(nodes[0].take("b", RATE, 10_000).await.is_ok(), "another key's is full");
    }

    #[tokio::test]
    async fn what_is_given_back_stays_bounded() {
        let url = new_redis().await;
        let node = RedisBudgets::new(&url).expect("an address");
        node.take("a", RATE, 10_000).await.expect("full");
        for _ in 0..100 {
            node.settle("a", RATE, 5_000);
        }
        assert!(node.take("a", RATE, 10_000).await.is_ok());
        assert!(node.take("a", RATE, 5_000).await.is_err(), "no more than a burst");
        node.settle("a", RATE, -5_000);
        let wait = node.take("a", RATE, 10).await.expect_err("in debt");
        assert!(wait > Duration::from_secs(3), "{wait:?}");
    }

    #[tokio::test]
    async fn without_redis_a_node_goes_on_by_itself() {
        // Nobody listens there.
        let node = RedisBudgets::new("redis://127.0.0.1:1").expect("an address");
        let began = std::time::Instant::now();
        let slow = Rate { per_second: 1, burst: 100 };
        assert_eq!(drain(std::slice::from_ref(&node), slow, 10).await / 10, 10);
        assert!(began.elapsed() < Duration::from_secs(5), "nobody waits for it");
    }
}
