//! Every fault of a processor: however it fails, each payout is paid once, and its books are ours.

use std::{collections::BTreeMap, time::Duration};

use chrono::{Days, TimeDelta};
use rand::{RngExt, seq::SliceRandom};
use serde_json::json;
use tokio::time::{sleep, timeout};
use tributary::{
    ambient::Clock,
    domain::tenancy::TenantScope,
    jobs::outbox,
    services::{payouts::drive, processors::reconcile},
};
use tributary_entity::ids::PayoutId;

use crate::{
    payouts::{draft, payouts, submit},
    support::{
        Backend, Client, Programme, Terms, TestApp,
        double::{
            Double, Fate, Kind, State,
            story::{
                available, books_agree, drafted, earner, paid_through, payout, same_books, set_up, set_up_by, states,
                submitted, until, with_double,
            },
        },
        node::Node,
        programme, seeded,
        world::World,
    },
};

/// Lets the look-ups that are due by then happen.
async fn later(app: &TestApp) {
    app.clock.advance(TimeDelta::hours(2));
    outbox::call_processors(&app.services).await.expect("called");
}

/// As [`later`], until so many calls about a payout have ended. What stood in the way of the last one.
async fn called(app: &TestApp, id: &str, calls: i64) -> String {
    later(app).await;
    let id = id.parse::<PayoutId>().expect("an id");
    let ended = format!(
        "SELECT COUNT(*) FROM payout_transfer WHERE busy_until IS NULL AND calls = {calls} AND payout_id = {}",
        app.auditor.literal(id.uuid())
    );
    app.until(&ended, 1).await;
    payout(&app.owner(), &id.to_string()).await["transfer"]["trouble"].as_str().unwrap_or_default().to_owned()
}

/// Waits until the processor has a payout, brings it to its end there, and tells nobody: it is asked for.
async fn arrive(app: &TestApp, double: &Double, kind: Kind, id: &str, paid: i64) {
    if !kind.is_instant() {
        until(app, "IN_TRANSIT", 1).await;
        double.set(kind, id, State::Paid);
        later(app).await;
    }
    until(app, "PAID", paid).await;
}

/// As [`arrive`] at PayPal, after another call.
async fn arrive_later(app: &TestApp, double: &Double, id: &str, paid: i64) {
    later(app).await;
    arrive(app, double, Kind::Paypal, id, paid).await;
}

with_double! {
    async fn lost_answer_is_asked_for_and_paid_once(app, double) {
        let owner = app.owner();
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            set_up(app, kind).await;
            for (number, fate) in [Fate::Hangs, Fate::FailsAfter, Fate::FailsBefore].into_iter().enumerate() {
                let programme = earner(app, &owner, kind).await;
                double.fates(&[fate]);
                let id = submitted(&owner, &programme).await;
                until(app, "UNKNOWN", 1).await;
                // Never assumed failed: the money stays in clearing.
                assert_eq!(payout(&owner, &id).await["status"], "UNKNOWN");
                assert_eq!(double.payment(kind, &id).is_some(), fate != Fate::FailsBefore, "{kind:?} {fate:?}");
                later(app).await;
                let paid = index * 3 + number + 1;
                arrive(app, double, kind, &id, paid as i64).await;
                assert_eq!(double.payments(), paid, "one payment each: {kind:?} {fate:?}");
                let states = states(&owner, &id).await;
                assert_eq!(states.iter().filter(|state| *state == "PAID").count(), 1, "{states:?}");
            }
        }
        books_agree(app, double).await;
    }

    async fn repeat_that_is_refused_says_nothing_of_the_first_call(app, double) {
        let owner = app.owner();
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            set_up(app, kind).await;
            let programme = earner(app, &owner, kind).await;
            double.fates(&[Fate::LostThenRefused]);
            let id = submitted(&owner, &programme).await;
            until(app, "UNKNOWN", 1).await;
            let trouble = called(app, &id, 2).await;
            if kind == Kind::Paypal {
                // It cannot be asked by our reference: it has the payment, and says that the balance does not suffice.
                assert!(trouble.contains("422: the balance does not suffice; an earlier call may"), "{trouble}");
                assert_eq!(states(&owner, &id).await, ["DRAFT", "APPROVED", "SUBMITTED", "UNKNOWN"]);
                assert_eq!(available(&owner, &programme.affiliate).await, "0.00");
                assert_eq!(owner.refusal("retryPayout", json!({ "id": id })).await, "INVALID_TRANSITION");
                assert_eq!(called(app, &id, 3).await, "");
            }
            arrive(app, double, kind, &id, index as i64 + 1).await;
            assert_eq!(double.payments(), index + 1, "one payment each: {kind:?}");
            // What can be looked up is asked for once.
            assert_eq!(double.asked(kind, &id), if kind == Kind::Paypal { 2 } else { 1 }, "{kind:?}");
        }
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM payout_history WHERE to_status = 'FAILED'").await, 0);
        books_agree(app, double).await;
    }

    async fn doubt_about_a_call_outlives_all_that_says_nothing_of_it(app, double) {
        let owner = app.owner();
        set_up(app, Kind::Paypal).await;
        // Nobody answered, then it was busy, then it refused.
        let programme = earner(app, &owner, Kind::Paypal).await;
        double.fates(&[Fate::FailsBefore, Fate::Busy, Fate::Refused]);
        let id = submitted(&owner, &programme).await;
        until(app, "UNKNOWN", 1).await;
        for (calls, told) in [(2, "429"), (3, "400")] {
            let trouble = called(app, &id, calls).await;
            assert!(trouble.contains(told) && trouble.contains("an earlier call may"), "{trouble}");
            assert_eq!(payout(&owner, &id).await["status"], "UNKNOWN");
        }
        arrive_later(app, double, &id, 1).await;
        // As an earlier version left it.
        let programme = earner(app, &owner, Kind::Paypal).await;
        double.fates(&[Fate::FailsBefore, Fate::Refused]);
        let id = submitted(&owner, &programme).await;
        until(app, "UNKNOWN", 1).await;
        app.auditor.run("UPDATE payout SET status = 'SUBMITTED' WHERE status = 'UNKNOWN'").await.expect("a known column");
        called(app, &id, 2).await;
        assert_eq!(payout(&owner, &id).await["status"], "UNKNOWN");
        arrive_later(app, double, &id, 2).await;
        // A worker that died with the answer; nothing else was ever unknown.
        let programme = earner(app, &owner, Kind::Paypal).await;
        double.fates(&[Fate::Busy, Fate::Refused]);
        let id = submitted(&owner, &programme).await;
        let busy = "payout_transfer WHERE trouble LIKE '%429%' AND busy_until IS NULL";
        app.until(&format!("SELECT COUNT(*) FROM {busy}"), 1).await;
        app.auditor.run(&format!("UPDATE {}", busy.replace("WHERE", "SET busy_until = handed_at WHERE"))).await.expect("known columns");
        called(app, &id, 2).await;
        assert_eq!(payout(&owner, &id).await["status"], "UNKNOWN");
        arrive_later(app, double, &id, 3).await;
        assert_eq!(double.payments(), 3);
        books_agree(app, double).await;
    }

    async fn payment_that_cannot_be_asked_about_is_settled_by_hand(app, double) {
        let owner = app.owner();
        set_up(app, Kind::Paypal).await;
        let programme = earner(app, &owner, Kind::Paypal).await;
        double.fates(&[Fate::FailsBefore, Fate::Refused]);
        let id = submitted(&owner, &programme).await;
        until(app, "UNKNOWN", 1).await;
        // It is asked for once more before people may say what became of it.
        let failed = json!({ "id": id, "reason": "PayPal has no such batch" });
        assert_eq!(owner.refusal("markPayoutFailed", failed.clone()).await, "INVALID_TRANSITION");
        called(app, &id, 2).await;
        owner.done("markPayoutFailed", failed, "").await;
        assert_eq!(available(&owner, &programme.affiliate).await, "10.00");
        let retried = owner.done("retryPayout", json!({ "id": id }), "payout { id batch { id } }").await["payout"].take();
        submit(&owner, &retried["batch"]).await;
        arrive(app, double, Kind::Paypal, retried["id"].as_str().expect("an id"), 1).await;
        later(app).await;
        assert_eq!((double.payments(), double.payment(Kind::Paypal, &id).is_none()), (1, true));
        books_agree(app, double).await;
    }

    async fn look_up_that_fails_leaves_the_payment_unknown(app, double) {
        let owner = app.owner();
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            set_up(app, kind).await;
            let programme = earner(app, &owner, kind).await;
            double.fates(&[Fate::FailsAfter]);
            let id = submitted(&owner, &programme).await;
            until(app, "UNKNOWN", 1).await;
            double.questions(&[Fate::FailsBefore, Fate::Hangs]);
            let failed = called(app, &id, 2).await;
            assert!(failed.starts_with("500: "), "{kind:?}: {failed}");
            let silent = called(app, &id, 3).await;
            assert!(!silent.is_empty() && silent != failed, "{kind:?}: {silent}");
            assert_eq!(states(&owner, &id).await, ["DRAFT", "APPROVED", "SUBMITTED", "UNKNOWN"], "{kind:?}");
            later(app).await;
            arrive(app, double, kind, &id, index as i64 + 1).await;
            assert_eq!(double.payments(), index + 1, "{kind:?}");
        }
        books_agree(app, double).await;
    }

    async fn paid_that_is_first_told_after_the_return_changes_nothing(app, double) {
        let owner = app.owner();
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            let url = set_up(app, kind).await;
            let programme = earner(app, &owner, kind).await;
            if kind.is_instant() {
                double.fates(&[Fate::FailsAfter]);
            }
            let id = submitted(&owner, &programme).await;
            until(app, if kind.is_instant() { "UNKNOWN" } else { "IN_TRANSIT" }, 1).await;
            if !kind.is_instant() {
                double.set(kind, &id, State::Paid);
            }
            let paid = double.notice(kind, &id);
            app.clock.advance(TimeDelta::minutes(1));
            double.set(kind, &id, State::Returned);
            let back = double.notice(kind, &id);
            assert_eq!(back.send(&url).await, (200, "taken".to_owned()), "{kind:?}");
            let before = states(&owner, &id).await;
            assert_eq!(before[before.len() - 2..], ["PAID", "RETURNED"], "{kind:?}");
            assert_eq!(paid.send(&url).await, (200, "taken".to_owned()), "{kind:?}");
            assert_eq!(states(&owner, &id).await, before, "{kind:?}");
            assert_eq!(available(&owner, &programme.affiliate).await, "10.00", "{kind:?}");
            until(app, "RETURNED", index as i64 + 1).await;
            books_agree(app, double).await;
        }
        app.clock.advance(TimeDelta::days(1));
        let scope = TenantScope::tenant(app.home);
        let yesterday = app.clock.now().date_naive() - Days::new(1);
        assert!(reconcile::up_to(&app.services, &scope, yesterday).await.expect("compared") > 0);
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM reconciliation_item").await, 0);
    }

    async fn call_that_paypal_cannot_verify_now_is_told_again(app, double) {
        let owner = app.owner();
        let url = set_up(app, Kind::Paypal).await;
        let programme = earner(app, &owner, Kind::Paypal).await;
        let id = submitted(&owner, &programme).await;
        until(app, "IN_TRANSIT", 1).await;
        double.set(Kind::Paypal, &id, State::Paid);
        let notice = double.notice(Kind::Paypal, &id);
        double.questions(&[Fate::FailsBefore, Fate::Hangs, Fate::Busy]);
        for _ in 0..3 {
            assert_eq!(notice.send(&url).await, (503, "refused".to_owned()));
            assert_eq!(payout(&owner, &id).await["status"], "IN_TRANSIT");
        }
        let calls = "{ processorCalls(first: 9) { edges { node { outcome httpStatus } } } }";
        let calls = owner.data(calls, json!({})).await;
        let refused = json!({ "node": { "outcome": "REFUSED", "httpStatus": 503 } });
        assert_eq!(calls["processorCalls"]["edges"], json!([refused, refused, refused]));
        assert_eq!(notice.send(&url).await, (200, "taken".to_owned()));
        assert_eq!(notice.send(&url).await, (200, "replayed".to_owned()));
        assert_eq!(payout(&owner, &id).await["status"], "PAID");
        books_agree(app, double).await;
    }

    async fn transfer_without_funds_whose_cancellation_is_not_answered_is_asked_about(app, double) {
        let owner = app.owner();
        set_up(app, Kind::Wise).await;
        // Cancelled there, and nobody knows.
        for (number, fate) in [Fate::FailsAfter, Fate::Hangs].into_iter().enumerate() {
            let programme = earner(app, &owner, Kind::Wise).await;
            double.fundings(&[Fate::Refused]);
            double.cancellations(&[fate]);
            let id = submitted(&owner, &programme).await;
            until(app, "UNKNOWN", 1).await;
            assert_eq!(available(&owner, &programme.affiliate).await, "0.00", "{fate:?}");
            later(app).await;
            until(app, "FAILED", number as i64 + 1).await;
            assert_eq!(double.payment(Kind::Wise, &id).expect("a transfer").state, State::Failed, "{fate:?}");
            assert_eq!(available(&owner, &programme.affiliate).await, "10.00", "{fate:?}");
        }
        // Not cancelled: it is funded, or cancelled at last.
        for (number, funding) in [None, Some(Fate::Refused)].into_iter().enumerate() {
            let programme = earner(app, &owner, Kind::Wise).await;
            double.fundings(&[Fate::Refused]);
            double.cancellations(&[Fate::FailsBefore]);
            let id = submitted(&owner, &programme).await;
            until(app, "UNKNOWN", 1).await;
            assert_eq!(double.payment(Kind::Wise, &id).expect("a transfer").state, State::Waiting);
            double.fundings(funding.as_slice());
            later(app).await;
            if funding.is_none() {
                arrive(app, double, Kind::Wise, &id, 1).await;
            }
            until(app, "FAILED", number as i64 + 2).await;
            assert_eq!(double.asked(Kind::Wise, &id), 1, "{funding:?}");
        }
        assert_eq!(double.payments(), 4);
        books_agree(app, double).await;
    }

    async fn busy_processor_is_asked_again_and_refused_payment_fails(app, double) {
        let owner = app.owner();
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            set_up(app, kind).await;
            let programme = earner(app, &owner, kind).await;
            double.fates(&[Fate::Busy, Fate::Refused]);
            let id = submitted(&owner, &programme).await;
            let busy = format!("SELECT COUNT(*) FROM payout_transfer WHERE method = '{}' AND trouble LIKE '%429%'", kind.method());
            app.until(&busy, 1).await;
            assert_eq!(payout(&owner, &id).await["status"], "SUBMITTED");
            later(app).await;
            app.until(&format!("SELECT COUNT(*) FROM payout WHERE status = 'FAILED' AND method = '{}'", kind.method()), 1).await;
            assert_eq!(available(&owner, &programme.affiliate).await, "10.00");
            assert!(double.payment(kind, &id).is_none());
            // What failed for good is repeated as another payout.
            let retried = owner.done("retryPayout", json!({ "id": id }), "payout { id batch { id } }").await["payout"].take();
            submit(&owner, &retried["batch"]).await;
            let retried = retried["id"].as_str().expect("an id");
            arrive(app, double, kind, retried, index as i64 + 1).await;
        }
        assert_eq!(double.payments(), 3);
        books_agree(app, double).await;
    }

    async fn paid_is_told_before_the_answer(app, double) {
        let owner = app.owner();
        for kind in Kind::ALL {
            let url = set_up(app, kind).await;
            let programme = earner(app, &owner, kind).await;
            double.fates(&[Fate::Hangs]);
            let id = submitted(&owner, &programme).await;
            double.hanging().await;
            if kind == Kind::Wise {
                // It waits for its funds: nothing to tell of.
                continue;
            }
            if !kind.is_instant() {
                double.set(kind, &id, State::Paid);
            }
            assert_eq!(double.notice(kind, &id).send(&url).await, (200, "taken".to_owned()));
            assert_eq!(payout(&owner, &id).await["status"], "PAID", "{kind:?}");
        }
        // The lost answers change nothing.
        until(app, "UNKNOWN", 1).await;
        until(app, "PAID", 2).await;
        later(app).await;
        assert_eq!(double.payments(), 3);
        books_agree(app, double).await;
    }

    async fn payment_that_fails_late_gives_the_money_back(app, double) {
        let owner = app.owner();
        let mut returned = 0;
        for kind in Kind::ALL {
            let url = set_up(app, kind).await;
            let programme = earner(app, &owner, kind).await;
            let id = submitted(&owner, &programme).await;
            if !kind.is_instant() {
                until(app, "IN_TRANSIT", 1).await;
                double.set(kind, &id, State::Paid);
                assert_eq!(double.notice(kind, &id).send(&url).await.0, 200);
            }
            until(app, "PAID", 1).await;
            app.clock.advance(TimeDelta::days(21));
            // PayPal says FAILED of what it said SUCCESS of; the others take it back.
            double.set(kind, &id, if kind == Kind::Paypal { State::Failed } else { State::Returned });
            let late = double.notice(kind, &id);
            for expected in ["taken", "replayed", "replayed"] {
                assert_eq!(late.send(&url).await, (200, expected.to_owned()), "{kind:?}");
            }
            returned += 1;
            until(app, "RETURNED", returned).await;
            assert_eq!(available(&owner, &programme.affiliate).await, "10.00", "{kind:?}");
        }
        books_agree(app, double).await;
    }

    async fn transfer_whose_funding_is_not_answered_is_paid_once(app, double) {
        let owner = app.owner();
        set_up(app, Kind::Wise).await;
        for (number, fate) in [Fate::Hangs, Fate::FailsAfter, Fate::FailsBefore].into_iter().enumerate() {
            let programme = earner(app, &owner, Kind::Wise).await;
            double.fundings(&[fate]);
            let id = submitted(&owner, &programme).await;
            until(app, "UNKNOWN", 1).await;
            let state = double.payment(Kind::Wise, &id).expect("a transfer").state;
            assert_eq!(state, if fate == Fate::FailsBefore { State::Waiting } else { State::Pending }, "{fate:?}");
            later(app).await;
            arrive(app, double, Kind::Wise, &id, number as i64 + 1).await;
        }
        assert_eq!(double.payments(), 3);
        books_agree(app, double).await;
    }

    async fn transfer_without_funds_is_cancelled_and_its_payout_fails(app, double) {
        let owner = app.owner();
        set_up(app, Kind::Wise).await;
        let programme = earner(app, &owner, Kind::Wise).await;
        double.fundings(&[Fate::Refused]);
        let id = submitted(&owner, &programme).await;
        until(app, "FAILED", 1).await;
        assert_eq!(payout(&owner, &id).await["reason"], "not funded: balance.payment-option-unavailable");
        assert_eq!(double.payment(Kind::Wise, &id).expect("a transfer").state, State::Failed);
        assert_eq!(available(&owner, &programme.affiliate).await, "10.00");
        // What failed for good is another payout, and another transfer.
        let again = submitted(&owner, &programme).await;
        arrive(app, double, Kind::Wise, &again, 1).await;
        books_agree(app, double).await;
    }

    async fn workers_beside_one_that_waits_leave_the_payout_alone(app, double) {
        let owner = app.owner();
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            set_up(app, kind).await;
            let programme = earner(app, &owner, kind).await;
            let batch = drafted(&owner, &programme).await;
            owner.done("approvePayoutBatch", json!({ "id": batch["id"] }), "").await;
            double.fates(&[Fate::Hangs]);
            owner.done("submitPayoutBatch", json!({ "id": batch["id"] }), "").await;
            let id = payouts(&batch).remove(0);
            double.hanging().await;
            // Two more come along meanwhile, and leave it alone.
            let scope = TenantScope::tenant(app.home);
            let pay = id.parse().expect("an id");
            for _ in 0..2 {
                drive::advance(&app.services, &scope, pay).await.expect("advanced");
            }
            assert_eq!(double.asked(kind, &id), 1, "{kind:?}");
            until(app, "UNKNOWN", 1).await;
            later(app).await;
            arrive(app, double, kind, &id, index as i64 + 1).await;
        }
        assert_eq!(double.payments(), 3);
        books_agree(app, double).await;
    }

    async fn two_runs_at_once_pay_each_affiliate_once(app, double) {
        let owner = app.owner();
        set_up(app, Kind::Stripe).await;
        let node = app.another_node().await;
        for _ in 0..5 {
            earner(app, &owner, Kind::Stripe).await;
        }
        let run = async |client: Client| {
            let batch = draft(&client).await;
            let mut ids = payouts(&batch);
            if !ids.is_empty() {
                submit(&client, &batch).await;
            }
            ids.sort();
            ids
        };
        let other = Client::new(&node.url, owner.token.clone());
        let (one, two) = tokio::join!(run(owner.clone()), run(other));
        assert_eq!(one.len() + two.len(), 5);
        until(app, "PAID", 5).await;
        assert_eq!(double.payments(), 5);
        books_agree(app, double).await;
        node.stop().await;
    }

    async fn remainder_stays_and_is_passed_over_until_it_can_be_paid(app, double) {
        let owner = app.owner();
        set_up(app, Kind::Stripe).await;
        // Forints have two digits, of which Stripe pays none.
        let terms = Terms { hold_seconds: 0, currency: "HUF", ..Terms::default() };
        let programme = Programme::build(&owner, &terms).await;
        let destination = json!({ "affiliateId": programme.affiliate, "currency": "HUF", "holder": "Ada Ltd",
            "account": Kind::Stripe.destination() });
        owner.done("setPayoutDestination", destination, "").await;
        let click = programme.click(&owner).await;
        let mut sale = programme::sale(&click, &click, "123.40");
        sale["saleAmount"]["currency"] = json!("HUF");
        owner.done("recordConversion", sale, "").await;
        app.release_holds().await;
        let input = json!({ "currency": "HUF", "affiliateIds": [programme.affiliate] });
        let selection = "payoutBatch { id passedOver { reason } payouts(first: 9) { edges { node { id } } } }";
        let batch = owner.done("createPayoutBatch", input.clone(), selection).await["payoutBatch"].take();
        let id = payouts(&batch).remove(0);
        submit(&owner, &batch).await;
        until(app, "PAID", 1).await;
        assert_eq!(payout(&owner, &id).await["gross"]["amount"], "12.00");
        assert_eq!(double.payment(Kind::Stripe, &id).expect("paid").amount_minor, 1_200);
        assert_eq!(available(&owner, &programme.affiliate).await, "0.34");
        let batch = owner.done("createPayoutBatch", input, selection).await["payoutBatch"].take();
        assert_eq!((payouts(&batch).len(), &batch["passedOver"]), (0, &json!([{ "reason": "BELOW_MINIMUM" }])));
        books_agree(app, double).await;
    }
}

/// Where a node is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// The processor has taken it in, and not answered.
    Unanswered,
    /// It has answered, and the node has stored nothing of it.
    Unstored,
}

/// Has a node hand a payout over, and kills it (SIGKILL) between the call and its result.
async fn kill_between(
    world: &World,
    double: &Double,
    node: Node,
    programme: &Programme,
    (kind, moment): (Kind, Moment),
    pause: Duration,
) -> String {
    let fate = match moment {
        Moment::Unanswered => Fate::Hangs,
        Moment::Unstored => Fate::Holds,
    };
    // What Wise stores last is the answer to the funding.
    if kind == Kind::Wise && matches!(moment, Moment::Unstored) {
        double.fundings(&[fate])
    } else {
        double.fates(&[fate])
    }
    let id = submitted(&world.owner(&node), programme).await;
    double.hanging().await;
    let blocking = world.auditor.block().await;
    if matches!(moment, Moment::Unstored) {
        double.release();
    }
    sleep(pause).await;
    node.kill().await;
    blocking.rollback().await.expect("rolls back");
    // Nobody has the answer.
    let told = "SELECT COUNT(*) FROM payout_transfer WHERE busy_until IS NOT NULL AND external_id IS NULL";
    assert_eq!(world.auditor.number(told).await, 1, "{kind:?} {moment:?}");
    // Its leases end, as after five minutes.
    for sql in [
        "UPDATE payout_transfer SET busy_until = handed_at WHERE busy_until IS NOT NULL",
        "UPDATE outbox SET leased_until = NULL, due_at = created_at",
    ] {
        world.auditor.run(sql).await.expect("known columns");
    }
    id
}

/// Nodes that are killed between the call of a processor and its result; others take over.
async fn killed_nodes(backend: Backend) {
    let mut rng = seeded();
    let double = Double::start().await;
    let world = World::new(backend).await;
    let environment = double.environment();
    let settings: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut node = Node::start_with(&world.data, &settings).await;
    let owner = world.owner(&node);
    let mut rounds: Vec<(Kind, Moment)> =
        Kind::ALL.into_iter().flat_map(|kind| [(kind, Moment::Unanswered), (kind, Moment::Unstored)]).collect();
    rounds.extend((0..2).map(|_| (Kind::ALL[rng.random_range(0..3)], Moment::Unstored)));
    rounds.shuffle(&mut rng);
    let (mut paths, mut programmes) = (BTreeMap::new(), Vec::new());
    for kind in Kind::ALL {
        paths.insert(kind, set_up_by(&owner, kind).await);
    }
    for (kind, _) in &rounds {
        let programme = paid_through(&owner, *kind).await;
        let click = programme.click(&owner).await;
        owner.done("recordConversion", programme::sale(&click, &click, "100.00"), "").await;
        programmes.push(programme);
    }
    wait(&world, "SELECT COUNT(*) FROM commission WHERE released_at IS NOT NULL", rounds.len() as i64).await;
    for (number, (round, programme)) in rounds.iter().zip(&programmes).enumerate() {
        let (kind, _) = *round;
        let pause = Duration::from_millis(rng.random_range(0..150));
        println!("{round:?} {pause:?}");
        let id = kill_between(&world, &double, node, programme, *round, pause).await;
        node = Node::start_with(&world.data, &settings).await;
        if !kind.is_instant() {
            wait(&world, "SELECT COUNT(*) FROM payout WHERE status = 'IN_TRANSIT'", 1).await;
            double.set(kind, &id, State::Paid);
            let answer = double.notice(kind, &id).send(&format!("{}{}", node.url, paths[&kind])).await;
            assert_eq!(answer, (200, "taken".to_owned()));
        }
        wait(&world, "SELECT COUNT(*) FROM payout WHERE status = 'PAID'", number as i64 + 1).await;
        let states = states(&world.owner(&node), &id).await;
        assert_eq!(states.iter().filter(|state| *state == "PAID").count(), 1, "{states:?}");
    }
    assert_eq!(double.payments(), rounds.len());
    same_books(&world.auditor, &double).await;
    node.stop().await;
    world.finish().await;
}

async fn wait(world: &World, sql: &str, expected: i64) {
    let reached = async {
        while world.auditor.number(sql).await != expected {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(30), reached).await.unwrap_or_else(|_| panic!("{sql}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_nodes_sqlite() {
    killed_nodes(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_nodes_postgres() {
    killed_nodes(Backend::Postgres).await;
}
