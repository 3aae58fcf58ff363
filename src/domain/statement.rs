//! Statements: how an affiliate's balance came from one moment to another, as the ledger has it.
//!
//! The balance is what the affiliate has (pending, account 2000, and available, 2010) less what it owes (1200). Every
//! journal that touches those accounts is in one of the sums, so that opening and sums are the closing by construction.

use tributary_entity::{
    Instant,
    kinds::JournalKind,
    money::{Currency, Money},
};

use super::{
    instant,
    problem::{Problem, ProblemCode},
};

/// A span of time: from its beginning to before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    pub from: Instant,
    pub until: Instant,
}

impl Period {
    /// # Errors
    /// `OUT_OF_RANGE` for instants that cannot be kept, and for a period that ends before it begins.
    pub fn check(self) -> Result<Self, Problem> {
        let from = instant::checked(&["from"], self.from)?;
        let until = instant::checked(&["until"], self.until)?;
        if until < from {
            return Err(Problem::new(ProblemCode::OutOfRange, &["until"], "the period ends before it begins"));
        }
        Ok(Self { from, until })
    }
}

/// What journals of one kind did to an affiliate's balance, in its favour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindSum {
    pub kind: JournalKind,
    pub amount_minor: i64,
}

/// An affiliate's statement in one currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement {
    pub opening: Money,
    /// Commissions of approved conversions, what clicks earned, and bonuses.
    pub earned: Money,
    /// What was taken back of them because conversions were reversed, less what was given again.
    pub reversed: Money,
    /// What was posted by hand or by another attribution, given up, or converted; negative where it was taken.
    pub adjusted: Money,
    /// What left for payouts, less what came back of them.
    pub paid: Money,
    pub closing: Money,
}

impl Statement {
    /// From the balance before the period and the sums inside it. None when a sum is past what can be held.
    pub fn of(currency: Currency, opening_minor: i64, sums: &[KindSum]) -> Option<Self> {
        let (mut earned, mut reversed, mut adjusted, mut paid, mut closing) =
            (0_i64, 0_i64, 0_i64, 0_i64, opening_minor);
        for KindSum { kind, amount_minor } in sums {
            closing = closing.checked_add(*amount_minor)?;
            match kind {
                // A release moves what was earned from one account of the affiliate's to another.
                JournalKind::ConversionApproved
                | JournalKind::HoldReleased
                | JournalKind::Bonus
                | JournalKind::Commission => {
                    earned = earned.checked_add(*amount_minor)?;
                }
                JournalKind::Reversal => reversed = reversed.checked_sub(*amount_minor)?,
                JournalKind::Adjustment
                | JournalKind::WriteOff
                | JournalKind::FxConversion
                // These two touch no affiliate.
                | JournalKind::ProcessorFee
                | JournalKind::Deposit => adjusted = adjusted.checked_add(*amount_minor)?,
                JournalKind::PayoutInitiated
                | JournalKind::PayoutSettled
                | JournalKind::PayoutFailed
                | JournalKind::PayoutReturned => paid = paid.checked_sub(*amount_minor)?,
            }
        }
        let money = |amount_minor| Money::new(amount_minor, currency);
        Some(Self {
            opening: money(opening_minor),
            earned: money(earned),
            reversed: money(reversed),
            adjusted: money(adjusted),
            paid: money(paid),
            closing: money(closing),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(kind: JournalKind, amount_minor: i64) -> KindSum {
        KindSum { kind, amount_minor }
    }

    #[test]
    fn opening_and_sums_are_the_closing() {
        let eur: Currency = "EUR".parse().expect("known");
        let sums = [
            sum(JournalKind::ConversionApproved, 1_470),
            sum(JournalKind::HoldReleased, 0),
            sum(JournalKind::Reversal, -30),
            sum(JournalKind::Adjustment, -70),
            sum(JournalKind::PayoutInitiated, -900),
            sum(JournalKind::PayoutReturned, 400),
        ];
        let statement = Statement::of(eur, 100, &sums).expect("in range");
        let minor = |money: Money| money.amount_minor;
        assert_eq!(minor(statement.opening), 100);
        assert_eq!(minor(statement.earned), 1_470);
        assert_eq!(minor(statement.reversed), 30);
        assert_eq!(minor(statement.adjusted), -70);
        assert_eq!(minor(statement.paid), 500);
        assert_eq!(minor(statement.closing), 970);
        assert_eq!(Statement::of(eur, i64::MAX, &sums), None);
    }

    #[test]
    fn period_does_not_run_backwards() {
        let at = |text: &str| text.parse().expect("RFC 3339");
        let (early, late) = (at("2026-01-01T00:00:00Z"), at("2026-02-01T00:00:00Z"));
        assert!(Period { from: early, until: late }.check().is_ok());
        assert!(Period { from: early, until: early }.check().is_ok());
        assert!(Period { from: late, until: early }.check().is_err());
    }
}
