//! What a subscription field is made of: everything but its filter and its answer.
//!
//! # Adding a field
//! Parse the arguments, bind a [`Topic`] (the name and the filter that its cursors are good for, and the interest in the
//! log that follows from the filter), and hand it to
//! - [`events`] for a *stream*: every event, once, in order. `show` makes the answer of an event, or none for one that
//!   the viewer may not see or the filter leaves out. It must need no I/O.
//! - [`state`] for a *state*: first as it is, then the newest after changes that come close together. `read` reads the
//!   whole state with its place in the log, `show` makes the answer. Each answer must be whole: whoever is slow gets
//!   fewer of them.
//!
//! Both take care of cursors, of going on after an outage, and of what the live machinery asks for (`LiveContext`).

use std::{future::ready, time::Duration};

use async_graphql::{Context, Result};
use futures_util::{Stream, StreamExt, stream};
use serde::Serialize;
use tokio::time::sleep;

use super::context::{Class, LiveContext, Places, Source, Start};
use crate::{
    domain::{
        cursor::{Binding, Position},
        event::Interest,
    },
    graphql::{
        context::RequestData,
        error::{IntoGraphql, to_graphql},
        scalars::Cursor,
    },
    services::{
        ServiceError, Services,
        feed::{self, LiveEvent, Member},
    },
};

/// What a field tells of.
pub(in crate::graphql) struct Topic {
    binding: Binding,
    interest: Interest,
    after: Option<Cursor>,
}

impl Topic {
    /// A topic in the viewer's scope, by a name of its own; cursors are good for this name and filter alone.
    ///
    /// # Errors
    /// As [`RequestData::caller`].
    pub fn bind(
        ctx: &Context<'_>,
        name: &'static str,
        filter: &impl Serialize,
        interest: Interest,
        after: Option<Cursor>,
    ) -> Result<Self> {
        let (services, viewer) = ctx.caller()?;
        Ok(Self { binding: services.cursors.bind(&viewer.scope, name, filter), interest, after })
    }
}

/// A place in the topic's log.
pub(in crate::graphql) struct Place<'a> {
    places: &'a Places,
    seq: i64,
}

impl Place<'_> {
    /// The cursor that goes on behind it.
    pub fn cursor(&self) -> Cursor {
        self.places.cursor(self.seq)
    }

    pub const fn position(&self) -> Position {
        Position { epoch: self.places.epoch, seq: self.seq }
    }
}

/// A field that tells of every event for which `show` has an answer.
///
/// # Errors
/// `CURSOR_INVALID`, `CURSOR_EXPIRED`; as the database answers.
pub(in crate::graphql) async fn events<T, F>(
    ctx: &Context<'_>,
    topic: Topic,
    mut show: F,
) -> Result<impl Stream<Item = Result<T>> + Send + 'static + use<T, F>>
where
    T: Send + 'static,
    F: FnMut(&LiveEvent, Place<'_>) -> Option<T> + Send + 'static,
{
    let live = ctx.request().live.clone();
    let (member, places, seq) = open(ctx, topic).await?;
    if let Some(live) = &live {
        live.opened(Source { class: Class::Stream, places: places.clone(), begin: seq });
    }
    let until = live.as_ref().and_then(|live| live.until);
    Ok(member.events(seq, until).filter_map(move |event| {
        ready(match event {
            Ok(event) => show(&event, Place { places: &places, seq: event.row.seq }).map(|answer| {
                reached(live.as_deref(), event.row.seq, Some(event.row.recorded_at));
                Ok(answer)
            }),
            Err(error) => Some(Err(broke(live.as_deref(), error))),
        })
    }))
}

/// A field that tells of a state: as it is, then its newest form after changes, at most once in a `pace`.
///
/// # Errors
/// As `read`, and as [`events`].
pub(in crate::graphql) async fn state<S, T, R, F, W>(
    ctx: &Context<'_>,
    topic: Topic,
    pace: Duration,
    read: R,
    mut show: W,
) -> Result<impl Stream<Item = Result<T>> + Send + 'static + use<S, T, R, F, W>>
where
    S: Clone + PartialEq + Send + 'static,
    T: Send + 'static,
    R: Fn() -> F + Send + Sync + 'static,
    F: Future<Output = std::result::Result<(Position, S), ServiceError>> + Send + 'static,
    W: FnMut(S, Place<'_>) -> T + Send + 'static,
{
    let live = ctx.request().live.clone();
    let (services, _) = ctx.caller()?;
    let (member, places, _) = open(ctx, topic).await?;
    // Refused here rather than in the stream when it is not the viewer's to see.
    let (position, first) = read().await.or_graphql()?;
    if let Some(live) = &live {
        live.opened(Source { class: Class::State, places: places.clone(), begin: position.seq });
    }
    let is_bounded = live.as_ref().is_some_and(|live| live.until.is_some());
    let watch = Watch { services: services.clone(), member, pace, read, last: first.clone() };
    let snapshot = stream::once(ready(Ok((position, first))));
    let changes = stream::unfold(Some(watch), async |watch| {
        let mut watch = watch?;
        let change = watch.next().await;
        let goes_on = change.is_ok();
        Some((change, goes_on.then_some(watch)))
    });
    let values = snapshot.chain(changes).take(if is_bounded { 1 } else { usize::MAX });
    Ok(values.map(move |value| match value {
        Ok((position, value)) => {
            reached(live.as_deref(), position.seq, None);
            Ok(show(value, Place { places: &places, seq: position.seq }))
        }
        Err(error) => Err(broke(live.as_deref(), error)),
    }))
}

/// Follows a state.
struct Watch<S, R> {
    services: Services,
    member: Member,
    pace: Duration,
    read: R,
    last: S,
}

impl<S, R, F> Watch<S, R>
where
    S: Clone + PartialEq,
    R: Fn() -> F,
    F: Future<Output = std::result::Result<(Position, S), ServiceError>>,
{
    /// The next value that differs from the last.
    async fn next(&mut self) -> std::result::Result<(Position, S), ServiceError> {
        loop {
            self.member.changed().await?;
            sleep(self.pace).await;
            self.member.skip_pending();
            let read = &self.read;
            // Asked until it is answered: no other change may ever come to tell of this one.
            let answer = self.services.feeds.persist(|| async {
                match read().await {
                    Err(error) if error.is_transient() => Err(error),
                    answer => Ok(answer),
                }
            });
            let (position, value) = answer.await?;
            if value != self.last {
                self.last = value.clone();
                return Ok((position, value));
            }
        }
    }
}

fn reached(live: Option<&LiveContext>, seq: i64, happened_at: Option<tributary_entity::Instant>) {
    if let Some(live) = live {
        live.reached(seq, happened_at);
    }
}

fn broke(live: Option<&LiveContext>, error: ServiceError) -> async_graphql::Error {
    if let Some(live) = live {
        live.broke();
    }
    to_graphql(error)
}

/// Joins the feed; answers where the field begins.
async fn open(ctx: &Context<'_>, topic: Topic) -> Result<(Member, Places, i64)> {
    let (services, viewer) = ctx.caller()?;
    let Topic { binding, interest, after } = topic;
    let member = services.feeds.join(&viewer.scope, interest).await.or_graphql()?;
    let tip = member.tip();
    let start = match ctx.request().live.as_deref().map(|live: &LiveContext| live.start.clone()) {
        Some(start) => start,
        None => after.map_or(Start::Tip, |Cursor(text)| Start::Cursor(text)),
    };
    let seq = begin(&binding, start, tip).or_graphql()?;
    Ok((member, Places { binding, epoch: tip.epoch }, seq))
}

fn begin(binding: &Binding, start: Start, tip: Position) -> std::result::Result<i64, ServiceError> {
    let position = match start {
        Start::Tip => tip,
        Start::Cursor(text) => binding.decode(&text).ok_or(ServiceError::CursorInvalid)?,
        Start::At(position) => position,
    };
    feed::resume(position, tip)
}
