//! Payouts through processors: the whole way of each, their calls, their books, and who may set them up.

use chrono::{Days, TimeDelta};
use serde_json::{Value, json};
use tributary::{
    ambient::Clock,
    domain::{
        ledger::{AccountKey, Code},
        tenancy::TenantScope,
    },
    services::processors::reconcile,
};
use tributary_entity::kinds::{PayoutMethod, Role};

use crate::{
    payouts::{draft, earn, payouts, post_to, quick},
    support::{
        Client, TestApp,
        double::{
            Fate, Kind, State,
            story::{available, books_agree, earner, payout, set_up, states, submitted, until, with_double},
        },
    },
};

/// Lets a day pass, and compares the books up to it. Answers how many days were compared.
async fn next_day(app: &TestApp) -> u64 {
    app.clock.advance(TimeDelta::days(1));
    let yesterday = app.clock.now().date_naive() - Days::new(1);
    reconcile::up_to(&app.services, &TenantScope::tenant(app.home), yesterday).await.expect("compared")
}

/// Lets a day pass, and compares its books; the differences.
async fn compare(app: &TestApp) -> Vec<Value> {
    next_day(app).await;
    items(app).await
}

/// The differences, latest first.
async fn items(app: &TestApp) -> Vec<Value> {
    let query = "{ reconciliationItems(first: 20) { edges { node { id kind status method externalId detail \
        ours { amount } theirs { amount } payout { id } } } } }";
    let data = app.owner().data(query, json!({})).await;
    data["reconciliationItems"]["edges"].as_array().expect("a page").iter().map(|edge| edge["node"].clone()).collect()
}

/// The last call that came.
async fn last_call(client: &Client) -> Value {
    let query = "{ processorCalls(first: 1) { edges { node { outcome httpStatus message body } } } }";
    client.data(query, json!({})).await["processorCalls"]["edges"][0]["node"].take()
}

/// Posts between an account of who pays and the expense, debit positive, what no payout asked for.
async fn post_by_hand(app: &TestApp, code: Code, method: PayoutMethod, amount_minor: i64) {
    post_to(app, |currency| AccountKey::of_processor(code, method, currency), amount_minor).await;
}

/// The differences by kind, with both sides' amounts.
async fn kinds(app: &TestApp) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let items = items(app).await;
    let told =
        items.iter().map(|item| (text(&item["kind"]), text(&item["ours"]["amount"]), text(&item["theirs"]["amount"])));
    let mut found: Vec<_> = told.collect();
    found.sort();
    found
}

fn told((kind, ours, theirs): (&str, &str, &str)) -> (String, String, String) {
    (kind.to_owned(), ours.to_owned(), theirs.to_owned())
}

with_double! {
    async fn payout_goes_the_whole_way_through_each_processor(app, double) {
        let owner = app.owner();
        for kind in Kind::ALL {
            let url = set_up(app, kind).await;
            let programme = earner(app, &owner, kind).await;
            let id = submitted(&owner, &programme).await;
            let paid_before = app.auditor.number("SELECT COUNT(*) FROM payout WHERE status = 'PAID'").await;
            if !kind.is_instant() {
                until(app, "IN_TRANSIT", 1).await;
                double.set(kind, &id, State::Paid);
                assert_eq!(double.notice(kind, &id).send(&url).await, (200, "taken".to_owned()));
            }
            until(app, "PAID", if kind.is_instant() { 1 } else { paid_before + 1 }).await;
            let payout = payout(&owner, &id).await;
            assert_eq!((&payout["status"], &payout["method"]), (&json!("PAID"), &json!(kind.method())), "{payout}");
            assert_eq!(payout["reference"], double.payment(kind, &id).expect("paid").reference());
            assert_eq!((payout["transfer"]["trouble"].clone(), double.asked(kind, &id)), (Value::Null, 1));
            let fee = format!("{}.{:02}", kind.fee() / 100, kind.fee() % 100);
            let expected = if kind.fee() == 0 { Value::Null } else { json!({ "amount": fee }) };
            assert_eq!(payout["transfer"]["fee"], expected, "{kind:?}");
            let middle = if kind.is_instant() { &[][..] } else { &["IN_TRANSIT"] };
            assert_eq!(states(&owner, &id).await, [&["DRAFT", "APPROVED", "SUBMITTED"], middle, &["PAID"]].concat());
        }
        books_agree(app, double).await;
        assert_eq!(compare(app).await, [] as [Value; 0]);
    }

    async fn call_is_taken_once_and_never_leads_back(app, double) {
        let owner = app.owner();
        let url = set_up(app, Kind::Paypal).await;
        let programme = earner(app, &owner, Kind::Paypal).await;
        let id = submitted(&owner, &programme).await;
        until(app, "IN_TRANSIT", 1).await;
        let early = double.notice(Kind::Paypal, &id);
        double.set(Kind::Paypal, &id, State::Paid);
        let paid = double.notice(Kind::Paypal, &id);
        assert_eq!(paid.send(&url).await, (200, "taken".to_owned()));
        // Doubled, at the same moment too, and out of order.
        let all = futures_util::future::join_all((0..8).map(|_| paid.send(&url))).await;
        assert!(all.iter().all(|answer| *answer == (200, "replayed".to_owned())), "{all:?}");
        assert_eq!(early.send(&url).await, (200, "taken".to_owned()));
        assert_eq!(states(&owner, &id).await, ["DRAFT", "APPROVED", "SUBMITTED", "IN_TRANSIT", "PAID"]);
        // Weeks later.
        app.clock.advance(TimeDelta::days(40));
        double.set(Kind::Paypal, &id, State::Returned);
        let back = double.notice(Kind::Paypal, &id);
        assert_eq!(back.send(&url).await, (200, "taken".to_owned()));
        assert_eq!((paid.send(&url).await.1, back.send(&url).await.1), ("replayed".to_owned(), "replayed".to_owned()));
        assert_eq!(payout(&owner, &id).await["status"], "RETURNED");
        assert_eq!(available(&owner, &programme.affiliate).await, "10.00");
        books_agree(app, double).await;
        let calls = "{ processorCalls(first: 10) { totalCount edges { node { outcome httpStatus payout { id } } } } }";
        let calls = owner.data(calls, json!({})).await;
        assert_eq!(calls["processorCalls"]["totalCount"], 3, "{calls}");
    }

    async fn calls_of_others_are_refused_and_listed(app, double) {
        let owner = app.owner();
        for kind in Kind::ALL {
            let url = set_up(app, kind).await;
            let programme = earner(app, &owner, kind).await;
            let id = submitted(&owner, &programme).await;
            until(app, if kind.is_instant() { "PAID" } else { "IN_TRANSIT" }, if kind == Kind::Wise { 2 } else { 1 }).await;
            let mut forged = double.notice(kind, &id);
            forged.body = forged.body.replacen('{', "{ ", 1);
            if kind == Kind::Paypal {
                // PayPal is asked, and answers FAILURE.
                assert_eq!(forged.send(&url).await, (401, "refused".to_owned()));
                assert_eq!(last_call(&owner).await["message"], "the signature does not fit: PayPal does not know it");
                forged.headers.retain(|(name, _)| *name != "paypal-transmission-sig");
            }
            assert_eq!(forged.send(&url).await, (401, "refused".to_owned()), "{kind:?}");
            let call = last_call(&owner).await;
            assert_eq!((&call["outcome"], &call["httpStatus"], &call["body"]), (&json!("REFUSED"), &json!(401), &Value::Null));
            // Another processor's address, and nobody's.
            let name = kind.method().to_lowercase();
            for wrong in [url.replace(&name, if kind == Kind::Wise { "stripe" } else { "wise" }), format!("{url}x")] {
                assert_eq!(double.notice(kind, &id).send(&wrong).await.0, 404, "{wrong}");
            }
        }
    }

    async fn credentials_are_never_shown_and_need_their_permission(app, double) {
        let owner = app.owner();
        let url = set_up(app, Kind::Stripe).await;
        let again = owner.done("setProcessor", Kind::Stripe.credentials(), "processor { id mask } webhookUrl").await;
        // The address stays; it is told once.
        assert_eq!(again["webhookUrl"], Value::Null);
        assert_eq!(again["processor"]["mask"], "…0000");
        let events = owner.data("{ events(first: 20) { edges { node { type subjectId } } } }", json!({})).await;
        assert!(events.to_string().contains("PROCESSOR_CHANGED"), "{events}");
        let secret = "sk_test_51Double";
        let sealed = if app.auditor.is_postgres() { "upper(encode(sealed, 'hex'))" } else { "hex(sealed)" };
        for (column, table, secret) in
            [(sealed, "processor", &*data_encoding::HEXUPPER.encode(secret.as_bytes())), ("payload", "event", secret)]
        {
            let sql = format!("SELECT COUNT(*) FROM {table} WHERE {column} LIKE '%{secret}%'");
            assert_eq!(app.auditor.number(&sql).await, 0, "{table}");
        }
        for role in [Role::Finance, Role::Manager, Role::Analyst] {
            let (_, body) = app.role(role).send("{ processors { id } }", json!({})).await;
            assert_eq!(body["errors"][0]["extensions"]["code"], "FORBIDDEN", "{role}");
        }
        let wrong = json!({ "account": { "stripe": { "secretKey": "pk_live_1", "webhookSecret": "whsec_1" } } });
        assert_eq!(owner.refusal("setProcessor", wrong).await, "INVALID_ACCOUNT");
        // Removed, its address is nobody's, and no destination is taken.
        let programme = earner(app, &owner, Kind::Stripe).await;
        let id = submitted(&owner, &programme).await;
        until(app, "PAID", 1).await;
        owner.done("removeProcessor", json!({ "id": again["processor"]["id"] }), "processor { endedAt }").await;
        assert_eq!(double.notice(Kind::Stripe, &id).send(&url).await.0, 404);
        let destination = json!({ "affiliateId": programme.affiliate, "currency": "EUR", "holder": "Ada Ltd",
            "account": Kind::Stripe.destination() });
        assert_eq!(owner.refusal("setPayoutDestination", destination).await, "METHOD_NOT_AVAILABLE");
        // A new draft is for a person.
        earn(app, &owner, &programme, "100.00").await;
        let drafted = payouts(&draft(&owner).await).remove(0);
        assert_eq!(payout(&owner, &drafted).await["method"], "MANUAL");
    }

    async fn account_stays_while_payouts_are_under_way_at_it(app, double) {
        let owner = app.owner();
        let stripe = |key: &str| json!({ "stripe": { "secretKey": key, "webhookSecret": "whsec_another" } });
        let wise = |profile: &str| json!({ "wise": { "apiToken": "another-token", "profileId": profile } });
        for (kind, count) in [(Kind::Stripe, 1), (Kind::Wise, 2)] {
            set_up(app, kind).await;
            let programme = earner(app, &owner, kind).await;
            double.fates(&[Fate::Hangs]);
            submitted(&owner, &programme).await;
            until(app, "UNKNOWN", count).await;
        }
        // A key does not tell whose it is; a profile does.
        let key = stripe("sk_test_another_0000");
        assert_eq!(owner.refusal("setProcessor", json!({ "account": key })).await, "INVALID_TRANSITION");
        for keeps in [false, true] {
            let input = json!({ "account": wise("999"), "keepsAccount": keeps });
            assert_eq!(owner.refusal("setProcessor", input).await, "INVALID_TRANSITION");
        }
        // Nor is it another one that is set up after the removal of that one.
        let processors = owner.data("{ processors { id method } }", json!({})).await;
        for processor in processors["processors"].as_array().expect("a list") {
            owner.done("removeProcessor", json!({ "id": processor["id"] }), "").await;
        }
        assert_eq!(owner.refusal("setProcessor", json!({ "account": key })).await, "INVALID_TRANSITION");
        assert_eq!(owner.refusal("setProcessor", json!({ "account": wise("999") })).await, "INVALID_TRANSITION");
        // Another tenant's payouts are its own.
        app.stranger().done("setProcessor", json!({ "account": wise("999") }), "").await;
        owner.done("setProcessor", json!({ "account": key, "keepsAccount": true }), "").await;
        for kind in [Kind::Stripe, Kind::Wise] {
            let mut same = kind.credentials();
            same["keepsAccount"] = json!(kind == Kind::Stripe);
            owner.done("setProcessor", same, "").await;
        }
        app.clock.advance(TimeDelta::hours(2));
        tributary::jobs::outbox::call_processors(&app.services).await.expect("called");
        until(app, "PAID", 1).await;
        until(app, "IN_TRANSIT", 1).await;
        assert_eq!(double.payments(), 2, "one payment each");
        // What is final holds nobody.
        owner.done("setProcessor", json!({ "account": key }), "").await;
    }

    async fn payment_whose_fee_is_not_told_is_not_taken_for_paid(app, double) {
        let owner = app.owner();
        let url = set_up(app, Kind::Wise).await;
        let programme = earner(app, &owner, Kind::Wise).await;
        let id = submitted(&owner, &programme).await;
        until(app, "IN_TRANSIT", 1).await;
        double.set(Kind::Wise, &id, State::Paid);
        double.hide_quotes(1);
        let paid = double.notice(Kind::Wise, &id);
        // It comes again.
        assert_eq!(paid.send(&url).await.0, 503);
        assert_eq!(payout(&owner, &id).await["status"], "IN_TRANSIT");
        assert_eq!(paid.send(&url).await, (200, "taken".to_owned()));
        assert_eq!(payout(&owner, &id).await["transfer"]["fee"]["amount"], "0.41");
        books_agree(app, double).await;
    }

    async fn what_the_processor_has_is_not_moved_by_hand(app, double) {
        let owner = app.owner();
        set_up(app, Kind::Wise).await;
        let programme = earner(app, &owner, Kind::Wise).await;
        let id = submitted(&owner, &programme).await;
        until(app, "IN_TRANSIT", 1).await;
        assert_eq!(double.payments(), 1);
        for (name, input) in [
            ("markPayoutFailed", json!({ "id": id, "reason": "x" })),
            ("markPayoutPaid", json!({ "id": id, "reference": "x" })),
            ("cancelPayout", json!({ "id": id })),
        ] {
            assert_eq!(owner.refusal(name, input).await, "INVALID_TRANSITION", "{name}");
        }
    }

    async fn differences_between_the_books_become_items_once(app, double) {
        let owner = app.owner();
        set_up(app, Kind::Stripe).await;
        set_up(app, Kind::Wise).await;
        let told = set_up(app, Kind::Paypal).await;
        let programme = earner(app, &owner, Kind::Stripe).await;
        let stripe = submitted(&owner, &programme).await;
        until(app, "PAID", 1).await;
        let programme = earner(app, &owner, Kind::Paypal).await;
        let paypal = submitted(&owner, &programme).await;
        until(app, "IN_TRANSIT", 1).await;
        double.pay_somebody_else(Kind::Wise, 777);
        // Reversed there, and nobody told us.
        double.set(Kind::Stripe, &stripe, State::Returned);
        double.set(Kind::Paypal, &paypal, State::Paid);
        double.notice(Kind::Paypal, &paypal).send(&told).await;
        let mut found: Vec<_> = compare(app)
            .await
            .iter()
            .map(|item| (item["method"].clone(), item["kind"].clone(), item["theirs"]["amount"].clone()))
            .collect();
        found.sort_by_key(|item| item.0.to_string());
        assert_eq!(found, [
            (json!("STRIPE"), json!("STATE"), json!("10.00")),
            (json!("WISE"), json!("THEIRS_ONLY"), json!("7.77")),
        ]);
        app.auditor.run("DELETE FROM reconciliation_run").await.expect("a known table");
        app.clock.advance(TimeDelta::days(-1));
        let again = compare(app).await;
        assert_eq!(again.len(), 2, "{again:?}");
        let id = &again[0]["id"];
        let selection = "reconciliationItem { status note resolvedBy }";
        let input = json!({ "id": id, "note": " told by phone " });
        let resolved = owner.done("resolveReconciliationItem", input.clone(), selection).await;
        assert_eq!(resolved["reconciliationItem"], json!({ "status": "RESOLVED", "note": "told by phone", "resolvedBy": "operator" }));
        assert_eq!(owner.refusal("resolveReconciliationItem", input).await, "INVALID_TRANSITION");
        let open = "{ reconciliationItems(first: 10, filter: { status: OPEN }) { totalCount } }";
        assert_eq!(owner.data(open, json!({})).await["reconciliationItems"]["totalCount"], 1);
    }

    async fn payment_that_nobody_answered_for_is_found_by_its_books(app, double) {
        let owner = app.owner();
        let url = set_up(app, Kind::Paypal).await;
        let programme = earner(app, &owner, Kind::Paypal).await;
        double.fates(&[Fate::LostThenRefused]);
        let id = submitted(&owner, &programme).await;
        until(app, "UNKNOWN", 1).await;
        app.clock.advance(TimeDelta::minutes(1));
        app.until("SELECT COUNT(*) FROM payout_transfer WHERE calls = 2 AND busy_until IS NULL", 1).await;
        assert_eq!(payout(&owner, &id).await["status"], "UNKNOWN");
        double.set(Kind::Paypal, &id, State::Paid);
        let payment = double.payment(Kind::Paypal, &id).expect("a payment");
        // Before it is called again.
        app.auditor.run("UPDATE outbox SET due_at = '2100-01-01T00:00:00Z' WHERE kind = 'DRIVE_PAYOUT'").await.expect("a known column");
        let items = compare(app).await;
        assert_eq!((items.len(), &items[0]["kind"]), (1, &json!("THEIRS_ONLY")), "{items:?}");
        assert_eq!(items[0]["externalId"], payment.reference());
        let paid = json!({ "id": id, "reference": payment.reference() });
        owner.done("markPayoutPaid", paid, "").await;
        // What it cost, its notice tells, or the comparison.
        assert_eq!(double.notice(Kind::Paypal, &id).send(&url).await, (200, "taken".to_owned()));
        assert_eq!(states(&owner, &id).await, ["DRAFT", "APPROVED", "SUBMITTED", "UNKNOWN", "PAID"]);
        assert_eq!(compare(app).await.len(), 1);
        books_agree(app, double).await;
    }

    async fn payment_that_fails_after_it_was_paid_is_compared_as_a_return(app, double) {
        let owner = app.owner();
        let url = set_up(app, Kind::Paypal).await;
        for is_told in [true, false] {
            let programme = earner(app, &owner, Kind::Paypal).await;
            let id = submitted(&owner, &programme).await;
            until(app, "IN_TRANSIT", 1).await;
            double.set(Kind::Paypal, &id, State::Paid);
            assert_eq!(double.notice(Kind::Paypal, &id).send(&url).await.0, 200);
            until(app, "PAID", 1).await;
            assert_eq!(compare(app).await, [] as [Value; 0]);
            app.clock.advance(TimeDelta::days(9));
            double.set(Kind::Paypal, &id, State::Failed);
            if is_told {
                assert_eq!(double.notice(Kind::Paypal, &id).send(&url).await.0, 200);
                assert_eq!(compare(app).await, [] as [Value; 0]);
            } else {
                let items = compare(app).await;
                assert_eq!((items.len(), &items[0]["kind"], &items[0]["payout"]["id"]), (1, &json!("STATE"), &json!(id)));
                assert_eq!(items[0]["detail"], "the processor has it back, the payout is PAID");
                owner.done("markPayoutReturned", json!({ "id": id, "reference": "R1", "reason": "told by the books" }), "").await;
            }
            assert_eq!(payout(&owner, &id).await["status"], "RETURNED");
        }
        books_agree(app, double).await;
    }

    async fn days_that_nobody_could_compare_are_made_up_for(app, double) {
        let owner = app.owner();
        set_up(app, Kind::Stripe).await;
        let programme = earner(app, &owner, Kind::Stripe).await;
        submitted(&owner, &programme).await;
        until(app, "PAID", 1).await;
        double.pay_somebody_else(Kind::Stripe, 111);
        double.is_down(true);
        assert_eq!(next_day(app).await, 0);
        double.pay_somebody_else(Kind::Stripe, 222);
        assert_eq!((next_day(app).await, items(app).await), (0, vec![]));
        double.is_down(false);
        // Those days with the one that has just ended.
        assert_eq!(next_day(app).await, 3);
        let mut found: Vec<_> = items(app).await.iter().map(|item| item["theirs"]["amount"].clone()).collect();
        found.sort_by_key(Value::to_string);
        assert_eq!(found, [json!("1.11"), json!("2.22")]);
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM reconciliation_run").await, 3);
        // A month of them at most.
        app.clock.advance(TimeDelta::days(39));
        assert_eq!(next_day(app).await, 31);
    }

    async fn transfer_is_compared_when_it_is_paid_and_when_it_comes_back(app, double) {
        let owner = app.owner();
        let url = set_up(app, Kind::Wise).await;
        let programme = earner(app, &owner, Kind::Wise).await;
        let id = submitted(&owner, &programme).await;
        until(app, "IN_TRANSIT", 1).await;
        // Days after its line's.
        app.clock.advance(TimeDelta::days(9));
        double.set(Kind::Wise, &id, State::Paid);
        assert_eq!(double.notice(Kind::Wise, &id).send(&url).await.0, 200);
        until(app, "PAID", 1).await;
        double.alter(Kind::Wise, &id, |payment| (payment.amount_minor, payment.fee_minor) = (1_005, 99));
        compare(app).await;
        assert_eq!(kinds(app).await, [("AMOUNT", "10.00", "10.05"), ("FEE", "0.41", "0.99")].map(told));
        // Refunded weeks later, and nobody told us: a person says so.
        app.clock.advance(TimeDelta::days(30));
        double.alter(Kind::Wise, &id, |payment| payment.amount_minor = 1_000);
        double.set(Kind::Wise, &id, State::Returned);
        compare(app).await;
        let state = ("STATE", "10.00", "10.00");
        assert_eq!(kinds(app).await, [("AMOUNT", "10.00", "10.05"), ("FEE", "0.41", "0.99"), state].map(told));
        compare(app).await;
        assert_eq!(items(app).await.len(), 3);
        let input = json!({ "id": id, "reference": "R1", "reason": "told by the books" });
        owner.done("markPayoutReturned", input, "").await;
        assert_eq!(payout(&owner, &id).await["status"], "RETURNED");
        books_agree(app, double).await;
    }

    async fn payout_that_does_not_end_is_told_after_five_weeks(app, double) {
        let owner = app.owner();
        set_up(app, Kind::Paypal).await;
        let programme = earner(app, &owner, Kind::Paypal).await;
        let id = submitted(&owner, &programme).await;
        until(app, "IN_TRANSIT", 1).await;
        app.clock.advance(TimeDelta::days(34));
        assert_eq!(compare(app).await, [] as [Value; 0]);
        let items = compare(app).await;
        assert_eq!((items.len(), &items[0]["kind"], &items[0]["payout"]["id"]), (1, &json!("STATE"), &json!(id)));
        assert_eq!(items[0]["detail"], "it is IN_TRANSIT since it was submitted, five weeks ago");
        books_agree(app, double).await;
    }

    async fn each_way_in_which_books_differ_has_its_kind(app, double) {
        let owner = app.owner();
        set_up(app, Kind::Stripe).await;
        let url = set_up(app, Kind::Paypal).await;
        let mut ids = Vec::new();
        for kind in [Kind::Stripe, Kind::Stripe, Kind::Paypal] {
            let programme = earner(app, &owner, kind).await;
            ids.push(submitted(&owner, &programme).await);
        }
        until(app, "IN_TRANSIT", 1).await;
        double.set(Kind::Paypal, &ids[2], State::Paid);
        assert_eq!(double.notice(Kind::Paypal, &ids[2]).send(&url).await.0, 200);
        until(app, "PAID", 3).await;
        double.forget(Kind::Stripe, &ids[0]);
        double.alter(Kind::Stripe, &ids[1], |payment| payment.amount_minor = 1_005);
        double.alter(Kind::Paypal, &ids[2], |payment| payment.fee_minor = 99);
        // What no payout posted: where a processor pays, and where a bank's file does.
        app.check_invariants.store(false, std::sync::atomic::Ordering::Relaxed);
        post_by_hand(app, Code::PayoutClearing, PayoutMethod::Stripe, -70).await;
        post_by_hand(app, Code::Cash, PayoutMethod::Stripe, 30).await;
        post_by_hand(app, Code::PayoutClearing, PayoutMethod::Sepa, -5).await;
        compare(app).await;
        let expected = [
            ("AMOUNT", "10.00", "10.05"),
            ("CLEARING", "0.00", "0.05"),
            ("CLEARING", "0.00", "0.70"),
            ("FEE", "0.25", "0.99"),
            ("LEDGER", "-20.00", "-19.70"),
            ("OURS_ONLY", "10.00", ""),
        ];
        assert_eq!(kinds(app).await, expected.map(told));
    }

    async fn payout_that_is_not_what_its_journals_say_is_told(app, _double) {
        let owner = app.owner();
        let programme = quick(&owner).await;
        earn(app, &owner, &programme, "100.00").await;
        let id = submitted(&owner, &programme).await;
        owner.done("markPayoutPaid", json!({ "id": id, "reference": "B1" }), "").await;
        app.check_invariants.store(false, std::sync::atomic::Ordering::Relaxed);
        app.auditor.run("UPDATE payout SET gross_minor = gross_minor + 1").await.expect("a known column");
        let items = compare(app).await;
        let of_payout = items.iter().find(|item| !item["payout"].is_null()).expect("an item of the payout");
        assert_eq!((&of_payout["kind"], &of_payout["method"], &of_payout["payout"]["id"]), (&json!("LEDGER"), &json!("MANUAL"), &json!(id)));
        assert!(of_payout["detail"].as_str().expect("a text").starts_with("PAYOUT_STATE: PAID 1001 by the payout"), "{of_payout}");
        assert_eq!(kinds(app).await, [("LEDGER", "-10.01", "-10.00"), ("LEDGER", "10.01", "")].map(told));
    }
}
