//! The plan simulator: the same amounts as real conversions, and nothing written.

use serde_json::{Value, json};

use crate::support::{Client, Programme, Terms, on_both, programme::sale};

const PREVIEW: &str = "query($input: CommissionPreviewInput!) { commissionPreview(input: $input) { \
    lines { affiliate amount { amount } adjustment { amount } total { amount } explanation { rule tier } } \
    totals { affiliate total { amount currency } } } }";

async fn preview(client: &Client, input: Value) -> Value {
    client.data(PREVIEW, json!({ "input": input })).await["commissionPreview"].take()
}

fn event(affiliate: &str, minute: usize, amount: &str, currency: &str) -> Value {
    json!({
        "affiliate": affiliate, "occurredAt": format!("2026-11-03T10:{minute:02}:00Z"),
        "saleAmount": { "amount": amount, "currency": currency },
    })
}

on_both! {
    async fn plan_is_tried_on_events_without_writing(app) {
        let owner = app.owner();
        let step = |from: &str, percent: &str| {
            json!({ "saleAmount": { "amount": from, "currency": "EUR" }, "terms": { "percent": percent } })
        };
        let tiers = json!({ "basis": "SALE_AMOUNT", "period": "MONTH", "mode": "WHOLE", "steps": [step("200.00", "6"), step("400.00", "8")] });
        let rules = json!([
            { "name": "Standard", "terms": { "percent": "4" }, "tiers": tiers },
            { "name": "Own", "terms": { "flat": { "amount": "3.00", "currency": "EUR" } }, "affiliates": ["bob"] },
        ]);
        let mut events: Vec<Value> = (0..10).map(|minute| event("ada", minute, "50.00", "EUR")).collect();
        events.push(event("bob", 30, "10.00", "EUR"));
        let modifiers = json!([{ "affiliate": "bob", "percent": "10" }]);
        let input = json!({ "rules": rules, "currency": "EUR", "modifiers": modifiers, "events": events });
        let answer = preview(&owner, input).await;
        assert_eq!(answer["totals"], json!([
            { "affiliate": "ada", "total": { "amount": "40.00", "currency": "EUR" } },
            { "affiliate": "bob", "total": { "amount": "3.30", "currency": "EUR" } },
        ]));
        assert_eq!(answer["lines"][0]["adjustment"]["amount"], "2.00", "4 % became 8 %");
        assert_eq!(answer["lines"][10]["explanation"], json!({ "rule": "Own v1", "tier": null }));
        let data = owner.data("{ conversions(first: 1) { edges { node { id } } } commissions(first: 1) { edges { node { id } } } }", json!({})).await;
        assert_eq!((&data["conversions"]["edges"], &data["commissions"]["edges"]), (&json!([]), &json!([])));
    }

    async fn campaign_s_rules_pay_in_a_preview_what_they_pay(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms { rule: json!({ "percent": "12.5" }), currency: "KWD", ..Terms::default() }).await;
        let group = json!({ "name": "Gold", "modifierPercent": "5" });
        let group = owner.done("createAffiliateGroup", group, "affiliateGroup { id }").await["affiliateGroup"]["id"].take();
        owner.done("setAffiliateGroup", json!({ "affiliateId": programme.affiliate, "groupId": group }), "").await;
        let events = json!([event(&programme.affiliate, 0, "10.005", "KWD")]);
        let answer = preview(&owner, json!({ "campaignId": programme.campaign, "events": events })).await;
        let click = programme.click(&owner).await;
        let mut real = sale(&click, "1", "10.005");
        real["saleAmount"]["currency"] = json!("KWD");
        let payload = owner.done("recordConversion", real, "conversion { commissions { amount { amount } } }").await;
        assert_eq!(payload["conversion"]["commissions"][0]["amount"]["amount"], "1.313");
        assert_eq!(answer["lines"][0]["total"]["amount"], "1.313");
    }

    async fn what_those_above_would_earn_is_told_level_by_level(app) {
        let owner = app.owner();
        let query = "query($input: CommissionPreviewInput!) { commissionPreview(input: $input) { \
            lines { total { amount } overrides { level amount { amount currency } } } totals { total { amount } } } }";
        let preview = async |input: Value| owner.data(query, json!({ "input": input })).await["commissionPreview"].take();
        let told = |first: &str, second: &str| {
            let level = |level, amount: &str| json!({ "level": level, "amount": { "amount": amount, "currency": "EUR" } });
            json!([level(1, first), level(2, second)])
        };
        let sale = json!([event("ada", 0, "100.00", "EUR")]);
        let rules = json!([{ "name": "Standard", "terms": { "percent": "20" } }]);
        let tried = |levels: Value| {
            json!({ "rules": rules, "currency": "EUR", "events": sale, "overrides": { "levels": levels } })
        };
        let answer = preview(tried(json!([{ "percentOfCommission": "10" }, { "percentOfCommission": "5" }]))).await;
        assert_eq!(answer["lines"][0]["overrides"], told("2.00", "1.00"));
        assert_eq!(answer["lines"][0]["total"]["amount"], "20.00");
        assert_eq!(answer["totals"][0]["total"]["amount"], "20.00", "what is on top is not the affiliate's");
        let answer = preview(tried(json!([{ "percentOfSale": "10" }, { "percentOfSale": "5" }]))).await;
        assert_eq!(answer["lines"][0]["overrides"], told("10.00", "5.00"));
        // A campaign's own plan, and another one in its place.
        let programme = Programme::build(&owner, &Terms { rule: json!({ "percent": "20" }), ..Terms::default() }).await;
        let on_campaign = json!({ "campaignId": programme.campaign, "events": sale });
        assert_eq!(preview(on_campaign.clone()).await["lines"][0]["overrides"], json!([]));
        let flat = json!({ "flat": { "amount": "3.00", "currency": "EUR" } });
        let plan = json!({ "campaignId": programme.campaign, "levels": [{ "percentOfSale": "1.5" }, flat] });
        owner.done("setOverridePlan", plan, "").await;
        assert_eq!(preview(on_campaign.clone()).await["lines"][0]["overrides"], told("1.50", "3.00"));
        let mut none = on_campaign;
        none["overrides"] = json!({ "levels": [] });
        assert_eq!(preview(none).await["lines"][0]["overrides"], json!([]));
        let wrong = async |levels: Value| {
            let (_, answer) = owner.send(query, json!({ "input": tried(levels) })).await;
            let extensions = &answer["errors"][0]["extensions"];
            (extensions["code"].clone(), extensions["field"][0].clone())
        };
        let dollars = json!([{ "flat": { "amount": "1.00", "currency": "USD" } }]);
        assert_eq!(wrong(dollars).await, (json!("CURRENCY_MISMATCH"), json!("overrides")));
        let many = json!(vec![json!({ "percentOfSale": "1" }); 11]);
        assert_eq!(wrong(many).await.0, json!("OUT_OF_RANGE"));
    }

    async fn preview_is_bounded_and_says_what_is_missing(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let code = async |input: Value| {
            let (_, answer) = owner.send(PREVIEW, json!({ "input": input })).await;
            answer["errors"][0]["extensions"]["code"].as_str().unwrap_or("none").to_owned()
        };
        let rule = json!({ "name": "x", "terms": { "percent": "1" } });
        let one = json!([event("ada", 0, "1.00", "EUR")]);
        assert_eq!(code(json!({ "events": one })).await, "REQUIRED");
        assert_eq!(code(json!({ "rules": [rule], "events": one })).await, "REQUIRED", "no currency");
        assert_eq!(code(json!({ "rules": [rule], "currency": "USD", "events": one })).await, "CURRENCY_MISMATCH");
        assert_eq!(code(json!({ "campaignId": programme.campaign, "events": [] })).await, "BATCH_SIZE");
    }
}
