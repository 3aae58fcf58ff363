//! Revenue deals: what affiliates have of their customers' net gaming revenue (NGR), and for customers who qualify.
//!
//! # Decisions
//! - One deal holds both, so that a hybrid is a deal like any other: a share, a fixed amount for each customer who
//!   qualifies, or both, settled together.
//! - A period is settled by the terms that were in force when it ended. A deal that was set later settles, by its first
//!   terms, what was open before it: nothing that was recorded is lost because a deal came late.

use chrono::{Datelike, Days, Months, NaiveDate};
use serde::{Deserialize, Serialize};
use tributary_entity::{
    Instant,
    ids::{AffiliateId, CampaignId, TenantId},
    kinds::{RuleStatus, SettlementPeriod},
    money::{Currency, Money},
    revenue_deal, revenue_deal_version,
};

use super::{
    problem::{Problem, ProblemCode},
    text, transition,
};

/// Deals of one campaign, archived ones too: they are answered in one list.
pub const DEALS_MAX: usize = 1_000;
/// The most deductions of a deal.
pub const DEDUCTIONS_MAX: usize = 20;
/// The longest wait for what is recorded late, in days.
pub const WAIT_MAX_DAYS: i32 = 90;
/// The most periods that a loss is carried for, where it is not for ever.
pub const CARRIED_MAX: u32 = 120;
/// The longest time that a customer has to qualify, in days.
pub const QUALIFYING_MAX_DAYS: i32 = 3_660;

/// What a deal is in one version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Of NGR; from 0 to 1 000 000.
    pub share_ppm: i64,
    /// Each its own line, in this order.
    pub deductions: Vec<Deduction>,
    pub carryover: Carryover,
    pub period: SettlementPeriod,
    /// Days from the end of a period until it is settled.
    pub wait_days: i32,
    pub qualified: Option<QualifiedCpa>,
}

/// A percentage that is taken off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deduction {
    /// Such as "gaming duty".
    pub name: String,
    pub rate_ppm: i64,
    pub basis: Basis,
}

/// Of what a percentage is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Basis {
    /// Gross gaming revenue: stakes less winnings.
    Ggr,
    GgrLessBonuses,
}

/// Who bears a period's loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Carryover {
    /// The tenant.
    None,
    /// The affiliate, until it is made good.
    Full,
    /// The affiliate, for so many periods after the one of the loss; from 1.
    Limited(u32),
    /// The customer who won so much of NGR or more; any other loss is the tenant's.
    HighRoller(Money),
}

/// A fixed amount for each customer who qualifies, once in a campaign. All in the campaign's currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QualifiedCpa {
    /// More than nothing.
    pub amount: Money,
    /// Paid in by then, at least; not negative. None is nothing.
    pub deposits: Option<Money>,
    /// Staked by then, at least; not negative. None is nothing.
    pub stakes: Option<Money>,
    /// Days that the customer has, the one of the first record counted in; none is without end.
    pub days: Option<i32>,
}

impl Terms {
    /// The period that a day is in: its first day, and the day after its last.
    pub fn period_of(&self, day: NaiveDate) -> (NaiveDate, NaiveDate) {
        match self.period {
            SettlementPeriod::Week => {
                let start = day - Days::new(day.weekday().num_days_from_monday().into());
                (start, start + Days::new(7))
            }
            SettlementPeriod::Month => {
                let start = day.with_day(1).unwrap_or(day);
                (start, start + Months::new(1))
            }
        }
    }

    /// How many periods pass from a day until another one, each a period's first.
    pub fn periods_between(&self, from: NaiveDate, until: NaiveDate) -> u32 {
        let mut day = from;
        std::iter::from_fn(|| (day < until).then(|| day = self.period_of(day).1)).fold(0, |count, ()| count + 1)
    }

    /// Whether a period that ended with the day before `end` is settled on `today`.
    pub fn is_due(&self, end: NaiveDate, today: NaiveDate) -> bool {
        today >= end + Days::new(u64::try_from(self.wait_days).unwrap_or_default())
    }
}

/// A deal in one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deal {
    pub head: revenue_deal::Model,
    pub version: i32,
    pub terms: Terms,
    pub set_at: Instant,
}

/// The deal of an affiliate for a period that ended at an instant: its own, or else the campaign's. `deals` are the
/// versions of active ones, of each the oldest first.
pub fn for_period(deals: &[Deal], affiliate_id: AffiliateId, ended_at: Instant) -> Option<&Deal> {
    let of = |id: Option<AffiliateId>| deals.iter().filter(move |deal| deal.head.affiliate_id == id);
    let in_force = |id| of(id).rfind(|deal| deal.set_at < ended_at);
    let own = Some(affiliate_id);
    in_force(own).or_else(|| in_force(None)).or_else(|| of(own).next()).or_else(|| of(None).next())
}

/// A deal as a caller sets it.
#[derive(Clone, Debug, Serialize)]
pub struct NewDeal {
    pub campaign_id: CampaignId,
    /// None is for all affiliates without a deal of their own.
    pub affiliate_id: Option<AffiliateId>,
    pub terms: Terms,
}

impl NewDeal {
    /// Checks every field, for a campaign in `currency`.
    ///
    /// # Errors
    /// All problems at once.
    pub fn check(mut self, currency: Currency) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut range = |is_in: bool, field: &[&str], message: &str| {
            if !is_in {
                problems.push(Problem::new(ProblemCode::OutOfRange, field, message));
            }
        };
        let Terms { share_ppm, deductions, carryover, wait_days, qualified, .. } = &mut self.terms;
        range(*share_ppm > 0 || qualified.is_some(), &["share"], "a deal that pays nothing");
        range(deductions.len() <= DEDUCTIONS_MAX, &["deductions"], &format!("at most {DEDUCTIONS_MAX} deductions"));
        range((0..=WAIT_MAX_DAYS).contains(wait_days), &["waitDays"], &format!("from 0 to {WAIT_MAX_DAYS} days"));
        let mut mismatches = Vec::new();
        // With where they stand, and from how many minor units on.
        let mut amounts: Vec<(&[&str], Money, i64)> = Vec::new();
        match *carryover {
            Carryover::Limited(periods) => {
                let message = format!("from 1 to {CARRIED_MAX} periods");
                range((1..=CARRIED_MAX).contains(&periods), &["carryover", "periods"], &message);
            }
            Carryover::HighRoller(limit) => amounts.push((&["carryover", "limit"], limit, 1)),
            Carryover::None | Carryover::Full => {}
        }
        if let Some(QualifiedCpa { amount, deposits, stakes, days }) = *qualified {
            amounts.push((&["qualified", "amount"], amount, 1));
            amounts.extend(deposits.map(|money| (&["qualified", "deposits"][..], money, 0)));
            amounts.extend(stakes.map(|money| (&["qualified", "stakes"][..], money, 0)));
            let message = format!("from 1 to {QUALIFYING_MAX_DAYS} days");
            let is_in = days.is_none_or(|days| (1..=QUALIFYING_MAX_DAYS).contains(&days));
            range(is_in, &["qualified", "days"], &message);
        }
        for (field, money, least) in amounts {
            let message = if least == 0 { "not negative" } else { "more than nothing" };
            range(money.amount_minor >= least, &[field, &["amount"]].concat(), message);
            mismatches.extend(minor_of(field, money, currency).err());
        }
        problems.extend(mismatches);
        for deduction in deductions {
            match text::required(&["deductions", "name"], &deduction.name, text::NAME_MAX) {
                Ok(name) => deduction.name = name,
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(self) } else { Err(problems) }
    }

    /// The terms as a version of a deal; JSON of [`Terms`] is `terms`.
    pub const fn version(
        tenant_id: TenantId,
        head: &revenue_deal::Model,
        terms: String,
        at: Instant,
    ) -> revenue_deal_version::Model {
        revenue_deal_version::Model {
            tenant_id,
            deal_id: head.id,
            version: head.current_version,
            terms,
            created_at: at,
        }
    }
}

/// An amount of the campaign's currency, in minor units.
///
/// # Errors
/// `CURRENCY_MISMATCH`.
pub fn minor_of(field: &[&str], money: Money, currency: Currency) -> Result<i64, Problem> {
    if money.currency == currency {
        return Ok(money.amount_minor);
    }
    let message = format!("in {currency}, as the campaign");
    Err(Problem::new(ProblemCode::CurrencyMismatch, &[field, &["currency"]].concat(), message))
}

/// An archived deal is set again, not moved.
const TRANSITIONS: &[(RuleStatus, RuleStatus)] = &[(RuleStatus::Active, RuleStatus::Archived)];

/// Moves a status.
///
/// # Errors
/// `INVALID_TRANSITION`.
pub fn transition(from: RuleStatus, to: RuleStatus) -> Result<RuleStatus, Problem> {
    transition::step(TRANSITIONS, "a revenue deal", from, to)
}

#[cfg(test)]
mod tests {
    use tributary_entity::ids::RevenueDealId;
    use uuid::Uuid;

    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().expect("a day")
    }

    fn terms(period: SettlementPeriod) -> Terms {
        let (deductions, carryover) = (Vec::new(), Carryover::None);
        Terms { share_ppm: 300_000, deductions, carryover, period, wait_days: 3, qualified: None }
    }

    #[test]
    fn periods_are_the_calendars() {
        let month = terms(SettlementPeriod::Month);
        assert_eq!(month.period_of(day("2024-02-29")), (day("2024-02-01"), day("2024-03-01")));
        assert_eq!(month.period_of(day("2026-12-31")), (day("2026-12-01"), day("2027-01-01")));
        let week = terms(SettlementPeriod::Week);
        assert_eq!(week.period_of(day("2026-11-29")), (day("2026-11-23"), day("2026-11-30")));
        assert_eq!(week.period_of(day("2026-11-30")), (day("2026-11-30"), day("2026-12-07")));
        assert_eq!(month.periods_between(day("2026-11-01"), day("2027-02-01")), 3);
        assert_eq!(month.periods_between(day("2026-11-01"), day("2026-11-01")), 0);
        assert!(!month.is_due(day("2026-12-01"), day("2026-12-03")));
        assert!(month.is_due(day("2026-12-01"), day("2026-12-04")));
    }

    #[test]
    fn period_is_settled_by_what_was_in_force_when_it_ended() {
        let affiliate = |n| AffiliateId::from_uuid(Uuid::from_u128(n));
        let at = |text: &str| text.parse::<Instant>().expect("an instant");
        let deal = |affiliate_id, version, set_at| Deal {
            head: revenue_deal::Model {
                tenant_id: TenantId::default(),
                id: RevenueDealId::default(),
                campaign_id: CampaignId::default(),
                affiliate_id,
                current_version: version,
                status: RuleStatus::Active,
                created_at: at(set_at),
                updated_at: at(set_at),
            },
            version,
            terms: terms(SettlementPeriod::Month),
            set_at: at(set_at),
        };
        let deals = [
            deal(None, 1, "2026-03-10T00:00:00Z"),
            deal(None, 2, "2026-05-10T00:00:00Z"),
            deal(Some(affiliate(1)), 7, "2026-04-10T00:00:00Z"),
        ];
        let version = |id, ended_at| for_period(&deals, id, at(ended_at)).map(|deal| deal.version);
        assert_eq!(version(affiliate(2), "2026-05-01T00:00:00Z"), Some(1));
        assert_eq!(version(affiliate(2), "2026-06-01T00:00:00Z"), Some(2));
        assert_eq!(version(affiliate(1), "2026-06-01T00:00:00Z"), Some(7), "its own goes first");
        assert_eq!(version(affiliate(1), "2026-04-01T00:00:00Z"), Some(1), "which was not there yet");
        assert_eq!(version(affiliate(1), "2026-03-01T00:00:00Z"), Some(7), "none was");
        assert_eq!(version(affiliate(2), "2026-03-01T00:00:00Z"), Some(1));
        assert_eq!(for_period(&deals[2..], affiliate(2), at("2026-06-01T00:00:00Z")), None);
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let money = |amount_minor, currency: &str| Money::new(amount_minor, currency.parse().expect("known"));
        let qualified =
            QualifiedCpa { amount: money(0, "EUR"), deposits: Some(money(-1, "EUR")), stakes: None, days: Some(0) };
        let deductions = vec![Deduction { name: " ".to_owned(), rate_ppm: 1, basis: Basis::Ggr }];
        let carryover = Carryover::HighRoller(money(5, "USD"));
        let terms = Terms { deductions, carryover, wait_days: -1, ..terms(SettlementPeriod::Week) };
        let terms = Terms { qualified: Some(qualified), ..terms };
        let new = NewDeal { campaign_id: CampaignId::default(), affiliate_id: None, terms };
        let problems = new.check("EUR".parse().expect("known")).expect_err("wrong");
        let mut codes: Vec<String> = problems.iter().map(|problem| format!("{:?}", problem.code)).collect();
        codes.sort();
        assert_eq!(codes, ["CurrencyMismatch", "OutOfRange", "OutOfRange", "OutOfRange", "OutOfRange", "Required",]);
        let nothing = Terms { share_ppm: 0, ..self::terms(SettlementPeriod::Week) };
        let new = NewDeal { campaign_id: CampaignId::default(), affiliate_id: None, terms: nothing };
        assert!(new.check("EUR".parse().expect("known")).is_err());
    }
}
