//! Ingest is exactly once: keys, batches, and many senders at the same moment.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use tributary::services::statistics;

use crate::support::{
    Client, Programme, Terms, TestApp, on_both,
    programme::{merge, sale},
};

const ANSWER: &str = "replayed conversion { id status reason orderId }";

/// The answers of a batch of conversions.
async fn batch(client: &Client, items: Vec<Value>) -> Vec<Value> {
    let selection = "items { replayed conversion { id status reason orderId } userErrors { code field } }";
    let mut payload = client.done("recordConversions", json!({ "items": items }), selection).await;
    let Value::Array(items) = payload["items"].take() else { panic!("a list, not {payload}") };
    items
}

/// Sends every input at the same moment, each over a connection of its own.
async fn at_once(app: &TestApp, inputs: Vec<Value>) -> Vec<Value> {
    let mut sent = tokio::task::JoinSet::new();
    for (index, input) in inputs.into_iter().enumerate() {
        let client = app.owner();
        sent.spawn(async move { (index, client.mutate("recordConversion", input, ANSWER).await) });
    }
    let mut answers = sent.join_all().await;
    answers.sort_by_key(|(index, _)| *index);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

async fn conversions(app: &TestApp) -> i64 {
    app.auditor.number("SELECT COUNT(*) FROM conversion").await
}

fn count(answers: &[Value], matches: impl Fn(&Value) -> bool) -> usize {
    answers.iter().filter(|answer| matches(answer)).count()
}

fn is_conflict(answer: &Value) -> bool {
    answer["conversion"].is_null() && answer["userErrors"][0]["code"] == "IDEMPOTENCY_CONFLICT"
}

on_both! {
    async fn statistics_follow_a_table_that_grows(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let clicks = async || {
            let items = vec![json!({ "linkId": programme.link }); 600];
            owner.done("recordClicks", json!({ "items": items }), "items { userErrors { code } }").await;
        };
        let renew = async || statistics::renew(&app.services).await.expect("renewed");
        clicks().await;
        if !app.auditor.is_postgres() {
            assert_eq!(renew().await, 0);
            return;
        }
        let known = "SELECT SUM(GREATEST(reltuples, 0))::bigint FROM pg_class WHERE relkind = 'r' AND relname LIKE 'click_20%'";
        // The server counts what it wrote a moment later; and the node's own job may be the one that looks.
        let follows = async |rows: i64| {
            while app.auditor.number(known).await != rows {
                renew().await;
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(Duration::from_secs(30), follows(600)).await.expect("the table is analyzed");
        clicks().await;
        clicks().await;
        timeout(Duration::from_secs(30), follows(1_800)).await.expect("the table is analyzed again");
    }

    async fn key_sent_again_with_the_same_input_answers_the_first_conversion(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let input = sale(&programme.click(&owner).await, "1", "49.00");
        let first = owner.done("recordConversion", input.clone(), ANSWER).await;
        let again = owner.done("recordConversion", input, ANSWER).await;
        assert_eq!((&first["replayed"], &again["replayed"]), (&json!(false), &json!(true)));
        assert_eq!(first["conversion"], again["conversion"]);
        assert_eq!(conversions(app).await, 1);
    }

    async fn key_sent_again_with_the_same_amount_written_otherwise_is_the_same_input(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        owner.done("recordConversion", sale(&click, "1", "49.00"), ANSWER).await;
        for amount in ["49", "49.0", "049.00"] {
            assert_eq!(owner.done("recordConversion", sale(&click, "1", amount), ANSWER).await["replayed"], true);
        }
        assert_eq!(conversions(app).await, 1);
    }

    async fn key_sent_again_after_approval_answers_the_conversion_as_it_stands(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::manual()).await;
        let input = sale(&programme.click(&owner).await, "1", "49.00");
        let first = owner.done("recordConversion", input.clone(), ANSWER).await;
        assert_eq!(first["conversion"]["status"], "PENDING");
        let id = &first["conversion"]["id"];
        owner.done("approveConversions", json!({ "ids": [id] }), "").await;
        let again = owner.done("recordConversion", input, ANSWER).await;
        assert_eq!(again["replayed"], true);
        assert_eq!(&again["conversion"]["id"], id);
        assert_eq!(again["conversion"]["status"], "APPROVED");
    }

    async fn key_sent_again_with_another_input_is_a_conflict_and_stores_nothing(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        let input = sale(&click, "1", "49.00");
        owner.done("recordConversion", input.clone(), "").await;
        let events = app.auditor.number("SELECT COUNT(*) FROM event").await;
        for change in [
            json!({ "saleAmount": { "amount": "49.01", "currency": "EUR" } }),
            json!({ "saleAmount": { "amount": "49.00", "currency": "USD" } }),
            json!({ "orderId": "2" }),
            json!({ "customerId": "ada" }),
            json!({ "goal": "lead" }),
            json!({ "labels": { "adv1": "x" } }),
        ] {
            let mut other = input.clone();
            merge(&mut other, change);
            let payload = owner.mutate("recordConversion", other.clone(), "conversion { id }").await;
            assert!(is_conflict(&payload), "{other}: {payload}");
            assert_eq!(payload["userErrors"][0]["field"], json!(["idempotencyKey"]));
        }
        assert_eq!(conversions(app).await, 1);
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM event").await, events);
    }

    async fn key_of_a_click_is_a_conflict_for_a_conversion(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click_with(&owner, json!({ "idempotencyKey": "key-1" })).await;
        assert_eq!(owner.refusal("recordConversion", sale(&click, "1", "1.00")).await, "IDEMPOTENCY_CONFLICT");
    }

    async fn keys_of_two_tenants_do_not_meet(app) {
        let (owner, stranger) = (app.owner(), app.stranger());
        for client in [owner, stranger] {
            let programme = Programme::build(&client, &Terms::default()).await;
            let click = programme.click(&client).await;
            assert_eq!(client.done("recordConversion", sale(&click, "1", "1.00"), ANSWER).await["replayed"], false);
        }
        assert_eq!(conversions(app).await, 2);
    }

    async fn malformed_input_does_not_use_up_its_key(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        assert_eq!(owner.refusal("recordConversion", sale(&click, "1", "1.001")).await, "INVALID_AMOUNT");
        assert_eq!(owner.done("recordConversion", sale(&click, "1", "1.00"), ANSWER).await["replayed"], false);
    }

    async fn one_key_and_body_from_200_connections_is_recorded_once(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let input = sale(&programme.click(&owner).await, "1", "49.00");
        let answers = at_once(app, vec![input; 200]).await;
        assert!(answers.iter().all(|answer| answer["userErrors"] == json!([])), "{answers:?}");
        assert!(answers.iter().all(|answer| answer["conversion"]["id"] == answers[0]["conversion"]["id"]));
        assert_eq!(count(&answers, |answer| answer["replayed"] == true), 199);
        assert_eq!(conversions(app).await, 1);
    }

    async fn one_key_and_two_bodies_from_200_connections_records_one_and_refuses_the_other(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        let inputs = (0..200).map(|number| sale(&click, "1", if number % 2 == 0 { "49.00" } else { "50.00" }));
        let answers = at_once(app, inputs.collect()).await;
        let created: Vec<usize> = (0..200).filter(|index| answers[*index]["replayed"] == false
            && !answers[*index]["conversion"].is_null()).collect();
        let [winner] = created[..] else { panic!("one created, not {created:?}: {answers:?}") };
        for (index, answer) in answers.iter().enumerate() {
            if index % 2 == winner % 2 {
                assert_eq!(answer["conversion"]["id"], answers[winner]["conversion"]["id"], "{answer}");
                assert_eq!(answer["replayed"] == true, index != winner, "{answer}");
            } else {
                assert!(is_conflict(answer), "{answer}");
            }
        }
        assert_eq!(conversions(app).await, 1);
    }

    async fn one_order_under_50_keys_at_once_counts_once(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        let inputs = (0..50).map(|number| {
            let mut input = sale(&click, "1", "49.00");
            merge(&mut input, json!({ "idempotencyKey": format!("key-{number}") }));
            input
        });
        let answers = at_once(app, inputs.collect()).await;
        assert_eq!(count(&answers, |answer| answer["conversion"]["status"] == "APPROVED"), 1);
        let is_duplicate = |answer: &Value| answer["conversion"]["reason"] == "DUPLICATE_ORDER";
        assert_eq!(count(&answers, is_duplicate), 49);
        assert_eq!(conversions(app).await, 50);
    }

    async fn one_click_with_50_keys_at_once_counts_once_where_the_goal_says_so(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms { once_per_click: true, ..Terms::default() }).await;
        let click = programme.click(&owner).await;
        let answers = at_once(app, (0..50).map(|number| sale(&click, &number.to_string(), "1.00")).collect()).await;
        assert_eq!(count(&answers, |answer| answer["conversion"]["status"] == "APPROVED"), 1);
        assert_eq!(count(&answers, |answer| answer["conversion"]["reason"] == "DUPLICATE_CLICK"), 49);
    }

    async fn key_twice_in_a_batch_is_replayed_or_a_conflict(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        let (same, other) = (sale(&click, "1", "49.00"), sale(&click, "1", "50.00"));
        let answers = batch(&owner, vec![same.clone(), same, other, sale(&click, "2", "1.00")]).await;
        assert_eq!(answers[0]["replayed"], false);
        assert_eq!(answers[1]["replayed"], true);
        assert_eq!(answers[0]["conversion"], answers[1]["conversion"]);
        assert!(is_conflict(&answers[2]), "{}", answers[2]);
        assert_eq!(answers[3]["conversion"]["status"], "APPROVED");
        assert_eq!(conversions(app).await, 2);
    }

    async fn key_twice_in_a_batch_that_was_sent_before_is_replayed_both_times(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        let input = sale(&click, "1", "49.00");
        let first = owner.done("recordConversion", input.clone(), ANSWER).await;
        let answers = batch(&owner, vec![input.clone(), input]).await;
        for answer in &answers {
            assert_eq!((&answer["replayed"], &answer["conversion"]), (&json!(true), &first["conversion"]), "{answer}");
        }
    }

    async fn key_twice_in_a_batch_that_conflicts_with_an_earlier_call_conflicts_both_times(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        owner.done("recordConversion", sale(&click, "1", "49.00"), "").await;
        let other = sale(&click, "1", "50.00");
        let answers = batch(&owner, vec![other.clone(), other]).await;
        assert!(answers.iter().all(is_conflict), "{answers:?}");
        assert_eq!(conversions(app).await, 1);
    }

    async fn order_twice_in_a_batch_counts_once(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        let mut second = sale(&click, "1", "49.00");
        merge(&mut second, json!({ "idempotencyKey": "other" }));
        let answers = batch(&owner, vec![sale(&click, "1", "49.00"), second]).await;
        assert_eq!(answers[0]["conversion"]["status"], "APPROVED");
        assert_eq!(answers[1]["conversion"]["reason"], "DUPLICATE_ORDER");
    }

    async fn batch_sent_again_is_replayed_item_by_item(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        let items: Vec<Value> = (0..300).map(|number| sale(&click, &number.to_string(), "1.00")).collect();
        let first = batch(&owner, items.clone()).await;
        let again = batch(&owner, items).await;
        assert!(again.iter().all(|answer| answer["replayed"] == true));
        let ids = |answers: &[Value]| answers.iter().map(|answer| answer["conversion"].clone()).collect::<Vec<_>>();
        assert_eq!(ids(&first), ids(&again));
        assert_eq!(conversions(app).await, 300);
    }

    async fn batch_mixes_fresh_replayed_refused_and_malformed_items_in_order(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        owner.done("recordConversion", sale(&click, "old", "1.00"), "").await;
        let mut duplicate = sale(&click, "old", "1.00");
        merge(&mut duplicate, json!({ "idempotencyKey": "fresh" }));
        let mut malformed = sale(&click, "bad", "1.00");
        merge(&mut malformed, json!({ "clickId": "clk_nonsense" }));
        let answers = batch(&owner, vec![
            sale(&click, "new", "1.00"),
            malformed,
            sale(&click, "old", "1.00"),
            sale(&click, "old", "2.00"),
            duplicate,
            sale(&click, "newer", "1.00"),
        ]).await;
        assert_eq!(answers[0]["conversion"]["orderId"], "new");
        assert_eq!(answers[1]["userErrors"], json!([{ "code": "INVALID_ID", "field": ["clickId"] }]));
        assert_eq!(answers[2]["replayed"], true);
        assert!(is_conflict(&answers[3]), "{}", answers[3]);
        assert_eq!(answers[4]["conversion"]["reason"], "DUPLICATE_ORDER");
        assert_eq!(answers[5]["conversion"]["orderId"], "newer");
    }

    async fn batch_of_none_or_too_many_is_refused_as_a_whole(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        for size in [0, 1_001] {
            let sales: Vec<Value> = (0..size).map(|number| sale(&click, &number.to_string(), "1.00")).collect();
            let clicks = vec![json!({ "linkId": programme.link }); size];
            for (name, items) in [("recordConversions", sales), ("recordClicks", clicks)] {
                let payload = owner.mutate(name, json!({ "items": items }), "items { replayed }").await;
                assert_eq!(payload["items"], json!([]), "{name} of {size}");
                assert_eq!(payload["userErrors"][0]["code"], "BATCH_SIZE", "{name} of {size}");
            }
        }
        assert_eq!(conversions(app).await, 0);
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM click").await, 1);
    }

    async fn events_of_many_senders_are_numbered_without_gaps_and_once_each(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        at_once(app, (0..100).map(|number| sale(&click, &number.to_string(), "1.00")).collect()).await;
        let logged = "SELECT COUNT(DISTINCT subject_id) FROM event WHERE kind = 'CONVERSION_RECORDED'";
        assert_eq!(app.auditor.number(logged).await, 100);
    }
}
