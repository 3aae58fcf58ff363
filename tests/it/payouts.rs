//! Payouts: from an affiliate's available balance to a bank and, sometimes, back; each step posted once.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tributary::{
    ambient::Clock,
    domain::{
        ledger::{AccountKey, Code, Journal, Line},
        tenancy::TenantScope,
    },
    services::ledger,
};
use tributary_entity::{
    ids::AffiliateId,
    kinds::{JournalKind, Role},
    money::Currency,
};

use crate::support::{
    Client, Programme, Terms, TestApp,
    app::PASSWORD,
    on_both,
    programme::{enroll, id, merge, new_affiliate, sale},
};

const PAYOUT: &str = "payout { id status gross { amount currency } method reference reason retryOf version paidAt \
    closedAt affiliate { id } batch { id status author } }";
const BATCH: &str = "payoutBatch { id status author approver note minimumAmount { amount } totals { status count gross { \
    amount } } passedOver { reason affiliate { id } payout { id } } payouts(first: 100) { totalCount edges { node { id \
    status gross { amount } affiliate { id } } } } }";

/// A programme of which all that is earned is available at once.
pub async fn quick(client: &Client) -> Programme {
    Programme::build(client, &Terms { hold_seconds: 0, ..Terms::default() }).await
}

/// Has a programme's affiliate earn a tenth of an amount.
pub async fn earn(app: &TestApp, client: &Client, programme: &Programme, amount: &str) {
    let click = programme.click(client).await;
    client.done("recordConversion", sale(&click, &click, amount), "").await;
    app.release_holds().await;
}

/// Another affiliate of a programme.
pub async fn another(client: &Client, programme: &Programme) -> Programme {
    let affiliate = new_affiliate(client).await;
    let (enrollment, link) = enroll(client, &programme.campaign, &affiliate).await;
    Programme { affiliate, enrollment, link, ..programme.clone() }
}

/// Drafts a batch of everybody in euros.
pub async fn draft(client: &Client) -> Value {
    client.done("createPayoutBatch", json!({ "currency": "EUR" }), BATCH).await["payoutBatch"].take()
}

/// The ids of a batch's payouts.
pub fn payouts(batch: &Value) -> Vec<String> {
    let edges = batch["payouts"]["edges"].as_array().expect("a page");
    edges.iter().map(|edge| edge["node"]["id"].as_str().expect("an id").to_owned()).collect()
}

/// Approves and submits a batch.
pub async fn submit(client: &Client, batch: &Value) -> Value {
    client.done("approvePayoutBatch", json!({ "id": batch["id"] }), "").await;
    client.done("submitPayoutBatch", json!({ "id": batch["id"] }), BATCH).await["payoutBatch"].take()
}

/// A submitted payout of all that a programme's affiliate has.
async fn submitted(client: &Client) -> String {
    let batch = draft(client).await;
    submit(client, &batch).await;
    payouts(&batch).remove(0)
}

async fn mark(client: &Client, name: &str, input: Value) -> Value {
    client.done(name, input, PAYOUT).await["payout"].take()
}

async fn status(client: &Client, payout: &str) -> String {
    let data = client.data("query($id: ID!) { payout(id: $id) { status } }", json!({ "id": payout })).await;
    data["payout"]["status"].as_str().expect("a status").to_owned()
}

/// Available and debt of an affiliate in euros.
async fn balances(client: &Client, affiliate: &str) -> [String; 2] {
    let query = "query($id: ID!) { earnings(affiliateId: $id) { balances { available { amount } debt { amount } } } }";
    let data = client.data(query, json!({ "id": affiliate })).await;
    ["available", "debt"].map(|part| {
        let amount = &data["earnings"]["balances"][0][part]["amount"];
        amount.as_str().unwrap_or_else(|| panic!("{part} in {data}")).to_owned()
    })
}

/// Posts what a reversal will: between an affiliate's account and the expense, debit positive.
pub async fn post(app: &TestApp, affiliate: &str, code: Code, amount_minor: i64) {
    let affiliate: AffiliateId = affiliate.parse().expect("an id");
    post_to(app, |currency| AccountKey::of_affiliate(code, affiliate, currency), amount_minor).await;
}

/// Posts between an account and the expense, debit positive.
pub async fn post_to(app: &TestApp, account: impl Fn(Currency) -> AccountKey, amount_minor: i64) {
    let currency: Currency = "EUR".parse().expect("known");
    let lines = vec![
        Line { account: account(currency), amount_minor },
        Line { account: AccountKey::of_tenant(Code::CommissionExpense, currency), amount_minor: -amount_minor },
    ];
    let key = uuid::Uuid::new_v4().to_string();
    let journal = Journal::new(JournalKind::HoldReleased, key, None, lines).expect("balances").expect("lines");
    let mut tx = app.services.db.begin(&TenantScope::tenant(app.home)).await.expect("begins");
    ledger::post(&mut tx, &[journal], app.clock.now()).await.expect("posted");
    tx.commit().await.expect("commits");
}

/// The trial balance's credits less debits, by code.
async fn trial(client: &Client, code: i64) -> i64 {
    let query = "{ trialBalance { balanced lines { code debit { amount } credit { amount } } } }";
    let data = client.data(query, json!({})).await;
    assert_eq!(data["trialBalance"]["balanced"], true);
    let cents =
        |amount: &Value| amount["amount"].as_str().expect("an amount").replace('.', "").parse::<i64>().expect("cents");
    let lines = data["trialBalance"]["lines"].as_array().expect("lines");
    lines.iter().filter(|line| line["code"] == code).map(|line| cents(&line["credit"]) - cents(&line["debit"])).sum()
}

/// Somebody of the tenant, logged in.
pub async fn person(app: &TestApp, name: &str, role: &str) -> Client {
    let email = format!("{name}@people.example");
    let user = json!({ "email": email, "name": name, "password": PASSWORD, "roles": [role] });
    app.owner().done("createUser", user, "").await;
    let login = json!({ "tenant": "home", "email": email, "password": PASSWORD });
    let payload = app.anonymous().done("login", login, "accessToken").await;
    Client::new(&app.url, payload["accessToken"].as_str().map(str::to_owned))
}

on_both! {
    async fn payout_is_drafted_approved_submitted_and_paid(app) {
        let owner = app.owner();
        let programme = quick(&owner).await;
        earn(app, &owner, &programme, "100.00").await;
        let input = json!({ "currency": "EUR", "note": " November ", "minimumAmount": { "amount": "0.01", "currency": "EUR" } });
        let batch = owner.done("createPayoutBatch", input, BATCH).await["payoutBatch"].take();
        let payout = payouts(&batch).remove(0);
        assert_eq!(batch, json!({
            "id": batch["id"], "status": "DRAFT", "author": "operator", "approver": null, "note": "November",
            "minimumAmount": { "amount": "0.01" }, "passedOver": [],
            "totals": [{ "status": "DRAFT", "count": 1, "gross": { "amount": "10.00" } }],
            "payouts": { "totalCount": 1, "edges": [{ "node": {
                "id": payout, "status": "DRAFT", "gross": { "amount": "10.00" }, "affiliate": { "id": programme.affiliate },
            } }] },
        }));
        // A draft moves nothing, and what comes after it waits for the next.
        earn(app, &owner, &programme, "50.00").await;
        assert_eq!(balances(&owner, &programme.affiliate).await, ["15.00", "0.00"]);
        let approved = owner.done("approvePayoutBatch", json!({ "id": batch["id"] }), BATCH).await;
        assert_eq!(
            (&approved["payoutBatch"]["status"], &approved["payoutBatch"]["approver"]),
            (&json!("APPROVED"), &json!("operator")),
        );
        assert_eq!(balances(&owner, &programme.affiliate).await, ["15.00", "0.00"]);
        let submitted = owner.done("submitPayoutBatch", json!({ "id": batch["id"] }), BATCH).await;
        assert_eq!(
            submitted["payoutBatch"]["totals"],
            json!([{ "status": "SUBMITTED", "count": 1, "gross": { "amount": "10.00" } }]),
        );
        assert_eq!(balances(&owner, &programme.affiliate).await, ["5.00", "0.00"]);
        assert_eq!((trial(&owner, 2020).await, trial(&owner, 1000).await), (1_000, 0));

        let paid_at = (app.clock.now() - TimeDelta::hours(3)).format("%Y-%m-%dT%H:%M:%S+00:00").to_string();
        let input = json!({ "id": payout, "reference": " E2E-1 ", "paidAt": paid_at });
        let paid = mark(&owner, "markPayoutPaid", input).await;
        assert_eq!(paid, json!({
            "id": payout, "status": "PAID", "gross": { "amount": "10.00", "currency": "EUR" }, "method": "MANUAL",
            "reference": "E2E-1", "reason": null, "retryOf": null, "version": 4, "paidAt": paid_at, "closedAt": null,
            "affiliate": { "id": programme.affiliate },
            "batch": { "id": batch["id"], "status": "SUBMITTED", "author": "operator" },
        }));
        assert_eq!(balances(&owner, &programme.affiliate).await, ["5.00", "0.00"]);
        assert_eq!((trial(&owner, 2020).await, trial(&owner, 1000).await), (0, 1_000));

        let query = "query($id: ID!) { node(id: $id) { ... on Payout { history { version fromStatus toStatus reference \
            actor journal { kind businessKey entries { account { code processor } debit { amount } } } } } } }";
        let data = owner.data(query, json!({ "id": payout })).await;
        let step = |version: i32, from: Value, to: &str, reference: Value, journal: Value| json!({
            "version": version, "fromStatus": from, "toStatus": to, "reference": reference, "actor": "operator",
            "journal": journal,
        });
        let line = |code: i32, processor: Value, debit: Value| json!({
            "account": { "code": code, "processor": processor }, "debit": debit,
        });
        let ten = json!({ "amount": "10.00" });
        assert_eq!(data["node"]["history"], json!([
            step(1, Value::Null, "DRAFT", Value::Null, Value::Null),
            step(2, json!("DRAFT"), "APPROVED", Value::Null, Value::Null),
            step(3, json!("APPROVED"), "SUBMITTED", Value::Null, json!({
                "kind": "PAYOUT_INITIATED", "businessKey": payout,
                "entries": [line(2010, Value::Null, ten.clone()), line(2020, json!("MANUAL"), Value::Null)],
            })),
            step(4, json!("SUBMITTED"), "PAID", json!("E2E-1"), json!({
                "kind": "PAYOUT_SETTLED", "businessKey": format!("{payout}:settle"),
                "entries": [line(2020, json!("MANUAL"), ten), line(1000, json!("MANUAL"), Value::Null)],
            })),
        ]));
    }

    async fn affiliate_sees_the_steps_of_its_own_payouts_and_not_who_took_them(app) {
        let owner = app.owner();
        let ada = quick(&owner).await;
        earn(app, &owner, &ada, "100.00").await;
        let payout = submitted(&owner).await;
        mark(&owner, "markPayoutFailed", json!({ "id": payout, "reason": "account closed" })).await;
        let query = "query($id: ID!) { payout(id: $id) { history { version fromStatus toStatus reason recordedAt } } }";
        let (id, own) = (json!({ "id": payout }), app.affiliate(&ada.affiliate));
        let seen = own.data(query, id.clone()).await;
        assert_eq!(seen, owner.data(query, id.clone()).await);
        assert_eq!(seen["payout"]["history"][3]["reason"], "account closed");
        for closed in ["actor", "journal { id }"] {
            let query = format!("query($id: ID!) {{ payout(id: $id) {{ history {{ version {closed} }} }} }}");
            assert_eq!(own.error_code(&query, id.clone()).await, "FORBIDDEN", "{closed}");
        }
        let bob = another(&owner, &ada).await;
        assert_eq!(app.affiliate(&bob.affiliate).data(query, id).await["payout"], Value::Null);
    }

    async fn failed_payout_gives_the_money_back_and_can_be_repeated_once(app) {
        let owner = app.owner();
        let programme = quick(&owner).await;
        earn(app, &owner, &programme, "100.00").await;
        let payout = submitted(&owner).await;
        assert_eq!(balances(&owner, &programme.affiliate).await, ["0.00", "0.00"]);
        let failed = mark(&owner, "markPayoutFailed", json!({ "id": payout, "reason": "account closed" })).await;
        assert_eq!((&failed["status"], &failed["reason"]), (&json!("FAILED"), &json!("account closed")));
        assert_eq!(balances(&owner, &programme.affiliate).await, ["10.00", "0.00"]);

        // A repetition pays what was not paid, not what was earned since.
        earn(app, &owner, &programme, "50.00").await;
        let retried = mark(&owner, "retryPayout", json!({ "id": payout })).await;
        assert_eq!((&retried["status"], &retried["retryOf"]), (&json!("DRAFT"), &json!(payout)));
        assert_eq!(retried["gross"]["amount"], "10.00");
        assert_eq!(owner.refusal("retryPayout", json!({ "id": payout })).await, "ALREADY_EXISTS");
        // One that was given up is none.
        owner.done("cancelPayout", json!({ "id": retried["id"] }), "").await;
        let retried = mark(&owner, "retryPayout", json!({ "id": payout })).await;
        submit(&owner, &retried["batch"]).await;
        mark(&owner, "markPayoutPaid", json!({ "id": retried["id"], "reference": "2" })).await;
        assert_eq!(owner.refusal("retryPayout", json!({ "id": payout })).await, "ALREADY_EXISTS");
        assert_eq!(owner.refusal("retryPayout", json!({ "id": retried["id"] })).await, "INVALID_TRANSITION");
        assert_eq!(balances(&owner, &programme.affiliate).await, ["5.00", "0.00"]);
    }

    async fn payout_that_comes_back_weeks_later_pays_the_debt_first(app) {
        let owner = app.owner();
        let programme = quick(&owner).await;
        earn(app, &owner, &programme, "100.00").await;
        let payout = submitted(&owner).await;
        mark(&owner, "markPayoutPaid", json!({ "id": payout, "reference": "1" })).await;
        post(app, &programme.affiliate, Code::AffiliateReceivable, 400).await;
        // Debts block, and are netted by what is earned.
        assert_eq!(payouts(&draft(&owner).await), [""; 0]);
        earn(app, &owner, &programme, "15.00").await;
        assert_eq!(balances(&owner, &programme.affiliate).await, ["0.00", "2.50"]);
        app.clock.advance(TimeDelta::days(30));
        let returned = json!({ "id": payout, "reference": "R-9", "reason": "recipient unknown" });
        let returned = mark(&owner, "markPayoutReturned", returned).await;
        assert_eq!((&returned["status"], &returned["reference"]), (&json!("RETURNED"), &json!("1")));
        assert_eq!(balances(&owner, &programme.affiliate).await, ["7.50", "0.00"]);
        assert_eq!((trial(&owner, 2020).await, trial(&owner, 1000).await), (0, 0));
        let query = "{ journals(first: 1, filter: { kinds: [PAYOUT_RETURNED] }) { edges { node { businessKey } } } }";
        let journal = owner.data(query, json!({})).await;
        assert_eq!(journal["journals"]["edges"][0]["node"]["businessKey"], format!("{payout}:return:R-9"));
        // The repetition cannot pay what went into the debt.
        let retried = mark(&owner, "retryPayout", json!({ "id": payout })).await;
        assert_eq!(retried["gross"]["amount"], "7.50");
    }

    async fn failure_pays_the_debt_first(app) {
        let owner = app.owner();
        let programme = quick(&owner).await;
        earn(app, &owner, &programme, "100.00").await;
        let payout = submitted(&owner).await;
        post(app, &programme.affiliate, Code::AffiliateReceivable, 1_200).await;
        mark(&owner, "markPayoutFailed", json!({ "id": payout, "reason": "refused" })).await;
        assert_eq!(balances(&owner, &programme.affiliate).await, ["0.00", "2.00"]);
        assert_eq!(owner.refusal("retryPayout", json!({ "id": payout })).await, "INVALID_TRANSITION");
    }

    async fn payout_is_given_up_before_and_after_it_is_submitted(app) {
        let owner = app.owner();
        let programme = quick(&owner).await;
        earn(app, &owner, &programme, "100.00").await;
        let batch = draft(&owner).await;
        let payout = &payouts(&batch)[0];
        let cancelled = mark(&owner, "cancelPayout", json!({ "id": payout, "reason": "on holiday" })).await;
        assert_eq!((&cancelled["status"], &cancelled["reason"]), (&json!("CANCELLED"), &json!("on holiday")));
        assert_eq!(owner.refusal("approvePayoutBatch", json!({ "id": batch["id"] })).await, "INVALID_TRANSITION");

        let batch = draft(&owner).await;
        owner.done("approvePayoutBatch", json!({ "id": batch["id"] }), "").await;
        owner.done("cancelPayout", json!({ "id": payouts(&batch)[0] }), "").await;
        assert_eq!(owner.refusal("submitPayoutBatch", json!({ "id": batch["id"] })).await, "INVALID_TRANSITION");
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM journal WHERE kind LIKE 'PAYOUT%'").await, 0);

        let payout = submitted(&owner).await;
        assert_eq!(balances(&owner, &programme.affiliate).await, ["0.00", "0.00"]);
        mark(&owner, "cancelPayout", json!({ "id": payout })).await;
        assert_eq!(balances(&owner, &programme.affiliate).await, ["10.00", "0.00"]);
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM journal WHERE kind = 'PAYOUT_FAILED'").await, 1);
    }

    async fn payout_that_the_balance_no_longer_covers_is_given_up_alone(app) {
        let owner = app.owner();
        let (ada, bob) = { let ada = quick(&owner).await; let bob = another(&owner, &ada).await; (ada, bob) };
        earn(app, &owner, &ada, "100.00").await;
        earn(app, &owner, &bob, "100.00").await;
        let batch = draft(&owner).await;
        post(app, &bob.affiliate, Code::AffiliateAvailable, 1).await;
        let batch = submit(&owner, &batch).await;
        assert_eq!(batch["totals"], json!([
            { "status": "SUBMITTED", "count": 1, "gross": { "amount": "10.00" } },
            { "status": "CANCELLED", "count": 1, "gross": { "amount": "10.00" } },
        ]));
        assert_eq!(balances(&owner, &ada.affiliate).await, ["0.00", "0.00"]);
        assert_eq!(balances(&owner, &bob.affiliate).await, ["9.99", "0.00"]);
        assert_eq!(payouts(&draft(&owner).await).len(), 1, "what is left can be drafted anew");
    }

    async fn author_cannot_approve_where_the_tenant_wants_four_eyes(app) {
        let owner = app.owner();
        let programme = quick(&owner).await;
        earn(app, &owner, &programme, "100.00").await;
        let (ann, ben) = (person(app, "ann", "FINANCE").await, person(app, "ben", "ADMIN").await);
        let setting = json!({ "idempotencyKey": "t", "payoutFourEyes": true });
        let query = "mutation($input: UpdateTenantInput!) { updateTenant(input: $input) { tenant { id } } }";
        assert_eq!(ann.error_code(query, json!({ "input": setting })).await, "FORBIDDEN");
        for replayed in [false, true] {
            let payload = ben.done("updateTenant", setting.clone(), "replayed tenant { payoutFourEyes }").await;
            assert_eq!((&payload["replayed"], &payload["tenant"]["payoutFourEyes"]), (&json!(replayed), &json!(true)));
        }
        ben.done("updateTenant", json!({}), "").await;
        let batch = draft(&ann).await;
        let by_id = json!({ "id": batch["id"] });
        assert_eq!(ann.refusal("approvePayoutBatch", by_id.clone()).await, "SECOND_PERSON_NEEDED");
        assert_eq!(status(&ann, &payouts(&batch)[0]).await, "DRAFT");
        let approved = ben.done("approvePayoutBatch", by_id.clone(), BATCH).await["payoutBatch"].take();
        assert!(approved["author"] != approved["approver"] && approved["approver"].is_string(), "{approved}");
        ann.done("submitPayoutBatch", by_id, "").await;
        // Off again, one person is enough.
        ben.done("updateTenant", json!({ "payoutFourEyes": false }), "").await;
        ann.done("cancelPayout", json!({ "id": payouts(&batch)[0] }), "").await;
        submit(&ann, &draft(&ann).await).await;
    }

    async fn minimum_is_inclusive_and_who_is_passed_over_is_told(app) {
        let owner = app.owner();
        let ada = quick(&owner).await;
        let (bob, cid) = (another(&owner, &ada).await, another(&owner, &ada).await);
        for (programme, amount) in [(&ada, "100.00"), (&bob, "99.90"), (&cid, "500.00")] {
            earn(app, &owner, programme, amount).await;
        }
        let of = |affiliates: &[&Programme], minimum: &str| json!({
            "currency": "EUR", "affiliateIds": affiliates.iter().map(|who| &who.affiliate).collect::<Vec<_>>(),
            "minimumAmount": { "amount": minimum, "currency": "EUR" },
        });
        let batch = owner.done("createPayoutBatch", of(&[&ada, &bob], "10.00"), BATCH).await["payoutBatch"].take();
        assert_eq!(batch["payouts"]["edges"][0]["node"]["affiliate"]["id"], ada.affiliate.as_str());
        assert_eq!(batch["totals"], json!([{ "status": "DRAFT", "count": 1, "gross": { "amount": "10.00" } }]));
        let passed = |reason: &str, who: &Programme, payout: Value| json!({
            "reason": reason, "affiliate": { "id": who.affiliate }, "payout": payout,
        });
        assert_eq!(batch["passedOver"], json!([passed("BELOW_MINIMUM", &bob, Value::Null)]));

        // Everybody: one is open, one below.
        let everybody = json!({ "currency": "EUR", "minimumAmount": { "amount": "10", "currency": "EUR" } });
        let second = owner.done("createPayoutBatch", everybody, BATCH).await["payoutBatch"].take();
        assert_eq!(second["payouts"]["edges"][0]["node"]["affiliate"]["id"], cid.affiliate.as_str());
        assert_eq!(second["payouts"]["totalCount"], 1);
        assert_eq!(second["passedOver"], json!([passed("OPEN_PAYOUT", &ada, json!({ "id": payouts(&batch)[0] }))]));

        // Another currency is another balance.
        let yen = json!({ "currency": "JPY" });
        let yen = owner.done("createPayoutBatch", yen, BATCH).await["payoutBatch"].take();
        assert_eq!((&yen["payouts"]["totalCount"], &yen["minimumAmount"]), (&json!(0), &json!({ "amount": "1" })));
        assert_eq!(owner.refusal("approvePayoutBatch", json!({ "id": yen["id"] })).await, "INVALID_TRANSITION");
    }

    async fn batch_that_cannot_be_is_refused(app) {
        let (owner, stranger) = (app.owner(), app.stranger());
        let foreign = new_affiliate(&stranger).await;
        let own = new_affiliate(&owner).await;
        for (change, code) in [
            (json!({ "currency": "XXZ" }), "UNKNOWN_CURRENCY"),
            (json!({ "minimumAmount": { "amount": "1", "currency": "USD" } }), "CURRENCY_MISMATCH"),
            (json!({ "minimumAmount": { "amount": "1.001", "currency": "EUR" } }), "INVALID_AMOUNT"),
            (json!({ "affiliateIds": [own, foreign] }), "NOT_FOUND"),
            (json!({ "affiliateIds": [own, "aff_00000000000000000000000000"] }), "NOT_FOUND"),
            (json!({ "affiliateIds": ["cmp_00000000000000000000000000"] }), "INVALID_ID"),
            (json!({ "affiliateIds": [] }), "BATCH_SIZE"),
            (json!({ "note": "a\u{7}" }), "INVALID_TEXT"),
        ] {
            let mut input = json!({ "currency": "EUR" });
            merge(&mut input, change);
            assert_eq!(owner.refusal("createPayoutBatch", input.clone()).await, code, "{input}");
        }
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM payout_batch").await, 0);
    }

    async fn batches_started_at_once_pay_each_affiliate_once(app) {
        let owner = app.owner();
        let first = quick(&owner).await;
        let mut people = vec![first.clone()];
        for _ in 0..4 {
            people.push(another(&owner, &first).await);
        }
        for programme in &people {
            earn(app, &owner, programme, "100.00").await;
        }
        let mut sent = JoinSet::new();
        for _ in 0..8 {
            let client = app.owner();
            sent.spawn(async move { draft(&client).await });
        }
        let batches = sent.join_all().await;
        assert_eq!(batches.iter().map(|batch| payouts(batch).len()).sum::<usize>(), 5);
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM payout").await, 5);
        let passed = batches.iter().map(|batch| batch["passedOver"].as_array().expect("a list").len()).sum::<usize>();
        assert_eq!(passed, 35);

        // Each batch is approved and submitted from many connections.
        let full: Vec<Value> = batches.into_iter().filter(|batch| !payouts(batch).is_empty()).collect();
        for name in ["approvePayoutBatch", "submitPayoutBatch"] {
            let mut sent = JoinSet::new();
            for batch in full.iter().cycle().take(full.len() * 4) {
                let (client, input) = (app.owner(), json!({ "id": batch["id"] }));
                sent.spawn(async move { client.mutate(name, input, "payoutBatch { id }").await });
            }
            let answers = sent.join_all().await;
            let done = answers.iter().filter(|answer| answer["payoutBatch"].is_object()).count();
            assert_eq!(done, full.len(), "{name}: {answers:?}");
        }
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM journal WHERE kind = 'PAYOUT_INITIATED'").await, 5);
        for programme in &people {
            assert_eq!(balances(&owner, &programme.affiliate).await, ["0.00", "0.00"]);
        }
    }

    async fn contradicting_results_at_once_agree_on_one(app) {
        let owner = app.owner();
        let programme = quick(&owner).await;
        earn(app, &owner, &programme, "100.00").await;
        let payout = submitted(&owner).await;
        let mut sent = JoinSet::new();
        for number in 0..12 {
            let (client, payout) = (app.owner(), payout.clone());
            sent.spawn(async move {
                let (name, more) = match number % 3 {
                    0 => ("markPayoutPaid", json!({ "reference": "1" })),
                    1 => ("markPayoutFailed", json!({ "reason": "no" })),
                    _ => ("cancelPayout", json!({})),
                };
                let mut input = json!({ "id": payout });
                merge(&mut input, more);
                client.mutate(name, input, "payout { status }").await
            });
        }
        let answers = sent.join_all().await;
        let (done, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer["payout"].is_object());
        assert_eq!((done.len(), refused.len()), (1, 11));
        assert!(refused.iter().all(|answer| answer["userErrors"][0]["code"] == "INVALID_TRANSITION"), "{answers:?}");
        assert_eq!(done[0]["payout"]["status"], status(&owner, &payout).await.as_str());
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM journal WHERE kind LIKE 'PAYOUT%'").await, 2);
    }

    async fn every_call_sent_again_with_its_key_is_replayed(app) {
        let owner = app.owner();
        let programme = quick(&owner).await;
        earn(app, &owner, &programme, "100.00").await;
        // Sends a call three times: done, replayed, and in conflict with another input.
        let thrice = async |name: &str, object: &str, input: Value, other: Value| {
            let selection = format!("replayed {object} {{ id status }}");
            let mut keyed = input.clone();
            merge(&mut keyed, json!({ "idempotencyKey": name }));
            let first = owner.done(name, keyed.clone(), &selection).await;
            let again = owner.done(name, keyed.clone(), &selection).await;
            assert_eq!((&first["replayed"], &again["replayed"]), (&json!(false), &json!(true)), "{name}");
            assert_eq!(first[object], again[object], "{name}");
            merge(&mut keyed, other);
            assert_eq!(owner.refusal(name, keyed).await, "IDEMPOTENCY_CONFLICT", "{name}");
            id(&first, object)
        };
        let nobody = |prefix: &str| json!({ "id": format!("{prefix}_00000000000000000000000000") });
        let batch = thrice("createPayoutBatch", "payoutBatch", json!({ "currency": "EUR" }), json!({ "note": "x" })).await;
        let by_batch = json!({ "id": batch });
        thrice("approvePayoutBatch", "payoutBatch", by_batch.clone(), nobody("pbt")).await;
        thrice("submitPayoutBatch", "payoutBatch", by_batch.clone(), nobody("pbt")).await;
        let data = owner.data(
            "query($id: ID!) { payoutBatch(id: $id) { payouts(first: 1) { edges { node { id } } } } }", by_batch,
        ).await;
        let payout = json!({ "id": data["payoutBatch"]["payouts"]["edges"][0]["node"]["id"] });
        let with = |payout: &Value, more: Value| { let mut input = payout.clone(); merge(&mut input, more); input };
        let paid = with(&payout, json!({ "reference": "1" }));
        thrice("markPayoutPaid", "payout", paid, json!({ "reference": "2" })).await;
        let returned = with(&payout, json!({ "reference": "1", "reason": "unknown" }));
        thrice("markPayoutReturned", "payout", returned, json!({ "reference": "2" })).await;
        let retried = json!({ "id": thrice("retryPayout", "payout", payout, nobody("pay")).await });
        let query = "query($id: ID!) { payout(id: $id) { batch { id } } }";
        let batch = owner.data(query, retried.clone()).await["payout"]["batch"].take();
        submit(&owner, &batch).await;
        let failed = with(&retried, json!({ "reason": "closed" }));
        thrice("markPayoutFailed", "payout", failed, json!({ "reason": "open" })).await;
        let last = json!({ "id": payouts(&draft(&owner).await)[0] });
        thrice("cancelPayout", "payout", last, json!({ "reason": "other" })).await;
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM journal WHERE kind LIKE 'PAYOUT%'").await, 5);
        assert_eq!(balances(&owner, &programme.affiliate).await, ["10.00", "0.00"]);
    }

    async fn step_that_is_none_is_refused(app) {
        let owner = app.owner();
        let programme = quick(&owner).await;
        earn(app, &owner, &programme, "100.00").await;
        let batch = draft(&owner).await;
        let payout = payouts(&batch).remove(0);
        let steps = [
            ("markPayoutPaid", json!({ "id": payout, "reference": "1" })),
            ("markPayoutFailed", json!({ "id": payout, "reason": "1" })),
            ("markPayoutReturned", json!({ "id": payout, "reference": "1", "reason": "1" })),
            ("retryPayout", json!({ "id": payout })),
            ("cancelPayout", json!({ "id": payout })),
        ];
        let all_refused = async |but: &[&str]| {
            for (name, input) in steps.iter().filter(|(name, _)| !but.contains(name)) {
                assert_eq!(owner.refusal(name, input.clone()).await, "INVALID_TRANSITION", "{name}");
            }
        };
        all_refused(&["cancelPayout"]).await;
        assert_eq!(owner.refusal("submitPayoutBatch", json!({ "id": batch["id"] })).await, "INVALID_TRANSITION");
        submit(&owner, &batch).await;
        for name in ["approvePayoutBatch", "submitPayoutBatch"] {
            assert_eq!(owner.refusal(name, json!({ "id": batch["id"] })).await, "INVALID_TRANSITION", "{name}");
        }
        all_refused(&["cancelPayout", "markPayoutPaid", "markPayoutFailed"]).await;
        let later = (app.clock.now() + TimeDelta::hours(1)).to_rfc3339();
        let future = json!({ "id": payout, "reference": "1", "paidAt": later });
        assert_eq!(owner.refusal("markPayoutPaid", future).await, "TIME_IN_FUTURE");
        assert_eq!(owner.refusal("markPayoutPaid", json!({ "id": payout, "reference": " " })).await, "REQUIRED");
        mark(&owner, "markPayoutPaid", steps[0].1.clone()).await;
        all_refused(&["markPayoutReturned"]).await;
        mark(&owner, "markPayoutReturned", steps[2].1.clone()).await;
        all_refused(&["retryPayout"]).await;
    }

    async fn affiliate_sees_its_own_payouts_and_a_stranger_none(app) {
        let owner = app.owner();
        let ada = quick(&owner).await;
        let bob = another(&owner, &ada).await;
        earn(app, &owner, &ada, "100.00").await;
        earn(app, &owner, &bob, "200.00").await;
        let batch = draft(&owner).await;
        let query = "query($filter: PayoutFilterInput) { payouts(first: 10, filter: $filter) { totalCount edges { node { \
            id gross { amount } affiliate { id } } } } }";
        let seen = async |client: &Client, filter: Value| {
            let page = client.data(query, json!({ "filter": filter })).await["payouts"].take();
            let amounts = page["edges"].as_array().expect("a page").iter().map(|edge| {
                edge["node"]["gross"]["amount"].as_str().expect("an amount").to_owned()
            });
            let mut amounts: Vec<String> = amounts.collect();
            amounts.sort();
            assert_eq!(page["totalCount"], amounts.len());
            amounts
        };
        let own = app.affiliate(&ada.affiliate);
        assert_eq!(seen(&owner, Value::Null).await, ["10.00", "20.00"]);
        assert_eq!(seen(&own, Value::Null).await, ["10.00"]);
        assert_eq!(seen(&own, json!({ "affiliateIds": [bob.affiliate] })).await, [""; 0]);
        assert_eq!(seen(&owner, json!({ "affiliateIds": [bob.affiliate] })).await, ["20.00"]);
        assert_eq!(seen(&owner, json!({ "batchIds": [batch["id"]], "statuses": ["DRAFT"] })).await, ["10.00", "20.00"]);
        assert_eq!(seen(&owner, json!({ "statuses": ["PAID"] })).await, [""; 0]);
        assert_eq!(seen(&owner, json!({ "currencies": ["EUR"] })).await, ["10.00", "20.00"]);
        assert_eq!(seen(&owner, json!({ "currencies": ["USD"] })).await, [""; 0]);
        assert_eq!(seen(&app.stranger(), Value::Null).await, [""; 0]);
        let by_id = "query($id: ID!) { payout(id: $id) { gross { amount } } node(id: $id) { id } }";
        for payout in payouts(&batch) {
            for (client, sees) in [(&owner, true), (&app.stranger(), false)] {
                let data = client.data(by_id, json!({ "id": payout })).await;
                assert_eq!((data["payout"].is_object(), data["node"].is_object()), (sees, sees));
            }
            let data = own.data(by_id, json!({ "id": payout })).await;
            assert_eq!(data["payout"]["gross"]["amount"] == "10.00", data["payout"].is_object());
        }
        let batch_of = json!({ "id": batch["id"] });
        let query = "query($id: ID!) { payoutBatch(id: $id) { id } }";
        assert_eq!(own.error_code(query, batch_of.clone()).await, "FORBIDDEN");
        assert!(app.stranger().data(query, batch_of.clone()).await["payoutBatch"].is_null());
        assert_eq!(app.stranger().refusal("approvePayoutBatch", batch_of).await, "NOT_FOUND");
        let query = "mutation { createPayoutBatch(input: { currency: EUR }) { payoutBatch { id } } }";
        for role in [Role::Manager, Role::Analyst, Role::Integration] {
            assert_eq!(app.role(role).error_code(query, json!({})).await, "FORBIDDEN", "{role}");
        }
        assert_eq!(own.error_code(query, json!({})).await, "FORBIDDEN");
    }
}
