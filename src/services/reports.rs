//! Reports from the hourly totals.

use std::collections::BTreeMap;

use chrono::{DurationRound, TimeDelta};

use super::{ServiceError, Services};
use crate::{
    auth::Viewer,
    domain::{
        problem::{Problem, ProblemCode},
        report::{Dimension, ReportRequest, ReportRow, Totals},
    },
    store::rollups,
};

/// A report of what the viewer may see; rows in the order of its dimensions, at most [`ROWS_MAX`].
///
/// # Errors
/// `OUT_OF_RANGE` for a period that is empty or too long, or a result with too many rows.
pub async fn report(
    services: &Services,
    viewer: &Viewer,
    request: ReportRequest,
) -> Result<Vec<ReportRow>, ServiceError> {
    let request = request.check()?;
    let tx = services.snapshot(viewer).await?;
    let days = request.group_by.contains(&Dimension::Day) && !request.group_by.contains(&Dimension::Hour);
    let read_max = if days { ROWS_MAX * 24 } else { ROWS_MAX };
    let rows = rollups::report(&tx, &request, read_max + 1).await?;
    let read = rows.len();
    let rows = if days { by_day(rows)? } else { rows };
    if read > read_max || rows.len() > ROWS_MAX {
        let message = format!("the report has more than {ROWS_MAX} rows; narrow it");
        return Err(Problem::new(ProblemCode::OutOfRange, &["groupBy"], message).into());
    }
    Ok(rows)
}

/// The most rows of one report.
pub const ROWS_MAX: usize = 10_000;

/// Sums hours to days, UTC.
fn by_day(rows: Vec<ReportRow>) -> Result<Vec<ReportRow>, ServiceError> {
    let mut days: BTreeMap<_, Totals> = BTreeMap::new();
    for row in rows {
        let day = row.bucket_at.and_then(|at| at.duration_trunc(TimeDelta::days(1)).ok());
        let sum = days.entry((day, row.campaign_id, row.affiliate_id, row.currency)).or_default();
        *sum = sum.checked_add(&row.totals).ok_or(ServiceError::Internal("a total is out of range"))?;
    }
    Ok(days
        .into_iter()
        .map(|((bucket_at, campaign_id, affiliate_id, currency), totals)| ReportRow {
            bucket_at,
            campaign_id,
            affiliate_id,
            currency,
            totals,
        })
        .collect())
}
