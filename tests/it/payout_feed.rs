//! Watching payouts: each change once, in order, resumed by cursor; and what they do to the earnings that are watched.

use serde_json::{Value, json};

use crate::{
    payouts::{draft, earn, payouts, quick, submit},
    support::{Client, on_both, programme::new_affiliate, socket::Socket},
};

const EVENTS: &str = "subscription($after: Cursor, $filter: PayoutFilterInput) { payouts(after: $after, filter: $filter) { \
    cursor recordedAt payout { id status version gross { amount } affiliate { id name } } } }";

async fn watch(client: &Client, after: &Value, filter: &Value) -> Socket {
    client.subscribe(EVENTS, json!({ "after": after, "filter": filter })).await
}

/// The place in the log now.
async fn cursor(client: &Client, filter: &Value) -> Value {
    let query = "query($filter: PayoutFilterInput) { payoutCursor(filter: $filter) }";
    client.data(query, json!({ "filter": filter })).await["payoutCursor"].take()
}

/// The next events' states.
async fn states(socket: &mut Socket, count: usize) -> Vec<String> {
    let mut states = Vec::new();
    for _ in 0..count {
        let event = socket.next().await;
        states.push(event["payouts"]["payout"]["status"].as_str().expect("a state").to_owned());
    }
    states
}

on_both! {
    async fn every_change_is_told_once_in_order_and_again_from_a_cursor(app) {
        let owner = app.owner();
        let programme = quick(&owner).await;
        earn(app, &owner, &programme, "100.00").await;
        let start = cursor(&owner, &Value::Null).await;
        let mut live = watch(&owner, &start, &Value::Null).await;
        let batch = draft(&owner).await;
        let payout = payouts(&batch).remove(0);
        submit(&owner, &batch).await;
        owner.done("markPayoutPaid", json!({ "id": payout, "reference": "1" }), "").await;
        owner.done("markPayoutReturned", json!({ "id": payout, "reference": "2", "reason": "closed" }), "").await;
        let mut told = Vec::new();
        for (version, state) in (1..).zip(["DRAFT", "APPROVED", "SUBMITTED", "PAID", "RETURNED"]) {
            let event = live.next().await["payouts"].take();
            let expected = json!({
                "id": payout, "status": state, "version": version, "gross": { "amount": "10.00" },
                "affiliate": { "id": programme.affiliate, "name": event["payout"]["affiliate"]["name"] },
            });
            assert_eq!(event["payout"], expected);
            told.push(event);
        }
        // From the start, and from the middle, the same.
        for (after, rest) in [(&start, &told[..]), (&told[1]["cursor"], &told[2..])] {
            let mut again = watch(&owner, after, &Value::Null).await;
            for event in rest {
                assert_eq!(again.next().await["payouts"], *event);
            }
        }
        // With a filter, its own cursors only.
        let filter = json!({ "statuses": ["SUBMITTED", "RETURNED"], "affiliateIds": [programme.affiliate] });
        assert_eq!(watch(&owner, &start, &filter).await.error_code().await, "CURSOR_INVALID");
        let start = cursor(&owner, &filter).await;
        let mut filtered = watch(&owner, &start, &filter).await;
        submit(&owner, &draft(&owner).await).await;
        assert_eq!(states(&mut filtered, 1).await, ["SUBMITTED"]);
    }

    async fn viewers_hear_of_their_own_payouts_only(app) {
        let (owner, stranger) = (app.owner(), app.stranger());
        let (ada, bob, away) = (quick(&owner).await, quick(&owner).await, quick(&stranger).await);
        let mut sockets = Vec::new();
        let by_bob = json!({ "affiliateIds": [bob.affiliate] });
        for (client, filter, expected) in [
            (app.affiliate(&ada.affiliate), Value::Null, &ada.affiliate),
            (app.affiliate(&bob.affiliate), Value::Null, &bob.affiliate),
            (owner.clone(), by_bob, &bob.affiliate),
            (stranger.clone(), Value::Null, &away.affiliate),
        ] {
            let start = cursor(&client, &filter).await;
            sockets.push((watch(&client, &start, &filter).await, expected));
        }
        // The last is everybody's own, so that what comes before it was all.
        for (client, programme) in [(&owner, &ada), (&stranger, &away), (&owner, &bob)] {
            earn(app, client, programme, "100.00").await;
        }
        for client in [&owner, &stranger] {
            let batch = draft(client).await;
            submit(client, &batch).await;
        }
        for (socket, expected) in &mut sockets {
            for state in ["DRAFT", "APPROVED", "SUBMITTED"] {
                let event = socket.next().await["payouts"]["payout"].take();
                assert_eq!((&event["status"], &event["affiliate"]["id"]), (&json!(state), &json!(expected)));
            }
        }
    }

    async fn stream_of_who_may_not_read_payouts_is_refused(app) {
        let manager = app.role(tributary_entity::kinds::Role::Manager);
        assert_eq!(watch(&manager, &Value::Null, &Value::Null).await.error_code().await, "FORBIDDEN");
        let filter = json!({ "affiliateIds": ["cmp_00000000000000000000000000"] });
        assert_eq!(watch(&app.owner(), &Value::Null, &filter).await.error_code().await, "INVALID_ID");
    }

    async fn watched_earnings_fall_when_paid_out_and_rise_when_it_fails(app) {
        let owner = app.owner();
        let programme = quick(&owner).await;
        let bystander = new_affiliate(&owner).await;
        earn(app, &owner, &programme, "100.00").await;
        let query = "subscription($id: ID!) { earnings(affiliateId: $id) { balances { available { amount } } } }";
        let available = async |socket: &mut Socket| {
            let values = socket.next().await["earnings"].take();
            values["balances"][0]["available"]["amount"].as_str().unwrap_or("none").to_owned()
        };
        let own = app.affiliate(&programme.affiliate);
        let mut socket = own.subscribe(query, json!({ "id": programme.affiliate })).await;
        let mut other = owner.subscribe(query, json!({ "id": bystander })).await;
        assert_eq!(available(&mut socket).await, "10.00");
        assert_eq!(available(&mut other).await, "none");
        let batch = draft(&owner).await;
        submit(&owner, &batch).await;
        assert_eq!(available(&mut socket).await, "0.00");
        owner.done("markPayoutFailed", json!({ "id": payouts(&batch)[0], "reason": "closed" }), "").await;
        assert_eq!(available(&mut socket).await, "10.00");
    }
}
