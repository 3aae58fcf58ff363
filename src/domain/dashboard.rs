//! Dashboards: the rows of a report that are best by a metric, kept current, and how two states of one differ.
//!
//! # Decisions
//! - Best is best of each currency: amounts of two currencies are no more compared than added.
//! - A period is of whole hours or days, UTC, like a report's: every value is the answer of a report that can be asked
//!   for.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use serde::Serialize;
use tributary_entity::{
    Instant,
    ids::{AffiliateId, CampaignId},
    money::Currency,
};

use super::{
    problem::{Problem, ProblemCode},
    report::{self, Dimension, ReportRequest, ReportRow, RowKey, Totals},
    tenancy::Ring,
};

/// The most hours before now that a period may begin.
const HOURS_MAX: i32 = 31 * 24;
/// The most days before now that a period may begin.
const DAYS_MAX: i32 = 366;
/// The most rows of one currency.
pub const ROWS_MAX: usize = 100;

/// Of which time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Period {
    /// The current hour and those before it, so many in all.
    LastHours(i32),
    /// Today and the days before it, UTC, so many in all.
    LastDays(i32),
    Between(Span),
}

/// From an instant, up to another and without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Span {
    pub from: Instant,
    pub until: Instant,
}

impl Period {
    /// # Errors
    /// `OUT_OF_RANGE` below `period`.
    pub fn check(self) -> Result<Self, Problem> {
        let bounded = |field: &str, count: i32, max: i32| {
            let refuse = || Problem::new(ProblemCode::OutOfRange, &["period", field], format!("from 1 to {max}"));
            if (1..=max).contains(&count) { Ok(()) } else { Err(refuse()) }
        };
        match self {
            Self::LastHours(hours) => bounded("lastHours", hours, HOURS_MAX)?,
            Self::LastDays(days) => bounded("lastDays", days, DAYS_MAX)?,
            Self::Between(Span { from, until }) => {
                report::check_period(from, until).map_err(|problem| problem.within("between").within("period"))?;
            }
        }
        Ok(self)
    }

    /// What it is at a moment.
    pub fn at(self, now: Instant) -> Span {
        let last = |current: Instant, unit: TimeDelta, count: i32| Span {
            from: current - unit * (count - 1),
            until: current + unit,
        };
        match self {
            Self::LastHours(hours) => last(report::hour(now), TimeDelta::hours(1), hours),
            Self::LastDays(days) => last(report::day(now), TimeDelta::days(1), days),
            Self::Between(span) => span,
        }
    }
}

/// By what rows are ranked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Metric {
    /// Valid ones, repeated ones of a visitor counted once.
    Clicks,
    Conversions,
    SaleAmount,
    Commission,
}

/// The best rows of each currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Top {
    pub by: Metric,
    /// Of one currency.
    pub rows: usize,
}

impl Top {
    const fn rank(&self, totals: &Totals) -> i64 {
        match self.by {
            Metric::Clicks => totals.clicks_unique,
            Metric::Conversions => totals.conversions,
            Metric::SaleAmount => totals.sale_minor,
            Metric::Commission => totals.commission_minor,
        }
    }

    /// Sorts rows, the best first and equals by their keys, and leaves the best of each currency.
    pub fn of(&self, mut rows: Vec<ReportRow>) -> Vec<ReportRow> {
        rows.sort_unstable_by_key(|row| (std::cmp::Reverse(self.rank(&row.totals)), row.key));
        let mut taken: BTreeMap<Currency, usize> = BTreeMap::new();
        rows.retain(|row| {
            let taken = taken.entry(row.key.currency).or_default();
            *taken += 1;
            *taken <= self.rows
        });
        rows
    }
}

/// A dashboard that is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct DashboardRequest {
    pub period: Period,
    pub group_by: BTreeSet<Dimension>,
    pub campaign_ids: Option<BTreeSet<CampaignId>>,
    pub affiliate_ids: Option<BTreeSet<AffiliateId>>,
    pub top: Top,
}

impl DashboardRequest {
    /// # Errors
    /// `OUT_OF_RANGE`.
    pub fn check(self) -> Result<Self, Problem> {
        if !(1..=ROWS_MAX).contains(&self.top.rows) {
            return Err(Problem::new(ProblemCode::OutOfRange, &["limit"], format!("from 1 to {ROWS_MAX}")));
        }
        Ok(Self { period: self.period.check()?, ..self })
    }

    /// The report whose best rows these are.
    pub fn report(&self, span: Span) -> ReportRequest {
        ReportRequest {
            from: span.from,
            until: span.until,
            group_by: self.group_by.iter().copied().collect(),
            campaign_ids: self.campaign_ids.as_ref().map(|ids| ids.iter().copied().collect()),
            affiliate_ids: self.affiliate_ids.as_ref().map(|ids| ids.iter().copied().collect()),
        }
    }

    /// Whether totals of a campaign and affiliate can be among those that a ring sees here.
    pub fn concerns(&self, ring: Ring, campaign_id: CampaignId, affiliate_id: AffiliateId) -> bool {
        let is_visible = match ring {
            Ring::Tenant => true,
            Ring::Affiliate(own) => own == affiliate_id,
        };
        is_visible
            && self.campaign_ids.as_ref().is_none_or(|ids| ids.contains(&campaign_id))
            && self.affiliate_ids.as_ref().is_none_or(|ids| ids.contains(&affiliate_id))
    }
}

/// What a dashboard shows at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Board {
    pub span: Span,
    /// The best first.
    pub rows: Vec<ReportRow>,
}

/// What takes a client from one state to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The rows are all there are: what was shown before is forgotten.
    pub is_snapshot: bool,
    /// New and changed ones with their values as they are, the best first.
    pub rows: Vec<ReportRow>,
    /// Those that are no longer shown.
    pub removed: Vec<RowKey>,
}

impl Board {
    /// All of it.
    pub fn snapshot(&self) -> Change {
        Change { is_snapshot: true, rows: self.rows.clone(), removed: Vec::new() }
    }

    /// What a client that was shown `before` does not know; none when that is nothing. Of another period, all.
    pub fn since(&self, before: &Self) -> Option<Change> {
        if before.span != self.span {
            return Some(self.snapshot());
        }
        let mut shown: BTreeMap<RowKey, Totals> = before.rows.iter().map(|row| (row.key, row.totals)).collect();
        let mut rows = self.rows.clone();
        rows.retain(|row| shown.remove(&row.key) != Some(row.totals));
        let removed: Vec<RowKey> = shown.into_keys().collect();
        let is_change = !rows.is_empty() || !removed.is_empty();
        is_change.then_some(Change { is_snapshot: false, rows, removed })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Instant {
        text.parse().expect("RFC 3339")
    }

    #[test]
    fn moving_period_ends_with_the_current_hour_or_day() {
        let now = at("2026-03-01T10:30:00Z");
        let cases = [
            (Period::LastHours(1), "2026-03-01T10:00:00Z", "2026-03-01T11:00:00Z"),
            (Period::LastHours(24), "2026-02-28T11:00:00Z", "2026-03-01T11:00:00Z"),
            (Period::LastDays(1), "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z"),
            (Period::LastDays(2), "2026-02-28T00:00:00Z", "2026-03-02T00:00:00Z"),
        ];
        for (period, from, until) in cases {
            assert_eq!(period.at(now), Span { from: at(from), until: at(until) });
        }
    }

    #[test]
    fn period_is_bounded() {
        let between = |from, until| Period::Between(Span { from: at(from), until: at(until) });
        for period in [
            Period::LastHours(0),
            Period::LastHours(-1),
            Period::LastHours(HOURS_MAX + 1),
            Period::LastDays(0),
            Period::LastDays(i32::MAX),
            between("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
            between("2026-01-01T00:30:00Z", "2026-01-02T00:00:00Z"),
        ] {
            let refused = period.check().expect_err("refused");
            assert_eq!((refused.code, refused.field[0].as_str()), (ProblemCode::OutOfRange, "period"), "{period:?}");
        }
        for period in [Period::LastHours(HOURS_MAX), Period::LastDays(DAYS_MAX)] {
            assert_eq!(period.check(), Ok(period));
        }
    }

    fn rows() -> impl Strategy<Value = Vec<ReportRow>> {
        let row = (0_u128..6, prop_oneof!["EUR", "USD"], 0_i64..4);
        proptest::collection::vec(row, 0..12).prop_map(|rows| {
            let rows: BTreeMap<RowKey, Totals> = rows
                .into_iter()
                .map(|(campaign, currency, conversions)| {
                    let campaign_id = Some(CampaignId::from_uuid(uuid::Uuid::from_u128(campaign)));
                    let currency = currency.parse().expect("known");
                    let key = RowKey { bucket_at: None, campaign_id, affiliate_id: None, currency };
                    (key, Totals { conversions, ..Totals::default() })
                })
                .collect();
            rows.into_iter().map(|(key, totals)| ReportRow { key, totals }).collect()
        })
    }

    proptest! {
        #[test]
        fn changes_lead_from_any_board_to_any_other(before in rows(), after in rows()) {
            let top = Top { by: Metric::Conversions, rows: 2 };
            let span = Period::LastDays(1).at(at("2026-03-01T10:30:00Z"));
            let (before, after) = (Board { span, rows: top.of(before) }, Board { span, rows: top.of(after) });
            let by_key = |rows: &[ReportRow]| rows.iter().map(|row| (row.key, row.totals)).collect::<BTreeMap<_, _>>();
            let mut shown = by_key(&before.rows);
            match after.since(&before) {
                None => prop_assert_eq!(&shown, &by_key(&after.rows)),
                Some(change) => {
                    prop_assert!(!change.is_snapshot);
                    for row in change.rows {
                        prop_assert_ne!(shown.insert(row.key, row.totals), Some(row.totals), "a row that did not change");
                    }
                    for key in change.removed {
                        prop_assert!(shown.remove(&key).is_some());
                    }
                    prop_assert_eq!(shown, by_key(&after.rows));
                }
            }
        }

        #[test]
        fn top_holds_the_best_of_each_currency(all in rows(), size in 1_usize..4) {
            let top = Top { by: Metric::Conversions, rows: size };
            let best = top.of(all.clone());
            for currency in ["EUR", "USD"] {
                let of_currency = |rows: &[ReportRow]| -> Vec<ReportRow> {
                    rows.iter().filter(|row| row.key.currency.code() == currency).copied().collect()
                };
                let (all, best) = (of_currency(&all), of_currency(&best));
                prop_assert_eq!(best.len(), all.len().min(size));
                let worst = best.iter().map(|row| row.totals.conversions).min().unwrap_or(0);
                let better = all.iter().filter(|row| !best.contains(row));
                prop_assert!(better.map(|row| row.totals.conversions).all(|left_out| left_out <= worst));
            }
            prop_assert_eq!(top.of(best.clone()), best);
        }
    }

    #[test]
    fn new_period_is_told_whole() {
        let board = |now| Board { span: Period::LastDays(1).at(at(now)), rows: Vec::new() };
        let (today, tomorrow) = (board("2026-03-01T23:59:59Z"), board("2026-03-02T00:00:00Z"));
        assert_eq!(today.since(&today), None);
        assert_eq!(tomorrow.since(&today), Some(tomorrow.snapshot()));
    }
}
