//! Conversions that come before their click: held, decided once when it is recorded, refused when their time is over.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tributary::{
    auth::Actor,
    domain::{
        click::{NewClick, Visit},
        tenancy::TenantScope,
    },
    services::{
        Services,
        ingest::{Item, Recorded, Work},
    },
};
use tributary_entity::{Instant, ids::ClickId};

use crate::{
    postbacks::endpoint,
    support::{Client, Programme, Terms, TestApp, on_both, programme},
};

const ANSWER: &str = "replayed conversion { id status reason version heldUntil affiliate { id } click { id } \
    commissionTotal { amount } attribution { source } history { fromStatus toStatus reason actor } }";

/// A click id that was given away and is not recorded.
fn click_id() -> ClickId {
    ClickId::from_uuid(tributary::ambient::new_uuid())
}

/// Records a click under an id, as the redirect does.
async fn click(services: &Services, app: &TestApp, programme: &Programme, id: ClickId) {
    click_at(services, app, programme, id, None).await;
}

async fn click_at(services: &Services, app: &TestApp, programme: &Programme, id: ClickId, at: Option<Instant>) {
    let click = NewClick {
        id: Some(id),
        link_id: programme.link.parse().expect("a link's id"),
        facts: None,
        occurred_at: at,
        visitor_id: None,
        is_new_visitor: false,
        source: None,
        labels: Default::default(),
        visit: Visit::default(),
        invalid_reason: None,
    };
    let item = Item { actor: Actor::System, claim: None, work: Work::Click(click.into()) };
    let answers = services.lanes.record(&TenantScope::tenant(app.home), vec![item]).await.expect("there is room");
    assert!(matches!(answers[..], [Ok(Recorded::Click(_))]), "the click is recorded");
}

fn sale(order: &str, click: ClickId) -> Value {
    programme::sale(&click.to_string(), order, "100.00")
}

async fn record(client: &Client, input: Value) -> Value {
    client.done("recordConversion", input, ANSWER).await["conversion"].take()
}

/// The conversion as it stands.
async fn found(client: &Client, order: &str) -> Value {
    let query = format!(
        "query($order: String!) {{ conversion(by: {{ orderId: $order }}) {} }}",
        ANSWER.trim_start_matches("replayed conversion"),
    );
    client.data(&query, json!({ "order": order })).await["conversion"].take()
}

async fn let_conversions_wait(client: &Client, secs: i64) {
    let payload = client.done("updateTenant", json!({ "clickWaitSeconds": secs }), "tenant { clickWaitSeconds }").await;
    assert_eq!(payload["tenant"]["clickWaitSeconds"], secs);
}

const APPROVALS: &str = "SELECT COUNT(*) FROM event WHERE kind = 'CONVERSION_APPROVED'";
const JOURNALS: &str = "SELECT COUNT(*) FROM journal WHERE kind = 'CONVERSION_APPROVED'";
const WAITING: &str = "SELECT COUNT(*) FROM conversion WHERE held_until IS NOT NULL";

on_both! {
    async fn wait_is_a_setting_of_the_tenant_within_bounds(app) {
        let owner = app.owner();
        for secs in [-1, 30 * 86_400 + 1] {
            assert_eq!(owner.refusal("updateTenant", json!({ "clickWaitSeconds": secs })).await, "OUT_OF_RANGE");
        }
        let_conversions_wait(&owner, 30 * 86_400).await;
        let away = record(&app.stranger(), sale("1", click_id())).await;
        assert_eq!(away["reason"], "UNKNOWN_CLICK", "another tenant's conversions do not wait");
    }

    async fn conversion_waits_and_is_decided_as_its_click_is_recorded(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let_conversions_wait(&owner, 3_600).await;
        let id = click_id();
        let waiting = record(&owner, sale("1", id)).await;
        assert_eq!((&waiting["status"], &waiting["reason"]), (&json!("HELD"), &json!("AWAITING_CLICK")));
        assert!(waiting["heldUntil"].is_string() && waiting["affiliate"].is_null(), "{waiting}");
        assert_eq!(owner.done("approveConversions", json!({ "ids": [waiting["id"]] }), "items { userErrors { code } }")
            .await["items"][0]["userErrors"][0]["code"], "INVALID_TRANSITION");
        let lead = json!({ "idempotencyKey": "l", "clickId": id.to_string(), "goal": "sale", "orderId": "lead" });
        record(&owner, lead).await;
        click(&app.services, app, &programme, id).await;
        let decided = found(&owner, "1").await;
        assert_eq!((&decided["status"], &decided["reason"]), (&json!("REJECTED"), &json!("OUTSIDE_WINDOW")),
            "the click came after the customer acted: {decided}");
        assert_eq!(decided["history"].as_array().map(Vec::len), Some(2));
        assert_eq!(decided["history"][1]["actor"], "system");
        assert_eq!(found(&owner, "lead").await["heldUntil"], Value::Null);
        assert_eq!(app.auditor.number(WAITING).await, 0);
    }

    async fn conversion_whose_click_came_late_is_credited_as_if_it_had_come_after_it(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let_conversions_wait(&owner, 3_600).await;
        let id = click_id();
        // The sender's clock is a little ahead, as it may be.
        let mut input = sale("1", id);
        let ahead = tributary::ambient::Clock::now(&app.clock) + TimeDelta::minutes(4);
        programme::merge(&mut input, json!({ "occurredAt": ahead }));
        let waiting = record(&owner, input.clone()).await;
        assert_eq!(waiting["status"], "HELD");
        click(&app.services, app, &programme, id).await;
        let decided = found(&owner, "1").await;
        assert_eq!((&decided["status"], &decided["version"]), (&json!("APPROVED"), &json!(2)), "{decided}");
        assert_eq!((&decided["id"], &decided["click"]["id"]), (&waiting["id"], &json!(id.to_string())));
        assert_eq!(decided["commissionTotal"]["amount"], "10.00");
        assert_eq!(decided["attribution"]["source"], "CLICK_ID");
        assert_eq!((app.auditor.number(APPROVALS).await, app.auditor.number(JOURNALS).await), (1, 1));
        let again = owner.done("recordConversion", input, "replayed conversion { status }").await;
        assert_eq!((&again["replayed"], &again["conversion"]["status"]), (&json!(true), &json!("APPROVED")));
        let mut second = sale("1", id);
        programme::merge(&mut second, json!({ "idempotencyKey": "b" }));
        let second = record(&owner, second).await;
        assert_eq!(second["reason"], "DUPLICATE_ORDER");
    }

    async fn conversion_that_waited_long_enough_is_refused_once(app) {
        let owner = app.owner();
        Programme::build(&owner, &Terms::default()).await;
        let_conversions_wait(&owner, 3_600).await;
        record(&owner, sale("1", click_id())).await;
        app.clock.advance(TimeDelta::seconds(3_500));
        app.run_jobs().await;
        assert_eq!(found(&owner, "1").await["status"], "HELD");
        app.clock.advance(TimeDelta::seconds(200));
        app.run_jobs().await;
        app.run_jobs().await;
        let refused = found(&owner, "1").await;
        assert_eq!((&refused["status"], &refused["reason"]), (&json!("REJECTED"), &json!("UNKNOWN_CLICK")));
        assert_eq!((&refused["version"], &refused["heldUntil"]), (&json!(2), &Value::Null));
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM outbox").await, 0);
    }

    async fn campaign_that_is_named_says_how_long_to_wait(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let named = |order: &str| {
            let mut input = sale(order, click_id());
            programme::merge(&mut input, json!({ "campaignId": programme.campaign }));
            input
        };
        assert_eq!(record(&owner, named("1")).await["reason"], "UNKNOWN_CLICK");
        app.auditor.agree("UPDATE campaign SET click_wait_secs = 60").await;
        assert_eq!(record(&owner, named("2")).await["reason"], "AWAITING_CLICK");
    }

    async fn reviewer_may_reject_what_waits_and_its_click_changes_nothing(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let_conversions_wait(&owner, 3_600).await;
        let id = click_id();
        let waiting = record(&owner, sale("1", id)).await;
        owner.done("rejectConversions", json!({ "ids": [waiting["id"]], "reason": "TEST" }), "").await;
        click(&app.services, app, &programme, id).await;
        assert_eq!(found(&owner, "1").await["reason"], "TEST");
    }

    async fn clicks_and_conversions_at_the_same_moment_are_decided_once(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let_conversions_wait(&owner, 3_600).await;
        let other = app.another_node().await;
        let clicks: Vec<ClickId> = (0..25).map(|_| click_id()).collect();
        let ahead = tributary::ambient::Clock::now(&app.clock) + TimeDelta::minutes(4);
        let mut sent = tokio::task::JoinSet::new();
        for (number, id) in clicks.iter().enumerate() {
            let (client, mut input) = (app.owner(), sale(&format!("o-{number}"), *id));
            programme::merge(&mut input, json!({ "occurredAt": ahead }));
            sent.spawn(async move { drop(record(&client, input).await) });
        }
        let recorded = async {
            for id in &clicks {
                click(&other.services, app, &programme, *id).await;
            }
        };
        tokio::join!(recorded, sent.join_all());
        // What two open transactions hid from each other is found when both have ended.
        app.clock.advance(TimeDelta::seconds(62));
        app.run_jobs().await;
        let count = async |sql: &str| app.auditor.number(sql).await;
        assert_eq!(count("SELECT COUNT(*) FROM conversion WHERE status = 'APPROVED'").await, 25);
        assert_eq!((count(WAITING).await, count(JOURNALS).await), (0, 25));
        assert_eq!(count("SELECT COUNT(*) FROM commission").await, 25);
        other.stop().await;
    }

    async fn fifty_conversions_that_wait_for_one_click_are_each_decided_once(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let_conversions_wait(&owner, 3_600).await;
        let (id, ahead) = (click_id(), tributary::ambient::Clock::now(&app.clock) + TimeDelta::minutes(4));
        let mut sent = tokio::task::JoinSet::new();
        for number in 0..50 {
            let (client, mut input) = (app.owner(), sale(&format!("o-{}", number % 25), id));
            programme::merge(&mut input, json!({ "occurredAt": ahead }));
            sent.spawn(async move { drop(record(&client, input).await) });
        }
        tokio::join!(sent.join_all(), click(&app.services, app, &programme, id));
        app.clock.advance(TimeDelta::seconds(62));
        app.run_jobs().await;
        let count = async |sql: &str| app.auditor.number(sql).await;
        assert_eq!(count("SELECT COUNT(*) FROM conversion").await, 25, "one for each key");
        assert_eq!(count("SELECT COUNT(*) FROM conversion WHERE status = 'APPROVED'").await, 25);
        assert_eq!((count(WAITING).await, count(JOURNALS).await), (0, 25));
    }

    async fn conversion_that_its_sender_keeps_back_waits_and_is_still_kept_back_when_its_click_comes(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let_conversions_wait(&owner, 3_600).await;
        let (url, _) = endpoint(&owner, json!({ "dialect": "AFFISE", "defaultGoal": "sale" })).await;
        let send = async |id: ClickId, action: &str, status: u8| {
            let url = format!("{url}/postback?clickid={id}&action_id={action}&sum=100&status={status}");
            let response = reqwest::get(url).await.expect("an answer");
            let (code, body): (u16, Value) = (response.status().into(), response.json().await.expect("JSON"));
            (code, body["conversionStatus"].as_str().unwrap_or_default().to_owned())
        };
        let held = || (200, "HELD".to_owned());
        let (kept, freed, declined) = (click_id(), click_id(), click_id());
        assert_eq!((send(kept, "a", 2).await, send(freed, "b", 5).await), (held(), held()));
        assert_eq!(send(freed, "b", 1).await, held(), "it waits for its click all the same");
        assert_eq!(send(freed, "b", 1).await, held());
        assert_eq!(send(declined, "c", 3).await, (200, "REJECTED".to_owned()));
        for id in [kept, freed, declined] {
            let before = tributary::ambient::Clock::now(&app.clock) - TimeDelta::minutes(1);
            click_at(&app.services, app, &programme, id, Some(before)).await;
        }
        let found_now = async |order: &str| {
            let found = found(&owner, order).await;
            (found["status"].clone(), found["reason"].clone(), found["history"].as_array().map(Vec::len))
        };
        assert_eq!(found_now("a").await, (json!("PENDING"), Value::Null, Some(2)));
        assert_eq!(found_now("b").await, (json!("APPROVED"), Value::Null, Some(3)));
        assert_eq!(found_now("c").await, (json!("REJECTED"), json!("DECLINED"), Some(2)));
        assert_eq!(send(kept, "a", 1).await, (200, "APPROVED".to_owned()));
        assert_eq!(app.auditor.number(JOURNALS).await, 2);
    }

    async fn conversion_that_is_kept_back_and_whose_click_never_comes_is_refused(app) {
        let owner = app.owner();
        Programme::build(&owner, &Terms::default()).await;
        let_conversions_wait(&owner, 60).await;
        let (url, _) = endpoint(&owner, json!({ "dialect": "AFFISE", "defaultGoal": "sale" })).await;
        let url = format!("{url}/postback?clickid={}&action_id=a&sum=100&status=2", click_id());
        let response = reqwest::get(&url).await.expect("an answer");
        assert_eq!(response.status(), 200);
        app.clock.advance(TimeDelta::seconds(61));
        app.run_jobs().await;
        assert_eq!(found(&owner, "a").await["reason"], "UNKNOWN_CLICK");
        assert_eq!(reqwest::get(&url).await.expect("an answer").status(), 422);
    }
}
