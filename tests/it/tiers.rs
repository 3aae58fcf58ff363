//! Tiers: the vectors of the domain's law over the API, rating anew, undoing, two nodes at once.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::support::{
    Client, Programme, Terms, TestApp, on_both,
    programme::{enroll, merge, new_affiliate, sale},
};

/// A programme whose rule has tiers.
async fn tiered(client: &Client, terms: &Terms, basis: &str, mode: &str, steps: Value) -> Programme {
    let programme = Programme::build(client, terms).await;
    let tiers = json!({ "basis": basis, "period": "MONTH", "mode": mode, "steps": steps });
    client.done("updateCommissionRule", json!({ "id": programme.rule, "tiers": tiers }), "").await;
    programme
}

/// 4 % from 0, 6 % from 200, 8 % from 400.
pub async fn of_sales(client: &Client, mode: &str) -> Programme {
    let step = |from: &str, percent: &str| json!({ "saleAmount": { "amount": from, "currency": "EUR" }, "terms": { "percent": percent } });
    let terms = Terms { rule: json!({ "percent": "4" }), ..Terms::default() };
    tiered(client, &terms, "SALE_AMOUNT", mode, json!([step("200.00", "6"), step("400.00", "8")])).await
}

/// 250; 275 from the 3rd, 300 from the 5th.
pub async fn of_conversions(client: &Client, terms: Terms) -> Programme {
    let flat = |amount: &str| json!({ "flat": { "amount": amount, "currency": "EUR" } });
    let step = |from: i64, amount: &str| json!({ "conversions": from, "terms": flat(amount) });
    let terms = Terms { rule: flat("250.00"), ..terms };
    tiered(client, &terms, "CONVERSIONS", "WHOLE", json!([step(3, "275.00"), step(5, "300.00")])).await
}

/// Records sales; the ids of their conversions.
pub async fn sell(client: &Client, programme: &Programme, amounts: &[&str]) -> Vec<String> {
    let click = programme.click(client).await;
    let mut ids = Vec::new();
    for amount in amounts {
        let input = sale(&click, &uuid::Uuid::new_v4().to_string(), amount);
        let payload = client.done("recordConversion", input, "conversion { id }").await;
        ids.push(payload["conversion"]["id"].as_str().expect("an id").to_owned());
    }
    ids
}

/// What a programme's commissions come to, in hundredths, oldest first; those that were rejected are left out.
async fn totals(client: &Client, programme: &Programme) -> Vec<i64> {
    let query = "query($aff: [ID!]) { commissions(first: 100, filter: { affiliateIds: $aff }) \
        { edges { node { status total { amount } } } } }";
    let data = client.data(query, json!({ "aff": [programme.affiliate] })).await;
    let nodes = data["commissions"]["edges"].as_array().expect("edges").iter().map(|edge| &edge["node"]);
    let counted = nodes.filter(|node| node["status"] != "REJECTED");
    let mut totals: Vec<i64> = counted
        .map(|node| node["total"]["amount"].as_str().expect("an amount").replace('.', "").parse().expect("digits"))
        .collect();
    totals.reverse();
    totals
}

async fn sum(client: &Client, programme: &Programme) -> i64 {
    totals(client, programme).await.iter().sum()
}

/// Rates anew what is to be; the app's own worker may be at it already.
pub async fn rerate(app: &TestApp) {
    app.run_jobs().await;
    app.until("SELECT COUNT(*) FROM outbox WHERE kind = 'RERATE_TIER'", 0).await;
}

on_both! {
    async fn tiers_of_sales_pay_as_the_law_says(app) {
        let owner = app.owner();
        for (mode, small, one) in [("MARGINAL", 2_800, 2_800), ("WHOLE", 4_000, 4_000), ("PROSPECTIVE", 2_800, 2_000)] {
            let programme = of_sales(&owner, mode).await;
            sell(&owner, &programme, &["50.00"; 10]).await;
            rerate(app).await;
            let earned = sum(&owner, &programme).await;
            assert_eq!(earned, small, "{mode} of small orders");
            let programme = of_sales(&owner, mode).await;
            sell(&owner, &programme, &["500.00"]).await;
            rerate(app).await;
            assert_eq!(sum(&owner, &programme).await, one, "{mode} of one order");
        }
    }

    async fn tiers_of_conversions_rate_all_of_the_period(app) {
        let owner = app.owner();
        let programme = of_conversions(&owner, Terms::default()).await;
        for (count, earned) in [(2, 50_000), (1, 82_500), (2, 150_000)] {
            sell(&owner, &programme, &vec!["0.00"; count]).await;
            rerate(app).await;
            assert_eq!(sum(&owner, &programme).await, earned);
            rerate(app).await;
            assert_eq!(sum(&owner, &programme).await, earned, "again makes no difference");
        }
    }

    async fn tier_is_explained_with_what_was_counted_before(app) {
        let owner = app.owner();
        let programme = of_sales(&owner, "MARGINAL").await;
        sell(&owner, &programme, &["150.00"]).await;
        let click = programme.click(&owner).await;
        let selection = "conversion { commissions { amount { amount } explanation { tier parts { percent saleAmount { amount } } \
            tierState { basis mode period before after step } } } }";
        let payload = owner.done("recordConversion", sale(&click, "next", "100.00"), selection).await;
        let commission = &payload["conversion"]["commissions"][0];
        assert_eq!(commission["amount"]["amount"], "5.00");
        assert_eq!(commission["explanation"]["tierState"], json!({
            "basis": "SALE_AMOUNT", "mode": "MARGINAL", "period": "MONTH", "before": "150.00", "after": "250.00", "step": "200.00",
        }));
        assert_eq!(commission["explanation"]["parts"], json!([
            { "percent": "4", "saleAmount": { "amount": "50.00" } }, { "percent": "6", "saleAmount": { "amount": "50.00" } },
        ]));
        assert!(commission["explanation"]["tier"].as_str().expect("words").starts_with("MARGINAL from 200.00 EUR"));
    }

    async fn rejecting_in_the_open_period_rates_down_and_reopening_up_again(app) {
        let owner = app.owner();
        let programme = of_conversions(&owner, Terms::manual()).await;
        let ids = sell(&owner, &programme, &["0.00"; 3]).await;
        rerate(app).await;
        assert_eq!(totals(&owner, &programme).await, [27_500; 3]);
        owner.done("approveConversions", json!({ "ids": [ids[0]] }), "").await;
        owner.done("rejectConversions", json!({ "ids": [ids[2]], "reason": "TEST" }), "").await;
        rerate(app).await;
        assert_eq!(totals(&owner, &programme).await, [25_000; 2], "what is approved is adjusted by a journal");
        owner.done("reopenConversions", json!({ "ids": [ids[2]] }), "").await;
        rerate(app).await;
        assert_eq!(totals(&owner, &programme).await, [27_500; 3]);
    }

    async fn rejecting_in_a_period_that_is_over_leaves_the_others(app) {
        let owner = app.owner();
        let programme = of_conversions(&owner, Terms::manual()).await;
        let ids = sell(&owner, &programme, &["0.00"; 3]).await;
        rerate(app).await;
        app.clock.advance(TimeDelta::days(40));
        owner.done("rejectConversions", json!({ "ids": [ids[2]], "reason": "TEST" }), "").await;
        rerate(app).await;
        assert_eq!(totals(&owner, &programme).await, [27_500; 2]);
        // The next month begins anew.
        sell(&owner, &programme, &["0.00"]).await;
        rerate(app).await;
        assert_eq!(totals(&owner, &programme).await, [27_500, 27_500, 25_000]);
    }

    async fn released_commissions_are_rated_anew_where_the_money_is(app) {
        let owner = app.owner();
        let programme = of_conversions(&owner, Terms { hold_seconds: 0, ..Terms::default() }).await;
        sell(&owner, &programme, &["0.00"; 2]).await;
        app.release_holds().await;
        sell(&owner, &programme, &["0.00"]).await;
        rerate(app).await;
        app.release_holds().await;
        let query = "query($id: ID!) { earnings(affiliateId: $id) { balances { available { amount } } } }";
        let data = owner.data(query, json!({ "id": programme.affiliate })).await;
        assert!(data.to_string().contains("825.00"), "{data}");
    }

    async fn new_version_touches_no_past_conversions(app) {
        let owner = app.owner();
        let programme = of_conversions(&owner, Terms::default()).await;
        sell(&owner, &programme, &["0.00"; 2]).await;
        let terms = json!({ "flat": { "amount": "100.00", "currency": "EUR" } });
        owner.done("updateCommissionRule", json!({ "id": programme.rule, "terms": terms }), "").await;
        sell(&owner, &programme, &["0.00"]).await;
        rerate(app).await;
        assert_eq!(totals(&owner, &programme).await, [25_000, 25_000, 27_500], "counted on, and the past stays");
    }

    async fn batch_counts_one_after_the_other_and_affiliates_apart(app) {
        let owner = app.owner();
        let programme = of_conversions(&owner, Terms::default()).await;
        let other = new_affiliate(&owner).await;
        let (_, link) = enroll(&owner, &programme.campaign, &other).await;
        let other = Programme { affiliate: other, link, ..programme.clone() };
        let clicks = [programme.click(&owner).await, other.click(&owner).await];
        let items: Vec<Value> = (0..10).map(|number| sale(&clicks[number % 2], &number.to_string(), "0.00")).collect();
        owner.done("recordConversions", json!({ "items": items }), "items { conversion { id } }").await;
        rerate(app).await;
        for programme in [&programme, &other] {
            assert_eq!(totals(&owner, programme).await, [30_000; 5]);
        }
    }

    async fn duplicate_and_refused_conversions_count_for_no_tier(app) {
        let owner = app.owner();
        let programme = of_conversions(&owner, Terms::default()).await;
        let click = programme.click(&owner).await;
        for number in 0..3 {
            let mut again = sale(&click, "same", "0.00");
            merge(&mut again, json!({ "idempotencyKey": format!("k{number}") }));
            owner.done("recordConversion", again, "").await;
        }
        rerate(app).await;
        assert_eq!(sum(&owner, &programme).await, 25_000);
    }

    async fn recurring_commissions_end_and_say_why(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms { window_seconds: 90 * 86_400, ..Terms::default() }).await;
        owner.done("updateCommissionRule", json!({ "id": programme.rule, "maxMonths": 1 }), "").await;
        let click = programme.click(&owner).await;
        let selection = "conversion { status commissions { amount { amount } explanation { summary recurrence { over customerKnown maxMonths } } } }";
        let mut earned = Vec::new();
        for (order, days) in [("1", 0), ("2", 27), ("3", 5)] {
            app.clock.advance(TimeDelta::days(days));
            let mut input = sale(&click, order, "100.00");
            merge(&mut input, json!({ "customerId": "c-1" }));
            let payload = owner.done("recordConversion", input, selection).await;
            earned.push(payload["conversion"]["commissions"][0].clone());
        }
        let amounts: Vec<&Value> = earned.iter().map(|commission| &commission["amount"]["amount"]).collect();
        assert_eq!(amounts, ["10.00", "10.00", "0.00"]);
        assert_eq!(earned[2]["explanation"]["recurrence"], json!({ "over": true, "customerKnown": true, "maxMonths": 1 }));
        let summary = earned[2]["explanation"]["summary"].as_str().expect("words");
        assert!(summary.contains("nothing = 0.00 EUR; 1 months have passed"), "{summary}");
        // Nobody is named: a new customer's.
        let payload = owner.done("recordConversion", sale(&click, "4", "100.00"), selection).await;
        assert_eq!(payload["conversion"]["commissions"][0]["amount"]["amount"], "10.00");
    }

    async fn first_commission_alone_is_one_of_a_batch_too(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::manual()).await;
        owner.done("updateCommissionRule", json!({ "id": programme.rule, "maxMonths": 0 }), "").await;
        let click = programme.click(&owner).await;
        let of_customer = |order: &str| {
            let mut input = sale(&click, order, "100.00");
            merge(&mut input, json!({ "customerId": "c-1" }));
            input
        };
        let items = json!({ "items": [of_customer("1"), of_customer("2")] });
        let payload = owner.done("recordConversions", items, "items { conversion { id } }").await;
        assert_eq!(totals(&owner, &programme).await, [1_000, 0]);
        // The first is taken back: the next is the first.
        let first = payload["items"][0]["conversion"]["id"].clone();
        owner.done("rejectConversions", json!({ "ids": [first], "reason": "TEST" }), "").await;
        owner.done("recordConversion", of_customer("3"), "").await;
        assert_eq!(totals(&owner, &programme).await, [0, 1_000]);
    }
}
