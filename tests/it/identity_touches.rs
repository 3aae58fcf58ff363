//! How conversions find their touches: by click, coupon, visitor and customer; and what several affiliates see of one.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tributary::ambient::Clock;

use crate::support::{Client, Programme, Terms, TestApp, on_both, programme};

const ANSWER: &str = "conversion { id status reason campaign { id } affiliate { id } click { id } \
    commissionTotal { amount } commissions { affiliate { id } amount { amount } } \
    attribution { source touches { click { id } affiliate { id } share } } }";

/// Records a sale of 100.00; the conversion.
async fn sale(client: &Client, order: &str, more: Value) -> Value {
    let mut input = json!({
        "idempotencyKey": order, "goal": "sale", "orderId": order,
        "saleAmount": { "amount": "100.00", "currency": "EUR" },
    });
    programme::merge(&mut input, more);
    client.done("recordConversion", input, ANSWER).await["conversion"].take()
}

/// The affiliates that a conversion credits, with their shares, by time.
fn shares(conversion: &Value) -> Vec<(String, String)> {
    let touches = conversion["attribution"]["touches"].as_array().unwrap_or_else(|| panic!("touches of {conversion}"));
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    touches.iter().map(|touch| (text(&touch["affiliate"]["id"]), text(&touch["share"]))).collect()
}

/// Another affiliate in a programme's campaign.
async fn partner(client: &Client, programme: &Programme) -> Programme {
    let affiliate = programme::new_affiliate(client).await;
    let (enrollment, link) = programme::enroll(client, &programme.campaign, &affiliate).await;
    Programme { affiliate, enrollment, link, ..programme.clone() }
}

/// A visitor's click some minutes ago.
async fn click(app: &TestApp, programme: &Programme, visitor: &str, minutes: i64) -> String {
    let at = app.clock.now() - TimeDelta::minutes(minutes);
    programme.click_with(&app.owner(), json!({ "visitorId": visitor, "occurredAt": at })).await
}

/// Changes how a campaign credits, past the API.
async fn set(app: &TestApp, column_is: &str) {
    app.auditor.agree(&format!("UPDATE campaign SET {column_is}")).await;
}

on_both! {
    async fn conversion_that_names_nothing_is_malformed(app) {
        let input = json!({ "idempotencyKey": "1", "goal": "sale", "orderId": "1" });
        assert_eq!(app.owner().refusal("recordConversion", input).await, "REQUIRED");
    }

    async fn visitor_without_a_click_id_is_credited_by_its_last_click(app) {
        let owner = app.owner();
        let first = Programme::build(&owner, &Terms::default()).await;
        let last = partner(&owner, &first).await;
        click(app, &first, "v", 20).await;
        let newest = click(app, &last, "v", 10).await;
        let conversion = sale(&owner, "1", json!({ "visitorId": "v" })).await;
        assert_eq!(conversion["attribution"], json!({ "source": "HISTORY", "touches": [
            { "click": { "id": newest }, "affiliate": { "id": last.affiliate }, "share": "1.000000" },
        ] }));
        assert_eq!((&conversion["status"], &conversion["click"]["id"]), (&json!("APPROVED"), &json!(newest)));
        let nobody = sale(&owner, "2", json!({ "visitorId": "w" })).await;
        assert_eq!((&nobody["reason"], &nobody["campaign"]), (&json!("NO_TOUCH"), &Value::Null));
        assert_eq!(sale(&app.stranger(), "1", json!({ "visitorId": "v" })).await["reason"], "NO_TOUCH");
    }

    async fn lead_binds_customer_and_visitor_and_later_sales_find_its_clicks(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let clicked = click(app, &programme, "v", 10).await;
        assert_eq!(sale(&owner, "0", json!({ "customerId": "ada" })).await["reason"], "NO_TOUCH");
        sale(&owner, "1", json!({ "clickId": clicked, "customerId": "ada" })).await;
        let later = sale(&owner, "2", json!({ "customerId": "ada" })).await;
        assert_eq!(later["attribution"]["source"], "HISTORY", "{later}");
        assert_eq!(later["affiliate"]["id"], programme.affiliate);
        // On another device the customer is another visitor as well.
        click(app, &programme, "tablet", 5).await;
        sale(&owner, "3", json!({ "visitorId": "tablet", "customerId": "ada" })).await;
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM customer_visitor").await, 2);
        assert_eq!(sale(&app.stranger(), "1", json!({ "customerId": "ada" })).await["reason"], "NO_TOUCH");
    }

    async fn customer_bound_in_a_batch_is_known_to_the_next_item(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let clicked = click(app, &programme, "v", 10).await;
        let item = |order: &str, more: Value| {
            let mut item = json!({ "orderId": order, "goal": "sale", "customerId": "ada" });
            programme::merge(&mut item, more);
            item
        };
        let items = json!({ "items": [item("1", json!({ "clickId": clicked })), item("2", json!({}))] });
        let payload = owner.done("recordConversions", items, "items { conversion { status } }").await;
        assert_eq!(payload["items"][1]["conversion"]["status"], "APPROVED", "{payload}");
    }

    async fn sources_are_asked_in_the_campaign_s_order(app) {
        let owner = app.owner();
        let by_click = Programme::build(&owner, &Terms::default()).await;
        let by_coupon = partner(&owner, &by_click).await;
        let coupon = json!({ "campaignId": by_coupon.campaign, "affiliateId": by_coupon.affiliate, "code": "C" });
        owner.done("createCoupon", coupon, "").await;
        let clicked = click(app, &by_click, "v", 10).await;
        for (order, sources, affiliate, source) in [
            ("1", "CLICK_ID,COUPON,HISTORY", &by_click.affiliate, "CLICK_ID"),
            ("2", "COUPON,CLICK_ID,HISTORY", &by_coupon.affiliate, "COUPON"),
            ("3", "HISTORY,COUPON,CLICK_ID", &by_click.affiliate, "HISTORY"),
        ] {
            set(app, &format!("attribution_sources = '{sources}'")).await;
            let named = json!({ "clickId": clicked, "couponCode": "C", "visitorId": "v" });
            let conversion = sale(&owner, order, named).await;
            assert_eq!(conversion["attribution"]["source"], source, "{sources}: {conversion}");
            assert_eq!(&conversion["affiliate"]["id"], affiliate);
        }
        // A click that does not count lets the next source speak.
        set(app, "attribution_sources = 'CLICK_ID,COUPON,HISTORY'").await;
        let unknown = json!({ "clickId": "clk_00000000000000000000000001", "couponCode": "C" });
        assert_eq!(sale(&owner, "4", unknown).await["attribution"]["source"], "COUPON");
    }

    async fn invalid_clicks_and_clicks_outside_the_window_are_no_touches(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms { window_seconds: 3_600, ..Terms::default() }).await;
        click(app, &programme, "old", 61).await;
        assert_eq!(sale(&owner, "1", json!({ "visitorId": "old" })).await["reason"], "OUTSIDE_WINDOW");
        owner.done("disableLink", json!({ "id": programme.link }), "").await;
        click(app, &programme, "bad", 1).await;
        assert_eq!(sale(&owner, "2", json!({ "visitorId": "bad" })).await["reason"], "NO_TOUCH");
    }

    async fn conversion_that_comes_too_fast_is_refused(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        set(app, "attribution_min_secs = 60").await;
        let at = app.clock.now() - TimeDelta::minutes(10);
        let clicked = programme.click_with(&owner, json!({ "occurredAt": at })).await;
        let after = |secs: i64| json!({ "clickId": clicked, "occurredAt": at + TimeDelta::seconds(secs) });
        assert_eq!(sale(&owner, "1", after(59)).await["reason"], "TOO_FAST");
        assert_eq!(sale(&owner, "2", after(60)).await["status"], "APPROVED");
    }

    async fn conversion_older_than_is_taken_is_malformed(app) {
        let input = json!({ "idempotencyKey": "1", "goal": "sale", "visitorId": "v", "occurredAt": "1970-01-01T00:00:00Z" });
        assert_eq!(app.owner().refusal("recordConversion", input).await, "TIME_TOO_OLD");
    }

    async fn model_of_several_touches_shares_one_commission(app) {
        let owner = app.owner();
        let ada = Programme::build(&owner, &Terms::manual()).await;
        let (bob, eve) = (partner(&owner, &ada).await, partner(&owner, &ada).await);
        set(app, "attribution_model = 'LINEAR'").await;
        click(app, &ada, "v", 40).await;
        click(app, &bob, "v", 30).await;
        click(app, &eve, "v", 20).await;
        let last = click(app, &bob, "v", 10).await;
        owner.done("suspendAffiliate", json!({ "id": eve.affiliate }), "").await;
        let conversion = sale(&owner, "1", json!({ "clickId": last })).await;
        let expected = [(&ada, "0.333334"), (&bob, "0.333333"), (&bob, "0.333333")];
        let expected: Vec<_> =
            expected.iter().map(|(of, share)| (of.affiliate.clone(), (*share).to_owned())).collect();
        assert_eq!(shares(&conversion), expected, "the suspended one is left out: {conversion}");
        assert_eq!(conversion["affiliate"]["id"], bob.affiliate, "the largest share");
        assert_eq!(conversion["commissionTotal"]["amount"], "10.00");
        assert_eq!(conversion["commissions"], json!([
            { "affiliate": { "id": ada.affiliate }, "amount": { "amount": "3.33" } },
            { "affiliate": { "id": bob.affiliate }, "amount": { "amount": "6.67" } },
        ]));
        owner.done("approveConversions", json!({ "ids": [conversion["id"]] }), "").await;
        let report = "query($input: ReportInput!) { report(input: $input) { conversions saleAmount { amount } \
            commission { amount } } }";
        for (of, conversions, sale, commission) in [(&ada, 0, "0.00", "3.33"), (&bob, 1, "100.00", "6.67")] {
            let day = app.clock.now().format("%Y-%m-%dT00:00:00Z").to_string();
            let next = (app.clock.now() + TimeDelta::days(1)).format("%Y-%m-%dT00:00:00Z").to_string();
            let before = (app.clock.now() - TimeDelta::days(1)).format("%Y-%m-%dT00:00:00Z").to_string();
            let input = json!({ "from": before.min(day), "until": next, "affiliateIds": [of.affiliate] });
            let rows = owner.data(report, json!({ "input": input })).await;
            assert_eq!(rows["report"], json!([{
                "conversions": conversions, "saleAmount": { "amount": sale }, "commission": { "amount": commission },
            }]));
        }
    }

    async fn touches_before_an_earlier_conversion_count_and_the_order_in_which_they_were_stored_does_not(app) {
        let owner = app.owner();
        let ada = Programme::build(&owner, &Terms::default()).await;
        let (bob, eve) = (partner(&owner, &ada).await, partner(&owner, &ada).await);
        set(app, "attribution_model = 'POSITION_BASED'").await;
        let mut answers = Vec::new();
        for (visitor, order) in [("v", [0, 1, 2]), ("w", [2, 0, 1]), ("x", [1, 2, 0])] {
            let journey = [(&ada, 50), (&bob, 30), (&eve, 10)];
            for step in order {
                let (programme, minutes) = journey[step];
                click(app, programme, visitor, minutes).await;
                if step == 0 {
                    // The customer buys at once: the touch stays one of the next sale.
                    let bought = json!({ "visitorId": visitor, "occurredAt": app.clock.now() - TimeDelta::minutes(49) });
                    assert_eq!(sale(&owner, &format!("{visitor}-first"), bought).await["status"], "APPROVED");
                }
            }
            answers.push(shares(&sale(&owner, visitor, json!({ "visitorId": visitor })).await));
        }
        let expected = [(&ada, "0.400000"), (&bob, "0.200000"), (&eve, "0.400000")]
            .map(|(programme, share)| (programme.affiliate.clone(), share.to_owned()));
        assert_eq!(answers, [expected.clone(), expected.clone(), expected]);
    }

    async fn named_click_of_a_suspended_affiliate_is_not_exchanged_for_another(app) {
        let owner = app.owner();
        let ada = Programme::build(&owner, &Terms::default()).await;
        let bob = partner(&owner, &ada).await;
        set(app, "attribution_model = 'LINEAR'").await;
        click(app, &ada, "v", 20).await;
        let last = click(app, &bob, "v", 10).await;
        owner.done("suspendAffiliate", json!({ "id": bob.affiliate }), "").await;
        let refused = sale(&owner, "1", json!({ "clickId": last })).await;
        assert_eq!(refused["reason"], "AFFILIATE_NOT_ACTIVE");
        assert_eq!(sale(&owner, "2", json!({ "visitorId": "v" })).await["affiliate"]["id"], ada.affiliate);
    }

    async fn each_credited_affiliate_sees_its_own_part_of_a_shared_conversion(app) {
        let owner = app.owner();
        let ada = Programme::build(&owner, &Terms::default()).await;
        let (bob, eve) = (partner(&owner, &ada).await, partner(&owner, &ada).await);
        set(app, "attribution_model = 'POSITION_BASED'").await;
        let first = click(app, &ada, "v", 30).await;
        let middle = click(app, &bob, "v", 20).await;
        let last = click(app, &ada, "v", 10).await;
        let id = sale(&owner, "1", json!({ "clickId": last })).await["id"].take();
        let query = format!(
            "query($id: ID!, $aff: ID!) {{ conversion(by: {{ id: $id }}) {{ ...c }} node(id: $id) {{ ...c }} \
             conversions(first: 5) {{ totalCount nodes {{ ...c }} }} \
             filtered: conversions(first: 5, filter: {{ affiliateIds: [$aff] }}) {{ totalCount }} \
             events(first: 100, types: [CONVERSION_RECORDED]) {{ nodes {{ payload {{ ...c }} }} }} }} \
             fragment c on Conversion {{ clickId {} }}",
            ANSWER.trim_start_matches("conversion {").trim_end_matches('}'),
        );
        let seen = async |client: &Client, of: &Programme| -> Value {
            client.data(&query, json!({ "id": id, "aff": of.affiliate })).await
        };
        for (of, amount, clicks) in [(&ada, "8.00", vec![&first, &last]), (&bob, "2.00", vec![&middle])] {
            let all = seen(&app.affiliate(&of.affiliate), of).await;
            let own = &all["conversion"];
            assert_eq!(own["affiliate"]["id"], of.affiliate, "{all}");
            assert_eq!(own["commissionTotal"]["amount"], amount);
            assert_eq!(own["commissions"].as_array().map(Vec::len), Some(1));
            let touched: Vec<&Value> =
                own["attribution"]["touches"].as_array().expect("touches").iter().map(|touch| &touch["click"]["id"]).collect();
            assert_eq!(touched, clicks);
            assert_eq!(&own["click"]["id"], *clicks.last().expect("a click"));
            assert_eq!(own["clickId"], if of.affiliate == ada.affiliate { json!(last) } else { Value::Null });
            assert_eq!((&all["node"], &all["conversions"]["nodes"]), (own, &json!([own])));
            assert_eq!((&all["conversions"]["totalCount"], &all["filtered"]["totalCount"]), (&json!(1), &json!(1)));
            assert_eq!(all["events"]["nodes"], json!([{ "payload": own }]));
            assert_eq!(seen(&owner, of).await["filtered"]["totalCount"], 1);
        }
        let other = seen(&app.affiliate(&eve.affiliate), &eve).await;
        assert_eq!(other, json!({
            "conversion": null, "node": null, "conversions": { "totalCount": 0, "nodes": [] },
            "filtered": { "totalCount": 0 }, "events": { "nodes": [] },
        }));
    }
}
