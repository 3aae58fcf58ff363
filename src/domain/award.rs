//! Awards: what affiliates get or lose apart from conversions, and the journals that post it.
//!
//! # Decisions
//! - One noun for all that is not earned by a conversion: it is listed, held, released, explained and stated alike, and only
//!   the account that it is spent from tells the kinds apart.
//! - What is given may wait in the hold, as a commission does. What is taken is taken at once: from what is available, and
//!   the rest becomes a debt, which what comes next pays off.

use serde::{Deserialize, Serialize};
use tributary_entity::{
    award,
    ids::{AffiliateId, AwardId, CampaignId},
    kinds::{AwardKind, AwardStatus, JournalKind},
    money::Money,
};

use super::{
    ledger::{AccountKey, Available, Code, Debts, Journal, Line, Unbalanced, credit_affiliate, debit_affiliate},
    problem::{Problem, ProblemCode},
    text,
};

/// The longest hold: a year.
pub const HOLD_MAX_SECS: i64 = 366 * 86_400;

/// A bonus as a caller describes it.
#[derive(Clone, Debug, Serialize)]
pub struct NewBonus {
    pub affiliate_id: AffiliateId,
    pub campaign_id: Option<CampaignId>,
    pub amount: Money,
    pub reason: String,
    pub hold_secs: i64,
}

impl NewBonus {
    /// Checks every field.
    ///
    /// # Errors
    /// All problems at once.
    pub fn check(self) -> Result<Self, Vec<Problem>> {
        match (positive(AMOUNT, self.amount), reason(&self.reason), hold(self.hold_secs)) {
            (Ok(()), Ok(reason), Ok(())) => Ok(Self { reason, ..self }),
            (amount, reason, hold) => Err(amount.err().into_iter().chain(reason.err()).chain(hold.err()).collect()),
        }
    }
}

/// Which way an adjustment goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Direction {
    Give,
    Take,
}

/// An adjustment as a caller describes it.
#[derive(Clone, Debug, Serialize)]
pub struct NewAdjustment {
    pub affiliate_id: AffiliateId,
    pub direction: Direction,
    pub amount: Money,
    pub reason: String,
}

impl NewAdjustment {
    /// Checks every field.
    ///
    /// # Errors
    /// All problems at once.
    pub fn check(self) -> Result<Self, Vec<Problem>> {
        match (positive(AMOUNT, self.amount), reason(&self.reason)) {
            (Ok(()), Ok(reason)) => Ok(Self { reason, ..self }),
            (amount, reason) => Err(amount.err().into_iter().chain(reason.err()).collect()),
        }
    }

    /// The amount in the affiliate's favour.
    pub const fn signed(&self) -> Money {
        match self.direction {
            Direction::Give => self.amount,
            Direction::Take => Money::new(-self.amount.amount_minor, self.amount.currency),
        }
    }
}

/// Where an award's amount stands in an input.
const AMOUNT: &[&str] = &["amount", "amount"];

/// # Errors
/// `INVALID_AMOUNT` at `field` for nothing.
pub(super) fn positive(field: &[&str], amount: Money) -> Result<(), Problem> {
    if amount.amount_minor > 0 {
        return Ok(());
    }
    Err(Problem::new(ProblemCode::InvalidAmount, field, "more than nothing"))
}

/// # Errors
/// `OUT_OF_RANGE` for a hold that is negative or past [`HOLD_MAX_SECS`].
pub(super) fn hold(secs: i64) -> Result<(), Problem> {
    if (0..=HOLD_MAX_SECS).contains(&secs) {
        return Ok(());
    }
    Err(Problem::new(ProblemCode::OutOfRange, &["holdSeconds"], format!("from 0 to {HOLD_MAX_SECS} seconds")))
}

fn reason(reason: &str) -> Result<String, Problem> {
    text::required(&["reason"], reason, text::NOTE_MAX)
}

/// Which awards a list holds. All conditions must hold.
#[derive(Clone, Debug, Default)]
pub struct AwardFilter {
    pub affiliate_ids: Option<Vec<AffiliateId>>,
    pub campaign_ids: Option<Vec<CampaignId>>,
    pub kinds: Option<Vec<AwardKind>>,
    pub statuses: Option<Vec<AwardStatus>>,
}

/// One step of how an amount came about; stored with the award.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub name: String,
    /// A plain decimal.
    pub value: String,
}

/// What the tenant spends a kind of award from, and what the journal is called.
pub const fn posting(kind: AwardKind) -> (JournalKind, Code) {
    match kind {
        AwardKind::Bonus => (JournalKind::Bonus, Code::BonusExpense),
        AwardKind::Adjustment => (JournalKind::Adjustment, Code::AdjustmentExpense),
        AwardKind::Clicks | AwardKind::Revenue => (JournalKind::Commission, Code::CommissionExpense),
    }
}

/// Award posted: Dr 5010, 5030 or 5000, Cr 2000 in the hold, else 1200 up to the debt and the rest 2010; the other way
/// round where it takes, then 2010 as far as it goes and the rest 1200. `debts` and `available` are what is left of them.
/// None for an award of nothing.
///
/// # Errors
/// [`Unbalanced`] when a sum is out of range.
pub fn posted(
    business_key: String,
    kind: AwardKind,
    affiliate_id: AffiliateId,
    amount: Money,
    in_hold: bool,
    debts: &mut Debts,
    available: &mut Available,
) -> Result<Option<Journal>, Unbalanced> {
    let (journal_kind, expense) = posting(kind);
    let Money { amount_minor, currency } = amount;
    let mut lines = vec![Line { account: AccountKey::of_tenant(expense, currency), amount_minor }];
    if amount_minor < 0 {
        lines.extend(debit_affiliate(affiliate_id, -amount_minor, currency, debts, available));
    } else if in_hold {
        let pending = AccountKey::of_affiliate(Code::AffiliatePending, affiliate_id, currency);
        lines.push(Line { account: pending, amount_minor: -amount_minor });
    } else {
        lines.extend(credit_affiliate(affiliate_id, amount, debts));
    }
    Journal::new(journal_kind, business_key, None, lines)
}

/// Hold of an award over: Dr 2000, Cr 1200 up to the debt, the rest 2010. `debts` is reduced by what was paid off.
///
/// # Errors
/// [`Unbalanced`] when a sum is out of range.
pub fn released(award: &award::Model, debts: &mut Debts) -> Result<Option<Journal>, Unbalanced> {
    let amount = Money::new(award.amount_minor, award.currency);
    let pending = AccountKey::of_affiliate(Code::AffiliatePending, award.affiliate_id, award.currency);
    let [debt, available] = credit_affiliate(award.affiliate_id, amount, debts);
    let lines = vec![Line { account: pending, amount_minor: award.amount_minor }, debt, available];
    Journal::new(JournalKind::HoldReleased, award_key(award.id), None, lines)
}

/// The business key of an award's journals; a conversion's id has another prefix.
pub fn award_key(id: AwardId) -> String {
    id.to_string()
}

#[cfg(test)]
mod tests {
    use tributary_entity::{Instant, ids::TenantId};
    use uuid::Uuid;

    use super::*;

    fn eur(amount_minor: i64) -> Money {
        Money::new(amount_minor, "EUR".parse().expect("known"))
    }

    fn affiliate() -> AffiliateId {
        AffiliateId::from_uuid(Uuid::from_u128(1))
    }

    fn lines(journal: Result<Option<Journal>, Unbalanced>) -> Vec<(i32, i64)> {
        let journal = journal.expect("balances").expect("lines");
        journal.lines().iter().map(|line| (line.account.code.number(), line.amount_minor)).collect()
    }

    #[test]
    fn awards_go_where_the_money_is() {
        let owner = (affiliate(), eur(0).currency);
        let (mut debts, mut available) = (Debts::from([(owner, 30)]), Available::from([(owner, 0)]));
        let mut post = |kind, amount, in_hold| {
            lines(posted("k".to_owned(), kind, affiliate(), eur(amount), in_hold, &mut debts, &mut available))
        };
        assert_eq!(post(AwardKind::Bonus, 50, true), [(5010, 50), (2000, -50)]);
        assert_eq!(post(AwardKind::Bonus, 50, false), [(5010, 50), (1200, -30), (2010, -20)]);
        assert_eq!(post(AwardKind::Clicks, 7, false), [(5000, 7), (2010, -7)]);
        assert_eq!(post(AwardKind::Adjustment, 5, false), [(5030, 5), (2010, -5)]);
        available.insert(owner, 32);
        let taken =
            posted("k".to_owned(), AwardKind::Adjustment, affiliate(), eur(-40), false, &mut debts, &mut available);
        assert_eq!(lines(taken), [(5030, -40), (2010, 32), (1200, 8)]);
    }

    #[test]
    fn release_pays_the_debt_first() {
        let award = award::Model {
            tenant_id: TenantId::default(),
            id: AwardId::default(),
            kind: AwardKind::Bonus,
            affiliate_id: affiliate(),
            campaign_id: None,
            amount_minor: 50,
            currency: eur(0).currency,
            status: AwardStatus::Pending,
            reason: "x".to_owned(),
            explanation: None,
            author: "x".to_owned(),
            journal_id: Default::default(),
            payable_at: Instant::default(),
            released_at: None,
            created_at: Instant::default(),
        };
        let mut debts = Debts::from([((affiliate(), eur(0).currency), 20)]);
        assert_eq!(lines(released(&award, &mut debts)), [(2000, 50), (1200, -20), (2010, -30)]);
    }

    #[test]
    fn nothing_is_no_award_and_all_problems_are_told_at_once() {
        let bonus = NewBonus {
            affiliate_id: affiliate(),
            campaign_id: None,
            amount: eur(0),
            reason: " ".to_owned(),
            hold_secs: -1,
        };
        let codes: Vec<_> = bonus.check().expect_err("wrong").into_iter().map(|problem| problem.code).collect();
        assert_eq!(codes, [ProblemCode::InvalidAmount, ProblemCode::Required, ProblemCode::OutOfRange]);
        let adjust =
            |direction| NewAdjustment { affiliate_id: affiliate(), direction, amount: eur(5), reason: "x".into() };
        assert_eq!(adjust(Direction::Take).check().map(|new| new.signed()), Ok(eur(-5)));
        assert_eq!(adjust(Direction::Give).signed(), eur(5));
    }
}
