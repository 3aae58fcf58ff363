//! Reports from the hourly totals.

use std::collections::BTreeMap;

use super::{ServiceError, Services};
use crate::{
    auth::Viewer,
    domain::{
        dashboard::Top,
        problem::{Problem, ProblemCode},
        report::{self, Dimension, InvalidClicks, InvalidRequest, ReportRequest, ReportRow, RowKey, Totals},
    },
    store::{invalid_clicks, rollups, scope::Tx},
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
    read(&tx, &request, None).await
}

/// The invalid clicks of what the viewer may see, by reason.
///
/// # Errors
/// `OUT_OF_RANGE` for a period that is empty or too long.
pub async fn invalid_clicks(
    services: &Services,
    viewer: &Viewer,
    request: &InvalidRequest,
) -> Result<Vec<InvalidClicks>, ServiceError> {
    report::check_period(request.from, request.until)?;
    let tx = services.snapshot(viewer).await?;
    Ok(invalid_clicks::by_reason(&tx, request).await?)
}

/// The most rows of one report.
pub const ROWS_MAX: usize = 10_000;

/// The rows of a checked report, in the order of its dimensions; with `top`, at least its rows.
pub(super) async fn read(tx: &Tx, request: &ReportRequest, top: Option<Top>) -> Result<Vec<ReportRow>, ServiceError> {
    // The database has hours only: the best days are not among the best hours.
    let days = request.group_by.contains(&Dimension::Day) && !request.group_by.contains(&Dimension::Hour);
    let (top, read_max) = if days { (None, ROWS_MAX * 24) } else { (top, ROWS_MAX) };
    let rows = rollups::report(tx, request, top, read_max + 1).await?;
    let read = rows.len();
    let rows = if days { by_day(rows)? } else { rows };
    if read > read_max || rows.len() > ROWS_MAX {
        let message = format!("the report has more than {ROWS_MAX} rows; narrow it");
        return Err(Problem::new(ProblemCode::OutOfRange, &["groupBy"], message).into());
    }
    Ok(rows)
}

/// Sums hours to days, UTC.
fn by_day(rows: Vec<ReportRow>) -> Result<Vec<ReportRow>, ServiceError> {
    let mut days: BTreeMap<RowKey, Totals> = BTreeMap::new();
    for ReportRow { key, totals } in rows {
        let bucket_at = key.bucket_at.map(report::day);
        let sum = days.entry(RowKey { bucket_at, ..key }).or_default();
        *sum = sum.checked_add(&totals).ok_or(ServiceError::Internal("a total is out of range"))?;
    }
    Ok(days.into_iter().map(|(key, totals)| ReportRow { key, totals }).collect())
}
