//! Accounts of the ledger: histories whose every balance follows from the one before, balances at instants, deposits,
//! debts given up, checkpoints.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tributary::ambient::Clock;
use tributary_entity::kinds::Role;

use crate::{
    payouts::{draft, earn, payouts, quick, submit},
    support::{Client, TestApp, on_both},
};

const HISTORY: &str = "query($id: ID!, $first: Int, $after: String, $last: Int, $from: DateTime, $until: DateTime, $at: DateTime) { \
    ledgerAccount(id: $id) { account { code } balance(at: $at) { amount } \
    entries(first: $first, after: $after, last: $last, filter: { from: $from, until: $until }) { pageInfo { hasNextPage endCursor } \
    edges { node { number amount { amount } balanceAfter { amount } journal { kind } } } } } }";

/// The id of an affiliate's account, or of a tenant's.
async fn account(client: &Client, code: i32, affiliate: Option<&str>) -> String {
    let query = "query($filter: LedgerAccountFilterInput) { ledgerAccounts(first: 2, filter: $filter) { totalCount edges { node { id } } } }";
    let filter = json!({ "codes": [code], "affiliateIds": affiliate.map(|id| [id]), "currencies": ["EUR"] });
    let page = client.data(query, json!({ "filter": filter })).await["ledgerAccounts"].take();
    assert_eq!(page["totalCount"], 1, "{page}");
    page["edges"][0]["node"]["id"].as_str().expect("an id").to_owned()
}

async fn history(client: &Client, variables: Value) -> Value {
    client.data(HISTORY, variables).await["ledgerAccount"].take()
}

/// Kind, amount and balance of each entry.
fn lines(history: &Value) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let edges = history["entries"]["edges"].as_array().expect("a page");
    let nodes = edges.iter().map(|edge| &edge["node"]);
    nodes
        .map(|node| {
            (text(&node["journal"]["kind"]), text(&node["amount"]["amount"]), text(&node["balanceAfter"]["amount"]))
        })
        .collect()
}

/// Somebody who was paid 10.00 of the 49.00 that were taken back, and owes them.
async fn debtor(app: &TestApp, owner: &Client) -> String {
    let programme = quick(owner).await;
    earn(app, owner, &programme, "100.00").await;
    app.clock.advance(TimeDelta::days(1));
    let batch = draft(owner).await;
    submit(owner, &batch).await;
    let payout = payouts(&batch).remove(0);
    owner.done("markPayoutPaid", json!({ "id": payout, "reference": "r" }), "").await;
    crate::payouts::post(app, &programme.affiliate, tributary::domain::ledger::Code::AffiliateReceivable, 700).await;
    programme.affiliate
}

on_both! {
    async fn every_balance_of_a_history_follows_from_the_one_before(app) {
        let owner = app.owner();
        let programme = quick(&owner).await;
        let mut expected = Vec::new();
        let mut sum = 0;
        for cents in [100, 250, 400] {
            earn(app, &owner, &programme, &format!("{}.00", cents / 10)).await;
            sum += cents;
            let text = |cents: i64| format!("{}.{:02}", cents / 100, cents % 100);
            expected.insert(0, ("HOLD_RELEASED".to_owned(), text(cents), text(sum)));
            app.clock.advance(TimeDelta::days(1));
        }
        let middle = app.clock.now() - TimeDelta::hours(36);
        let id = account(&owner, 2010, Some(&programme.affiliate)).await;
        let all = history(&owner, json!({ "id": id, "first": 10 })).await;
        assert_eq!((lines(&all), &all["balance"]["amount"]), (expected.clone(), &json!("7.50")));
        // Page by page, from both ends, and by time: the balances stay what they are.
        let first = history(&owner, json!({ "id": id, "first": 2 })).await;
        assert_eq!(lines(&first), expected[..2]);
        assert_eq!(first["entries"]["pageInfo"]["hasNextPage"], true);
        let after = &first["entries"]["pageInfo"]["endCursor"];
        assert_eq!(lines(&history(&owner, json!({ "id": id, "first": 2, "after": after })).await), expected[2..]);
        assert_eq!(lines(&history(&owner, json!({ "id": id, "last": 1 })).await), expected[2..]);
        let early = history(&owner, json!({ "id": id, "first": 9, "until": middle, "at": middle })).await;
        assert_eq!((lines(&early), &early["balance"]["amount"]), (expected[1..].to_vec(), &json!("3.50")));
        let late = history(&owner, json!({ "id": id, "first": 9, "from": middle })).await;
        assert_eq!(lines(&late), expected[..1]);
        let trial = "query($at: DateTime) { trialBalance(at: $at) { balanced lines { code debit { amount } } } }";
        let data = owner.data(trial, json!({ "at": middle })).await;
        assert_eq!(data["trialBalance"]["balanced"], true);
        let expense = data["trialBalance"]["lines"].as_array().expect("lines").iter().find(|line| line["code"] == 5000);
        assert_eq!(expense.expect("expense")["debit"]["amount"], "3.50");
    }

    async fn accounts_are_read_by_who_may_and_by_nobody_else(app) {
        let owner = app.owner();
        let programme = quick(&owner).await;
        earn(app, &owner, &programme, "10.00").await;
        let id = account(&owner, 2010, Some(&programme.affiliate)).await;
        assert!(history(&app.stranger(), json!({ "id": id, "first": 1 })).await.is_null());
        for client in [app.role(Role::Manager), app.affiliate(&programme.affiliate)] {
            assert_eq!(client.error_code(HISTORY, json!({ "id": id, "first": 1 })).await, "FORBIDDEN");
        }
    }

    async fn deposit_is_posted_once(app) {
        let finance = app.role(Role::Finance);
        let deposit = |key: &str, reference: &str| json!({
            "idempotencyKey": key, "processor": "STRIPE", "reference": reference,
            "amount": { "amount": "500.00", "currency": "EUR" },
        });
        let selection = "replayed journal { id kind businessKey entries { account { code processor } debit { amount } credit { amount } } }";
        let first = finance.done("recordDeposit", deposit("a", "po_1"), selection).await;
        assert_eq!(first["journal"]["kind"], "DEPOSIT");
        assert_eq!(first["journal"]["entries"], json!([
            { "account": { "code": 1000, "processor": "STRIPE" }, "debit": { "amount": "500.00" }, "credit": null },
            { "account": { "code": 3000, "processor": null }, "debit": null, "credit": { "amount": "500.00" } },
        ]));
        let again = finance.done("recordDeposit", deposit("a", "po_1"), selection).await;
        assert_eq!((&again["replayed"], &again["journal"]["id"]), (&json!(true), &first["journal"]["id"]));
        assert_eq!(finance.refusal("recordDeposit", deposit("a", "po_2")).await, "IDEMPOTENCY_CONFLICT");
        assert_eq!(finance.refusal("recordDeposit", deposit("b", "po_1")).await, "ALREADY_EXISTS");
        let nothing = json!({ "processor": "STRIPE", "reference": "x", "amount": { "amount": "0", "currency": "EUR" } });
        assert_eq!(finance.refusal("recordDeposit", nothing).await, "OUT_OF_RANGE");
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM event WHERE kind = 'JOURNAL_POSTED'").await, 1);
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM journal").await, 1);
    }

    async fn debt_is_given_up_as_far_as_it_is_owed(app) {
        let owner = app.owner();
        let affiliate = debtor(app, &owner).await;
        let begin = app.clock.now() - TimeDelta::days(30);
        let write_off = |amount: &str| json!({
            "affiliateId": affiliate, "reason": "gone", "amount": { "amount": amount, "currency": "EUR" },
        });
        assert_eq!(owner.refusal("writeOffDebt", write_off("7.01")).await, "OUT_OF_RANGE");
        let posted = owner.done("writeOffDebt", write_off("3.00"), "journal { kind entries { account { code } debit { amount } credit { amount } } }").await;
        assert_eq!(posted["journal"], json!({ "kind": "WRITE_OFF", "entries": [
            { "account": { "code": 5300 }, "debit": { "amount": "3.00" }, "credit": null },
            { "account": { "code": 1200 }, "debit": null, "credit": { "amount": "3.00" } },
        ] }));
        let id = account(&owner, 1200, Some(&affiliate)).await;
        assert_eq!(history(&owner, json!({ "id": id, "first": 1 })).await["balance"]["amount"], "4.00");
        assert_eq!(owner.refusal("writeOffDebt", write_off("4.01")).await, "OUT_OF_RANGE");
        owner.done("writeOffDebt", write_off("4.00"), "").await;
        assert_eq!(owner.refusal("writeOffDebt", write_off("0.01")).await, "OUT_OF_RANGE");
        let end = app.clock.now() + TimeDelta::seconds(1);
        let query = "query($id: ID!, $from: DateTime!, $until: DateTime!) { statement(affiliateId: $id, currency: \"EUR\", \
            from: $from, until: $until) { adjusted { amount } closing { amount } } }";
        let data = owner.data(query, json!({ "id": affiliate, "from": begin, "until": end })).await;
        assert_eq!(data["statement"], json!({ "adjusted": { "amount": "7.00" }, "closing": { "amount": "0.00" } }));
    }

    async fn checkpoint_is_handed_out_and_verifies_by_itself(app) {
        let owner = app.owner();
        let query = "{ ledgerCheckpoint { tenant block journals sealedAt hash publicKey signature statement } }";
        assert!(app.stranger().data(query, json!({})).await["ledgerCheckpoint"].is_null());
        let programme = quick(&owner).await;
        earn(app, &owner, &programme, "10.00").await;
        app.seal().await;
        let mut checkpoint = owner.data(query, json!({})).await["ledgerCheckpoint"].take();
        let statement = checkpoint.as_object_mut().expect("a checkpoint").remove("statement");
        let kept: tributary::domain::ledger_chain::Checkpoint = serde_json::from_value(checkpoint).expect("a checkpoint");
        assert_eq!(statement, Some(json!(kept.statement())));
        assert!(kept.is_signed());
        assert_eq!((kept.tenant, kept.journals), (app.home.to_string(), 2));
    }
}
