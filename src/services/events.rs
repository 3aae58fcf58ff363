//! The event log as a list. As a stream it is the feed's.

use super::{ServiceError, Services, feed};
use crate::{
    auth::Viewer,
    domain::{
        cursor::Position,
        event::Interest,
        log::{LogPage, Stretch},
        page::PageSize,
    },
    store::events,
};

/// Which page of the log.
#[derive(Clone, Copy, Debug)]
pub struct LogPageRequest {
    pub size: PageSize,
    pub after: Option<Position>,
    pub before: Option<Position>,
}

/// A page of the events that an interest covers, and the end of the log.
///
/// # Errors
/// `CursorExpired` for cursors of another history.
pub async fn page(
    services: &Services,
    viewer: &Viewer,
    interest: &Interest,
    request: LogPageRequest,
) -> Result<(LogPage, Position), ServiceError> {
    let tx = services.snapshot_of_log(viewer).await?;
    let tip = feed::position(&tx).await?;
    let after = request.after.map(|position| feed::resume(position, tip)).transpose()?;
    // A page's begin is handed back as `before`; behind the last event, it is the number of the next.
    let before = request.before.map(|position| feed::resume(preceding(position), tip)).transpose()?;
    let stretch = Stretch::of(tip.seq, after, before.map(|seq| seq + 1), request.size.backward);
    let rows = events::list_within(&tx, stretch, interest, request.size.backward, request.size.rows + 1).await?;
    Ok((LogPage::cut(rows, request.size, stretch, tip.seq), tip))
}

const fn preceding(position: Position) -> Position {
    Position { seq: position.seq - 1, ..position }
}
