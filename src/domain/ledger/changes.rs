//! Recipes for what approved conversions are worth later: adjustments, reversals, and reversals of those.

use tributary_entity::{
    ids::{AffiliateId, ConversionChangeId, ConversionId},
    kinds::JournalKind,
    money::Money,
};

use super::{AccountKey, Available, Code, Debts, Journal, Line, Unbalanced, credit_affiliate, debit_affiliate};

/// A change of what an affiliate earns from a conversion that is approved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adjustment {
    pub affiliate_id: AffiliateId,
    /// Signed.
    pub amount: Money,
    /// The commission is still in the hold period.
    pub in_hold: bool,
}

/// Adjustment of a conversion: Dr 5030, Cr 2000 in the hold period, later 1200 up to the debt and the rest 2010; the other
/// way round where it takes, then 2010 as far as it goes and the rest 1200. `debts` and `available` are what is left of
/// them after each.
///
/// In the hold period the money is in 2000 and leaves it with the commission, whole, when the hold is over. It is taken
/// back where it is: from 2010 it would make a debt of what the affiliate does not have yet.
///
/// # Errors
/// [`Unbalanced`] when a sum is out of range.
pub fn adjusted(
    business_key: String,
    conversion_id: ConversionId,
    adjustments: &[Adjustment],
    debts: &mut Debts,
    available: &mut Available,
) -> Result<Option<Journal>, Unbalanced> {
    let lines = adjustments.iter().flat_map(|one| changed(Code::AdjustmentExpense, one, debts, available));
    Journal::new(JournalKind::Adjustment, business_key, Some(conversion_id), lines.collect())
}

/// The lines of one change: the expense, and the affiliate's money where it is.
fn changed(
    expense: Code,
    Adjustment { affiliate_id, amount, in_hold }: &Adjustment,
    debts: &mut Debts,
    available: &mut Available,
) -> Vec<Line> {
    let account = |code| AccountKey::of_affiliate(code, *affiliate_id, amount.currency);
    let expense = AccountKey::of_tenant(expense, amount.currency);
    let mut lines = vec![Line { account: expense, amount_minor: amount.amount_minor }];
    if *in_hold {
        lines.push(Line { account: account(Code::AffiliatePending), amount_minor: -amount.amount_minor });
    } else if amount.amount_minor > 0 {
        let credit = credit_affiliate(*affiliate_id, *amount, debts);
        *available.entry((*affiliate_id, amount.currency)).or_default() -= credit[1].amount_minor;
        lines.extend(credit);
    } else {
        lines.extend(debit_affiliate(*affiliate_id, -amount.amount_minor, amount.currency, debts, available));
    }
    lines
}

/// Reversal of a conversion, in part or whole, by where each commission is: in the hold period Dr 2000, later Dr 2010 as far
/// as it goes and the rest 1200; Cr the expense that it was, with each part. Undone, the other way round: Cr 2000, or 1200 up
/// to the debt and the rest 2010. `debts` and `available` are what is left of them after each.
///
/// # Errors
/// [`Unbalanced`] when a sum is out of range.
pub fn reversed(
    change_id: ConversionChangeId,
    conversion_id: ConversionId,
    parts: &[(Code, Adjustment)],
    debts: &mut Debts,
    available: &mut Available,
) -> Result<Option<Journal>, Unbalanced> {
    let lines = parts.iter().flat_map(|(expense, one)| changed(*expense, one, debts, available));
    Journal::new(JournalKind::Reversal, change_id.to_string(), Some(conversion_id), lines.collect())
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    /// A reversal's lines by code, from these balances; with what is available and owed then.
    fn reversal(
        code: Code,
        amount_minor: i64,
        in_hold: bool,
        available: i64,
        debt: i64,
    ) -> (Vec<(i32, i64)>, i64, i64) {
        let (affiliate_id, eur) = (AffiliateId::from_uuid(Uuid::from_u128(1)), "EUR".parse().expect("known"));
        let part = Adjustment { affiliate_id, amount: Money::new(amount_minor, eur), in_hold };
        let mut debts = Debts::from([((affiliate_id, eur), debt)]);
        let mut has = Available::from([((affiliate_id, eur), available)]);
        let (change, conversion) = (ConversionChangeId::default(), ConversionId::default());
        let journal = reversed(change, conversion, &[(code, part)], &mut debts, &mut has).expect("balances");
        let journal = journal.expect("lines");
        assert_eq!((journal.kind(), journal.business_key()), (JournalKind::Reversal, change.to_string().as_str()));
        let lines = journal.lines().iter().map(|line| (line.account.code.number(), line.amount_minor)).collect();
        (lines, has[&(affiliate_id, eur)], debts[&(affiliate_id, eur)])
    }

    #[test]
    fn reversal_takes_the_money_where_it_is_and_undone_gives_it_there() {
        let own = Code::CommissionExpense;
        assert_eq!(reversal(own, -300, true, 50, 0), (vec![(5000, -300), (2000, 300)], 50, 0));
        assert_eq!(reversal(own, -300, false, 1_000, 0), (vec![(5000, -300), (2010, 300)], 700, 0));
        assert_eq!(reversal(own, -300, false, 100, 0), (vec![(5000, -300), (2010, 100), (1200, 200)], 0, 200));
        assert_eq!(reversal(own, 300, false, 0, 200), (vec![(5000, 300), (1200, -200), (2010, -100)], 100, 0));
        assert_eq!(reversal(Code::OverrideExpense, 300, true, 0, 200), (vec![(5020, 300), (2000, -300)], 0, 200));
    }
}
