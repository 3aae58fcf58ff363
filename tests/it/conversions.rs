//! Recording conversions: attributed, commissioned, posted, exactly once; refused cases are recorded too.

use serde_json::{Value, json};

use crate::support::{
    Programme, Terms, on_both,
    programme::{merge, sale},
};

on_both! {
    async fn conversion_is_attributed_commissioned_and_posted(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        let selection = "replayed conversion { id status reason orderId saleAmount { amount currency } \
            attribution { model touches { click { id } affiliate { id } share } } \
            commissions { status affiliate { id } amount { amount currency } explanation { rule tier fx } } }";
        let payload = owner.done("recordConversion", sale(&click, "1001", "49.00"), selection).await;
        assert_eq!(payload["replayed"], false);
        let conversion = &payload["conversion"];
        assert_eq!(conversion["status"], "APPROVED");
        assert_eq!(conversion["saleAmount"], json!({ "amount": "49.00", "currency": "EUR" }));
        assert_eq!(conversion["attribution"], json!({
            "model": "LAST_CLICK",
            "touches": [{ "click": { "id": click }, "affiliate": { "id": programme.affiliate }, "share": "1.000000" }],
        }));
        assert_eq!(conversion["commissions"], json!([{
            "status": "PENDING", "affiliate": { "id": programme.affiliate },
            "amount": { "amount": "4.90", "currency": "EUR" },
            "explanation": { "rule": "Standard v1", "tier": null, "fx": null },
        }]));
        let journals = owner.data(
            "query($ids: [ID!]) { journals(first: 10, filter: { conversionIds: $ids }) { edges { node { kind \
             entries { account { code } debit { amount } credit { amount } } } } } }",
            json!({ "ids": [conversion["id"]] }),
        ).await;
        assert_eq!(journals["journals"]["edges"], json!([{ "node": { "kind": "CONVERSION_APPROVED", "entries": [
            { "account": { "code": 5000 }, "debit": { "amount": "4.90" }, "credit": null },
            { "account": { "code": 2000 }, "debit": null, "credit": { "amount": "4.90" } },
        ] } }]));
    }

    async fn hold_is_released_when_it_is_over_and_not_before(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        owner.done("recordConversion", sale(&click, "1", "100.00"), "").await;
        let balances = async || -> Value {
            let data = owner.data(
                "query($id: ID!) { earnings(affiliateId: $id) { balances { unapproved { amount } pending { amount } \
                 available { amount } debt { amount } } } }",
                json!({ "id": programme.affiliate }),
            ).await;
            let balance = &data["earnings"]["balances"][0];
            json!([balance["unapproved"]["amount"], balance["pending"]["amount"], balance["available"]["amount"]])
        };
        app.run_jobs().await;
        assert_eq!(balances().await, json!(["0.00", "10.00", "0.00"]));
        app.clock.advance(chrono::TimeDelta::seconds(86_400 - 60));
        app.run_jobs().await;
        assert_eq!(balances().await, json!(["0.00", "10.00", "0.00"]));
        app.clock.advance(chrono::TimeDelta::seconds(120));
        app.run_jobs().await;
        assert_eq!(balances().await, json!(["0.00", "0.00", "10.00"]));
        app.run_jobs().await;
        assert_eq!(balances().await, json!(["0.00", "0.00", "10.00"]));
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM outbox").await, 0);
    }

    async fn batch_with_one_bad_item_records_the_others(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        let items: Vec<Value> = (0..1_000)
            .map(|number| {
                let mut item = sale(&click, &format!("b-{number}"), "1.00");
                if number == 500 {
                    merge(&mut item, json!({ "saleAmount": { "amount": "1.001", "currency": "EUR" } }));
                }
                item
            })
            .collect();
        let payload = owner
            .done("recordConversions", json!({ "items": items }), "items { conversion { orderId } userErrors { code field } }")
            .await;
        let answers = payload["items"].as_array().expect("a list");
        assert_eq!(answers.len(), 1_000);
        for (number, answer) in answers.iter().enumerate() {
            if number == 500 {
                assert_eq!(answer["userErrors"], json!([{ "code": "INVALID_AMOUNT", "field": ["saleAmount", "amount"] }]));
            } else {
                assert_eq!(answer["conversion"]["orderId"], format!("b-{number}"));
            }
        }
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM conversion").await, 999);
    }
}
