//! Payout terms: when affiliates are paid by themselves, and from which balance on.
//!
//! # Decisions
//! - A day is due when it begins in the tenant's time zone. Whoever looks late drafts the last day that was due, once: what
//!   an earlier one would have paid is in the balance.
//! - NET-n pays what was available when a month ended, n days after its last day. Weekly and monthly schedules pay what is
//!   available when the batch is drafted.
//! - Terms of an affiliate leave open what they do not say: that is the tenant's, and without any it is paid from one minor
//!   unit on, and never by itself.

use std::{fmt, str::FromStr};

use chrono::{Datelike, Days, Months, NaiveDate};
use chrono_tz::Tz;
use serde::Serialize;
use tributary_entity::{
    Instant,
    ids::{AffiliateId, PayoutDestinationId, PayoutId},
    kinds::{PayoutMethod, PayoutSkipReason},
    money::{Currency, Money},
};

use super::{
    cap::midnight,
    problem::{Problem, ProblemCode},
};

/// The longest that NET-n lets wait.
const NET_MAX: i32 = 180;

/// When somebody is paid by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Schedule {
    /// Only in batches that somebody drafts.
    Never,
    /// What a month brought, so many days after its last day.
    Net(i32),
    /// On a day of the week: Monday is 1.
    Weekly(i32),
    /// On a day of the month; on the last one of shorter months.
    Monthly(i32),
}

/// A day on which a schedule pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// In the tenant's time zone.
    pub on: NaiveDate,
    /// When the day begins.
    pub at: Instant,
    /// Only what was available before is paid.
    pub earned_before: Option<Instant>,
}

impl Schedule {
    /// Checks its number.
    ///
    /// # Errors
    /// `OUT_OF_RANGE`.
    pub fn check(self) -> Result<Self, Problem> {
        let (value, range) = match self {
            Self::Never => return Ok(self),
            Self::Net(days) => (days, 0..=NET_MAX),
            Self::Weekly(day) => (day, 1..=7),
            Self::Monthly(day) => (day, 1..=31),
        };
        if range.contains(&value) {
            return Ok(self);
        }
        let message = format!("from {} to {}", range.start(), range.end());
        Err(Problem::new(ProblemCode::OutOfRange, &["schedule", "day"], message))
    }

    /// The last day that was due at `now`; none for a schedule that never pays.
    pub fn last_due(self, now: Instant, zone: Tz) -> Option<Due> {
        let today = now.with_timezone(&zone).date_naive();
        let on = self.last_day(today)?;
        let earned_before = match self {
            Self::Net(days) => Some(midnight(on - nights(days) + Days::new(1), zone)),
            _ => None,
        };
        Some(Due { on, at: midnight(on, zone), earned_before })
    }

    /// The first day after today, in the tenant's time zone, that will be due.
    pub fn next_day(self, now: Instant, zone: Tz) -> Option<NaiveDate> {
        let today = now.with_timezone(&zone).date_naive();
        // A month and the longest wait are behind the next day of every schedule.
        today.iter_days().skip(1).take(62).find(|day| self.last_day(*day) == Some(*day))
    }

    /// The last day that is due, up to `today`.
    fn last_day(self, today: NaiveDate) -> Option<NaiveDate> {
        match self {
            Self::Never => None,
            Self::Net(days) => {
                let until = today - nights(days);
                let end = end_of_month(until);
                let end = if end <= until { end } else { end_of_month(until - Months::new(1)) };
                Some(end + nights(days))
            }
            Self::Weekly(day) => {
                let today_is = today.weekday().number_from_monday().cast_signed();
                Some(today - nights((today_is - day).rem_euclid(7)))
            }
            Self::Monthly(day) => {
                let this = day_of_month(today, day);
                Some(if this <= today { this } else { day_of_month(today - Months::new(1), day) })
            }
        }
    }
}

fn nights(days: i32) -> Days {
    Days::new(u64::try_from(days).unwrap_or_default())
}

fn end_of_month(day: NaiveDate) -> NaiveDate {
    let first = day.with_day(1).unwrap_or(day);
    first + Months::new(1) - Days::new(1)
}

fn day_of_month(month: NaiveDate, day: i32) -> NaiveDate {
    month.with_day(day.cast_unsigned()).unwrap_or_else(|| end_of_month(month))
}

/// As rows hold it.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str("NEVER"),
            Self::Net(days) => write!(f, "NET:{days}"),
            Self::Weekly(day) => write!(f, "WEEKLY:{day}"),
            Self::Monthly(day) => write!(f, "MONTHLY:{day}"),
        }
    }
}

/// A text that is no schedule: the row was written by another version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no schedule")]
pub struct UnknownSchedule(String);

impl FromStr for Schedule {
    type Err = UnknownSchedule;

    fn from_str(text: &str) -> Result<Self, UnknownSchedule> {
        let unknown = || UnknownSchedule(text.to_owned());
        let (kind, number) = text.split_once(':').unwrap_or((text, "0"));
        let number = number.parse().map_err(|_| unknown())?;
        let schedule = match kind {
            "NEVER" => Self::Never,
            "NET" => Self::Net(number),
            "WEEKLY" => Self::Weekly(number),
            "MONTHLY" => Self::Monthly(number),
            _ => return Err(unknown()),
        };
        schedule.check().map_err(|_| unknown())
    }
}

/// Terms as somebody sets them, in place of those before.
#[derive(Clone, Debug, Serialize)]
pub struct NewTerms {
    /// None means the tenant's.
    pub affiliate_id: Option<AffiliateId>,
    pub currency: Currency,
    pub threshold: Option<Money>,
    pub schedule: Option<Schedule>,
    /// Millionths of each payout that are withheld as tax.
    pub withholding_ppm: Option<i64>,
    /// What an affiliate bears of the cost of each payment.
    pub fee: Option<Money>,
}

impl NewTerms {
    /// Checks the amounts and the schedule.
    ///
    /// # Errors
    /// `CURRENCY_MISMATCH` or `OUT_OF_RANGE` for the threshold; `CURRENCY_MISMATCH` for the fee; `OUT_OF_RANGE` for the
    /// schedule's day.
    pub fn check(self) -> Result<Self, Problem> {
        for (amount, field) in [(self.threshold, "threshold"), (self.fee, "fee")] {
            if amount.is_some_and(|amount| amount.currency != self.currency) {
                let message = format!("the terms are in {}", self.currency);
                return Err(Problem::new(ProblemCode::CurrencyMismatch, &[field, "currency"], message));
            }
        }
        if let Some(threshold) = self.threshold {
            if threshold.amount_minor < 1 {
                return Err(Problem::new(ProblemCode::OutOfRange, &["threshold", "amount"], "more than nothing"));
            }
        }
        self.schedule.map(Schedule::check).transpose()?;
        Ok(self)
    }
}

/// Somebody with a balance, and all that decides whether it is paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub affiliate_id: AffiliateId,
    pub available_minor: i64,
    /// Of that, what became available too late for the batch.
    pub late_minor: i64,
    pub debt_minor: i64,
    /// By its own terms.
    pub threshold_minor: Option<i64>,
    pub schedule: Option<Schedule>,
    pub open_payout: Option<PayoutId>,
    pub destination: Option<(PayoutDestinationId, PayoutMethod)>,
}

/// By what a batch chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The least that is paid, inclusive.
    pub minimum_minor: i64,
    /// Affiliates' own thresholds go before the minimum.
    pub by_terms: bool,
    /// Only who is paid by it; none means everybody.
    pub schedule: Option<Schedule>,
    /// The tenant's, for affiliates that have none of their own.
    pub default_schedule: Schedule,
}

impl Choice {
    /// The least that an affiliate with these terms is paid.
    pub fn threshold_minor(&self, own: Option<i64>) -> i64 {
        own.filter(|_| self.by_terms).unwrap_or(self.minimum_minor)
    }

    /// What somebody is paid.
    ///
    /// # Errors
    /// Why it is passed over.
    pub fn amount(&self, candidate: &Candidate) -> Result<i64, PayoutSkipReason> {
        let schedule = candidate.schedule.unwrap_or(self.default_schedule);
        let amount = candidate.available_minor - candidate.late_minor;
        if self.schedule.is_some_and(|wanted| wanted != schedule) {
            Err(PayoutSkipReason::OtherSchedule)
        } else if candidate.debt_minor > 0 {
            Err(PayoutSkipReason::InDebt)
        } else if amount < self.threshold_minor(candidate.threshold_minor).max(1) {
            Err(PayoutSkipReason::BelowMinimum)
        } else if candidate.open_payout.is_some() {
            Err(PayoutSkipReason::OpenPayout)
        } else {
            Ok(amount)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().expect("a date")
    }

    fn last(schedule: Schedule, today: &str) -> Option<NaiveDate> {
        schedule.last_day(day(today))
    }

    #[test]
    fn last_day_is_the_schedules() {
        // A Thursday.
        let today = "2026-11-26";
        assert_eq!(last(Schedule::Never, today), None);
        assert_eq!(last(Schedule::Weekly(4), today), Some(day(today)));
        assert_eq!(last(Schedule::Weekly(5), today), Some(day("2026-11-20")));
        assert_eq!(last(Schedule::Monthly(26), today), Some(day(today)));
        assert_eq!(last(Schedule::Monthly(27), today), Some(day("2026-10-27")));
        // Shorter months end sooner.
        assert_eq!(last(Schedule::Monthly(31), "2026-02-28"), Some(day("2026-02-28")));
        assert_eq!(last(Schedule::Monthly(31), "2026-03-30"), Some(day("2026-02-28")));
        // January's is due on 2 March in a common year.
        assert_eq!(last(Schedule::Net(30), "2026-03-01"), Some(day("2026-01-30")));
        assert_eq!(last(Schedule::Net(30), "2026-03-02"), Some(day("2026-03-02")));
        assert_eq!(last(Schedule::Net(0), "2026-03-31"), Some(day("2026-03-31")));
        assert_eq!(last(Schedule::Net(0), "2026-03-30"), Some(day("2026-02-28")));
    }

    #[test]
    fn day_is_due_when_it_begins_in_the_tenants_zone() {
        let zone: Tz = "America/New_York".parse().expect("known");
        let at = |text: &str| -> Instant { text.parse().expect("RFC 3339") };
        let monthly = Schedule::Monthly(1);
        let before = monthly.last_due(at("2026-11-01T03:59:59Z"), zone).expect("due");
        assert_eq!((before.on, before.at), (day("2026-10-01"), at("2026-10-01T04:00:00Z")));
        assert_eq!(monthly.last_due(at("2026-11-01T04:00:00Z"), zone).expect("due").on, day("2026-11-01"));
        // On this day the clocks are set back: the next begins an hour later.
        let net = Schedule::Net(1).last_due(at("2026-11-02T05:00:00Z"), zone).expect("due");
        assert_eq!((net.on, net.earned_before), (day("2026-11-01"), Some(at("2026-11-01T04:00:00Z"))));
    }

    #[test]
    fn nobody_is_paid_below_the_threshold_or_in_debt() {
        let choice = Choice {
            minimum_minor: 5_000,
            by_terms: true,
            schedule: Some(Schedule::Weekly(1)),
            default_schedule: Schedule::Weekly(1),
        };
        let rich = Candidate {
            affiliate_id: AffiliateId::from_uuid(Uuid::nil()),
            available_minor: 5_000,
            late_minor: 0,
            debt_minor: 0,
            threshold_minor: None,
            schedule: None,
            open_payout: None,
            destination: None,
        };
        let reason = |candidate: &Candidate| choice.amount(candidate).expect_err("passed over");
        assert_eq!(choice.amount(&rich), Ok(5_000));
        assert_eq!(reason(&Candidate { available_minor: 4_999, ..rich.clone() }), PayoutSkipReason::BelowMinimum);
        assert_eq!(reason(&Candidate { late_minor: 1, ..rich.clone() }), PayoutSkipReason::BelowMinimum);
        let own = Candidate { threshold_minor: Some(4_000), late_minor: 500, ..rich.clone() };
        assert_eq!(choice.amount(&own), Ok(4_500));
        assert_eq!(Choice { by_terms: false, ..choice }.amount(&own), Err(PayoutSkipReason::BelowMinimum));
        assert_eq!(reason(&Candidate { debt_minor: 1, ..rich.clone() }), PayoutSkipReason::InDebt);
        let monthly = Some(Schedule::Monthly(1));
        assert_eq!(reason(&Candidate { schedule: monthly, ..rich.clone() }), PayoutSkipReason::OtherSchedule);
        let open_payout = Some(PayoutId::from_uuid(Uuid::nil()));
        assert_eq!(reason(&Candidate { open_payout, ..rich }), PayoutSkipReason::OpenPayout);
    }

    fn schedules() -> impl Strategy<Value = Schedule> {
        prop_oneof![
            (0..=NET_MAX).prop_map(Schedule::Net),
            (1..=7).prop_map(Schedule::Weekly),
            (1..=31).prop_map(Schedule::Monthly),
        ]
    }

    proptest! {
        #[test]
        fn every_day_that_is_due_comes_once(schedule in schedules(), offset in 0u64..2_000) {
            prop_assert_eq!(schedule.to_string().parse::<Schedule>(), Ok(schedule));
            let today = day("2024-01-01") + Days::new(offset);
            let last = schedule.last_day(today).expect("due");
            prop_assert!(last <= today && today - last < chrono::TimeDelta::days(32), "{last}");
            // Between the two nothing is due.
            for between in last.iter_days().take_while(|between| *between <= today) {
                prop_assert_eq!(schedule.last_day(between), Some(last));
            }
            let now = midnight(today, Tz::UTC);
            let next = schedule.next_day(now, Tz::UTC).expect("comes");
            prop_assert!(next > today);
            prop_assert_eq!(schedule.last_day(next), Some(next));
            prop_assert_eq!(schedule.last_day(next - Days::new(1)), Some(last));
        }
    }
}
