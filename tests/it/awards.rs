//! Awards: bonuses and adjustments, from posting to payable, and what the affiliate sees of them.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tributary::ambient::Clock;
use tributary_entity::kinds::Role;

use crate::{
    attribution::cents,
    support::{
        Client, on_both,
        programme::{merge, new_affiliate},
    },
};

const AWARD: &str = "award { id kind status amount { amount currency } reason explanation { name } author payableAt \
    releasedAt journal { kind entries { account { code } debit { amount } credit { amount } } } }";

fn bonus(affiliate: &str, amount: &str) -> Value {
    json!({ "affiliateId": affiliate, "amount": { "amount": amount, "currency": "EUR" }, "reason": "a good month" })
}

fn adjustment(affiliate: &str, direction: &str, amount: &str) -> Value {
    let mut input = bonus(affiliate, amount);
    merge(&mut input, json!({ "direction": direction }));
    input
}

/// Pending, available and debt of an affiliate, in cents.
async fn earnings(client: &Client, affiliate: &str) -> [i64; 3] {
    let query = "query($id: ID!) { earnings(affiliateId: $id) { balances { pending { amount } available { amount } \
        debt { amount } } } }";
    let data = client.data(query, json!({ "id": affiliate })).await;
    match &data["earnings"]["balances"][0] {
        Value::Null => [0; 3],
        balance => ["pending", "available", "debt"].map(|part| cents(&balance[part])),
    }
}

/// Account code, debit and credit of an award's journal.
fn entries(award: &Value) -> Vec<(i64, i64, i64)> {
    let entries = award["journal"]["entries"].as_array().expect("entries").iter();
    // The other side of a line is null.
    let side = |money: &Value| if money.is_null() { 0 } else { cents(money) };
    let entry = |entry: &Value| {
        (entry["account"]["code"].as_i64().expect("a code"), side(&entry["debit"]), side(&entry["credit"]))
    };
    entries.map(entry).collect()
}

on_both! {
    async fn bonus_is_payable_when_its_hold_is_over(app) {
        let owner = app.owner();
        let affiliate = new_affiliate(&owner).await;
        let own = app.affiliate(&affiliate);
        let live = "subscription($id: ID!) { earnings(affiliateId: $id) { balances { pending { amount } \
            available { amount } } } }";
        let mut socket = own.subscribe(live, json!({ "id": affiliate })).await;
        socket.next().await;
        let mut input = bonus(&affiliate, "25.00");
        merge(&mut input, json!({ "holdSeconds": 86_400, "idempotencyKey": "may" }));
        let posted = owner.done("postBonus", input.clone(), AWARD).await["award"].take();
        assert_eq!((&posted["kind"], &posted["status"], &posted["journal"]["kind"]),
            (&json!("BONUS"), &json!("PENDING"), &json!("BONUS")));
        assert_eq!(entries(&posted), [(5010, 2_500, 0), (2000, 0, 2_500)]);
        let told = |pending: &str, available: &str| {
            json!([{ "pending": { "amount": pending }, "available": { "amount": available } }])
        };
        assert_eq!(socket.next().await["earnings"]["balances"], told("25.00", "0.00"));
        let again = owner.done("postBonus", input.clone(), "replayed award { id }").await;
        assert_eq!((&again["replayed"], &again["award"]["id"]), (&json!(true), &posted["id"]));
        input["reason"] = json!("another");
        assert_eq!(owner.refusal("postBonus", input).await, "IDEMPOTENCY_CONFLICT");
        let begin = app.clock.now() - TimeDelta::hours(1);
        app.clock.advance(TimeDelta::days(2));
        app.release_holds().await;
        app.release_holds().await;
        assert_eq!(socket.next().await["earnings"]["balances"], told("0.00", "25.00"));
        assert_eq!(earnings(&owner, &affiliate).await, [0, 2_500, 0]);
        let query = "query($id: ID!, $from: DateTime!, $until: DateTime!) { statement(affiliateId: $id, \
            currency: \"EUR\", from: $from, until: $until) { earned { amount } adjusted { amount } closing { amount } } }";
        let period = json!({ "id": affiliate, "from": begin, "until": app.clock.now() + TimeDelta::hours(1) });
        assert_eq!(own.data(query, period).await["statement"], json!({
            "earned": { "amount": "25.00" }, "adjusted": { "amount": "0.00" }, "closing": { "amount": "25.00" },
        }));
    }

    async fn adjustment_takes_what_is_available_and_the_rest_is_owed(app) {
        let owner = app.owner();
        let affiliate = new_affiliate(&owner).await;
        owner.done("postBonus", bonus(&affiliate, "10.00"), "").await;
        assert_eq!(earnings(&owner, &affiliate).await, [0, 1_000, 0]);
        let taken = owner.done("postAdjustment", adjustment(&affiliate, "TAKE", "12.50"), AWARD).await;
        assert_eq!(taken["award"]["amount"]["amount"], "-12.50");
        let mut lines = entries(&taken["award"]);
        lines.sort_unstable();
        assert_eq!(lines, [(1200, 250, 0), (2010, 1_000, 0), (5030, 0, 1_250)]);
        assert_eq!(earnings(&owner, &affiliate).await, [0, 0, 250]);
        let given = owner.done("postAdjustment", adjustment(&affiliate, "GIVE", "3.00"), AWARD).await;
        let mut lines = entries(&given["award"]);
        lines.sort_unstable();
        assert_eq!(lines, [(1200, 0, 250), (2010, 0, 50), (5030, 300, 0)]);
        assert_eq!(earnings(&owner, &affiliate).await, [0, 50, 0]);
    }

    async fn affiliate_sees_its_own_with_the_reason_and_no_other(app) {
        let owner = app.owner();
        let (one, other) = (new_affiliate(&owner).await, new_affiliate(&owner).await);
        let id = owner.done("postBonus", bonus(&one, "1.00"), AWARD).await["award"]["id"].take();
        owner.done("postAdjustment", adjustment(&other, "GIVE", "2.00"), AWARD).await;
        let list = "query($filter: AwardFilterInput) { awards(first: 10, filter: $filter) { totalCount edges { node { \
            id reason amount { amount } } } } }";
        let all = owner.data(list, json!({})).await["awards"].take();
        assert_eq!(all["totalCount"], 2);
        let bonuses = owner.data(list, json!({ "filter": { "kinds": ["BONUS"], "statuses": ["AVAILABLE"] } })).await;
        assert_eq!(bonuses["awards"]["totalCount"], 1);
        let seen = app.affiliate(&one).data(list, json!({})).await["awards"].take();
        assert_eq!(seen, json!({ "totalCount": 1, "edges": [{ "node": {
            "id": id, "reason": "a good month", "amount": { "amount": "1.00" },
        } }] }));
        let node = "query($id: ID!) { node(id: $id) { id } }";
        assert_eq!(app.affiliate(&other).data(node, json!({ "id": id })).await["node"], Value::Null);
        let log = "{ events(first: 10) { edges { node { type payload { ... on Award { amount { amount } } } } } } }";
        let log = app.affiliate(&one).data(log, json!({})).await;
        let posted = log["events"]["edges"].as_array().expect("a list").iter();
        let posted: Vec<_> = posted.filter(|edge| edge["node"]["type"] == "AWARD_POSTED").collect();
        assert_eq!(posted.len(), 1);
        assert_eq!(posted[0]["node"]["payload"], json!({ "amount": { "amount": "1.00" } }));
    }

    async fn only_who_moves_money_may_post_and_nothing_is_no_award(app) {
        let owner = app.owner();
        let affiliate = new_affiliate(&owner).await;
        let query = "mutation($input: PostBonusInput!) { postBonus(input: $input) { award { id } } }";
        for role in [Role::Manager, Role::Analyst] {
            let code = app.role(role).error_code(query, json!({ "input": bonus(&affiliate, "1.00") })).await;
            assert_eq!(code, "FORBIDDEN", "{role}");
        }
        app.role(Role::Finance).done("postBonus", bonus(&affiliate, "1.00"), "").await;
        assert_eq!(owner.refusal("postBonus", bonus(&affiliate, "0.00")).await, "INVALID_AMOUNT");
        assert_eq!(owner.refusal("postAdjustment", adjustment(&affiliate, "TAKE", "0")).await, "INVALID_AMOUNT");
        let absent = bonus("aff_00000000000000000000000000", "1.00");
        assert_eq!(owner.refusal("postBonus", absent).await, "NOT_FOUND");
        let mut long = bonus(&affiliate, "1.00");
        merge(&mut long, json!({ "holdSeconds": 367 * 86_400 }));
        assert_eq!(owner.refusal("postBonus", long).await, "OUT_OF_RANGE");
        assert_eq!(earnings(&owner, &affiliate).await, [0, 100, 0]);
    }
}
