//! Stories of money that is taken back: before, after and during a payout, from several affiliates, and given again. After
//! each step the affiliate's statement and the tenant's trial balance are read.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tributary::ambient::Clock;
use tributary_entity::Instant;

use crate::{
    attribution::cents,
    payouts::{draft, payouts, submit},
    refunds::{adjust, earnings, refund, sold, thirty, undo},
    support::{Client, Programme, Terms, TestApp, on_both},
};

/// An affiliate whose story is told, from one moment on.
struct Story<'a> {
    app: &'a TestApp,
    client: Client,
    programme: Programme,
    begin: Instant,
}

/// What the books say of a story at a moment, in cents.
#[derive(Debug, PartialEq, Eq)]
struct Books {
    /// Unapproved, pending, available, debt.
    earnings: [i64; 4],
    /// Earned, reversed, adjusted, paid, closing.
    statement: [i64; 5],
    /// What the tenant spent on commissions (5000) and adjustments (5030), what is under way to the affiliate (2020) and
    /// what left the house (1000).
    trial: [i64; 4],
}

impl<'a> Story<'a> {
    async fn begin(app: &'a TestApp, hold_seconds: i64) -> Self {
        let client = app.owner();
        let programme = Programme::build(&client, &Terms { hold_seconds, ..thirty() }).await;
        Self { begin: app.clock.now(), app, client, programme }
    }

    /// A sale of 49.00, which earns 14.70.
    async fn sale(&self) -> String {
        sold(&self.client, &self.programme, "49.00").await
    }

    async fn release(&self) {
        self.app.clock.advance(TimeDelta::days(2));
        self.app.release_holds().await;
    }

    async fn books(&self) -> Books {
        Books {
            earnings: earnings(&self.client, &self.programme.affiliate).await,
            statement: self.statement().await,
            trial: self.trial().await,
        }
    }

    async fn statement(&self) -> [i64; 5] {
        let query = "query($id: ID!, $from: DateTime!, $until: DateTime!) { statement(affiliateId: $id, currency: \"EUR\", \
            from: $from, until: $until) { opening { amount } earned { amount } reversed { amount } adjusted { amount } \
            paid { amount } closing { amount } } }";
        let until = self.app.clock.now() + TimeDelta::seconds(1);
        let input = json!({ "id": self.programme.affiliate, "from": self.begin, "until": until });
        let statement = self.client.data(query, input).await["statement"].take();
        assert_eq!(cents(&statement["opening"]), 0);
        let [earned, reversed, adjusted, paid, closing] =
            ["earned", "reversed", "adjusted", "paid", "closing"].map(|part| cents(&statement[part]));
        assert_eq!(earned - reversed + adjusted - paid, closing, "{statement}");
        [earned, reversed, adjusted, paid, closing]
    }

    async fn trial(&self) -> [i64; 4] {
        let query = "{ trialBalance { balanced lines { code debit { amount } credit { amount } } } }";
        let data = self.client.data(query, json!({})).await;
        assert_eq!(data["trialBalance"]["balanced"], true);
        let lines = data["trialBalance"]["lines"].as_array().expect("lines");
        let debit = |code: i64| -> i64 {
            let of = lines.iter().filter(|line| line["code"] == code);
            of.map(|line| cents(&line["debit"]) - cents(&line["credit"])).sum()
        };
        [debit(5000), debit(5030), -debit(2020), -debit(1000)]
    }

    async fn submitted(&self) -> String {
        let batch = draft(&self.client).await;
        submit(&self.client, &batch).await;
        payouts(&batch).remove(0)
    }

    async fn mark(&self, name: &str, mut input: Value, payout: &str) {
        input["id"] = json!(payout);
        self.client.done(name, input, "").await;
    }
}

on_both! {
    async fn refund_before_after_and_during_a_payout(app) {
        let story = Story::begin(app, 86_400).await;
        let sale = story.sale().await;
        refund(&story.client, &sale, Some("10.00"), "REFUND").await;
        assert_eq!(story.books().await, Books {
            earnings: [0, 1_170, 0, 0], statement: [1_470, 300, 0, 0, 1_170], trial: [1_170, 0, 0, 0],
        });
        story.release().await;
        refund(&story.client, &sale, Some("10.00"), "RETURNED_GOODS").await;
        assert_eq!(story.books().await, Books {
            earnings: [0, 0, 870, 0], statement: [1_470, 600, 0, 0, 870], trial: [870, 0, 0, 0],
        });
        let payout = story.submitted().await;
        // What is under way is not stopped: it becomes a debt.
        refund(&story.client, &sale, Some("29.00"), "RETURNED_GOODS").await;
        assert_eq!(story.books().await, Books {
            earnings: [0, 0, 0, 870], statement: [1_470, 1_470, 0, 870, -870], trial: [0, 0, 870, 0],
        });
        story.mark("markPayoutPaid", json!({ "reference": "b-1" }), &payout).await;
        assert_eq!(story.books().await, Books {
            earnings: [0, 0, 0, 870], statement: [1_470, 1_470, 0, 870, -870], trial: [0, 0, 0, 870],
        });
        // What comes next pays it off.
        story.sale().await;
        story.release().await;
        assert_eq!(story.books().await, Books {
            earnings: [0, 0, 600, 0], statement: [2_940, 1_470, 0, 870, 600], trial: [1_470, 0, 0, 870],
        });
    }

    async fn chargeback_after_a_paid_payout_and_then_won(app) {
        let story = Story::begin(app, 0).await;
        let sale = story.sale().await;
        story.release().await;
        let payout = story.submitted().await;
        story.mark("markPayoutPaid", json!({ "reference": "b-1" }), &payout).await;
        let lost = refund(&story.client, &sale, None, "CHARGEBACK").await;
        assert_eq!(lost["conversion"]["status"], "REVERSED");
        assert_eq!(story.books().await, Books {
            earnings: [0, 0, 0, 1_470], statement: [1_470, 1_470, 0, 1_470, -1_470], trial: [0, 0, 0, 1_470],
        });
        // Won while a part of the debt is paid off already: that part is the affiliate's again.
        let second = sold(&story.client, &story.programme, "10.00").await;
        story.release().await;
        assert_eq!(story.books().await.earnings, [0, 0, 0, 1_170]);
        let won = undo(&story.client, &lost).await;
        assert_eq!(won["conversion"]["status"], "APPROVED");
        assert_eq!(story.books().await, Books {
            earnings: [0, 0, 300, 0], statement: [1_770, 0, 0, 1_470, 300], trial: [1_770, 0, 0, 1_470],
        });
        // Lost again, another time: another reversal.
        let again = refund(&story.client, &sale, None, "CHARGEBACK").await;
        assert_ne!(again["id"], lost["id"]);
        assert_eq!(story.books().await, Books {
            earnings: [0, 0, 0, 1_170], statement: [1_770, 1_470, 0, 1_470, -1_170], trial: [300, 0, 0, 1_470],
        });
        refund(&story.client, &second, None, "BAD_DEBT").await;
        assert_eq!(story.books().await, Books {
            earnings: [0, 0, 0, 1_470], statement: [1_770, 1_770, 0, 1_470, -1_470], trial: [0, 0, 0, 1_470],
        });
    }

    async fn payout_that_fails_or_comes_back_pays_the_debt_first(app) {
        let story = Story::begin(app, 0).await;
        let sale = story.sale().await;
        story.release().await;
        let payout = story.submitted().await;
        refund(&story.client, &sale, Some("10.00"), "REFUND").await;
        assert_eq!(story.books().await.earnings, [0, 0, 0, 300]);
        story.mark("markPayoutFailed", json!({ "reason": "closed" }), &payout).await;
        assert_eq!(story.books().await, Books {
            earnings: [0, 0, 1_170, 0], statement: [1_470, 300, 0, 0, 1_170], trial: [1_170, 0, 0, 0],
        });
        let payout = story.submitted().await;
        story.mark("markPayoutPaid", json!({ "reference": "b-2" }), &payout).await;
        refund(&story.client, &sale, None, "CHARGEBACK").await;
        assert_eq!(story.books().await.earnings, [0, 0, 0, 1_170]);
        story.mark("markPayoutReturned", json!({ "reference": "r", "reason": "closed" }), &payout).await;
        assert_eq!(story.books().await, Books {
            earnings: [0, 0, 0, 0], statement: [1_470, 1_470, 0, 0, 0], trial: [0, 0, 0, 0],
        });
    }

    async fn refund_of_a_drafted_payout_cancels_it(app) {
        let story = Story::begin(app, 0).await;
        let sale = story.sale().await;
        story.release().await;
        let batch = draft(&story.client).await;
        refund(&story.client, &sale, Some("10.00"), "REFUND").await;
        submit(&story.client, &batch).await;
        assert_eq!(story.books().await, Books {
            earnings: [0, 0, 1_170, 0], statement: [1_470, 300, 0, 0, 1_170], trial: [1_170, 0, 0, 0],
        });
        let payout = story.submitted().await;
        story.mark("markPayoutPaid", json!({ "reference": "b-1" }), &payout).await;
        assert_eq!(story.books().await.statement, [1_470, 300, 0, 1_170, 0]);
    }

    async fn sale_is_adjusted_through_hold_payout_and_debt(app) {
        let story = Story::begin(app, 86_400).await;
        let sale = story.sale().await;
        adjust(&story.client, &sale, "59.00").await;
        assert_eq!(story.books().await, Books {
            earnings: [0, 1_770, 0, 0], statement: [1_470, 0, 300, 0, 1_770], trial: [1_470, 300, 0, 0],
        });
        story.release().await;
        let payout = story.submitted().await;
        story.mark("markPayoutPaid", json!({ "reference": "b-1" }), &payout).await;
        adjust(&story.client, &sale, "39.00").await;
        assert_eq!(story.books().await, Books {
            earnings: [0, 0, 0, 600], statement: [1_470, 0, -300, 1_770, -600], trial: [1_470, -300, 0, 1_770],
        });
        let taken = refund(&story.client, &sale, None, "REFUND").await;
        assert_eq!(story.books().await, Books {
            earnings: [0, 0, 0, 1_770], statement: [1_470, 1_170, -300, 1_770, -1_770], trial: [300, -300, 0, 1_770],
        });
        undo(&story.client, &taken).await;
        assert_eq!(story.books().await.earnings, [0, 0, 0, 600]);
    }

    async fn suspended_affiliate_owes_what_is_taken_back_all_the_same(app) {
        let story = Story::begin(app, 0).await;
        let sale = story.sale().await;
        story.release().await;
        story.client.done("suspendAffiliate", json!({ "id": story.programme.affiliate }), "").await;
        refund(&story.client, &sale, Some("10.00"), "REFUND").await;
        assert_eq!(story.books().await.earnings, [0, 0, 1_170, 0]);
    }
}
