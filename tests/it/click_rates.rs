//! Click rates: what clicks accrue, and what is posted of it when the tenant's day is over.

use std::sync::atomic::Ordering;

use chrono::TimeDelta;
use serde_json::{Value, json};
use tributary::{domain::tenancy::TenantScope, services::click_accruals};

use crate::{
    attribution::cents,
    story_overrides::found,
    support::{
        Client, Programme, Terms, TestApp, on_both,
        programme::{enroll, id, new_affiliate},
    },
};

async fn set_rate(client: &Client, programme: &Programme, affiliate: Option<&str>, terms: Value) -> Value {
    let input = json!({ "campaignId": programme.campaign, "affiliateId": affiliate, "terms": terms });
    client.done("setClickRate", input, "clickRate { id version kind rate }").await["clickRate"].take()
}

async fn clicks(client: &Client, programme: &Programme, count: usize) {
    let click = json!({ "linkId": programme.link });
    let items: Vec<Value> = vec![click; count];
    client.done("recordClicks", json!({ "items": items }), "items { userErrors { code } }").await;
}

/// Clicks and what they accrued, as an affiliate's enrollment tells.
async fn accrued(client: &Client, affiliate: &str) -> Value {
    let query = "query($id: [ID!]) { enrollments(first: 1, filter: { affiliateIds: $id }) { edges { node { \
        clickAccrual { clicks accrued } } } } }";
    let data = client.data(query, json!({ "id": [affiliate] })).await;
    data["enrollments"]["edges"][0]["node"]["clickAccrual"].clone()
}

/// Amounts in cents, newest first, of what clicks earned.
async fn awards(client: &Client) -> Vec<i64> {
    let query = "{ awards(first: 50, filter: { kinds: [CLICKS] }) { edges { node { amount { amount } } } } }";
    let data = client.data(query, json!({})).await;
    data["awards"]["edges"].as_array().expect("a list").iter().map(|edge| cents(&edge["node"]["amount"])).collect()
}

/// How the newest amount that clicks earned came about.
async fn explanation(client: &Client) -> Vec<String> {
    let query = "{ awards(first: 1, filter: { kinds: [CLICKS] }) { edges { node { explanation { name value } } } } }";
    let data = client.data(query, json!({})).await;
    let steps = data["awards"]["edges"][0]["node"]["explanation"].as_array().expect("a list").iter();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    steps.map(|step| format!("{}: {}", text(&step["name"]), text(&step["value"]))).collect()
}

async fn day_over(app: &TestApp) {
    app.clock.advance(TimeDelta::days(1));
    app.run_jobs().await;
}

on_both! {
    async fn clicks_accrue_and_whole_units_are_posted_when_the_day_is_over(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms { hold_seconds: 3 * 86_400, ..Terms::default() }).await;
        clicks(&owner, &programme, 3).await;
        assert_eq!(accrued(&owner, &programme.affiliate).await, Value::Null, "without a rate clicks earn nothing");
        let rate = set_rate(&owner, &programme, None, json!({ "perClick": "0.0125" })).await;
        assert_eq!(rate, json!({ "id": rate["id"], "version": 1, "kind": "PER_CLICK", "rate": "0.0125" }));
        clicks(&owner, &programme, 3).await;
        let own = app.affiliate(&programme.affiliate);
        assert_eq!(accrued(&own, &programme.affiliate).await, json!({ "clicks": 3, "accrued": "0.0375" }));
        assert_eq!(awards(&owner).await, [0; 0]);
        day_over(app).await;
        assert_eq!(awards(&own).await, [3]);
        assert_eq!(accrued(&own, &programme.affiliate).await, json!({ "clicks": 0, "accrued": "0.0075" }));
        let query = "{ awards(first: 1) { edges { node { status reason explanation { name value } campaign { id } } } } }";
        assert_eq!(own.data(query, json!({})).await["awards"]["edges"][0]["node"], json!({
            "status": "PENDING", "reason": "3 clicks", "campaign": { "id": programme.campaign }, "explanation": [
                { "name": "unique valid clicks", "value": "3" },
                { "name": "rate", "value": format!("0.0125 per click, version 1 of {}", rate["id"].as_str().expect("an id")) },
                { "name": "clicks at this rate", "value": "3" },
                { "name": "earned at this rate", "value": "0.0375" },
                { "name": "remained before", "value": "0" },
                { "name": "accrued, with what remained before", "value": "0.0375" },
                { "name": "remains for the next period", "value": "0.0075" },
            ],
        }));
        // Again at once: nothing is left to post. The remainder is in the next day's.
        let scope = TenantScope::tenant(app.home);
        assert_eq!(click_accruals::post_due(&app.services, &scope).await.expect("posts"), 0);
        clicks(&owner, &programme, 1).await;
        day_over(app).await;
        assert_eq!(awards(&owner).await, [2, 3], "0.0075 and 0.0125");
        // Holds of three days are released within a second of their end.
        app.clock.advance(TimeDelta::days(2) + TimeDelta::seconds(1));
        day_over(app).await;
        let query = "query($id: ID!) { earnings(affiliateId: $id) { balances { pending { amount } available { amount } } } }";
        let data = owner.data(query, json!({ "id": programme.affiliate })).await;
        let balance = json!([{ "pending": { "amount": "0.00" }, "available": { "amount": "0.05" } }]);
        assert_eq!(data["earnings"]["balances"], balance);
        let query = "{ trialBalance { lines { code debit { amount } } } }";
        let lines = owner.data(query, json!({})).await["trialBalance"]["lines"].take();
        assert!(lines.as_array().expect("lines").contains(&json!({ "code": 5000, "debit": { "amount": "0.05" } })));
    }

    async fn own_rate_goes_first_and_a_mille_is_a_thousand_clicks(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms { hold_seconds: 0, ..Terms::default() }).await;
        let other = new_affiliate(&owner).await;
        let (_, link) = enroll(&owner, &programme.campaign, &other).await;
        let of_other = Programme { link, ..programme.clone() };
        set_rate(&owner, &programme, None, json!({ "perMille": "1.5" })).await;
        let own = set_rate(&owner, &programme, Some(&other), json!({ "perClick": "0.1" })).await;
        clicks(&owner, &programme, 100).await;
        clicks(&owner, &of_other, 2).await;
        assert_eq!(accrued(&owner, &programme.affiliate).await, json!({ "clicks": 100, "accrued": "0.15" }));
        assert_eq!(accrued(&owner, &other).await, json!({ "clicks": 2, "accrued": "0.2" }));
        let again = set_rate(&owner, &programme, Some(&other), json!({ "perClick": "0.2" })).await;
        assert_eq!((&again["id"], &again["version"]), (&own["id"], &json!(2)));
        clicks(&owner, &of_other, 1).await;
        owner.done("archiveClickRate", json!({ "id": own["id"] }), "").await;
        clicks(&owner, &of_other, 1).await;
        assert_eq!(accrued(&owner, &other).await, json!({ "clicks": 4, "accrued": "0.4015" }));
        day_over(app).await;
        let mut posted = awards(&owner).await;
        posted.sort_unstable();
        assert_eq!(posted, [15, 40]);
        assert_eq!(awards(&app.affiliate(&other)).await, [40]);
    }

    async fn rate_of_the_group_goes_between_and_its_modifier_is_on_top_of_all(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms { hold_seconds: 0, ..Terms::default() }).await;
        let group = json!({ "name": "Gold", "modifierPercent": "10" });
        let group = id(&owner.done("createAffiliateGroup", group, "affiliateGroup { id }").await, "affiliateGroup");
        let place = json!({ "affiliateId": programme.affiliate, "groupId": group });
        set_rate(&owner, &programme, None, json!({ "perClick": "0.1" })).await;
        clicks(&owner, &programme, 1).await;
        owner.done("setAffiliateGroup", place, "").await;
        clicks(&owner, &programme, 1).await;
        let of_group = json!({ "campaignId": programme.campaign, "groupId": group, "terms": { "perMille": "300" } });
        let rate = owner.done("setClickRate", of_group.clone(), "clickRate { id group { id } affiliate { id } }").await;
        assert_eq!(rate["clickRate"]["group"]["id"], json!(group));
        assert_eq!(rate["clickRate"]["affiliate"], Value::Null);
        clicks(&owner, &programme, 2).await;
        let again = owner.done("setClickRate", of_group, "clickRate { id version }").await;
        assert_eq!((&again["clickRate"]["id"], &again["clickRate"]["version"]), (&rate["clickRate"]["id"], &json!(2)));
        clicks(&owner, &programme, 1).await;
        let own = set_rate(&owner, &programme, Some(&programme.affiliate), json!({ "perClick": "0.2" })).await;
        clicks(&owner, &programme, 1).await;
        assert_eq!(accrued(&owner, &programme.affiliate).await, json!({ "clicks": 6, "accrued": "1.42" }));
        // In no group, another affiliate has the campaign's.
        let other = new_affiliate(&owner).await;
        let (_, link) = enroll(&owner, &programme.campaign, &other).await;
        clicks(&owner, &Programme { link, ..programme.clone() }, 1).await;
        assert_eq!(accrued(&owner, &other).await, json!({ "clicks": 1, "accrued": "0.1" }));
        assert_eq!(found(app).await, [""; 0]);
        day_over(app).await;
        assert_eq!(awards(&app.affiliate(&programme.affiliate)).await, [142]);
        let told = explanation(&app.affiliate(&programme.affiliate)).await;
        let step = |name: &str, rate: &str| format!("{name}: {rate}");
        assert_eq!(told.len(), 1 + 5 * 3 + 3, "{told:?}");
        for (rate, clicks, earned) in [
            ("0.1 per click, version 1 of crt_", 1, "0.1"),
            ("0.1 per click + 10 %, version 1 of crt_", 1, "0.11"),
            ("300 per thousand clicks + 10 %, version 1 of crt_", 2, "0.66"),
            ("300 per thousand clicks + 10 %, version 2 of crt_", 1, "0.33"),
            ("0.2 per click + 10 %, version 1 of crt_", 1, "0.22"),
        ] {
            let at = told.iter().position(|told| told.starts_with(&step("rate", rate))).expect(rate);
            assert_eq!(told[at + 1], format!("clicks at this rate: {clicks}"));
            assert_eq!(told[at + 2], step("earned at this rate", earned));
        }
        // The next day's amount is explained by the next day's clicks.
        owner.done("archiveClickRate", json!({ "id": own["id"] }), "").await;
        clicks(&owner, &programme, 1).await;
        day_over(app).await;
        let told = explanation(&app.affiliate(&programme.affiliate)).await;
        assert_eq!(told[2..5], ["clicks at this rate: 1", "earned at this rate: 0.33", "remained before: 0"]);
        let both = json!({
            "campaignId": programme.campaign, "affiliateId": other, "groupId": group, "terms": { "perClick": "1" },
        });
        assert_eq!(owner.refusal("setClickRate", both).await, "OUT_OF_RANGE");
        let absent = json!({
            "campaignId": programme.campaign, "groupId": "agr_00000000000000000000000000", "terms": { "perClick": "1" },
        });
        assert_eq!(owner.refusal("setClickRate", absent).await, "NOT_FOUND");
        // Another tenant has neither the campaign nor the group.
        let strangers = Programme::build(&app.stranger(), &Terms::default()).await;
        let theirs = json!({ "campaignId": strangers.campaign, "groupId": group, "terms": { "perClick": "1" } });
        assert_eq!(app.stranger().refusal("setClickRate", theirs).await, "NOT_FOUND");
    }

    async fn what_was_accrued_before_rates_were_kept_is_posted_all_the_same(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms { hold_seconds: 0, ..Terms::default() }).await;
        set_rate(&owner, &programme, None, json!({ "perClick": "0.0125" })).await;
        clicks(&owner, &programme, 3).await;
        app.auditor.run("DELETE FROM click_rate_accrual").await.expect("is as before");
        clicks(&owner, &programme, 1).await;
        assert_eq!(found(app).await, [""; 0]);
        day_over(app).await;
        assert_eq!(awards(&owner).await, [5]);
        let told = explanation(&owner).await;
        assert_eq!(told[2..5], [
            "clicks at this rate: 1", "earned at this rate: 0.0125", "other clicks, with what remained before: 0.0375",
        ]);
        // A node that keeps no rates posts a day's clicks: nobody can tell by what those of the next were earned.
        clicks(&owner, &programme, 2).await;
        app.auditor.run("UPDATE click_rate_accrual SET posted_clicks = 0").await.expect("is as such a node leaves it");
        day_over(app).await;
        assert_eq!(awards(&owner).await, [2, 5]);
        assert_eq!(explanation(&owner).await.len(), 3);
        assert_eq!(found(app).await, [""; 0]);
    }

    async fn verify_finds_clicks_that_are_not_what_their_rates_say(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms { hold_seconds: 0, ..Terms::default() }).await;
        set_rate(&owner, &programme, None, json!({ "perClick": "0.0125" })).await;
        clicks(&owner, &programme, 3).await;
        day_over(app).await;
        assert_eq!((awards(&owner).await, found(app).await), (vec![3], vec![]));
        app.check_invariants.store(false, Ordering::Relaxed);
        for (change, back, checks) in [
            ("clicks = 4", "clicks = 3", &["CLICK_ACCRUAL", "CLICK_RATE_ACCRUAL"][..]),
            ("accrued_micros = 37501", "accrued_micros = 37500", &["CLICK_RATES", "CLICK_RATE_ACCRUAL"]),
            ("accrued_micros = 37499", "accrued_micros = 37500", &["CLICK_ACCRUAL", "CLICK_RATE_ACCRUAL"]),
            ("modifier_ppm = 100000", "modifier_ppm = 0", &["CLICK_RATE_ACCRUAL"]),
            ("rate_version = 2", "rate_version = 1", &["CLICK_RATE_ACCRUAL"]),
        ] {
            app.auditor.run(&format!("UPDATE click_rate_accrual SET {change}")).await.expect("is changed");
            assert_eq!(found(app).await, checks, "{change}");
            app.auditor.run(&format!("UPDATE click_rate_accrual SET {back}")).await.expect("is changed back");
        }
        // To a millionth, both ways.
        for (change, check) in [("accrued_micros + 1", "CLICK_ACCRUAL"), ("accrued_micros - 2", "CLICK_RATES")] {
            app.auditor.run(&format!("UPDATE click_accrual SET accrued_micros = {change}")).await.expect("is changed");
            assert_eq!(found(app).await, [check]);
        }
    }

    async fn only_unique_valid_clicks_earn(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        set_rate(&owner, &programme, None, json!({ "perClick": "1" })).await;
        let visitor = json!({ "visitorId": "v" });
        programme.click_with(&owner, visitor.clone()).await;
        programme.click_with(&owner, visitor).await;
        owner.done("suspendEnrollment", json!({ "id": programme.enrollment }), "").await;
        programme.click(&owner).await;
        assert_eq!(accrued(&owner, &programme.affiliate).await, json!({ "clicks": 1, "accrued": "1" }));
    }

    async fn two_who_post_at_once_post_once(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        set_rate(&owner, &programme, None, json!({ "perClick": "0.5" })).await;
        clicks(&owner, &programme, 10).await;
        let scope = TenantScope::tenant(app.home);
        let (one, other) = tokio::join!(
            click_accruals::post_due(&app.services, &scope),
            click_accruals::post_due(&app.services, &scope),
        );
        assert_eq!(one.expect("posts") + other.expect("posts"), 1);
        assert_eq!(awards(&owner).await, [500]);
    }

    async fn rates_with_too_many_digits_are_refused(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        for terms in [json!({ "perClick": "0.0000001" }), json!({ "perMille": "0.0001" }), json!({ "perClick": "-1" })] {
            let input = json!({ "campaignId": programme.campaign, "terms": terms });
            assert_eq!(owner.refusal("setClickRate", input).await, "INVALID_AMOUNT");
        }
        let absent = json!({
            "campaignId": programme.campaign, "affiliateId": "aff_00000000000000000000000000", "terms": { "perClick": "1" },
        });
        assert_eq!(owner.refusal("setClickRate", absent).await, "NOT_FOUND");
    }
}
