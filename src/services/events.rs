//! The event log as a list. As a stream it is the feed's.

use uuid::Uuid;

use super::{ServiceError, Services, feed};
use crate::{
    auth::Viewer,
    domain::{
        cursor::Position,
        event::{EventFilter, LogPage, Stretch},
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

/// A page of the events that the viewer may see, and the history that its numbers count in.
///
/// # Errors
/// `CursorExpired` for cursors of another history.
pub async fn page(
    services: &Services,
    viewer: &Viewer,
    filter: &EventFilter,
    request: LogPageRequest,
) -> Result<(LogPage, Uuid), ServiceError> {
    let tx = services.snapshot(viewer).await?;
    let Position { epoch, seq: tip } = feed::position(&tx).await?;
    let after = request.after.map(|position| feed::resume(position, epoch, tip)).transpose()?;
    // A page's begin is handed back as `before`; behind the last event, it is the number of the next.
    let before = request.before.map(|position| feed::resume(before(position), epoch, tip)).transpose()?;
    let stretch = Stretch::of(tip, after, before.map(|seq| seq + 1), request.size.backward);
    let rows = events::list_within(&tx, stretch, filter, request.size.backward, request.size.rows + 1).await?;
    Ok((LogPage::cut(rows, request.size, stretch, tip), epoch))
}

/// The place just before a position.
const fn before(position: Position) -> Position {
    Position { seq: position.seq - 1, ..position }
}
