//! One client's subscription: from where it stands to the end of the log by an execution of its own, then with its group.
//!
//! # Decisions
//! - One way in for every occasion (first, after an overflow, after the group's end, under other permissions): take a
//!   seat in the group, which begins to queue; read what lies between one's place and the seat's by an own execution;
//!   go on with the queue. Whatever comes twice has a number that one has already.
//! - A client is too slow when it has not once been level with its group for [`BEHIND_MAX`]. Time rather than a number
//!   of events: a rare filter may be a million events behind and yet miss nothing. Until then a slow client costs the
//!   pages it reads, not memory. A client that begins far behind may take all the time it needs.
//! - A subscription never outlives its viewer, whatever the transport does: it ends with [`Ended::Expired`].

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use async_graphql::Response;
use futures_util::{FutureExt, Stream, StreamExt, future::BoxFuture};
use tokio::time::{Instant, Sleep, sleep};

use super::{
    Delivery, Ended, Hub,
    context::{Class, Start},
    group::{Key, Seat, nobody},
    meters::{self, Present},
    run::{Item, Run, refused},
};
use crate::{
    auth::Viewer,
    domain::cursor::Position,
    graphql::{error::to_server_error, execution::Refusal},
    services::{ServiceError, feed::queue::Popped},
};

/// How long a client may be without once having taken all that there is for it.
const BEHIND_MAX: Duration = Duration::from_mins(5);

/// One client's subscription: its answers in order, without gap or duplicate. Ends only when there is nothing more to
/// come for this client.
pub struct Subscriber {
    hub: Arc<Hub>,
    /// Apart: transports keep subscribers by the thousand, beside smaller things.
    viewer: Box<Viewer>,
    key: Arc<Key>,
    state: State,
    /// The last answer that was given out.
    position: Position,
    behind: Behind,
    expiry: Option<Pin<Box<Sleep>>>,
    _present: Present,
}

enum State {
    /// On the way into a group again.
    Joining(BoxFuture<'static, Result<Joined, Refusal>>),
    /// Reads up to the seat's place; changes, for ever.
    Reading(Box<Run>, Seat),
    /// Takes what the group publishes.
    Live(Seat),
    Over,
}

/// A seat, and what has to be read first.
pub(super) struct Joined {
    seat: Seat,
    run: Option<Box<Run>>,
}

impl Subscriber {
    /// Begins a subscription.
    ///
    /// # Errors
    /// As the field's source.
    pub(super) async fn begin(hub: Arc<Hub>, viewer: Viewer, key: Arc<Key>, start: Start) -> Result<Self, Refusal> {
        let joined = join(&hub, &viewer, &key, start).await?;
        // The group's: one copy of the document for all of its subscribers.
        let key = Arc::clone(joined.seat.group.key());
        let position = joined.position();
        let expiry = expiry(&hub, &viewer);
        let present = Present::in_gauge(&hub.meters.subscribers);
        let state = joined.into_state();
        Ok(Self {
            hub,
            viewer: Box::new(viewer),
            key,
            state,
            position,
            behind: Behind::default(),
            expiry,
            _present: present,
        })
    }

    /// Goes on where it is under other permissions of the same subject.
    ///
    /// # Errors
    /// When these do not permit it any more.
    pub async fn continue_as(mut self, viewer: Viewer) -> Result<Self, Refusal> {
        if viewer.scope.tenant_id() != self.viewer.scope.tenant_id() {
            return Err(refused(Some(vec![to_server_error(ServiceError::Forbidden)])));
        }
        let key = Key::of(&viewer, self.key.document.clone());
        if key != *self.key {
            let start = Start::At(self.position);
            let joined = join(&self.hub, &viewer, &Arc::new(key), start).await?;
            self.key = Arc::clone(joined.seat.group.key());
            self.state = joined.into_state();
        }
        self.expiry = expiry(&self.hub, &viewer);
        *self.viewer = viewer;
        Ok(self)
    }

    fn rejoin(&mut self) {
        let (hub, viewer, key) = (Arc::clone(&self.hub), self.viewer.clone(), Arc::clone(&self.key));
        let start = Start::At(self.position);
        // Kept for this long, so that its only subscriber comes back to the same group.
        let group = match &self.state {
            State::Live(seat) => Some(Arc::clone(&seat.group)),
            State::Joining(_) | State::Reading(..) | State::Over => None,
        };
        self.state = State::Joining(
            async move {
                let _group = group;
                // Nothing is refused for want of a database to one who was let in before.
                let attempt = || async {
                    match join(&hub, &viewer, &key, start.clone()).await {
                        Err(refusal) if refusal.is_transient() => Err("a subscription cannot go on"),
                        answer => Ok(answer),
                    }
                };
                hub.services.feeds.persist(attempt).await
            }
            .boxed(),
        );
    }

    fn end(&mut self, reason: &'static str) {
        self.state = State::Over;
        meters::closed(reason);
    }

    fn give(&mut self, item: &Item) -> Delivery {
        match item.seq {
            Some(seq) => self.position.seq = self.position.seq.max(seq),
            None => self.end("failed"),
        }
        item.delivery.clone()
    }
}

/// Since when a client has not been level with its group, once it fell behind.
#[derive(Default)]
struct Behind(Option<Instant>);

impl Behind {
    fn fell_behind(&mut self) {
        self.0.get_or_insert_with(Instant::now);
    }

    const fn is_level(&mut self) {
        self.0 = None;
    }

    fn is_too_long(&self) -> bool {
        self.0.is_some_and(|since| since.elapsed() > BEHIND_MAX)
    }
}

/// Takes a seat, and opens what lies before it.
async fn join(hub: &Arc<Hub>, viewer: &Viewer, key: &Arc<Key>, start: Start) -> Result<Joined, Refusal> {
    let seat = hub.groups.join(&hub.schema, &hub.services, &hub.meters, viewer, key).await?;
    // A state is read anew in any case; a stream that begins now has nothing to read.
    if seat.class == Class::Stream && matches!(start, Start::Tip) {
        return Ok(Joined { seat, run: None });
    }
    // Changes build on each other: they stay an own execution's, to the end.
    let until = (seat.class != Class::Changes).then_some(seat.seq);
    // The end is the subscriber's to keep: under a renewed credential the execution goes on.
    let run = Run::open(&hub.schema, &hub.services, nobody(viewer), &key.document, start, until).await?;
    Ok(Joined { seat, run: Some(Box::new(run)) })
}

fn expiry(hub: &Hub, viewer: &Viewer) -> Option<Pin<Box<Sleep>>> {
    let left = viewer.expires_at? - hub.services.now();
    Some(Box::pin(sleep(left.to_std().unwrap_or_default())))
}

impl Joined {
    /// Behind what the client gets everything. The first answer may be in hand already, and is not given out yet.
    fn position(&self) -> Position {
        match self.run.as_ref().map(|run| run.source()) {
            Some(source) => Position { epoch: source.places.epoch, seq: source.begin },
            None => Position { epoch: self.seat.epoch, seq: self.seat.seq },
        }
    }

    fn into_state(self) -> State {
        match self.run {
            Some(run) => State::Reading(run, self.seat),
            None => State::Live(self.seat),
        }
    }
}

impl Stream for Subscriber {
    type Item = Result<Delivery, Ended>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if matches!(this.state, State::Over) {
            return Poll::Ready(None);
        }
        if this.expiry.as_mut().is_some_and(|expiry| expiry.poll_unpin(cx).is_ready()) {
            this.end("expired");
            return Poll::Ready(Some(Err(Ended::Expired)));
        }
        loop {
            if this.behind.is_too_long() {
                this.end("too_slow");
                return Poll::Ready(Some(Err(Ended::TooSlow)));
            }
            match &mut this.state {
                State::Over => return Poll::Ready(None),
                State::Joining(joining) => match ready!(joining.poll_unpin(cx)) {
                    Ok(joined) => this.state = joined.into_state(),
                    Err(refusal) => {
                        this.end("failed");
                        return Poll::Ready(Some(Ok(Delivery::of(&Response::from_errors(refusal.errors), None))));
                    }
                },
                State::Reading(run, _) => match ready!(run.poll_next_unpin(cx)) {
                    Some(item) => {
                        this.hub.meters.deliveries.increment(1);
                        return Poll::Ready(Some(Ok(this.give(&item))));
                    }
                    None => {
                        if let State::Reading(_, seat) = std::mem::replace(&mut this.state, State::Over) {
                            this.position.seq = this.position.seq.max(seat.seq);
                            this.state = State::Live(seat);
                        }
                    }
                },
                State::Live(seat) => match seat.queue.poll_pop(cx) {
                    Poll::Pending => {
                        this.behind.is_level();
                        return Poll::Pending;
                    }
                    Poll::Ready(Popped::Item(item)) => {
                        if item.seq.is_none_or(|seq| seq > this.position.seq) {
                            return Poll::Ready(Some(Ok(this.give(&item))));
                        }
                    }
                    Poll::Ready(Popped::Overflow) => {
                        this.hub.meters.overflows.increment(1);
                        this.behind.fell_behind();
                        this.rejoin();
                    }
                    Poll::Ready(Popped::Closed) => this.rejoin(),
                },
            }
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        if !matches!(self.state, State::Over) {
            meters::closed("left");
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn client_is_too_slow_when_it_was_not_once_level_in_time() {
        let mut behind = Behind::default();
        advance(BEHIND_MAX * 2).await;
        assert!(!behind.is_too_long());
        behind.fell_behind();
        advance(BEHIND_MAX / 2).await;
        behind.fell_behind();
        assert!(!behind.is_too_long());
        advance(BEHIND_MAX / 2 + Duration::from_secs(1)).await;
        assert!(behind.is_too_long());
        behind.is_level();
        assert!(!behind.is_too_long());
    }
}
