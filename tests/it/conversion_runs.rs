//! Runs over many conversions: each is done once, whoever does it, however often it is begun; the others are listed.

use serde_json::{Value, json};
use tributary::{ambient::Clock, domain::tenancy::TenantScope, services::conversions::advance, store::directory};
use tributary_entity::{
    ids::ConversionRunId,
    kinds::{ConversionRunAction, OutboxKind},
};

use crate::{
    refunds::{earnings, refund, reported, sold},
    story_overrides::{left, spent, three_levels},
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

/// Starts a run and has it done, chunk by chunk of two; the run then.
async fn done(app: &TestApp, client: &Client, action: &str, selection: Value, more: Value) -> Value {
    let queued = start(client, action, selection, more).await;
    step(app, &queued["id"], 2).await;
    loop {
        let run = run(client, &queued["id"]).await;
        if !["QUEUED", "RUNNING"].contains(&run["status"].as_str().expect("a status")) {
            return run;
        }
        step(app, &queued["id"], 2).await;
    }
}

/// Looked at, done and refused of a run, and how it ended.
fn counts(run: &Value) -> (Option<&str>, [Option<i64>; 3]) {
    let number = |name: &str| run[name].as_i64();
    let numbers = [number("conversionsSeen"), number("conversionsChanged"), number("conversionsRefused")];
    (run["status"].as_str(), numbers)
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

    async fn run_gives_again_on_every_level_what_another_took(app) {
        let owner = app.owner();
        let (programme, above) = three_levels(&owner, "AUTO").await;
        let mut sales = Vec::new();
        for _ in 0..3 {
            sales.push(sold(&owner, &programme, "100.00").await);
        }
        refund(&owner, &sales[1], Some("25.00"), "REFUND").await;
        let all = [left(&owner).await, spent(&owner).await.to_vec()];
        assert_eq!(all, [vec![5_500, 550, 275, 138], vec![5_500, 963, 0]]);
        let of_campaign = json!({ "filter": { "campaignIds": [programme.campaign] } });
        let lost = done(app, &owner, "REVERSE", of_campaign, json!({ "reason": "CHARGEBACK" })).await;
        assert_eq!(counts(&lost), (Some("DONE"), [Some(3), Some(3), Some(0)]));
        assert_eq!((left(&owner).await, spent(&owner).await), (vec![0; 4], [0; 3]));
        // Each goes out of the list that the run goes through.
        let taken = json!({ "filter": { "statuses": ["REVERSED"] } });
        let won = done(app, &owner, "UNDO", taken, json!({ "note": "won", "reason": "FRAUD" })).await;
        assert_eq!(counts(&won), (Some("DONE"), [Some(3), Some(3), Some(0)]));
        assert_eq!((&won["action"], &won["reason"]), (&json!("UNDO"), &Value::Null));
        assert_eq!([left(&owner).await, spent(&owner).await.to_vec()], all, "the refund before it stays");
        assert_eq!(earnings(&owner, &above[2]).await, [0, 138, 0, 0]);
        let query = "query($id: ID!) { conversion(by: { id: $id }) { status \
            changes { kind reason undone note saleAmount { amount } } history { actor } } }";
        let seen = owner.data(query, json!({ "id": sales[1] })).await["conversion"].take();
        let change = |kind: &str, reason: &str, undone: bool, note: Value, sale: &str| json!({
            "kind": kind, "reason": reason, "undone": undone, "note": note, "saleAmount": { "amount": sale },
        });
        assert_eq!(seen["status"], "APPROVED");
        assert_eq!(seen["changes"], json!([
            change("UNDO", "CHARGEBACK", false, json!("won"), "75.00"),
            change("REVERSAL", "CHARGEBACK", true, Value::Null, "-75.00"),
            change("REVERSAL", "REFUND", false, Value::Null, "-25.00"),
        ]));
        assert_eq!(seen["history"][3]["actor"], "operator");
        // Again: only of one is there anything left that was taken back.
        let again = done(app, &owner, "UNDO", json!({ "ids": sales }), json!({})).await;
        assert_eq!(counts(&again), (Some("DONE"), [Some(3), Some(1), Some(2)]));
        let mut others = [&sales[0], &sales[2]];
        others.sort_unstable();
        let refused: Vec<Value> =
            others.iter().map(|id| json!({ "conversionId": id, "code": "INVALID_TRANSITION" })).collect();
        assert_eq!(again["refusals"], json!(refused));
        assert_eq!((left(&owner).await, spent(&owner).await), (vec![6_000, 600, 300, 150], [6_000, 1_050, 0]));
    }

    async fn run_takes_up_again_what_was_refused_on_every_level(app) {
        let owner = app.owner();
        let (programme, above) = three_levels(&owner, "MANUAL").await;
        let ids = pending(&owner, &programme, 5).await;
        owner.done("approveConversions", json!({ "ids": [ids[4]] }), "").await;
        // The same order twice, refused both: only one of them can count.
        let click = programme.click(&owner).await;
        let mut twice = Vec::new();
        for key in ["a", "b"] {
            let mut input = sale(&click, "twice", "10.00");
            merge(&mut input, json!({ "idempotencyKey": key }));
            let payload = owner.done("recordConversion", input, "conversion { id }").await;
            let id = payload["conversion"]["id"].as_str().expect("an id").to_owned();
            let reject = json!({ "ids": [id], "reason": "FRAUD" });
            owner.mutate("rejectConversions", reject, "").await;
            twice.push(id);
        }
        let reason = json!({ "reason": "FRAUD" });
        let rejected = done(app, &owner, "REJECT", json!({ "ids": ids[..4] }), reason).await;
        assert_eq!(counts(&rejected), (Some("DONE"), [Some(4), Some(4), Some(0)]));
        assert_eq!(earnings(&owner, &programme.affiliate).await, [0, 200, 0, 0]);
        let absent = "cnv_00000000000000000000000001".to_owned();
        let named = [&ids[..], &twice[..], std::slice::from_ref(&absent)].concat();
        let opened = done(app, &owner, "REOPEN", json!({ "ids": named }), json!({ "note": "a mistake" })).await;
        assert_eq!(counts(&opened), (Some("DONE"), [Some(8), Some(5), Some(3)]), "{opened}");
        let code = |id: &String| {
            let refusals = opened["refusals"].as_array().expect("a list");
            refusals.iter().find(|one| one["conversionId"] == **id).map(|one| one["code"].clone())
        };
        assert_eq!(code(&ids[4]), Some(json!("INVALID_TRANSITION")), "approved");
        assert_eq!(code(&absent), Some(json!("NOT_FOUND")));
        assert_eq!([code(&twice[0]), code(&twice[1])], [None, Some(json!("INVALID_TRANSITION"))], "the order is taken");
        for (above, share) in above.iter().zip([20, 10, 5]) {
            assert_eq!(earnings(&owner, above).await, [5 * share, share, 0, 0]);
        }
        assert_eq!(earnings(&owner, &programme.affiliate).await, [1_000, 200, 0, 0]);
        assert_eq!(spent(&owner).await, [200, 35, 0]);
        let query = "query($id: ID!) { conversion(by: { id: $id }) { status reason history { toStatus actor note } } }";
        let seen = owner.data(query, json!({ "id": ids[0] })).await["conversion"].take();
        assert_eq!((&seen["status"], &seen["reason"]), (&json!("PENDING"), &json!("MANUAL")));
        assert_eq!(seen["history"][2], json!({ "toStatus": "PENDING", "actor": "operator", "note": "a mistake" }));
        // What a reviewer then approves reaches every level.
        let waiting = json!({ "filter": { "statuses": ["PENDING"] } });
        done(app, &owner, "APPROVE", waiting, json!({})).await;
        assert_eq!(spent(&owner).await, [1_200, 210, 0]);
    }

    async fn run_takes_back_a_part_of_each_and_another_gives_each_another_amount(app) {
        let owner = app.owner();
        let (programme, above) = three_levels(&owner, "AUTO").await;
        let mut sales = Vec::new();
        for amount in ["100.00", "40.00", "0.01"] {
            sales.push(sold(&owner, &programme, amount).await);
        }
        refund(&owner, &sales[1], Some("30.00"), "REFUND").await;
        let amounts = async |sales: &[String]| {
            let query = "query($id: ID!) { conversion(by: { id: $id }) { saleAdjustment { amount } refundedAmount { amount } } }";
            let mut amounts = Vec::new();
            for id in sales {
                let seen = owner.data(query, json!({ "id": id })).await["conversion"].take();
                let text = |name: &str| seen[name]["amount"].as_str().expect("an amount").to_owned();
                amounts.push((text("saleAdjustment"), text("refundedAmount")));
            }
            amounts
        };
        let pairs = |pairs: [(&str, &str); 3]| pairs.map(|(sale, refunded)| (sale.to_owned(), refunded.to_owned())).to_vec();
        // 25 % of 100.00; of 40.00, of which 10.00 are left; of a cent, which is nothing.
        let selection = json!({ "ids": sales });
        let more = json!({ "reason": "REFUND", "percent": "25" });
        let taken = done(app, &owner, "REFUND", selection.clone(), more).await;
        assert_eq!(counts(&taken), (Some("DONE"), [Some(3), Some(2), Some(1)]), "{taken}");
        assert_eq!(taken["refusals"], json!([{ "conversionId": sales[2], "code": "OUT_OF_RANGE" }]));
        assert_eq!(amounts(&sales).await, pairs([("0.00", "25.00"), ("0.00", "40.00"), ("0.00", "0.00")]));
        assert_eq!(earnings(&owner, &programme.affiliate).await[..2], [0, 1_500], "20 % of what is left");
        assert_eq!(spent(&owner).await[0], 1_500);
        // A quarter of a cent is nothing, which a sale cannot become.
        let none = done(app, &owner, "ADJUST", json!({ "ids": [sales[2]] }), json!({ "percent": "25" })).await;
        assert_eq!(none["refusals"], json!([{ "conversionId": sales[2], "code": "OUT_OF_RANGE" }]));
        // Half as much again, of a cent to the even one. What is taken back in full has no other amount.
        let more = json!({ "percent": "150", "note": "with tax" });
        let adjusted = done(app, &owner, "ADJUST", selection, more.clone()).await;
        assert_eq!(adjusted["refusals"].as_array().map(Vec::len), Some(1), "{adjusted}");
        assert_eq!(adjusted["refusals"][0], json!({ "conversionId": sales[1], "code": "INVALID_TRANSITION" }));
        assert_eq!(amounts(&sales).await, pairs([("50.00", "25.00"), ("0.00", "40.00"), ("0.01", "0.00")]));
        assert_eq!(earnings(&owner, &programme.affiliate).await[..2], [0, 2_500], "20 % of 125.00, and of two cents");
        for (above, minor) in above.iter().zip([250, 125, 63]) {
            assert_eq!(earnings(&owner, above).await[..2], [0, minor]);
        }
        let query = "query($id: ID!) { conversion(by: { id: $id }) { changes { kind note } } }";
        let seen = owner.data(query, json!({ "id": sales[0] })).await["conversion"].take();
        assert_eq!(seen["changes"][0], json!({ "kind": "ADJUSTMENT", "note": "with tax" }));
        for (action, more, code) in [
            ("REFUND", json!({ "reason": "REFUND" }), "REQUIRED"),
            ("REFUND", json!({ "reason": "REFUND", "percent": "100" }), "OUT_OF_RANGE"),
            ("REFUND", json!({ "percent": "10" }), "REQUIRED"),
            ("ADJUST", json!({ "percent": "1000.1" }), "INVALID_RATE"),
            ("APPROVE", json!({ "percent": "10" }), "OUT_OF_RANGE"),
        ] {
            let mut input = json!({ "action": action, "selection": { "ids": [sales[0]] } });
            merge(&mut input, more);
            assert_eq!(owner.refusal("startConversionRun", input).await, code, "{action}");
        }
    }

    async fn adjusting_run_rises_into_what_caps_have_left(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let cap = json!({ "campaignId": programme.campaign, "metric": "COMMISSION", "period": "LIFETIME",
            "amount": { "money": { "amount": "25.00", "currency": "EUR" } } });
        owner.done("createCap", cap, "").await;
        for _ in 0..2 {
            sold(&owner, &programme, "100.00").await;
        }
        let selection = json!({ "filter": { "campaignIds": [programme.campaign] } });
        let adjusted = done(app, &owner, "ADJUST", selection, json!({ "percent": "140" })).await;
        assert_eq!(counts(&adjusted), (Some("DONE"), [Some(2), Some(2), Some(0)]), "{adjusted}");
        assert_eq!(earnings(&owner, &programme.affiliate).await[1], 2_500, "14.00 and what is left: 11.00");
    }

    async fn node_that_knows_no_new_action_takes_up_no_run_of_one(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::manual()).await;
        let ids = pending(&owner, &programme, 3).await;
        for action in ConversionRunAction::ALL {
            let is_known = ["APPROVE", "REJECT", "REVERSE"].contains(&action.as_str());
            // Beside this one runs the node of the test, which may be first: what it does then is not there any more.
            let mut more = json!({ "reason": "FRAUD" });
            if ["REFUND", "ADJUST"].contains(&action.as_str()) {
                more["percent"] = json!("50");
            }
            let queued = start(&owner, action.as_str(), json!({ "ids": ids }), more).await;
            let of_earlier = [OutboxKind::RunConversions];
            let due = directory::due_work(&app.services.db, &of_earlier, app.clock.now(), 100).await.expect("read");
            let is_due = due.iter().any(|(_, work)| queued["id"] == work.dedup_key);
            assert!(is_known || !is_due, "{action}");
            app.run_jobs().await;
            app.until("SELECT COUNT(*) FROM conversion_run WHERE status IN ('QUEUED', 'RUNNING')", 0).await;
            assert_eq!(run(&owner, &queued["id"]).await["status"], "DONE", "{action}");
        }
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
