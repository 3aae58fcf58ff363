//! Where affiliates are paid: checked, masked, theirs alone, and fixed for payouts that are under way.

use serde_json::{Value, json};
use tributary_entity::kinds::Role;

use crate::{
    payouts::{draft, earn, quick},
    support::{Client, double::Kind, on_both, programme::id},
};

const SHORT: &str = "payoutDestination { id method currency holder mask endedAt }";
const IBAN: &str = "DE89 3704 0044 0532 0130 00";

fn sepa(affiliate: &str, iban: &str) -> Value {
    json!({ "affiliateId": affiliate, "currency": "EUR", "holder": "Ada Ltd", "account": { "sepa": { "iban": iban } } })
}

/// The masks of an affiliate's destinations in use.
async fn masks(client: &Client, affiliate: &str) -> Vec<String> {
    let query = "query($id: ID!) { affiliate(id: $id) { payoutDestinations { mask } } }";
    let data = client.data(query, json!({ "id": affiliate })).await;
    let rows = data["affiliate"]["payoutDestinations"].as_array().expect("a list");
    rows.iter().map(|row| row["mask"].as_str().expect("a mask").to_owned()).collect()
}

/// Where each payout of a batch goes.
async fn destinations(client: &Client, batch: &Value) -> Vec<Value> {
    let query = "query($id: ID!) { payoutBatch(id: $id) { payouts(first: 10) { nodes { destination { mask account { \
                 iban email } } } } } }";
    let data = client.data(query, json!({ "id": batch["id"] })).await;
    let nodes = data["payoutBatch"]["payouts"]["nodes"].as_array().expect("payouts");
    nodes.iter().map(|node| node["destination"].clone()).collect()
}

on_both! {
    async fn destination_is_checked_and_shown_masked(app) {
        let owner = app.owner();
        let programme = quick(&owner).await;
        let refused = owner.mutate("setPayoutDestination", sepa(&programme.affiliate, "DE89370400440532013001"), SHORT).await;
        assert_eq!(refused["userErrors"][0]["code"], "INVALID_ACCOUNT");
        assert_eq!(refused["userErrors"][0]["field"], json!(["account", "sepa", "iban"]));
        let set = owner.done("setPayoutDestination", sepa(&programme.affiliate, IBAN), SHORT).await;
        let destination = &set["payoutDestination"];
        assert_eq!(destination["mask"], "DE89…3000");
        assert_eq!(destination["method"], "SEPA");
        assert!(!set.to_string().contains("0532"), "{set}");
    }

    async fn another_destination_takes_the_place_of_the_first(app) {
        let owner = app.owner();
        let programme = quick(&owner).await;
        let first = owner.done("setPayoutDestination", sepa(&programme.affiliate, IBAN), SHORT).await;
        let other = json!({
            "affiliateId": programme.affiliate, "currency": "EUR", "holder": "Ada Ltd",
            "account": { "paypal": { "email": "ada@shop.example" } },
        });
        assert_eq!(owner.refusal("setPayoutDestination", other.clone()).await, "METHOD_NOT_AVAILABLE");
        owner.done("setProcessor", Kind::Paypal.credentials(), "").await;
        owner.done("setPayoutDestination", other, SHORT).await;
        assert_eq!(masks(&owner, &programme.affiliate).await, ["a…@shop.example"]);
        let query = "query($id: ID!) { payoutDestination(id: $id) { endedAt } }";
        let data = owner.data(query, json!({ "id": first["payoutDestination"]["id"] })).await;
        assert!(data["payoutDestination"]["endedAt"].is_string(), "{data}");
        // Another currency has one of its own.
        let dollars = json!({
            "affiliateId": programme.affiliate, "currency": "USD", "holder": "Ada Ltd",
            "account": { "ach": { "routingNumber": "021000021", "accountNumber": "12345678", "accountType": "CHECKING" } },
        });
        let dollars = owner.done("setPayoutDestination", dollars, SHORT).await;
        assert_eq!(masks(&owner, &programme.affiliate).await, ["a…@shop.example", "…5678"]);
        let removed = json!({ "id": dollars["payoutDestination"]["id"], "idempotencyKey": "away" });
        owner.done("removePayoutDestination", removed.clone(), SHORT).await;
        assert_eq!(masks(&owner, &programme.affiliate).await, ["a…@shop.example"]);
        let again = owner.done("removePayoutDestination", removed, "replayed").await;
        assert_eq!(again["replayed"], true);
        let unkeyed = json!({ "id": dollars["payoutDestination"]["id"] });
        let gone = owner.mutate("removePayoutDestination", unkeyed, SHORT).await;
        assert_eq!(gone["userErrors"][0]["code"], "NOT_FOUND");
    }

    async fn same_key_sets_once(app) {
        let owner = app.owner();
        let programme = quick(&owner).await;
        let mut input = sepa(&programme.affiliate, IBAN);
        input["idempotencyKey"] = json!("bank");
        let first = owner.done("setPayoutDestination", input.clone(), SHORT).await;
        let second = owner.done("setPayoutDestination", input.clone(), "payoutDestination { id } replayed").await;
        assert_eq!(second["replayed"], true);
        assert_eq!(id(&first, "payoutDestination"), id(&second, "payoutDestination"));
        input["holder"] = json!("Bob");
        let conflict = owner.mutate("setPayoutDestination", input, SHORT).await;
        assert_eq!(conflict["userErrors"][0]["code"], "IDEMPOTENCY_CONFLICT");
    }

    async fn affiliate_sets_its_own_and_no_other(app) {
        let owner = app.owner();
        let (own, foreign) = (quick(&owner).await, quick(&owner).await);
        let ada = app.affiliate(&own.affiliate);
        let mut input = sepa(&own.affiliate, IBAN);
        input.as_object_mut().expect("an object").remove("affiliateId");
        ada.done("setPayoutDestination", input, SHORT).await;
        assert_eq!(masks(&ada, &own.affiliate).await, ["DE89…3000"]);
        let refused = ada.mutate("setPayoutDestination", sepa(&foreign.affiliate, IBAN), SHORT).await;
        assert_eq!(refused["userErrors"][0]["code"], "NOT_FOUND");
        // Not even its own account is told whole: a stolen session reads no account numbers.
        let query = "query($id: ID!) { affiliate(id: $id) { payoutDestinations { account { iban } } } }";
        let (_, body) = ada.send(query, json!({ "id": own.affiliate })).await;
        assert_eq!(body["errors"][0]["extensions"]["code"], "FORBIDDEN", "{body}");
        let manager = app.role(Role::Manager);
        let (_, body) = manager.send("query($id: ID!) { affiliate(id: $id) { payoutDestinations { mask } } }", json!({ "id": own.affiliate })).await;
        assert_eq!(body["errors"][0]["extensions"]["code"], "FORBIDDEN", "{body}");
    }

    async fn payout_goes_where_it_was_drafted_to(app) {
        let owner = app.owner();
        let programme = quick(&owner).await;
        owner.done("setPayoutDestination", sepa(&programme.affiliate, IBAN), SHORT).await;
        earn(app, &owner, &programme, "100.00").await;
        let batch = draft(&owner).await;
        let other = json!({
            "affiliateId": programme.affiliate, "currency": "EUR", "holder": "Ada Ltd",
            "account": { "manual": { "instructions": "to somebody else" } },
        });
        owner.done("setPayoutDestination", other, SHORT).await;
        let expected = json!({ "mask": "DE89…3000", "account": { "iban": "DE89370400440532013000", "email": null } });
        assert_eq!(destinations(&owner, &batch).await, [expected]);
    }

    async fn payout_without_a_destination_is_drafted_all_the_same(app) {
        let owner = app.owner();
        let programme = quick(&owner).await;
        earn(app, &owner, &programme, "100.00").await;
        let batch = draft(&owner).await;
        assert_eq!(destinations(&owner, &batch).await, [Value::Null]);
    }
}
