//! Stories of those who earn on top: what is taken back of a sale, given again or rated anew reaches every level above, by
//! the same fraction, from the account that it was spent from. After each step every line and the trial balance are read.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde_json::{Value, json};
use tributary::{
    domain::{ledger_chain::SealKey, tenancy::TenantScope},
    services::audit::{self, Terms as Audit},
};

use crate::{
    attribution::{Race, cents},
    overrides::{applied, balance, chain, fifth, of_commission, of_sale, put_under, set_plan},
    payouts::{draft, payouts, submit},
    refunds::{adjust, earnings, refund, sold, undo},
    support::{Client, Programme, Terms, TestApp, app::SECRET, on_both},
    tiers::{of_sales, rerate, sell},
};

/// Gross, reversed and what is left of each commission, in cents, by level and then as they were earned.
async fn lines(client: &Client) -> Vec<(i64, [i64; 3])> {
    let query = "{ commissions(first: 100) { edges { node { level amount { amount } adjustment { amount } \
        reversed { amount } total { amount } } } } }";
    let data = client.data(query, json!({})).await;
    let of = |edge: &Value| {
        let node = &edge["node"];
        let gross = cents(&node["amount"]) + cents(&node["adjustment"]);
        let level = node["level"].as_i64().expect("a level");
        (level, [gross, cents(&node["reversed"]), cents(&node["total"])])
    };
    let mut lines: Vec<_> = data["commissions"]["edges"].as_array().expect("edges").iter().map(of).collect();
    lines.reverse();
    lines.sort_by_key(|(level, _)| *level);
    lines
}

/// What is left on each level, the affiliate's own first, in cents.
pub async fn left(client: &Client) -> Vec<i64> {
    let mut left: BTreeMap<i64, i64> = BTreeMap::new();
    for (level, [_, _, total]) in lines(client).await {
        *left.entry(level).or_default() += total;
    }
    left.into_values().collect()
}

/// What the tenant spent on commissions, on overrides and on adjustments, in cents.
pub async fn spent(client: &Client) -> [i64; 3] {
    [balance(client, 5000).await, balance(client, 5020).await, balance(client, 5030).await]
}

/// A programme that pays 20 %, and on top 10, 5 and 2.5 % of that.
pub async fn three_levels(client: &Client, approval: &'static str) -> (Programme, Vec<String>) {
    let programme = fifth(client, approval).await;
    let above = chain(client, &programme.affiliate, 3).await;
    set_plan(client, Some(&programme.campaign), of_commission(&["10", "5", "2.5"])).await;
    (programme, above)
}

async fn all(client: &Client, affiliate: &str, above: &[String]) -> Vec<[i64; 4]> {
    let mut all = vec![earnings(client, affiliate).await];
    for id in above {
        all.push(earnings(client, id).await);
    }
    all
}

async fn release(app: &TestApp) {
    app.clock.advance(TimeDelta::days(2));
    app.release_holds().await;
}

/// The names of what `verify` finds.
pub(crate) async fn found(app: &TestApp) -> Vec<&'static str> {
    let scope = TenantScope::tenant(app.home);
    // Blocks may be sealed by now, with the key of all tests.
    let terms = Audit { trusted: vec![SealKey::new(SECRET).public()], ..Audit::default() };
    let report = audit::verify(&app.services.db, &scope, &terms).await.expect("is audited");
    report.differences.iter().map(|difference| difference.check).collect()
}

on_both! {
    async fn refund_goes_through_three_levels_and_comes_back(app) {
        let owner = app.owner();
        let (programme, above) = three_levels(&owner, "AUTO").await;
        let conversion = sold(&owner, &programme, "100.00").await;
        assert_eq!(left(&owner).await, [2_000, 200, 100, 50]);
        assert_eq!(spent(&owner).await, [2_000, 350, 0]);
        // In the hold period. A quarter of 0.50 is 12.5 cents: half to even.
        let first = refund(&owner, &conversion, Some("25.00"), "REFUND").await;
        assert_eq!(left(&owner).await, [1_500, 150, 75, 38]);
        assert_eq!(spent(&owner).await, [1_500, 263, 0]);
        assert_eq!(all(&owner, &programme.affiliate, &above).await.concat(), [
            0, 1_500, 0, 0, 0, 150, 0, 0, 0, 75, 0, 0, 0, 38, 0, 0,
        ]);
        // After it.
        release(app).await;
        let second = refund(&owner, &conversion, Some("25.00"), "RETURNED_GOODS").await;
        assert_eq!(left(&owner).await, [1_000, 100, 50, 25]);
        assert_eq!(spent(&owner).await, [1_000, 175, 0]);
        assert_eq!(all(&owner, &programme.affiliate, &above).await.concat(), [
            0, 0, 1_000, 0, 0, 0, 100, 0, 0, 0, 50, 0, 0, 0, 25, 0,
        ]);
        undo(&owner, &second).await;
        assert_eq!(left(&owner).await, [1_500, 150, 75, 38]);
        // Whole, and won.
        let lost = refund(&owner, &conversion, None, "CHARGEBACK").await;
        assert_eq!(lost["conversion"]["status"], "REVERSED");
        assert_eq!(left(&owner).await, [0, 0, 0, 0]);
        assert_eq!(spent(&owner).await, [0, 0, 0]);
        assert_eq!(all(&owner, &programme.affiliate, &above).await, [[0; 4]; 4]);
        undo(&owner, &lost).await;
        assert_eq!(left(&owner).await, [1_500, 150, 75, 38]);
        undo(&owner, &first).await;
        assert_eq!(left(&owner).await, [2_000, 200, 100, 50]);
        assert_eq!(spent(&owner).await, [2_000, 350, 0]);
        assert_eq!(earnings(&owner, &above[2]).await, [0, 0, 50, 0]);
    }

    async fn chargeback_after_payout_is_owed_on_every_level_and_won_again(app) {
        let owner = app.owner();
        let (programme, above) = three_levels(&owner, "AUTO").await;
        let conversion = sold(&owner, &programme, "100.00").await;
        release(app).await;
        let batch = draft(&owner).await;
        submit(&owner, &batch).await;
        assert_eq!(payouts(&batch).len(), 4);
        for payout in payouts(&batch) {
            owner.done("markPayoutPaid", json!({ "id": payout, "reference": payout }), "").await;
        }
        // A plan of now, and a parent that earns nothing any more, change nothing of what was earned.
        set_plan(&owner, Some(&programme.campaign), of_commission(&["50"])).await;
        owner.done("suspendAffiliate", json!({ "id": above[1] }), "").await;
        let lost = refund(&owner, &conversion, None, "CHARGEBACK").await;
        assert_eq!(all(&owner, &programme.affiliate, &above).await, [
            [0, 0, 0, 2_000], [0, 0, 0, 200], [0, 0, 0, 100], [0, 0, 0, 50],
        ]);
        assert_eq!(spent(&owner).await, [0, 0, 0]);
        undo(&owner, &lost).await;
        assert_eq!(all(&owner, &programme.affiliate, &above).await, [[0; 4]; 4]);
        assert_eq!(spent(&owner).await, [2_000, 350, 0]);
    }

    async fn refund_before_approval_is_approved_with_what_is_left(app) {
        let owner = app.owner();
        let (programme, above) = three_levels(&owner, "MANUAL").await;
        let conversion = sold(&owner, &programme, "100.00").await;
        let part = refund(&owner, &conversion, Some("50.00"), "REFUND").await;
        assert_eq!(all(&owner, &programme.affiliate, &above).await, [
            [1_000, 0, 0, 0], [100, 0, 0, 0], [50, 0, 0, 0], [25, 0, 0, 0],
        ]);
        assert_eq!(spent(&owner).await, [0, 0, 0]);
        // Rejected and taken up again, the refund takes its part of what is reckoned anew.
        owner.done("rejectConversions", json!({ "ids": [conversion], "reason": "FRAUD" }), "").await;
        owner.done("reopenConversions", json!({ "ids": [conversion] }), "items { userErrors { code } }").await;
        assert_eq!(left(&owner).await, [1_000, 100, 50, 25]);
        owner.done("approveConversions", json!({ "ids": [conversion] }), "").await;
        assert_eq!(spent(&owner).await, [1_000, 175, 0]);
        undo(&owner, &part).await;
        assert_eq!(spent(&owner).await, [2_000, 350, 0]);
        assert_eq!(all(&owner, &programme.affiliate, &above).await, [
            [0, 2_000, 0, 0], [0, 200, 0, 0], [0, 100, 0, 0], [0, 50, 0, 0],
        ]);
    }

    async fn fixed_part_below_is_kept_above_by_the_same_fraction(app) {
        let owner = app.owner();
        let rule = json!({ "flatPlusPercent": { "flat": { "amount": "5.00", "currency": "EUR" }, "percent": "15" } });
        let programme = Programme::build(&owner, &Terms { rule, ..Terms::default() }).await;
        chain(&owner, &programme.affiliate, 3).await;
        let flat = json!({ "flat": { "amount": "1.60", "currency": "EUR" } });
        let levels = [of_commission(&["10"])[0].take(), of_sale(&["5"])[0].take(), flat];
        set_plan(&owner, Some(&programme.campaign), json!(levels)).await;
        let conversion = sold(&owner, &programme, "100.00").await;
        assert_eq!(left(&owner).await, [2_000, 200, 500, 160]);
        // Half of the 15.00 that a part of the sale takes: three eighths of all.
        let part = refund(&owner, &conversion, Some("50.00"), "REFUND").await;
        assert_eq!(lines(&owner).await, [
            (0, [2_000, 750, 1_250]), (1, [200, 75, 125]), (2, [500, 188, 312]), (3, [160, 60, 100]),
        ]);
        undo(&owner, &part).await;
        assert_eq!(left(&owner).await, [2_000, 200, 500, 160]);
        // Of another sale amount: 5.00 and 15 % of 60.00, and what is on top of that; the flat amount stays.
        adjust(&owner, &conversion, "60.00").await;
        assert_eq!(left(&owner).await, [1_400, 140, 300, 160]);
        assert_eq!(spent(&owner).await, [2_000, 860, -860]);
        refund(&owner, &conversion, None, "REFUND").await;
        assert_eq!(left(&owner).await, [0, 0, 0, 0]);
    }

    async fn tier_undone_by_a_reversal_in_the_open_period_takes_the_overrides_with_it(app) {
        let owner = app.owner();
        let programme = of_sales(&owner, "WHOLE").await;
        let above = chain(&owner, &programme.affiliate, 2).await;
        let levels = [of_commission(&["10"])[0].take(), of_sale(&["1"])[0].take()];
        set_plan(&owner, Some(&programme.campaign), json!(levels)).await;
        let ids = sell(&owner, &programme, &["100.00"; 5]).await;
        rerate(app).await;
        assert_eq!(left(&owner).await, [4_000, 400, 500], "8 % of 500.00, a tenth of that, 1 % of 500.00");
        assert_eq!(earnings(&owner, &above[0]).await, [0, 400, 0, 0]);
        let part = refund(&owner, &ids[0], Some("60.00"), "REFUND").await;
        rerate(app).await;
        assert_eq!(left(&owner).await, [3_520, 352, 440]);
        let whole = refund(&owner, &ids[1], None, "REFUND").await;
        rerate(app).await;
        assert_eq!(left(&owner).await, [2_040, 204, 340], "6 % of 340.00, a tenth of that, 1 % of 340.00");
        let first = |level: i64| async move {
            lines(&app.owner()).await.into_iter().find(|(of, _)| *of == level).map(|(_, books)| books)
        };
        assert_eq!(first(1).await, Some([60, 36, 24]), "what was taken follows the step");
        assert_eq!(first(2).await, Some([100, 60, 40]), "a tier does not change a share of the sale");
        undo(&owner, &part).await;
        rerate(app).await;
        undo(&owner, &whole).await;
        rerate(app).await;
        assert_eq!(left(&owner).await, [4_000, 400, 500], "as if nothing had been");
        release(app).await;
        assert_eq!(earnings(&owner, &above[0]).await, [0, 0, 400, 0]);
        assert_eq!(spent(&owner).await.iter().sum::<i64>(), 4_900);
    }

    async fn one_who_earns_itself_and_on_what_another_does_is_credited_anew_on_both(app) {
        let owner = app.owner();
        let race = Race::begin(&owner, &Terms { rule: json!({ "percent": "20" }), ..Terms::default() }).await;
        let campaign = &race.programme.campaign;
        let linear = json!({ "id": campaign, "attributionModel": "LINEAR", "attributionSources": ["HISTORY"] });
        owner.done("updateCampaign", linear, "").await;
        let [first, second, third] = &race.affiliates;
        put_under(&owner, first, second).await;
        put_under(&owner, third, second).await;
        set_plan(&owner, Some(campaign), of_commission(&["10"])).await;
        let conversion = race.journey(app, &owner, &[0, 1, 2], "90.00").await;
        assert_eq!(lines(&owner).await.iter().map(|(_, [gross, ..])| *gross).collect::<Vec<_>>(), [600, 600, 600, 60, 60]);
        assert_eq!(earnings(&owner, second).await, [0, 720, 0, 0]);
        // To the third alone: what it earned itself and on the first goes, and on the third it grows.
        assert_eq!(applied(app, &owner, race.trial(app, "LAST_CLICK")).await, 1);
        assert_eq!(earnings(&owner, first).await, [0, 0, 0, 0]);
        assert_eq!(earnings(&owner, third).await, [0, 1_800, 0, 0]);
        assert_eq!(earnings(&owner, second).await, [0, 180, 0, 0]);
        let moved = "SELECT COUNT(*) FROM attribution_adjustment WHERE affiliate_id <> base_affiliate_id";
        assert_eq!(app.auditor.number(moved).await, 2);
        // What is taken back then is taken of the lines that are left.
        refund(&owner, &conversion, Some("45.00"), "REFUND").await;
        assert_eq!(earnings(&owner, third).await, [0, 900, 0, 0]);
        assert_eq!(earnings(&owner, second).await, [0, 90, 0, 0]);
    }

    async fn run_makes_the_commission_of_nothing_that_overrides_are_on(app) {
        let owner = app.owner();
        let race = Race::begin(&owner, &Terms { rule: json!({ "percent": "1" }), ..Terms::default() }).await;
        let campaign = &race.programme.campaign;
        let first = json!({ "id": campaign, "attributionModel": "FIRST_CLICK", "attributionSources": ["HISTORY"] });
        owner.done("updateCampaign", first, "").await;
        for below in &race.affiliates[1..] {
            chain(&owner, below, 1).await;
        }
        set_plan(&owner, Some(campaign), of_sale(&["3"])).await;
        race.journey(app, &owner, &[0, 1, 2], "1.00").await;
        assert_eq!(left(&owner).await, [1]);
        // One minor unit is for one of them; on what the others do not earn, 3 % of a third of the sale are earned above.
        assert_eq!(applied(app, &owner, race.trial(app, "LINEAR")).await, 1);
        let gross: Vec<_> = lines(&owner).await.into_iter().map(|(level, [gross, ..])| (level, gross)).collect();
        assert_eq!(gross.iter().filter(|line| **line == (0, 0)).count(), 2);
        assert_eq!(left(&owner).await, [1, 2]);
        assert_eq!(found(app).await, [""; 0]);
        assert_eq!(applied(app, &owner, race.trial(app, "LINEAR")).await, 0);
    }

    async fn verify_finds_overrides_that_were_spent_as_something_else(app) {
        let owner = app.owner();
        let (programme, _) = three_levels(&owner, "AUTO").await;
        let conversion = sold(&owner, &programme, "100.00").await;
        refund(&owner, &conversion, Some("25.00"), "REFUND").await;
        let wrong = found(app).await;
        assert!(wrong.is_empty(), "{wrong:?}");
        let change = |sql: &'static str| async move { app.auditor.run(sql).await.expect("is changed") };
        // As if it were the affiliate's own.
        change("UPDATE commission SET level = 0 WHERE level = 1").await;
        let wrong = found(app).await;
        for name in ["APPROVED_OWN", "APPROVED_OVERRIDES", "REVERSALS", "REVERSED_OVERRIDES"] {
            assert!(wrong.contains(&name), "{name} is not among {wrong:?}");
        }
        change("UPDATE commission SET level = 1 WHERE base_affiliate_id IS NOT NULL AND level = 0").await;
        // As if it stood elsewhere than the one below.
        change("UPDATE commission SET status = 'AVAILABLE' WHERE level = 2").await;
        assert!(found(app).await.contains(&"OVERRIDE"));
        change("UPDATE commission SET status = 'PENDING' WHERE level = 2").await;
    }
}
