//! Bonus rules: who reaches them in which period, that each is given once, and what does not count.

use chrono::{Datelike, Days, Months, NaiveTime, TimeDelta};
use serde_json::{Value, json};
use tributary::{ambient::Clock, domain::tenancy::TenantScope, services::bonus_grants};

use crate::{
    attribution::cents,
    support::{
        Client, Programme, Terms, TestApp, on_both,
        programme::{enroll, id, merge, new_affiliate, sale},
    },
};

fn rule(threshold: Value, period: &str) -> Value {
    json!({
        "name": "A good month", "threshold": threshold, "period": period,
        "amount": { "amount": "50.00", "currency": "EUR" },
    })
}

async fn create(client: &Client, input: Value) -> String {
    id(&client.done("createBonusRule", input, "bonusRule { id }").await, "bonusRule")
}

/// Records sales; their ids.
async fn sell(client: &Client, programme: &Programme, amounts: &[&str]) -> Vec<String> {
    let click = programme.click(client).await;
    let mut ids = Vec::new();
    for amount in amounts {
        let sale = sale(&click, &uuid::Uuid::new_v4().to_string(), amount);
        ids.push(id(&client.done("recordConversion", sale, "conversion { id }").await, "conversion"));
    }
    ids
}

/// Another affiliate in a programme's campaign.
async fn another(client: &Client, programme: &Programme) -> Programme {
    let affiliate = new_affiliate(client).await;
    let (enrollment, link) = enroll(client, &programme.campaign, &affiliate).await;
    Programme { affiliate, enrollment, link, ..programme.clone() }
}

/// Amounts in cents, newest first, of an affiliate's bonuses.
async fn bonuses(client: &Client, affiliate: &str) -> Vec<i64> {
    let query = "query($id: [ID!]) { awards(first: 50, filter: { affiliateIds: $id, kinds: [BONUS] }) { edges { node { \
        amount { amount } } } } }";
    let data = client.data(query, json!({ "id": [affiliate] })).await;
    data["awards"]["edges"].as_array().expect("a list").iter().map(|edge| cents(&edge["node"]["amount"])).collect()
}

/// Goes to noon of the tenth of the next month: far from where periods begin, whenever the test runs.
fn settle(app: &TestApp) {
    let today = app.clock.now().date_naive();
    let tenth = today.with_day(10).expect("every month has a tenth") + Months::new(1);
    let noon = tenth.and_time(NaiveTime::from_hms_opt(12, 0, 0).expect("a time")).and_utc();
    app.clock.advance(noon - app.clock.now());
}

/// Goes to a minute after the midnight that so many days end with, and runs what is due then.
async fn days_over(app: &TestApp, days: u64) {
    let day = app.clock.now().date_naive() + Days::new(days);
    app.clock.advance(day.and_time(NaiveTime::MIN).and_utc() + TimeDelta::minutes(1) - app.clock.now());
    app.run_jobs().await;
    // What the node itself had begun was passed over: it is at its end when nobody has a lease any more.
    let under_way = "SELECT COUNT(*) FROM outbox WHERE kind = 'DECIDE_BONUSES' AND leased_until IS NOT NULL";
    app.until(under_way, 0).await;
}

async fn month_over(app: &TestApp) {
    let first = app.clock.now().date_naive().with_day(1).expect("every month has a first") + Months::new(1);
    let days = (first - app.clock.now().date_naive()).num_days();
    days_over(app, days.try_into().expect("ahead")).await;
}

on_both! {
    async fn who_brings_enough_in_a_month_is_given_a_bonus_when_it_is_over(app) {
        settle(app);
        let owner = app.owner();
        let good = Programme::build(&owner, &Terms::default()).await;
        let less = another(&owner, &good).await;
        let elsewhere = Programme::build(&owner, &Terms::default()).await;
        let stranger = app.stranger();
        let foreign = Programme::build(&stranger, &Terms::default()).await;
        let mut input = rule(json!({ "conversions": 3 }), "MONTH");
        merge(&mut input, json!({ "campaignId": good.campaign, "holdSeconds": 86_400 }));
        create(&owner, input).await;
        sell(&owner, &good, &["1.00", "1.00"]).await;
        days_over(app, 1).await;
        sell(&owner, &good, &["1.00"]).await;
        sell(&owner, &less, &["1.00", "1.00"]).await;
        sell(&owner, &elsewhere, &["1.00", "1.00", "1.00"]).await;
        sell(&stranger, &foreign, &["1.00", "1.00", "1.00"]).await;
        days_over(app, 1).await;
        assert_eq!(bonuses(&owner, &good.affiliate).await, [0; 0], "the month is not over");
        let begun = app.clock.now().date_naive().with_day(1).expect("a day");
        month_over(app).await;
        let own = app.affiliate(&good.affiliate);
        assert_eq!(bonuses(&own, &good.affiliate).await, [5_000]);
        assert_eq!(bonuses(&owner, &less.affiliate).await, [0; 0], "two are too few");
        assert_eq!(bonuses(&owner, &elsewhere.affiliate).await, [0; 0], "of another campaign");
        assert_eq!(bonuses(&stranger, &foreign.affiliate).await, [0; 0], "of another tenant");
        let query = "{ awards(first: 1) { edges { node { status reason campaign { id } explanation { name value } } } } }";
        let ended = app.clock.now().date_naive().pred_opt().expect("a day");
        assert_eq!(own.data(query, json!({})).await["awards"]["edges"][0]["node"], json!({
            "status": "PENDING", "reason": "A good month", "campaign": { "id": good.campaign }, "explanation": [
                { "name": format!("approved conversions from {begun} to {ended}"), "value": "3" },
                { "name": "threshold", "value": "3" },
            ],
        }));
        let query = "query($id: [ID!]) { awards(first: 1, filter: { affiliateIds: $id }) { edges { node { author journal { \
            kind entries { account { code } } } } } } }";
        let award = owner.data(query, json!({ "id": [good.affiliate] })).await["awards"]["edges"][0]["node"].take();
        assert_eq!(award, json!({ "author": "system", "journal": {
            "kind": "BONUS", "entries": [{ "account": { "code": 5010 } }, { "account": { "code": 2000 } }],
        } }));
        // The next month counts from nothing.
        sell(&owner, &good, &["1.00", "1.00"]).await;
        sell(&owner, &less, &["1.00", "1.00", "1.00"]).await;
        month_over(app).await;
        assert_eq!(bonuses(&owner, &good.affiliate).await, [5_000]);
        assert_eq!(bonuses(&owner, &less.affiliate).await, [5_000]);
    }

    async fn sales_of_one_currency_count_over_all_campaigns_at_what_is_left_of_them(app) {
        settle(app);
        let owner = app.owner();
        let good = Programme::build(&owner, &Terms::default()).await;
        let more = Programme::build(&owner, &Terms::default()).await;
        let (_, link) = enroll(&owner, &more.campaign, &good.affiliate).await;
        let of_good = Programme { link, ..more.clone() };
        let dollars = Programme::build(&owner, &Terms { currency: "USD", ..Terms::default() }).await;
        create(&owner, rule(json!({ "saleAmount": { "amount": "100.00", "currency": "EUR" } }), "WEEK")).await;
        sell(&owner, &good, &["60.00"]).await;
        sell(&owner, &of_good, &["40.00"]).await;
        let refunded = sell(&owner, &more, &["100.00"]).await.remove(0);
        let refund = json!({ "id": refunded, "amount": { "amount": "0.01", "currency": "EUR" } });
        owner.done("refundConversion", refund, "").await;
        let mut sale = sale(&dollars.click(&owner).await, "dollars", "500.00");
        sale["saleAmount"]["currency"] = json!("USD");
        owner.done("recordConversion", sale, "").await;
        days_over(app, 7).await;
        assert_eq!(bonuses(&owner, &good.affiliate).await, [5_000]);
        assert_eq!(bonuses(&owner, &more.affiliate).await, [0; 0], "a cent was taken back");
        assert_eq!(bonuses(&owner, &dollars.affiliate).await, [0; 0], "of another currency");
        let query = "{ awards(first: 1) { edges { node { explanation { value } } } } }";
        let explained = owner.data(query, json!({})).await["awards"]["edges"][0]["node"]["explanation"].take();
        assert_eq!(explained, json!([{ "value": "100.00" }, { "value": "100.00" }]));
    }

    async fn milestone_counts_what_was_before_the_rule_and_is_given_once(app) {
        settle(app);
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        sell(&owner, &programme, &["1.00"]).await;
        days_over(app, 1).await;
        create(&owner, rule(json!({ "conversions": 2 }), "LIFETIME")).await;
        days_over(app, 1).await;
        assert_eq!(bonuses(&owner, &programme.affiliate).await, [0; 0]);
        sell(&owner, &programme, &["1.00"]).await;
        days_over(app, 1).await;
        assert_eq!(bonuses(&owner, &programme.affiliate).await, [5_000]);
        sell(&owner, &programme, &["1.00", "1.00"]).await;
        days_over(app, 1).await;
        days_over(app, 3).await;
        assert_eq!(bonuses(&owner, &programme.affiliate).await, [5_000], "once for ever");
    }

    async fn periods_that_no_worker_saw_the_end_of_are_decided_each_once(app) {
        settle(app);
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        create(&owner, rule(json!({ "conversions": 2 }), "DAY")).await;
        // Enough, too few, enough, none.
        for sales in [&["1.00", "1.00"][..], &["1.00"], &["1.00", "1.00", "1.00"]] {
            sell(&owner, &programme, sales).await;
            app.clock.advance(TimeDelta::days(1));
        }
        days_over(app, 1).await;
        assert_eq!(bonuses(&owner, &programme.affiliate).await, [5_000, 5_000]);
        let query = "{ bonusRules(first: 1) { edges { node { decidedUntil } } } }";
        let until = owner.data(query, json!({})).await["bonusRules"]["edges"][0]["node"]["decidedUntil"].take();
        assert_eq!(until, json!(app.clock.now().date_naive().and_time(NaiveTime::MIN).and_utc().to_rfc3339()));
        app.run_jobs().await;
        assert_eq!(bonuses(&owner, &programme.affiliate).await, [5_000, 5_000]);
    }

    async fn two_who_decide_at_once_give_once(app) {
        settle(app);
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let second = another(&owner, &programme).await;
        create(&owner, rule(json!({ "conversions": 1 }), "DAY")).await;
        for of in [&programme, &second] {
            sell(&owner, of, &["1.00"]).await;
        }
        app.clock.advance(TimeDelta::days(1));
        let scope = TenantScope::tenant(app.home);
        let node = app.another_node().await;
        let (one, other) = tokio::join!(
            bonus_grants::decide_due(&app.services, &scope),
            bonus_grants::decide_due(&node.services, &scope),
        );
        assert!(one.expect("decides") + other.expect("decides") <= 2);
        node.stop().await;
        for of in [&programme, &second] {
            assert_eq!(bonuses(&owner, &of.affiliate).await, [5_000]);
        }
    }

    async fn only_what_is_approved_counts_and_a_rule_waits_for_it(app) {
        settle(app);
        let owner = app.owner();
        let late = Programme::build(&owner, &Terms::manual()).await;
        let rejected = another(&owner, &late).await;
        create(&owner, rule(json!({ "conversions": 2 }), "DAY")).await;
        let mut patient = rule(json!({ "conversions": 2 }), "DAY");
        merge(&mut patient, json!({ "waitDays": 2, "amount": { "amount": "7.00", "currency": "EUR" } }));
        create(&owner, patient).await;
        let approved = sell(&owner, &late, &["1.00", "1.00"]).await;
        let doubtful = sell(&owner, &rejected, &["1.00", "1.00"]).await;
        days_over(app, 1).await;
        assert_eq!(bonuses(&owner, &late.affiliate).await, [0; 0]);
        let ids: Vec<&String> = approved.iter().chain(&doubtful[..1]).collect();
        owner.done("approveConversions", json!({ "ids": ids }), "").await;
        owner.done("rejectConversions", json!({ "ids": doubtful[1..], "reason": "TEST" }), "").await;
        days_over(app, 1).await;
        assert_eq!(bonuses(&owner, &late.affiliate).await, [0; 0], "it waits two days");
        days_over(app, 1).await;
        assert_eq!(bonuses(&owner, &late.affiliate).await, [700], "the one that waited");
        assert_eq!(bonuses(&owner, &rejected.affiliate).await, [0; 0], "one of two was rejected");
    }

    async fn archived_rules_and_suspended_affiliates_have_no_bonus(app) {
        settle(app);
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let suspended = another(&owner, &programme).await;
        let mut input = rule(json!({ "conversions": 1 }), "DAY");
        merge(&mut input, json!({ "campaignId": programme.campaign, "idempotencyKey": "once", "waitDays": 1 }));
        let ended = create(&owner, input.clone()).await;
        let again = owner.done("createBonusRule", input.clone(), "replayed bonusRule { id }").await;
        assert_eq!(again, json!({ "userErrors": [], "replayed": true, "bonusRule": { "id": ended } }));
        input["name"] = json!("Another");
        assert_eq!(owner.refusal("createBonusRule", input).await, "IDEMPOTENCY_CONFLICT");
        let kept = create(&owner, rule(json!({ "conversions": 1 }), "DAY")).await;
        for of in [&programme, &suspended] {
            sell(&owner, of, &["1.00"]).await;
        }
        owner.done("suspendAffiliate", json!({ "id": suspended.affiliate }), "").await;
        days_over(app, 1).await;
        assert_eq!(bonuses(&owner, &programme.affiliate).await, [5_000], "of the one that does not wait");
        assert_eq!(bonuses(&owner, &suspended.affiliate).await, [0; 0]);
        owner.done("archiveBonusRule", json!({ "id": ended }), "").await;
        assert_eq!(owner.refusal("archiveBonusRule", json!({ "id": ended })).await, "INVALID_TRANSITION");
        days_over(app, 2).await;
        assert_eq!(bonuses(&owner, &programme.affiliate).await, [5_000]);
        let query = "query($id: ID!, $filter: BonusRuleFilterInput) { campaign(id: $id) { bonusRules { id status } } \
            bonusRules(first: 10, filter: $filter) { totalCount edges { node { id campaign { id } conversions saleAmount { \
            amount } } } } }";
        let seen = owner.data(query, json!({ "id": programme.campaign, "filter": { "statuses": ["ACTIVE"] } })).await;
        assert_eq!(seen["campaign"]["bonusRules"], json!([{ "id": ended, "status": "ARCHIVED" }]));
        assert_eq!(seen["bonusRules"], json!({ "totalCount": 1, "edges": [
            { "node": { "id": kept, "campaign": null, "conversions": 1, "saleAmount": null } },
        ] }));
        let filter = json!({ "campaignIds": [programme.campaign] });
        let seen = owner.data(query, json!({ "id": programme.campaign, "filter": filter })).await;
        assert_eq!(seen["bonusRules"]["edges"][0]["node"]["id"], json!(ended));
        let theirs = "query($id: ID!) { node(id: $id) { id } bonusRules(first: 10) { totalCount } }";
        let theirs = app.stranger().data(theirs, json!({ "id": kept })).await;
        assert_eq!(theirs, json!({ "node": null, "bonusRules": { "totalCount": 0 } }));
        assert_eq!(app.stranger().refusal("archiveBonusRule", json!({ "id": kept })).await, "NOT_FOUND");
    }

    async fn more_affiliates_than_one_transaction_takes_are_all_given_theirs(app) {
        settle(app);
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        create(&owner, rule(json!({ "conversions": 1 }), "DAY")).await;
        let mut items = Vec::new();
        for number in 0..101 {
            let of = another(&owner, &programme).await;
            items.push(sale(&of.click(&owner).await, &number.to_string(), "1.00"));
        }
        owner.done("recordConversions", json!({ "items": items }), "items { userErrors { code } }").await;
        days_over(app, 1).await;
        let query = "{ awards(first: 1, filter: { kinds: [BONUS] }) { totalCount } }";
        assert_eq!(owner.data(query, json!({})).await["awards"]["totalCount"], 101);
        assert_eq!(app.auditor.number("SELECT COUNT(DISTINCT affiliate_id) FROM bonus_grant").await, 101);
    }

    async fn terms_that_make_no_sense_are_refused(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let good = rule(json!({ "conversions": 1 }), "DAY");
        let refusal = async |more: Value| {
            let mut input = good.clone();
            merge(&mut input, more);
            owner.refusal("createBonusRule", input).await
        };
        let eur = |amount: &str| json!({ "amount": amount, "currency": "EUR" });
        assert_eq!(refusal(json!({ "threshold": { "conversions": 0 } })).await, "OUT_OF_RANGE");
        assert_eq!(refusal(json!({ "threshold": { "saleAmount": eur("0.00") } })).await, "INVALID_AMOUNT");
        let dollars = json!({ "amount": "1.00", "currency": "USD" });
        assert_eq!(refusal(json!({ "threshold": { "saleAmount": dollars } })).await, "CURRENCY_MISMATCH");
        assert_eq!(refusal(json!({ "amount": eur("0.00") })).await, "INVALID_AMOUNT");
        let unknown = json!({ "amount": "1.00", "currency": "ZZZ" });
        assert_eq!(refusal(json!({ "amount": unknown })).await, "UNKNOWN_CURRENCY");
        for wrong in [json!({ "waitDays": 32 }), json!({ "waitDays": -1 }), json!({ "holdSeconds": -1 })] {
            assert_eq!(refusal(wrong).await, "OUT_OF_RANGE");
        }
        assert_eq!(refusal(json!({ "name": " " })).await, "REQUIRED");
        assert_eq!(refusal(json!({ "campaignId": "cmp_00000000000000000000000000" })).await, "NOT_FOUND");
        owner.done("archiveCampaign", json!({ "id": programme.campaign }), "").await;
        assert_eq!(refusal(json!({ "campaignId": programme.campaign })).await, "INVALID_TRANSITION");
    }
}
