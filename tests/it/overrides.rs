//! Overrides: what those above an affiliate earn, through the whole life of a conversion, and what they see of it.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::{
    attribution::{Race, cents},
    support::{
        Client, Programme, Terms, TestApp, on_both,
        programme::{id, merge, new_affiliate, sale},
    },
};

const COMMISSIONS: &str = "commissions(first: 100) { edges { node { level status amount { amount } adjustment { amount } \
    baseAffiliate { id } conversion { id } explanation { summary source override { planVersion level basis } } } } }";

pub fn of_commission(percents: &[&str]) -> Value {
    percents.iter().map(|percent| json!({ "percentOfCommission": percent })).collect()
}

pub fn of_sale(percents: &[&str]) -> Value {
    percents.iter().map(|percent| json!({ "percentOfSale": percent })).collect()
}

pub async fn set_plan(client: &Client, campaign: Option<&str>, levels: Value) -> String {
    let input = json!({ "campaignId": campaign, "levels": levels });
    id(&client.done("setOverridePlan", input, "overridePlan { id }").await, "overridePlan")
}

pub async fn put_under(client: &Client, affiliate: &str, parent: &str) {
    client.done("setAffiliateParent", json!({ "id": affiliate, "parentId": parent }), "").await;
}

/// As many affiliates above one another and above `affiliate`, the nearest first.
pub async fn chain(client: &Client, affiliate: &str, length: usize) -> Vec<String> {
    let mut below = affiliate.to_owned();
    let mut chain = Vec::new();
    for _ in 0..length {
        let above = new_affiliate(client).await;
        put_under(client, &below, &above).await;
        chain.push(above.clone());
        below = above;
    }
    chain
}

/// A programme that pays 20 %.
pub async fn fifth(client: &Client, approval: &'static str) -> Programme {
    Programme::build(client, &Terms { rule: json!({ "percent": "20" }), approval, ..Terms::default() }).await
}

async fn sell(client: &Client, programme: &Programme, order: &str, amount: &str) -> String {
    let click = programme.click(client).await;
    id(&client.done("recordConversion", sale(&click, order, amount), "conversion { id }").await, "conversion")
}

/// Unapproved, pending and available of an affiliate, in cents.
async fn earnings(client: &Client, affiliate: &str) -> [i64; 3] {
    let query = "query($id: ID!) { earnings(affiliateId: $id) { balances { unapproved { amount } pending { amount } \
        available { amount } } } }";
    let data = client.data(query, json!({ "id": affiliate })).await;
    match &data["earnings"]["balances"][0] {
        Value::Null => [0; 3],
        balance => ["unapproved", "pending", "available"].map(|part| cents(&balance[part])),
    }
}

/// Level and amount of all commissions that somebody sees, by level.
async fn levels(client: &Client) -> Vec<(i64, i64)> {
    let data = client.data(&format!("{{ {COMMISSIONS} }}"), json!({})).await;
    let edges = data["commissions"]["edges"].as_array().expect("a list").iter();
    let mut levels: Vec<_> =
        edges.map(|edge| (edge["node"]["level"].as_i64().expect("a level"), cents(&edge["node"]["amount"]))).collect();
    levels.sort_unstable();
    levels
}

/// The balance of all accounts of a code in the trial balance, debit positive, in cents.
pub async fn balance(client: &Client, code: i32) -> i64 {
    let query = "{ trialBalance { lines { code debit { amount } credit { amount } } } }";
    let data = client.data(query, json!({})).await;
    let lines = data["trialBalance"]["lines"].as_array().expect("a list");
    lines.iter().filter(|line| line["code"] == code).map(|line| cents(&line["debit"]) - cents(&line["credit"])).sum()
}

pub async fn applied(app: &TestApp, client: &Client, mut trial: Value) -> Value {
    trial["reason"] = json!("the contract says so");
    let selection = "attributionRun { id conversionsChanged }";
    let run = id(&client.done("applyAttribution", trial, selection).await, "attributionRun");
    app.run_jobs().await;
    app.until("SELECT COUNT(*) FROM attribution_run WHERE status IN ('QUEUED', 'RUNNING')", 0).await;
    let query = "query($id: ID!) { attributionRun(id: $id) { conversionsChanged } }";
    client.data(query, json!({ "id": run })).await["attributionRun"]["conversionsChanged"].take()
}

on_both! {
    async fn parents_earn_on_top_of_the_commission_until_it_is_payable(app) {
        let owner = app.owner();
        let programme = fifth(&owner, "AUTO").await;
        let above = chain(&owner, &programme.affiliate, 3).await;
        set_plan(&owner, Some(&programme.campaign), of_commission(&["10", "5"])).await;
        let conversion = sell(&owner, &programme, "1", "100.00").await;
        assert_eq!(levels(&owner).await, [(0, 2_000), (1, 200), (2, 100)]);
        set_plan(&owner, Some(&programme.campaign), of_sale(&["10", "5"])).await;
        sell(&owner, &programme, "2", "100.00").await;
        assert_eq!(levels(&owner).await[2..], [(1, 200), (1, 1_000), (2, 100), (2, 500)]);

        let mut all = Vec::new();
        for affiliate in [&programme.affiliate].into_iter().chain(&above) {
            all.push(earnings(&owner, affiliate).await);
        }
        assert_eq!(all, [[0, 4_000, 0], [0, 1_200, 0], [0, 600, 0], [0, 0, 0]]);
        assert_eq!((balance(&owner, 5000).await, balance(&owner, 5020).await), (4_000, 1_800));
        let query = "query($id: ID!) { conversion(by: { id: $id }) { commissionTotal { amount } } }";
        let seen = owner.data(query, json!({ "id": conversion })).await;
        assert_eq!(seen["conversion"]["commissionTotal"]["amount"], "23.00");

        app.clock.advance(TimeDelta::days(2));
        app.release_holds().await;
        assert_eq!(earnings(&owner, &above[0]).await, [0, 0, 1_200]);
        assert_eq!(earnings(&owner, &above[1]).await, [0, 0, 600]);
        let now = tributary::ambient::Clock::now(&app.clock);
        let statement = "query($id: ID!, $from: DateTime!, $until: DateTime!) { statement(affiliateId: $id, \
            currency: \"EUR\", from: $from, until: $until) { earned { amount } closing { amount } } }";
        let period = json!({ "id": above[0], "from": now - TimeDelta::days(9), "until": now + TimeDelta::days(1) });
        let stated = owner.data(statement, period).await["statement"].take();
        assert_eq!(stated, json!({ "earned": { "amount": "12.00" }, "closing": { "amount": "12.00" } }));
    }

    async fn parent_sees_its_line_and_what_it_is_on_and_nothing_else(app) {
        let owner = app.owner();
        let programme = fifth(&owner, "AUTO").await;
        let above = chain(&owner, &programme.affiliate, 1).await;
        set_plan(&owner, Some(&programme.campaign), of_commission(&["10"])).await;
        let conversion = sell(&owner, &programme, "1", "100.00").await;
        let parent = app.affiliate(&above[0]);
        let query = format!("{{ {COMMISSIONS} conversions(first: 10) {{ edges {{ node {{ id }} }} }} \
            affiliates(first: 10) {{ edges {{ node {{ id }} }} }} }}");
        let seen = parent.data(&query, json!({})).await;
        assert_eq!(seen["commissions"]["edges"], json!([{ "node": {
            "level": 1, "status": "PENDING", "amount": { "amount": "2.00" }, "adjustment": { "amount": "0.00" },
            "baseAffiliate": null, "conversion": null,
            "explanation": {
                "summary": "Override level 1 (plan v1) on Standard v1: 10 % of 20.00 EUR = 2.00 EUR",
                "source": "OVERRIDE_PLAN", "override": { "planVersion": 1, "level": 1, "basis": "COMMISSION" },
            },
        } }]));
        assert_eq!(seen["conversions"]["edges"], json!([]));
        assert_eq!(seen["affiliates"]["edges"], json!([{ "node": { "id": above[0] } }]));
        // The affiliate below is told nothing of it, nor who is above.
        let below = app.affiliate(&programme.affiliate);
        let query = "query($id: ID!, $own: ID!) { conversion(by: { id: $id }) { commissionTotal { amount } \
            commissions { level } } affiliate(id: $own) { parent { id } } }";
        let seen = below.data(query, json!({ "id": conversion, "own": programme.affiliate })).await;
        assert_eq!(seen, json!({ "conversion": { "commissionTotal": { "amount": "20.00" }, "commissions": [{ "level": 0 }] },
            "affiliate": { "parent": null } }));
        // The tenant sees all.
        let query = "query($id: ID!) { conversion(by: { id: $id }) { commissions { level affiliate { id } \
            baseAffiliate { id } } } }";
        let seen = owner.data(query, json!({ "id": conversion })).await;
        assert_eq!(seen["conversion"]["commissions"], json!([
            { "level": 0, "affiliate": { "id": programme.affiliate }, "baseAffiliate": null },
            { "level": 1, "affiliate": { "id": above[0] }, "baseAffiliate": { "id": programme.affiliate } },
        ]));
    }

    async fn suspended_parent_earns_nothing_and_nothing_passes_up(app) {
        let owner = app.owner();
        let programme = fifth(&owner, "AUTO").await;
        let above = chain(&owner, &programme.affiliate, 2).await;
        set_plan(&owner, None, of_commission(&["10", "5"])).await;
        owner.done("suspendAffiliate", json!({ "id": above[0] }), "").await;
        sell(&owner, &programme, "1", "100.00").await;
        assert_eq!(levels(&owner).await, [(0, 2_000), (2, 100)]);
        assert_eq!(earnings(&owner, &above[1]).await, [0, 100, 0]);
        owner.done("approveAffiliate", json!({ "id": above[0] }), "").await;
        sell(&owner, &programme, "2", "100.00").await;
        assert_eq!(earnings(&owner, &above[0]).await, [0, 200, 0]);
    }

    async fn campaigns_plan_goes_before_the_default_until_it_is_archived(app) {
        let owner = app.owner();
        let programme = fifth(&owner, "AUTO").await;
        chain(&owner, &programme.affiliate, 1).await;
        let default = set_plan(&owner, None, of_commission(&["10"])).await;
        let own = set_plan(&owner, Some(&programme.campaign), json!([])).await;
        sell(&owner, &programme, "1", "100.00").await;
        assert_eq!(levels(&owner).await, [(0, 2_000)], "a plan without levels pays nobody");
        let flat = json!([{ "flat": { "amount": "1.50", "currency": "EUR" } }]);
        assert_eq!(set_plan(&owner, Some(&programme.campaign), flat.clone()).await, own, "the same plan");
        sell(&owner, &programme, "2", "100.00").await;
        owner.done("archiveOverridePlan", json!({ "id": own }), "").await;
        sell(&owner, &programme, "3", "100.00").await;
        owner.done("archiveOverridePlan", json!({ "id": default }), "").await;
        assert_eq!(owner.refusal("archiveOverridePlan", json!({ "id": default })).await, "INVALID_TRANSITION");
        sell(&owner, &programme, "4", "100.00").await;
        assert_eq!(levels(&owner).await[4..], [(1, 150), (1, 200)]);
        let query = "query($id: ID!) { tenant { overridePlan { id status } } campaign(id: $id) { overridePlan { version \
            status versions { version levels { level basis percent flat { amount } } } } } }";
        let seen = owner.data(query, json!({ "id": programme.campaign })).await;
        assert_eq!(seen["tenant"]["overridePlan"], json!({ "id": default, "status": "ARCHIVED" }));
        assert_eq!(seen["campaign"]["overridePlan"], json!({ "version": 2, "status": "ARCHIVED", "versions": [
            { "version": 2, "levels": [{ "level": 1, "basis": "FLAT", "percent": null, "flat": { "amount": "1.50" } }] },
            { "version": 1, "levels": [] },
        ] }));
        assert_eq!(owner.refusal("setOverridePlan", json!({ "levels": flat })).await, "CURRENCY_MISMATCH");
        let many = json!({ "levels": of_sale(&["1"; 11]) });
        assert_eq!(owner.refusal("setOverridePlan", many).await, "OUT_OF_RANGE");
        let again = json!({ "idempotencyKey": "k", "levels": of_sale(&["1"]) });
        let first = owner.done("setOverridePlan", again.clone(), "overridePlan { version }").await;
        let second = owner.done("setOverridePlan", again, "replayed overridePlan { version }").await;
        assert_eq!(first["overridePlan"], second["overridePlan"]);
        assert_eq!(second["replayed"], true);
    }

    async fn cycles_and_chains_past_the_limit_are_refused(app) {
        let owner = app.owner();
        let lowest = new_affiliate(&owner).await;
        let above = chain(&owner, &lowest, 20).await;
        let put = |id: &str, parent: &str| json!({ "id": id, "parentId": parent });
        assert_eq!(owner.refusal("setAffiliateParent", put(&above[19], &lowest)).await, "INVALID_TRANSITION");
        assert_eq!(owner.refusal("setAffiliateParent", put(&lowest, &lowest)).await, "INVALID_TRANSITION");
        let other = new_affiliate(&owner).await;
        assert_eq!(owner.refusal("setAffiliateParent", put(&above[19], &other)).await, "OUT_OF_RANGE");
        assert_eq!(owner.refusal("setAffiliateParent", put(&other, &lowest)).await, "OUT_OF_RANGE");
        put_under(&owner, &other, &above[0]).await;
        let query = "query($id: ID!) { affiliates(first: 10, filter: { parentIds: [$id] }) { totalCount edges { node { \
            parent { id } } } } }";
        let seen = owner.data(query, json!({ "id": above[0] })).await["affiliates"].take();
        let child = json!({ "node": { "parent": { "id": above[0] } } });
        assert_eq!(seen, json!({ "totalCount": 2, "edges": [child.clone(), child] }));
        owner.done("setAffiliateParent", json!({ "id": other }), "affiliate { parent { id } }").await;
        assert_eq!(owner.data(query, json!({ "id": above[0] })).await["affiliates"]["totalCount"], 1);
    }

    async fn of_two_who_would_close_a_circle_at_once_one_is_refused(app) {
        let owner = app.owner();
        for _ in 0..5 {
            let (one, other) = (new_affiliate(&owner).await, new_affiliate(&owner).await);
            let put = |id: &str, parent: &str| {
                let (owner, input) = (owner.clone(), json!({ "id": id, "parentId": parent }));
                async move { owner.mutate("setAffiliateParent", input, "").await["userErrors"].take() }
            };
            let (first, second) = tokio::join!(put(&one, &other), put(&other, &one));
            let refused = [&first, &second].iter().filter(|errors| errors[0]["code"] == "INVALID_TRANSITION").count();
            assert_eq!(refused, 1, "{first} {second}");
        }
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM affiliate_parent").await, 5);
    }

    async fn overrides_are_approved_and_rejected_with_their_conversion(app) {
        let owner = app.owner();
        let programme = fifth(&owner, "MANUAL").await;
        let above = chain(&owner, &programme.affiliate, 1).await;
        set_plan(&owner, Some(&programme.campaign), of_commission(&["10"])).await;
        let parent = app.affiliate(&above[0]);
        let live = "subscription($id: ID!) { earnings(affiliateId: $id) { balances { unapproved { amount } \
            pending { amount } } } }";
        let mut socket = parent.subscribe(live, json!({ "id": above[0] })).await;
        assert_eq!(socket.next().await["earnings"]["balances"], json!([]));
        let first = sell(&owner, &programme, "1", "100.00").await;
        let told = |unapproved: &str, pending: &str| {
            json!([{ "unapproved": { "amount": unapproved }, "pending": { "amount": pending } }])
        };
        assert_eq!(socket.next().await["earnings"]["balances"], told("2.00", "0.00"));
        owner.done("approveConversions", json!({ "ids": [first] }), "").await;
        assert_eq!(socket.next().await["earnings"]["balances"], told("0.00", "2.00"));
        assert_eq!(balance(&owner, 5020).await, 200);
        let second = sell(&owner, &programme, "2", "100.00").await;
        assert_eq!(socket.next().await["earnings"]["balances"], told("2.00", "2.00"));
        owner.done("rejectConversions", json!({ "ids": [second], "reason": "FRAUD" }), "").await;
        assert_eq!(socket.next().await["earnings"]["balances"], told("0.00", "2.00"));
        owner.done("reopenConversions", json!({ "ids": [second] }), "items { userErrors { code } }").await;
        assert_eq!(socket.next().await["earnings"]["balances"], told("2.00", "2.00"));
        let log = "query { events(first: 100) { edges { node { type subjectId payload { __typename } } } } }";
        let log = parent.data(log, json!({})).await;
        let edges = log["events"]["edges"].as_array().expect("a list");
        let is_of_earnings = |edge: &&Value| edge["node"]["type"] == "EARNINGS_CHANGED";
        let (told, others): (Vec<&Value>, Vec<&Value>) = edges.iter().partition(is_of_earnings);
        assert_eq!(told.len(), 5);
        let is_bare = |edge: &&Value| edge["node"]["subjectId"] == *above[0] && edge["node"]["payload"].is_null();
        assert!(told.iter().all(is_bare), "{told:?}");
        // Of itself and who is above whom, and of no conversion.
        assert!(others.iter().all(|edge| edge["node"]["type"] == "AFFILIATE_CHANGED"), "{others:?}");
    }

    async fn each_of_those_who_share_a_conversion_has_a_chain_of_its_own(app) {
        let owner = app.owner();
        let race = Race::begin(&owner, &Terms { rule: json!({ "percent": "20" }), ..Terms::default() }).await;
        let campaign = &race.programme.campaign;
        let linear = json!({ "id": campaign, "attributionModel": "LINEAR", "attributionSources": ["HISTORY"] });
        owner.done("updateCampaign", linear, "").await;
        let [first, second, third] = &race.affiliates;
        let above = chain(&owner, first, 1).await;
        // The second earns itself, and on what the third does.
        put_under(&owner, third, second).await;
        set_plan(&owner, Some(campaign), of_sale(&["10"])).await;
        race.journey(app, &owner, &[0, 1, 2], "100.00").await;
        assert_eq!(levels(&owner).await, [(0, 666), (0, 667), (0, 667), (1, 333), (1, 334)]);
        let own: Vec<_> = levels(&app.affiliate(second)).await;
        assert_eq!(own.iter().map(|(level, _)| *level).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(earnings(&owner, second).await[1], own[0].1 + own[1].1);
        assert_eq!(earnings(&owner, &above[0]).await[1] + own[1].1, 667, "two thirds of 10.00");
    }

    async fn what_is_earned_on_top_begins_no_time_with_a_customer(app) {
        let owner = app.owner();
        let race = Race::begin(&owner, &Terms { rule: json!({ "percent": "20" }), ..Terms::default() }).await;
        let campaign = &race.programme.campaign;
        owner.done("updateCommissionRule", json!({ "id": race.programme.rule, "maxMonths": 0 }), "").await;
        let [first, second, _] = &race.affiliates;
        put_under(&owner, first, second).await;
        set_plan(&owner, Some(campaign), of_sale(&["10"])).await;
        let sell = async |affiliate: usize| {
            let click = race.click(&owner, affiliate).await;
            let mut sale = sale(&click, &click, "100.00");
            merge(&mut sale, json!({ "customerId": "ann" }));
            owner.done("recordConversion", sale, "").await;
        };
        // Of the first the customer is new, and then of its parent too, which had earned on top.
        for (affiliate, earned) in [(0, [2_000, 1_000]), (1, [2_000, 3_000]), (0, [2_000, 3_000])] {
            sell(affiliate).await;
            assert_eq!([earnings(&owner, first).await[1], earnings(&owner, second).await[1]], earned);
        }
    }

    async fn attribution_runs_take_overrides_with_the_commissions_below(app) {
        let owner = app.owner();
        let race = Race::begin(&owner, &Terms { rule: json!({ "percent": "20" }), ..Terms::default() }).await;
        let campaign = &race.programme.campaign;
        let [first, _, third] = &race.affiliates;
        let (of_first, of_third) = (chain(&owner, first, 1).await, chain(&owner, third, 2).await);
        set_plan(&owner, Some(campaign), of_commission(&["10", "5"])).await;
        race.journey(app, &owner, &[0, 1, 2], "90.00").await;
        assert_eq!(levels(&owner).await, [(0, 1_800), (1, 180), (2, 90)]);
        // Terms that changed since are not brought in for who had a commission, and hold for who had none.
        set_plan(&owner, Some(campaign), of_commission(&["50"])).await;
        assert_eq!(applied(app, &owner, race.trial(app, "LINEAR")).await, 1);
        assert_eq!(earnings(&owner, third).await, [0, 600, 0]);
        assert_eq!(earnings(&owner, &of_third[0]).await, [0, 60, 0]);
        assert_eq!(earnings(&owner, &of_third[1]).await, [0, 30, 0]);
        assert_eq!(earnings(&owner, first).await, [0, 600, 0]);
        assert_eq!(earnings(&owner, &of_first[0]).await, [0, 300, 0]);
        assert_eq!(applied(app, &owner, race.trial(app, "LINEAR")).await, 0, "nothing is left to do");
        app.clock.advance(TimeDelta::days(2));
        app.release_holds().await;
        assert_eq!(applied(app, &owner, race.trial(app, "LAST_CLICK")).await, 1);
        assert_eq!(earnings(&owner, &of_first[0]).await, [0, 0, 0]);
        assert_eq!(earnings(&owner, &of_third[0]).await, [0, 0, 180]);
        assert_eq!(earnings(&owner, &of_third[1]).await, [0, 0, 90]);
        assert_eq!(balance(&owner, 5020).await + balance(&owner, 5030).await, 270);
    }
}
