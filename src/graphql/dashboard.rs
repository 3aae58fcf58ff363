//! Dashboards: a report that stays current.

use std::time::Duration;

use async_graphql::{Context, Enum, ID, InputObject, OneofObject, Result, SimpleObject, Subscription};
use futures_util::{Stream, stream};
use tributary_entity::Instant;

use super::{
    context::{Needs, RequestData},
    error::IntoGraphql,
    ids,
    live::source,
    reports::{ReportDimension, ReportRow, key},
    scalars::Cursor,
};
use crate::{
    auth::Permission,
    domain::{
        dashboard::{DashboardRequest, Metric, Period, Span, Top},
        problem::{Problem, ProblemCode},
    },
};

/// The bounds of `minInterval`.
const INTERVAL_MILLIS: std::ops::RangeInclusive<i32> = 100..=60_000;

/// By what a dashboard's rows are ranked.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "Metric")]
pub(super) enum DashboardMetric {
    /// Valid clicks, repeated ones of a visitor counted once.
    Clicks,
    /// Conversions that are not rejected.
    Conversions,
    /// What customers paid.
    SaleAmount,
    /// What affiliates earn.
    Commission,
}

/// Of which time a dashboard is, in whole hours or days, UTC. Periods that end now move on with the clock.
#[derive(Clone, OneofObject)]
pub(super) enum DashboardPeriodInput {
    /// The current hour and those before it, so many in all; 1 to 744.
    LastHours(i32),
    /// Today and the days before it, so many in all: 1 is today. 1 to 366.
    LastDays(i32),
    /// A period that stays.
    Between(DashboardBetweenInput),
}

/// From an instant to another.
#[derive(Clone, InputObject)]
pub(super) struct DashboardBetweenInput {
    /// Inclusive; whole hours.
    from: Instant,
    /// Exclusive; whole hours.
    until: Instant,
}

/// A dashboard that is wanted.
#[derive(Clone, InputObject)]
pub(super) struct DashboardInput {
    /// Of which time.
    period: DashboardPeriodInput,
    /// One row per combination of these (and currency); none gives totals.
    #[graphql(default)]
    group_by: Vec<ReportDimension>,
    /// Only these campaigns.
    campaign_ids: Option<Vec<ID>>,
    /// Only these affiliates.
    affiliate_ids: Option<Vec<ID>>,
    /// Which rows are the best.
    #[graphql(default_with = "DashboardMetric::Conversions")]
    order_by: DashboardMetric,
    /// How many of the best rows of each currency, 1 to 100.
    #[graphql(default = 100)]
    limit: i32,
}

impl DashboardInput {
    fn parse(self) -> Result<DashboardRequest, Problem> {
        let period = match self.period {
            DashboardPeriodInput::LastHours(hours) => Period::LastHours(hours),
            DashboardPeriodInput::LastDays(days) => Period::LastDays(days),
            DashboardPeriodInput::Between(DashboardBetweenInput { from, until }) => {
                Period::Between(Span { from, until })
            }
        };
        let campaign_ids = ids::parse_list(&["input", "campaignIds"], self.campaign_ids.as_deref())?;
        let affiliate_ids = ids::parse_list(&["input", "affiliateIds"], self.affiliate_ids.as_deref())?;
        let request = DashboardRequest {
            period,
            group_by: self.group_by.into_iter().map(Into::into).collect(),
            campaign_ids: campaign_ids.map(|ids| ids.into_iter().collect()),
            affiliate_ids: affiliate_ids.map(|ids| ids.into_iter().collect()),
            top: Top { by: self.order_by.into(), rows: usize::try_from(self.limit).unwrap_or(0) },
        };
        request.check().map_err(|problem| problem.within("input"))
    }
}

/// A dashboard, or what changed in it.
#[derive(SimpleObject)]
pub(super) struct DashboardUpdate {
    /// The state's place in the event log.
    cursor: Cursor,
    /// The rows are all there are: forget what was told before. So the first answer, and the first of each new period.
    is_snapshot: bool,
    /// Start of the period, inclusive.
    from: Instant,
    /// End of the period, exclusive.
    until: Instant,
    /// New and changed rows with their values as they are, the best first; at most 100 of each currency.
    rows: Vec<ReportRow>,
    /// The keys of rows that are no longer shown: nothing is left in them, or others are better. At most 100 of each
    /// currency.
    removed: Vec<String>,
}

#[derive(Default)]
pub(super) struct DashboardSubscription;

#[Subscription]
impl DashboardSubscription {
    /// A report that stays current: first its best rows, then, when something changed, those that changed, with their
    /// values as they are. Keep the rows by `key`, drop those `removed`, and start anew at each snapshot: what you hold
    /// is then what `report` answers for the same period, at the cursor. Changes that come close together are told as
    /// one, and nothing is told when nothing changed. Affiliates see their own.
    #[graphql(guard = "Needs(Permission::ReadReports)")]
    async fn dashboard(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which dashboard.")] input: DashboardInput,
        #[graphql(desc = "Milliseconds between two answers, at the least; 100 to 60,000.", default = 1_000)]
        min_interval: i32,
        #[graphql(desc = "The last cursor that you have. The first answer is the state as it is, in any case.")]
        after: Option<Cursor>,
    ) -> Result<impl Stream<Item = Result<DashboardUpdate>> + use<>> {
        let (services, viewer) = ctx.caller()?;
        let request = input.parse().or_graphql()?;
        let interval = interval(min_interval).or_graphql()?;
        let binding = services.cursors.bind(&viewer.scope, "dashboard", &request);
        let watcher = services.dashboards.watch(&viewer.scope, request, interval).await.or_graphql()?;
        let at = watcher.position();
        let answers = stream::unfold(Some(watcher), async |watcher| {
            let mut watcher = watcher?;
            let answer = watcher.next().await.map(|(change, shown)| (shown.position, (change, shown.board.span)));
            let goes_on = answer.is_ok();
            Some((answer, goes_on.then_some(watcher)))
        });
        source::changes(ctx, binding, after, at, answers, |(change, span), place| DashboardUpdate {
            cursor: place.cursor(),
            is_snapshot: change.is_snapshot,
            from: span.from,
            until: span.until,
            rows: change.rows.into_iter().map(ReportRow).collect(),
            removed: change.removed.iter().map(key).collect(),
        })
    }
}

fn interval(millis: i32) -> Result<Duration, Problem> {
    let refuse = || {
        let message = format!("from {} to {}", INTERVAL_MILLIS.start(), INTERVAL_MILLIS.end());
        Problem::new(ProblemCode::OutOfRange, &["minInterval"], message)
    };
    let is_good = INTERVAL_MILLIS.contains(&millis);
    if is_good { Ok(Duration::from_millis(millis.unsigned_abs().into())) } else { Err(refuse()) }
}
