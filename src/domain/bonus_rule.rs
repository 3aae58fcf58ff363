//! Bonuses by rule: who brings enough in a period is given an amount, once the period is over.
//!
//! # Decisions
//! - What counts is approved when the period is decided: what is rejected, taken back whole, or still waits for somebody
//!   does not, and of a sale counts what is left of it. Hourly totals hold what nobody has approved yet, too, and their hours
//!   are not where a tenant's days begin: the conversions themselves are asked. For approvals that come late a rule may wait.
//! - A conversion counts in the period in which the customer acted, and once: for the affiliate in its row, who of several
//!   has the largest share, as in reports.
//! - Each period begins where the one before ended, the first is the one that the rule was made in. Where the tenant's time
//!   zone is moved, the period under way ends where the new zone has its end: no conversion counts twice or nowhere, but that
//!   one period is a few hours shorter or longer.
//! - A milestone (`LIFETIME`) counts all that an affiliate ever brought, before there was the rule as well. It is looked at
//!   when a day is over, and given once.
//! - The terms never change, so that what was given stays explained. An archived rule gives nothing more, also not for a
//!   period that is over and still waited.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, Days, Months, TimeDelta};
use chrono_tz::Tz;
use serde::Serialize;
use tributary_entity::{
    Instant, bonus_rule,
    ids::{AffiliateId, BonusRuleId, CampaignId, TenantId},
    kinds::{CapPeriod, RuleStatus, TierBasis},
    money::{Currency, Money},
};

use super::{
    award::{self, Step},
    cap::{COUNT_MAX, midnight, period_start},
    problem::{Problem, ProblemCode},
    text, transition,
};

/// Rules of one campaign, and of a tenant for all campaigns, archived ones too.
pub const RULES_MAX: u64 = 1_000;
/// The longest wait of a rule: a month.
pub const WAIT_MAX_DAYS: i32 = 31;

/// How much an affiliate has to bring, inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Threshold {
    Conversions(i64),
    /// In the currency of the bonus: sales in others do not count.
    SaleAmount(Money),
}

impl Threshold {
    /// What a rule asks for.
    pub const fn of(rule: &bonus_rule::Model) -> Self {
        Self::reached(rule, rule.threshold)
    }

    /// What was counted for a rule.
    const fn reached(rule: &bonus_rule::Model, counted: i64) -> Self {
        match rule.basis {
            TierBasis::Conversions => Self::Conversions(counted),
            TierBasis::SaleAmount => Self::SaleAmount(Money::new(counted, rule.currency)),
        }
    }

    const fn stored(self) -> (TierBasis, i64) {
        match self {
            Self::Conversions(count) => (TierBasis::Conversions, count),
            Self::SaleAmount(sale) => (TierBasis::SaleAmount, sale.amount_minor),
        }
    }

    /// A plain decimal.
    fn decimal(self) -> String {
        match self {
            Self::Conversions(count) => count.to_string(),
            Self::SaleAmount(sale) => sale.decimal(),
        }
    }

    fn check(self, currency: Currency) -> Result<(), Problem> {
        let field = |rest: &[&'static str]| [&["threshold"], rest].concat();
        match self {
            Self::Conversions(count) if !(1..=COUNT_MAX).contains(&count) => {
                let message = format!("from 1 to {COUNT_MAX}");
                Err(Problem::new(ProblemCode::OutOfRange, &field(&["conversions"]), message))
            }
            Self::SaleAmount(sale) if sale.currency != currency => {
                let message = format!("the bonus is in {currency}");
                let field = field(&["saleAmount", "currency"]);
                Err(Problem::new(ProblemCode::CurrencyMismatch, &field, message))
            }
            Self::SaleAmount(sale) => award::positive(&field(&["saleAmount", "amount"]), sale),
            Self::Conversions(_) => Ok(()),
        }
    }
}

/// A rule as a caller describes it.
#[derive(Clone, Debug, Serialize)]
pub struct NewBonusRule {
    /// None counts what is brought in all campaigns.
    pub campaign_id: Option<CampaignId>,
    pub name: String,
    pub threshold: Threshold,
    pub period: CapPeriod,
    pub amount: Money,
    pub hold_secs: i64,
    pub wait_days: i32,
}

impl NewBonusRule {
    /// Checks every field.
    ///
    /// # Errors
    /// All problems at once.
    pub fn check(self) -> Result<Self, Vec<Problem>> {
        let name = text::required(&["name"], &self.name, text::NAME_MAX);
        let wait = if (0..=WAIT_MAX_DAYS).contains(&self.wait_days) {
            Ok(())
        } else {
            let message = format!("from 0 to {WAIT_MAX_DAYS} days");
            Err(Problem::new(ProblemCode::OutOfRange, &["waitDays"], message))
        };
        let others = [
            self.threshold.check(self.amount.currency),
            award::positive(&["amount", "amount"], self.amount),
            award::hold(self.hold_secs),
            wait,
        ];
        let mut problems: Vec<Problem> = others.into_iter().filter_map(Result::err).collect();
        match name {
            Ok(name) if problems.is_empty() => Ok(Self { name, ..self }),
            name => {
                problems.extend(name.err());
                Err(problems)
            }
        }
    }

    /// The rule's row: it counts from the period of `now` on.
    pub fn row(&self, tenant_id: TenantId, id: BonusRuleId, now: Instant, zone: Tz) -> bonus_rule::Model {
        let (basis, threshold) = self.threshold.stored();
        bonus_rule::Model {
            tenant_id,
            id,
            campaign_id: self.campaign_id,
            name: self.name.clone(),
            basis,
            threshold,
            period: self.period,
            amount_minor: self.amount.amount_minor,
            currency: self.amount.currency,
            hold_secs: self.hold_secs,
            wait_days: self.wait_days,
            status: RuleStatus::Active,
            decided_until: period_start(decided_by(self.period), now, zone),
            created_at: now,
            updated_at: now,
        }
    }
}

/// Which rules a list holds. All conditions must hold.
#[derive(Clone, Debug, Default)]
pub struct BonusRuleFilter {
    pub campaign_ids: Option<Vec<CampaignId>>,
    pub statuses: Option<Vec<RuleStatus>>,
}

/// An archived rule stays so: its terms are made again as another one.
const TRANSITIONS: &[(RuleStatus, RuleStatus)] = &[(RuleStatus::Active, RuleStatus::Archived)];

/// Moves a status.
///
/// # Errors
/// `INVALID_TRANSITION`.
pub fn transition(from: RuleStatus, to: RuleStatus) -> Result<RuleStatus, Problem> {
    transition::step(TRANSITIONS, "a bonus rule", from, to)
}

/// What of a rule is decided at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// Inclusive; names the period in what was given for it.
    pub from: Instant,
    /// Exclusive.
    pub until: Instant,
    /// When it is to be decided.
    pub due_at: Instant,
}

impl Period {
    /// The first of a rule that is not decided.
    pub fn next(rule: &bonus_rule::Model, zone: Tz) -> Self {
        let period = decided_by(rule.period);
        let mut until = end(period, rule.decided_until, zone);
        // Where the zone was moved west, the new one's end comes hours later than the old one's: no period is that short.
        if until - rule.decided_until < least(period) {
            until = end(period, until, zone);
        }
        let from = if rule.period == CapPeriod::Lifetime { DateTime::UNIX_EPOCH } else { rule.decided_until };
        Self { from, until, due_at: until + TimeDelta::days(rule.wait_days.into()) }
    }
}

/// A milestone is looked at day by day.
const fn decided_by(period: CapPeriod) -> CapPeriod {
    match period {
        CapPeriod::Lifetime => CapPeriod::Day,
        CapPeriod::Day | CapPeriod::Week | CapPeriod::Month => period,
    }
}

/// Less is no period, but what two zones' ends are apart.
const fn least(period: CapPeriod) -> TimeDelta {
    match period {
        CapPeriod::Day | CapPeriod::Lifetime => TimeDelta::hours(12),
        // Zones are up to 26 hours apart.
        CapPeriod::Week | CapPeriod::Month => TimeDelta::hours(27),
    }
}

/// When the period of an instant ends.
fn end(period: CapPeriod, at: Instant, zone: Tz) -> Instant {
    let day = at.with_timezone(&zone).date_naive();
    let next = match period {
        CapPeriod::Day | CapPeriod::Lifetime => day + Days::new(1),
        CapPeriod::Week => day + Days::new((7 - day.weekday().num_days_from_monday()).into()),
        CapPeriod::Month => day.with_day(1).unwrap_or(day) + Months::new(1),
    };
    midnight(next, zone)
}

/// A conversion that counts.
#[derive(Clone, Copy, Debug)]
pub struct Brought {
    pub affiliate_id: AffiliateId,
    pub occurred_at: Instant,
    pub sale: Money,
}

/// A period in which an affiliate brought enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    pub affiliate_id: AffiliateId,
    pub from: Instant,
    /// Exclusive; of a milestone the end of the day on which it was reached.
    pub until: Instant,
    /// Of a milestone by then.
    pub counted: Threshold,
}

/// Who would be given a rule's amount for what is brought, by affiliate and period.
pub fn reached(rule: &bonus_rule::Model, brought: impl Iterator<Item = Brought>, zone: Tz) -> Vec<Reached> {
    // By the periods that are decided together: of a milestone the days, one after the other.
    let mut counted: BTreeMap<(AffiliateId, Instant), i64> = BTreeMap::new();
    for Brought { affiliate_id, occurred_at, sale } in brought {
        let amount = match rule.basis {
            TierBasis::Conversions => 1,
            TierBasis::SaleAmount if sale.currency == rule.currency => sale.amount_minor,
            TierBasis::SaleAmount => 0,
        };
        let sum = counted.entry((affiliate_id, period_start(decided_by(rule.period), occurred_at, zone))).or_default();
        *sum = sum.saturating_add(amount);
    }
    let is_milestone = rule.period == CapPeriod::Lifetime;
    let mut reached: Vec<Reached> = Vec::new();
    let (mut whose, mut sum) = (None, 0_i64);
    for ((affiliate_id, from), amount) in counted {
        sum = if is_milestone && whose == Some(affiliate_id) { sum.saturating_add(amount) } else { amount };
        whose = Some(affiliate_id);
        let has_it = is_milestone && reached.last().is_some_and(|last| last.affiliate_id == affiliate_id);
        if sum >= rule.threshold && !has_it {
            let until = end(decided_by(rule.period), from, zone);
            let from = if is_milestone { DateTime::UNIX_EPOCH } else { from };
            reached.push(Reached { affiliate_id, from, until, counted: Threshold::reached(rule, sum) });
        }
    }
    reached
}

/// How a bonus came about. The dates are the tenant's, the last one inclusive.
pub fn steps(rule: &bonus_rule::Model, period: &Period, counted: i64, zone: Tz) -> Vec<Step> {
    let date = |at: Instant| at.with_timezone(&zone).date_naive();
    let last = date(period.until - TimeDelta::microseconds(1));
    let when = match rule.period {
        CapPeriod::Lifetime => format!("until {last}"),
        CapPeriod::Day | CapPeriod::Week | CapPeriod::Month => format!("from {} to {last}", date(period.from)),
    };
    let what = match rule.basis {
        TierBasis::Conversions => "approved conversions".to_owned(),
        TierBasis::SaleAmount => format!("approved sales in {}", rule.currency),
    };
    vec![
        Step { name: format!("{what} {when}"), value: Threshold::reached(rule, counted).decimal() },
        Step { name: "threshold".to_owned(), value: Threshold::of(rule).decimal() },
    ]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::cap::zone;

    fn at(text: &str) -> Instant {
        text.parse().expect("an instant")
    }

    fn money(amount_minor: i64, currency: &str) -> Money {
        Money::new(amount_minor, currency.parse().expect("known"))
    }

    fn new(threshold: Threshold, period: CapPeriod) -> NewBonusRule {
        NewBonusRule {
            campaign_id: None,
            name: " Ten sales ".to_owned(),
            threshold,
            period,
            amount: money(5_000, "EUR"),
            hold_secs: 0,
            wait_days: 3,
        }
    }

    fn rule(period: CapPeriod, now: &str, zone: Tz) -> bonus_rule::Model {
        let new = new(Threshold::Conversions(10), period).check().expect("good");
        new.row(TenantId::default(), BonusRuleId::default(), at(now), zone)
    }

    #[test]
    fn rule_counts_from_its_own_period_on_and_waits_after_its_end() {
        let berlin = zone("Europe/Berlin");
        for (period, from, until) in [
            (CapPeriod::Day, "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
            (CapPeriod::Week, "2026-10-18T22:00:00Z", "2026-10-25T23:00:00Z"),
            (CapPeriod::Month, "2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z"),
            (CapPeriod::Lifetime, "1970-01-01T00:00:00Z", "2026-10-25T23:00:00Z"),
        ] {
            // The Sunday on which clocks are set back.
            let next = Period::next(&rule(period, "2026-10-25T12:00:00Z", berlin), berlin);
            let due_at = at(until) + TimeDelta::days(3);
            assert_eq!(next, Period { from: at(from), until: at(until), due_at }, "{period}");
        }
    }

    #[test]
    fn periods_join_also_where_the_time_zone_was_moved() {
        let mut rule = rule(CapPeriod::Week, "2026-11-18T12:00:00Z", Tz::UTC);
        rule.decided_until = Period::next(&rule, Tz::UTC).until;
        assert_eq!(rule.decided_until, at("2026-11-23T00:00:00Z"));
        let moved = Period::next(&rule, zone("Europe/Berlin"));
        assert_eq!((moved.from, moved.until), (at("2026-11-23T00:00:00Z"), at("2026-11-29T23:00:00Z")));
        // West of where it was the week has not begun: it is not one of five hours.
        let moved = Period::next(&rule, zone("America/New_York"));
        assert_eq!((moved.from, moved.until), (at("2026-11-23T00:00:00Z"), at("2026-11-30T05:00:00Z")));
    }

    #[test]
    fn bonus_says_what_was_counted_when_and_the_threshold() {
        let told = |rule: &bonus_rule::Model, counted| {
            let steps = steps(rule, &Period::next(rule, Tz::UTC), counted, Tz::UTC);
            steps.into_iter().map(|step| format!("{}: {}", step.name, step.value)).collect::<Vec<_>>()
        };
        let mut month = rule(CapPeriod::Month, "2026-11-18T12:00:00Z", Tz::UTC);
        let counted = "approved conversions from 2026-11-01 to 2026-11-30: 12";
        assert_eq!(told(&month, 12), [counted, "threshold: 10"]);
        month.basis = TierBasis::SaleAmount;
        let counted = "approved sales in EUR from 2026-11-01 to 2026-11-30: 0.12";
        assert_eq!(told(&month, 12), [counted, "threshold: 0.10"]);
        let life = rule(CapPeriod::Lifetime, "2026-11-18T12:00:00Z", Tz::UTC);
        assert_eq!(told(&life, 12)[0], "approved conversions until 2026-11-18: 12");
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let codes = |new: NewBonusRule| {
            let problems = new.check().err().unwrap_or_default();
            problems.into_iter().map(|problem| problem.code).collect::<Vec<_>>()
        };
        let good = |threshold| new(threshold, CapPeriod::Day);
        assert_eq!(codes(good(Threshold::Conversions(1))), []);
        assert_eq!(good(Threshold::Conversions(1)).check().map(|new| new.name), Ok("Ten sales".to_owned()));
        assert_eq!(codes(good(Threshold::Conversions(0))), [ProblemCode::OutOfRange]);
        assert_eq!(codes(good(Threshold::SaleAmount(money(0, "EUR")))), [ProblemCode::InvalidAmount]);
        assert_eq!(codes(good(Threshold::SaleAmount(money(1, "USD")))), [ProblemCode::CurrencyMismatch]);
        let wrong = NewBonusRule {
            name: " ".to_owned(),
            amount: money(0, "EUR"),
            hold_secs: -1,
            wait_days: 32,
            ..good(Threshold::Conversions(1))
        };
        let all = [ProblemCode::InvalidAmount, ProblemCode::OutOfRange, ProblemCode::OutOfRange, ProblemCode::Required];
        assert_eq!(codes(wrong), all);
    }

    proptest! {
        /// Else the same period would be decided for ever.
        #[test]
        fn period_ends_after_its_every_instant(secs in 0i64..4_000_000_000, index in 0usize..600) {
            let zone = chrono_tz::TZ_VARIANTS[index % chrono_tz::TZ_VARIANTS.len()];
            let at = DateTime::from_timestamp(secs, 0).expect("in range");
            for period in [CapPeriod::Day, CapPeriod::Week, CapPeriod::Month] {
                prop_assert!(end(period, at, zone) > at, "{period} of {at} in {zone}");
                prop_assert!(period_start(period, at, zone) <= at);
            }
        }
    }

    fn asking(basis: TierBasis, threshold: i64, period: CapPeriod) -> bonus_rule::Model {
        let threshold = match basis {
            TierBasis::Conversions => Threshold::Conversions(threshold),
            TierBasis::SaleAmount => Threshold::SaleAmount(money(threshold, "EUR")),
        };
        let amount = money(500, "EUR");
        let new = NewBonusRule {
            campaign_id: None,
            name: "Many".to_owned(),
            threshold,
            period,
            amount,
            hold_secs: 0,
            wait_days: 0,
        };
        new.row(TenantId::default(), BonusRuleId::default(), at("2026-11-03T10:00:00Z"), zone("Europe/Berlin"))
    }

    #[test]
    fn what_is_brought_counts_in_its_period_and_a_milestone_once() {
        let affiliate = |number| AffiliateId::from_uuid(uuid::Uuid::from_u128(number));
        let brought = |number, when: &str, minor, currency: &str| Brought {
            affiliate_id: affiliate(number),
            occurred_at: at(when),
            sale: money(minor, currency),
        };
        // Midnight in Berlin is at 23:00.
        let events = [
            brought(1, "2026-11-02T22:59:59Z", 100, "EUR"),
            brought(1, "2026-11-02T23:00:00Z", 100, "EUR"),
            brought(1, "2026-11-03T22:59:59Z", 100, "EUR"),
            brought(1, "2026-11-03T23:00:00Z", 900, "USD"),
            brought(2, "2026-11-03T12:00:00Z", 250, "EUR"),
        ];
        let told = |basis, threshold, period| -> Vec<(AffiliateId, String, i64)> {
            let reached = reached(&asking(basis, threshold, period), events.iter().copied(), zone("Europe/Berlin"));
            let told = reached.into_iter().map(|one| {
                let counted = match one.counted {
                    Threshold::Conversions(count) => count,
                    Threshold::SaleAmount(sale) => sale.amount_minor,
                };
                (one.affiliate_id, one.until.to_rfc3339_opts(chrono::SecondsFormat::Secs, true), counted)
            });
            told.collect()
        };
        let line = |number, until: &str, counted| (affiliate(number), until.to_owned(), counted);
        let (second, third) = ("2026-11-02T23:00:00Z", "2026-11-03T23:00:00Z");
        assert_eq!(told(TierBasis::Conversions, 2, CapPeriod::Day), [line(1, third, 2)]);
        assert_eq!(told(TierBasis::SaleAmount, 200, CapPeriod::Day), [line(1, third, 200), line(2, third, 250)]);
        assert_eq!(told(TierBasis::SaleAmount, 301, CapPeriod::Month), [], "dollars do not count");
        assert_eq!(told(TierBasis::Conversions, 1, CapPeriod::Lifetime), [line(1, second, 1), line(2, third, 1)]);
        assert_eq!(told(TierBasis::Conversions, 3, CapPeriod::Lifetime), [line(1, third, 3)]);
        assert_eq!(told(TierBasis::SaleAmount, 300, CapPeriod::Lifetime), [line(1, third, 300)]);
    }
}
