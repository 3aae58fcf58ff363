//! Affiliate groups: modifiers, rules of their own, precedence; criteria of rules.

use serde_json::{Value, json};

use crate::support::{
    Client, Programme, Terms, on_both,
    programme::{id, merge, sale},
};

fn flat(amount: &str) -> Value {
    json!({ "flat": { "amount": amount, "currency": "EUR" } })
}

/// Makes a group and puts the programme's affiliate into it; its id.
async fn group(client: &Client, programme: &Programme, percent: &str) -> String {
    let input = json!({ "name": format!("Gold {percent}"), "modifierPercent": percent });
    let group = id(&client.done("createAffiliateGroup", input, "affiliateGroup { id }").await, "affiliateGroup");
    client.done("setAffiliateGroup", json!({ "affiliateId": programme.affiliate, "groupId": group }), "").await;
    group
}

/// Makes a rule of the programme's campaign; its id.
async fn rule(client: &Client, programme: &Programme, amount: &str, more: Value) -> String {
    let mut input = json!({ "campaignId": programme.campaign, "name": amount, "terms": flat(amount) });
    merge(&mut input, more);
    id(&client.done("createCommissionRule", input, "commissionRule { id }").await, "commissionRule")
}

/// `amount source` of a new sale's commission.
async fn earned(client: &Client, click: &str, more: Value) -> String {
    let mut input = sale(click, &uuid::Uuid::new_v4().to_string(), "1.00");
    merge(&mut input, more);
    let selection = "conversion { commissions { amount { amount } explanation { source } } }";
    let payload = client.done("recordConversion", input, selection).await;
    let commission = &payload["conversion"]["commissions"][0];
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    format!("{} {}", text(&commission["amount"]["amount"]), text(&commission["explanation"]["source"]))
}

on_both! {
    async fn modifier_is_on_top_of_the_rule_that_precedence_chose(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms { rule: flat("2.00"), ..Terms::default() }).await;
        let group = group(&owner, &programme, "10").await;
        let click = programme.click(&owner).await;
        assert_eq!(earned(&owner, &click, json!({})).await, "2.20 CAMPAIGN_DEFAULT");
        let of_group = rule(&owner, &programme, "2.50", json!({ "groupId": group })).await;
        assert_eq!(earned(&owner, &click, json!({})).await, "2.75 AFFILIATE_GROUP");
        let own = rule(&owner, &programme, "3.00", json!({ "isDefault": false })).await;
        owner.done("updateEnrollment", json!({ "id": programme.enrollment, "ruleId": own }), "").await;
        assert_eq!(earned(&owner, &click, json!({})).await, "3.30 ENROLLMENT_OVERRIDE");
        owner.done("updateEnrollment", json!({ "id": programme.enrollment, "ruleId": null }), "").await;
        owner.done("archiveCommissionRule", json!({ "id": of_group }), "").await;
        owner.done("updateAffiliateGroup", json!({ "id": group, "modifierPercent": "50" }), "").await;
        assert_eq!(earned(&owner, &click, json!({})).await, "3.00 CAMPAIGN_DEFAULT");
        owner.done("setAffiliateGroup", json!({ "affiliateId": programme.affiliate }), "").await;
        assert_eq!(earned(&owner, &click, json!({})).await, "2.00 CAMPAIGN_DEFAULT");
        let data = owner.data("{ commissions(first: 10) { edges { node { total { amount } explanation { modifier { group percent } } } } } }", json!({})).await;
        let first = &data["commissions"]["edges"][4]["node"];
        assert_eq!(first, &json!({ "total": { "amount": "2.20" }, "explanation": { "modifier": { "group": "Gold 10", "percent": "10" } } }));
    }

    async fn group_has_one_name_and_affiliates_do_not_see_groups(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let id = group(&owner, &programme, "10").await;
        let again = json!({ "name": "Gold 10" });
        assert_eq!(owner.refusal("createAffiliateGroup", again).await, "ALREADY_EXISTS");
        let wrong = json!({ "name": "x", "modifierPercent": "-1" });
        assert_eq!(owner.refusal("createAffiliateGroup", wrong).await, "INVALID_RATE");
        let data = owner.data("{ affiliateGroups { id modifierPercent } }", json!({})).await;
        assert_eq!(data["affiliateGroups"], json!([{ "id": id, "modifierPercent": "10" }]));
        let second = json!({ "groupId": id, "campaignId": programme.campaign, "name": "x", "terms": flat("1.00") });
        owner.done("createCommissionRule", second.clone(), "").await;
        assert_eq!(owner.refusal("createCommissionRule", second).await, "ALREADY_EXISTS");
    }

    async fn first_rule_by_position_whose_criteria_are_met_applies(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms { rule: flat("1.00"), ..Terms::default() }).await;
        let placed = |position: i32, criteria: Value| json!({ "position": position, "criteria": criteria });
        rule(&owner, &programme, "2.00", placed(20, json!({ "productIds": ["shoe", "boot"] }))).await;
        rule(&owner, &programme, "3.00", placed(10, json!({ "sources": ["mail"], "productIds": ["shoe"] }))).await;
        rule(&owner, &programme, "4.00", placed(30, json!({ "subs": [{ "name": "sub3", "values": ["vip"] }] }))).await;
        rule(&owner, &programme, "5.00", placed(40, json!({ "couponCodes": ["ada10"] }))).await;
        let coupon = json!({ "campaignId": programme.campaign, "affiliateId": programme.affiliate, "code": "ADA10" });
        owner.done("createCoupon", coupon, "").await;
        let plain = programme.click(&owner).await;
        let mail = programme.click_with(&owner, json!({ "source": "mail" })).await;
        let vip = programme.click_with(&owner, json!({ "labels": { "sub3": "vip" } })).await;
        let shoe = json!({ "productId": "shoe" });
        assert_eq!(earned(&owner, &plain, json!({})).await, "1.00 CAMPAIGN_DEFAULT");
        assert_eq!(earned(&owner, &plain, shoe.clone()).await, "2.00 CAMPAIGN_DEFAULT");
        assert_eq!(earned(&owner, &mail, shoe).await, "3.00 CAMPAIGN_DEFAULT");
        assert_eq!(earned(&owner, &mail, json!({ "productId": "boot" })).await, "2.00 CAMPAIGN_DEFAULT");
        assert_eq!(earned(&owner, &vip, json!({})).await, "4.00 CAMPAIGN_DEFAULT");
        assert_eq!(earned(&owner, &plain, json!({ "couponCode": "Ada10" })).await, "5.00 CAMPAIGN_DEFAULT");
        for criteria in [json!({ "countries": ["DEU"] }), json!({ "subs": [{ "name": "sub11", "values": ["x"] }] })] {
            let input = json!({ "campaignId": programme.campaign, "name": "x", "terms": flat("1.00"), "criteria": criteria });
            assert_eq!(owner.refusal("createCommissionRule", input).await, "OUT_OF_RANGE");
        }
    }
}
