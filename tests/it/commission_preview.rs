//! The plan simulator: the same amounts as real conversions, and nothing written.

use serde_json::{Value, json};

use crate::{
    books::{dump, everything},
    support::{
        Client, Programme, Terms, on_both,
        programme::{merge, sale},
    },
};

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
        let before = dump(app, &everything(app).await).await;
        let answer = preview(&owner, input).await;
        assert_eq!(dump(app, &everything(app).await).await, before, "no table has another row");
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
        let before = dump(app, &everything(app).await).await;
        let answer = preview(&owner, json!({ "campaignId": programme.campaign, "events": events })).await;
        assert_eq!(dump(app, &everything(app).await).await, before, "no table has another row");
        let click = programme.click(&owner).await;
        let mut real = sale(&click, "1", "10.005");
        real["saleAmount"]["currency"] = json!("KWD");
        let payload = owner.done("recordConversion", real, "conversion { commissions { amount { amount } } }").await;
        assert_eq!(payload["conversion"]["commissions"][0]["amount"]["amount"], "1.313");
        assert_eq!(answer["lines"][0]["total"]["amount"], "1.313");
    }

    async fn caps_cut_and_refuse_in_a_preview_what_they_cut_and_refuse(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let euros = |amount: &str| json!({ "money": { "amount": amount, "currency": "EUR" } });
        let cap = json!({ "campaignId": programme.campaign, "metric": "COMMISSION", "period": "DAY", "amount": euros("10.00") });
        let cap = owner.done("createCap", cap, "cap { id }").await["cap"]["id"].take();
        let sales = ["60.00", "50.00", "40.00"];
        let events: Vec<Value> =
            (0..).zip(sales).map(|(minute, amount)| event(&programme.affiliate, minute, amount, "EUR")).collect();
        let query = "query($input: CommissionPreviewInput!) { commissionPreview(input: $input) { lines { overCap \
            total { amount } adjustment { amount } adjustmentClamp { capId earned { amount } left { amount } } \
            explanation { clamp { capId earned { amount } left { amount } } } } } }";
        let lines = async |input: Value| {
            let before = dump(app, &everything(app).await).await;
            let lines = owner.data(query, json!({ "input": input })).await["commissionPreview"]["lines"].take();
            assert_eq!(dump(app, &everything(app).await).await, before, "nothing is taken of a cap");
            lines.as_array().expect("lines").clone()
        };
        let clamp = |cap: &Value, earned: &str, left: &str| json!({
            "capId": cap, "earned": { "amount": earned }, "left": { "amount": left },
        });
        let tried = lines(json!({ "campaignId": programme.campaign, "events": events })).await;
        let told: Vec<_> = tried.iter().map(|line| (line["total"]["amount"].clone(), line["overCap"].clone())).collect();
        assert_eq!(told, [(json!("6.00"), json!(false)), (json!("4.00"), json!(false)), (json!("0.00"), json!(true))]);
        assert_eq!(tried[1]["explanation"]["clamp"], clamp(&cap, "5.00", "4.00"));
        let click = programme.click_with(&owner, json!({ "occurredAt": "2026-11-03T10:00:00Z" })).await;
        for (amount, line) in sales.iter().zip(&tried) {
            let selection = "conversion { status commissions { amount { amount } } }";
            let paid = owner.done("recordConversion", sale(&click, amount, amount), selection).await["conversion"].take();
            let earned = paid["commissions"][0]["amount"]["amount"].as_str().unwrap_or("0.00");
            assert_eq!((line["total"]["amount"].as_str(), paid["status"] == "REJECTED"), (Some(earned), line["overCap"] == true));
        }
        // Other caps in their place, or none; what is used of the campaign's own is not theirs.
        let none = lines(json!({ "campaignId": programme.campaign, "events": events, "caps": [] })).await;
        assert!(none.iter().all(|line| line["overCap"] == false), "{none:?}");
        let two = json!([{ "affiliate": programme.affiliate, "metric": "CONVERSIONS", "period": "DAY", "amount": { "count": 2 } }]);
        let two = lines(json!({ "campaignId": programme.campaign, "events": events, "caps": two })).await;
        assert_eq!(two.iter().map(|line| line["overCap"] == true).collect::<Vec<_>>(), [false, false, true]);
        // A step rates up as far as there is room.
        let flat = |amount: &str| json!({ "flat": { "amount": amount, "currency": "EUR" } });
        let steps = json!([{ "conversions": 3, "terms": flat("275.00") }]);
        let tiers = json!({ "basis": "CONVERSIONS", "period": "MONTH", "mode": "WHOLE", "steps": steps });
        let rules = json!([{ "name": "Standard", "terms": flat("250.00"), "tiers": tiers }]);
        let caps = json!([{ "metric": "COMMISSION", "period": "LIFETIME", "amount": euros("810.00") }]);
        let rated = lines(json!({ "rules": rules, "currency": "EUR", "events": events, "caps": caps })).await;
        let told: Vec<_> = rated.iter().map(|line| line["adjustment"]["amount"].clone()).collect();
        assert_eq!(told, ["25.00", "10.00", "0.00"]);
        let first = json!("cap_00000000000000000000000001");
        assert_eq!(rated[1]["adjustmentClamp"], clamp(&first, "275.00", "260.00"));
        assert_eq!((&rated[0]["adjustmentClamp"], &rated[2]["overCap"]), (&Value::Null, &json!(false)));
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

    async fn clicks_earn_in_a_preview_what_they_earn(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        owner.done("setClickRate", json!({ "campaignId": programme.campaign, "terms": { "perMille": "2.5" } }), "").await;
        let cap = json!({ "metric": "CLICKS", "period": "DAY", "amount": { "count": 5_000 }, "campaignId": programme.campaign });
        owner.done("createCap", cap, "").await;
        let query = "query($input: CommissionPreviewInput!) { commissionPreview(input: $input) { \
            clicks { affiliate clicks overCap accrued amount { amount } } totals { affiliate total { amount } } } }";
        let preview = async |input: Value| owner.data(query, json!({ "input": input })).await["commissionPreview"].take();
        let lot = |affiliate: &str, day: u32, count: i64| {
            json!({ "affiliate": affiliate, "occurredAt": format!("2026-11-{day:02}T10:00:00Z"), "count": count })
        };
        let before = dump(app, &everything(app).await).await;
        let ada = &programme.affiliate;
        let clicks = json!([lot(ada, 4, 1), lot(ada, 3, 4_000), lot(ada, 3, 2_345)]);
        let answer = preview(json!({ "campaignId": programme.campaign, "clicks": clicks })).await;
        assert_eq!(dump(app, &everything(app).await).await, before, "no table has another row");
        assert_eq!(answer["clicks"], json!([{
            "affiliate": ada, "clicks": 5_001, "overCap": 1_345, "accrued": "12.5025", "amount": { "amount": "12.50" },
        }]));
        assert_eq!(answer["totals"], json!([{ "affiliate": ada, "total": { "amount": "12.50" } }]));
        // Rates that are tried: an own one goes before everybody's, the group's modifier is on top, a yen has no parts.
        let rates = json!([{ "terms": { "perClick": "1" } }, { "affiliate": "bob", "terms": { "perClick": "2.5" } }]);
        let tried = json!({
            "rules": [{ "name": "Standard", "terms": { "percent": "1" } }], "currency": "JPY", "clickRates": rates,
            "modifiers": [{ "affiliate": "bob", "percent": "10" }], "clicks": [lot("ada", 3, 3), lot("bob", 3, 3)],
        });
        let answer = preview(tried).await;
        let told = answer["clicks"].as_array().expect("two").iter();
        let told: Vec<_> = told.map(|line| (line["accrued"].clone(), line["amount"]["amount"].clone())).collect();
        assert_eq!(told, [(json!("3"), json!("3")), (json!("8.25"), json!("8"))]);
        let none = json!({ "campaignId": programme.campaign, "clickRates": [], "clicks": [lot(ada, 3, 10)] });
        assert_eq!(preview(none).await["totals"][0]["total"]["amount"], "0.00");
    }

    async fn bonuses_are_given_in_a_preview_to_who_brings_enough(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let euros = |amount: &str| json!({ "amount": amount, "currency": "EUR" });
        let rule = json!({
            "campaignId": programme.campaign, "name": "Three a day", "threshold": { "conversions": 3 }, "period": "DAY",
            "amount": euros("5.00"),
        });
        owner.done("createBonusRule", rule, "").await;
        let query = "query($input: CommissionPreviewInput!) { commissionPreview(input: $input) { bonuses { affiliate \
            name from until conversions saleAmount { amount } amount { amount } } totals { affiliate total { amount } } } }";
        let preview = async |input: Value| owner.data(query, json!({ "input": input })).await["commissionPreview"].take();
        let mut events: Vec<Value> = (0..4).map(|minute| event("ada", minute, "10.00", "EUR")).collect();
        events.extend((0..2).map(|minute| event("bob", minute, "100.00", "EUR")));
        let answer = preview(json!({ "campaignId": programme.campaign, "events": events })).await;
        assert_eq!(answer["bonuses"], json!([{
            "affiliate": "ada", "name": "Three a day", "from": "2026-11-03T00:00:00+00:00", "until": "2026-11-04T00:00:00+00:00",
            "conversions": 4, "saleAmount": null, "amount": { "amount": "5.00" },
        }]));
        assert_eq!(answer["totals"][0], json!({ "affiliate": "ada", "total": { "amount": "9.00" } }), "4 x 1.00 and 5.00");
        // A milestone is given once, when it is reached.
        let milestone = json!({
            "name": "First 150", "threshold": { "saleAmount": euros("150.00") }, "period": "LIFETIME", "amount": euros("7.00"),
        });
        let answer = preview(json!({ "campaignId": programme.campaign, "events": events, "bonuses": [milestone] })).await;
        let bonuses = answer["bonuses"].as_array().expect("a list");
        assert_eq!(bonuses.len(), 1, "{bonuses:?}");
        assert_eq!((&bonuses[0]["affiliate"], &bonuses[0]["saleAmount"]["amount"]), (&json!("bob"), &json!("200.00")));
        let none = preview(json!({ "campaignId": programme.campaign, "events": events, "bonuses": [] })).await;
        assert_eq!(none["bonuses"], json!([]));
    }

    async fn sales_in_other_currencies_are_reckoned_in_a_preview_by_the_rate_of_their_day(app) {
        let owner = app.owner();
        let rate = json!({ "base": "EUR", "quote": "USD", "rate": "1.25", "validOn": "2026-11-02" });
        owner.done("setFxRate", rate, "").await;
        let query = "query($input: CommissionPreviewInput!) { commissionPreview(input: $input) { lines { waitsForRate \
            fx { from to rate } total { amount currency } } } }";
        let rules = json!([{ "name": "Standard", "terms": { "percent": "10" } }]);
        let events = json!([event("ada", 0, "125.00", "USD"), event("ada", 1, "100.00", "GBP"), event("ada", 2, "1.00", "EUR")]);
        let input = json!({ "rules": rules, "currency": "EUR", "events": events });
        let lines = owner.data(query, json!({ "input": input })).await["commissionPreview"]["lines"].take();
        let total = |amount: &str| json!({ "amount": amount, "currency": "EUR" });
        assert_eq!(lines, json!([
            { "waitsForRate": false, "fx": { "from": "USD", "to": "EUR", "rate": "0.8" }, "total": total("10.00") },
            { "waitsForRate": true, "fx": null, "total": total("0.00") },
            { "waitsForRate": false, "fx": null, "total": total("0.10") },
        ]));
        // Another tenant's rates are not this one's.
        let lines = app.stranger().data(query, json!({ "input": input })).await["commissionPreview"]["lines"].take();
        assert_eq!(lines[0]["waitsForRate"], true);
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
        assert_eq!(code(json!({ "campaignId": programme.campaign, "events": [] })).await, "BATCH_SIZE");
        let with = |more: Value| {
            let mut input = json!({ "rules": [rule], "currency": "EUR", "events": one });
            merge(&mut input, more);
            input
        };
        let rate = json!({ "terms": { "perClick": "0.01" } });
        assert_eq!(code(with(json!({ "clickRates": [rate, rate] }))).await, "ALREADY_EXISTS");
        let clicks = json!({ "affiliate": "ada", "occurredAt": "2026-11-03T10:00:00Z", "count": 0 });
        assert_eq!(code(with(json!({ "clicks": [clicks] }))).await, "OUT_OF_RANGE");
        let bonus = json!({ "name": "x", "threshold": { "conversions": 0 }, "period": "DAY", "amount": { "amount": "1.00", "currency": "EUR" } });
        assert_eq!(code(with(json!({ "bonuses": [bonus] }))).await, "OUT_OF_RANGE");
        let many = json!(vec![bonus; 101]);
        assert_eq!(code(with(json!({ "bonuses": many }))).await, "BATCH_SIZE");
        let mut far = event("ada", 0, "1.00", "USD");
        for year in ["2200-01-01T00:00:00Z", "1969-12-31T23:59:59Z"] {
            far["occurredAt"] = json!(year);
            assert_eq!(code(with(json!({ "events": [far] }))).await, "OUT_OF_RANGE", "{year}");
        }
        let mut dollars = many[0].clone();
        dollars["amount"]["currency"] = json!("USD");
        assert_eq!(code(with(json!({ "bonuses": [dollars] }))).await, "CURRENCY_MISMATCH");
    }
}
