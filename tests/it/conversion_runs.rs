//! Runs over many conversions: each is done once, whoever does it, however often it is begun; the others are listed.

use serde_json::{Value, json};
use tributary::{domain::tenancy::TenantScope, services::conversions::advance};
use tributary_entity::ids::ConversionRunId;

use crate::{
    refunds::{earnings, refund, reported, sold},
    support::{
        Client, Programme, Terms, TestApp, on_both,
        programme::{merge, sale},
    },
};

const RUN: &str = "conversionRun { id status action reason note author conversionsTotal conversionsSeen conversionsChanged \
    conversionsRefused refusals { conversionId code } finishedAt }";

/// Records waiting sales of 10.00 each; their ids, oldest first.
async fn pending(client: &Client, programme: &Programme, count: usize) -> Vec<String> {
    let click = programme.click(client).await;
    let items: Vec<Value> = (0..count).map(|number| sale(&click, &format!("{click}-{number}"), "10.00")).collect();
    let payload = client.done("recordConversions", json!({ "items": items }), "items { conversion { id } }").await;
    let items = payload["items"].as_array().expect("items").iter();
    let mut ids: Vec<String> = items.map(|item| item["conversion"]["id"].as_str().expect("an id").to_owned()).collect();
    ids.sort_unstable();
    ids
}

async fn start(client: &Client, action: &str, selection: Value, more: Value) -> Value {
    let mut input = json!({ "action": action, "selection": selection });
    merge(&mut input, more);
    client.done("startConversionRun", input, RUN).await["conversionRun"].take()
}

async fn run(client: &Client, id: &Value) -> Value {
    let query = format!("query($id: ID!) {{ {} }}", RUN.replacen("conversionRun", "conversionRun(id: $id)", 1));
    client.data(&query, json!({ "id": id })).await["conversionRun"].take()
}

async fn step(app: &TestApp, id: &Value, chunk: u64) {
    let id: ConversionRunId = id.as_str().expect("an id").parse().expect("an id");
    advance::advance(&app.services, &TenantScope::tenant(app.home), id, chunk).await.expect("advances");
}

on_both! {
    async fn run_by_a_filter_approves_what_was_there_and_lists_what_it_refuses(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::manual()).await;
        let ids = pending(&owner, &programme, 5).await;
        owner.done("rejectConversions", json!({ "ids": [ids[2]], "reason": "FRAUD" }), "").await;
        let selection = json!({ "filter": { "campaignIds": [programme.campaign] } });
        let input = json!({ "idempotencyKey": "once", "note": "all good" });
        let queued = start(&owner, "APPROVE", selection.clone(), input.clone()).await;
        assert_eq!((&queued["status"], &queued["conversionsTotal"]), (&json!("QUEUED"), &json!(5)));
        let late = pending(&owner, &programme, 1).await;
        app.run_jobs().await;
        let done = run(&owner, &queued["id"]).await;
        assert_eq!(done, json!({
            "id": queued["id"], "status": "DONE", "action": "APPROVE", "reason": null, "note": "all good", "author": "operator",
            "conversionsTotal": 5, "conversionsSeen": 5, "conversionsChanged": 4, "conversionsRefused": 1,
            "refusals": [{ "conversionId": ids[2], "code": "INVALID_TRANSITION" }], "finishedAt": done["finishedAt"],
        }));
        assert_eq!(earnings(&owner, &programme.affiliate).await, [100, 400, 0, 0], "what came later waits");
        let again = start(&owner, "APPROVE", selection, input).await;
        assert_eq!((&again["id"], &again["status"]), (&queued["id"], &json!("DONE")));
        let query = "query($id: ID!) { conversion(by: { id: $id }) { status history { actor note } } }";
        let data = owner.data(query, json!({ "id": ids[0] })).await;
        assert_eq!(data["conversion"]["history"][1], json!({ "actor": "operator", "note": "all good" }));
        let data = owner.data(query, json!({ "id": late[0] })).await;
        assert_eq!(data["conversion"]["status"], "PENDING");
    }

    async fn run_by_ids_rejects_and_tells_which_are_not_there(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::manual()).await;
        let mut named = pending(&owner, &programme, 2).await;
        let foreign = Programme::build(&app.stranger(), &Terms::manual()).await;
        let foreign = pending(&app.stranger(), &foreign, 1).await.remove(0);
        let absent = "cnv_00000000000000000000000001".to_owned();
        named.extend([foreign.clone(), absent.clone(), named[0].clone()]);
        let queued = start(&owner, "REJECT", json!({ "ids": named }), json!({ "reason": "FRAUD" })).await;
        assert_eq!(queued["conversionsTotal"], 4);
        app.run_jobs().await;
        let done = run(&owner, &queued["id"]).await;
        assert_eq!((&done["conversionsChanged"], &done["status"], &done["reason"]), (&json!(2), &json!("DONE"), &json!("FRAUD")));
        let not_found = |id: &str| json!({ "conversionId": id, "code": "NOT_FOUND" });
        assert_eq!(done["refusals"], json!([not_found(&absent), not_found(&foreign)]));
        assert_eq!(earnings(&owner, &programme.affiliate).await, [0, 0, 0, 0]);
        let query = "query($id: ID!) { conversion(by: { id: $id }) { status } }";
        let data = app.stranger().data(query, json!({ "id": foreign })).await;
        assert_eq!(data["conversion"]["status"], "PENDING");
    }

    async fn run_takes_back_what_is_left_of_each(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let [whole, part] = [sold(&owner, &programme, "49.00").await, sold(&owner, &programme, "100.00").await];
        refund(&owner, &part, Some("40.00"), "REFUND").await;
        assert_eq!(earnings(&owner, &programme.affiliate).await, [0, 490 + 600, 0, 0]);
        let queued = start(&owner, "REVERSE", json!({ "ids": [whole, part] }), json!({ "reason": "CHARGEBACK" })).await;
        app.run_jobs().await;
        assert_eq!(run(&owner, &queued["id"]).await["conversionsChanged"], 2);
        assert_eq!(earnings(&owner, &programme.affiliate).await, [0, 0, 0, 0]);
        assert_eq!(reported(app, &owner).await, [0, 0, 0]);
    }

    async fn run_goes_on_where_it_stood_and_two_runners_do_each_once(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::manual()).await;
        pending(&owner, &programme, 20).await;
        // Each chunk takes conversions out of the list that the run goes through.
        let selection = json!({ "filter": { "statuses": ["PENDING"] } });
        let queued = start(&owner, "APPROVE", selection, json!({})).await;
        step(app, &queued["id"], 3).await;
        let midway = run(&owner, &queued["id"]).await;
        assert_eq!((&midway["status"], &midway["conversionsSeen"]), (&json!("RUNNING"), &json!(3)));
        tokio::join!(step(app, &queued["id"], 3), step(app, &queued["id"], 3), step(app, &queued["id"], 3));
        while run(&owner, &queued["id"]).await["status"] != "DONE" {
            tokio::join!(step(app, &queued["id"], 3), step(app, &queued["id"], 3));
        }
        let done = run(&owner, &queued["id"]).await;
        assert_eq!((&done["conversionsSeen"], &done["conversionsChanged"]), (&json!(20), &json!(20)));
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM journal").await, 20);
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM conversion_history").await, 40);
        assert_eq!(earnings(&owner, &programme.affiliate).await, [0, 2_000, 0, 0]);
    }

    async fn cancelled_run_stays_where_it_stood(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::manual()).await;
        pending(&owner, &programme, 5).await;
        let selection = json!({ "filter": { "campaignIds": [programme.campaign] } });
        let queued = start(&owner, "APPROVE", selection, json!({})).await;
        step(app, &queued["id"], 2).await;
        let cancel = json!({ "id": queued["id"] });
        let cancelled = owner.done("cancelConversionRun", cancel.clone(), RUN).await["conversionRun"].take();
        assert_eq!((&cancelled["status"], &cancelled["conversionsChanged"]), (&json!("CANCELLED"), &json!(2)));
        assert_eq!(owner.refusal("cancelConversionRun", cancel).await, "INVALID_TRANSITION");
        app.run_jobs().await;
        assert_eq!(run(&owner, &queued["id"]).await, cancelled);
        assert_eq!(earnings(&owner, &programme.affiliate).await, [300, 200, 0, 0]);
    }

    async fn progress_of_a_run_is_told_to_its_end(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::manual()).await;
        pending(&owner, &programme, 4).await;
        let selection = json!({ "filter": { "campaignIds": [programme.campaign] } });
        let queued = start(&owner, "APPROVE", selection, json!({})).await;
        let watch = "subscription($id: ID!) { conversionRun(id: $id) { cursor run { status conversionsSeen } } }";
        let mut socket = owner.subscribe(watch, json!({ "id": queued["id"] })).await;
        let first = socket.next().await;
        assert_eq!(first["conversionRun"]["run"], json!({ "status": "QUEUED", "conversionsSeen": 0 }));
        step(app, &queued["id"], 2).await;
        app.run_jobs().await;
        loop {
            let told = socket.next().await;
            if told["conversionRun"]["run"]["status"] == "DONE" {
                assert_eq!(told["conversionRun"]["run"]["conversionsSeen"], 4);
                return;
            }
        }
    }

    async fn run_without_a_reason_or_ids_is_refused(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::manual()).await;
        let some = json!({ "filter": { "campaignIds": [programme.campaign] } });
        for (action, selection, code) in [
            ("REJECT", some.clone(), "REQUIRED"), ("REVERSE", some, "REQUIRED"),
            ("APPROVE", json!({ "ids": [] }), "BATCH_SIZE"), ("APPROVE", json!({ "ids": [programme.campaign] }), "INVALID_ID"),
        ] {
            let input = json!({ "action": action, "selection": selection });
            assert_eq!(owner.refusal("startConversionRun", input).await, code, "{action}");
        }
    }
}
