//! Recording conversions: attributed, commissioned, posted, exactly once; refused cases are recorded too.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tributary::ambient::Clock;

use crate::support::{
    Client, Programme, Terms, on_both,
    programme::{merge, sale},
};

/// Records a sale with more in its input; the conversion.
async fn record(client: &Client, click: &str, order: &str, more: Value) -> Value {
    let mut input = sale(click, order, "49.00");
    merge(&mut input, more);
    let selection = "conversion { id status reason goal { id } campaign { id } affiliate { id } click { id } clickId \
        saleAmount { amount currency } commissionTotal { amount currency } commissions { amount { amount } } \
        attribution { model } orderId customerId occurredAt labels { name value } }";
    client.done("recordConversion", input, selection).await["conversion"].take()
}

/// Why a conversion was refused.
fn refused(conversion: &Value) -> &str {
    assert_eq!(conversion["status"], "REJECTED", "{conversion}");
    assert_eq!(conversion["commissionTotal"]["amount"], "0.00", "{conversion}");
    assert_eq!((&conversion["commissions"], &conversion["attribution"]), (&json!([]), &Value::Null), "{conversion}");
    conversion["reason"].as_str().expect("a refused conversion has a reason")
}

on_both! {
    async fn conversion_is_attributed_commissioned_and_posted(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        let selection = "replayed conversion { id status reason orderId saleAmount { amount currency } \
            attribution { model touches { click { id } affiliate { id } share } } \
            commissions { status affiliate { id } amount { amount currency } explanation { rule tier fx } } }";
        let payload = owner.done("recordConversion", sale(&click, "1001", "49.00"), selection).await;
        assert_eq!(payload["replayed"], false);
        let conversion = &payload["conversion"];
        assert_eq!(conversion["status"], "APPROVED");
        assert_eq!(conversion["saleAmount"], json!({ "amount": "49.00", "currency": "EUR" }));
        assert_eq!(conversion["attribution"], json!({
            "model": "LAST_CLICK",
            "touches": [{ "click": { "id": click }, "affiliate": { "id": programme.affiliate }, "share": "1.000000" }],
        }));
        assert_eq!(conversion["commissions"], json!([{
            "status": "PENDING", "affiliate": { "id": programme.affiliate },
            "amount": { "amount": "4.90", "currency": "EUR" },
            "explanation": { "rule": "Standard v1", "tier": null, "fx": null },
        }]));
        let journals = owner.data(
            "query($ids: [ID!]) { journals(first: 10, filter: { conversionIds: $ids }) { edges { node { kind \
             entries { account { code } debit { amount } credit { amount } } } } } }",
            json!({ "ids": [conversion["id"]] }),
        ).await;
        assert_eq!(journals["journals"]["edges"], json!([{ "node": { "kind": "CONVERSION_APPROVED", "entries": [
            { "account": { "code": 5000 }, "debit": { "amount": "4.90" }, "credit": null },
            { "account": { "code": 2000 }, "debit": null, "credit": { "amount": "4.90" } },
        ] } }]));
    }

    async fn hold_is_released_when_it_is_over_and_not_before(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        owner.done("recordConversion", sale(&click, "1", "100.00"), "").await;
        let balances = async || -> Value {
            let data = owner.data(
                "query($id: ID!) { earnings(affiliateId: $id) { balances { unapproved { amount } pending { amount } \
                 available { amount } debt { amount } } } }",
                json!({ "id": programme.affiliate }),
            ).await;
            let balance = &data["earnings"]["balances"][0];
            json!([balance["unapproved"]["amount"], balance["pending"]["amount"], balance["available"]["amount"]])
        };
        app.run_jobs().await;
        assert_eq!(balances().await, json!(["0.00", "10.00", "0.00"]));
        app.clock.advance(chrono::TimeDelta::seconds(86_400 - 60));
        app.run_jobs().await;
        assert_eq!(balances().await, json!(["0.00", "10.00", "0.00"]));
        app.clock.advance(chrono::TimeDelta::seconds(120));
        app.run_jobs().await;
        assert_eq!(balances().await, json!(["0.00", "0.00", "10.00"]));
        app.run_jobs().await;
        assert_eq!(balances().await, json!(["0.00", "0.00", "10.00"]));
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM outbox").await, 0);
    }

    async fn batch_with_one_bad_item_records_the_others(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        let items: Vec<Value> = (0..1_000)
            .map(|number| {
                let mut item = sale(&click, &format!("b-{number}"), "1.00");
                if number == 500 {
                    merge(&mut item, json!({ "saleAmount": { "amount": "1.001", "currency": "EUR" } }));
                }
                item
            })
            .collect();
        let payload = owner
            .done("recordConversions", json!({ "items": items }), "items { conversion { orderId } userErrors { code field } }")
            .await;
        let answers = payload["items"].as_array().expect("a list");
        assert_eq!(answers.len(), 1_000);
        for (number, answer) in answers.iter().enumerate() {
            if number == 500 {
                assert_eq!(answer["userErrors"], json!([{ "code": "INVALID_AMOUNT", "field": ["saleAmount", "amount"] }]));
            } else {
                assert_eq!(answer["conversion"]["orderId"], format!("b-{number}"));
            }
        }
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM conversion").await, 999);
    }

    async fn conversion_of_an_unknown_click_is_recorded_and_refused(app) {
        let owner = app.owner();
        Programme::build(&owner, &Terms::default()).await;
        let foreign = Programme::build(&app.stranger(), &Terms::default()).await.click(&app.stranger()).await;
        for (order, click) in [("1", "clk_00000000000000000000000001"), ("2", foreign.as_str())] {
            let conversion = record(&owner, click, order, json!({})).await;
            assert_eq!(refused(&conversion), "UNKNOWN_CLICK");
            assert_eq!(conversion["clickId"], click);
            for field in ["campaign", "affiliate", "click", "goal"] {
                assert!(conversion[field].is_null(), "{field} of {conversion}");
            }
        }
    }

    async fn lead_of_an_unknown_click_is_recorded_in_the_tenant_s_currency(app) {
        let owner = app.owner();
        let input = json!({ "idempotencyKey": "k", "clickId": "clk_00000000000000000000000001", "goal": "lead" });
        let payload = owner.done("recordConversion", input, "conversion { reason saleAmount { amount currency } }").await;
        let conversion = &payload["conversion"];
        assert_eq!(conversion["reason"], "UNKNOWN_CLICK");
        assert_eq!(conversion["saleAmount"], json!({ "amount": "0.00", "currency": "EUR" }));
    }

    async fn window_counts_its_edges_and_nothing_past_them(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms { window_seconds: 3_600, ..Terms::default() }).await;
        let clicked_at = app.clock.now() - TimeDelta::days(2);
        let click = programme.click_with(&owner, json!({ "occurredAt": clicked_at })).await;
        let edge = clicked_at + TimeDelta::seconds(3_600);
        let millisecond = TimeDelta::milliseconds(1);
        for (order, occurred_at, status) in [
            ("before", clicked_at - millisecond, "REJECTED"),
            ("begin", clicked_at, "APPROVED"),
            ("edge", edge, "APPROVED"),
            ("past", edge + millisecond, "REJECTED"),
        ] {
            let conversion = record(&owner, &click, order, json!({ "occurredAt": occurred_at })).await;
            assert_eq!(conversion["status"], status, "{order}: {conversion}");
            if status == "REJECTED" {
                assert_eq!(refused(&conversion), "OUTSIDE_WINDOW");
            }
        }
    }

    async fn order_that_was_refused_may_be_sent_again_and_counts(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms { window_seconds: 3_600, ..Terms::default() }).await;
        let old = programme.click_with(&owner, json!({ "occurredAt": app.clock.now() - TimeDelta::days(2) })).await;
        assert_eq!(refused(&record(&owner, &old, "1", json!({ "idempotencyKey": "a" })).await), "OUTSIDE_WINDOW");
        let click = programme.click(&owner).await;
        let counted = record(&owner, &click, "1", json!({ "idempotencyKey": "b" })).await;
        assert_eq!(counted["status"], "APPROVED");
        let third = record(&owner, &click, "1", json!({ "idempotencyKey": "c" })).await;
        assert_eq!(refused(&third), "DUPLICATE_ORDER");
    }

    async fn conversion_by_order_is_the_one_that_counts(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms { window_seconds: 3_600, ..Terms::default() }).await;
        let old = programme.click_with(&owner, json!({ "occurredAt": app.clock.now() - TimeDelta::days(2) })).await;
        let by_order = async |order: &str| -> Value {
            let query = "query($order: String!) { conversion(by: { orderId: $order }) { id } }";
            owner.data(query, json!({ "order": order })).await["conversion"]["id"].take()
        };
        assert_eq!(by_order("1").await, Value::Null);
        let first = record(&owner, &old, "1", json!({ "idempotencyKey": "a" })).await;
        assert_eq!(by_order("1").await, first["id"]);
        let click = programme.click(&owner).await;
        let counted = record(&owner, &click, "1", json!({ "idempotencyKey": "b" })).await;
        record(&owner, &click, "1", json!({ "idempotencyKey": "c" })).await;
        assert_eq!(by_order("1").await, counted["id"]);
        assert_eq!(by_order("2").await, Value::Null);
    }

    async fn order_id_counts_once_per_campaign_and_goal(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let lead = json!({ "campaignId": programme.campaign, "code": "lead", "name": "Lead" });
        owner.done("createGoal", lead, "").await;
        let other = Programme::build(&owner, &Terms::default()).await;
        let (click, other_click) = (programme.click(&owner).await, other.click(&owner).await);
        for (key, click, goal, status) in [
            ("a", &click, "sale", "APPROVED"),
            ("b", &click, "lead", "APPROVED"),
            ("c", &other_click, "sale", "APPROVED"),
            ("d", &click, "sale", "REJECTED"),
        ] {
            let conversion = record(&owner, click, "1", json!({ "idempotencyKey": key, "goal": goal })).await;
            assert_eq!(conversion["status"], status, "{key}");
        }
    }

    async fn second_conversion_of_a_click_is_refused_where_the_goal_counts_once(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms { once_per_click: true, ..Terms::default() }).await;
        let (click, other) = (programme.click(&owner).await, programme.click(&owner).await);
        assert_eq!(record(&owner, &click, "1", json!({})).await["status"], "APPROVED");
        assert_eq!(refused(&record(&owner, &click, "2", json!({})).await), "DUPLICATE_CLICK");
        assert_eq!(record(&owner, &other, "2", json!({ "idempotencyKey": "b" })).await["status"], "APPROVED");
    }

    async fn unknown_and_archived_goals_are_refused(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        let unknown = record(&owner, &click, "1", json!({ "goal": "signup" })).await;
        assert_eq!(refused(&unknown), "UNKNOWN_GOAL");
        assert!(unknown["goal"].is_null());
        assert_eq!(unknown["campaign"]["id"], programme.campaign);
        owner.done("archiveGoal", json!({ "id": programme.goal }), "").await;
        assert_eq!(refused(&record(&owner, &click, "2", json!({})).await), "UNKNOWN_GOAL");
    }

    async fn paused_campaign_still_counts_earlier_clicks(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        owner.done("pauseCampaign", json!({ "id": programme.campaign }), "").await;
        assert_eq!(record(&owner, &click, "1", json!({})).await["status"], "APPROVED");
        let late = programme.click(&owner).await;
        assert_eq!(refused(&record(&owner, &late, "2", json!({})).await), "INVALID_CLICK");
    }

    async fn whatever_is_not_active_refuses_with_its_reason(app) {
        let owner = app.owner();
        for (mutation, reason) in [
            ("archiveCampaign", "CAMPAIGN_NOT_ACTIVE"),
            ("suspendAffiliate", "AFFILIATE_NOT_ACTIVE"),
            ("suspendEnrollment", "ENROLLMENT_NOT_APPROVED"),
        ] {
            let programme = Programme::build(&owner, &Terms::default()).await;
            let click = programme.click(&owner).await;
            let id = match mutation {
                "archiveCampaign" => &programme.campaign,
                "suspendAffiliate" => &programme.affiliate,
                _ => &programme.enrollment,
            };
            owner.done(mutation, json!({ "id": id }), "").await;
            let conversion = record(&owner, &click, mutation, json!({})).await;
            assert_eq!(refused(&conversion), reason, "{mutation}");
            assert_eq!(conversion["affiliate"]["id"], programme.affiliate, "who would have been credited");
        }
    }

    async fn click_on_a_disabled_link_never_converts(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        owner.done("disableLink", json!({ "id": programme.link }), "").await;
        let click = programme.click(&owner).await;
        owner.done("enableLink", json!({ "id": programme.link }), "").await;
        assert_eq!(refused(&record(&owner, &click, "1", json!({})).await), "INVALID_CLICK");
    }

    async fn sale_in_another_currency_is_held_without_commission(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        let usd = json!({ "saleAmount": { "amount": "100.00", "currency": "USD" } });
        let conversion = record(&owner, &click, "1", usd).await;
        assert_eq!((&conversion["status"], &conversion["reason"]), (&json!("HELD"), &json!("FX_RATE_MISSING")));
        assert_eq!(conversion["saleAmount"], json!({ "amount": "100.00", "currency": "USD" }));
        assert_eq!(conversion["commissionTotal"], json!({ "amount": "0.00", "currency": "EUR" }));
        assert_eq!(conversion["commissions"], json!([]));
        let ids = json!({ "ids": [conversion["id"]] });
        let answer = owner.done("approveConversions", ids, "items { userErrors { code } }").await;
        assert_eq!(answer["items"][0]["userErrors"][0]["code"], "INVALID_TRANSITION");
        let reject = json!({ "ids": [conversion["id"]], "reason": "MANUAL" });
        let answer = owner.done("rejectConversions", reject, "items { conversion { status } }").await;
        assert_eq!(answer["items"][0]["conversion"]["status"], "REJECTED");
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM journal").await, 0);
    }

    async fn lead_without_an_amount_earns_the_flat_part(app) {
        let owner = app.owner();
        let flat = json!({ "flat": { "amount": "2.50", "currency": "EUR" } });
        let programme = Programme::build(&owner, &Terms { rule: flat, ..Terms::default() }).await;
        let click = programme.click(&owner).await;
        let input = json!({ "idempotencyKey": "k", "clickId": click, "goal": "sale" });
        let selection = "conversion { status saleAmount { amount currency } commissionTotal { amount currency } }";
        let payload = owner.done("recordConversion", input, selection).await;
        assert_eq!(payload["conversion"], json!({
            "status": "APPROVED", "saleAmount": { "amount": "0.00", "currency": "EUR" },
            "commissionTotal": { "amount": "2.50", "currency": "EUR" },
        }));
    }

    async fn conversion_without_order_or_key_is_refused_unless_the_click_tells_it_apart(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let input = json!({ "clickId": programme.click(&owner).await, "goal": "sale" });
        let payload = owner.mutate("recordConversion", input, "conversion { id }").await;
        assert_eq!(payload["userErrors"][0]["code"], "REQUIRED");
        assert_eq!(payload["userErrors"][0]["field"], json!(["orderId"]));
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM conversion").await, 0);
        let once = Programme::build(&owner, &Terms { once_per_click: true, ..Terms::default() }).await;
        let input = json!({ "clickId": once.click(&owner).await, "goal": "sale" });
        let mut statuses = Vec::new();
        for _ in 0..2 {
            let payload = owner.done("recordConversion", input.clone(), "conversion { status }").await;
            statuses.push(payload["conversion"]["status"].clone());
        }
        assert_eq!(statuses, ["APPROVED", "REJECTED"]);
    }

    async fn campaign_without_a_rule_records_without_commission(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        owner.done("archiveCommissionRule", json!({ "id": programme.rule }), "").await;
        let conversion = record(&owner, &click, "1", json!({})).await;
        assert_eq!((&conversion["status"], &conversion["commissions"]), (&json!("APPROVED"), &json!([])));
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM journal").await, 0);
    }

    async fn conversion_reads_as_it_was_answered(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click_with(&owner, json!({ "occurredAt": "2026-01-01T00:00:00Z" })).await;
        let answered = record(&owner, &click, " 1 ", json!({
            "customerId": " ada ", "occurredAt": "2026-01-01T00:00:00.123456789Z",
            "labels": { "adv1": "é", "adv10": " x ", "adv3": "" },
        })).await;
        assert_eq!((&answered["orderId"], &answered["customerId"]), (&json!("1"), &json!("ada")));
        let labels = json!([{ "name": "adv1", "value": "é" }, { "name": "adv10", "value": "x" }]);
        assert_eq!(answered["labels"], labels);
        let query = "query($id: ID!) { conversion(by: { id: $id }) { orderId customerId occurredAt labels { name value } } }";
        let read = owner.data(query, json!({ "id": answered["id"] })).await;
        for field in ["orderId", "customerId", "occurredAt", "labels"] {
            assert_eq!(answered[field], read["conversion"][field], "{field}");
        }
        assert_eq!(answered["occurredAt"], "2026-01-01T00:00:00.123456+00:00");
    }

    async fn instant_in_the_future_is_refused(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        let at = |secs: i64| json!({ "occurredAt": app.clock.now() + TimeDelta::seconds(secs) });
        for (name, mut input) in
            [("recordConversion", sale(&click, "1", "1.00")), ("recordClick", json!({ "linkId": programme.link }))]
        {
            merge(&mut input, at(400));
            let payload = owner.mutate(name, input.clone(), "").await;
            assert_eq!(payload["userErrors"][0]["code"], "TIME_IN_FUTURE", "{name}");
            assert_eq!(payload["userErrors"][0]["field"], json!(["occurredAt"]), "{name}");
            merge(&mut input, at(200));
            owner.done(name, input, "").await;
        }
    }
}
