//! Net revenue of customers: deals, records, what is settled when a period is over, and who qualified.

use std::sync::atomic::Ordering;

use chrono::{Datelike, Days, Months, NaiveDate, TimeDelta};
use serde_json::{Value, json};
use tributary::{ambient::Clock, domain::tenancy::TenantScope, services::revenue_settlements};

use crate::{
    attribution::cents,
    books::{dump, everything},
    ledger_chain::tamper,
    story_overrides::found,
    support::{
        Client, Programme, Terms, TestApp, on_both,
        programme::{enroll, merge, new_affiliate, sale},
    },
};

fn eur(amount: &str) -> Value {
    json!({ "amount": amount, "currency": "EUR" })
}

async fn deal(client: &Client, programme: &Programme, more: Value) -> Value {
    let mut input = json!({ "campaignId": programme.campaign });
    merge(&mut input, more);
    client.done("setRevenueDeal", input, "revenueDeal { id version share }").await["revenueDeal"].take()
}

/// A record of a customer of the programme's affiliate.
fn record(programme: &Programme, customer: &str, day: NaiveDate, more: Value) -> Value {
    let mut record = json!({
        "campaignId": programme.campaign, "affiliateId": programme.affiliate, "customerId": customer, "day": day,
        "reference": format!("{customer}/{day}"),
    });
    merge(&mut record, more);
    record
}

const ITEMS: &str = "items { revenueRecord { id } replayed userErrors { code field } }";

async fn told(client: &Client, records: Vec<Value>) -> Vec<Value> {
    let mut answer = client.mutate("recordRevenue", json!({ "items": records }), ITEMS).await;
    answer["items"].as_array_mut().expect("a list").drain(..).collect()
}

async fn recorded(client: &Client, records: Vec<Value>) {
    for item in told(client, records).await {
        assert_eq!(item["userErrors"], json!([]));
    }
}

/// Settlements, the oldest first: what was earned, in cents.
async fn settled(client: &Client) -> Vec<i64> {
    let query = "{ revenueSettlements(last: 50) { edges { node { reckoning { earned { amount } } \
        award { amount { amount } } } } } }";
    let data = client.data(query, json!({})).await;
    let settlement = |edge: &Value| {
        let (node, earned) = (&edge["node"], cents(&edge["node"]["reckoning"]["earned"]));
        let posted = if node["award"].is_null() { 0 } else { cents(&node["award"]["amount"]) };
        assert_eq!(posted, earned);
        earned
    };
    data["revenueSettlements"]["edges"].as_array().expect("a list").iter().map(settlement).rev().collect()
}

fn today(app: &TestApp) -> NaiveDate {
    app.clock.now().date_naive()
}

/// Goes to the first day of the next month, and lets the jobs run there.
async fn month_over(app: &TestApp) {
    let first = today(app).with_day(1).expect("a day") + Months::new(1);
    let first = first.and_hms_opt(0, 0, 2).expect("a time").and_utc();
    app.clock.advance(first - app.clock.now());
    app.run_jobs().await;
}

on_both! {
    async fn month_is_settled_line_by_line_and_waits_in_the_hold(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms { hold_seconds: 86_400, ..Terms::default() }).await;
        let deductions = json!([
            { "name": "fees", "percent": "3" }, { "name": "duty", "percent": "15" }, { "name": "admin", "percent": "5" },
            { "name": "levy", "percent": "0.0001", "basis": "GGR_LESS_BONUSES" },
        ]);
        deal(&owner, &programme, json!({ "share": "35", "deductions": deductions })).await;
        let play = json!({ "ggr": eur("6000.00"), "bonuses": eur("2000.00"), "stakes": eur("90000.00") });
        let other = json!({ "ggr": eur("4000.00"), "chargebacks": eur("200.00") });
        let day = today(app);
        recorded(&owner, vec![record(&programme, "ada", day, play), record(&programme, "bob", day, other)]).await;
        let own = app.affiliate(&programme.affiliate);
        let so_far = "query($id: [ID!]) { enrollments(first: 1, filter: { affiliateIds: $id }) { edges { node { \
            revenueSoFar { from until ggr { amount } ngr { amount } shared { amount } share { amount } } } } } }";
        let data = own.data(so_far, json!({ "id": [programme.affiliate] })).await;
        let first = day.with_day(1).expect("a day");
        let amount = |amount: &str| json!({ "amount": amount });
        assert_eq!(data["enrollments"]["edges"][0]["node"]["revenueSoFar"], json!({
            "from": first, "until": first + Months::new(1) - Days::new(1), "ggr": amount("10000.00"),
            "ngr": amount("5499.99"), "shared": amount("5499.99"), "share": amount("1925.00"),
        }));
        assert_eq!(settled(&owner).await, [0; 0]);
        month_over(app).await;
        assert_eq!(settled(&own).await, [192_500]);
        let query = "{ revenueSettlements(first: 5) { edges { node { records campaign { id } reckoning { \
            lines { name amount { amount } basis { percent kind amount { amount } } } dealVersion carriedLoss { amount } } \
            award { kind status reason explanation { name value } } } } } }";
        let node = own.data(query, json!({})).await["revenueSettlements"]["edges"][0]["node"].take();
        let line = |name: &str, amount: &str| json!({ "name": name, "amount": { "amount": amount }, "basis": null });
        let taken = |name: &str, amount: &str, percent: &str, (kind, of): (&str, &str)| json!({
            "name": name, "amount": { "amount": amount },
            "basis": { "percent": percent, "kind": kind, "amount": { "amount": of } },
        });
        let ggr = ("GGR", "10000.00");
        assert_eq!(node["reckoning"], json!({
            "lines": [
                line("gross gaming revenue", "10000.00"), line("bonuses", "-2000.00"), line("chargebacks", "-200.00"),
                taken("fees", "-300.00", "3", ggr), taken("duty", "-1500.00", "15", ggr), taken("admin", "-500.00", "5", ggr),
                taken("levy", "-0.01", "0.0001", ("GGR_LESS_BONUSES", "8000.00")),
            ],
            "dealVersion": 1, "carriedLoss": { "amount": "0.00" },
        }));
        let step = |name: &str, value: &str| json!({ "name": name, "value": value });
        assert_eq!(node["award"], json!({
            "kind": "REVENUE", "status": "PENDING",
            "reason": format!("net revenue from {first} until {}", first + Months::new(1) - Days::new(1)),
            "explanation": [
                step("net revenue that is shared", "5499.99"), step("share in percent", "35"), step("share", "1925.00"),
            ],
        }));
        assert_eq!((&node["records"], &node["campaign"]["id"]), (&json!(2), &json!(programme.campaign)));
        app.clock.advance(TimeDelta::days(1) + TimeDelta::seconds(2));
        app.release_holds().await;
        let query = "query($id: ID!) { earnings(affiliateId: $id) { balances { available { amount } } } }";
        let data = own.data(query, json!({ "id": programme.affiliate })).await;
        assert_eq!(data["earnings"]["balances"], json!([{ "available": { "amount": "1925.00" } }]));
    }

    async fn losses_are_carried_from_month_to_month(app) {
        let owner = app.owner();
        let full = Programme::build(&owner, &Terms { hold_seconds: 0, ..Terms::default() }).await;
        let limited = Programme::build(&owner, &Terms { hold_seconds: 0, ..Terms::default() }).await;
        deal(&owner, &full, json!({ "share": "30", "carryover": { "kind": "FULL" } })).await;
        deal(&owner, &limited, json!({ "share": "30", "carryover": { "kind": "LIMITED", "periods": 1 } })).await;
        for ggr in ["1000.00", "-600.00", "400.00", "500.00"] {
            for programme in [&full, &limited] {
                let record = record(programme, "ada", today(app), json!({ "ggr": eur(ggr) }));
                recorded(&owner, vec![record]).await;
            }
            month_over(app).await;
        }
        assert_eq!(settled(&app.affiliate(&full.affiliate)).await, [30_000, 0, 0, 9_000]);
        assert_eq!(settled(&app.affiliate(&limited.affiliate)).await, [30_000, 0, 0, 15_000]);
        // A loss runs out in a month without records, where it is not for ever.
        for programme in [&full, &limited] {
            recorded(&owner, vec![record(programme, "ada", today(app), json!({ "ggr": eur("-100.00") }))]).await;
        }
        month_over(app).await;
        month_over(app).await;
        for programme in [&full, &limited] {
            recorded(&owner, vec![record(programme, "ada", today(app), json!({ "ggr": eur("150.00") }))]).await;
        }
        month_over(app).await;
        assert_eq!(settled(&app.affiliate(&full.affiliate)).await[4..], [0, 1_500]);
        assert_eq!(settled(&app.affiliate(&limited.affiliate)).await[4..], [0, 4_500]);
    }

    async fn losses_that_nobody_carries_are_the_tenants(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms { hold_seconds: 0, ..Terms::default() }).await;
        deal(&owner, &programme, json!({ "share": "30", "carryover": { "kind": "NONE" } })).await;
        for ggr in ["1000.00", "-600.00", "400.00", "500.00"] {
            recorded(&owner, vec![record(&programme, "ada", today(app), json!({ "ggr": eur(ggr) }))]).await;
            month_over(app).await;
        }
        assert_eq!(settled(&app.affiliate(&programme.affiliate)).await, [30_000, 0, 12_000, 15_000]);
        let query = "{ revenueSettlements(last: 3) { edges { node { reckoning { carriedLoss { amount } lines { name amount { amount } } } } } } }";
        let edges = owner.data(query, json!({})).await["revenueSettlements"]["edges"].take();
        let lost = &edges[1]["node"]["reckoning"];
        assert_eq!(lost["carriedLoss"]["amount"], "0.00");
        assert_eq!(lost["lines"][1], json!({ "name": "loss that is not shared", "amount": { "amount": "600.00" } }));
    }

    async fn customer_who_won_much_is_set_apart_until_the_loss_is_made_good(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms { hold_seconds: 0, ..Terms::default() }).await;
        let carryover = json!({ "kind": "HIGH_ROLLER", "limit": eur("1000.00") });
        deal(&owner, &programme, json!({ "share": "50", "carryover": carryover })).await;
        // What each brings: who wins a thousand or more is set apart, and the others count as if nothing had been.
        let months: [&[(&str, &str)]; 5] = [
            &[("ada", "-1000.00"), ("bob", "300.00")],
            &[("ada", "400.00"), ("bob", "100.00")],
            // The loss of one who won less is the tenant's.
            &[("bob", "-999.99"), ("cleo", "100.00")],
            // 600.00 of ada's make the loss good, and the rest is shared.
            &[("ada", "700.00"), ("bob", "10.00")],
            &[("ada", "20.00")],
        ];
        let mut carried = Vec::new();
        for month in months {
            let day = today(app);
            let records = month.iter().map(|(who, ggr)| record(&programme, who, day, json!({ "ggr": eur(ggr) })));
            recorded(&owner, records.collect()).await;
            month_over(app).await;
            let query = "{ revenueSettlements(first: 1) { edges { node { reckoning { carriedLoss { amount } } } } } }";
            let edges = owner.data(query, json!({})).await["revenueSettlements"]["edges"].take();
            carried.push(cents(&edges[0]["node"]["reckoning"]["carriedLoss"]));
        }
        assert_eq!(settled(&app.affiliate(&programme.affiliate)).await, [15_000, 5_000, 0, 5_500, 1_000]);
        assert_eq!(carried, [100_000, 60_000, 60_000, 0, 0]);
    }

    async fn what_comes_late_is_part_of_the_next_settlement(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms { hold_seconds: 0, ..Terms::default() }).await;
        deal(&owner, &programme, json!({ "share": "50", "waitDays": 2 })).await;
        let day = today(app);
        recorded(&owner, vec![record(&programme, "ada", day, json!({ "ggr": eur("10.00") }))]).await;
        month_over(app).await;
        assert_eq!(settled(&owner).await, [0; 0], "two days are waited for");
        recorded(&owner, vec![record(&programme, "bob", day, json!({ "ggr": eur("20.00") }))]).await;
        app.clock.advance(TimeDelta::days(2));
        app.run_jobs().await;
        assert_eq!(settled(&owner).await, [1_500]);
        let wrong = json!({ "ggr": eur("-4.00"), "reference": "wrong" });
        recorded(&owner, vec![record(&programme, "ada", day, wrong)]).await;
        recorded(&owner, vec![record(&programme, "ada", today(app), json!({ "ggr": eur("30.00") }))]).await;
        app.run_jobs().await;
        assert_eq!(settled(&owner).await, [1_500], "its month is over, and the next one is not");
        month_over(app).await;
        app.clock.advance(TimeDelta::days(2));
        app.run_jobs().await;
        assert_eq!(settled(&owner).await, [1_500, 1_300]);
        assert_eq!(app.settle_revenue().await, 0);
    }

    async fn customer_who_qualifies_is_paid_for_once(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms { hold_seconds: 0, ..Terms::default() }).await;
        let qualified = json!({ "amount": eur("50.00"), "deposits": eur("20.00"), "stakes": eur("100.00"), "days": 40 });
        deal(&owner, &programme, json!({ "share": "10", "qualified": qualified })).await;
        let play = |deposits: &str, stakes: &str| {
            json!({ "ggr": eur("1.00"), "deposits": eur(deposits), "stakes": eur(stakes) })
        };
        month_over(app).await;
        let day = today(app);
        recorded(&owner, vec![
            record(&programme, "at once", day, play("20.00", "100.00")),
            record(&programme, "next month", day, play("20.00", "1.00")),
            record(&programme, "never", day, play("19.99", "1000.00")),
            record(&programme, "too late", day, play("20.00", "1.00")),
        ]).await;
        month_over(app).await;
        assert_eq!(settled(&owner).await, [5_040]);
        let soon = today(app);
        recorded(&owner, vec![
            record(&programme, "at once", soon, play("20.00", "100.00")),
            record(&programme, "next month", soon, play("0.00", "99.00")),
        ]).await;
        month_over(app).await;
        recorded(&owner, vec![record(&programme, "too late", today(app), play("0.00", "1000.00"))]).await;
        month_over(app).await;
        assert_eq!(settled(&owner).await, [5_040, 5_020, 10]);
        let query = "{ revenueSettlements(last: 1) { edges { node { reckoning { qualified qualifiedAmount { amount } } } } } }";
        let reckoning = owner.data(query, json!({})).await["revenueSettlements"]["edges"][0]["node"]["reckoning"].take();
        assert_eq!(reckoning, json!({ "qualified": 1, "qualifiedAmount": { "amount": "50.00" } }));
    }

    async fn customer_is_whose_first_conversion_it_is(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms { hold_seconds: 0, ..Terms::default() }).await;
        let other = new_affiliate(&owner).await;
        let (_, link) = enroll(&owner, &programme.campaign, &other).await;
        let of_other = Programme { link, affiliate: other.clone(), ..programme.clone() };
        deal(&owner, &programme, json!({ "share": "50" })).await;
        deal(&owner, &programme, json!({ "affiliateId": other, "share": "60" })).await;
        let convert = async |programme: &Programme, order: &str, customer: &str| {
            let mut sale = sale(&programme.click(&owner).await, order, "1.00");
            merge(&mut sale, json!({ "customerId": customer }));
            owner.done("recordConversion", sale, "").await;
        };
        convert(&of_other, "one", "ada").await;
        app.clock.advance(TimeDelta::seconds(1));
        convert(&programme, "two", "ada").await;
        let day = today(app);
        let unnamed = |customer: &str| {
            record(&programme, customer, day, json!({ "ggr": eur("10.00"), "affiliateId": null }))
        };
        recorded(&owner, vec![unnamed("ada"), unnamed("bob"), unnamed("nobody")]).await;
        let whose = "{ revenueRecords(first: 10) { edges { node { customerId affiliate { id } settlement { id } } } } }";
        let edges = owner.data(whose, json!({})).await["revenueRecords"]["edges"].take();
        let affiliates: Vec<(&Value, &Value)> = edges.as_array().expect("a list").iter()
            .map(|edge| (&edge["node"]["customerId"], &edge["node"]["affiliate"]["id"])).collect();
        let (ada, bob) = (json!("ada"), json!("bob"));
        assert!(affiliates.contains(&(&ada, &json!(other))), "{affiliates:?}");
        assert!(affiliates.contains(&(&bob, &Value::Null)), "{affiliates:?}");
        convert(&programme, "three", "bob").await;
        month_over(app).await;
        assert_eq!(settled(&app.affiliate(&other)).await, [600], "by a deal of its own");
        assert_eq!(settled(&app.affiliate(&programme.affiliate)).await, [500], "who came later");
        let open = "{ revenueRecords(first: 10, filter: { settled: false }) { totalCount edges { node { customerId } } } }";
        assert_eq!(owner.data(open, json!({})).await["revenueRecords"], json!({
            "totalCount": 1, "edges": [{ "node": { "customerId": "nobody" } }],
        }));
        let mine = app.affiliate(&other).data(whose, json!({})).await;
        assert_eq!(mine["revenueRecords"]["edges"].as_array().map(Vec::len), Some(1));
        let stranger = app.stranger().data(whose, json!({})).await;
        assert_eq!(stranger["revenueRecords"]["edges"], json!([]));
    }

    async fn deal_that_comes_late_settles_what_is_open(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms { hold_seconds: 0, ..Terms::default() }).await;
        for ggr in ["10.00", "20.00"] {
            recorded(&owner, vec![record(&programme, "ada", today(app), json!({ "ggr": eur(ggr) }))]).await;
            month_over(app).await;
        }
        assert_eq!(settled(&owner).await, [0; 0]);
        deal(&owner, &programme, json!({ "share": "50" })).await;
        app.clock.advance(TimeDelta::days(1));
        app.run_jobs().await;
        assert_eq!(settled(&owner).await, [500, 1_000]);
        // A month by what was in force when it ended, though it is set again before it is settled.
        recorded(&owner, vec![record(&programme, "ada", today(app), json!({ "ggr": eur("10.00") }))]).await;
        let id = deal(&owner, &programme, json!({ "share": "60", "waitDays": 3 })).await["id"].take();
        month_over(app).await;
        assert_eq!(deal(&owner, &programme, json!({ "share": "99" })).await["version"], 3);
        app.clock.advance(TimeDelta::days(3));
        app.run_jobs().await;
        assert_eq!(settled(&owner).await, [500, 1_000, 600]);
        owner.done("archiveRevenueDeal", json!({ "id": id }), "").await;
        recorded(&owner, vec![record(&programme, "ada", today(app), json!({ "ggr": eur("10.00") }))]).await;
        month_over(app).await;
        assert_eq!(settled(&owner).await.len(), 3);
        assert_eq!(owner.refusal("archiveRevenueDeal", json!({ "id": id })).await, "INVALID_TRANSITION");
    }

    async fn two_who_settle_at_once_settle_once(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms { hold_seconds: 0, ..Terms::default() }).await;
        let qualified = json!({ "amount": eur("5.00") });
        deal(&owner, &programme, json!({ "share": "50", "qualified": qualified })).await;
        let day = today(app) - Days::new(62);
        recorded(&owner, vec![record(&programme, "ada", day, json!({ "ggr": eur("10.00") }))]).await;
        let scope = TenantScope::tenant(app.home);
        let (one, other) = tokio::join!(
            revenue_settlements::settle_due(&app.services, &scope),
            revenue_settlements::settle_due(&app.services, &scope),
        );
        assert_eq!(one.expect("settles") + other.expect("settles"), 1);
        assert_eq!(settled(&owner).await, [1_000]);
    }

    async fn verify_finds_records_and_awards_that_were_changed(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms { hold_seconds: 0, ..Terms::default() }).await;
        deal(&owner, &programme, json!({ "share": "50" })).await;
        recorded(&owner, vec![record(&programme, "ada", today(app), json!({ "ggr": eur("10.00") }))]).await;
        month_over(app).await;
        assert_eq!((settled(&owner).await, found(app).await), (vec![500], vec![]));
        app.check_invariants.store(false, Ordering::Relaxed);
        app.auditor.run("UPDATE revenue_record SET ggr_minor = 1001").await.expect("is changed");
        assert_eq!(found(app).await, ["REVENUE_RECORDS", "REVENUE_RECKONING"]);
        app.auditor.run("UPDATE revenue_record SET ggr_minor = 1000, settlement_id = NULL").await.expect("is changed");
        assert_eq!(found(app).await, ["REVENUE_RECORDS", "REVENUE_RECKONING"]);
        app.auditor.run("UPDATE award SET amount_minor = 501 WHERE kind = 'REVENUE'").await.expect("is changed");
        let all = ["AWARDED_COMMISSIONS", "REVENUE_RECORDS", "REVENUE_AWARD", "REVENUE_RECKONING"];
        assert_eq!(found(app).await, all);
    }

    async fn verify_reckons_settlements_again(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms { hold_seconds: 0, ..Terms::default() }).await;
        let qualified = json!({ "amount": eur("50.00"), "deposits": eur("20.00"), "days": 40 });
        deal(&owner, &programme, json!({
            "share": "30", "carryover": { "kind": "LIMITED", "periods": 3 }, "qualified": qualified,
            "deductions": [{ "name": "duty", "percent": "15" }],
        })).await;
        // A loss, a month of what comes late for the first one, what makes a part of it good, and a month of nothing.
        let first = today(app);
        let play = json!({ "ggr": eur("-600.00"), "bonuses": eur("100.00"), "deposits": eur("15.00") });
        recorded(&owner, vec![record(&programme, "ada", first, play)]).await;
        month_over(app).await;
        month_over(app).await;
        let play = json!({ "ggr": eur("400.00"), "chargebacks": eur("20.00"), "deposits": eur("30.00") });
        recorded(&owner, vec![
            record(&programme, "bob", today(app), play),
            record(&programme, "ada", first, json!({ "reference": "late", "deposits": eur("5.00") })),
        ]).await;
        month_over(app).await;
        month_over(app).await;
        recorded(&owner, vec![record(&programme, "ada", today(app), json!({ "ggr": eur("900.00") }))]).await;
        // Beside it, a deal that sets customers apart.
        let apart = Programme::build(&owner, &Terms { hold_seconds: 0, ..Terms::default() }).await;
        let carryover = json!({ "kind": "HIGH_ROLLER", "limit": eur("100.00") });
        deal(&owner, &apart, json!({ "share": "50", "carryover": carryover })).await;
        recorded(&owner, vec![record(&apart, "cleo", today(app), json!({ "ggr": eur("-100.00") }))]).await;
        month_over(app).await;
        recorded(&owner, vec![record(&apart, "cleo", today(app), json!({ "ggr": eur("250.00") }))]).await;
        month_over(app).await;
        // Each qualifies in a month of its own, and what was left of the loss ran out in the month of nothing.
        assert_eq!(settled(&app.affiliate(&programme.affiliate)).await, [0, 5_000, 5_000, 22_950]);
        assert_eq!(settled(&app.affiliate(&apart.affiliate)).await, [0, 7_500]);
        assert_eq!(found(app).await, [""; 0]);
        app.check_invariants.store(false, Ordering::Relaxed);
        let (reckoning, carried, customers) = ("REVENUE_RECKONING", "REVENUE_CARRIED", "REVENUE_CUSTOMERS");
        let cases: [(&str, &str, &[&str]); 9] = [
            ("revenue_record", "bonuses_minor = bonuses_minor + 1 WHERE bonuses_minor > 0", &[carried, reckoning]),
            ("revenue_record", "chargebacks_minor = 0 WHERE chargebacks_minor > 0", &[carried, reckoning]),
            ("revenue_record", "deposits_minor = 499 WHERE reference = 'late'", &[customers, reckoning]),
            ("revenue_settlement", "ngr_minor = ngr_minor + 1 WHERE ngr_minor = 76500", &[reckoning]),
            ("revenue_settlement", "lines = '[]' WHERE ngr_minor < 0", &[reckoning]),
            ("revenue_settlement", "carried_minor = 0 WHERE carried_minor = 10000", &[carried]),
            // Her next month pays too much by it.
            ("revenue_carried", "carried = '{}' WHERE carried LIKE '%cleo%'", &[carried, reckoning]),
            ("revenue_carried", "carried = 'x' WHERE carried LIKE '%losses%'", &[carried; 3]),
            // He would qualify in the next settlement.
            ("revenue_qualification", "customer_id = 'eve' WHERE customer_id = 'bob'", &[customers, customers, reckoning]),
        ];
        for (table, change, checks) in cases {
            tamper(app, &format!("CREATE TABLE kept AS SELECT * FROM {table}; UPDATE {table} SET {change}")).await;
            let mut told = found(app).await;
            told.sort_unstable();
            assert_eq!(told, checks, "{table}: {change}");
            tamper(app, &format!("DELETE FROM {table}; INSERT INTO {table} SELECT * FROM kept; DROP TABLE kept")).await;
            assert_eq!(found(app).await, [""; 0], "{table} is as it was");
        }
    }

    async fn who_may_not_earn_earns_no_net_revenue(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms { hold_seconds: 0, ..Terms::default() }).await;
        let qualified = json!({ "amount": eur("5.00"), "deposits": eur("20.00") });
        deal(&owner, &programme, json!({ "share": "50", "qualified": qualified })).await;
        let day = today(app);
        let brought = |customer: &str, reference: &str| {
            let play = json!({ "ggr": eur("10.00"), "deposits": eur("20.00"), "reference": reference });
            record(&programme, customer, day, play)
        };
        recorded(&owner, vec![brought("ada", "before")]).await;
        let items = "items { revenueRecord { id reason } replayed userErrors { code } }";
        let reasons = async |records: Vec<Value>| -> Vec<Value> {
            let answer = owner.mutate("recordRevenue", json!({ "items": records }), items).await;
            let items = answer["items"].as_array().expect("a list").iter();
            items.map(|item| item["revenueRecord"]["reason"].clone()).collect()
        };
        owner.done("suspendAffiliate", json!({ "id": programme.affiliate }), "").await;
        let inactive = json!("AFFILIATE_NOT_ACTIVE");
        // Also where the customer tells whose it is, and once more for who sends it again.
        let sent = vec![brought("ada", "one"), brought("bob", "two"), brought("ada", "before")];
        assert_eq!(reasons(sent.clone()).await, [inactive.clone(), inactive.clone(), Value::Null]);
        owner.done("approveAffiliate", json!({ "id": programme.affiliate }), "").await;
        assert_eq!(reasons(sent).await, [inactive.clone(), inactive, Value::Null], "as it was when it came");
        owner.done("suspendEnrollment", json!({ "id": programme.enrollment }), "").await;
        let stranger = new_affiliate(&owner).await;
        let mut of_stranger = brought("cleo", "three");
        merge(&mut of_stranger, json!({ "affiliateId": stranger }));
        let unapproved = json!("ENROLLMENT_NOT_APPROVED");
        assert_eq!(reasons(vec![brought("bob", "four"), of_stranger]).await, [unapproved.clone(), unapproved]);
        let count = async |filter: Value| {
            let query = "query($filter: RevenueRecordFilterInput) { revenueRecords(first: 1, filter: $filter) { totalCount } }";
            owner.data(query, json!({ "filter": filter })).await["revenueRecords"]["totalCount"].take()
        };
        assert_eq!(count(json!({ "refused": true })).await, 4);
        assert_eq!(count(json!({ "refused": false, "settled": false })).await, 1);
        month_over(app).await;
        // What came before is settled, though the affiliate may not earn now.
        assert_eq!(settled(&owner).await, [1_000]);
        assert_eq!(count(json!({ "settled": true })).await, 1);
        owner.done("approveEnrollment", json!({ "id": programme.enrollment }), "").await;
        recorded(&owner, vec![brought("bob", "five")]).await;
        month_over(app).await;
        assert_eq!(settled(&owner).await, [1_000, 1_000], "he qualifies by what counts, once");
        assert_eq!(count(json!({ "refused": true })).await, 4);
        assert_eq!(count(json!({ "refused": false, "settled": false })).await, 0);
    }

    async fn record_is_recorded_once_and_a_wrong_one_leaves_the_others_alone(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let day = today(app);
        let good = record(&programme, "ada", day, json!({ "ggr": eur("10.00") }));
        let with = |more: Value| record(&programme, "bob", day, more);
        let dollars = json!({ "ggr": { "amount": "1.00", "currency": "USD" } });
        let items = told(&owner, vec![
            good.clone(),
            with(dollars),
            with(json!({ "campaignId": "cmp_00000000000000000000000000" })),
            with(json!({ "affiliateId": "aff_00000000000000000000000000" })),
            with(json!({ "day": day + Days::new(1) })),
            with(json!({ "customerId": "", "reference": " " })),
            good.clone(),
            with(json!({ "ggr": eur("5.00") })),
        ]).await;
        let codes: Vec<String> = items.iter().map(|item| {
            let errors = item["userErrors"].as_array().expect("a list").iter();
            errors.map(|error| error["code"].as_str().unwrap_or_default()).collect::<Vec<_>>().join(" ")
        }).collect();
        assert_eq!(codes, [
            "", "CURRENCY_MISMATCH", "NOT_FOUND", "NOT_FOUND", "TIME_IN_FUTURE", "REQUIRED REQUIRED", "", "",
        ]);
        let id = &items[0]["revenueRecord"]["id"];
        assert_eq!((&items[6]["revenueRecord"]["id"], &items[6]["replayed"]), (id, &json!(true)));
        let again = told(&owner, vec![good.clone()]).await;
        assert_eq!((&again[0]["revenueRecord"]["id"], &again[0]["replayed"]), (id, &json!(true)));
        let mut changed = good.clone();
        merge(&mut changed, json!({ "ggr": eur("10.01") }));
        assert_eq!(told(&owner, vec![changed]).await[0]["userErrors"][0]["code"], "IDEMPOTENCY_CONFLICT");
        let (one, other) = tokio::join!(told(&owner, vec![with(json!({}))]), told(&owner, vec![with(json!({}))]));
        assert_eq!(one[0]["userErrors"][0]["code"], "IDEMPOTENCY_CONFLICT", "bob brought 5.00");
        assert_eq!(other[0]["userErrors"], one[0]["userErrors"]);
        let fresh = || with(json!({ "reference": "at once" }));
        let (one, other) = tokio::join!(told(&owner, vec![fresh()]), told(&owner, vec![fresh()]));
        assert_eq!(one[0]["revenueRecord"]["id"], other[0]["revenueRecord"]["id"]);
        let count = owner.data("{ revenueRecords(first: 1) { totalCount } }", json!({})).await;
        assert_eq!(count["revenueRecords"]["totalCount"], 3);
        let payload = owner.mutate("recordRevenue", json!({ "items": [] }), "userErrors { code }").await;
        assert_eq!(payload["userErrors"][0]["code"], "BATCH_SIZE");
    }

    async fn deal_that_makes_no_sense_is_refused(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let money = |amount: &str, currency: &str| json!({ "amount": amount, "currency": currency });
        for (more, code) in [
            (json!({}), "OUT_OF_RANGE"),
            (json!({ "share": "100.1" }), "INVALID_RATE"),
            (json!({ "share": "1", "waitDays": 91 }), "OUT_OF_RANGE"),
            (json!({ "share": "1", "carryover": { "kind": "LIMITED" } }), "REQUIRED"),
            (json!({ "share": "1", "carryover": { "kind": "LIMITED", "periods": 0 } }), "OUT_OF_RANGE"),
            (json!({ "share": "1", "carryover": { "kind": "FULL", "periods": 1 } }), "OUT_OF_RANGE"),
            (json!({ "share": "1", "carryover": { "kind": "HIGH_ROLLER" } }), "REQUIRED"),
            (
                json!({ "share": "1", "carryover": { "kind": "HIGH_ROLLER", "limit": money("1.00", "USD") } }),
                "CURRENCY_MISMATCH",
            ),
            (json!({ "qualified": { "amount": money("0.00", "EUR") } }), "OUT_OF_RANGE"),
            (json!({ "share": "1", "deductions": [{ "name": "", "percent": "1" }] }), "REQUIRED"),
            (json!({ "share": "1", "affiliateId": "aff_00000000000000000000000000" }), "NOT_FOUND"),
        ] {
            let mut input = json!({ "campaignId": programme.campaign });
            merge(&mut input, more.clone());
            assert_eq!(owner.refusal("setRevenueDeal", input).await, code, "{more}");
        }
    }

    async fn terms_are_tried_on_periods_without_writing(app) {
        let owner = app.owner();
        let query = "query($input: RevenueDealPreviewInput!) { revenueDealPreview(input: $input) { earned { amount } \
            periods { from until ngr { amount } shared { amount } earned { amount } carriedLoss { amount } qualified \
            lines { name amount { amount } } } } }";
        let before = dump(app, &everything(app).await).await;
        let tried = async |more: Value| {
            let mut input = json!({ "currency": "EUR", "from": "2026-11-15" });
            merge(&mut input, more);
            owner.data(query, json!({ "input": input })).await["revenueDealPreview"].take()
        };
        // The vectors of the design: deductions, then what is carried over.
        let percent = |name: &str, percent: &str| json!({ "name": name, "percent": percent });
        let play = json!({ "customerId": "ada", "ggr": eur("10000.00"), "bonuses": eur("2000.00"), "chargebacks": eur("200.00") });
        let deductions = [percent("fees", "3"), percent("duty", "15"), percent("admin", "5")];
        let answer = tried(json!({ "share": "35", "deductions": deductions, "periods": [{ "records": [play] }] })).await;
        let period = &answer["periods"][0];
        assert_eq!((&period["from"], &period["until"]), (&json!("2026-11-01"), &json!("2026-11-30")));
        assert_eq!((cents(&period["ngr"]), cents(&period["earned"]), cents(&answer["earned"])), (550_000, 192_500, 192_500));
        let months = |amounts: [&str; 4]| -> Vec<Value> {
            let month = |amount: &&str| json!({ "records": [{ "customerId": "ada", "ggr": eur(amount) }] });
            amounts.iter().map(month).collect()
        };
        let won_and_lost = months(["1000.00", "-600.00", "400.00", "500.00"]);
        for (carryover, expected) in [
            (json!({ "kind": "NONE" }), [30_000, 0, 12_000, 15_000]),
            (json!({ "kind": "FULL" }), [30_000, 0, 0, 9_000]),
            (json!({ "kind": "LIMITED", "periods": 1 }), [30_000, 0, 0, 15_000]),
        ] {
            let answer = tried(json!({ "share": "30", "carryover": carryover, "periods": won_and_lost })).await;
            let earned: Vec<i64> =
                answer["periods"].as_array().expect("four").iter().map(|period| cents(&period["earned"])).collect();
            assert_eq!(earned, expected, "{carryover}");
        }
        let qualified = json!({ "qualified": { "amount": eur("50.00") }, "periods": [{ "qualified": 3 }, { "qualified": 1 }] });
        assert_eq!(cents(&tried(qualified).await["earned"]), 20_000);
        assert_eq!(dump(app, &everything(app).await).await, before, "no table has another row");
        let code = async |more: Value| {
            let mut input = json!({ "currency": "EUR", "from": "2026-11-15", "share": "30", "periods": [{}] });
            merge(&mut input, more);
            let (_, answer) = owner.send(query, json!({ "input": input })).await;
            answer["errors"][0]["extensions"]["code"].as_str().unwrap_or("none").to_owned()
        };
        assert_eq!(code(json!({})).await, "none");
        assert_eq!(code(json!({ "periods": [] })).await, "BATCH_SIZE");
        assert_eq!(code(json!({ "share": "0" })).await, "OUT_OF_RANGE");
        assert_eq!(code(json!({ "periods": [{ "qualified": -1 }] })).await, "OUT_OF_RANGE");
        assert_eq!(code(json!({ "currency": "USD", "periods": [{ "records": [play] }] })).await, "CURRENCY_MISMATCH");
    }
}
