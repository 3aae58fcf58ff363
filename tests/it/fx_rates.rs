//! Exchange rates: set, imported, fetched; sales in other currencies reckoned by them, or waiting for them.

use chrono::{DurationRound, TimeDelta};
use serde_json::{Value, json};
use tributary::ambient::Clock;

use crate::support::{Client, Programme, Terms, TestApp, on_both, programme};

/// A campaign in euro.
async fn built(client: &Client) -> Programme {
    Programme::build(client, &Terms { hold_seconds: 0, ..Terms::default() }).await
}

/// A sale in dollars; the conversion.
async fn sale(client: &Client, programme: &Programme, order: &str, amount: &str) -> Value {
    let click = programme.click(client).await;
    let mut input = programme::sale(&click, order, amount);
    programme::merge(&mut input, json!({ "saleAmount": { "amount": amount, "currency": "USD" } }));
    let selection = format!("conversion {{ {FIELDS} }}");
    client.mutate("recordConversion", input, &selection).await["conversion"].clone()
}

const FIELDS: &str = "id status reason saleAmount { amount currency } ratedSaleAmount { amount currency } \
    fx { from to rate source validOn } commissionTotal { amount currency } \
    commissions { amount { amount } explanation { fx saleAmount { amount } } }";

async fn conversion(client: &Client, id: &Value) -> Value {
    let query = format!("query($id: ID!) {{ conversion(by: {{ id: $id }}) {{ {FIELDS} }} }}");
    client.data(&query, json!({ "id": id })).await["conversion"].clone()
}

/// One euro in dollars, on a day before today.
pub async fn set(app: &TestApp, client: &Client, rate: &str, days_ago: i64) -> Value {
    let day = (app.clock.now() - TimeDelta::days(days_ago)).date_naive();
    let input = json!({ "base": "EUR", "quote": "USD", "rate": rate, "validOn": day });
    client.done("setFxRate", input, "fxRate { id rate }").await["fxRate"].clone()
}

on_both! {
    async fn sale_in_another_currency_is_reckoned_by_the_rate_of_its_day(app) {
        let owner = app.owner();
        let programme = built(&owner).await;
        set(app, &owner, "1.25", 2).await;
        let sold = sale(&owner, &programme, "1", "49.00").await;
        let day = (app.clock.now() - TimeDelta::days(2)).date_naive().to_string();
        // 49.00 USD are 39.20 EUR; 10 % of that.
        assert_eq!(sold["status"], "APPROVED", "{sold}");
        assert_eq!(sold["saleAmount"], json!({ "amount": "49.00", "currency": "USD" }));
        assert_eq!(sold["ratedSaleAmount"], json!({ "amount": "39.20", "currency": "EUR" }));
        assert_eq!(
            sold["fx"],
            json!({ "from": "USD", "to": "EUR", "rate": "0.8", "source": "MANUAL", "validOn": day })
        );
        assert_eq!(sold["commissionTotal"], json!({ "amount": "3.92", "currency": "EUR" }));
        let explanation = &sold["commissions"][0]["explanation"];
        assert_eq!(explanation["fx"], format!("1 USD = 0.8 EUR (MANUAL, {day})"));
        assert_eq!(explanation["saleAmount"]["amount"], "39.20");
        // Another rate changes nothing that was reckoned.
        set(app, &owner, "2", 0).await;
        assert_eq!(conversion(&owner, &sold["id"]).await, sold);
        assert_eq!(sale(&owner, &programme, "2", "49.00").await["commissionTotal"]["amount"], "2.45");
        // In the campaign's own currency there is nothing to reckon by.
        let click = programme.click(&owner).await;
        let own = owner
            .done("recordConversion", programme::sale(&click, "3", "49.00"), "conversion { fx { rate } ratedSaleAmount { amount } }")
            .await;
        assert_eq!(own["conversion"], json!({ "fx": null, "ratedSaleAmount": { "amount": "49.00" } }));
    }

    async fn sale_without_a_rate_waits_and_is_decided_when_one_comes(app) {
        let owner = app.owner();
        let programme = built(&owner).await;
        let cap = json!({
            "campaignId": programme.campaign, "metric": "CONVERSIONS", "period": "LIFETIME", "amount": { "count": 2 },
        });
        owner.done("createCap", cap, "").await;
        // Too old to be good.
        set(app, &owner, "3", 9).await;
        let held = sale(&owner, &programme, "1", "49.00").await;
        assert_eq!((&held["status"], &held["reason"]), (&json!("HELD"), &json!("FX_RATE_MISSING")), "{held}");
        assert_eq!((&held["ratedSaleAmount"], &held["commissions"]), (&Value::Null, &json!([])));
        app.run_jobs().await;
        assert_eq!(conversion(&owner, &held["id"]).await["status"], "HELD");
        set(app, &owner, "1.25", 0).await;
        app.run_jobs().await;
        let rated = conversion(&owner, &held["id"]).await;
        assert_eq!((&rated["status"], &rated["reason"]), (&json!("APPROVED"), &Value::Null), "{rated}");
        assert_eq!(rated["commissionTotal"]["amount"], "3.92");
        // It was counted once, also where caps count.
        let hour = app.clock.now().duration_trunc(TimeDelta::hours(1)).expect("in range");
        let report = json!({ "from": hour - TimeDelta::days(1), "until": hour + TimeDelta::days(1), "groupBy": [] });
        let query = "query($input: ReportInput!) { report(input: $input) { conversions currency } }";
        let rows = owner.data(query, json!({ "input": report })).await["report"].clone();
        let dollars = rows.as_array().expect("rows").iter().find(|row| row["currency"] == "USD");
        assert_eq!(dollars.expect("a row in dollars")["conversions"], 1, "{rows}");
        assert_eq!(sale(&owner, &programme, "2", "1.00").await["status"], "APPROVED");
        assert_eq!(sale(&owner, &programme, "3", "1.00").await["reason"], "OVER_CAP");
        let history = "query($id: ID!) { conversion(by: { id: $id }) { history { toStatus actor } } }";
        let steps = owner.data(history, json!({ "id": held["id"] })).await;
        let steps = &steps["conversion"]["history"];
        assert_eq!(steps.as_array().map(Vec::len), Some(2), "{steps}");
    }

    async fn reopened_sale_that_waited_for_a_rate_waits_for_its_person_again(app) {
        let owner = app.owner();
        let programme = built(&owner).await;
        owner.done("suspendAffiliate", json!({ "id": programme.affiliate }), "").await;
        let refused = sale(&owner, &programme, "1", "49.00").await;
        assert_eq!((&refused["status"], &refused["reason"]), (&json!("REJECTED"), &json!("INVALID_CLICK")));
        let ids = json!({ "ids": [refused["id"]] });
        owner.done("reopenConversions", ids, "").await;
        assert_eq!(conversion(&owner, &refused["id"]).await["reason"], "FX_RATE_MISSING");
        set(app, &owner, "1.25", 0).await;
        app.run_jobs().await;
        let rated = conversion(&owner, &refused["id"]).await;
        assert_eq!((&rated["status"], &rated["commissionTotal"]["amount"]), (&json!("PENDING"), &json!("3.92")));
    }

    async fn file_is_imported_whole_once_and_by_its_own_tenant(app) {
        let owner = app.owner();
        let day = app.clock.now().date_naive();
        let content = format!(
            "<Envelope><Cube><Cube time=\"{day}\"><Cube currency=\"USD\" rate=\"1.25\"/>\
             <Cube currency=\"JPY\" rate=\"160\"/></Cube></Cube></Envelope>"
        );
        let file = json!({ "format": "ECB_XML", "content": content, "idempotencyKey": "monday" });
        let selection = "replayed fxImport { read added firstDay lastDay }";
        let imported = owner.done("importFxRates", file.clone(), selection).await;
        let day = day.to_string();
        assert_eq!(imported["fxImport"], json!({ "read": 2, "added": 2, "firstDay": day, "lastDay": day }));
        assert_eq!(owner.done("importFxRates", file.clone(), selection).await["replayed"], true);
        let again = json!({ "format": "ECB_XML", "content": content });
        assert_eq!(owner.done("importFxRates", again, selection).await["fxImport"]["added"], 0);
        let mut other = file;
        programme::merge(&mut other, json!({ "content": "date,base,quote,rate\n", "format": "CSV" }));
        assert_eq!(owner.refusal("importFxRates", other).await, "BATCH_SIZE");
        let broken = json!({ "format": "CSV", "content": format!("date,base,quote,rate\n{day},USD,KES,1\n{day},USD,KES,x\n") });
        assert_eq!(owner.refusal("importFxRates", broken).await, "INVALID_TEXT");
        let quote = "{ fxQuote(from: \"USD\", to: \"JPY\") { rate source validOn } fxRates(first: 5) { totalCount } }";
        let known = json!({
            "fxQuote": { "rate": "128", "source": "ECB", "validOn": day }, "fxRates": { "totalCount": 2 },
        });
        assert_eq!(owner.data(quote, json!({})).await, known);
        let away = app.stranger().data(quote, json!({})).await;
        assert_eq!(away, json!({ "fxQuote": null, "fxRates": { "totalCount": 0 } }));
    }

    async fn rate_that_cannot_be_is_refused_and_a_correction_counts(app) {
        let owner = app.owner();
        let day = app.clock.now().date_naive();
        let input = |more: Value| {
            let mut input = json!({ "base": "EUR", "quote": "USD", "rate": "1.25", "validOn": day });
            programme::merge(&mut input, more);
            input
        };
        for (more, expected) in [
            (json!({ "rate": "0" }), "INVALID_RATE"),
            (json!({ "rate": "1,25" }), "INVALID_RATE"),
            (json!({ "quote": "EUR" }), "OUT_OF_RANGE"),
            (json!({ "quote": "XYZ" }), "UNKNOWN_CURRENCY"),
            (json!({ "validOn": day + TimeDelta::days(2) }), "TIME_IN_FUTURE"),
        ] {
            assert_eq!(owner.refusal("setFxRate", input(more.clone())).await, expected, "{more}");
        }
        let first = owner.done("setFxRate", input(json!({ "idempotencyKey": "a" })), "replayed fxRate { id }").await;
        let same = owner.done("setFxRate", input(json!({ "idempotencyKey": "a" })), "replayed fxRate { id }").await;
        assert_eq!((&same["fxRate"], &same["replayed"]), (&first["fxRate"], &json!(true)));
        owner.done("setFxRate", input(json!({ "rate": "2" })), "").await;
        let quote = owner.data("{ fxQuote(from: \"EUR\", to: \"USD\") { rate } fxRates(first: 5) { nodes { rate } } }", json!({})).await;
        assert_eq!(quote["fxQuote"]["rate"], "2");
        assert_eq!(quote["fxRates"]["nodes"], json!([{ "rate": "2" }, { "rate": "1.25" }]), "nothing is edited");
    }

    async fn balance_is_converted_once_within_what_there_is(app) {
        let owner = app.owner();
        let programme = built(&owner).await;
        let click = programme.click(&owner).await;
        owner.done("recordConversion", programme::sale(&click, "1", "100.00"), "").await;
        app.run_jobs().await;
        app.clock.advance(TimeDelta::seconds(2));
        app.run_jobs().await;
        let input = |amount: &str, key: &str| json!({
            "idempotencyKey": key, "affiliateId": programme.affiliate, "from": { "amount": amount, "currency": "EUR" }, "to": "JPY",
        });
        assert_eq!(owner.refusal("convertBalance", input("4.00", "a")).await, "FX_RATE_MISSING");
        let day = app.clock.now().date_naive();
        owner.done("setFxRate", json!({ "base": "EUR", "quote": "JPY", "rate": "163.9", "validOn": day }), "").await;
        assert_eq!(owner.refusal("convertBalance", input("10.01", "a")).await, "OUT_OF_RANGE");
        assert_eq!(owner.refusal("convertBalance", input("0.00", "a")).await, "OUT_OF_RANGE");
        let selection = "replayed fxConversion { id from { amount } to { amount currency } fx { rate } }";
        let done = owner.done("convertBalance", input("4.00", "a"), selection).await;
        // 655.6 yen: what is bought is rounded down.
        assert_eq!(done["fxConversion"]["to"], json!({ "amount": "655", "currency": "JPY" }));
        assert_eq!(owner.done("convertBalance", input("4.00", "a"), selection).await["replayed"], true);
        let ada = app.affiliate(&programme.affiliate);
        let query = "query($id: ID!) { earnings(affiliateId: $id) { balances { available { amount currency } } } \
            fxConversions(first: 5) { nodes { id } } }";
        let seen = ada.data(query, json!({ "id": programme.affiliate })).await;
        let available: Vec<&Value> =
            seen["earnings"]["balances"].as_array().expect("balances").iter().map(|one| &one["available"]).collect();
        assert_eq!(
            available,
            [&json!({ "amount": "6.00", "currency": "EUR" }), &json!({ "amount": "655", "currency": "JPY" })]
        );
        assert_eq!(seen["fxConversions"]["nodes"], json!([{ "id": done["fxConversion"]["id"] }]));
        let balance = owner.data("{ trialBalance { balanced } }", json!({})).await;
        assert_eq!(balance["trialBalance"]["balanced"], true);
        assert_eq!(owner.refusal("convertBalance", input("6.01", "b")).await, "OUT_OF_RANGE");
    }
}
