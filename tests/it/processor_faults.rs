//! Every fault of a processor: however it fails, each payout is paid once, and its books are ours.

use chrono::TimeDelta;
use serde_json::json;
use tributary::{domain::tenancy::TenantScope, jobs::outbox, services::payouts::drive};

use crate::{
    payouts::{draft, payouts, submit},
    support::{
        Backend, Client, Programme, Terms, TestApp,
        double::{
            Double, Fate, Kind, State,
            story::{available, books_agree, drafted, earner, payout, set_up, states, submitted, until, with_double},
        },
        node::Node,
        programme,
        world::World,
    },
};

/// Lets the look-ups that are due by then happen.
async fn later(app: &TestApp) {
    app.clock.advance(TimeDelta::hours(2));
    outbox::call_processors(&app.services).await.expect("called");
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

/// A node that is killed (SIGKILL) while it waits for the processor's answer; another one takes over.
async fn killed_node(backend: Backend) {
    let double = Double::start().await;
    let world = World::new(backend).await;
    let environment = double.environment();
    let settings: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let node = Node::start_with(&world.data, &settings).await;
    let owner = world.owner(&node);
    owner.done("setProcessor", Kind::Stripe.credentials(), "").await;
    let terms = Terms { hold_seconds: 0, ..Terms::default() };
    let programme = Programme::build(&owner, &terms).await;
    let destination = json!({ "affiliateId": programme.affiliate, "currency": "EUR", "holder": "Ada Ltd",
        "account": Kind::Stripe.destination() });
    owner.done("setPayoutDestination", destination, "").await;
    let click = programme.click(&owner).await;
    owner.done("recordConversion", programme::sale(&click, &click, "100.00"), "").await;
    let payable = "SELECT COUNT(*) FROM commission WHERE released_at IS NOT NULL";
    wait(&world, payable, 1).await;
    double.fates(&[Fate::Hangs]);
    let id = submitted(&owner, &programme).await;
    double.hanging().await;
    node.kill().await;
    assert_eq!(double.payments(), 1);
    // Its leases end, as after five minutes.
    for sql in [
        "UPDATE payout_transfer SET busy_until = handed_at",
        "UPDATE outbox SET leased_until = NULL, due_at = created_at",
    ] {
        world.auditor.run(sql).await.expect("known columns");
    }
    let node = Node::start_with(&world.data, &settings).await;
    wait(&world, "SELECT COUNT(*) FROM payout WHERE status = 'PAID'", 1).await;
    assert_eq!((double.payments(), double.asked(Kind::Stripe, &id)), (1, 1));
    node.stop().await;
    world.finish().await;
}

async fn wait(world: &World, sql: &str, expected: i64) {
    let reached = async {
        while world.auditor.number(sql).await != expected {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), reached).await.unwrap_or_else(|_| panic!("{sql}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_node_sqlite() {
    killed_node(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_node_postgres() {
    killed_node(Backend::Postgres).await;
}
