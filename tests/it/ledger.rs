//! The ledger: balanced, readable from every side, and never rewritten, not even by who owns the database.

use std::{collections::BTreeSet, time::Duration};

use chrono::TimeDelta;
use serde_json::{Value, json};
use tributary::{
    ambient::Clock,
    domain::tenancy::TenantScope,
    services::{holds, ledger::standing},
};
use tributary_entity::{ids::AffiliateId, kinds::Role};

use crate::support::{
    Backend, Client, Programme, Terms, TestApp, on_both,
    programme::{merge, new_affiliate, sale},
};

const JOURNALS: &str = "query($filter: JournalFilterInput) { journals(first: 100, filter: $filter) { totalCount edges { \
    node { kind businessKey conversion { id } entries { account { id code name affiliate { id } } debit { amount } \
    credit { amount } } } } } }";

/// Everything that history is made of.
const APPEND_ONLY: [&str; 9] = [
    "click",
    "conversion_history",
    "attribution_decision",
    "attribution_touch",
    "event",
    "account",
    "journal",
    "entry",
    "commission_rule_version",
];

async fn journals(client: &Client, filter: Value) -> Vec<Value> {
    let mut page = client.data(JOURNALS, json!({ "filter": filter })).await["journals"].take();
    let Value::Array(edges) = page["edges"].take() else { panic!("edges") };
    assert_eq!(page["totalCount"], edges.len());
    edges.into_iter().map(|mut edge| edge["node"].take()).collect()
}

/// Two programmes with an approved sale each, of which the holds are over, and one pending; the conversions' ids.
async fn history(app: &TestApp, client: &Client) -> (Programme, Vec<Value>) {
    let programme = Programme::build(client, &Terms::default()).await;
    let other = Programme::build(client, &Terms::default()).await;
    let mut ids = Vec::new();
    for (programme, order, amount) in [(&programme, "1", "49.00"), (&other, "2", "100.00")] {
        let input = sale(&programme.click(client).await, order, amount);
        let mut payload = client.done("recordConversion", input, "conversion { id }").await;
        ids.push(payload["conversion"]["id"].take());
    }
    app.clock.advance(TimeDelta::days(2));
    app.run_jobs().await;
    app.until("SELECT COUNT(*) FROM outbox", 0).await;
    let input = sale(&programme.click(client).await, "3", "10.00");
    let mut payload = client.done("recordConversion", input, "conversion { id }").await;
    ids.push(payload["conversion"]["id"].take());
    (programme, ids)
}

on_both! {
    async fn trial_balance_sums_every_account_and_is_balanced(app) {
        let owner = app.owner();
        history(app, &owner).await;
        let yen = Programme::build(&owner, &Terms { currency: "JPY", ..Terms::default() }).await;
        let mut input = sale(&yen.click(&owner).await, "yen", "1");
        merge(&mut input, json!({ "saleAmount": { "amount": "1050", "currency": "JPY" } }));
        owner.done("recordConversion", input, "").await;
        let data = owner.data(
            "{ trialBalance { balanced lines { code currency debit { amount } credit { amount } } \
             totals { debit { amount } credit { amount } difference { amount currency } } } }",
            json!({}),
        ).await;
        let line = |code: i32, currency: &str, debit: &str, credit: &str| json!({
            "code": code, "currency": currency, "debit": { "amount": debit }, "credit": { "amount": credit },
        });
        assert_eq!(data["trialBalance"], json!({
            "balanced": true,
            "lines": [
                line(2000, "EUR", "14.90", "15.90"), line(2000, "JPY", "0", "105"), line(2010, "EUR", "0.00", "14.90"),
                line(5000, "EUR", "15.90", "0.00"), line(5000, "JPY", "105", "0"),
            ],
            "totals": [
                { "debit": { "amount": "30.80" }, "credit": { "amount": "30.80" },
                  "difference": { "amount": "0.00", "currency": "EUR" } },
                { "debit": { "amount": "105" }, "credit": { "amount": "105" },
                  "difference": { "amount": "0", "currency": "JPY" } },
            ],
        }));
    }

    async fn trial_balance_of_an_empty_ledger_is_balanced(app) {
        let data = app.stranger().data("{ trialBalance { balanced lines { code } totals { currency: difference { amount } } } }",
            json!({})).await;
        assert_eq!(data["trialBalance"], json!({ "balanced": true, "lines": [], "totals": [] }));
    }

    async fn journals_are_filtered_by_kind_account_and_conversion(app) {
        let owner = app.owner();
        let (programme, conversions) = history(app, &owner).await;
        let all = journals(&owner, json!({})).await;
        assert_eq!(all.len(), 5);
        let released = journals(&owner, json!({ "kinds": ["HOLD_RELEASED"] })).await;
        assert_eq!(released.len(), 2);
        let of_first = journals(&owner, json!({ "conversionIds": [conversions[0]] })).await;
        let kinds: Vec<&Value> = of_first.iter().map(|journal| &journal["kind"]).collect();
        assert_eq!(kinds, ["HOLD_RELEASED", "CONVERSION_APPROVED"]);
        assert!(of_first.iter().all(|journal| journal["conversion"]["id"] == conversions[0]));
        let pending = all.iter().flat_map(|journal| journal["entries"].as_array().expect("entries"))
            .find(|entry| entry["account"]["code"] == 2000 && entry["account"]["affiliate"]["id"] == programme.affiliate)
            .expect("an account")["account"]["id"].clone();
        let of_account = journals(&owner, json!({ "accountIds": [pending] })).await;
        assert_eq!(of_account.len(), 3, "approved, released, approved");
        let both = json!({ "accountIds": [pending], "kinds": ["CONVERSION_APPROVED"], "conversionIds": conversions });
        assert_eq!(journals(&owner, both).await.len(), 2);
        assert!(journals(&owner, json!({ "conversionIds": [] })).await.is_empty());
        assert!(journals(&app.stranger(), json!({ "accountIds": [pending] })).await.is_empty());
    }

    async fn released_hold_moves_from_pending_to_available(app) {
        let owner = app.owner();
        let (_, conversions) = history(app, &owner).await;
        let filter = json!({ "conversionIds": [conversions[0]], "kinds": ["HOLD_RELEASED"] });
        let journal = journals(&owner, filter).await.remove(0);
        let lines: Vec<Value> = journal["entries"].as_array().expect("entries").iter()
            .map(|entry| json!([entry["account"]["code"], entry["debit"]["amount"], entry["credit"]["amount"]]))
            .collect();
        assert_eq!(lines, [json!([2000, "4.90", null]), json!([2010, null, "4.90"])]);
    }

    async fn holds_are_released_once_though_two_nodes_release_at_once(app) {
        const SALES: i64 = 120;
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        let items: Vec<Value> = (0..SALES).map(|number| sale(&click, &number.to_string(), "10.00")).collect();
        owner.done("recordConversions", json!({ "items": items }), "").await;
        let node = app.another_node().await;
        app.clock.advance(TimeDelta::days(2));
        let mut releases = tokio::task::JoinSet::new();
        for number in 0..6 {
            let services = if number % 2 == 0 { app.services.clone() } else { node.services.clone() };
            let scope = TenantScope::tenant(app.home);
            releases.spawn(async move {
                match holds::release_due(&services, &scope).await {
                    // It lost a race and comes again, as the job does.
                    Err(error) if error.is_transient() => 0,
                    released => released.expect("released"),
                }
            });
        }
        // Both nodes' own jobs release as well, a second later at most.
        let released: u64 = releases.join_all().await.into_iter().sum();
        assert!(released <= SALES as u64, "{released}");
        app.release_holds().await;
        let pending = "SELECT COUNT(*) FROM commission WHERE released_at IS NULL";
        assert_eq!(app.auditor.number(pending).await, 0);
        let available = "SELECT CAST(SUM(amount_minor) AS bigint) FROM balance JOIN account ON account.id = account_id \
            AND account.tenant_id = balance.tenant_id WHERE code = 2010";
        assert_eq!(app.auditor.number(available).await, SALES * 100);
        node.stop().await;
    }

    async fn ledger_is_read_by_who_may_and_by_nobody_else(app) {
        history(app, &app.owner()).await;
        for (role, may) in
            [(Role::Finance, true), (Role::Admin, true), (Role::Manager, false), (Role::Analyst, false)]
        {
            let (_, body) = app.role(role).send("{ trialBalance { balanced } }", json!({})).await;
            assert_eq!(body["data"]["trialBalance"]["balanced"] == true, may, "{role}: {body}");
            let (_, body) = app.role(role).send(JOURNALS, json!({})).await;
            let code = body["errors"][0]["extensions"]["code"].as_str();
            assert_eq!(code, (!may).then_some("FORBIDDEN"), "{role}: {body}");
        }
    }

    async fn history_cannot_be_rewritten_past_the_application(app) {
        history(app, &app.owner()).await;
        for table in APPEND_ONLY {
            let rows = app.auditor.number(&format!("SELECT COUNT(*) FROM {table}")).await;
            assert!(rows > 0, "{table} has rows to try it on");
            for sql in [
                format!("UPDATE {table} SET tenant_id = tenant_id"),
                format!("DELETE FROM {table}"),
            ] {
                let refused = app.auditor.run(&sql).await.expect_err(&sql);
                assert!(refused.to_string().contains("append-only"), "{sql}: {refused}");
            }
            if app.backend == Backend::Postgres {
                app.auditor.run(&format!("TRUNCATE {table} CASCADE")).await.expect_err("truncated");
            }
            assert_eq!(app.auditor.number(&format!("SELECT COUNT(*) FROM {table}")).await, rows, "{table}");
        }
    }

    async fn fact_cannot_be_posted_twice(app) {
        history(app, &app.owner()).await;
        let id = if app.backend == Backend::Postgres { "gen_random_uuid()" } else { "randomblob(16)" };
        let again = format!(
            "INSERT INTO journal (tenant_id, id, kind, business_key, conversion_id, posted_at) \
             SELECT tenant_id, {id}, kind, business_key, conversion_id, posted_at FROM journal"
        );
        let refused = app.auditor.run(&again).await.expect_err("posted twice").to_string();
        assert!(refused.contains("business_key"), "{refused}");
    }

    async fn guarded_balance_cannot_fall_below_zero(app) {
        history(app, &app.owner()).await;
        app.auditor.run("UPDATE balance SET amount_minor = -1").await.expect_err("a negative balance");
        app.auditor.run("UPDATE rollup_hourly SET conversions = -1").await.expect_err("a negative count");
    }

    // What is not there yet can be locked all the same: two who both find no debt would make money available beside one.
    async fn first_balances_of_an_affiliate_are_one_s_at_a_time(app) {
        let affiliate: AffiliateId = new_affiliate(&app.owner()).await.parse().expect("an id");
        let owners = BTreeSet::from([(affiliate, "EUR".parse().expect("a currency"))]);
        let (db, now) = (app.services.db.clone(), app.clock.now());
        let scope = TenantScope::tenant(app.home);
        let mut first = db.begin(&scope).await.expect("a transaction");
        standing(&mut first, &owners, now).await.expect("locked");
        let second = tokio::spawn(async move {
            let mut tx = db.begin(&scope).await.expect("a transaction");
            standing(&mut tx, &owners, now).await.expect("locked");
        });
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(!second.is_finished(), "it waits for the first");
        first.commit().await.expect("committed");
        second.await.expect("has had its turn");
    }
}
