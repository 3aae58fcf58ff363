//! What goes wrong inside: an item that cannot be stored, a database that does not answer. Nothing is lost or doubled.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tributary::ambient::Clock;

use crate::support::{
    Backend, Client, Programme, Terms, TestApp, app, on_both,
    programme::{merge, sale},
};

/// Ten below the bound of the totals, which no sum of ours may pass.
const ALMOST_FULL: &str = "UPDATE rollup_hourly SET sale_minor = 8999999999999999990";

/// A programme whose totals have no room for a sale, and one with room; a click of each.
struct Poisoned {
    healthy: String,
    poisoned: String,
    occurred_at: Value,
}

impl Poisoned {
    async fn build(app: &TestApp, client: &Client) -> Self {
        let at = app.clock.now() - TimeDelta::days(1);
        let occurred_at = json!({ "occurredAt": at });
        let poisoned = Programme::build(client, &Terms::default()).await;
        let poisoned = poisoned.click_with(client, occurred_at.clone()).await;
        app.auditor.run(ALMOST_FULL).await.expect("prepared");
        let healthy = Programme::build(client, &Terms::default()).await;
        let healthy = healthy.click_with(client, occurred_at.clone()).await;
        Self { healthy, poisoned, occurred_at }
    }

    fn sale(&self, click: &str, order: &str) -> Value {
        let mut input = sale(click, order, "1.00");
        merge(&mut input, self.occurred_at.clone());
        input
    }

    async fn heal(app: &TestApp) {
        let sql = "UPDATE rollup_hourly SET sale_minor = 0 WHERE sale_minor = 8999999999999999990";
        app.auditor.run(sql).await.expect("healed");
    }
}

on_both! {
    async fn item_that_cannot_be_stored_leaves_the_other_999_alone_and_its_key_free(app) {
        let owner = app.owner();
        let state = Poisoned::build(app, &owner).await;
        let items: Vec<Value> = (0..1_000)
            .map(|number| {
                let click = if number == 637 { &state.poisoned } else { &state.healthy };
                state.sale(click, &number.to_string())
            })
            .collect();
        let selection = "items { replayed conversion { orderId status } userErrors { code field } }";
        let payload = owner.done("recordConversions", json!({ "items": items }), selection).await;
        for (number, answer) in payload["items"].as_array().expect("items").iter().enumerate() {
            if number == 637 {
                assert_eq!(answer["userErrors"], json!([{ "code": "INTERNAL", "field": [] }]));
                assert!(answer["conversion"].is_null());
            } else {
                assert_eq!(answer["conversion"], json!({ "orderId": number.to_string(), "status": "APPROVED" }));
            }
        }
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM conversion").await, 999);
        Poisoned::heal(app).await;
        let again = owner.done("recordConversions", json!({ "items": items }), selection).await;
        for (number, answer) in again["items"].as_array().expect("items").iter().enumerate() {
            assert_eq!(answer["replayed"], number != 637, "{number}: {answer}");
            assert_eq!(answer["conversion"]["orderId"], number.to_string());
        }
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM conversion").await, 1_000);
    }

    async fn call_that_cannot_be_stored_answers_internal_without_inner_text(app) {
        let owner = app.owner();
        let state = Poisoned::build(app, &owner).await;
        let document = crate::support::client::mutation("recordConversion", "conversion { id }");
        let (_, body) = owner.send(&document, json!({ "input": state.sale(&state.poisoned, "1") })).await;
        let error = &body["errors"][0];
        assert_eq!((&error["extensions"]["code"], &error["message"]), (&json!("INTERNAL"), &json!("internal error")));
        assert!(error["extensions"]["requestId"].is_string());
        owner.done("recordConversion", state.sale(&state.healthy, "2"), "").await;
        Poisoned::heal(app).await;
    }

    async fn callers_beside_one_that_cannot_be_stored_are_served(app) {
        let owner = app.owner();
        let state = Poisoned::build(app, &owner).await;
        let document = crate::support::client::mutation("recordConversion", "conversion { status }");
        let mut sent = tokio::task::JoinSet::new();
        for number in 0..60 {
            let click = if number % 20 == 7 { &state.poisoned } else { &state.healthy };
            let input = json!({ "input": state.sale(click, &number.to_string()) });
            let (client, document) = (app.owner(), document.clone());
            sent.spawn(async move { (number, client.send(&document, input).await.1) });
        }
        for (number, body) in sent.join_all().await {
            if number % 20 == 7 {
                assert_eq!(body["errors"][0]["extensions"]["code"], "INTERNAL", "{number}: {body}");
            } else {
                assert_eq!(body["data"]["result"]["conversion"]["status"], "APPROVED", "{number}: {body}");
            }
        }
        Poisoned::heal(app).await;
    }
}

/// The database does not let anybody write while two calls come, each as large as the queue.
async fn overload(app: &TestApp) {
    let owner = app.owner();
    let programme = Programme::build(&owner, &Terms::default()).await;
    let click = programme.click(&owner).await;
    let document = crate::support::client::mutation("recordConversions", "items { replayed userErrors { code } }");
    let call = |name: &str| -> Value {
        let items: Vec<Value> = (0..1_000).map(|number| sale(&click, &format!("{name}-{number}"), "1.00")).collect();
        json!({ "input": { "items": items } })
    };
    let blocking = app.auditor.block().await;
    let mut sent = tokio::task::JoinSet::new();
    for name in ["a", "b"] {
        let (client, document, variables) = (app.owner(), document.clone(), call(name));
        sent.spawn(async move { (name, client.send(&document, variables).await.1) });
    }
    // One fills the queue; nothing but a refusal can be answered while the database is blocked.
    let (refused, body) = sent.join_next().await.expect("two calls").expect("sent");
    assert_eq!(body["errors"][0]["extensions"]["code"], "OVERLOADED", "{body}");
    assert!(body["errors"][0]["extensions"]["retryAfterMs"].as_u64().is_some_and(|millis| millis > 0), "{body}");
    blocking.rollback().await.expect("unblocked");

    let all_new = |body: &Value| {
        let items = body["data"]["result"]["items"].as_array().unwrap_or_else(|| panic!("answered, not {body}"));
        items.len() == 1_000 && items.iter().all(|item| item["replayed"] == false && item["userErrors"] == json!([]))
    };
    let (_, body) = sent.join_next().await.expect("the other call").expect("sent");
    assert!(all_new(&body));
    assert_eq!(app.auditor.number("SELECT COUNT(*) FROM conversion").await, 1_000, "nothing of the refused call");
    let (_, body) = owner.send(&document, call(refused)).await;
    assert!(all_new(&body));
    assert_eq!(app.auditor.number("SELECT COUNT(DISTINCT order_id) FROM conversion").await, 2_000);
    assert_eq!(app.auditor.number("SELECT COUNT(*) FROM conversion").await, 2_000);
}

mod full_queue_answers_overloaded_and_recovers_with_nothing_lost_or_doubled {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn sqlite() {
        app::run_with(Backend::Sqlite, |settings| settings.ingest_queue_items = 1_000, overload).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn postgres() {
        app::run_with(Backend::Postgres, |settings| settings.ingest_queue_items = 1_000, overload).await;
    }
}
