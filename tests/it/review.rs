//! Reviewing conversions: approved and rejected once, with a history, and counted accordingly.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tributary::ambient::Clock;

use crate::support::{
    Client, Programme, Terms, TestApp, on_both,
    programme::{merge, sale},
};

const ANSWER: &str = "replayed items { id conversion { id status reason version approvedAt payableAt } \
    userErrors { code field } }";

/// Records pending sales of 10.00 each; their ids.
async fn pending(client: &Client, programme: &Programme, count: usize) -> Vec<String> {
    let click = programme.click(client).await;
    let items: Vec<Value> = (0..count).map(|number| sale(&click, &format!("{click}-{number}"), "10.00")).collect();
    let payload =
        client.done("recordConversions", json!({ "items": items }), "items { conversion { id status } }").await;
    let ids = payload["items"].as_array().expect("items").iter().map(|item| {
        assert_eq!(item["conversion"]["status"], "PENDING");
        item["conversion"]["id"].as_str().expect("an id").to_owned()
    });
    ids.collect()
}

async fn review(client: &Client, name: &str, input: Value) -> Vec<Value> {
    let mut payload = client.done(name, input, ANSWER).await;
    let Value::Array(items) = payload["items"].take() else { panic!("items, not {payload}") };
    items
}

fn reject(ids: &Value) -> Value {
    json!({ "ids": ids, "reason": "FRAUD" })
}

/// Unapproved, pending and available earnings of an affiliate in euros.
async fn earnings(client: &Client, affiliate: &str) -> [String; 3] {
    let query = "query($id: ID!) { earnings(affiliateId: $id) { balances { unapproved { amount } pending { amount } \
        available { amount } } } }";
    let data = client.data(query, json!({ "id": affiliate })).await;
    let balance = &data["earnings"]["balances"][0];
    ["unapproved", "pending", "available"].map(|name| balance[name]["amount"].as_str().unwrap_or("none").to_owned())
}

/// Conversions, sales and commission that are counted.
async fn counted(app: &TestApp, client: &Client) -> Value {
    let day = |days: i64| (app.clock.now() + TimeDelta::days(days)).format("%Y-%m-%dT00:00:00Z").to_string();
    let query = "query($input: ReportInput!) { report(input: $input) { conversions saleAmount { amount } \
        commission { amount } currency } }";
    client.data(query, json!({ "input": { "from": day(-400), "until": day(2) } })).await["report"].take()
}

on_both! {
    async fn thousand_conversions_are_approved_in_one_call(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::manual()).await;
        let ids = pending(&owner, &programme, 1_000).await;
        assert_eq!(earnings(&owner, &programme.affiliate).await, ["1000.00", "0.00", "0.00"]);
        let answers = review(&owner, "approveConversions", json!({ "ids": ids })).await;
        for (id, answer) in ids.iter().zip(&answers) {
            assert_eq!((&answer["id"], &answer["conversion"]["id"]), (&json!(id), &json!(id)));
            assert_eq!((&answer["conversion"]["status"], &answer["userErrors"]), (&json!("APPROVED"), &json!([])));
        }
        assert_eq!(answers.len(), 1_000);
        assert_eq!(earnings(&owner, &programme.affiliate).await, ["0.00", "1000.00", "0.00"]);
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM journal").await, 1_000);
    }

    async fn review_of_none_or_too_many_is_refused(app) {
        let owner = app.owner();
        for ids in [vec![], vec!["cnv_00000000000000000000000001"; 1_001]] {
            for (name, input) in [("approveConversions", json!({ "ids": ids })), ("rejectConversions", reject(&json!(ids)))] {
                let refused = owner.mutate(name, input, "").await["userErrors"][0].take();
                assert_eq!((&refused["code"], &refused["field"]), (&json!("BATCH_SIZE"), &json!(["ids"])), "{name}");
            }
        }
    }

    async fn second_review_is_refused(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::manual()).await;
        let ids = pending(&owner, &programme, 2).await;
        let (approved, rejected) = (json!([ids[0]]), json!([ids[1]]));
        review(&owner, "approveConversions", json!({ "ids": approved })).await;
        review(&owner, "rejectConversions", reject(&rejected)).await;
        for ids in [approved, rejected] {
            for (name, input) in [("approveConversions", json!({ "ids": ids })), ("rejectConversions", reject(&ids))] {
                let answers = review(&owner, name, input).await;
                assert_eq!(answers[0]["userErrors"], json!([{ "code": "INVALID_TRANSITION", "field": ["ids"] }]), "{name}");
                assert!(answers[0]["conversion"].is_null());
            }
        }
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM journal").await, 1);
    }

    async fn review_answers_each_id_by_itself_and_in_order(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::manual()).await;
        let ids = pending(&owner, &programme, 3).await;
        review(&owner, "rejectConversions", reject(&json!([ids[1]]))).await;
        let foreign = Programme::build(&app.stranger(), &Terms::manual()).await;
        let foreign = pending(&app.stranger(), &foreign, 1).await.remove(0);
        let absent = "cnv_00000000000000000000000001";
        let named = json!([ids[2], foreign, ids[1], ids[0], absent, ids[2], ids[1]]);
        let answers = review(&owner, "approveConversions", json!({ "ids": named })).await;
        let told: Vec<&str> = answers.iter().map(|answer| {
            answer["conversion"]["status"].as_str().or(answer["userErrors"][0]["code"].as_str()).expect("an answer")
        }).collect();
        assert_eq!(told, [
            "APPROVED", "NOT_FOUND", "INVALID_TRANSITION", "APPROVED", "NOT_FOUND", "APPROVED", "INVALID_TRANSITION",
        ]);
        assert_eq!(answers[1]["userErrors"], answers[4]["userErrors"], "foreign and absent ids are told alike");
        assert_eq!(earnings(&owner, &programme.affiliate).await, ["0.00", "2.00", "0.00"]);
        let query = format!("{{ conversion(by: {{ id: \"{foreign}\" }}) {{ status }} }}");
        assert_eq!(app.stranger().data(&query, json!({})).await["conversion"]["status"], "PENDING");
    }

    async fn malformed_id_refuses_the_whole_review(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::manual()).await;
        let ids = pending(&owner, &programme, 1).await;
        let payload = owner.mutate("approveConversions", json!({ "ids": [ids[0], programme.campaign] }), "items { id }").await;
        assert_eq!((&payload["items"], &payload["userErrors"][0]["code"]), (&json!([]), &json!("INVALID_ID")));
        assert_eq!(earnings(&owner, &programme.affiliate).await, ["1.00", "0.00", "0.00"]);
    }

    async fn history_tells_each_step_with_its_note(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::manual()).await;
        let ids = pending(&owner, &programme, 1).await;
        let mut input = reject(&json!(ids));
        merge(&mut input, json!({ "note": " from a known\tbad network " }));
        assert_eq!(owner.refusal("rejectConversions", input.clone()).await, "INVALID_TEXT");
        merge(&mut input, json!({ "note": " a known bad network " }));
        review(&owner, "rejectConversions", input).await;
        let query = "query($id: ID!) { conversion(by: { id: $id }) { version history { version fromStatus toStatus reason \
            note actor } } }";
        let data = owner.data(query, json!({ "id": ids[0] })).await;
        assert_eq!(data["conversion"], json!({ "version": 2, "history": [
            { "version": 1, "fromStatus": null, "toStatus": "PENDING", "reason": null, "note": null, "actor": "operator" },
            { "version": 2, "fromStatus": "PENDING", "toStatus": "REJECTED", "reason": "FRAUD",
              "note": "a known bad network", "actor": "operator" },
        ] }));
    }

    async fn review_sent_again_with_its_key_is_replayed(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::manual()).await;
        let ids = pending(&owner, &programme, 2).await;
        let usd = json!({ "saleAmount": { "amount": "1.00", "currency": "USD" } });
        let mut held = sale(&programme.click(&owner).await, "usd", "1.00");
        merge(&mut held, usd);
        let held = owner.done("recordConversion", held, "conversion { id }").await["conversion"]["id"].take();
        let input = json!({ "idempotencyKey": "r", "ids": [ids[0], held, "cnv_00000000000000000000000001"] });
        let first = owner.done("approveConversions", input.clone(), ANSWER).await;
        let again = owner.done("approveConversions", input.clone(), ANSWER).await;
        assert_eq!((&first["replayed"], &again["replayed"]), (&json!(false), &json!(true)));
        assert_eq!(first["items"], again["items"], "refusals are replayed, too");
        let mut other = input;
        merge(&mut other, json!({ "ids": [ids[1]] }));
        assert_eq!(owner.refusal("approveConversions", other).await, "IDEMPOTENCY_CONFLICT");
        let mut other = reject(&json!([ids[0]]));
        merge(&mut other, json!({ "idempotencyKey": "r" }));
        assert_eq!(owner.refusal("rejectConversions", other).await, "IDEMPOTENCY_CONFLICT");
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM journal").await, 1);
    }

    async fn rejected_conversions_count_nowhere(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::manual()).await;
        let ids = pending(&owner, &programme, 3).await;
        let mut held = sale(&programme.click(&owner).await, "usd", "7.00");
        merge(&mut held, json!({ "saleAmount": { "amount": "7.00", "currency": "USD" } }));
        let held = owner.done("recordConversion", held, "conversion { id }").await["conversion"]["id"].take();
        let row = |conversions: i64, sale: &str, commission: &str, currency: &str| json!({
            "conversions": conversions, "saleAmount": { "amount": sale }, "commission": { "amount": commission },
            "currency": currency,
        });
        assert_eq!(counted(app, &owner).await, json!([row(3, "30.00", "3.00", "EUR"), row(1, "7.00", "0.00", "USD")]));
        review(&owner, "rejectConversions", reject(&json!([ids[0], held]))).await;
        assert_eq!(counted(app, &owner).await, json!([row(2, "20.00", "2.00", "EUR"), row(0, "0.00", "0.00", "USD")]));
        assert_eq!(earnings(&owner, &programme.affiliate).await, ["2.00", "0.00", "0.00"]);
        let query = "query($id: ID!) { conversion(by: { id: $id }) { commissions { status amount { amount } } } }";
        let data = owner.data(query, json!({ "id": ids[0] })).await;
        assert_eq!(data["conversion"]["commissions"], json!([{ "status": "REJECTED", "amount": { "amount": "1.00" } }]));
    }

    async fn order_of_a_reviewed_and_rejected_conversion_stays_taken(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::manual()).await;
        let click = programme.click(&owner).await;
        let first = owner.done("recordConversion", sale(&click, "1", "1.00"), "conversion { id }").await;
        review(&owner, "rejectConversions", reject(&json!([first["conversion"]["id"]]))).await;
        let mut again = sale(&click, "1", "1.00");
        merge(&mut again, json!({ "idempotencyKey": "again" }));
        let again = owner.done("recordConversion", again, "conversion { reason }").await;
        assert_eq!(again["conversion"]["reason"], "DUPLICATE_ORDER");
    }

    async fn earnings_move_from_unapproved_over_pending_to_available(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms { hold_seconds: 3_600, ..Terms::manual() }).await;
        let ids = pending(&owner, &programme, 1).await;
        let own = app.affiliate(&programme.affiliate);
        assert_eq!(earnings(&own, &programme.affiliate).await, ["1.00", "0.00", "0.00"]);
        let answers = review(&owner, "approveConversions", json!({ "ids": ids })).await;
        let instant = |name: &str| -> chrono::DateTime<chrono::Utc> {
            answers[0]["conversion"][name].as_str().expect("an instant").parse().expect("RFC 3339")
        };
        assert_eq!(instant("payableAt") - instant("approvedAt"), TimeDelta::seconds(3_600));
        assert_eq!(earnings(&own, &programme.affiliate).await, ["0.00", "1.00", "0.00"]);
        app.clock.advance(TimeDelta::seconds(3_602));
        app.run_jobs().await;
        assert_eq!(earnings(&own, &programme.affiliate).await, ["0.00", "0.00", "1.00"]);
    }

    async fn conversion_approved_from_many_connections_at_once_is_posted_once(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::manual()).await;
        let ids = pending(&owner, &programme, 3).await;
        let mut sent = tokio::task::JoinSet::new();
        for number in 0..20 {
            let client = app.owner();
            let mut named = ids.clone();
            named.rotate_left(number % 3);
            sent.spawn(async move { review(&client, "approveConversions", json!({ "ids": named })).await });
        }
        let answers: Vec<Value> = sent.join_all().await.into_iter().flatten().collect();
        assert_eq!(answers.iter().filter(|answer| answer["conversion"]["status"] == "APPROVED").count(), 3);
        let refused = answers.iter().filter(|answer| answer["userErrors"][0]["code"] == "INVALID_TRANSITION").count();
        assert_eq!(refused, 57);
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM journal").await, 3);
        assert_eq!(earnings(&owner, &programme.affiliate).await, ["0.00", "3.00", "0.00"]);
    }

    async fn approval_and_rejection_at_once_agree_on_one_outcome(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::manual()).await;
        let ids = pending(&owner, &programme, 10).await;
        let mut sent = tokio::task::JoinSet::new();
        for (number, id) in ids.iter().cycle().take(40).enumerate() {
            let (client, ids) = (app.owner(), json!([id]));
            sent.spawn(async move {
                match (number / 10) % 2 {
                    0 => review(&client, "approveConversions", json!({ "ids": ids })).await,
                    _ => review(&client, "rejectConversions", reject(&ids)).await,
                }
            });
        }
        let answers: Vec<Value> = sent.join_all().await.into_iter().flatten().collect();
        assert_eq!(answers.iter().filter(|answer| !answer["conversion"].is_null()).count(), 10);
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM conversion_history").await, 20);
        let posted = app.auditor.number("SELECT COUNT(*) FROM journal").await;
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM conversion WHERE status = 'APPROVED'").await, posted);
    }

    async fn two_releasers_at_once_release_once(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::manual()).await;
        for _ in 0..3 {
            let ids = pending(&owner, &programme, 40).await;
            review(&owner, "approveConversions", json!({ "ids": ids })).await;
        }
        app.clock.advance(TimeDelta::days(2));
        // Beside the app's own scheduler, which sees the advanced clock as well.
        let (one, two) = (app.services.clone(), app.services.clone());
        let run = |services| async move { tributary::jobs::outbox::run_due(&services).await.expect("runs") };
        let (one, two, ()) = tokio::join!(tokio::spawn(run(one)), tokio::spawn(run(two)), app.run_jobs());
        one.and(two).expect("both ran to their end");
        app.until("SELECT COUNT(*) FROM outbox", 0).await;
        assert_eq!(earnings(&owner, &programme.affiliate).await, ["0.00", "0.00", "120.00"]);
        let released = "SELECT COUNT(*) FROM journal WHERE kind = 'HOLD_RELEASED'";
        assert_eq!(app.auditor.number(released).await, 120);
    }

    async fn releasing_the_same_holds_from_two_sides_at_once_posts_each_once(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms { hold_seconds: 60, ..Terms::default() }).await;
        let click = programme.click(&owner).await;
        let items: Vec<Value> = (0..200).map(|number| sale(&click, &number.to_string(), "10.00")).collect();
        owner.done("recordConversions", json!({ "items": items }), "").await;
        app.clock.advance(TimeDelta::seconds(120));
        let scope = tributary::domain::tenancy::TenantScope::tenant(app.home);
        let mut sent = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let services = app.services.clone();
            sent.spawn(async move { tributary::services::holds::release_due(&services, &scope).await });
        }
        for released in sent.join_all().await {
            released.expect("released");
        }
        app.run_jobs().await;
        app.until("SELECT COUNT(*) FROM commission WHERE status = 'PENDING'", 0).await;
        assert_eq!(earnings(&owner, &programme.affiliate).await, ["0.00", "0.00", "200.00"]);
        let released = "SELECT COUNT(*) FROM journal WHERE kind = 'HOLD_RELEASED'";
        assert_eq!(app.auditor.number(released).await, 200);
    }
}
