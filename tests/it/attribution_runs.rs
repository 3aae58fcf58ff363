//! Attribution runs: what they post, once, wherever the money is; and what everybody hears of it.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tributary::{ambient::Clock, domain::tenancy::TenantScope, services::attribution::apply};
use tributary_entity::{ids::AttributionRunId, kinds::Role};

use crate::{
    attribution::{Race, cents},
    payouts::{draft, payouts, submit},
    support::{Client, Terms, TestApp, on_both, programme::merge},
};

const RUN: &str = "attributionRun { id status model reason author conversionsTotal conversionsSeen conversionsChanged \
    totals { conversions added { amount currency } taken { amount } } affiliates { affiliate { id } conversions \
    added { amount } taken { amount } } }";

/// Asks for a run and does it; the run as it then is.
async fn apply(app: &TestApp, client: &Client, mut trial: Value) -> Value {
    merge(&mut trial, json!({ "reason": "the contract says so" }));
    let id = client.done("applyAttribution", trial, RUN).await["attributionRun"]["id"].take();
    app.run_jobs().await;
    app.until("SELECT COUNT(*) FROM attribution_run WHERE status IN ('QUEUED', 'RUNNING')", 0).await;
    let query = format!("query($id: ID!) {{ {} }}", RUN.replacen("attributionRun", "attributionRun(id: $id)", 1));
    client.data(&query, json!({ "id": id })).await["attributionRun"].take()
}

/// Unapproved, pending, available and debt of each affiliate, in cents.
async fn earnings(client: &Client, race: &Race) -> Vec<[i64; 4]> {
    let query = "query($id: ID!) { earnings(affiliateId: $id) { balances { unapproved { amount } pending { amount } \
        available { amount } debt { amount } } } }";
    let mut all = Vec::new();
    for affiliate in &race.affiliates {
        let data = client.data(query, json!({ "id": affiliate })).await;
        let balance = &data["earnings"]["balances"][0];
        all.push(["unapproved", "pending", "available", "debt"].map(|part| match balance {
            Value::Null => 0,
            balance => cents(&balance[part]),
        }));
    }
    all
}

/// The commission of each affiliate in the report, in cents.
async fn reported(app: &TestApp, client: &Client, race: &Race) -> Vec<i64> {
    let query = "query($input: ReportInput!) { report(input: $input) { affiliate { id } commission { amount } } }";
    let hour = chrono::DurationRound::duration_trunc(app.clock.now(), TimeDelta::hours(1)).expect("in range");
    let input = json!({
        "from": hour - TimeDelta::days(2), "until": hour + TimeDelta::hours(1), "groupBy": ["AFFILIATE"],
        "campaignIds": [race.programme.campaign],
    });
    let data = client.data(query, json!({ "input": input })).await;
    let rows = data["report"].as_array().expect("rows");
    let of = |affiliate: &String| rows.iter().find(|row| row["affiliate"]["id"] == **affiliate);
    race.affiliates.iter().map(|affiliate| of(affiliate).map_or(0, |row| cents(&row["commission"]))).collect()
}

/// A conversion's decision, commissions and history.
async fn conversion(client: &Client, id: &str) -> Value {
    let query = "query($id: ID!) { conversion(by: { id: $id }) { status version commissionTotal { amount } attribution { \
        model version source windowSeconds halfLifeSeconds minimumSeconds touches { affiliate { id } share } } \
        commissions { affiliate { id } status amount { amount } adjustment { amount } total { amount } } \
        history { version fromStatus toStatus note } } }";
    client.data(query, json!({ "id": id })).await["conversion"].take()
}

async fn journals(app: &TestApp) -> i64 {
    app.auditor.number("SELECT COUNT(*) FROM journal WHERE kind = 'ADJUSTMENT'").await
}

on_both! {
    async fn run_in_the_hold_period_moves_what_is_pending(app) {
        let owner = app.owner();
        let race = Race::begin(&owner, &Terms::default()).await;
        let sold = race.journey(app, &owner, &[0, 1, 2], "100.00").await;
        let run = apply(app, &owner, race.trial(app, "LINEAR")).await;
        let line = |affiliate: &str, added: &str, taken: &str| json!({
            "affiliate": { "id": affiliate }, "conversions": 1, "added": { "amount": added }, "taken": { "amount": taken },
        });
        let [first, second, third] = &race.affiliates;
        assert_eq!(run, json!({
            "id": run["id"], "status": "DONE", "model": "LINEAR", "reason": "the contract says so", "author": "operator",
            "conversionsTotal": 1, "conversionsSeen": 1, "conversionsChanged": 1,
            "totals": [{ "conversions": 1, "added": { "amount": "6.67", "currency": "EUR" }, "taken": { "amount": "6.67" } }],
            "affiliates": [line(third, "0.00", "6.67"), line(first, "3.34", "0.00"), line(second, "3.33", "0.00")],
        }));
        assert_eq!(earnings(&owner, &race).await, [[0, 334, 0, 0], [0, 333, 0, 0], [0, 333, 0, 0]]);
        assert_eq!(reported(app, &owner, &race).await, [334, 333, 333]);

        let after = conversion(&owner, &sold).await;
        assert_eq!((&after["status"], &after["version"]), (&json!("APPROVED"), &json!(2)));
        assert_eq!(after["commissionTotal"]["amount"], "10.00");
        let touch = |affiliate: &str, share: &str| json!({ "affiliate": { "id": affiliate }, "share": share });
        assert_eq!(after["attribution"], json!({
            "model": "LINEAR", "version": 2, "source": "CLICK_ID", "windowSeconds": 2_592_000, "halfLifeSeconds": 604_800,
            "minimumSeconds": 0,
            "touches": [touch(first, "0.333334"), touch(second, "0.333333"), touch(third, "0.333333")],
        }));
        let step = json!({ "version": 2, "fromStatus": "APPROVED", "toStatus": "APPROVED", "note": "the contract says so" });
        assert_eq!(after["history"][1], step);
        let commission = |affiliate: &str, amount: &str, adjustment: &str, total: &str| json!({
            "affiliate": { "id": affiliate }, "status": "PENDING", "amount": { "amount": amount },
            "adjustment": { "amount": adjustment }, "total": { "amount": total },
        });
        // What was reckoned first stays.
        assert_eq!(after["commissions"][0], commission(third, "10.00", "-6.67", "3.33"));
        let mut others = after["commissions"].as_array().expect("a list")[1..].to_vec();
        others.sort_by_key(|row| std::cmp::Reverse(cents(&row["total"])));
        assert_eq!(others, [commission(first, "3.34", "0.00", "3.34"), commission(second, "3.33", "0.00", "3.33")]);

        // The hold ends for all of them at once.
        app.clock.advance(TimeDelta::days(2));
        app.release_holds().await;
        assert_eq!(earnings(&owner, &race).await, [[0, 0, 334, 0], [0, 0, 333, 0], [0, 0, 333, 0]]);
    }

    async fn same_again_posts_nothing_and_going_back_makes_all_even(app) {
        let owner = app.owner();
        let race = Race::begin(&owner, &Terms::default()).await;
        for affiliates in [&[0, 1][..], &[1, 2, 0], &[2, 1], &[0]] {
            race.journey(app, &owner, affiliates, "33.33").await;
        }
        let before = earnings(&owner, &race).await;
        let mut trial = race.trial(app, "POSITION_BASED");
        trial["idempotencyKey"] = json!("once");
        trial["reason"] = json!("the contract says so");
        let first = apply(app, &owner, trial.clone()).await;
        assert_eq!(first["conversionsChanged"], 4);
        let (posted, after) = (journals(app).await, earnings(&owner, &race).await);
        assert_eq!(posted, 3);
        assert_ne!(after, before);

        // The same key is the same run; another key finds nothing left to do.
        let replayed = owner.done("applyAttribution", trial.clone(), "replayed attributionRun { id status }").await;
        let expected = json!({ "id": first["id"], "status": "DONE" });
        assert_eq!((&replayed["replayed"], &replayed["attributionRun"]), (&json!(true), &expected));
        trial["reason"] = json!("another");
        assert_eq!(owner.refusal("applyAttribution", trial).await, "IDEMPOTENCY_CONFLICT");
        let again = apply(app, &owner, race.trial(app, "POSITION_BASED")).await;
        assert_eq!((&again["conversionsSeen"], &again["conversionsChanged"]), (&json!(4), &json!(0)));
        assert_eq!(again["totals"], json!([]));
        assert_eq!(journals(app).await, posted);
        assert_eq!(earnings(&owner, &race).await, after);
        let balance = "{ trialBalance { balanced } }";
        assert_eq!(owner.data(balance, json!({})).await["trialBalance"]["balanced"], true);

        let back = apply(app, &owner, race.trial(app, "LAST_CLICK")).await;
        assert_eq!(back["conversionsChanged"], 4);
        assert_eq!(earnings(&owner, &race).await, before);
        // And there again: a commission that a run brought to nothing is still there to add to.
        apply(app, &owner, race.trial(app, "POSITION_BASED")).await;
        assert_eq!(earnings(&owner, &race).await, after);
    }

    async fn what_was_paid_out_is_owed_and_paid_off_by_what_comes(app) {
        let owner = app.owner();
        let race = Race::begin(&owner, &Terms { hold_seconds: 0, ..Terms::default() }).await;
        race.journey(app, &owner, &[0, 1], "100.00").await;
        race.journey(app, &owner, &[1, 0], "40.00").await;
        app.release_holds().await;
        assert_eq!(earnings(&owner, &race).await[..2], [[0, 0, 400, 0], [0, 0, 1_000, 0]]);
        let batch = draft(&owner).await;
        submit(&owner, &batch).await;
        for payout in payouts(&batch) {
            owner.done("markPayoutPaid", json!({ "id": payout, "reference": "1" }), "").await;
        }
        // 10.00 goes from the second to the first, 4.00 comes back: neither has anything left.
        apply(app, &owner, race.trial(app, "FIRST_CLICK")).await;
        assert_eq!(earnings(&owner, &race).await[..2], [[0, 0, 600, 0], [0, 0, 0, 600]]);
        apply(app, &owner, race.trial(app, "LAST_CLICK")).await;
        assert_eq!(earnings(&owner, &race).await[..2], [[0, 0, 0, 0], [0, 0, 0, 0]]);
    }

    async fn what_nobody_approved_is_not_posted_and_is_approved_or_rejected_as_it_is_then(app) {
        let owner = app.owner();
        let race = Race::begin(&owner, &Terms::manual()).await;
        let (good, bad) =
            (race.journey(app, &owner, &[0, 1], "100.00").await, race.journey(app, &owner, &[0, 1], "10.00").await);
        let run = apply(app, &owner, race.trial(app, "LINEAR")).await;
        assert_eq!(run["totals"][0]["added"]["amount"], "5.50");
        assert_eq!(earnings(&owner, &race).await[..2], [[550, 0, 0, 0], [550, 0, 0, 0]]);
        assert_eq!(journals(app).await, 0);
        owner.done("approveConversions", json!({ "ids": [good] }), "").await;
        owner.done("rejectConversions", json!({ "ids": [bad], "reason": "FRAUD" }), "").await;
        assert_eq!(earnings(&owner, &race).await[..2], [[0, 500, 0, 0], [0, 500, 0, 0]]);
        assert_eq!(reported(app, &owner, &race).await[..2], [500, 500]);
        // A refused conversion is nobody's to credit anew.
        let run = apply(app, &owner, race.trial(app, "FIRST_CLICK")).await;
        assert_eq!((&run["conversionsSeen"], &run["totals"][0]["added"]["amount"]), (&json!(1), &json!("5.00")));
        assert_eq!(earnings(&owner, &race).await[..2], [[0, 1_000, 0, 0], [0, 0, 0, 0]]);
    }

    async fn conversion_without_a_touch_that_counts_is_credited_to_nobody(app) {
        let owner = app.owner();
        let race = Race::begin(&owner, &Terms::default()).await;
        let sold = race.journey(app, &owner, &[0], "100.00").await;
        let mut trial = race.trial(app, "LINEAR");
        trial["minimumSeconds"] = json!(7_200);
        apply(app, &owner, trial).await;
        let after = conversion(&owner, &sold).await;
        assert_eq!((&after["attribution"]["version"], &after["attribution"]["touches"]), (&json!(2), &json!([])));
        assert_eq!(after["commissionTotal"]["amount"], "0.00");
        assert_eq!(earnings(&owner, &race).await[0], [0, 0, 0, 0]);
    }

    async fn run_goes_on_where_it_was_cut_off_and_posts_nothing_twice(app) {
        let owner = app.owner();
        let race = Race::begin(&owner, &Terms::default()).await;
        for _ in 0..7 {
            race.journey(app, &owner, &[0, 1], "100.00").await;
        }
        let mut trial = race.trial(app, "LINEAR");
        merge(&mut trial, json!({ "reason": "trial" }));
        // The run is taken from the jobs: nobody else goes on with it.
        let scope = TenantScope::tenant(app.home);
        let id = owner.done("applyAttribution", trial, RUN).await["attributionRun"]["id"].take();
        let id: AttributionRunId = id.as_str().expect("an id").parse().expect("an id");
        // Two at once, of which some are given up in the middle: each chunk is done whole or not at all.
        for _ in 0..20 {
            let step = apply::advance(&app.services, &scope, id, 2);
            let cut_off = tokio::time::timeout(std::time::Duration::from_millis(3), step).await;
            drop(cut_off);
            let (one, other) = tokio::join!(
                apply::advance(&app.services, &scope, id, 1),
                apply::advance(&app.services, &scope, id, 1),
            );
            one.and(other).expect("advances");
        }
        app.until("SELECT COUNT(*) FROM attribution_run WHERE status = 'DONE' AND conversions_seen = 7", 1).await;
        assert_eq!(journals(app).await, 7);
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM attribution_decision WHERE version = 2").await, 7);
        assert_eq!(earnings(&owner, &race).await[..2], [[0, 3_500, 0, 0], [0, 3_500, 0, 0]]);
    }

    async fn progress_earnings_and_conversions_are_told_live(app) {
        let owner = app.owner();
        let race = Race::begin(&owner, &Terms::default()).await;
        let sold = race.journey(app, &owner, &[0, 1], "100.00").await;
        let watched = "subscription($id: ID!) { earnings(affiliateId: $id) { balances { pending { amount } } } }";
        let mut gains = owner.subscribe(watched, json!({ "id": race.affiliates[0] })).await;
        let mut loses = owner.subscribe(watched, json!({ "id": race.affiliates[1] })).await;
        assert_eq!(gains.next().await["earnings"]["balances"], json!([]));
        assert_eq!(loses.next().await["earnings"]["balances"][0]["pending"]["amount"], "10.00");
        let cursor = owner.data("{ conversionCursor }", json!({})).await["conversionCursor"].take();
        let told = "subscription($after: Cursor) { conversions(after: $after) { type conversion { id version attribution { \
            model touches { share affiliate { id } } } commissions { total { amount } } } } }";
        let mut conversions = owner.subscribe(told, json!({ "after": cursor })).await;

        let mut trial = race.trial(app, "LINEAR");
        merge(&mut trial, json!({ "reason": "trial" }));
        let run = owner.done("applyAttribution", trial, RUN).await["attributionRun"]["id"].take();
        let progress = "subscription($id: ID!) { attributionRun(id: $id) { cursor run { status conversionsSeen totals { \
            added { amount } } } } }";
        let mut steps = owner.subscribe(progress, json!({ "id": run })).await;
        app.run_jobs().await;
        let done = loop {
            let step = steps.next().await["attributionRun"]["run"].take();
            if step["status"] == "DONE" {
                break step;
            }
        };
        assert_eq!((&done["conversionsSeen"], &done["totals"][0]["added"]["amount"]), (&json!(1), &json!("5.00")));
        assert_eq!(gains.next().await["earnings"]["balances"][0]["pending"]["amount"], "5.00");
        assert_eq!(loses.next().await["earnings"]["balances"][0]["pending"]["amount"], "5.00");
        let event = conversions.next().await["conversions"].take();
        assert_eq!((&event["type"], &event["conversion"]["id"]), (&json!("REATTRIBUTED"), &json!(sold)));
        assert_eq!(event["conversion"]["attribution"]["model"], "LINEAR");
        assert_eq!(event["conversion"]["commissions"][1]["total"]["amount"], "5.00");
        // One more subscriber begins with the run as it is.
        let mut late = owner.subscribe(progress, json!({ "id": run })).await;
        assert_eq!(late.next().await["attributionRun"]["run"]["status"], "DONE");
    }

    async fn runs_are_their_tenants_and_asked_for_by_those_who_handle_money(app) {
        let (owner, stranger) = (app.owner(), app.stranger());
        let (race, away) = (Race::begin(&owner, &Terms::default()).await, Race::begin(&stranger, &Terms::default()).await);
        race.journey(app, &owner, &[0, 1], "100.00").await;
        away.journey(app, &stranger, &[0, 1], "100.00").await;
        let before = earnings(&stranger, &away).await;
        let mut all = race.trial(app, "FIRST_CLICK");
        all["campaignId"] = Value::Null;
        let run = apply(app, &app.role(Role::Finance), all).await;
        assert_eq!(run["conversionsSeen"], 1);
        assert_eq!(earnings(&stranger, &away).await, before);

        let one = "query($id: ID!) { attributionRun(id: $id) { id } node(id: $id) { id } attributionRuns(first: 5) { \
            totalCount edges { node { id } } } }";
        let seen = owner.data(one, json!({ "id": run["id"] })).await;
        assert_eq!((&seen["attributionRun"]["id"], &seen["attributionRuns"]["totalCount"]), (&run["id"], &json!(1)));
        let unseen = stranger.data(one, json!({ "id": run["id"] })).await;
        assert_eq!((&unseen["attributionRun"], &unseen["node"]), (&Value::Null, &Value::Null));
        assert_eq!(unseen["attributionRuns"]["totalCount"], 0);
        let progress = "subscription($id: ID!) { attributionRun(id: $id) { cursor } }";
        assert_eq!(stranger.subscribe(progress, json!({ "id": run["id"] })).await.error_code().await, "NOT_FOUND");
        let mut foreign = away.trial(app, "LINEAR");
        merge(&mut foreign, json!({ "reason": "trial" }));
        assert_eq!(owner.refusal("applyAttribution", foreign).await, "NOT_FOUND");

        let mut trial = race.trial(app, "LINEAR");
        merge(&mut trial, json!({ "reason": " " }));
        assert_eq!(owner.refusal("applyAttribution", trial.clone()).await, "REQUIRED");
        trial["reason"] = json!("trial");
        let mutation = "mutation($input: ApplyAttributionInput!) { applyAttribution(input: $input) { replayed } }";
        for role in [Role::Manager, Role::Analyst, Role::Integration] {
            let code = app.role(role).error_code(mutation, json!({ "input": trial })).await;
            assert_eq!(code, "FORBIDDEN", "{role}");
        }
    }
}
