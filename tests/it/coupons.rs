//! Coupons: given to affiliates, unique in their campaign, and credited without a click.

use serde_json::{Value, json};

use crate::support::{Client, Programme, Terms, on_both, programme};

/// A coupon of a programme's affiliate; its id.
async fn coupon(client: &Client, programme: &Programme, code: &str) -> String {
    let input = json!({ "campaignId": programme.campaign, "affiliateId": programme.affiliate, "code": code });
    programme::id(&client.done("createCoupon", input, "coupon { id }").await, "coupon")
}

/// Records a sale by its coupon, with more in its input; the payload.
async fn sale(client: &Client, order: &str, code: &str, more: Value) -> Value {
    let mut input = json!({
        "idempotencyKey": order, "goal": "sale", "orderId": order, "couponCode": code,
        "saleAmount": { "amount": "100.00", "currency": "EUR" },
    });
    programme::merge(&mut input, more);
    let selection = "conversion { status reason couponCode campaign { id } affiliate { id } click { id } \
        commissionTotal { amount } attribution { source touches { click { id } coupon { id code } share } } }";
    client.mutate("recordConversion", input, selection).await
}

/// The code and field of a payload's only refusal.
fn problem(payload: &Value) -> (Value, Value) {
    assert_eq!(payload["userErrors"].as_array().map(Vec::len), Some(1), "{payload}");
    (payload["userErrors"][0]["code"].clone(), payload["userErrors"][0]["field"].clone())
}

on_both! {
    async fn coupon_is_made_once_listed_disabled_and_enabled(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let input = json!({
            "idempotencyKey": "a", "campaignId": programme.campaign, "affiliateId": programme.affiliate, "code": " ada10 ",
        });
        let made = owner.done("createCoupon", input.clone(), "replayed coupon { id code status }").await;
        let again = owner.done("createCoupon", input.clone(), "replayed coupon { id }").await;
        assert_eq!((&made["replayed"], &again["replayed"]), (&json!(false), &json!(true)));
        assert_eq!((&made["coupon"]["code"], &made["coupon"]["status"]), (&json!("ADA10"), &json!("ACTIVE")));
        assert_eq!(made["coupon"]["id"], again["coupon"]["id"]);
        let mut same = input;
        programme::merge(&mut same, json!({ "idempotencyKey": "b" }));
        assert_eq!(owner.refusal("createCoupon", same).await, "ALREADY_EXISTS");
        let id = json!({ "id": made["coupon"]["id"] });
        assert_eq!(owner.refusal("enableCoupon", id.clone()).await, "INVALID_TRANSITION");
        let disabled = owner.done("disableCoupon", id.clone(), "coupon { status }").await;
        assert_eq!(disabled["coupon"]["status"], "DISABLED");
        let query = "query($codes: [String!]) { coupons(first: 5, filter: { codes: $codes }) { totalCount \
            nodes { id campaign { id } affiliate { id } status } } }";
        let listed = owner.data(query, json!({ "codes": ["aDa10"] })).await;
        assert_eq!(listed["coupons"], json!({ "totalCount": 1, "nodes": [{
            "id": made["coupon"]["id"], "campaign": { "id": programme.campaign },
            "affiliate": { "id": programme.affiliate }, "status": "DISABLED",
        }] }));
        owner.done("enableCoupon", id, "").await;
    }

    async fn affiliate_sees_its_own_coupons_and_another_tenant_none(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let other = Programme::build(&owner, &Terms::default()).await;
        let (own, foreign) = (coupon(&owner, &programme, "ADA").await, coupon(&owner, &other, "BOB").await);
        let query = "query($id: ID!) { coupon(id: $id) { id } node(id: $id) { id } coupons(first: 5) { nodes { id } } }";
        let seen = async |client: &Client, id: &str| client.data(query, json!({ "id": id })).await;
        let ada = app.affiliate(&programme.affiliate);
        let listed = json!({ "nodes": [{ "id": own }] });
        assert_eq!(
            seen(&ada, &own).await,
            json!({ "coupon": { "id": own }, "node": { "id": own }, "coupons": listed })
        );
        assert_eq!(seen(&ada, &foreign).await, json!({ "coupon": null, "node": null, "coupons": listed }));
        let nothing = json!({ "coupon": null, "node": null, "coupons": { "nodes": [] } });
        assert_eq!(seen(&app.stranger(), &own).await, nothing);
    }

    async fn sale_with_a_coupon_credits_its_affiliate_without_a_click(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let id = coupon(&owner, &programme, "ADA10").await;
        let payload = sale(&owner, "1", "ada10", json!({})).await;
        assert_eq!(payload["conversion"], json!({
            "status": "APPROVED", "reason": null, "couponCode": "ADA10", "campaign": { "id": programme.campaign },
            "affiliate": { "id": programme.affiliate }, "click": null, "commissionTotal": { "amount": "10.00" },
            "attribution": {
                "source": "COUPON",
                "touches": [{ "click": null, "coupon": { "id": id, "code": "ADA10" }, "share": "1.000000" }],
            },
        }));
        let listed = "query($codes: [String!]) { conversions(first: 5, filter: { couponCodes: $codes }) { totalCount } }";
        for (codes, count) in [(json!(["ada10"]), 1), (json!(["ADA"]), 0)] {
            let found = owner.data(listed, json!({ "codes": codes })).await;
            assert_eq!(found["conversions"]["totalCount"], count, "{codes}");
        }
    }

    async fn unknown_disabled_and_foreign_codes_are_recorded_and_refused(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let id = coupon(&owner, &programme, "OLD").await;
        owner.done("disableCoupon", json!({ "id": id }), "").await;
        let away = Programme::build(&app.stranger(), &Terms::default()).await;
        coupon(&app.stranger(), &away, "AWAY").await;
        for code in ["NONE", "OLD", "AWAY"] {
            let payload = sale(&owner, code, code, json!({})).await;
            let conversion = &payload["conversion"];
            assert_eq!((&conversion["status"], &conversion["reason"]), (&json!("REJECTED"), &json!("UNKNOWN_COUPON")));
            assert_eq!(conversion["campaign"], Value::Null, "{payload}");
        }
    }

    async fn code_of_two_campaigns_needs_the_campaign_and_leaves_the_key_free(app) {
        let owner = app.owner();
        let programmes = [
            Programme::build(&owner, &Terms::default()).await,
            Programme::build(&owner, &Terms::default()).await,
        ];
        for programme in &programmes {
            coupon(&owner, programme, "SAME").await;
        }
        let refused = sale(&owner, "1", "SAME", json!({})).await;
        assert_eq!(problem(&refused), ("REQUIRED".into(), json!(["campaignId"])));
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM conversion").await, 0);
        let named = json!({ "campaignId": programmes[1].campaign });
        let payload = sale(&owner, "1", "SAME", named).await;
        assert_eq!(payload["conversion"]["affiliate"]["id"], programmes[1].affiliate, "{payload}");
        let away = Programme::build(&app.stranger(), &Terms::default()).await;
        let foreign = sale(&owner, "2", "SAME", json!({ "campaignId": away.campaign })).await;
        assert_eq!(problem(&foreign), ("NOT_FOUND".into(), json!(["campaignId"])));
    }

    async fn suspended_affiliate_earns_nothing_by_its_coupon(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        coupon(&owner, &programme, "ADA").await;
        owner.done("suspendAffiliate", json!({ "id": programme.affiliate }), "").await;
        let payload = sale(&owner, "1", "ADA", json!({})).await;
        assert_eq!(payload["conversion"]["reason"], "AFFILIATE_NOT_ACTIVE", "{payload}");
    }
}
