//! Who is paid when, from how much on; and batches of many pages.

use chrono::{Datelike, TimeDelta};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tributary::{
    ambient::Clock,
    domain::{
        ledger::{AccountKey, Code, Journal, Line},
        tenancy::TenantScope,
    },
    jobs::payout_schedules,
    services::ledger,
};
use tributary_entity::{ids::AffiliateId, kinds::JournalKind, money::Currency};
use uuid::Uuid;

use crate::{
    payouts::{another, draft, earn, payouts, person, quick, submit},
    support::{Client, TestApp, on_both},
};

const BATCHES: &str = "{ payoutBatches(first: 10, order: CREATED_ASC) { edges { node { id status author dueOn schedule { \
    kind day } payouts(first: 10) { edges { node { id gross { amount } affiliate { id } } } } passedOver { reason } } } } }";

async fn terms(client: &Client, affiliate: Option<&str>, threshold: Option<&str>, schedule: Value) {
    let threshold = threshold.map(|amount| json!({ "amount": amount, "currency": "EUR" }));
    let input = json!({ "affiliateId": affiliate, "currency": "EUR", "threshold": threshold, "schedule": schedule });
    client.done("setPayoutTerms", input, "payoutTerms { updatedAt }").await;
}

async fn batches(client: &Client) -> Vec<Value> {
    let edges = client.data(BATCHES, json!({})).await["payoutBatches"]["edges"].take();
    edges.as_array().expect("a page").iter().map(|edge| edge["node"].clone()).collect()
}

/// Affiliate and amount of a batch's payouts.
fn paid(batch: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let edges = batch["payouts"]["edges"].as_array().expect("a page");
    let mut paid: Vec<_> = edges
        .iter()
        .map(|edge| (text(&edge["node"]["affiliate"]["id"]), text(&edge["node"]["gross"]["amount"])))
        .collect();
    paid.sort();
    paid
}

async fn run(app: &TestApp) -> u64 {
    payout_schedules::run(&app.services).await.expect("schedules run")
}

/// Advances to noon (UTC) of the next day of which `is_it` holds.
fn advance_to(app: &TestApp, is_it: impl Fn(chrono::NaiveDate) -> bool) {
    let mut noon = app.clock.now().date_naive().and_hms_opt(12, 0, 0).expect("a time").and_utc() + TimeDelta::days(1);
    while !is_it(noon.date_naive()) {
        noon += TimeDelta::days(1);
    }
    app.clock.advance(noon - app.clock.now());
}

/// Gives a tenant affiliates who have so much available, past the API.
async fn affiliates(app: &TestApp, count: usize, amount_minor: i64) {
    let now = app.clock.now();
    let ids: Vec<AffiliateId> = (0..count).map(|_| AffiliateId::from_uuid(Uuid::new_v4())).collect();
    let literal = |id: Uuid| app.auditor.literal(id);
    let tenant = literal(app.home.uuid());
    let at = now.to_rfc3339();
    for chunk in ids.chunks(500) {
        let rows: Vec<String> = chunk
            .iter()
            .map(|id| {
                format!("({tenant}, {}, 'Many', '{id}@many.example', 'ACTIVE', '{at}', '{at}')", literal(id.uuid()))
            })
            .collect();
        let sql = format!(
            "INSERT INTO affiliate (tenant_id, id, name, email, status, created_at, updated_at) VALUES {}",
            rows.join(", ")
        );
        app.auditor.run(&sql).await.expect("affiliates");
        let currency: Currency = "EUR".parse().expect("known");
        let journals: Vec<Journal> = chunk
            .iter()
            .map(|id| {
                let lines = vec![
                    Line { account: AccountKey::of_tenant(Code::BonusExpense, currency), amount_minor },
                    Line {
                        account: AccountKey::of_affiliate(Code::AffiliateAvailable, *id, currency),
                        amount_minor: -amount_minor,
                    },
                ];
                Journal::new(JournalKind::Bonus, id.to_string(), None, lines).expect("balances").expect("lines")
            })
            .collect();
        let mut tx = app.services.db.begin(&TenantScope::tenant(app.home)).await.expect("begins");
        let posted = ledger::post(&mut tx, &journals, now).await.expect("posted");
        tx.commit().await.expect("commits");
        let rows: Vec<String> = chunk
            .iter()
            .zip(posted)
            .map(|(id, journal)| {
                let (id, journal) = (literal(id.uuid()), literal(journal.uuid()));
                format!(
                    "({tenant}, {id}, 'BONUS', {id}, {amount_minor}, 'EUR', 'AVAILABLE', 'x', 'x', {journal}, '{at}', \
                     '{at}', '{at}')"
                )
            })
            .collect();
        let sql = format!(
            "INSERT INTO award (tenant_id, id, kind, affiliate_id, amount_minor, currency, status, reason, author, \
             journal_id, payable_at, released_at, created_at) VALUES {}",
            rows.join(", ")
        );
        app.auditor.run(&sql).await.expect("awards");
    }
}

on_both! {
    async fn balance_below_the_threshold_rolls_over(app) {
        let owner = app.owner();
        let ada = quick(&owner).await;
        let bob = another(&owner, &ada).await;
        terms(&owner, None, Some("20.00"), Value::Null).await;
        terms(&owner, Some(&bob.affiliate), Some("10.00"), Value::Null).await;
        earn(app, &owner, &ada, "199.90").await;
        earn(app, &owner, &bob, "100.00").await;
        let query = "query($filter: PayoutPreviewFilterInput) { payoutPreview(filter: $filter) { payouts gross { amount } \
            passedOver { reason count } } payoutPreviewLines(first: 10, filter: $filter) { totalCount edges { node { \
            affiliate { id } available { amount } threshold { amount } gross { amount } reason } } } }";
        let preview = owner.data(query, json!({ "filter": { "currency": "EUR" } })).await;
        assert_eq!(preview, json!({
            "payoutPreview": {
                "payouts": 1, "gross": { "amount": "10.00" }, "passedOver": [{ "reason": "BELOW_MINIMUM", "count": 1 }],
            },
            "payoutPreviewLines": { "totalCount": 2, "edges": [
                { "node": {
                    "affiliate": { "id": ada.affiliate }, "available": { "amount": "19.99" },
                    "threshold": { "amount": "20.00" }, "gross": null, "reason": "BELOW_MINIMUM",
                } },
                { "node": {
                    "affiliate": { "id": bob.affiliate }, "available": { "amount": "10.00" },
                    "threshold": { "amount": "10.00" }, "gross": { "amount": "10.00" }, "reason": null,
                } },
            ] },
        }));
        assert_eq!(payouts(&draft(&owner).await).len(), 1);
        // The next commission lifts it to the threshold, which is inclusive.
        earn(app, &owner, &ada, "0.10").await;
        draft(&owner).await;
        let drafted = batches(&owner).await;
        assert_eq!(paid(&drafted[0]), [(bob.affiliate.clone(), "10.00".to_owned())]);
        assert_eq!(paid(&drafted[1]), [(ada.affiliate.clone(), "20.00".to_owned())]);
        // Said by hand, the minimum goes before.
        let preview = json!({ "filter": {
            "currency": "EUR", "minimumAmount": { "amount": "30.00", "currency": "EUR" }, "affiliateIds": [bob.affiliate],
        } });
        let preview = owner.data(query, preview).await["payoutPreviewLines"].take();
        assert_eq!(preview["edges"][0]["node"]["threshold"]["amount"], "30.00");
    }

    async fn schedule_drafts_a_batch_on_its_day_once(app) {
        let owner = app.owner();
        let ada = quick(&owner).await;
        let bob = another(&owner, &ada).await;
        terms(&owner, None, None, json!({ "kind": "WEEKLY", "day": 1 })).await;
        terms(&owner, Some(&bob.affiliate), None, json!({ "kind": "MONTHLY", "day": 15 })).await;
        earn(app, &owner, &ada, "100.00").await;
        earn(app, &owner, &bob, "200.00").await;
        assert_eq!(run(app).await, 0, "no day was due since the terms were set");
        advance_to(app, |day| day.weekday().number_from_monday() == 1 && day.day() != 15);
        // Whoever looks, on whichever node, and however often.
        let node = app.another_node().await;
        let mut looks = JoinSet::new();
        for number in 0..4 {
            let services = if number % 2 == 0 { app.services.clone() } else { node.services.clone() };
            looks.spawn(async move { payout_schedules::run(&services).await.expect("schedules run") });
        }
        looks.join_all().await;
        node.stop().await;
        assert_eq!(run(app).await, 0);
        let weekly: Vec<Value> =
            batches(&owner).await.into_iter().filter(|batch| batch["schedule"]["kind"] == "WEEKLY").collect();
        assert_eq!(weekly.len(), 1);
        assert_eq!(paid(&weekly[0]), [(ada.affiliate.clone(), "10.00".to_owned())]);
        assert_eq!((&weekly[0]["status"], &weekly[0]["author"]), (&json!("DRAFT"), &json!("system")));
        let today = app.clock.now().date_naive().to_string();
        assert_eq!(weekly[0]["dueOn"], today.as_str());
        advance_to(app, |day| day.day() == 15);
        run(app).await;
        let monthly = batches(&owner).await.into_iter().filter(|batch| batch["schedule"]["kind"] == "MONTHLY");
        let paid_monthly: Vec<_> = monthly.flat_map(|batch| paid(&batch)).collect();
        assert_eq!(paid_monthly, [(bob.affiliate.clone(), "20.00".to_owned())]);

        let query = "query($id: ID!) { effectivePayoutTerms(affiliateId: $id, currency: \"EUR\") { threshold { amount } \
            schedule { kind day } nextDay } }";
        let own = app.affiliate(&bob.affiliate).data(query, json!({ "id": bob.affiliate })).await;
        assert_eq!(own["effectivePayoutTerms"]["schedule"], json!({ "kind": "MONTHLY", "day": 15 }));
        assert_eq!(own["effectivePayoutTerms"]["threshold"]["amount"], "0.01");
        let next = own["effectivePayoutTerms"]["nextDay"].as_str().expect("a day").to_owned();
        assert!(next.ends_with("-15") && next > today, "{next}");
        let foreign = app.affiliate(&ada.affiliate).data(query, json!({ "id": bob.affiliate })).await;
        assert!(foreign["effectivePayoutTerms"].is_null());
    }

    async fn batch_that_nobody_drafted_takes_two_people_where_the_tenant_wants_four_eyes(app) {
        let owner = app.owner();
        let ada = quick(&owner).await;
        terms(&owner, None, None, json!({ "kind": "WEEKLY", "day": 1 })).await;
        earn(app, &owner, &ada, "100.00").await;
        owner.done("updateTenant", json!({ "payoutFourEyes": true }), "").await;
        advance_to(app, |day| day.weekday().number_from_monday() == 1);
        run(app).await;
        let by_id = json!({ "id": batches(&owner).await[0]["id"] });
        let (ann, ben) = (person(app, "ann", "FINANCE").await, person(app, "ben", "FINANCE").await);
        ann.done("approvePayoutBatch", by_id.clone(), "").await;
        assert_eq!(ann.refusal("submitPayoutBatch", by_id.clone()).await, "SECOND_PERSON_NEEDED");
        ben.done("submitPayoutBatch", by_id, "payoutBatch { status }").await;
    }

    async fn net_days_pay_what_the_month_brought(app) {
        let owner = app.owner();
        let ada = quick(&owner).await;
        terms(&owner, None, None, json!({ "kind": "NET", "day": 10 })).await;
        advance_to(app, |day| day.day() == 12);
        earn(app, &owner, &ada, "100.00").await;
        // Paid and back in the next month: it was available before.
        submit(&owner, &draft(&owner).await).await;
        let payout = payouts(&batches(&owner).await[0]).remove(0);
        advance_to(app, |day| day.day() == 1);
        owner.done("markPayoutFailed", json!({ "id": payout, "reason": "closed" }), "").await;
        earn(app, &owner, &ada, "50.00").await;
        advance_to(app, |day| day.day() == 11);
        run(app).await;
        let drafted = batches(&owner).await;
        let net = drafted.iter().rfind(|batch| batch["schedule"]["kind"] == "NET").expect("drafted");
        assert_eq!(paid(net), [(ada.affiliate.clone(), "10.00".to_owned())]);
    }

    async fn batch_that_is_given_up_pays_nobody_and_another_can(app) {
        let owner = app.owner();
        let ada = quick(&owner).await;
        earn(app, &owner, &ada, "100.00").await;
        let selection = "replayed payoutBatch { id status canceller cancelledAt payouts(first: 10) { edges { node { status \
            reason } } } }";
        for is_approved in [false, true] {
            let batch = draft(&owner).await;
            let id = json!({ "id": batch["id"], "idempotencyKey": batch["id"] });
            if is_approved {
                owner.done("approvePayoutBatch", json!({ "id": batch["id"] }), "").await;
            }
            let cancelled = owner.done("cancelPayoutBatch", id.clone(), selection).await;
            assert_eq!(cancelled["payoutBatch"], json!({
                "id": batch["id"], "status": "CANCELLED", "canceller": "operator",
                "cancelledAt": cancelled["payoutBatch"]["cancelledAt"],
                "payouts": { "edges": [{ "node": { "status": "CANCELLED", "reason": "its batch was cancelled" } }] },
            }));
            assert_eq!(owner.done("cancelPayoutBatch", id, selection).await["replayed"], true);
            for name in ["approvePayoutBatch", "submitPayoutBatch", "cancelPayoutBatch"] {
                assert_eq!(owner.refusal(name, json!({ "id": batch["id"] })).await, "INVALID_TRANSITION", "{name}");
            }
        }
        let batch = draft(&owner).await;
        submit(&owner, &batch).await;
        assert_eq!(owner.refusal("cancelPayoutBatch", json!({ "id": batch["id"] })).await, "INVALID_TRANSITION");
        // Of nobody: the first has an open payout.
        let empty = draft(&owner).await;
        let cancelled = owner.done("cancelPayoutBatch", json!({ "id": empty["id"] }), selection).await;
        assert_eq!(cancelled["payoutBatch"]["status"], "CANCELLED");
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM journal WHERE kind LIKE 'PAYOUT%'").await, 1);
    }

    async fn batch_of_many_pages_pays_everybody_once(app) {
        const MANY: usize = 1_100;
        let owner = app.owner();
        affiliates(app, MANY, 500).await;
        // Two runs at once, each at a node of its own.
        let node = app.another_node().await;
        let mut sent = JoinSet::new();
        for url in [&app.url, &node.url] {
            let client = Client::new(url, owner.token.clone());
            sent.spawn(async move { draft(&client).await });
        }
        for batch in sent.join_all().await {
            assert_eq!(batch["status"], "DRAFTING");
        }
        app.until("SELECT COUNT(*) FROM payout_batch WHERE status = 'DRAFT'", 2).await;
        node.stop().await;
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM payout").await, MANY as i64);
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM payout_skip WHERE reason = 'OPEN_PAYOUT'").await, MANY as i64);
        let mut submitted = 0;
        for batch in batches(&owner).await.iter().filter(|batch| !payouts(batch).is_empty()) {
            let id = json!({ "id": batch["id"] });
            let status = |wanted: &str| format!("SELECT COUNT(*) FROM payout_batch WHERE status = '{wanted}'");
            owner.done("approvePayoutBatch", id.clone(), "").await;
            app.until(&status("APPROVING"), 0).await;
            owner.done("submitPayoutBatch", id, "").await;
            app.until(&status("SUBMITTING"), 0).await;
            submitted += 1;
            app.until(&status("SUBMITTED"), submitted).await;
        }
        let initiated = "SELECT COUNT(*) FROM journal WHERE kind = 'PAYOUT_INITIATED'";
        assert_eq!(app.auditor.number(initiated).await, MANY as i64);
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM payout WHERE status = 'SUBMITTED'").await, MANY as i64);
    }
}
