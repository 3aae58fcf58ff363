//! Watching earnings: the state as it is, then absolute values after each change, many changes told as one.

use serde_json::{Value, json};

use crate::support::{
    Client, Programme, Terms, TestApp, on_both,
    programme::{enroll, id, new_affiliate, sale},
    socket::Socket,
};

const EARNINGS: &str = "earnings(affiliateId: $id) { cursor affiliate { id } balances { currency unapproved { amount } \
    pending { amount } available { amount } debt { amount } } }";

async fn watch(client: &Client, affiliate: &str) -> Socket {
    client.subscribe(&format!("subscription($id: ID!) {{ {EARNINGS} }}"), json!({ "id": affiliate })).await
}

/// The one currency's amounts: unapproved, pending, available, debt.
fn amounts(data: &Value) -> Vec<String> {
    let balances = data["earnings"]["balances"].as_array().expect("a list");
    assert!(balances.len() <= 1, "{data}");
    let Some(balance) = balances.first() else { return Vec::new() };
    assert_eq!(balance["currency"], "EUR");
    ["unapproved", "pending", "available", "debt"]
        .map(|part| balance[part]["amount"].as_str().expect("an amount").to_owned())
        .to_vec()
}

/// Reads until the amounts are as given.
async fn until(socket: &mut Socket, expected: [&str; 4]) -> usize {
    let mut read = 0;
    loop {
        read += 1;
        if amounts(&socket.next().await) == expected {
            return read;
        }
    }
}

async fn record(client: &Client, click: &str, order: &str, amount: &str) -> String {
    id(&client.done("recordConversion", sale(click, order, amount), "conversion { id }").await, "conversion")
}

/// What the ledger holds for an affiliate's pending account, in cents, past the store.
async fn pending_in_ledger(app: &TestApp) -> i64 {
    let sql = "SELECT CAST(COALESCE(SUM(-e.amount_minor), 0) AS BIGINT) FROM entry e JOIN account a \
        ON a.tenant_id = e.tenant_id AND a.id = e.account_id WHERE a.code = 2000";
    app.auditor.number(sql).await
}

on_both! {
    async fn values_follow_the_life_of_a_conversion(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::manual()).await;
        let click = programme.click(&owner).await;
        let mut socket = watch(&owner, &programme.affiliate).await;
        let mut own = watch(&app.affiliate(&programme.affiliate), &programme.affiliate).await;
        let snapshot = socket.next().await;
        assert_eq!(snapshot["earnings"]["affiliate"]["id"], programme.affiliate.as_str());
        assert_eq!(amounts(&snapshot), [""; 0]);
        let first = record(&owner, &click, "1", "100.00").await;
        let second = record(&owner, &click, "2", "50.00").await;
        until(&mut socket, ["15.00", "0.00", "0.00", "0.00"]).await;
        owner.done("approveConversions", json!({ "ids": [first] }), "").await;
        until(&mut socket, ["5.00", "10.00", "0.00", "0.00"]).await;
        owner.done("rejectConversions", json!({ "ids": [second], "reason": "FRAUD" }), "").await;
        until(&mut socket, ["0.00", "10.00", "0.00", "0.00"]).await;
        app.clock.advance(chrono::TimeDelta::days(2));
        app.run_jobs().await;
        until(&mut socket, ["0.00", "0.00", "10.00", "0.00"]).await;
        until(&mut own, ["0.00", "0.00", "10.00", "0.00"]).await;

        // A new subscriber begins with the state as it is, whatever cursor it brings.
        let mut late = watch(&owner, &programme.affiliate).await;
        let snapshot = late.next().await;
        assert_eq!(amounts(&snapshot), ["0.00", "0.00", "10.00", "0.00"]);
        let query = format!(
            "subscription($id: ID!, $after: Cursor) {{ {} }}",
            EARNINGS.replace("$id", "$id, after: $after"),
        );
        let variables = json!({ "id": programme.affiliate, "after": snapshot["earnings"]["cursor"] });
        let mut resumed = owner.subscribe(&query, variables).await;
        assert_eq!(amounts(&resumed.next().await), ["0.00", "0.00", "10.00", "0.00"]);
    }

    async fn many_changes_are_told_as_few(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        let other = new_affiliate(&owner).await;
        let (_, link) = enroll(&owner, &programme.campaign, &other).await;
        let other_click = Programme { link, ..programme.clone() }.click(&owner).await;
        let mut socket = watch(&owner, &programme.affiliate).await;
        let mut bystander = watch(&owner, &other).await;
        socket.next().await;
        bystander.next().await;
        let writers = (0..4).map(|writer| {
            let (owner, click) = (owner.clone(), click.clone());
            async move {
                for number in 0..50 {
                    record(&owner, &click, &format!("{writer}-{number}"), "10.00").await;
                }
            }
        });
        futures_util::future::join_all(writers).await;
        let read = until(&mut socket, ["0.00", "200.00", "0.00", "0.00"]).await;
        assert!(read < 100, "{read} messages for 200 changes");
        assert_eq!(pending_in_ledger(app).await, 20_000);
        // The next that either hears is its own next change.
        record(&owner, &other_click, "other", "10.00").await;
        assert_eq!(amounts(&bystander.next().await), ["0.00", "1.00", "0.00", "0.00"]);
        record(&owner, &click, "own", "10.00").await;
        assert_eq!(amounts(&socket.next().await), ["0.00", "201.00", "0.00", "0.00"]);
    }

    async fn others_cannot_be_watched(app) {
        let owner = app.owner();
        let own = new_affiliate(&owner).await;
        let second = new_affiliate(&owner).await;
        let absent = "aff_00000000000000000000000000";
        for (client, id) in [
            (app.stranger(), own.as_str()),
            (app.affiliate(&own), second.as_str()),
            (owner.clone(), absent),
        ] {
            assert_eq!(watch(&client, id).await.error_code().await, "NOT_FOUND");
        }
        assert_eq!(watch(&owner, "cmp_00000000000000000000000000").await.error_code().await, "INVALID_ID");
    }
}
