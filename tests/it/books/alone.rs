//! A program that one does step by step, in all books.

use chrono::TimeDelta;
use proptest::sample::Index;

use super::{
    markets::{EURO, Market},
    model::{Deal, Model, Payout, Place},
    stage::{Stage, dump, everything},
    steps::{Step, Wrong, take},
};

/// What a program has made so far, by the model's numbers.
#[derive(Default)]
struct Made {
    conversions: Vec<String>,
    /// Of each conversion.
    refunds: Vec<Vec<String>>,
    submitted: Vec<(String, Payout)>,
    paid: Vec<(String, Payout)>,
}

/// A tenant's books, in the database and in the model.
pub struct Books<'a> {
    pub stage: Stage<'a>,
    pub model: Model,
    made: Made,
}

/// One of the conversions of which something is true.
fn choose(model: &Model, index: &Index, is_meant: impl Fn(&Deal) -> bool) -> Option<usize> {
    let meant: Vec<usize> = (0..model.deals.len()).filter(|number| is_meant(&model.deals[*number])).collect();
    (!meant.is_empty()).then(|| meant[index.index(meant.len())])
}

impl<'a> Books<'a> {
    pub fn new(stage: Stage<'a>) -> Self {
        Self { stage, model: Model::new(), made: Made::default() }
    }

    /// Demands that all books say the same.
    pub async fn compare(&self) {
        assert_eq!(self.stage.balances().await, self.model.balances());
    }

    /// Does a step in all books. With others beside it, holds are of no time, and the clock is theirs.
    pub async fn act(&mut self, step: &Step) {
        match step {
            Step::Convert { .. } if self.stage.is_patient => {}
            _ => self.act_alone(step).await,
        }
        if self.stage.is_patient {
            self.stage.release().await;
            self.model.release();
        }
    }

    async fn act_alone(&mut self, step: &Step) {
        match step {
            Step::Sell { market, who, sale } => {
                self.made.conversions.push(self.stage.sell(market, *who, *sale).await);
                self.made.refunds.push(Vec::new());
                self.model.sell(market, *who, *sale);
            }
            Step::Release => self.release().await,
            Step::Approve(_) | Step::Reject(_) | Step::Reopen(_) => self.review(step).await,
            Step::Refund { deal, part, is_chargeback } => self.refund(deal, *part, *is_chargeback).await,
            Step::Undo(index) => self.undo(index).await,
            Step::Adjust(index, sale) => self.adjust(index, *sale).await,
            Step::Pay(market) => self.pay(market).await,
            Step::Settle(_) | Step::Fail(_) | Step::Return(_) => self.end(step).await,
            Step::Wrong(wrong, index) => self.wrong(*wrong, index).await,
            _ => self.post(step).await,
        }
    }

    async fn release(&mut self) {
        if !self.stage.is_patient {
            self.stage.app.clock.advance(TimeDelta::hours(2));
            self.stage.release().await;
            self.model.release();
        }
    }

    /// What changes balances and no conversion.
    async fn post(&mut self, step: &Step) {
        let (stage, model) = (&self.stage, &mut self.model);
        match *step {
            Step::Deposit { amount } => {
                assert!(stage.deposit(amount).await);
                model.deposit(amount);
            }
            Step::Convert { who, part, is_back } => {
                let available = model.available(who, if is_back { super::markets::DOLLAR } else { EURO });
                let amount = (available * part / 1_000_000).max(1);
                let is_expected = model.convert(who, amount, is_back);
                refused_or(stage, stage.convert(who, amount, is_back), is_expected).await;
            }
            Step::WriteOff { market, who, amount } => {
                let is_expected = model.write_off(market, who, amount);
                refused_or(stage, stage.write_off(market, who, amount), is_expected).await;
            }
            Step::Bonus { market, who, amount, is_held } => {
                assert!(stage.bonus(market, who, amount, is_held).await);
                model.bonus(market, who, amount, is_held);
            }
            Step::Award { market, who, amount } => {
                assert!(stage.award(market, who, amount).await);
                model.award(market, who, amount);
            }
            _ => unreachable!("{step:?} is not of the model"),
        }
    }

    async fn review(&mut self, step: &Step) {
        let chosen = match step {
            Step::Reopen(index) => {
                choose(&self.model, index, |deal| deal.place == Place::Rejected && deal.refunds.is_empty())
            }
            Step::Approve(index) | Step::Reject(index) => choose(&self.model, index, Deal::is_waiting),
            _ => unreachable!("no review"),
        };
        let Some(deal) = chosen else { return };
        let ids = [self.made.conversions[deal].clone()];
        match step {
            Step::Approve(_) => {
                assert!(self.stage.review("approveConversions", &ids).await);
                self.model.approve(deal);
            }
            Step::Reject(_) => {
                assert!(self.stage.review("rejectConversions", &ids).await);
                self.model.reject(deal);
            }
            _ => {
                assert!(self.stage.review("reopenConversions", &ids).await);
                self.model.reopen(deal);
            }
        }
    }

    async fn refund(&mut self, index: &Index, part: i64, is_chargeback: bool) {
        let Some(deal) = choose(&self.model, index, Deal::is_live) else { return };
        let one = &self.model.deals[deal];
        let amount = ((one.sale - one.refunded) * part / 1_000_000).max(1);
        let asked = (part < 1_000_000).then(|| one.market.money(amount));
        let change = self.stage.refund(&self.made.conversions[deal], asked, is_chargeback).await;
        self.made.refunds[deal].push(change.expect("is refunded"));
        self.model.refund(deal, amount);
    }

    async fn undo(&mut self, index: &Index) {
        let Some(deal) = choose(&self.model, index, Deal::may_be_undone) else { return };
        let standing = self.model.deals[deal].standing_refunds();
        let refund = standing[index.index(standing.len())];
        assert!(self.stage.undo(&self.made.refunds[deal][refund]).await);
        self.model.undo(deal, refund);
        // The hold of what is given back may be over: the node releases it in its next second, if this does not.
        self.stage.release().await;
        self.model.release_due();
    }

    async fn adjust(&mut self, index: &Index, sale: i64) {
        let Some(deal) = choose(&self.model, index, Deal::is_live) else { return };
        let amount = self.model.deals[deal].market.money(sale);
        let is_expected = self.model.adjust(deal, sale);
        refused_or(&self.stage, self.stage.adjust(&self.made.conversions[deal], amount), is_expected).await;
    }

    async fn pay(&mut self, market: &'static Market) {
        let is_being_paid = |who| {
            let mut open = self.made.submitted.iter().map(|(_, payout)| payout);
            open.any(|payout| payout.who == who && payout.market.currency == market.currency)
        };
        let expected = self.model.payable(market, is_being_paid);
        let mut submitted = self.stage.pay(market).await;
        submitted.sort_by_key(|payout| payout.who);
        let parts: Vec<(usize, i64)> = submitted.iter().map(|payout| (payout.who, payout.gross)).collect();
        assert_eq!(parts, expected.iter().map(|payout| (payout.who, payout.gross)).collect::<Vec<_>>());
        for (submitted, payout) in submitted.into_iter().zip(expected) {
            self.model.pay(payout);
            self.made.submitted.push((submitted.id, payout));
        }
    }

    /// What becomes of a payout.
    async fn end(&mut self, step: &Step) {
        let (from, index, name) = match step {
            Step::Settle(index) => (&mut self.made.submitted, index, "markPayoutPaid"),
            Step::Fail(index) => (&mut self.made.submitted, index, "markPayoutFailed"),
            Step::Return(index) => (&mut self.made.paid, index, "markPayoutReturned"),
            _ => unreachable!("no end of a payout"),
        };
        let Some((id, payout)) = take(from, index) else { return };
        assert!(self.stage.mark(name, &id).await);
        match step {
            Step::Settle(_) => {
                self.model.settle(&payout);
                self.made.paid.push((id, payout));
            }
            Step::Fail(_) => self.model.fail(&payout),
            _ => {
                self.model.give_back(&payout);
                assert!(!self.stage.mark(name, &id).await, "it comes back once");
            }
        }
    }

    /// What nobody may do changes nothing.
    async fn wrong(&self, wrong: Wrong, index: &Index) {
        let Self { stage, model, made } = self;
        let chosen = |is_meant: &dyn Fn(&Deal) -> bool| choose(model, index, is_meant);
        let before = before(stage).await;
        match wrong {
            Wrong::Approve => {
                let Some(deal) = chosen(&|deal| deal.place != Place::Waiting) else { return };
                stage.review("approveConversions", &[made.conversions[deal].clone()]).await;
            }
            Wrong::RefundTooMuch => {
                let Some(deal) = chosen(&Deal::is_live) else { return };
                let Deal { sale, refunded, market, .. } = &model.deals[deal];
                let amount = Some(market.money(sale - refunded + 1));
                assert!(stage.refund(&made.conversions[deal], amount, false).await.is_none());
            }
            Wrong::RefundRejected => {
                let Some(deal) = chosen(&|deal| deal.place == Place::Rejected) else { return };
                assert!(stage.refund(&made.conversions[deal], None, true).await.is_none());
            }
            Wrong::UndoAgain => {
                let undone = |deal: &Deal| deal.refunds.iter().position(Option::is_none);
                let Some(deal) = chosen(&|deal| undone(deal).is_some()) else { return };
                let refund = undone(&model.deals[deal]).expect("was undone");
                stage.undo(&made.refunds[deal][refund]).await;
            }
            Wrong::SettleAgain => {
                let Some((id, _)) = made.paid.get(index.index(made.paid.len().max(1))) else { return };
                stage.mark("markPayoutPaid", id).await;
            }
            Wrong::BonusOfNothing => assert!(!stage.bonus(Market::euro(), 0, 0, false).await),
        }
        nothing_changed(stage, before).await;
    }
}

/// What the tables hold; nothing where others act meanwhile.
async fn before(stage: &Stage<'_>) -> Vec<(String, Option<String>)> {
    if stage.is_patient {
        return Vec::new();
    }
    dump(stage.app, &everything(stage.app).await).await
}

async fn nothing_changed(stage: &Stage<'_>, before: Vec<(String, Option<String>)>) {
    if !stage.is_patient {
        let after = dump(stage.app, &everything(stage.app).await).await;
        assert_eq!(after, before, "a refused operation changes nothing");
    }
}

/// A step that is done where the model does it too, and changes nothing where that refuses it.
async fn refused_or(stage: &Stage<'_>, step: impl Future<Output = bool>, is_expected: bool) {
    if is_expected {
        assert!(step.await);
        return;
    }
    let before = before(stage).await;
    assert!(!step.await);
    nothing_changed(stage, before).await;
}
