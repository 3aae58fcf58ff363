//! Changes of recorded conversions: what a refund, a chargeback or another sale amount takes of each commission, and what
//! undoing that gives again. Nothing is edited: every change is an event with the amounts that it moved.
//!
//! # Decisions
//! - After a cumulative refund R of a sale S, what is taken of a commission C is `round_half_even(C x R / S)`; each refund
//!   takes the difference to what was taken before, and never gives. So any sequence of refunds that comes to S takes C
//!   exactly, and none ever takes more.
//! - A fixed amount, and the fixed part of a mixed commission, is taken with the whole sale only, unless the version of the
//!   rule that it was reckoned by says otherwise. The fixed part of a mixed one is its part of the stored terms, so that
//!   shares and later adjustments of the commission are in it.
//! - Undoing negates the stored amounts and rounds nothing. Where reversals are undone in another order than they came in,
//!   what is taken may differ from the formula by the units that rounding had put into one or the other; the next refund
//!   makes that even, and none is left when all are undone or all is refunded. What a tier gave of it already, when the
//!   commission was rated down meanwhile, is not given twice.
//! - An amount can be adjusted down to what was refunded, not to it: taking back the rest is a refund. A commission is
//!   never adjusted below what was taken of it.
//! - A sale without an amount (a lead) is taken back as a whole or not at all.

use tributary_entity::{
    commission, conversion, conversion_change, conversion_change_line,
    ids::{AffiliateId, CommissionId},
    kinds::{CommissionStatus, ConversionChangeKind, ConversionStatus},
    money::{Currency, Money},
};

use super::{
    commission::{gross, round_half_even},
    conversion::{self as rules, Cause, sale_left, sale_now},
    problem::{Problem, ProblemCode},
    transition,
};

/// What a change does to one commission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    pub commission_id: CommissionId,
    pub affiliate_id: AffiliateId,
    /// Negative where it takes; never zero.
    pub amount_minor: i64,
    pub currency: Currency,
}

impl Line {
    /// None for nothing.
    pub fn of(row: &commission::Model, amount_minor: i64) -> Option<Self> {
        (amount_minor != 0).then_some(Self {
            commission_id: row.id,
            affiliate_id: row.affiliate_id,
            amount_minor,
            currency: row.currency,
        })
    }
}

/// What a change does to a conversion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// Where it stands then.
    pub status: ConversionStatus,
    /// Of the sale: negative where it takes.
    pub sale_minor: i64,
    pub lines: Vec<Line>,
}

/// A commission with what its rule says of taking it back.
#[derive(Clone, Copy, Debug)]
pub struct Earned<'a> {
    pub row: &'a commission::Model,
    /// The part that is taken with the whole sale only.
    pub fixed_minor: i64,
}

impl<'a> Earned<'a> {
    /// By what it was reckoned from: its fixed part of the whole, as `commission::Offer::fixed` answers them. None when an
    /// amount is past what can be held.
    pub fn of(row: &'a commission::Model, (fixed, whole): (i128, i128)) -> Option<Self> {
        Some(Self { row, fixed_minor: fixed_part(gross(row).amount_minor, fixed, whole)? })
    }

    /// What is to be taken in all of it, by what was refunded of its conversion.
    pub fn taken_minor(&self, row: &conversion::Model) -> i64 {
        match row.refunded_minor {
            0 => 0,
            refunded => self.target_minor(sale_now(row), refunded),
        }
    }

    /// What is to be taken in all, after so much was refunded of a sale.
    fn target_minor(&self, sale_minor: i64, refunded_minor: i64) -> i64 {
        target(gross(self.row).amount_minor, self.fixed_minor, sale_minor, refunded_minor)
    }
}

/// The part of a commission that its rule takes back with the whole sale only: `C x flat / (flat + sale x rate)`.
fn fixed_part(gross_minor: i64, fixed: i128, whole: i128) -> Option<i64> {
    if fixed == 0 {
        return Some(0);
    }
    i64::try_from(round_half_even(i128::from(gross_minor).checked_mul(fixed)?, whole)).ok()
}

/// What is to be taken of a commission after so much was refunded of a sale: never more than there is.
fn target(gross_minor: i64, fixed_minor: i64, sale_minor: i64, refunded_minor: i64) -> i64 {
    if refunded_minor >= sale_minor {
        return gross_minor;
    }
    let proportional = i128::from(gross_minor - fixed_minor);
    let part = round_half_even(proportional * i128::from(refunded_minor), i128::from(sale_minor));
    i64::try_from(part).unwrap_or(gross_minor).min(gross_minor)
}

/// Takes a conversion back: a part of its sale, or with no amount all that is left.
///
/// # Errors
/// `INVALID_TRANSITION` for one that is refused or was taken back in full; `CURRENCY_MISMATCH`; `OUT_OF_RANGE` for nothing
/// and for more than is left.
pub fn reverse(row: &conversion::Model, earned: &[Earned<'_>], amount: Option<Money>) -> Result<Effect, Problem> {
    let whole = rules::step(Cause::Reversal, &["id"], row.status, ConversionStatus::Reversed)?;
    let (sale, left) = (sale_now(row), sale_left(row));
    let amount_minor = match amount {
        None => left,
        Some(amount) => amount_of(row, amount, left)?,
    };
    let refunded = row.refunded_minor + amount_minor;
    let taken = |earned: &Earned<'_>| {
        let difference = earned.target_minor(sale, refunded) - earned.row.reversed_minor;
        Line::of(earned.row, -difference.max(0))
    };
    Ok(Effect {
        status: if refunded == sale { whole } else { row.status },
        sale_minor: -amount_minor,
        lines: earned.iter().filter_map(taken).collect(),
    })
}

/// An amount to refund, checked.
fn amount_of(row: &conversion::Model, amount: Money, left: i64) -> Result<i64, Problem> {
    if amount.currency != row.sale_currency {
        let message = format!("the sale is in {}", row.sale_currency);
        return Err(Problem::new(ProblemCode::CurrencyMismatch, &["amount", "currency"], message));
    }
    if amount.amount_minor < 1 || amount.amount_minor > left {
        let message = format!("more than nothing, and at most what is left: {}", Money::new(left, row.sale_currency));
        return Err(Problem::new(ProblemCode::OutOfRange, &["amount"], message));
    }
    Ok(amount.amount_minor)
}

/// Undoes a reversal: gives again exactly what it took. `earlier` is where the conversion stood before it was taken back
/// in full, if it was; of the reversal's lines, those of commissions that are still there count.
///
/// # Errors
/// `INVALID_TRANSITION` for a change that is no reversal, and for a conversion that was refused since.
pub fn undo(
    row: &conversion::Model,
    commissions: &[commission::Model],
    change: &conversion_change::Model,
    lines: &[conversion_change_line::Model],
    earlier: ConversionStatus,
) -> Result<Effect, Problem> {
    if change.kind != ConversionChangeKind::Reversal {
        return Err(transition::refused(&["id"], "only a reversal can be undone"));
    }
    let status = match row.status {
        ConversionStatus::Reversed => rules::step(Cause::Undo, &["id"], row.status, earlier)?,
        ConversionStatus::Rejected => {
            return Err(transition::refused(&["id"], "the conversion was rejected since"));
        }
        standing => standing,
    };
    let given = |line: &conversion_change_line::Model| {
        let row = commissions.iter().find(|row| row.id == line.commission_id)?;
        Line::of(row, (-line.amount_minor).min(row.reversed_minor))
    };
    Ok(Effect { status, sale_minor: -change.sale_minor, lines: lines.iter().filter_map(given).collect() })
}

/// By how much a conversion's sale changes where it gets another amount.
///
/// # Errors
/// `INVALID_TRANSITION` for one that is refused or taken back in full; `CURRENCY_MISMATCH`; `OUT_OF_RANGE` for an amount
/// that is not more than what was refunded, and for the one that it has.
pub fn adjust(row: &conversion::Model, sale: Money) -> Result<i64, Problem> {
    if matches!(row.status, ConversionStatus::Rejected | ConversionStatus::Reversed) {
        let message = format!("a conversion that is {} cannot be adjusted", row.status);
        return Err(transition::refused(&["id"], message));
    }
    if sale.currency != row.sale_currency {
        let message = format!("the sale is in {}", row.sale_currency);
        return Err(Problem::new(ProblemCode::CurrencyMismatch, &["saleAmount", "currency"], message));
    }
    let out_of_range = |message: String| Problem::new(ProblemCode::OutOfRange, &["saleAmount"], message);
    if row.refunded_minor > 0 && sale.amount_minor <= row.refunded_minor {
        let refunded = Money::new(row.refunded_minor, row.sale_currency);
        return Err(out_of_range(format!("more than what was refunded of it: {refunded}")));
    }
    match sale.amount_minor - sale_now(row) {
        0 => Err(out_of_range("it is that already".to_owned())),
        difference => Ok(difference),
    }
}

/// What an adjusted sale does to a commission that would be `proposed_minor` by it.
pub fn adjusted(row: &commission::Model, proposed_minor: i64) -> Option<Line> {
    Line::of(row, proposed_minor.max(row.reversed_minor) - gross(row).amount_minor)
}

/// What refunds that came before a commission was reckoned take of it: each its part, in their order.
pub fn replay(earned: &Earned<'_>, sale_minor: i64, refunds: &[i64]) -> Vec<i64> {
    let (mut refunded, mut taken) = (0, 0);
    let part = |amount: &i64| {
        refunded += amount;
        let part = (earned.target_minor(sale_minor, refunded) - taken).max(0);
        taken += part;
        part
    };
    refunds.iter().map(part).collect()
}

/// Where a commission stands, and its money with it, while its conversion has a status.
pub const fn standing(row: &commission::Model, status: ConversionStatus) -> CommissionStatus {
    match status {
        ConversionStatus::Approved if row.released_at.is_some() => CommissionStatus::Available,
        ConversionStatus::Approved => CommissionStatus::Pending,
        ConversionStatus::Pending | ConversionStatus::Held => CommissionStatus::Unapproved,
        ConversionStatus::Rejected => CommissionStatus::Rejected,
        ConversionStatus::Reversed => CommissionStatus::Reversed,
    }
}

#[cfg(test)]
mod tests;
