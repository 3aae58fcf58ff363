//! Taking refused conversions up again: decided anew with their checks waived, left to a reviewer.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tributary::ambient::Clock;

use crate::support::{
    Client, Programme, Terms, on_both,
    programme::{merge, sale},
};

/// Records a sale of 100.00 that is refused; its id.
async fn refused(client: &Client, click: &str, order: &str, reason: &str) -> String {
    let payload = client.done("recordConversion", sale(click, order, "100.00"), "conversion { id reason }").await;
    assert_eq!(payload["conversion"]["reason"], reason, "{payload}");
    payload["conversion"]["id"].as_str().expect("an id").to_owned()
}

/// Re-opens one conversion: what became of it.
async fn reopen(client: &Client, key: &str, id: &str) -> Value {
    let selection = "replayed items { conversion { status reason version commissionTotal { amount } \
        commissions { status amount { amount } } attribution { version windowSeconds touches { share } } \
        history { fromStatus toStatus note } } userErrors { code field } }";
    let input = json!({ "idempotencyKey": key, "ids": [id], "note": "asked for" });
    let mut payload = client.done("reopenConversions", input, selection).await;
    let mut item = payload["items"][0].take();
    item["replayed"] = payload["replayed"].take();
    item
}

on_both! {
    async fn conversion_outside_the_window_is_reopened_and_approved(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms { window_seconds: 3_600, ..Terms::default() }).await;
        let at = app.clock.now() - TimeDelta::days(2);
        let click = programme.click_with(&owner, json!({ "occurredAt": at })).await;
        let id = refused(&owner, &click, "1", "OUTSIDE_WINDOW").await;
        let item = reopen(&owner, "k", &id).await;
        let conversion = &item["conversion"];
        assert_eq!((&conversion["status"], &conversion["reason"]), (&json!("PENDING"), &json!("MANUAL")), "{item}");
        assert_eq!(conversion["commissions"], json!([{ "status": "UNAPPROVED", "amount": { "amount": "10.00" } }]));
        assert!(conversion["attribution"]["windowSeconds"].as_i64() > Some(2 * 86_400 - 1), "{item}");
        assert_eq!(conversion["history"][1], json!({
            "fromStatus": "REJECTED", "toStatus": "PENDING", "note": "asked for",
        }));
        assert_eq!(reopen(&owner, "k", &id).await["replayed"], true);
        assert_eq!(reopen(&owner, "l", &id).await["userErrors"], json!([{ "code": "INVALID_TRANSITION", "field": ["ids"] }]));
        let approved = owner.done("approveConversions", json!({ "ids": [id] }), "items { conversion { status } }").await;
        assert_eq!(approved["items"][0]["conversion"]["status"], "APPROVED");
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM event WHERE kind = 'CONVERSION_CHANGED'").await, 1);
        // Its order id counts now.
        let again = programme.click(&owner).await;
        let mut second = sale(&again, "1", "100.00");
        merge(&mut second, json!({ "idempotencyKey": "m" }));
        let second = owner.done("recordConversion", second, "conversion { reason }").await;
        assert_eq!(second["conversion"]["reason"], "DUPLICATE_ORDER");
    }

    async fn conversion_that_a_reviewer_rejected_is_decided_anew(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::manual()).await;
        let click = programme.click(&owner).await;
        let payload = owner.done("recordConversion", sale(&click, "1", "100.00"), "conversion { id }").await;
        let id = payload["conversion"]["id"].as_str().expect("an id");
        owner.done("rejectConversions", json!({ "ids": [id], "reason": "FRAUD" }), "").await;
        let item = reopen(&owner, "k", id).await;
        assert_eq!(item["conversion"]["status"], "PENDING", "{item}");
        assert_eq!(item["conversion"]["commissionTotal"]["amount"], "10.00");
        assert_eq!(item["conversion"]["commissions"].as_array().map(Vec::len), Some(1));
        assert_eq!(item["conversion"]["attribution"]["version"], 2);
        owner.done("rejectConversions", json!({ "ids": [id], "reason": "FRAUD" }), "").await;
        assert_eq!(reopen(&owner, "l", id).await["conversion"]["attribution"]["version"], 3);
    }

    async fn states_and_minimum_time_are_waived(app) {
        let owner = app.owner();
        for (number, (mutation, reason)) in [
            ("suspendAffiliate", "AFFILIATE_NOT_ACTIVE"),
            ("suspendEnrollment", "ENROLLMENT_NOT_APPROVED"),
            ("archiveCampaign", "CAMPAIGN_NOT_ACTIVE"),
            ("disableLink", "INVALID_CLICK"),
        ].into_iter().enumerate() {
            let programme = Programme::build(&owner, &Terms::default()).await;
            let id = match mutation {
                "suspendAffiliate" => &programme.affiliate,
                "suspendEnrollment" => &programme.enrollment,
                "disableLink" => &programme.link,
                _ => &programme.campaign,
            };
            let before = programme.click(&owner).await;
            owner.done(mutation, json!({ "id": id }), "").await;
            let click = if mutation == "disableLink" { programme.click(&owner).await } else { before };
            let id = refused(&owner, &click, &format!("o-{number}"), reason).await;
            assert_eq!(reopen(&owner, mutation, &id).await["conversion"]["status"], "PENDING", "{mutation}");
        }
    }

    async fn what_cannot_be_computed_stays_refused(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms { once_per_click: true, ..Terms::default() }).await;
        let click = programme.click(&owner).await;
        owner.done("recordConversion", sale(&click, "1", "100.00"), "").await;
        let unknown = refused(&owner, "clk_00000000000000000000000001", "2", "UNKNOWN_CLICK").await;
        let duplicate = refused(&owner, &click, "3", "DUPLICATE_CLICK").await;
        for id in [&unknown, &duplicate] {
            let item = reopen(&owner, id, id).await;
            assert_eq!(item["userErrors"], json!([{ "code": "INVALID_TRANSITION", "field": ["ids"] }]), "{item}");
        }
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM conversion WHERE status = 'REJECTED'").await, 2);
        assert_eq!(reopen(&app.stranger(), "k", &unknown).await["userErrors"][0]["code"], "NOT_FOUND");
    }

    async fn duplicate_of_one_that_is_refused_later_can_count(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms { window_seconds: 3_600, ..Terms::default() }).await;
        let old = programme.click_with(&owner, json!({ "occurredAt": app.clock.now() - TimeDelta::days(2) })).await;
        let ids = [refused(&owner, &old, "1", "OUTSIDE_WINDOW").await, {
            let mut second = sale(&old, "1", "100.00");
            merge(&mut second, json!({ "idempotencyKey": "b" }));
            let payload = owner.done("recordConversion", second, "conversion { id }").await;
            payload["conversion"]["id"].as_str().expect("an id").to_owned()
        }];
        let payload = owner
            .done("reopenConversions", json!({ "ids": ids }), "items { conversion { status } userErrors { code } }")
            .await;
        assert_eq!(payload["items"], json!([
            { "conversion": { "status": "PENDING" }, "userErrors": [] },
            { "conversion": null, "userErrors": [{ "code": "INVALID_TRANSITION" }] },
        ]));
    }
}
