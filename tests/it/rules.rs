//! Commission rules: one default, versions that past conversions keep, overrides that explain themselves.

use serde_json::{Value, json};

use crate::{
    support::{
        Client, Programme, Terms, on_both, on_both_tuned,
        programme::{id, merge, sale},
    },
    visitors::with_countries,
};

const COMMISSION: &str = "conversion { id commissions { amount { amount } explanation { rule ruleId ruleVersion kind source \
    percent flat { amount } summary tier fx } } }";

/// The commission of a new sale.
async fn commission(client: &Client, programme: &Programme, order: &str, amount: &str) -> Value {
    let input = sale(&programme.click(client).await, order, amount);
    client.done("recordConversion", input, COMMISSION).await["conversion"]["commissions"][0].take()
}

/// Makes a rule of the programme's campaign that is no default; its id.
async fn extra_rule(client: &Client, programme: &Programme, terms: Value) -> String {
    let input = json!({ "campaignId": programme.campaign, "name": "VIP", "isDefault": false, "terms": terms });
    id(&client.done("createCommissionRule", input, "commissionRule { id }").await, "commissionRule")
}

/// Makes a rule for everybody with a place; its id.
async fn placed(client: &Client, programme: &Programme, position: i32, terms: Value, more: Value) -> String {
    let mut input = json!({
        "campaignId": programme.campaign, "name": format!("Place {position}"), "position": position, "terms": terms,
    });
    merge(&mut input, more);
    id(&client.done("createCommissionRule", input, "commissionRule { id }").await, "commissionRule")
}

/// What 100.00 of a goal earn by a click, and by which rule.
async fn earned(client: &Client, click: &str, goal: &str) -> (String, String) {
    let mut input = sale(click, &uuid::Uuid::new_v4().to_string(), "100.00");
    merge(&mut input, json!({ "goal": goal }));
    let commission = client.done("recordConversion", input, COMMISSION).await["conversion"]["commissions"][0].take();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    (text(&commission["amount"]["amount"]), text(&commission["explanation"]["ruleId"]))
}

on_both_tuned! { with_countries =>
    async fn first_rule_by_position_whose_country_and_goal_are_the_conversion_s_pays(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let goal = json!({ "campaignId": programme.campaign, "code": "lead", "name": "Lead" });
        let lead = id(&owner.done("createGoal", goal, "goal { id }").await, "goal");
        let flat = |amount: &str| json!({ "flat": { "amount": amount, "currency": "EUR" } });
        let of = |countries: &[&str]| json!({ "countries": countries });
        // Made in another order than they are looked at.
        let leads = placed(&owner, &programme, 30, flat("1.00"), json!({ "goalId": lead })).await;
        let abroad = placed(&owner, &programme, 20, json!({ "percent": "20" }), json!({ "criteria": of(&["gb", "SE"]) })).await;
        let british = json!({ "goalId": lead, "criteria": of(&["GB"]) });
        let british = placed(&owner, &programme, 10, flat("5.00"), british).await;
        let from = async |address: &str| programme.click_with(&owner, json!({ "ipAddress": address })).await;
        let (gb, se, nowhere) = (from("81.2.69.160").await, from("89.160.20.112").await, programme.click(&owner).await);
        let pays = async |click: &str, goal: &str, amount: &str, rule: &str| {
            assert_eq!(earned(&owner, click, goal).await, (amount.to_owned(), rule.to_owned()), "{goal}");
        };
        pays(&gb, "lead", "5.00", &british).await;
        pays(&gb, "sale", "20.00", &abroad).await;
        pays(&se, "lead", "20.00", &abroad).await;
        pays(&se, "sale", "20.00", &abroad).await;
        pays(&nowhere, "lead", "1.00", &leads).await;
        pays(&nowhere, "sale", "10.00", &programme.rule).await;
        // Another place, and other criteria, from now on.
        owner.done("updateCommissionRule", json!({ "id": leads, "position": 5 }), "").await;
        pays(&gb, "lead", "1.00", &leads).await;
        owner.done("archiveCommissionRule", json!({ "id": leads }), "").await;
        owner.done("updateCommissionRule", json!({ "id": abroad, "criteria": of(&["SE"]) }), "").await;
        pays(&gb, "lead", "5.00", &british).await;
        pays(&gb, "sale", "10.00", &programme.rule).await;
        pays(&se, "lead", "20.00", &abroad).await;
        let last = json!({ "id": abroad, "position": null });
        assert_eq!(owner.refusal("updateCommissionRule", last).await, "ALREADY_EXISTS", "there is one without a place");
        owner.done("archiveCommissionRule", json!({ "id": abroad }), "").await;
        pays(&se, "sale", "10.00", &programme.rule).await;
        pays(&nowhere, "lead", "10.00", &programme.rule).await;
    }
}

on_both! {
    async fn second_default_rule_is_refused_and_one_per_goal_is_not(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let rule = |more: Value| {
            let mut input = json!({ "campaignId": programme.campaign, "name": "x", "terms": { "percent": "50" } });
            merge(&mut input, more);
            input
        };
        assert_eq!(owner.refusal("createCommissionRule", rule(json!({}))).await, "ALREADY_EXISTS");
        let for_goal = rule(json!({ "goalId": programme.goal }));
        owner.done("createCommissionRule", for_goal.clone(), "").await;
        assert_eq!(owner.refusal("createCommissionRule", for_goal).await, "ALREADY_EXISTS");
        assert_eq!(commission(&owner, &programme, "1", "10.00").await["amount"]["amount"], "5.00", "the goal's own");
        owner.done("archiveCommissionRule", json!({ "id": programme.rule }), "").await;
        owner.done("createCommissionRule", rule(json!({})), "").await;
    }

    async fn new_terms_are_a_new_version_and_past_conversions_keep_theirs(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let first = commission(&owner, &programme, "1", "49.00").await;
        let update = json!({ "id": programme.rule, "name": "Better", "terms":
            { "flatPlusPercent": { "flat": { "amount": "1.00", "currency": "EUR" }, "percent": "12.5" } } });
        let selection = "commissionRule { version kind name versions { version kind percent flat { amount } } }";
        let payload = owner.done("updateCommissionRule", update, selection).await;
        assert_eq!(payload["commissionRule"], json!({ "version": 2, "kind": "FLAT_PLUS_PERCENT", "name": "Better", "versions": [
            { "version": 2, "kind": "FLAT_PLUS_PERCENT", "percent": "12.5", "flat": { "amount": "1.00" } },
            { "version": 1, "kind": "PERCENT", "percent": "10", "flat": null },
        ] }));
        let second = commission(&owner, &programme, "2", "49.00").await;
        assert_eq!((&first["amount"]["amount"], &second["amount"]["amount"]), (&json!("4.90"), &json!("7.12")));
        assert_eq!(second["explanation"], json!({
            "rule": "Better v2", "ruleId": programme.rule, "ruleVersion": 2, "kind": "FLAT_PLUS_PERCENT",
            "source": "CAMPAIGN_DEFAULT", "percent": "12.5", "flat": { "amount": "1.00" }, "tier": null, "fx": null,
            "summary": "Better v2: 1.00 EUR + 12.5 % of 49.00 EUR = 7.12 EUR",
        }), "6.125 and 1.00, rounded half to even once");
        let data = owner.data("query { commissions(first: 10) { edges { node { amount { amount } explanation { rule } } } } }",
            json!({})).await;
        let kept: Vec<&Value> = data["commissions"]["edges"].as_array().expect("edges").iter()
            .map(|edge| &edge["node"]["explanation"]["rule"]).collect();
        assert_eq!(kept, ["Better v2", "Standard v1"]);
    }

    async fn new_name_alone_is_no_new_version(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let update = json!({ "id": programme.rule, "name": "Renamed" });
        let payload = owner.done("updateCommissionRule", update, "commissionRule { name version }").await;
        assert_eq!(payload["commissionRule"], json!({ "name": "Renamed", "version": 1 }));
    }

    async fn override_of_an_enrollment_is_used_and_explained(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let vip = extra_rule(&owner, &programme, json!({ "percent": "15" })).await;
        let set = json!({ "id": programme.enrollment, "ruleId": vip });
        let payload = owner.done("updateEnrollment", set, "enrollment { rule { id name } }").await;
        assert_eq!(payload["enrollment"]["rule"], json!({ "id": vip, "name": "VIP" }));
        let earned = commission(&owner, &programme, "1", "100.00").await;
        assert_eq!(earned["amount"]["amount"], "15.00");
        assert_eq!(earned["explanation"]["source"], "ENROLLMENT_OVERRIDE");
        assert_eq!(earned["explanation"]["ruleId"], vip);
        owner.done("updateEnrollment", json!({ "id": programme.enrollment }), "").await;
        assert_eq!(commission(&owner, &programme, "2", "100.00").await["amount"]["amount"], "15.00", "absent changes nothing");
        owner.done("updateEnrollment", json!({ "id": programme.enrollment, "ruleId": null }), "").await;
        let earned = commission(&owner, &programme, "3", "100.00").await;
        assert_eq!((&earned["amount"]["amount"], &earned["explanation"]["source"]), (&json!("10.00"), &json!("CAMPAIGN_DEFAULT")));
    }

    async fn archived_override_falls_back_to_the_default(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let vip = extra_rule(&owner, &programme, json!({ "percent": "15" })).await;
        owner.done("updateEnrollment", json!({ "id": programme.enrollment, "ruleId": vip }), "").await;
        owner.done("archiveCommissionRule", json!({ "id": vip }), "").await;
        let earned = commission(&owner, &programme, "1", "100.00").await;
        assert_eq!((&earned["amount"]["amount"], &earned["explanation"]["source"]), (&json!("10.00"), &json!("CAMPAIGN_DEFAULT")));
        let set = json!({ "id": programme.enrollment, "ruleId": vip });
        assert_eq!(owner.refusal("updateEnrollment", set).await, "INVALID_TRANSITION");
        assert_eq!(owner.refusal("archiveCommissionRule", json!({ "id": vip })).await, "INVALID_TRANSITION");
        assert_eq!(owner.refusal("updateCommissionRule", json!({ "id": vip, "name": "x" })).await, "INVALID_TRANSITION");
    }

    async fn override_of_another_campaign_is_not_found(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let other = Programme::build(&owner, &Terms::default()).await;
        let foreign = Programme::build(&app.stranger(), &Terms::default()).await;
        for rule in [&other.rule, &foreign.rule] {
            let set = json!({ "id": programme.enrollment, "ruleId": rule });
            assert_eq!(owner.refusal("updateEnrollment", set).await, "NOT_FOUND");
        }
    }

    async fn percent_is_written_with_up_to_four_digits_and_printed_without_needless_zeros(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        for (written, printed) in [("0", "0"), ("100", "100"), ("12.50", "12.5"), ("0.0001", "0.0001"), ("007", "7")] {
            let input = json!({ "campaignId": programme.campaign, "name": "x", "isDefault": false, "terms": { "percent": written } });
            let payload = owner.done("createCommissionRule", input, "commissionRule { percent flat { amount } kind }").await;
            assert_eq!(payload["commissionRule"], json!({ "percent": printed, "flat": null, "kind": "PERCENT" }));
        }
    }

    async fn commission_is_rounded_half_to_even(app) {
        let owner = app.owner();
        let rule = json!({ "percent": "50" });
        let programme = Programme::build(&owner, &Terms { rule, ..Terms::default() }).await;
        for (amount, earned) in [("0.01", "0.00"), ("0.03", "0.02"), ("0.05", "0.02"), ("0.07", "0.04"), ("0.00", "0.00")] {
            assert_eq!(commission(&owner, &programme, amount, amount).await["amount"]["amount"], earned, "half of {amount}");
        }
    }

    async fn rules_are_the_tenant_s_own_business(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let update = json!({ "id": programme.rule, "terms": { "percent": "99" } });
        assert_eq!(app.stranger().refusal("updateCommissionRule", update).await, "NOT_FOUND");
        assert_eq!(app.stranger().refusal("archiveCommissionRule", json!({ "id": programme.rule })).await, "NOT_FOUND");
        let create = json!({ "campaignId": programme.campaign, "name": "x", "terms": { "percent": "1" } });
        assert_eq!(app.stranger().refusal("createCommissionRule", create).await, "NOT_FOUND");
    }
}
