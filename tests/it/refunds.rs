//! Refunds, chargebacks, adjusted sales: what each takes and gives, once, wherever the money is.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tributary::ambient::Clock;

use crate::{
    attribution::cents,
    support::{
        Client, Programme, Terms, TestApp, on_both,
        programme::{enroll, id, merge, new_affiliate, sale},
    },
};

/// What a change answers.
pub const CHANGE: &str = "replayed conversionChange { id kind reason saleAmount { amount } undone undoesId reference note \
    commissions { amount { amount } } conversion { id status reason version saleAmount { amount } \
    saleAdjustment { amount } refundedAmount { amount } netSaleAmount { amount } commissionTotal { amount } \
    commissions { status amount { amount } adjustment { amount } reversed { amount } total { amount } } } }";

/// A rule of 30 %.
pub fn thirty() -> Terms {
    Terms { rule: json!({ "percent": "30" }), ..Terms::default() }
}

/// Records a sale of a programme; its id.
pub async fn sold(client: &Client, programme: &Programme, amount: &str) -> String {
    let click = programme.click(client).await;
    id(&client.done("recordConversion", sale(&click, &click, amount), "conversion { id }").await, "conversion")
}

pub fn eur(amount: &str) -> Value {
    json!({ "amount": amount, "currency": "EUR" })
}

/// Refunds a part of a conversion; the change.
pub async fn refund(client: &Client, conversion: &str, amount: Option<&str>, reason: &str) -> Value {
    let mut input = json!({ "id": conversion, "reason": reason });
    if let Some(amount) = amount {
        merge(&mut input, json!({ "amount": eur(amount) }));
    }
    client.done("refundConversion", input, CHANGE).await["conversionChange"].take()
}

pub async fn undo(client: &Client, change: &Value) -> Value {
    client.done("undoReversal", json!({ "id": change["id"] }), CHANGE).await["conversionChange"].take()
}

pub async fn adjust(client: &Client, conversion: &str, amount: &str) -> Value {
    let input = json!({ "id": conversion, "saleAmount": eur(amount) });
    client.done("adjustConversion", input, CHANGE).await["conversionChange"].take()
}

/// Unapproved, pending, available and debt of an affiliate, in cents.
pub async fn earnings(client: &Client, affiliate: &str) -> [i64; 4] {
    let query = "query($id: ID!) { earnings(affiliateId: $id) { balances { unapproved { amount } pending { amount } \
        available { amount } debt { amount } } } }";
    let data = client.data(query, json!({ "id": affiliate })).await;
    let balance = &data["earnings"]["balances"][0];
    ["unapproved", "pending", "available", "debt"].map(|part| match balance {
        Value::Null => 0,
        balance => cents(&balance[part]),
    })
}

/// Conversions, sales and commission of the report, in cents.
pub async fn reported(app: &TestApp, client: &Client) -> [i64; 3] {
    let query = "query($input: ReportInput!) { report(input: $input) { conversions saleAmount { amount } \
        commission { amount } } }";
    let hour = chrono::DurationRound::duration_trunc(app.clock.now(), TimeDelta::hours(1)).expect("in range");
    let input = json!({ "from": hour - TimeDelta::days(90), "until": hour + TimeDelta::hours(1) });
    let data = client.data(query, json!({ "input": input })).await;
    let row = &data["report"][0];
    [row["conversions"].as_i64().expect("a number"), cents(&row["saleAmount"]), cents(&row["commission"])]
}

/// Of what the change took or gave each commission, in cents.
pub fn moved(change: &Value) -> Vec<i64> {
    change["commissions"].as_array().expect("a list").iter().map(|line| cents(&line["amount"])).collect()
}

on_both! {
    async fn partial_refunds_sum_to_the_commission_and_the_last_one_reverses(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &thirty()).await;
        let conversion = sold(&owner, &programme, "49.00").await;
        assert_eq!(earnings(&owner, &programme.affiliate).await, [0, 1_470, 0, 0]);
        let mut taken = Vec::new();
        for (amount, left) in [("10.00", [1, 3_900, 1_170]), ("10.00", [1, 2_900, 870]), ("29.00", [0, 0, 0])] {
            taken.extend(moved(&refund(&owner, &conversion, Some(amount), "REFUND").await));
            assert_eq!(reported(app, &owner).await, left);
        }
        assert_eq!(taken, [-300, -300, -870]);
        assert_eq!(earnings(&owner, &programme.affiliate).await, [0, 0, 0, 0]);
        let query = "query($id: ID!) { conversion(by: { id: $id }) { status reason saleAmount { amount } \
            refundedAmount { amount } netSaleAmount { amount } commissionTotal { amount } \
            commissions { status amount { amount } reversed { amount } total { amount } } \
            changes { kind saleAmount { amount } version } history { version fromStatus toStatus reason } } }";
        let data = owner.data(query, json!({ "id": conversion })).await;
        let change = |sale: &str, version: i32| json!({ "kind": "REVERSAL", "saleAmount": { "amount": sale }, "version": version });
        let step = |version: i32, from: Value, to: &str, reason: Value| json!({
            "version": version, "fromStatus": from, "toStatus": to, "reason": reason,
        });
        assert_eq!(data["conversion"], json!({
            "status": "REVERSED", "reason": "REFUND", "saleAmount": { "amount": "49.00" },
            "refundedAmount": { "amount": "49.00" }, "netSaleAmount": { "amount": "0.00" },
            "commissionTotal": { "amount": "0.00" },
            "commissions": [{ "status": "REVERSED", "amount": { "amount": "14.70" }, "reversed": { "amount": "14.70" },
                "total": { "amount": "0.00" } }],
            "changes": [change("-29.00", 4), change("-10.00", 3), change("-10.00", 2)],
            "history": [
                step(1, json!(null), "APPROVED", json!(null)), step(2, json!("APPROVED"), "APPROVED", json!("REFUND")),
                step(3, json!("APPROVED"), "APPROVED", json!("REFUND")), step(4, json!("APPROVED"), "REVERSED", json!("REFUND")),
            ],
        }));
        // Nothing is left to release.
        app.clock.advance(TimeDelta::days(2));
        app.release_holds().await;
        assert_eq!(earnings(&owner, &programme.affiliate).await, [0, 0, 0, 0]);
    }

    async fn refund_of_more_than_is_left_and_a_second_full_one_are_refused(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &thirty()).await;
        let conversion = sold(&owner, &programme, "49.00").await;
        refund(&owner, &conversion, Some("40.00"), "RETURNED_GOODS").await;
        for (amount, code) in [
            (eur("9.01"), "OUT_OF_RANGE"), (eur("0.00"), "OUT_OF_RANGE"), (eur("0.001"), "INVALID_AMOUNT"),
            (json!({ "amount": "1.00", "currency": "USD" }), "CURRENCY_MISMATCH"),
        ] {
            assert_eq!(owner.refusal("refundConversion", json!({ "id": conversion, "amount": amount })).await, code);
        }
        refund(&owner, &conversion, None, "CHARGEBACK").await;
        for amount in [Value::Null, eur("1.00")] {
            let input = json!({ "id": conversion, "amount": amount });
            assert_eq!(owner.refusal("refundConversion", input).await, "INVALID_TRANSITION");
        }
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM journal WHERE kind = 'REVERSAL'").await, 2);
    }

    async fn refund_is_the_same_by_its_key_and_by_its_reference(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &thirty()).await;
        let conversion = sold(&owner, &programme, "49.00").await;
        let input = json!({ "idempotencyKey": "k", "id": conversion, "amount": eur("10.00"), "reference": "r-1" });
        let first = owner.done("refundConversion", input.clone(), CHANGE).await;
        let again = owner.done("refundConversion", input.clone(), CHANGE).await;
        assert_eq!((&first["replayed"], &again["replayed"]), (&json!(false), &json!(true)));
        assert_eq!(first["conversionChange"], again["conversionChange"]);
        let mut other = input.clone();
        merge(&mut other, json!({ "amount": eur("11.00") }));
        assert_eq!(owner.refusal("refundConversion", other.clone()).await, "IDEMPOTENCY_CONFLICT");
        // By the reference alone, whatever the key.
        for key in [json!(null), json!("another")] {
            let mut input = input.clone();
            merge(&mut input, json!({ "idempotencyKey": key }));
            let again = owner.done("refundConversion", input, CHANGE).await;
            assert_eq!((&again["replayed"], &again["conversionChange"]["id"]), (&json!(true), &first["conversionChange"]["id"]));
            merge(&mut other, json!({ "idempotencyKey": null }));
            assert_eq!(owner.refusal("refundConversion", other.clone()).await, "IDEMPOTENCY_CONFLICT");
        }
        assert_eq!(earnings(&owner, &programme.affiliate).await, [0, 1_170, 0, 0]);
    }

    async fn commission_that_rounding_takes_back_before_approval_is_approved_without_a_journal(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms { approval: "MANUAL", ..thirty() }).await;
        let conversion = sold(&owner, &programme, "0.03").await;
        assert_eq!(earnings(&owner, &programme.affiliate).await, [1, 0, 0, 0]);
        let change = refund(&owner, &conversion, Some("0.02"), "REFUND").await;
        // 2/3 of a cent.
        assert_eq!(moved(&change), [-1]);
        owner.done("approveConversions", json!({ "ids": [conversion] }), "").await;
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM journal").await, 0);
        assert_eq!(earnings(&owner, &programme.affiliate).await, [0, 0, 0, 0]);
        undo(&owner, &change).await;
        assert_eq!(earnings(&owner, &programme.affiliate).await, [0, 1, 0, 0]);
    }

    async fn refund_before_approval_shrinks_what_will_be_approved(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms { approval: "MANUAL", ..thirty() }).await;
        let [approved, rejected, reversed] = [
            sold(&owner, &programme, "49.00").await, sold(&owner, &programme, "49.00").await, sold(&owner, &programme, "49.00").await,
        ];
        for conversion in [&approved, &rejected] {
            refund(&owner, conversion, Some("10.00"), "REFUND").await;
        }
        let whole = refund(&owner, &reversed, None, "BAD_DEBT").await;
        assert_eq!((&whole["conversion"]["status"], &whole["conversion"]["reason"]), (&json!("REVERSED"), &json!("BAD_DEBT")));
        assert_eq!(earnings(&owner, &programme.affiliate).await, [2 * 1_170, 0, 0, 0]);
        assert_eq!(reported(app, &owner).await, [2, 2 * 3_900, 2 * 1_170]);
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM journal").await, 0);
        owner.done("approveConversions", json!({ "ids": [approved] }), "").await;
        owner.done("rejectConversions", json!({ "ids": [rejected], "reason": "FRAUD" }), "").await;
        assert_eq!(earnings(&owner, &programme.affiliate).await, [0, 1_170, 0, 0]);
        assert_eq!(reported(app, &owner).await, [1, 3_900, 1_170]);
        assert_eq!(owner.refusal("refundConversion", json!({ "id": rejected })).await, "INVALID_TRANSITION");
        // Taken up again it keeps what was refunded, and can be undone.
        owner.done("reopenConversions", json!({ "ids": [rejected] }), "").await;
        assert_eq!(earnings(&owner, &programme.affiliate).await, [1_170, 1_170, 0, 0]);
        let query = "query($id: ID!) { conversion(by: { id: $id }) { changes { id } } }";
        let data = owner.data(query, json!({ "id": rejected })).await;
        undo(&owner, &data["conversion"]["changes"][0]).await;
        assert_eq!(earnings(&owner, &programme.affiliate).await, [1_470, 1_170, 0, 0]);
        // What was taken back before it was approved waits again.
        let back = undo(&owner, &whole).await;
        assert_eq!((&back["conversion"]["status"], &back["conversion"]["reason"]), (&json!("PENDING"), &json!(null)));
        assert_eq!(earnings(&owner, &programme.affiliate).await, [2 * 1_470, 1_170, 0, 0]);
    }

    async fn refund_of_a_sale_that_waits_for_its_rate_is_counted_once(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &thirty()).await;
        let click = programme.click(&owner).await;
        let mut input = sale(&click, &click, "49.00");
        merge(&mut input, json!({ "saleAmount": { "amount": "49.00", "currency": "USD" } }));
        let held = id(&owner.done("recordConversion", input, "conversion { id }").await, "conversion");
        let part = json!({ "id": held, "amount": { "amount": "9.00", "currency": "USD" } });
        owner.done("refundConversion", part, "").await;
        let rate = json!({ "base": "EUR", "quote": "USD", "rate": "1.25", "validOn": app.clock.now().date_naive() });
        owner.done("setFxRate", rate, "").await;
        app.run_jobs().await;
        // 40.00 of 49.00 USD are left: 30 % of 39.20 EUR, less 9 / 49 of it.
        assert_eq!(earnings(&owner, &programme.affiliate).await, [0, 1_176 - 216, 0, 0]);
        let counted = "SELECT CAST(SUM(conversions) AS bigint) FROM rollup_hourly WHERE sale_minor = 4000 AND currency = 'USD'";
        assert_eq!(app.auditor.number(counted).await, 1);
    }

    async fn undone_reversal_gives_exactly_what_it_took_and_once(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &thirty()).await;
        let conversion = sold(&owner, &programme, "49.00").await;
        let first = refund(&owner, &conversion, Some("10.00"), "REFUND").await;
        let second = refund(&owner, &conversion, None, "CHARGEBACK").await;
        let won = undo(&owner, &second).await;
        assert_eq!((moved(&second), moved(&won)), (vec![-1_170], vec![1_170]));
        assert_eq!((&won["kind"], &won["undoesId"], &won["reason"]), (&json!("UNDO"), &second["id"], &json!("CHARGEBACK")));
        assert_eq!(won["conversion"]["status"], "APPROVED");
        assert_eq!(earnings(&owner, &programme.affiliate).await, [0, 1_170, 0, 0]);
        assert_eq!(reported(app, &owner).await, [1, 3_900, 1_170]);
        for change in [&second, &won] {
            assert_eq!(owner.refusal("undoReversal", json!({ "id": change["id"] })).await, "INVALID_TRANSITION");
        }
        // Its hold ends as if nothing had been.
        app.clock.advance(TimeDelta::days(2));
        app.release_holds().await;
        assert_eq!(earnings(&owner, &programme.affiliate).await, [0, 0, 1_170, 0]);
        undo(&owner, &first).await;
        assert_eq!(earnings(&owner, &programme.affiliate).await, [0, 0, 1_470, 0]);
        // Taken back and given again after its hold: at once available.
        let third = refund(&owner, &conversion, None, "CHARGEBACK").await;
        assert_eq!(earnings(&owner, &programme.affiliate).await, [0, 0, 0, 0]);
        undo(&owner, &third).await;
        assert_eq!(earnings(&owner, &programme.affiliate).await, [0, 0, 1_470, 0]);
    }

    async fn reversal_whose_hold_ended_meanwhile_is_released_when_it_is_undone(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &thirty()).await;
        let conversion = sold(&owner, &programme, "49.00").await;
        let lost = refund(&owner, &conversion, None, "CHARGEBACK").await;
        app.clock.advance(TimeDelta::days(2));
        app.release_holds().await;
        undo(&owner, &lost).await;
        assert_eq!(earnings(&owner, &programme.affiliate).await, [0, 1_470, 0, 0]);
        app.clock.advance(TimeDelta::seconds(2));
        app.run_jobs().await;
        assert_eq!(earnings(&owner, &programme.affiliate).await, [0, 0, 1_470, 0]);
    }

    async fn flat_commission_goes_with_the_whole_sale_unless_its_rule_says_otherwise(app) {
        let owner = app.owner();
        let flat = Terms { rule: json!({ "flat": eur("5.00") }), ..Terms::default() };
        let programme = Programme::build(&owner, &flat).await;
        let conversion = sold(&owner, &programme, "100.00").await;
        assert_eq!(moved(&refund(&owner, &conversion, Some("99.99"), "REFUND").await), [0; 0]);
        assert_eq!(moved(&refund(&owner, &conversion, None, "REFUND").await), [-500]);
        let change = json!({ "id": programme.rule, "flatRefundedInPart": true });
        let rule = "commissionRule { version flatRefundedInPart flat { amount } versions { version flatRefundedInPart } }";
        let rule = owner.done("updateCommissionRule", change, rule).await["commissionRule"].take();
        assert_eq!(rule, json!({ "version": 2, "flatRefundedInPart": true, "flat": { "amount": "5.00" }, "versions": [
            { "version": 2, "flatRefundedInPart": true }, { "version": 1, "flatRefundedInPart": false },
        ] }));
        let conversion = sold(&owner, &programme, "100.00").await;
        assert_eq!(moved(&refund(&owner, &conversion, Some("25.00"), "REFUND").await), [-125]);
    }

    async fn lead_is_taken_back_as_a_whole(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms { rule: json!({ "flat": eur("2.50") }), ..Terms::default() }).await;
        let mut lead = sale(&programme.click(&owner).await, "l", "1.00");
        lead.as_object_mut().expect("an object").remove("saleAmount");
        let lead = id(&owner.done("recordConversion", lead, "conversion { id }").await, "conversion");
        let input = json!({ "id": lead, "amount": eur("1.00") });
        assert_eq!(owner.refusal("refundConversion", input).await, "OUT_OF_RANGE");
        let taken = refund(&owner, &lead, None, "MANUAL").await;
        assert_eq!((moved(&taken), &taken["conversion"]["status"]), (vec![-250], &json!("REVERSED")));
        assert_eq!(reported(app, &owner).await, [0, 0, 0]);
        assert_eq!(moved(&undo(&owner, &taken).await), [250]);
        assert_eq!(reported(app, &owner).await, [1, 0, 250]);
    }

    async fn adjusted_sale_is_reckoned_by_the_version_of_then(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &thirty()).await;
        let conversion = sold(&owner, &programme, "49.00").await;
        let terms = json!({ "id": programme.rule, "terms": { "percent": "1" } });
        owner.done("updateCommissionRule", terms, "").await;
        let more = adjust(&owner, &conversion, "100.00").await;
        assert_eq!((moved(&more), &more["saleAmount"]["amount"], &more["kind"]), (vec![1_530], &json!("51.00"), &json!("ADJUSTMENT")));
        let seen = &more["conversion"];
        assert_eq!(seen["saleAmount"]["amount"], "49.00", "as it was sent");
        assert_eq!(seen["netSaleAmount"]["amount"], "100.00");
        assert_eq!(seen["commissions"][0]["amount"]["amount"], "14.70", "as it was reckoned first");
        assert_eq!(seen["commissions"][0]["total"]["amount"], "30.00");
        assert_eq!(earnings(&owner, &programme.affiliate).await, [0, 3_000, 0, 0]);
        assert_eq!(reported(app, &owner).await, [1, 10_000, 3_000]);
        app.clock.advance(TimeDelta::days(2));
        app.release_holds().await;
        refund(&owner, &conversion, Some("50.00"), "REFUND").await;
        assert_eq!(earnings(&owner, &programme.affiliate).await, [0, 0, 1_500, 0]);
        let less = adjust(&owner, &conversion, "60.00").await;
        assert_eq!(moved(&less), [-1_200]);
        assert_eq!(earnings(&owner, &programme.affiliate).await, [0, 0, 300, 0]);
        for (amount, code) in [("60.00", "OUT_OF_RANGE"), ("50.00", "OUT_OF_RANGE")] {
            let input = json!({ "id": conversion, "saleAmount": eur(amount) });
            assert_eq!(owner.refusal("adjustConversion", input).await, code);
        }
        assert_eq!(moved(&refund(&owner, &conversion, None, "REFUND").await), [-300]);
        assert_eq!(reported(app, &owner).await, [0, 0, 0]);
        let input = json!({ "id": conversion, "saleAmount": eur("70.00") });
        assert_eq!(owner.refusal("adjustConversion", input).await, "INVALID_TRANSITION");
    }

    async fn conversion_shared_by_several_takes_the_same_part_of_each(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &thirty()).await;
        let model = json!({ "id": programme.campaign, "attributionModel": "LINEAR" });
        owner.done("updateCampaign", model, "").await;
        let affiliate = new_affiliate(&owner).await;
        let (_, link) = enroll(&owner, &programme.campaign, &affiliate).await;
        let clicked = json!({ "visitorId": "v" });
        programme.click_with(&owner, clicked.clone()).await;
        let second = Programme { link, ..programme.clone() };
        let click = second.click_with(&owner, clicked).await;
        let mut shared = sale(&click, "s", "100.00");
        merge(&mut shared, json!({ "visitorId": "v", "clickId": null }));
        let shared = id(&owner.done("recordConversion", shared, "conversion { id }").await, "conversion");
        assert_eq!(earnings(&owner, &affiliate).await, [0, 1_500, 0, 0]);
        let third = refund(&owner, &shared, Some("33.33"), "REFUND").await;
        assert_eq!(moved(&third), [-500, -500]);
        adjust(&owner, &shared, "200.00").await;
        for affiliate in [&affiliate, &programme.affiliate] {
            assert_eq!(earnings(&owner, affiliate).await, [0, 2_500, 0, 0]);
        }
        refund(&owner, &shared, None, "REFUND").await;
        undo(&owner, &third).await;
        for affiliate in [&affiliate, &programme.affiliate] {
            assert_eq!(earnings(&owner, affiliate).await, [0, 500, 0, 0]);
        }
    }

    async fn refunds_at_once_take_each_their_part_and_never_too_much(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms { hold_seconds: 0, ..thirty() }).await;
        let conversion = sold(&owner, &programme, "49.00").await;
        let mut sent = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let (client, conversion) = (app.owner(), conversion.clone());
            sent.spawn(async move {
                let input = json!({ "id": conversion, "amount": eur("7.00") });
                client.mutate("refundConversion", input, "conversionChange { id }").await["userErrors"].take()
            });
        }
        app.release_holds().await;
        let answers = sent.join_all().await;
        assert_eq!(answers.iter().filter(|errors| **errors == json!([])).count(), 7, "{answers:?}");
        assert_eq!(earnings(&owner, &programme.affiliate).await, [0, 0, 0, 0]);
    }

    async fn change_of_another_tenant_is_not_found(app) {
        let stranger = app.stranger();
        let programme = Programme::build(&stranger, &thirty()).await;
        let conversion = sold(&stranger, &programme, "49.00").await;
        let change = refund(&stranger, &conversion, Some("1.00"), "REFUND").await;
        let owner = app.owner();
        assert_eq!(owner.refusal("refundConversion", json!({ "id": conversion })).await, "NOT_FOUND");
        assert_eq!(owner.refusal("undoReversal", json!({ "id": change["id"] })).await, "NOT_FOUND");
        let input = json!({ "id": conversion, "saleAmount": eur("1.00") });
        assert_eq!(owner.refusal("adjustConversion", input).await, "NOT_FOUND");
    }
}
