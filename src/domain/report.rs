//! Reports: totals by time and by what is asked, per currency, never mixed.

use chrono::{DurationRound, TimeDelta};
use serde::Serialize;
use tributary_entity::{
    Instant,
    ids::{AffiliateId, CampaignId},
    kinds::ClickInvalidReason,
    money::Currency,
};

use super::{
    instant,
    problem::{Problem, ProblemCode},
};

/// The longest period of one report.
pub const PERIOD_MAX_DAYS: i64 = 3_660;

/// What a report's rows are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum Dimension {
    Hour,
    Day,
    Campaign,
    Affiliate,
}

/// A report that is wanted.
#[derive(Clone, Debug)]
pub struct ReportRequest {
    /// Inclusive.
    pub from: Instant,
    /// Exclusive.
    pub until: Instant,
    pub group_by: Vec<Dimension>,
    pub campaign_ids: Option<Vec<CampaignId>>,
    pub affiliate_ids: Option<Vec<AffiliateId>>,
}

impl ReportRequest {
    /// Checks the period. Totals are kept by the hour: a bound inside one would leave part of it out without a word.
    ///
    /// # Errors
    /// `OUT_OF_RANGE`.
    pub fn check(self) -> Result<Self, Problem> {
        check_period(self.from, self.until)?;
        Ok(self)
    }
}

/// Counts of invalid clicks that are wanted.
#[derive(Clone, Debug)]
pub struct InvalidRequest {
    /// Inclusive.
    pub from: Instant,
    /// Exclusive.
    pub until: Instant,
    pub campaign_ids: Option<Vec<CampaignId>>,
    pub affiliate_ids: Option<Vec<AffiliateId>>,
}

/// Clicks that do not count for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidClicks {
    pub reason: ClickInvalidReason,
    pub clicks: i64,
}

/// Checks a period.
///
/// # Errors
/// `OUT_OF_RANGE` at `from` or `until`.
pub fn check_period(from: Instant, until: Instant) -> Result<(), Problem> {
    for (field, at) in [("from", from), ("until", until)] {
        if hour(instant::checked(&[field], at)?) != at {
            return Err(Problem::new(ProblemCode::OutOfRange, &[field], "a whole hour, UTC"));
        }
    }
    if until <= from || (until - from).num_days() > PERIOD_MAX_DAYS {
        let message = format!("`until` is after `from`, by at most {PERIOD_MAX_DAYS} days");
        return Err(Problem::new(ProblemCode::OutOfRange, &["until"], message));
    }
    Ok(())
}

/// Sums of rollups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub clicks_gross: i64,
    pub clicks_unique: i64,
    pub clicks_invalid: i64,
    pub conversions: i64,
    pub sale_minor: i64,
    pub commission_minor: i64,
}

impl Totals {
    /// The sum; none past what can be held.
    pub fn checked_add(&self, other: &Self) -> Option<Self> {
        Some(Self {
            clicks_gross: self.clicks_gross.checked_add(other.clicks_gross)?,
            clicks_unique: self.clicks_unique.checked_add(other.clicks_unique)?,
            clicks_invalid: self.clicks_invalid.checked_add(other.clicks_invalid)?,
            conversions: self.conversions.checked_add(other.conversions)?,
            sale_minor: self.sale_minor.checked_add(other.sale_minor)?,
            commission_minor: self.commission_minor.checked_add(other.commission_minor)?,
        })
    }
}

/// Which row of a report: the dimensions that were asked for, and the currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowKey {
    pub bucket_at: Option<Instant>,
    pub campaign_id: Option<CampaignId>,
    pub affiliate_id: Option<AffiliateId>,
    pub currency: Currency,
}

/// One row of a report: totals in one currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportRow {
    pub key: RowKey,
    pub totals: Totals,
}

/// The start of the hour of an instant, UTC: rollups are kept by it.
pub fn hour(at: Instant) -> Instant {
    at.duration_trunc(TimeDelta::hours(1)).expect("instants are of an era that truncates to hours")
}

/// The start of the day of an instant, UTC.
pub fn day(at: Instant) -> Instant {
    at.duration_trunc(TimeDelta::days(1)).expect("instants are of an era that truncates to days")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hour_truncates_also_before_the_epoch() {
        let at = |secs| Instant::from_timestamp(secs, 0).expect("in range");
        assert_eq!(hour(at(7_199)), at(3_600));
        assert_eq!(hour(at(3_600)), at(3_600));
        assert_eq!(hour(at(-1)), at(-3_600));
    }
}
