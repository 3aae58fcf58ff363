//! Payouts: which states they go through, what each step posts, and whom a batch pays.
//!
//! # Decisions
//! - Money leaves an affiliate's balance when a payout is submitted, not before: a draft is a preview, and what is taken
//!   back meanwhile is the tenant's.
//! - A payout that nobody answered for is `UNKNOWN`: it may have been paid, so that it can neither be cancelled nor be
//!   repeated, only found out about.
//! - Only a payment that was settled can come back. A processor that tells of a return first is believed to have paid.

use serde::Serialize;
use tributary_entity::{
    Instant,
    ids::{AffiliateId, PayoutBatchId},
    kinds::{PayoutBatchStatus, PayoutStatus},
    money::{Currency, Money},
    payout, payout_batch,
};

use super::{
    instant,
    problem::{Problem, ProblemCode},
    text, transition,
};

use PayoutStatus::{Approved, Cancelled, Draft, Failed, InTransit, Paid, Returned, Submitted, Unknown};

/// The moves of a payout.
const MOVES: &[(PayoutStatus, PayoutStatus)] = &[
    (Draft, Approved),
    (Draft, Cancelled),
    (Approved, Submitted),
    (Approved, Cancelled),
    (Submitted, InTransit),
    (Submitted, Unknown),
    (Submitted, Paid),
    (Submitted, Failed),
    (Submitted, Cancelled),
    (InTransit, Unknown),
    (InTransit, Paid),
    (InTransit, Failed),
    (InTransit, Cancelled),
    // Asked for by our reference, the processor does not know it: it is handed over again, under the same key.
    (Unknown, Submitted),
    (Unknown, InTransit),
    (Unknown, Paid),
    (Unknown, Failed),
    // Weeks later.
    (Paid, Returned),
];

/// The moves of a batch.
const BATCH_MOVES: &[(PayoutBatchStatus, PayoutBatchStatus)] = &[
    (PayoutBatchStatus::Drafting, PayoutBatchStatus::Draft),
    (PayoutBatchStatus::Draft, PayoutBatchStatus::Approving),
    (PayoutBatchStatus::Approving, PayoutBatchStatus::Approved),
    (PayoutBatchStatus::Approved, PayoutBatchStatus::Submitting),
    (PayoutBatchStatus::Submitting, PayoutBatchStatus::Submitted),
    // Before money moves; afterwards each payout has an end of its own.
    (PayoutBatchStatus::Draft, PayoutBatchStatus::Cancelling),
    (PayoutBatchStatus::Approved, PayoutBatchStatus::Cancelling),
    (PayoutBatchStatus::Cancelling, PayoutBatchStatus::Cancelled),
];

/// Where a batch is once all its pages are worked off; none for one that waits for somebody.
pub const fn worked_off(status: PayoutBatchStatus) -> Option<PayoutBatchStatus> {
    match status {
        PayoutBatchStatus::Drafting => Some(PayoutBatchStatus::Draft),
        PayoutBatchStatus::Approving => Some(PayoutBatchStatus::Approved),
        PayoutBatchStatus::Submitting => Some(PayoutBatchStatus::Submitted),
        PayoutBatchStatus::Cancelling => Some(PayoutBatchStatus::Cancelled),
        PayoutBatchStatus::Draft
        | PayoutBatchStatus::Approved
        | PayoutBatchStatus::Submitted
        | PayoutBatchStatus::Cancelled => None,
    }
}

/// What stands between a payout and its end: the affiliate gets no other in the currency meanwhile.
pub const OPEN: &[PayoutStatus] = &[Draft, Approved, Submitted, InTransit, Unknown];

/// Whether a payout's money is in clearing (account 2020).
const fn in_clearing(status: PayoutStatus) -> bool {
    matches!(status, Submitted | InTransit | Unknown)
}

/// What the ledger is told of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Posting {
    Initiated,
    Settled,
    /// Failed, or cancelled after it was initiated.
    Failed,
    Returned,
}

/// What a step posts; none for one that moves no money.
pub const fn posting(from: PayoutStatus, to: PayoutStatus) -> Option<Posting> {
    match (from, to) {
        (Approved, Submitted) => Some(Posting::Initiated),
        (_, Paid) => Some(Posting::Settled),
        (_, Failed | Cancelled) if in_clearing(from) => Some(Posting::Failed),
        (_, Returned) => Some(Posting::Returned),
        _ => None,
    }
}

/// A step of payouts to another state, the same for all that take it together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    pub to: PayoutStatus,
    /// Why, where it is the end of one.
    pub reason: Option<String>,
    /// Of the payment, or of its return.
    pub reference: Option<String>,
    /// When it was paid; none means now.
    pub paid_at: Option<Instant>,
}

impl Step {
    /// A step that says nothing but where it leads.
    pub const fn to(to: PayoutStatus) -> Self {
        Self { to, reason: None, reference: None, paid_at: None }
    }

    /// Gives it up.
    ///
    /// # Errors
    /// `INVALID_TEXT` for the reason.
    pub fn cancelled(reason: Option<&str>) -> Result<Self, Problem> {
        Ok(Self { reason: text::optional(&["reason"], reason, text::NOTE_MAX)?, ..Self::to(Cancelled) })
    }

    /// It was paid.
    ///
    /// # Errors
    /// `REQUIRED` or `INVALID_TEXT` for the reference; `TIME_IN_FUTURE` or `OUT_OF_RANGE` for the instant.
    pub fn paid(reference: &str, paid_at: Option<Instant>, now: Instant) -> Result<Self, Problem> {
        let reference = Some(text::required(&["reference"], reference, text::REFERENCE_MAX)?);
        let paid_at = instant::past(&["paidAt"], paid_at, now)?;
        Ok(Self { reference, paid_at, ..Self::to(Paid) })
    }

    /// It was not paid and will not be.
    ///
    /// # Errors
    /// `REQUIRED` or `INVALID_TEXT` for the reason.
    pub fn failed(reason: &str) -> Result<Self, Problem> {
        Ok(Self { reason: Some(text::required(&["reason"], reason, text::NOTE_MAX)?), ..Self::to(Failed) })
    }

    /// It was paid and came back.
    ///
    /// # Errors
    /// `REQUIRED` or `INVALID_TEXT` for the return's reference and the reason.
    pub fn returned(reference: &str, reason: &str) -> Result<Self, Problem> {
        let reference = Some(text::required(&["reference"], reference, text::REFERENCE_MAX)?);
        let reason = Some(text::required(&["reason"], reason, text::NOTE_MAX)?);
        Ok(Self { reference, reason, ..Self::to(Returned) })
    }

    /// The payout after the step.
    ///
    /// # Errors
    /// `INVALID_TRANSITION`.
    pub fn take(&self, payout: &payout::Model, now: Instant) -> Result<payout::Model, Problem> {
        let mut after = payout.clone();
        after.status = transition::step(MOVES, "a payout", payout.status, self.to)?;
        after.version += 1;
        after.updated_at = now;
        match self.to {
            Approved => after.approved_at = Some(now),
            Submitted => after.submitted_at = Some(now),
            Paid => {
                after.paid_at = Some(self.paid_at.unwrap_or(now));
                after.reference.clone_from(&self.reference);
            }
            Failed | Cancelled | Returned => {
                after.closed_at = Some(now);
                after.reason.clone_from(&self.reason);
            }
            Draft | InTransit | Unknown => {}
        }
        Ok(after)
    }
}

/// Affiliates that one batch may name.
const AFFILIATES_MAX: usize = 1_000;

/// A batch to be drafted, checked.
#[derive(Clone, Debug, Serialize)]
pub struct NewBatch {
    pub currency: Currency,
    /// None means everybody who has something.
    pub affiliate_ids: Option<Vec<AffiliateId>>,
    /// The least balance that is paid, inclusive; none means each affiliate's threshold.
    pub minimum: Option<Money>,
    pub note: Option<String>,
}

impl NewBatch {
    /// Checks the affiliates, the minimum and the note.
    ///
    /// # Errors
    /// `BATCH_SIZE` for a list of nobody, or of too many; `CURRENCY_MISMATCH` for a minimum in another currency;
    /// `INVALID_TEXT` for the note.
    pub fn check(mut self) -> Result<Self, Problem> {
        let size = self.affiliate_ids.as_ref().map(Vec::len);
        if let Some(problem) = size.and_then(|size| Problem::batch_size(&["affiliateIds"], size, AFFILIATES_MAX)) {
            return Err(problem);
        }
        if self.minimum.is_some_and(|minimum| minimum.currency != self.currency) {
            let message = format!("the batch is in {}", self.currency);
            return Err(Problem::new(ProblemCode::CurrencyMismatch, &["minimumAmount", "currency"], message));
        }
        self.note = text::optional(&["note"], self.note.as_deref(), text::NOTE_MAX)?;
        Ok(self)
    }

    /// The least balance that is paid, where it is said: nothing is no payment.
    pub fn minimum_minor(&self) -> Option<i64> {
        self.minimum.map(|minimum| minimum.amount_minor.max(1))
    }
}

/// Moves a batch on.
///
/// # Errors
/// `INVALID_TRANSITION`.
pub fn step_batch(from: PayoutBatchStatus, to: PayoutBatchStatus) -> Result<PayoutBatchStatus, Problem> {
    transition::step(BATCH_MOVES, "a payout batch", from, to)
}

/// Whether `actor` may approve a batch.
///
/// # Errors
/// `SECOND_PERSON_NEEDED` for the batch's author, where the tenant wants four eyes.
pub fn may_approve(batch: &payout_batch::Model, actor: &str, four_eyes: bool) -> Result<(), Problem> {
    if four_eyes && batch.author == actor {
        let message = "a payout batch is approved by another than its author";
        return Err(Problem::new(ProblemCode::SecondPersonNeeded, &["id"], message));
    }
    Ok(())
}

/// Whether `actor` may submit a batch.
///
/// # Errors
/// `SECOND_PERSON_NEEDED` for the approver of a batch that came by itself, where the tenant wants four eyes: nobody else has
/// seen it.
pub fn may_submit(batch: &payout_batch::Model, actor: &str, four_eyes: bool) -> Result<(), Problem> {
    if four_eyes && batch.schedule.is_some() && batch.approver.as_deref() == Some(actor) {
        let message = "a payout batch that no person drafted is submitted by another than its approver";
        return Err(Problem::new(ProblemCode::SecondPersonNeeded, &["id"], message));
    }
    Ok(())
}

/// What a repetition of a payout pays: what it did not, as far as it is still there.
///
/// # Errors
/// `INVALID_TRANSITION` unless it failed or came back, and when nothing is available.
pub fn retry(payout: &payout::Model, available_minor: i64) -> Result<i64, Problem> {
    if !matches!(payout.status, Failed | Returned) {
        let message = format!("a payout that is {} is not repeated", payout.status);
        return Err(transition::refused(&["id"], message));
    }
    if available_minor <= 0 {
        return Err(transition::refused(&["id"], "the affiliate has nothing available in this currency"));
    }
    Ok(payout.gross_minor.min(available_minor))
}

/// Which payouts a list or a stream holds. All conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PayoutFilter {
    pub affiliate_ids: Option<Vec<AffiliateId>>,
    pub batch_ids: Option<Vec<PayoutBatchId>>,
    pub currencies: Option<Vec<Currency>>,
    pub statuses: Option<Vec<PayoutStatus>>,
}

impl PayoutFilter {
    /// Whether a payout is in the list: the same conditions that the store puts into SQL.
    pub fn matches(&self, row: &payout::Model) -> bool {
        fn one_of<T: PartialEq>(wanted: Option<&[T]>, value: &T) -> bool {
            wanted.is_none_or(|wanted| wanted.contains(value))
        }
        one_of(self.affiliate_ids.as_deref(), &row.affiliate_id)
            && one_of(self.batch_ids.as_deref(), &row.batch_id)
            && one_of(self.currencies.as_deref(), &row.currency)
            && one_of(self.statuses.as_deref(), &row.status)
    }
}

/// The payouts of a batch that are in one state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusTotal {
    pub batch_id: PayoutBatchId,
    pub status: PayoutStatus,
    pub count: i64,
    pub total: Money,
}

#[cfg(test)]
pub(in crate::domain) mod testing {
    use tributary_entity::{
        ids::{PayoutId, TenantId},
        kinds::PayoutMethod,
    };
    use uuid::Uuid;

    use super::*;

    /// A draft for the affiliate of number 1, in dollars.
    pub fn payout(gross_minor: i64) -> payout::Model {
        payout::Model {
            tenant_id: TenantId::from_uuid(Uuid::from_u128(1)),
            id: PayoutId::from_uuid(Uuid::from_u128(1)),
            batch_id: PayoutBatchId::from_uuid(Uuid::from_u128(1)),
            affiliate_id: AffiliateId::from_uuid(Uuid::from_u128(1)),
            currency: "USD".parse().expect("known"),
            gross_minor,
            tax_minor: 0,
            fee_minor: 0,
            method: PayoutMethod::Manual,
            status: Draft,
            reference: None,
            reason: None,
            destination_id: None,
            file_id: None,
            bank_reference: None,
            retry_of: None,
            version: 1,
            created_at: Instant::default(),
            approved_at: None,
            submitted_at: None,
            paid_at: None,
            closed_at: None,
            updated_at: Instant::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use uuid::Uuid;

    use super::{testing::payout, *};
    use crate::domain::ledger::{self, Code, Debts};

    fn in_state(status: PayoutStatus) -> payout::Model {
        payout::Model { status, ..payout(100) }
    }

    #[test]
    fn every_pair_of_states_is_a_move_or_refused() {
        // A row per state, a column per state, in the order of `ALL`: the posting of each move.
        let table = [
            ("DRAFT", ". a . . . . . c ."),
            ("APPROVED", ". . I . . . . c ."),
            ("SUBMITTED", ". . . t u S F F ."),
            ("IN_TRANSIT", ". . . . u S F F ."),
            ("UNKNOWN", ". . s t . S F . ."),
            ("PAID", ". . . . . . . . R"),
            ("FAILED", ". . . . . . . . ."),
            ("CANCELLED", ". . . . . . . . ."),
            ("RETURNED", ". . . . . . . . ."),
        ];
        for ((name, row), from) in table.iter().zip(PayoutStatus::ALL) {
            assert_eq!(*name, from.as_str());
            for (cell, to) in row.split(' ').zip(PayoutStatus::ALL) {
                let step = Step::to(*to).take(&in_state(*from), Instant::default());
                assert_eq!(step.is_ok(), cell != ".", "{from} to {to}");
                if step.is_ok() {
                    let expected = match cell {
                        "I" => Some(Posting::Initiated),
                        "S" => Some(Posting::Settled),
                        "F" => Some(Posting::Failed),
                        "R" => Some(Posting::Returned),
                        _ => None,
                    };
                    assert_eq!(posting(*from, *to), expected, "{from} to {to}");
                }
            }
        }
    }

    #[test]
    fn open_is_whatever_is_not_final() {
        for status in PayoutStatus::ALL {
            let ended = matches!(status, Paid | Failed | Cancelled | Returned);
            assert_eq!(OPEN.contains(status), !ended, "{status}");
        }
    }

    #[test]
    fn step_notes_when_and_why() {
        let now = Instant::default() + chrono::TimeDelta::days(1);
        let paid = Step::paid(" R1 ", None, now).expect("good").take(&in_state(Submitted), now).expect("a move");
        assert_eq!((paid.status, paid.version, paid.paid_at), (Paid, 2, Some(now)));
        assert_eq!((paid.reference.as_deref(), paid.updated_at), (Some("R1"), now));
        let returned = Step::returned("R2", "closed").expect("good").take(&paid, now).expect("a move");
        assert_eq!((returned.reference.as_deref(), returned.reason.as_deref()), (Some("R1"), Some("closed")));
        assert_eq!((returned.paid_at, returned.closed_at), (Some(now), Some(now)));
        let code = |step: Result<Step, Problem>| step.expect_err("refused").code;
        assert_eq!(code(Step::paid(" ", None, now)), ProblemCode::Required);
        assert_eq!(code(Step::paid("R", Some(now + chrono::TimeDelta::hours(1)), now)), ProblemCode::TimeInFuture);
        assert_eq!(code(Step::failed("")), ProblemCode::Required);
        assert_eq!(code(Step::returned("R", "a\nb")), ProblemCode::InvalidText);
    }

    #[test]
    fn repetition_pays_what_is_still_there() {
        assert_eq!(retry(&in_state(Failed), 250), Ok(100));
        assert_eq!(retry(&in_state(Returned), 40), Ok(40));
        for (status, available) in [(Failed, 0), (Paid, 100), (Cancelled, 100), (Unknown, 100)] {
            let refused = retry(&in_state(status), available).expect_err("refused");
            assert_eq!(refused.code, ProblemCode::InvalidTransition, "{status}");
        }
    }

    #[test]
    fn author_is_no_second_person() {
        let batch = payout_batch::Model {
            tenant_id: payout(1).tenant_id,
            id: PayoutBatchId::from_uuid(Uuid::nil()),
            status: PayoutBatchStatus::Draft,
            currency: payout(1).currency,
            minimum_minor: 1,
            note: None,
            author: "user:a".to_owned(),
            approver: None,
            created_at: Instant::default(),
            approved_at: None,
            submitted_at: None,
            by_terms: false,
            schedule: None,
            due_on: None,
            earned_before: None,
            done_to: None,
            submitter: None,
            canceller: None,
            cancelled_at: None,
        };
        assert_eq!(may_approve(&batch, "user:a", false), Ok(()));
        assert_eq!(may_approve(&batch, "user:b", true), Ok(()));
        assert_eq!(may_approve(&batch, "user:a", true).expect_err("refused").code, ProblemCode::SecondPersonNeeded);
    }

    proptest! {
        /// Whatever is tried in whatever order: clearing holds what is under way, cash is short of what is paid, and the
        /// affiliate has the rest, its debt first.
        #[test]
        fn every_walk_keeps_the_accounts(
            walk in prop::collection::vec(0..PayoutStatus::ALL.len(), 0..40),
            owed in 0i64..200,
            taken in (0i64..50, 0i64..50),
        ) {
            let mut row = payout::Model { tax_minor: taken.0, fee_minor: taken.1, ..payout(100) };
            let net = 100 - taken.0 - taken.1;
            let mut debts = Debts::from([((row.affiliate_id, row.currency), owed)]);
            // Debit positive; what is not the affiliate's is the expense's.
            let mut accounts = BTreeMap::from([(Code::AffiliateAvailable, -100), (Code::AffiliateReceivable, owed)]);
            for to in walk.into_iter().map(|index| PayoutStatus::ALL[index]) {
                let Ok(after) = Step::to(to).take(&row, Instant::default()) else { continue };
                let journal = match posting(row.status, to) {
                    None => None,
                    Some(Posting::Initiated) => ledger::payout_initiated(&row).expect("balances"),
                    Some(Posting::Settled) => ledger::payout_settled(&row).expect("balances"),
                    Some(Posting::Failed) => ledger::payout_failed(&row, &mut debts).expect("balances"),
                    Some(Posting::Returned) => ledger::payout_returned(&row, "R", &mut debts).expect("balances"),
                };
                for line in journal.iter().flat_map(ledger::Journal::lines) {
                    *accounts.entry(line.account.code).or_default() += line.amount_minor;
                }
                row = after;
                let balance = |code| accounts.get(&code).copied().unwrap_or_default();
                let expected = if in_clearing(row.status) { -net } else { 0 };
                prop_assert_eq!(balance(Code::PayoutClearing), expected, "{}", row.status);
                prop_assert_eq!(balance(Code::Cash), if row.status == Paid { -net } else { 0 }, "{}", row.status);
                prop_assert!(balance(Code::AffiliateAvailable) <= 0 && balance(Code::AffiliateReceivable) >= 0);
                let theirs = balance(Code::AffiliateAvailable) + balance(Code::AffiliateReceivable);
                let taken = balance(Code::WithholdingPayable) + balance(Code::ProcessorFee);
                let gone = balance(Code::PayoutClearing) + balance(Code::Cash) + taken;
                prop_assert_eq!(theirs + gone, owed - 100);
            }
        }
    }
}
