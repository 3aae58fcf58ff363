//! What a bank's line does to the payout that it is about.
//!
//! # Decisions
//! - A return of a payment that nobody told us was made is believed: it was paid, and came back.
//! - A bank that books a whole file as one sum is believed only where that is the sum of what is under way of the file: it
//!   does not say which payments it made.
//! - A rejection of what the bank said it had paid is not. What contradicts what was settled moves nothing: it is a
//!   difference of the books, for somebody to look at.
//! - Corrections are about the next time, and have no amount to speak of.

use tributary_entity::{
    Instant,
    kinds::{PayoutNoticeOutcome, PayoutStatus, ReconciliationKind},
    payout,
};

use super::{
    bank::notice::{Notice, NoticeStatus},
    payout::Step,
    payout_deductions::net_minor,
    text,
};

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    Steps(Vec<Step>),
    Nothing(PayoutNoticeOutcome),
    /// In what it differs from the payout, and the words for it.
    Contradiction(ReconciliationKind, String),
}

/// What a line does to a payout, which is known by the line's reference.
pub fn effect(payout: &payout::Model, line: &Notice, now: Instant) -> Effect {
    use PayoutStatus::{Cancelled, Failed, InTransit, Paid, Returned, Submitted, Unknown};
    let repeated = Effect::Nothing(PayoutNoticeOutcome::Repeated);
    let differs = line.amount_minor.is_some_and(|amount| amount != net_minor(payout))
        || line.currency.as_deref().is_some_and(|code| code != payout.currency.code());
    if differs && !matches!(line.status, NoticeStatus::Other | NoticeStatus::Corrected) {
        let words = format!("the bank says {:?} of another amount", line.status);
        return Effect::Contradiction(ReconciliationKind::Amount, words);
    }
    let paid = || Step {
        reference: Some(cut(&line.key, text::REFERENCE_MAX)),
        paid_at: line.happened_at.filter(|at| *at <= now),
        ..Step::to(Paid)
    };
    let why = || Some(cut(&reason(line), text::NOTE_MAX));
    match (line.status, payout.status) {
        (NoticeStatus::Accepted, Submitted | Unknown) => Effect::Steps(vec![Step::to(InTransit)]),
        (NoticeStatus::Accepted | NoticeStatus::Other | NoticeStatus::Corrected, _) => {
            Effect::Nothing(PayoutNoticeOutcome::Noted)
        }
        (NoticeStatus::Paid, Submitted | InTransit | Unknown) => Effect::Steps(vec![paid()]),
        (NoticeStatus::Paid, Paid | Returned) => repeated,
        (NoticeStatus::Rejected, Submitted | InTransit | Unknown) => {
            Effect::Steps(vec![Step { reason: why(), ..Step::to(Failed) }])
        }
        (NoticeStatus::Rejected, Failed) => repeated,
        (NoticeStatus::Returned, Returned) => repeated,
        (NoticeStatus::Returned, Paid | Submitted | InTransit | Unknown) => {
            let back =
                Step { reason: why(), reference: Some(cut(&line.key, text::REFERENCE_MAX)), ..Step::to(Returned) };
            let before = (payout.status != Paid).then(|| Step { paid_at: None, ..paid() });
            Effect::Steps(before.into_iter().chain([back]).collect())
        }
        (
            NoticeStatus::Paid | NoticeStatus::Rejected | NoticeStatus::Returned,
            Failed | Cancelled | Paid | Returned | PayoutStatus::Draft | PayoutStatus::Approved,
        ) => {
            let words = format!("the payout is {}, the bank says {:?}", payout.status, line.status);
            Effect::Contradiction(ReconciliationKind::State, words)
        }
    }
}

/// What is under way of a file.
fn under_way(file: &[payout::Model]) -> Vec<&payout::Model> {
    of(file, &[PayoutStatus::Submitted, PayoutStatus::InTransit, PayoutStatus::Unknown])
}

fn of<'a>(file: &'a [payout::Model], statuses: &[PayoutStatus]) -> Vec<&'a payout::Model> {
    file.iter().filter(|row| statuses.contains(&row.status)).collect()
}

fn sum(rows: &[&payout::Model]) -> i64 {
    rows.iter().map(|row| net_minor(row)).sum()
}

/// What a booking of a whole file should be of.
pub fn under_way_minor(file: &[payout::Model]) -> i64 {
    sum(&under_way(file))
}

/// The payouts that one booking of a whole file settles: those that are under way, where it is of their sum.
///
/// # Errors
/// What the line is, if nothing is done: `Repeated` when all that it is the sum of was settled before.
pub fn settled<'a>(file: &'a [payout::Model], line: &Notice) -> Result<Vec<&'a payout::Model>, PayoutNoticeOutcome> {
    use PayoutStatus::{Paid, Returned};
    if line.status != NoticeStatus::Paid {
        return Err(PayoutNoticeOutcome::Refused);
    }
    let is_sum = |rows: &[&payout::Model]| {
        rows.iter().all(|row| line.currency.as_deref() == Some(row.currency.code()))
            && line.amount_minor == Some(sum(rows))
    };
    let under_way = under_way(file);
    if !under_way.is_empty() && is_sum(&under_way) {
        return Ok(under_way);
    }
    let is_done = under_way.is_empty() && is_sum(&of(file, &[Paid, Returned]));
    Err(if is_done { PayoutNoticeOutcome::Repeated } else { PayoutNoticeOutcome::Refused })
}

/// The bank's code and words.
fn reason(line: &Notice) -> String {
    let code = line.reason.as_deref().unwrap_or("no reason given");
    let meaning = line.detail.as_deref().or_else(|| super::bank::nacha::meaning(code));
    meaning.map_or_else(|| code.to_owned(), |meaning| format!("{code}: {meaning}"))
}

fn cut(value: &str, max: usize) -> String {
    value.chars().filter(|char| !char.is_control()).take(max).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::payout::testing::payout;

    fn line(status: NoticeStatus) -> Notice {
        Notice {
            reference: None,
            key: "K1".to_owned(),
            status,
            reason: Some("R03".to_owned()),
            detail: None,
            amount_minor: Some(100),
            currency: Some("USD".to_owned()),
            happened_at: None,
        }
    }

    fn ends(status: PayoutStatus, line: &Notice) -> Result<PayoutStatus, PayoutNoticeOutcome> {
        let mut row = payout::Model { status, ..payout(100) };
        match effect(&row, line, Instant::default()) {
            Effect::Nothing(outcome) => Err(outcome),
            Effect::Contradiction(..) => Err(PayoutNoticeOutcome::Refused),
            Effect::Steps(steps) => {
                for step in steps {
                    row = step.take(&row, Instant::default()).expect("a move");
                }
                Ok(row.status)
            }
        }
    }

    #[test]
    fn every_line_moves_every_payout_rightly_or_not_at_all() {
        use PayoutNoticeOutcome::{Noted, Refused, Repeated};
        use PayoutStatus::{Cancelled, Draft, Failed, InTransit, Paid, Returned, Submitted, Unknown};
        let accepted = line(NoticeStatus::Accepted);
        assert_eq!(ends(Submitted, &accepted), Ok(InTransit));
        assert_eq!(ends(InTransit, &accepted), Err(Noted));
        let paid = line(NoticeStatus::Paid);
        assert_eq!(ends(InTransit, &paid), Ok(Paid));
        assert_eq!(ends(Unknown, &paid), Ok(Paid));
        assert_eq!(ends(Paid, &paid), Err(Repeated));
        assert_eq!(ends(Cancelled, &paid), Err(Refused));
        let rejected = line(NoticeStatus::Rejected);
        assert_eq!(ends(InTransit, &rejected), Ok(Failed));
        assert_eq!(ends(Paid, &rejected), Err(Refused));
        let returned = line(NoticeStatus::Returned);
        assert_eq!(ends(Paid, &returned), Ok(Returned));
        assert_eq!(ends(InTransit, &returned), Ok(Returned));
        assert_eq!(ends(Returned, &returned), Err(Repeated));
        assert_eq!(ends(Draft, &returned), Err(Refused));
        assert_eq!(ends(Paid, &line(NoticeStatus::Corrected)), Err(Noted));
        let other = Notice { amount_minor: Some(99), ..paid };
        assert_eq!(ends(InTransit, &other), Err(Refused));
        // A correction is told with an amount of zero.
        let corrected = Notice { amount_minor: Some(0), ..line(NoticeStatus::Corrected) };
        assert_eq!(ends(Paid, &corrected), Err(Noted));
    }

    #[test]
    fn contradiction_says_in_what() {
        let said =
            |status, line: &Notice| match effect(&payout::Model { status, ..payout(100) }, line, Instant::default()) {
                Effect::Contradiction(kind, words) => (kind, words),
                other => panic!("{other:?}"),
            };
        let paid = line(NoticeStatus::Paid);
        let state = |words: &str| (ReconciliationKind::State, words.to_owned());
        assert_eq!(said(PayoutStatus::Failed, &paid), state("the payout is FAILED, the bank says Paid"));
        assert_eq!(said(PayoutStatus::Draft, &paid), state("the payout is DRAFT, the bank says Paid"));
        let rejected = line(NoticeStatus::Rejected);
        assert_eq!(said(PayoutStatus::Paid, &rejected), state("the payout is PAID, the bank says Rejected"));
        let other = Notice { currency: Some("EUR".to_owned()), ..paid };
        let amount = (ReconciliationKind::Amount, "the bank says Paid of another amount".to_owned());
        assert_eq!(said(PayoutStatus::InTransit, &other), amount);
        assert_eq!(said(PayoutStatus::Failed, &other), amount);
    }

    #[test]
    fn booking_of_a_file_settles_what_is_under_way_or_nothing() {
        use PayoutNoticeOutcome::{Refused, Repeated};
        use PayoutStatus::{Failed, InTransit, Paid};
        let file = |statuses: [PayoutStatus; 3]| statuses.map(|status| payout::Model { status, ..payout(100) });
        let count = |statuses, amount_minor| {
            let line = Notice { amount_minor: Some(amount_minor), ..line(NoticeStatus::Paid) };
            settled(&file(statuses), &line).map(|rows| rows.len())
        };
        assert_eq!(count([InTransit, InTransit, Failed], 200), Ok(2));
        assert_eq!(count([InTransit, InTransit, Failed], 300), Err(Refused));
        assert_eq!(count([InTransit, Paid, Failed], 100), Ok(1));
        assert_eq!(count([Paid, Paid, Failed], 200), Err(Repeated));
        assert_eq!(count([Failed, Failed, Failed], 0), Err(Repeated));
        assert_eq!(settled(&file([InTransit; 3]), &line(NoticeStatus::Other)), Err(Refused));
    }

    #[test]
    fn failure_says_what_the_code_means() {
        let Effect::Steps(steps) = effect(
            &payout::Model { status: PayoutStatus::InTransit, ..payout(100) },
            &line(NoticeStatus::Rejected),
            Instant::default(),
        ) else {
            panic!("no step")
        };
        assert_eq!(steps[0].reason.as_deref(), Some("R03: no account, or it cannot be found"));
    }
}
