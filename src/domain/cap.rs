//! Caps: what a campaign, or one affiliate in it, may bring in a period; what is over is refused.
//!
//! # Decisions
//! - A conversion takes of each cap that concerns it, or of none. Of clicks, conversions and sales, what does not fit whole
//!   is over; a commission is cut to what is left (`commission::caps`), and over where that is nothing. What is used never
//!   passes the amount.
//! - An enrollment's cap concerns the conversions of its affiliate, and of their commissions its own.
//! - A cap counts from when it was made. It measures no past: past conversions keep what they were decided by.

use chrono::{DateTime, Datelike, Days, LocalResult, NaiveDate, TimeDelta, TimeZone};
use chrono_tz::Tz;
use serde::Serialize;
use tributary_entity::{
    Instant, cap,
    ids::{AffiliateId, CampaignId, EnrollmentId},
    kinds::{CapMetric, CapPeriod, CapStatus},
    money::{Currency, Money},
};

use super::{
    problem::{Problem, ProblemCode},
    transition,
};

/// Caps of one campaign and its enrollments, archived ones too: they are answered in one list.
pub const CAPS_MAX: usize = 1_000;
/// The largest count.
pub const COUNT_MAX: i64 = 1_000_000_000_000;

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum CapTarget {
    Campaign(CampaignId),
    Enrollment(EnrollmentId),
}

/// How much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum CapAmount {
    Count(i64),
    Money(Money),
}

/// A new cap as a manager describes it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct NewCap {
    pub target: CapTarget,
    pub metric: CapMetric,
    pub period: CapPeriod,
    pub amount: CapAmount,
}

impl CapAmount {
    /// A stored amount of a metric, as people write it.
    pub const fn of(metric: CapMetric, stored: i64, currency: Currency) -> Self {
        if is_money(metric) { Self::Money(Money::new(stored, currency)) } else { Self::Count(stored) }
    }

    /// The amount as it is stored.
    ///
    /// # Errors
    /// `REQUIRED` for a count where money is limited, and the other way round; `CURRENCY_MISMATCH`; `OUT_OF_RANGE`.
    pub fn stored(self, metric: CapMetric, currency: Currency) -> Result<i64, Problem> {
        match self {
            Self::Count(count) if !is_money(metric) => {
                if (0..=COUNT_MAX).contains(&count) {
                    Ok(count)
                } else {
                    let message = format!("from 0 to {COUNT_MAX}");
                    Err(Problem::new(ProblemCode::OutOfRange, &["amount", "count"], message))
                }
            }
            Self::Money(money) if is_money(metric) => {
                if money.currency == currency {
                    Ok(money.amount_minor)
                } else {
                    let message = format!("the campaign's currency is {}", currency.code());
                    Err(Problem::new(ProblemCode::CurrencyMismatch, &["amount", "money", "currency"], message))
                }
            }
            Self::Count(_) => Err(Problem::required(&["amount", "money"])),
            Self::Money(_) => Err(Problem::required(&["amount", "count"])),
        }
    }
}

const fn is_money(metric: CapMetric) -> bool {
    matches!(metric, CapMetric::SaleAmount | CapMetric::Commission)
}

/// An archived cap stays so: a new one begins at nothing.
const TRANSITIONS: &[(CapStatus, CapStatus)] = &[(CapStatus::Active, CapStatus::Archived)];

/// Moves a status.
///
/// # Errors
/// `INVALID_TRANSITION`.
pub fn transition(from: CapStatus, to: CapStatus) -> Result<CapStatus, Problem> {
    transition::step(TRANSITIONS, "a cap", from, to)
}

/// A tenant's time zone; UTC for a name that this version does not know.
pub fn zone(name: &str) -> Tz {
    name.parse().unwrap_or(Tz::UTC)
}

/// When the period of an instant began.
pub fn period_start(period: CapPeriod, at: Instant, zone: Tz) -> Instant {
    let day = at.with_timezone(&zone).date_naive();
    match period {
        CapPeriod::Day => midnight(day, zone),
        CapPeriod::Week => midnight(day - Days::new(day.weekday().num_days_from_monday().into()), zone),
        CapPeriod::Month => midnight(day.with_day(1).unwrap_or(day), zone),
        CapPeriod::Lifetime => DateTime::UNIX_EPOCH,
    }
}

/// When the day after an instant's begins.
pub fn next_day(at: Instant, zone: Tz) -> Instant {
    let today = at.with_timezone(&zone).date_naive();
    let tomorrow = midnight(today + Days::new(1), zone);
    // A zone may skip a day.
    if tomorrow > at { tomorrow } else { at + TimeDelta::days(1) }
}

/// The first instant of a day. Where clocks are set forward at midnight, the day begins later; where they are set back
/// over it, the earlier of the two.
pub fn midnight(day: NaiveDate, zone: Tz) -> Instant {
    const STEP: TimeDelta = TimeDelta::minutes(15);
    let mut local = day.and_time(chrono::NaiveTime::MIN);
    loop {
        match zone.from_local_datetime(&local) {
            LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => return at.to_utc(),
            LocalResult::None => local += STEP,
        }
    }
}

/// Whether a cap limits what an affiliate brings.
pub fn concerns(cap: &cap::Model, affiliate_id: AffiliateId) -> bool {
    cap.affiliate_id.is_none_or(|own| own == affiliate_id)
}

/// What a conversion would take of caps.
#[derive(Clone, Copy, Debug)]
pub struct Demand<'a> {
    /// Whose conversion it is: of several, the first of those that are credited.
    pub affiliate_id: AffiliateId,
    /// In the campaign's currency; 0 while it is not known in that.
    pub sale_minor: i64,
    /// What each credited affiliate earns.
    pub commissions: &'a [(AffiliateId, i64)],
}

impl Demand<'_> {
    /// What of a cap.
    pub fn of(&self, cap: &cap::Model) -> i64 {
        let is_meant = |id| cap.affiliate_id.is_none_or(|own| own == id);
        match cap.metric {
            CapMetric::Commission => {
                let meant = self.commissions.iter().filter(|(id, _)| is_meant(*id));
                meant.fold(0, |sum, (_, amount)| sum.saturating_add(*amount))
            }
            CapMetric::Conversions if is_meant(self.affiliate_id) => 1,
            CapMetric::SaleAmount if is_meant(self.affiliate_id) => self.sale_minor,
            CapMetric::Clicks | CapMetric::Conversions | CapMetric::SaleAmount => 0,
        }
    }
}

/// Whether a share is in what is left. Nothing always is, also where an amount was lowered below what is used.
pub fn fits(cap: &cap::Model, used: i64, share: i64) -> bool {
    share == 0 || used.checked_add(share).is_some_and(|sum| sum <= cap.amount)
}

/// Whether nothing is left.
pub const fn is_exhausted(cap: &cap::Model, used: i64) -> bool {
    used >= cap.amount
}

#[cfg(test)]
mod tests {
    use tributary_entity::ids::{CapId, TenantId};

    use super::*;
    use CapPeriod::{Day, Lifetime, Month, Week};

    fn at(text: &str) -> Instant {
        text.parse().expect("an instant")
    }

    #[test]
    fn periods_begin_in_the_tenant_s_time_zone() {
        for (zone_name, period, moment, start) in [
            ("UTC", Day, "2026-11-20T23:59:59.999999Z", "2026-11-20T00:00:00Z"),
            ("UTC", Day, "2026-11-20T00:00:00Z", "2026-11-20T00:00:00Z"),
            ("Europe/Berlin", Day, "2026-11-20T23:00:00Z", "2026-11-20T23:00:00Z"),
            ("Europe/Berlin", Day, "2026-11-20T22:59:59Z", "2026-11-19T23:00:00Z"),
            ("Asia/Kolkata", Day, "2026-11-20T18:30:00Z", "2026-11-20T18:30:00Z"),
            // Sunday still belongs to the week of the Monday before.
            ("UTC", Week, "2026-11-22T12:00:00Z", "2026-11-16T00:00:00Z"),
            ("UTC", Week, "2026-11-23T00:00:00Z", "2026-11-23T00:00:00Z"),
            ("UTC", Week, "2026-01-01T00:00:00Z", "2025-12-29T00:00:00Z"),
            ("America/New_York", Month, "2026-12-01T04:59:59Z", "2026-11-01T04:00:00Z"),
            ("America/New_York", Month, "2026-12-01T05:00:00Z", "2026-12-01T05:00:00Z"),
            ("UTC", Lifetime, "2026-11-20T12:00:00Z", "1970-01-01T00:00:00Z"),
            ("Nowhere/Land", Day, "2026-11-20T12:00:00Z", "2026-11-20T00:00:00Z"),
        ] {
            let begun = period_start(period, at(moment), zone(zone_name));
            assert_eq!(begun, at(start), "{period} of {moment} in {zone_name}");
        }
    }

    #[test]
    fn days_of_a_changed_clock_are_23_and_25_hours_long() {
        let berlin = zone("Europe/Berlin");
        let day = |moment: &str| period_start(Day, at(moment), berlin);
        assert_eq!(day("2026-03-29T21:59:59Z") - day("2026-03-28T12:00:00Z"), TimeDelta::hours(24));
        assert_eq!(day("2026-03-30T12:00:00Z") - day("2026-03-29T12:00:00Z"), TimeDelta::hours(23));
        assert_eq!(day("2026-10-26T12:00:00Z") - day("2026-10-25T12:00:00Z"), TimeDelta::hours(25));
    }

    #[test]
    fn days_whose_midnight_is_skipped_or_doubled_begin_once() {
        // In Cairo, 2025-04-25 began at 01:00; in Havana, 2025-11-02 had the hour from midnight twice.
        assert_eq!(period_start(Day, at("2025-04-25T12:00:00Z"), zone("Africa/Cairo")), at("2025-04-24T22:00:00Z"));
        let havana = zone("America/Havana");
        for moment in ["2025-11-02T04:30:00Z", "2025-11-02T05:30:00Z", "2025-11-03T04:59:59Z"] {
            assert_eq!(period_start(Day, at(moment), havana), at("2025-11-02T04:00:00Z"), "{moment}");
        }
    }

    fn cap(metric: CapMetric, amount: i64) -> cap::Model {
        cap::Model {
            tenant_id: TenantId::default(),
            id: CapId::default(),
            campaign_id: CampaignId::default(),
            enrollment_id: None,
            affiliate_id: None,
            metric,
            period: Day,
            amount,
            status: CapStatus::Active,
            created_at: Instant::default(),
            updated_at: Instant::default(),
        }
    }

    #[test]
    fn share_fits_up_to_the_amount_and_whole() {
        let cap = cap(CapMetric::SaleAmount, 100);
        assert!(fits(&cap, 60, 40));
        assert!(!fits(&cap, 60, 41));
        assert!(!fits(&cap, i64::MAX, 1));
        assert!(fits(&cap, 120, 0), "nothing fits also where less is left than nothing");
        assert!(is_exhausted(&cap, 100) && !is_exhausted(&cap, 99));
    }

    #[test]
    fn demand_is_by_metric_and_an_enrollment_s_cap_looks_at_its_own_commission() {
        let [first, second, third] = [1, 2, 3].map(|number| AffiliateId::from_uuid(uuid::Uuid::from_u128(number)));
        let demand = Demand { affiliate_id: first, sale_minor: 1_000, commissions: &[(first, 60), (second, 40)] };
        assert_eq!(demand.of(&cap(CapMetric::Clicks, 1)), 0);
        assert_eq!(demand.of(&cap(CapMetric::Conversions, 1)), 1);
        assert_eq!(demand.of(&cap(CapMetric::SaleAmount, 1)), 1_000);
        assert_eq!(demand.of(&cap(CapMetric::Commission, 1)), 100);
        let of = |id, metric| demand.of(&cap::Model { affiliate_id: Some(id), ..cap(metric, 1) });
        assert_eq!([first, second, third].map(|id| of(id, CapMetric::Commission)), [60, 40, 0]);
        assert_eq!([first, second, third].map(|id| of(id, CapMetric::Conversions)), [1, 0, 0]);
        assert_eq!([first, second, third].map(|id| of(id, CapMetric::SaleAmount)), [1_000, 0, 0]);
    }

    #[test]
    fn amount_is_of_the_metric_s_kind_and_the_campaign_s_currency() {
        let [euro, yen]: [Currency; 2] = ["EUR", "JPY"].map(|code| code.parse().expect("known"));
        let stored = |amount: CapAmount, metric| amount.stored(metric, euro).map_err(|problem| problem.code);
        let money = |currency| CapAmount::Money(Money::new(500, currency));
        assert_eq!(stored(CapAmount::Count(5), CapMetric::Clicks), Ok(5));
        assert_eq!(stored(money(euro), CapMetric::SaleAmount), Ok(500));
        assert_eq!(stored(money(yen), CapMetric::SaleAmount), Err(ProblemCode::CurrencyMismatch));
        assert_eq!(stored(money(euro), CapMetric::Conversions), Err(ProblemCode::Required));
        assert_eq!(stored(CapAmount::Count(5), CapMetric::Commission), Err(ProblemCode::Required));
        for count in [-1, COUNT_MAX + 1] {
            assert_eq!(stored(CapAmount::Count(count), CapMetric::Clicks), Err(ProblemCode::OutOfRange));
        }
    }
}
