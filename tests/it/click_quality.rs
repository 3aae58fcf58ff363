//! Clicks that do not count: told by reason, the reasons summing to the total.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tributary::ambient::Clock;

use crate::support::{
    Client, Programme, Terms, TestApp, on_both,
    programme::{enroll, merge, new_affiliate},
};

/// Invalid clicks by reason, and the report's total.
async fn invalid(app: &TestApp, client: &Client, filter: Value) -> (Vec<(String, i64)>, i64) {
    let day = |days: i64| (app.clock.now() + TimeDelta::days(days)).format("%Y-%m-%dT00:00:00Z").to_string();
    let mut input = json!({ "from": day(-30), "until": day(2) });
    merge(&mut input, filter);
    let query = "query($input: InvalidClicksInput!, $report: ReportInput!) { \
        invalidClicks(input: $input) { reason clicks } report(input: $report) { clicksInvalid } }";
    let data = client.data(query, json!({ "input": input, "report": input })).await;
    let counts = data["invalidClicks"].as_array().expect("a list").iter();
    let counts = counts
        .map(|count| {
            (count["reason"].as_str().expect("a reason").to_owned(), count["clicks"].as_i64().expect("a count"))
        })
        .collect();
    (counts, data["report"][0]["clicksInvalid"].as_i64().unwrap_or(0))
}

fn reasons(counts: &[(&str, i64)]) -> Vec<(String, i64)> {
    counts.iter().map(|(reason, clicks)| ((*reason).to_owned(), *clicks)).collect()
}

on_both! {
    async fn reasons_sum_to_the_invalid_clicks_of_the_report(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let bob = new_affiliate(&owner).await;
        let (_, link_of_bob) = enroll(&owner, &programme.campaign, &bob).await;
        let other = Programme::build(&owner, &Terms::default()).await;
        let cap = json!({
            "campaignId": other.campaign, "metric": "CLICKS", "period": "LIFETIME", "amount": { "count": 1 },
        });
        owner.done("createCap", cap, "").await;
        owner.done("disableLink", json!({ "id": link_of_bob }), "").await;
        let bot = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
        let yesterday = app.clock.now() - TimeDelta::days(1);
        let items = json!({ "items": [
            { "linkId": programme.link },
            { "linkId": programme.link, "userAgent": bot },
            { "linkId": programme.link, "userAgent": bot, "occurredAt": yesterday },
            { "linkId": link_of_bob },
            { "linkId": other.link, "visitorId": "ada" },
            { "linkId": other.link, "visitorId": "bob" },
            { "linkId": other.link, "visitorId": "cyd", "userAgent": "" },
        ] });
        let payload = owner.done("recordClicks", items, "items { click { invalidReason } }").await;
        let told: Vec<&str> = payload["items"]
            .as_array()
            .expect("items")
            .iter()
            .map(|item| item["click"]["invalidReason"].as_str().unwrap_or("-"))
            .collect();
        assert_eq!(told, ["-", "BOT", "BOT", "LINK_DISABLED", "-", "OVER_CAP", "BOT"]);

        let all = reasons(&[("BOT", 3), ("LINK_DISABLED", 1), ("OVER_CAP", 1)]);
        assert_eq!(invalid(app, &owner, json!({})).await, (all, 5));
        for (filter, counts) in [
            (json!({ "campaignIds": [programme.campaign] }), &[("BOT", 2), ("LINK_DISABLED", 1)][..]),
            (json!({ "campaignIds": [other.campaign] }), &[("BOT", 1), ("OVER_CAP", 1)]),
            (json!({ "affiliateIds": [bob] }), &[("LINK_DISABLED", 1)]),
            (json!({ "campaignIds": [] }), &[]),
        ] {
            let total = counts.iter().map(|(_, clicks)| clicks).sum();
            assert_eq!(invalid(app, &owner, filter.clone()).await, (reasons(counts), total), "{filter}");
        }
        // An affiliate counts its own, another tenant nothing.
        assert_eq!(invalid(app, &app.affiliate(&bob), json!({})).await, (reasons(&[("LINK_DISABLED", 1)]), 1));
        assert_eq!(invalid(app, &app.stranger(), json!({})).await, (Vec::new(), 0));
    }

    async fn period_of_invalid_clicks_is_of_whole_hours(app) {
        let query = "query($input: InvalidClicksInput!) { invalidClicks(input: $input) { clicks } }";
        for (from, until) in [
            ("2026-11-20T10:30:00Z", "2026-11-20T12:00:00Z"),
            ("2026-11-20T12:00:00Z", "2026-11-20T12:00:00Z"),
        ] {
            let input = json!({ "input": { "from": from, "until": until } });
            assert_eq!(app.owner().error_code(query, input).await, "OUT_OF_RANGE");
        }
    }

    async fn conversion_of_a_crawler_s_click_is_rejected(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click_with(&owner, json!({ "userAgent": "curl/8.10.1" })).await;
        let sale = crate::support::programme::sale(&click, "1", "10.00");
        let recorded = owner.done("recordConversion", sale, "conversion { status reason }").await;
        assert_eq!(recorded["conversion"], json!({ "status": "REJECTED", "reason": "INVALID_CLICK" }));
    }
}
