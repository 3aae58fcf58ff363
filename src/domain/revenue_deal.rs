//! Revenue deals: what affiliates have of their customers' net gaming revenue (NGR), and for customers who qualify.
//!
//! # Decisions
//! - One deal holds both, so that a hybrid is a deal like any other: a share, a fixed amount for each customer who
//!   qualifies, or both, settled together.
//! - A period is settled by the terms that were in force when it ended. Where there were none, as a deal had ended or came
//!   late, it is settled by the next ones: nothing that was recorded is lost.
//! - That a deal was archived is a version of it, too, so that what was in force when can be told ever after.
//! - How long a period is, is a matter of terms: the first one that ends while its own terms are in force is settled first.

use chrono::{Datelike, Days, Months, NaiveDate};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use tributary_entity::{
    Instant,
    ids::{AffiliateId, CampaignId, TenantId},
    kinds::{RuleStatus, SettlementPeriod},
    money::{Currency, Money},
    revenue_deal, revenue_deal_version,
};

use super::{
    cap::midnight,
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
    /// From then on there is none.
    pub is_end: bool,
}

/// The deal of an affiliate for a period that ended at an instant: its own, or else the campaign's; where there was none,
/// the next one. `deals` are all versions, of each deal the oldest first.
pub fn for_period(deals: &[Deal], affiliate_id: AffiliateId, ended_at: Instant) -> Option<&Deal> {
    let of = |id: Option<AffiliateId>| deals.iter().filter(move |deal| deal.head.affiliate_id == id);
    let in_force = |id| of(id).rfind(|deal| deal.set_at < ended_at).filter(|deal| !deal.is_end);
    let later = |id| of(id).find(|deal| deal.set_at >= ended_at && !deal.is_end);
    let own = Some(affiliate_id);
    in_force(own).or_else(|| in_force(None)).or_else(|| later(own)).or_else(|| later(None))
}

/// The period of an affiliate that a day is in, and the deal that settles it: its first day, and the day after its last.
/// Of several the first to end, of those that end while their own terms are in force. `deals` are all versions, of each
/// deal the oldest first; days are of `zone`.
pub fn period_of_day(
    deals: &[Deal],
    affiliate_id: AffiliateId,
    day: NaiveDate,
    zone: Tz,
) -> Option<(&Deal, NaiveDate, NaiveDate)> {
    let concerned = deals.iter().filter(|deal| deal.head.affiliate_id.is_none_or(|id| id == affiliate_id));
    let periods = concerned.filter(|deal| !deal.is_end).filter_map(|deal| {
        let (start, end) = deal.terms.period_of(day);
        let settling = for_period(deals, affiliate_id, midnight(end, zone))?;
        let is_own = (settling.head.id, settling.version) == (deal.head.id, deal.version);
        is_own.then_some((deal, start, end))
    });
    periods.min_by_key(|(_, _, end)| *end).or_else(|| {
        // Terms that follow one another so that none is in force when its own period ends; or none is at all.
        let (_, end) = for_period(deals, affiliate_id, midnight(day, zone))?.terms.period_of(day);
        let deal = for_period(deals, affiliate_id, midnight(end, zone))?;
        let (start, end) = deal.terms.period_of(day);
        Some((deal, start, end))
    })
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

    /// Terms, or the end of them, as a version of a deal; JSON of [`Terms`] is `terms`.
    pub const fn version(
        tenant_id: TenantId,
        head: &revenue_deal::Model,
        terms: String,
        is_end: bool,
        at: Instant,
    ) -> revenue_deal_version::Model {
        let (deal_id, version) = (head.id, head.current_version);
        revenue_deal_version::Model { tenant_id, deal_id, version, terms, is_end, created_at: at }
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

    fn affiliate(number: u128) -> AffiliateId {
        AffiliateId::from_uuid(Uuid::from_u128(number))
    }

    fn at(day: &str) -> Instant {
        format!("{day}T00:00:00Z").parse().expect("an instant")
    }

    /// A version; its deal is told by whose it is.
    fn deal(affiliate_id: Option<AffiliateId>, version: i32, set_on: &str, period: SettlementPeriod) -> Deal {
        let set_at = at(set_on);
        let head = revenue_deal::Model {
            tenant_id: TenantId::default(),
            id: RevenueDealId::from_uuid(affiliate_id.map_or(Uuid::nil(), AffiliateId::uuid)),
            campaign_id: CampaignId::default(),
            affiliate_id,
            current_version: version,
            status: RuleStatus::Active,
            created_at: set_at,
            updated_at: set_at,
        };
        Deal { head, version, terms: terms(period), set_at, is_end: false }
    }

    const MONTH: SettlementPeriod = SettlementPeriod::Month;

    #[test]
    fn period_is_settled_by_what_was_in_force_when_it_ended() {
        let own = Some(affiliate(1));
        let deals =
            [deal(None, 1, "2026-03-10", MONTH), deal(None, 2, "2026-05-10", MONTH), deal(own, 7, "2026-04-10", MONTH)];
        let version = |id, ended_on| for_period(&deals, id, at(ended_on)).map(|deal| deal.version);
        assert_eq!(version(affiliate(2), "2026-05-01"), Some(1));
        assert_eq!(version(affiliate(2), "2026-06-01"), Some(2));
        assert_eq!(version(affiliate(1), "2026-06-01"), Some(7), "its own goes first");
        assert_eq!(version(affiliate(1), "2026-04-01"), Some(1), "which was not there yet");
        assert_eq!(version(affiliate(1), "2026-03-01"), Some(7), "none was");
        assert_eq!(version(affiliate(2), "2026-03-01"), Some(1));
        assert_eq!(for_period(&deals[2..], affiliate(2), at("2026-06-01")), None);
    }

    #[test]
    fn what_was_archived_settles_what_ended_before_and_nothing_after() {
        let own = Some(affiliate(1));
        let end = Deal { is_end: true, ..deal(own, 2, "2026-03-10", MONTH) };
        let deals = [
            deal(None, 1, "2026-01-01", MONTH),
            deal(own, 1, "2026-01-01", MONTH),
            end,
            deal(own, 3, "2026-06-10", MONTH),
        ];
        let of = |deals: &[Deal], ended_on| {
            for_period(deals, affiliate(1), at(ended_on)).map(|deal| (deal.head.affiliate_id.is_some(), deal.version))
        };
        assert_eq!(of(&deals, "2026-03-01"), Some((true, 1)));
        assert_eq!(of(&deals, "2026-04-01"), Some((false, 1)), "the campaign's was in force");
        assert_eq!(of(&deals, "2026-07-01"), Some((true, 3)));
        assert_eq!(of(&deals[1..], "2026-04-01"), Some((true, 3)), "none was, so it waited");
        assert_eq!(of(&deals[1..3], "2026-04-01"), None);
    }

    #[test]
    fn period_ends_while_its_own_terms_are_in_force() {
        let of = |deals: &[Deal], on| {
            let found = period_of_day(deals, affiliate(1), day(on), Tz::UTC);
            found.map(|(deal, start, end)| (deal.version, start.to_string(), end.to_string()))
        };
        let period = |version, start: &str, end: &str| Some((version, start.to_owned(), end.to_owned()));
        let shorter = [deal(None, 1, "2026-01-01", MONTH), deal(None, 2, "2026-03-20", SettlementPeriod::Week)];
        assert_eq!(of(&shorter, "2026-02-03"), period(1, "2026-02-01", "2026-03-01"));
        assert_eq!(of(&shorter, "2026-03-24"), period(2, "2026-03-23", "2026-03-30"));
        assert_eq!(of(&shorter, "2026-03-17"), period(2, "2026-03-16", "2026-03-23"));
        let longer = [deal(None, 1, "2026-01-01", SettlementPeriod::Week), deal(None, 2, "2026-03-20", MONTH)];
        assert_eq!(of(&longer, "2026-03-03"), period(1, "2026-03-02", "2026-03-09"));
        assert_eq!(of(&longer, "2026-03-18"), period(2, "2026-03-01", "2026-04-01"));
        assert_eq!(of(&[], "2026-03-18"), None);
        let ended = [shorter[0].clone(), Deal { is_end: true, ..deal(None, 2, "2026-03-20", MONTH) }];
        assert_eq!(of(&ended, "2026-02-03"), period(1, "2026-02-01", "2026-03-01"));
        assert_eq!(of(&ended, "2026-03-18"), None);
        assert_eq!(of(&ended, "2026-03-24"), None);
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
