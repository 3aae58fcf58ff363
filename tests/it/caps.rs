//! Caps: exact under concurrency, given back by reviews, apart by tenant and affiliate.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::{Value, json};
use tributary::{ambient::Clock, domain::tenancy::TenantScope};

use crate::{
    overrides::{chain, of_commission, set_plan},
    refunds::{adjust, moved, refund},
    story_overrides::{found, left},
    support::{
        Client, Programme, Terms, on_both,
        programme::{enroll, id, merge, new_affiliate, sale},
    },
    tiers::{self, of_conversions, rerate},
};

const ANSWER: &str = "conversion { id status reason }";

/// Makes a cap; its id.
async fn cap(client: &Client, target: Value, metric: &str, period: &str, amount: Value) -> String {
    let mut input = json!({ "metric": metric, "period": period, "amount": amount });
    merge(&mut input, target);
    id(&client.done("createCap", input, "cap { id }").await, "cap")
}

async fn campaign_cap(client: &Client, programme: &Programme, metric: &str, amount: Value) -> String {
    cap(client, json!({ "campaignId": programme.campaign }), metric, "DAY", amount).await
}

fn euros(amount: &str) -> Value {
    json!({ "money": { "amount": amount, "currency": "EUR" } })
}

/// What is used of the caps that a client sees of a campaign, oldest first.
async fn used(client: &Client, programme: &Programme) -> Vec<Value> {
    let query = "query($id: ID!) { campaign(id: $id) { caps { used { count money { amount } } } } }";
    let data = client.data(query, json!({ "id": programme.campaign })).await;
    let caps = data["campaign"]["caps"].as_array().expect("caps").iter();
    caps.map(|cap| if cap["used"]["money"].is_null() { &cap["used"]["count"] } else { &cap["used"]["money"]["amount"] })
        .cloned()
        .collect()
}

/// What caps left of commissions when they rose: what was to be, and what is.
async fn clamps(client: &Client) -> Vec<Value> {
    let query = "{ commissions(first: 100) { edges { node { adjustmentClamp { capId earned { amount } left { amount } } } } } }";
    let data = client.data(query, json!({})).await;
    let edges = data["commissions"]["edges"].as_array().expect("edges").iter();
    edges.map(|edge| edge["node"]["adjustmentClamp"].clone()).filter(|clamp| !clamp.is_null()).collect()
}

fn clamp(cap: &str, earned: &str, left: &str) -> Value {
    json!({ "capId": cap, "earned": { "amount": earned }, "left": { "amount": left } })
}

/// Records sales and tells `status reason` of each.
async fn sell(client: &Client, click: &str, amounts: &[&str]) -> Vec<String> {
    let mut told = Vec::new();
    for amount in amounts {
        let input = sale(click, &uuid::Uuid::new_v4().to_string(), amount);
        told.push(outcome(&client.done("recordConversion", input, ANSWER).await));
    }
    told
}

fn outcome(payload: &Value) -> String {
    let text = |name: &str| payload["conversion"][name].as_str().unwrap_or("-").to_owned();
    format!("{} {}", text("status"), text("reason"))
}

const GOOD: &str = "APPROVED -";
const OVER: &str = "REJECTED OVER_CAP";

on_both! {
    async fn conversion_that_does_not_fit_whole_is_rejected_and_takes_nothing(app) {
        let owner = app.owner();
        for (metric, amount, sales, outcomes, left) in [
            ("CONVERSIONS", json!({ "count": 2 }), ["1.00", "1.00", "1.00"], [GOOD, GOOD, OVER], json!(2)),
            ("SALE_AMOUNT", euros("100.00"), ["60.00", "40.01", "40.00"], [GOOD, OVER, GOOD], json!("100.00")),
            ("COMMISSION", euros("10.00"), ["60.00", "50.00", "40.00"], [GOOD, GOOD, OVER], json!("10.00")),
            ("CONVERSIONS", json!({ "count": 0 }), ["1.00", "1.00", "0.00"], [OVER, OVER, OVER], json!(0)),
        ] {
            let programme = Programme::build(&owner, &Terms::default()).await;
            campaign_cap(&owner, &programme, metric, amount).await;
            let click = programme.click(&owner).await;
            assert_eq!(sell(&owner, &click, &sales).await, outcomes, "{metric}");
            assert_eq!(used(&owner, &programme).await, [left], "{metric}");
        }
    }

    async fn commission_is_cut_to_what_the_cap_has_left_and_says_so(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let cap = campaign_cap(&owner, &programme, "COMMISSION", euros("10.00")).await;
        let click = programme.click(&owner).await;
        let commission = "conversion { status commissions { amount { amount } \
            explanation { summary clamp { capId earned { amount } left { amount } } } } }";
        let mut told = Vec::new();
        for (order, amount) in [("1", "60.00"), ("2", "50.00")] {
            let payload = owner.done("recordConversion", sale(&click, order, amount), commission).await;
            told.push(payload["conversion"]["commissions"][0].clone());
        }
        assert_eq!(told[0]["explanation"]["clamp"], json!(null));
        assert_eq!(told[1]["amount"]["amount"], "4.00");
        let clamp = json!({ "capId": cap, "earned": { "amount": "5.00" }, "left": { "amount": "4.00" } });
        assert_eq!(told[1]["explanation"]["clamp"], clamp);
        let summary = "Standard v1: 10 % of 50.00 EUR = 5.00 EUR, cut to 4.00 EUR: 4.00 EUR was left of a cap";
        assert_eq!(told[1]["explanation"]["summary"], summary);
    }

    async fn step_of_a_tier_takes_what_room_is_left_and_gives_it_back(app) {
        let owner = app.owner();
        let programme = of_conversions(&owner, Terms::default()).await;
        chain(&owner, &programme.affiliate, 1).await;
        set_plan(&owner, Some(&programme.campaign), of_commission(&["10"])).await;
        tiers::sell(&owner, &programme, &["0.00"; 2]).await;
        // It measures no past: the third takes 275.00, and 35.00 of the 50.00 by which the others rise are left.
        let cap = campaign_cap(&owner, &programme, "COMMISSION", euros("310.00")).await;
        let third = tiers::sell(&owner, &programme, &["0.00"]).await.remove(0);
        rerate(app).await;
        assert_eq!(left(&owner).await, [27_500 + 27_500 + 26_000, 2_750 + 2_750 + 2_600]);
        assert_eq!(used(&owner, &programme).await, ["310.00"]);
        assert_eq!(clamps(&owner).await, [clamp(&cap, "275.00", "260.00")]);
        // Back to the first step, each has what it had.
        refund(&owner, &third, None, "REFUND").await;
        rerate(app).await;
        assert_eq!(left(&owner).await, [50_000, 5_000]);
        assert_eq!((used(&owner, &programme).await, clamps(&owner).await), (vec![json!("0.00")], Vec::new()));
        // Up again, with as much room; then with enough.
        tiers::sell(&owner, &programme, &["0.00"]).await;
        rerate(app).await;
        assert_eq!((left(&owner).await, used(&owner, &programme).await), (vec![81_000, 8_100], vec![json!("310.00")]));
        owner.done("updateCap", json!({ "id": cap, "amount": euros("5000.00") }), "").await;
        tiers::sell(&owner, &programme, &["0.00"; 2]).await;
        rerate(app).await;
        assert_eq!(left(&owner).await, [150_000, 15_000]);
        assert_eq!((used(&owner, &programme).await, clamps(&owner).await), (vec![json!("1000.00")], Vec::new()));
        assert_eq!(found(app).await, [""; 0]);
    }

    async fn step_that_finds_no_room_is_told_and_moves_nothing(app) {
        let owner = app.owner();
        let programme = of_conversions(&owner, Terms::default()).await;
        let ids = tiers::sell(&owner, &programme, &["0.00"; 2]).await;
        let target = json!({ "enrollmentId": programme.enrollment });
        let cap = cap(&owner, target, "COMMISSION", "LIFETIME", euros("275.00")).await;
        tiers::sell(&owner, &programme, &["0.00"]).await;
        rerate(app).await;
        assert_eq!(left(&owner).await, [25_000 + 25_000 + 27_500]);
        assert_eq!(clamps(&owner).await, [clamp(&cap, "275.00", "250.00"), clamp(&cap, "275.00", "250.00")]);
        let query = "query($id: ID!) { conversion(by: { id: $id }) { version commissionTotal { amount } \
            history { actor note toStatus } } }";
        let seen = owner.data(query, json!({ "id": ids[0] })).await["conversion"].take();
        assert_eq!((&seen["version"], &seen["commissionTotal"]["amount"]), (&json!(2), &json!("250.00")));
        assert_eq!(seen["history"][1], json!({ "actor": "system", "note": "tier of Standard", "toStatus": "APPROVED" }));
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM tier_adjustment").await, 0);
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM journal").await, 3);
        assert_eq!(found(app).await, [""; 0]);
    }

    async fn rises_and_new_conversions_share_a_cap_exactly_on_two_nodes_at_once(app) {
        let owner = app.owner();
        let programme = of_conversions(&owner, Terms::default()).await;
        tiers::sell(&owner, &programme, &["0.00"; 4]).await;
        rerate(app).await;
        assert_eq!(left(&owner).await, [4 * 27_500]);
        campaign_cap(&owner, &programme, "COMMISSION", euros("700.00")).await;
        let node = app.another_node().await;
        let click = programme.click(&owner).await;
        let mut sent = tokio::task::JoinSet::new();
        for number in 0..12 {
            let (services, url) =
                if number % 2 == 0 { (app.services.clone(), &app.url) } else { (node.services.clone(), &node.url) };
            let client = Client::new(url, Some(app.token(app.home, tributary_entity::kinds::Role::Owner, None, 3_600)));
            let input = sale(&click, &format!("at-once-{number}"), "0.00");
            sent.spawn(async move {
                client.done("recordConversion", input, ANSWER).await;
                tributary::jobs::outbox::run_due(&services).await.expect("jobs run");
            });
        }
        sent.join_all().await;
        rerate(app).await;
        // All that the cap has is used, by new ones and by those of before it, and nothing besides.
        assert_eq!(used(&owner, &programme).await, ["700.00"]);
        assert_eq!(left(&owner).await, [4 * 27_500 + 70_000]);
        node.stop().await;
    }

    async fn sale_with_a_larger_amount_earns_what_room_is_left(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let cap = campaign_cap(&owner, &programme, "COMMISSION", euros("10.00")).await;
        let first = tiers::sell(&owner, &programme, &["60.00"]).await.remove(0);
        assert_eq!(moved(&adjust(&owner, &first, "120.00").await), [400]);
        assert_eq!((used(&owner, &programme).await, left(&owner).await), (vec![json!("10.00")], vec![1_000]));
        assert_eq!(clamps(&owner).await, [clamp(&cap, "12.00", "10.00")]);
        // Down to what its terms give, and the room is others'.
        assert_eq!(moved(&adjust(&owner, &first, "50.00").await), [-500]);
        assert_eq!((used(&owner, &programme).await, clamps(&owner).await), (vec![json!("5.00")], Vec::new()));
        tiers::sell(&owner, &programme, &["30.00"]).await;
        assert_eq!(moved(&adjust(&owner, &first, "90.00").await), [200]);
        assert_eq!(used(&owner, &programme).await, ["10.00"]);
        // Nothing is left: the sale has its amount all the same.
        assert_eq!(moved(&adjust(&owner, &first, "95.00").await), [0; 0]);
        assert_eq!(clamps(&owner).await, [clamp(&cap, "9.50", "7.00")]);
        refund(&owner, &first, None, "REFUND").await;
        assert_eq!((used(&owner, &programme).await, left(&owner).await), (vec![json!("3.00")], vec![300]));
        assert_eq!(found(app).await, [""; 0]);
    }

    async fn sales_of_one_batch_take_one_after_the_other(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        campaign_cap(&owner, &programme, "CONVERSIONS", json!({ "count": 3 })).await;
        let click = programme.click(&owner).await;
        let items: Vec<Value> = (0..5).map(|number| sale(&click, &number.to_string(), "1.00")).collect();
        let payload =
            owner.done("recordConversions", json!({ "items": items }), &format!("items {{ {ANSWER} }}")).await;
        let outcomes: Vec<String> = payload["items"].as_array().expect("items").iter().map(outcome).collect();
        assert_eq!(outcomes, [GOOD, GOOD, GOOD, OVER, OVER]);
        assert_eq!(used(&owner, &programme).await, [3]);
    }

    async fn order_that_was_over_the_cap_can_be_sent_again(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let cap = campaign_cap(&owner, &programme, "SALE_AMOUNT", euros("10.00")).await;
        let click = programme.click(&owner).await;
        let items = json!({ "items": [sale(&click, "1", "10.01"), {
            "clickId": click, "goal": "sale", "orderId": "1", "saleAmount": { "amount": "4.00", "currency": "EUR" },
        }] });
        let payload = owner.done("recordConversions", items, &format!("items {{ {ANSWER} }}")).await;
        let outcomes: Vec<String> = payload["items"].as_array().expect("items").iter().map(outcome).collect();
        assert_eq!(outcomes, [OVER, GOOD]);
        owner.done("updateCap", json!({ "id": cap, "amount": euros("20.00") }), "").await;
        let mut again = sale(&click, "2", "16.00");
        assert_eq!(outcome(&owner.done("recordConversion", again.clone(), ANSWER).await), GOOD);
        merge(&mut again, json!({ "idempotencyKey": "other" }));
        assert_eq!(outcome(&owner.done("recordConversion", again, ANSWER).await), "REJECTED DUPLICATE_ORDER");
        assert_eq!(used(&owner, &programme).await, ["20.00"], "a refused one takes nothing");
    }

    async fn cap_is_exact_on_two_nodes_at_once(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let other = Programme::build(&owner, &Terms::default()).await;
        campaign_cap(&owner, &programme, "CONVERSIONS", json!({ "count": 25 })).await;
        campaign_cap(&owner, &other, "CONVERSIONS", json!({ "count": 25 })).await;
        let node = app.another_node().await;
        let clicks = [programme.click(&owner).await, other.click(&owner).await];
        let mut sent = tokio::task::JoinSet::new();
        for number in 0..80 {
            let url = if number % 2 == 0 { &app.url } else { &node.url };
            let client = Client::new(url, Some(app.token(app.home, tributary_entity::kinds::Role::Owner, None, 3_600)));
            // Both campaigns in each call, in either order.
            let mut pair = clicks.clone();
            pair.rotate_left(number / 2 % 2);
            let items: Vec<Value> =
                pair.iter().map(|click| sale(click, &format!("{click}-{number}"), "1.00")).collect();
            sent.spawn(async move {
                client.done("recordConversions", json!({ "items": items }), &format!("items {{ {ANSWER} }}")).await
            });
        }
        let answers = sent.join_all().await;
        let items = || answers.iter().flat_map(|answer| answer["items"].as_array().expect("items")).map(outcome);
        assert_eq!(items().filter(|told| told == GOOD).count(), 50);
        assert_eq!(items().filter(|told| told == OVER).count(), 110);
        assert_eq!((used(&owner, &programme).await, used(&owner, &other).await), (vec![json!(25)], vec![json!(25)]));
        node.stop().await;
    }

    async fn rejected_conversion_gives_back_in_the_period_it_was_counted_in(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::manual()).await;
        campaign_cap(&owner, &programme, "CONVERSIONS", json!({ "count": 1 })).await;
        campaign_cap(&owner, &programme, "SALE_AMOUNT", euros("50.00")).await;
        let click = programme.click(&owner).await;
        let counted = owner.done("recordConversion", sale(&click, "1", "30.00"), ANSWER).await;
        assert_eq!(outcome(&counted), "PENDING -");
        assert_eq!(sell(&owner, &click, &["1.00"]).await, [OVER]);
        app.clock.advance(TimeDelta::days(1));
        assert_eq!(used(&owner, &programme).await, [json!(0), json!("0.00")]);
        assert_eq!(sell(&owner, &click, &["7.00"]).await, ["PENDING -"]);
        let reject = json!({ "ids": [counted["conversion"]["id"]], "reason": "FRAUD" });
        owner.done("rejectConversions", reject, "items { userErrors { code } }").await;
        assert_eq!(used(&owner, &programme).await, [json!(1), json!("7.00")], "today's stays");
        let yesterday = app.clock.now() - TimeDelta::days(1);
        let mut late = sale(&click, "2", "50.00");
        merge(&mut late, json!({ "occurredAt": yesterday }));
        assert_eq!(outcome(&owner.done("recordConversion", late, ANSWER).await), "PENDING -", "there is room again");
    }

    async fn conversion_from_before_the_cap_gives_nothing_back(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::manual()).await;
        let click = programme.click(&owner).await;
        let before = owner.done("recordConversion", sale(&click, "1", "30.00"), ANSWER).await;
        campaign_cap(&owner, &programme, "CONVERSIONS", json!({ "count": 1 })).await;
        assert_eq!(sell(&owner, &click, &["1.00"]).await, ["PENDING -"]);
        let reject = json!({ "ids": [before["conversion"]["id"]], "reason": "FRAUD" });
        owner.done("rejectConversions", reject, "items { userErrors { code } }").await;
        assert_eq!(used(&owner, &programme).await, [1]);
    }

    async fn enrollment_s_cap_limits_its_affiliate_alone(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let bob = new_affiliate(&owner).await;
        let (_, link) = enroll(&owner, &programme.campaign, &bob).await;
        let target = json!({ "enrollmentId": programme.enrollment });
        cap(&owner, target, "CONVERSIONS", "LIFETIME", json!({ "count": 1 })).await;
        campaign_cap(&owner, &programme, "CONVERSIONS", json!({ "count": 3 })).await;
        let click = programme.click(&owner).await;
        let of_bob = id(&owner.done("recordClick", json!({ "linkId": link }), "click { id }").await, "click");
        assert_eq!(sell(&owner, &click, &["1.00", "1.00"]).await, [GOOD, OVER]);
        assert_eq!(sell(&owner, &of_bob, &["1.00", "1.00", "1.00"]).await, [GOOD, GOOD, OVER]);
        assert_eq!(used(&owner, &programme).await, [1, 3]);
        // An affiliate sees its own limits, not how much others bring.
        assert_eq!(used(&app.affiliate(&programme.affiliate), &programme).await, [1]);
        assert!(used(&app.affiliate(&bob), &programme).await.is_empty());
    }

    async fn click_over_a_cap_is_invalid_and_repeated_ones_take_nothing(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        campaign_cap(&owner, &programme, "CLICKS", json!({ "count": 2 })).await;
        let click = async |visitor: &str| {
            let input = json!({ "linkId": programme.link, "visitorId": visitor });
            owner.done("recordClick", input, "click { invalidReason }").await["click"]["invalidReason"].clone()
        };
        for (visitor, reason) in
            [("ada", Value::Null), ("ada", Value::Null), ("bob", Value::Null), ("cyd", json!("OVER_CAP"))]
        {
            assert_eq!(click(visitor).await, reason, "{visitor}");
        }
        assert_eq!(used(&owner, &programme).await, [2]);
        app.clock.advance(TimeDelta::days(1));
        assert_eq!(click("cyd").await, Value::Null, "a new day");
    }

    async fn day_is_the_tenant_s(app) {
        let owner = app.owner();
        assert_eq!(owner.refusal("updateTenant", json!({ "timeZone": "Asia/Nowhere" })).await, "INVALID_TEXT");
        let set = owner.done("updateTenant", json!({ "timeZone": "Asia/Kolkata" }), "tenant { timeZone }").await;
        assert_eq!(set["tenant"]["timeZone"], "Asia/Kolkata");
        let programme = Programme::build(&owner, &Terms::default()).await;
        campaign_cap(&owner, &programme, "CONVERSIONS", json!({ "count": 1 })).await;
        // Midnight in Kolkata is 18:30 UTC.
        let click = programme.click_with(&owner, json!({ "occurredAt": "2026-11-10T00:00:00Z" })).await;
        for (at, told) in [
            ("2026-11-10T18:29:59.999999Z", GOOD),
            ("2026-11-10T10:00:00Z", OVER),
            ("2026-11-10T18:30:00Z", GOOD),
            ("2026-11-11T18:29:59Z", OVER),
        ] {
            let mut input = sale(&click, at, "1.00");
            merge(&mut input, json!({ "occurredAt": at }));
            assert_eq!(outcome(&owner.done("recordConversion", input, ANSWER).await), told, "{at}");
        }
    }

    async fn cap_is_changed_archived_and_made_anew(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let first = campaign_cap(&owner, &programme, "CONVERSIONS", json!({ "count": 1 })).await;
        let same = json!({
            "campaignId": programme.campaign, "metric": "CONVERSIONS", "period": "DAY", "amount": { "count": 5 },
        });
        assert_eq!(owner.refusal("createCap", same.clone()).await, "ALREADY_EXISTS");
        let click = programme.click(&owner).await;
        assert_eq!(sell(&owner, &click, &["1.00", "1.00"]).await, [GOOD, OVER]);
        owner.done("updateCap", json!({ "id": first, "amount": { "count": 2 } }), "").await;
        assert_eq!(sell(&owner, &click, &["1.00", "1.00"]).await, [GOOD, OVER]);
        owner.done("updateCap", json!({ "id": first, "amount": { "count": 0 } }), "").await;
        owner.done("archiveCap", json!({ "id": first }), "cap { status }").await;
        assert_eq!(sell(&owner, &click, &["1.00"]).await, [GOOD], "an archived cap limits nothing");
        assert_eq!(owner.refusal("archiveCap", json!({ "id": first })).await, "INVALID_TRANSITION");
        let change = json!({ "id": first, "amount": { "count": 9 } });
        assert_eq!(owner.refusal("updateCap", change).await, "INVALID_TRANSITION");
        owner.done("createCap", same, "").await;
        assert_eq!(used(&owner, &programme).await, [2, 0]);
    }

    async fn amount_is_of_the_metric_s_kind(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        for (metric, amount, code) in [
            ("CONVERSIONS", euros("1.00"), "REQUIRED"),
            ("COMMISSION", json!({ "count": 1 }), "REQUIRED"),
            ("CLICKS", json!({ "count": -1 }), "OUT_OF_RANGE"),
            ("SALE_AMOUNT", json!({ "money": { "amount": "1.00", "currency": "USD" } }), "CURRENCY_MISMATCH"),
        ] {
            let input =
                json!({ "campaignId": programme.campaign, "metric": metric, "period": "DAY", "amount": amount });
            assert_eq!(owner.refusal("createCap", input).await, code, "{metric}");
        }
        for target in [json!({}), json!({ "campaignId": programme.campaign, "enrollmentId": programme.enrollment })] {
            let mut input = json!({ "metric": "CLICKS", "period": "DAY", "amount": { "count": 1 } });
            merge(&mut input, target);
            assert_eq!(owner.refusal("createCap", input).await, "REQUIRED");
        }
    }

    async fn another_tenant_neither_sees_nor_changes_a_cap(app) {
        let (owner, stranger) = (app.owner(), app.stranger());
        let programme = Programme::build(&owner, &Terms::default()).await;
        let cap = campaign_cap(&owner, &programme, "CONVERSIONS", json!({ "count": 1 })).await;
        let node = stranger.data("query($id: ID!) { node(id: $id) { id } }", json!({ "id": cap })).await;
        assert!(node["node"].is_null());
        let change = json!({ "id": cap, "amount": { "count": 9 } });
        assert_eq!(stranger.refusal("updateCap", change).await, "NOT_FOUND");
        assert_eq!(stranger.refusal("archiveCap", json!({ "id": cap })).await, "NOT_FOUND");
        let theirs = Programme::build(&stranger, &Terms::default()).await;
        let click = theirs.click(&stranger).await;
        assert_eq!(sell(&stranger, &click, &["1.00", "1.00"]).await, [GOOD, GOOD]);
    }

    async fn redirect_learns_within_a_second_that_nothing_is_left(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        campaign_cap(&owner, &programme, "CONVERSIONS", json!({ "count": 1 })).await;
        let becomes = async |tenant, expected: bool| {
            let (campaign, affiliate) = ids(&programme);
            let scope = TenantScope::tenant(tenant);
            let reached = async {
                while app.services.caps.is_exhausted(&scope, campaign, affiliate) != expected {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(30), reached).await.expect("the answer comes");
        };
        becomes(app.home, false).await;
        let click = programme.click(&owner).await;
        assert_eq!(sell(&owner, &click, &["1.00"]).await, [GOOD]);
        becomes(app.home, true).await;
        becomes(app.away, false).await;
        app.clock.advance(TimeDelta::days(1));
        becomes(app.home, false).await;
    }
}

fn ids(programme: &Programme) -> (tributary_entity::ids::CampaignId, tributary_entity::ids::AffiliateId) {
    (programme.campaign.parse().expect("an id"), programme.affiliate.parse().expect("an id"))
}
