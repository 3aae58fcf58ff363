//! Tax that is withheld from payouts, and what affiliates bear of the cost of payments.

use serde_json::{Value, json};

use crate::{
    payouts::{draft, earn, payouts, quick, submit},
    support::{Client, on_both},
};

async fn terms(client: &Client, affiliate: Option<&str>, percent: Option<&str>, fee: Option<&str>) {
    let fee = fee.map(|amount| json!({ "amount": amount, "currency": "EUR" }));
    let input = json!({ "affiliateId": affiliate, "currency": "EUR", "withholdingPercent": percent, "fee": fee });
    client.done("setPayoutTerms", input, "payoutTerms { updatedAt }").await;
}

/// Gross, tax, fee, net.
async fn amounts(client: &Client, payout: &str) -> [String; 4] {
    let query = "query($id: ID!) { payout(id: $id) { gross { amount } tax { amount } fee { amount } net { amount } } }";
    let data = client.data(query, json!({ "id": payout })).await;
    ["gross", "tax", "fee", "net"].map(|part| data["payout"][part]["amount"].as_str().expect("an amount").to_owned())
}

/// Debits and credits of accounts that payouts move.
async fn moved(client: &Client) -> Vec<(i64, String, String)> {
    let query = "{ trialBalance { balanced lines { code debit { amount } credit { amount } } } }";
    let data = client.data(query, json!({})).await;
    assert_eq!(data["trialBalance"]["balanced"], true);
    let lines = data["trialBalance"]["lines"].as_array().expect("lines");
    let text = |value: &Value| value["amount"].as_str().expect("an amount").to_owned();
    let line = |line: &Value| (line["code"].as_i64().expect("a code"), text(&line["debit"]), text(&line["credit"]));
    let of_payouts = |code: i64| [1000, 2010, 2020, 2100, 5100].contains(&code);
    lines.iter().map(line).filter(|(code, ..)| of_payouts(*code)).collect()
}

fn lines<const N: usize>(lines: [(i64, &str, &str); N]) -> Vec<(i64, String, String)> {
    lines.into_iter().map(|(code, debit, credit)| (code, debit.to_owned(), credit.to_owned())).collect()
}

on_both! {
    async fn tax_and_fee_are_taken_off_when_a_payout_is_drafted_and_posted_when_it_is_submitted(app) {
        let owner = app.owner();
        let ada = quick(&owner).await;
        terms(&owner, None, Some("15"), Some("0.50")).await;
        earn(app, &owner, &ada, "100.00").await;
        let preview = owner.data("{ payoutPreview { payouts gross { amount } net { amount } } }", json!({})).await;
        let expected = json!({ "payouts": 1, "gross": { "amount": "10.00" }, "net": { "amount": "8.00" } });
        assert_eq!(preview["payoutPreview"], expected);
        let batch = draft(&owner).await;
        let payout = payouts(&batch).remove(0);
        assert_eq!(amounts(&owner, &payout).await, ["10.00", "1.50", "0.50", "8.00"]);
        // Who approves it approves these.
        terms(&owner, None, None, None).await;
        submit(&owner, &batch).await;
        assert_eq!(amounts(&owner, &payout).await, ["10.00", "1.50", "0.50", "8.00"]);
        let submitted =
            lines([(2010, "10.00", "10.00"), (2020, "0.00", "8.00"), (2100, "0.00", "1.50"), (5100, "0.00", "0.50")]);
        assert_eq!(moved(&owner).await, submitted);
        let csv = "query($id: ID!) { payout(id: $id) { remittanceAdvice(form: CSV) { base64 } } }";
        let csv = owner.data(csv, json!({ "id": payout })).await;
        let csv = csv["payout"]["remittanceAdvice"]["base64"].as_str().expect("a file");
        let csv = String::from_utf8(data_encoding::BASE64.decode(csv.as_bytes()).expect("base64")).expect("a text");
        let end = "this payout before deductions,10.00 EUR\r\ntax withheld,-1.50 EUR\r\nfee,-0.50 EUR\r\nthis payout,8.00 EUR\r\n";
        assert!(csv.ends_with(end), "{csv}");
        owner.done("markPayoutPaid", json!({ "id": payout, "reference": "r" }), "").await;
        let settled = lines([
            (1000, "0.00", "8.00"), (2010, "10.00", "10.00"), (2020, "8.00", "8.00"), (2100, "0.00", "1.50"),
            (5100, "0.00", "0.50"),
        ]);
        assert_eq!(moved(&owner).await, settled);
        // What it cost was spent; the rest comes back.
        owner.done("markPayoutReturned", json!({ "id": payout, "reference": "b", "reason": "closed" }), "").await;
        let returned = lines([
            (1000, "8.00", "8.00"), (2010, "10.00", "19.50"), (2020, "8.00", "8.00"), (2100, "1.50", "1.50"),
            (5100, "0.00", "0.50"),
        ]);
        assert_eq!(moved(&owner).await, returned);
    }

    async fn affiliates_terms_go_before_the_tenants(app) {
        let owner = app.owner();
        let ada = quick(&owner).await;
        terms(&owner, None, Some("15"), Some("0.50")).await;
        terms(&owner, Some(&ada.affiliate), Some("0"), None).await;
        let query = "query($id: ID!) { effectivePayoutTerms(affiliateId: $id, currency: \"EUR\") { withholdingPercent \
            fee { amount } } payoutTerms(first: 10, order: CREATED_ASC) { edges { node { withholdingPercent fee { amount } } } } }";
        let data = owner.data(query, json!({ "id": ada.affiliate })).await;
        let effective = json!({ "withholdingPercent": "0", "fee": { "amount": "0.50" } });
        assert_eq!(data["effectivePayoutTerms"], effective);
        assert_eq!(data["payoutTerms"]["edges"], json!([
            { "node": { "withholdingPercent": "15", "fee": { "amount": "0.50" } } },
            { "node": { "withholdingPercent": "0", "fee": null } },
        ]));
        earn(app, &owner, &ada, "100.00").await;
        let batch = draft(&owner).await;
        let payout = payouts(&batch).remove(0);
        assert_eq!(amounts(&owner, &payout).await, ["10.00", "0.00", "0.50", "9.50"]);
        submit(&owner, &batch).await;
        // Nothing was paid, and nothing is taken off.
        owner.done("markPayoutFailed", json!({ "id": payout, "reason": "closed" }), "").await;
        let failed = lines([(2010, "10.00", "20.00"), (2020, "9.50", "9.50"), (5100, "0.50", "0.50")]);
        assert_eq!(moved(&owner).await, failed);
    }

    async fn payout_of_which_nothing_is_left_is_not_drafted(app) {
        let owner = app.owner();
        let ada = quick(&owner).await;
        earn(app, &owner, &ada, "100.00").await;
        terms(&owner, Some(&ada.affiliate), None, Some("10.00")).await;
        let preview = "{ payoutPreviewLines(first: 10) { edges { node { gross { amount } net { amount } reason } } } }";
        let line = owner.data(preview, json!({})).await["payoutPreviewLines"]["edges"][0]["node"].take();
        assert_eq!(line, json!({ "gross": null, "net": null, "reason": "BELOW_MINIMUM" }));
        assert_eq!(payouts(&draft(&owner).await), [""; 0]);
        terms(&owner, Some(&ada.affiliate), None, Some("9.99")).await;
        let payout = payouts(&draft(&owner).await).remove(0);
        assert_eq!(amounts(&owner, &payout).await, ["10.00", "0.00", "9.99", "0.01"]);
    }

    async fn deductions_that_are_none_are_refused(app) {
        let owner = app.owner();
        for (percent, fee, code) in [
            (Some("100.1"), None, "INVALID_RATE"), (Some("-1"), None, "INVALID_RATE"), (Some("x"), None, "INVALID_RATE"),
            (None, Some(("1.00", "USD")), "CURRENCY_MISMATCH"), (None, Some(("-1.00", "EUR")), "INVALID_AMOUNT"),
        ] {
            let fee = fee.map(|(amount, currency)| json!({ "amount": amount, "currency": currency }));
            let input = json!({ "currency": "EUR", "withholdingPercent": percent, "fee": fee });
            assert_eq!(owner.refusal("setPayoutTerms", input).await, code, "{percent:?} {fee:?}");
        }
    }
}
