//! Tiers and what comes back: a tier undone by a reversal in the open period, refunds of a part before and after a step,
//! sales in another currency.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::{
    attribution::cents,
    fx_rates,
    refunds::{adjust, earnings, refund, undo},
    support::{Client, Programme, Terms, TestApp, on_both},
    tiers::{of_conversions, of_sales, rerate, sell},
};

/// Gross, reversed and what is left of each commission of an affiliate, in cents, oldest first.
async fn books(client: &Client, programme: &Programme) -> Vec<[i64; 3]> {
    let query = "query($aff: [ID!]) { commissions(first: 100, filter: { affiliateIds: $aff }) { edges { node { \
        amount { amount } adjustment { amount } reversed { amount } total { amount } } } } }";
    let data = client.data(query, json!({ "aff": [programme.affiliate] })).await;
    let nodes = data["commissions"]["edges"].as_array().expect("edges").iter().map(|edge| &edge["node"]);
    let of = |node: &Value| {
        [cents(&node["amount"]) + cents(&node["adjustment"]), cents(&node["reversed"]), cents(&node["total"])]
    };
    let mut books: Vec<[i64; 3]> = nodes.map(of).collect();
    books.reverse();
    books
}

/// What is left of all, which is what the affiliate has in the hold period.
async fn left(app: &TestApp, client: &Client, programme: &Programme) -> i64 {
    rerate(app).await;
    let left = books(client, programme).await.iter().map(|[_, _, total]| total).sum();
    assert_eq!(earnings(client, &programme.affiliate).await, [0, left, 0, 0]);
    left
}

on_both! {
    async fn tier_is_undone_by_a_reversal_in_the_open_period_and_reached_again_when_that_is_undone(app) {
        let owner = app.owner();
        let programme = of_conversions(&owner, Terms::default()).await;
        let ids = sell(&owner, &programme, &["100.00"; 3]).await;
        assert_eq!(left(app, &owner, &programme).await, 82_500);
        // A chargeback of the third: the two others never were three.
        let lost = refund(&owner, &ids[2], None, "CHARGEBACK").await;
        assert_eq!(left(app, &owner, &programme).await, 50_000);
        assert_eq!(books(&owner, &programme).await, [[25_000, 0, 25_000], [25_000, 0, 25_000], [27_500, 27_500, 0]]);
        // It is won.
        undo(&owner, &lost).await;
        assert_eq!(left(app, &owner, &programme).await, 82_500);
        assert_eq!(books(&owner, &programme).await, [[27_500, 0, 27_500]; 3]);
    }

    async fn conversion_that_is_given_again_is_rated_at_the_step_of_now(app) {
        let owner = app.owner();
        let programme = of_conversions(&owner, Terms::default()).await;
        let ids = sell(&owner, &programme, &["100.00"; 2]).await;
        let lost = refund(&owner, &ids[0], None, "REFUND").await;
        sell(&owner, &programme, &["100.00"; 3]).await;
        assert_eq!(left(app, &owner, &programme).await, 4 * 27_500);
        undo(&owner, &lost).await;
        assert_eq!(left(app, &owner, &programme).await, 5 * 30_000);
    }

    async fn reversal_in_a_period_that_is_over_leaves_the_others(app) {
        let owner = app.owner();
        let programme = of_conversions(&owner, Terms::manual()).await;
        let ids = sell(&owner, &programme, &["100.00"; 3]).await;
        owner.done("approveConversions", json!({ "ids": ids }), "").await;
        rerate(app).await;
        app.clock.advance(TimeDelta::days(40));
        app.release_holds().await;
        let lost = refund(&owner, &ids[2], None, "CHARGEBACK").await;
        rerate(app).await;
        assert_eq!(earnings(&owner, &programme.affiliate).await, [0, 0, 55_000, 0]);
        undo(&owner, &lost).await;
        rerate(app).await;
        assert_eq!(earnings(&owner, &programme.affiliate).await, [0, 0, 82_500, 0]);
    }

    async fn refunded_parts_leave_the_count_and_what_is_left_is_paid_by_the_step(app) {
        let owner = app.owner();
        let programme = of_sales(&owner, "WHOLE").await;
        let ids = sell(&owner, &programme, &["100.00"; 5]).await;
        assert_eq!(left(app, &owner, &programme).await, 4_000, "8 % of 500.00");
        let part = refund(&owner, &ids[0], Some("60.00"), "REFUND").await;
        assert_eq!(left(app, &owner, &programme).await, 3_520, "8 % of 440.00");
        let whole = refund(&owner, &ids[1], None, "REFUND").await;
        assert_eq!(left(app, &owner, &programme).await, 2_040, "6 % of 340.00");
        assert_eq!(books(&owner, &programme).await[0], [600, 360, 240], "what was taken follows the step");
        // Given again at a lower step than it was taken at: no more than there is, and up with the count.
        undo(&owner, &part).await;
        assert_eq!(left(app, &owner, &programme).await, 3_200, "8 % of 400.00");
        assert_eq!(books(&owner, &programme).await[0], [800, 0, 800]);
        undo(&owner, &whole).await;
        assert_eq!(left(app, &owner, &programme).await, 4_000, "as if nothing had been");
    }

    async fn part_refunded_at_a_lower_step_is_given_again_at_the_higher_one(app) {
        let owner = app.owner();
        let programme = of_sales(&owner, "WHOLE").await;
        let ids = sell(&owner, &programme, &["100.00"]).await;
        let part = refund(&owner, &ids[0], Some("60.00"), "REFUND").await;
        assert_eq!(left(app, &owner, &programme).await, 160, "4 % of 40.00");
        sell(&owner, &programme, &["400.00"]).await;
        assert_eq!(left(app, &owner, &programme).await, 3_520, "8 % of 440.00");
        // A second refund takes its part of what the step pays.
        refund(&owner, &ids[0], Some("20.00"), "REFUND").await;
        assert_eq!(left(app, &owner, &programme).await, 3_360, "8 % of 420.00");
        undo(&owner, &part).await;
        assert_eq!(left(app, &owner, &programme).await, 3_840, "8 % of 480.00");
        refund(&owner, &ids[0], None, "REFUND").await;
        assert_eq!(left(app, &owner, &programme).await, 3_200, "8 % of 400.00, and none of the other is left");
    }

    async fn adjusted_sale_counts_as_it_is_and_is_cut_where_the_count_stood(app) {
        let owner = app.owner();
        let programme = of_sales(&owner, "WHOLE").await;
        let ids = sell(&owner, &programme, &["100.00"; 2]).await;
        assert_eq!(left(app, &owner, &programme).await, 1_200, "6 % of 200.00");
        adjust(&owner, &ids[0], "50.00").await;
        assert_eq!(left(app, &owner, &programme).await, 600, "4 % of 150.00");
        adjust(&owner, &ids[0], "300.00").await;
        assert_eq!(left(app, &owner, &programme).await, 3_200, "8 % of 400.00");
        let programme = of_sales(&owner, "MARGINAL").await;
        let ids = sell(&owner, &programme, &["150.00", "100.00"]).await;
        assert_eq!(left(app, &owner, &programme).await, 1_100, "4 % of 200.00, 6 % of 50.00");
        adjust(&owner, &ids[1], "300.00").await;
        assert_eq!(left(app, &owner, &programme).await, 2_400, "4 % of 200.00, 6 % of 200.00, 8 % of 50.00");
    }

    async fn sales_in_another_currency_count_by_their_rate_once_there_is_one(app) {
        let owner = app.owner();
        let programme = of_sales(&owner, "WHOLE").await;
        let click = programme.click(&owner).await;
        let input = json!({ "clickId": click, "goal": "sale", "orderId": "usd",
            "saleAmount": { "amount": "400.00", "currency": "USD" } });
        let payload = owner.done("recordConversion", input, "conversion { status reason }").await;
        assert_eq!(payload["conversion"], json!({ "status": "HELD", "reason": "FX_RATE_MISSING" }));
        sell(&owner, &programme, &["100.00"]).await;
        assert_eq!(left(app, &owner, &programme).await, 400, "nothing is counted yet");
        fx_rates::set(app, &owner, "2", 0).await;
        app.run_jobs().await;
        assert_eq!(left(app, &owner, &programme).await, 1_800, "6 % of 300.00");
    }
}
