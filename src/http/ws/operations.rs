//! What runs on one socket, each under the id that its client gave it.
//!
//! # Decisions
//! - A list that is asked in turn, all of it on the socket's own task: a socket has one operation, or a handful, and a
//!   list of futures costs nothing while it is idle.
//! - What the client ends is dropped where it stands, and nothing is said of it any more.

use std::{
    panic::AssertUnwindSafe,
    task::{Context, Poll, ready},
};

use async_graphql::{Request, ServerError, parser::types::OperationType};
use futures_util::{FutureExt, StreamExt, future::BoxFuture};
use tracing::Instrument;

use super::protocol::OperationId;
use crate::{
    auth::Viewer,
    graphql::{
        execution::{Api, Caller, Refusal},
        live::{Ended, Subscriber},
    },
    http::{errors, request_id::RequestId},
};

/// What an operation has to say.
pub(super) enum Output {
    /// A subscription has begun. Nothing to be told, but the socket may be about to leave, and then nobody else ends it.
    Begun,
    /// One answer; more may follow.
    Next(bytes::Bytes),
    /// The one answer of a query or mutation.
    Answer(Vec<u8>),
    /// It was refused, or ended by other permissions. Errors as JSON.
    Error(Vec<u8>),
    /// A subscription has nothing more to say.
    Complete,
    /// Its client fell too far behind.
    TooSlow,
    /// Its viewer's credential has ended.
    Expired,
}

/// What became of work that was waited for.
enum Outcome {
    Answered(Vec<u8>),
    Subscribed(Box<Subscriber>),
    Refused(Vec<u8>),
}

enum Work {
    /// A query or mutation, or a subscription that is being opened.
    Pending(BoxFuture<'static, Outcome>),
    Live(Box<Subscriber>),
}

struct Operation {
    id: OperationId,
    work: Work,
    /// Which of the socket's viewers it runs as.
    generation: u32,
}

/// All operations of a socket.
pub(super) struct Operations {
    id: RequestId,
    list: Vec<Operation>,
    /// Who is asked first.
    first: usize,
    /// Counts changes of what the viewer may do.
    generation: u32,
    viewer: Option<Viewer>,
}

impl Operations {
    pub const fn new(id: RequestId) -> Self {
        Self { id, list: Vec::new(), first: 0, generation: 0, viewer: None }
    }

    pub const fn len(&self) -> usize {
        self.list.len()
    }

    pub const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn contains(&self, id: &OperationId) -> bool {
        self.list.iter().any(|operation| operation.id == *id)
    }

    /// Begins an operation.
    pub fn begin(&mut self, id: OperationId, api: Api, request: Request, caller: Caller) {
        let work = run(api, request, caller, self.id.clone()).instrument(self.id.operation()).boxed();
        self.list.push(Operation { id, work: Work::Pending(work), generation: self.generation });
    }

    /// Drops an operation without a word.
    pub fn end(&mut self, id: &OperationId) {
        self.list.retain(|operation| operation.id != *id);
    }

    /// Drops what would never end; what will is left to.
    pub fn end_subscriptions(&mut self) {
        self.list.retain(|operation| matches!(operation.work, Work::Pending(_)));
    }

    /// Lets every subscription go on as its viewer is now; queries and mutations end as they began.
    pub fn continue_as(&mut self, viewer: Viewer) {
        self.generation += 1;
        let list = std::mem::take(&mut self.list).into_iter().map(|operation| match operation.work {
            Work::Live(subscriber) => Operation {
                work: Work::Pending(continue_as(*subscriber, viewer.clone(), self.id.clone())),
                generation: self.generation,
                ..operation
            },
            Work::Pending(_) => operation,
        });
        self.list = list.collect();
        self.viewer = Some(viewer);
    }

    /// What the next operation has to say. Never ends; safe to cancel.
    pub async fn next(&mut self) -> (OperationId, Output) {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// What an operation has to say at this moment.
    pub async fn ready(&mut self) -> Option<(OperationId, Output)> {
        std::future::poll_fn(|cx| match self.poll_next(cx) {
            Poll::Ready(said) => Poll::Ready(Some(said)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<(OperationId, Output)> {
        let count = self.list.len();
        for offset in 0..count {
            let index = (self.first + offset) % count;
            let operation = &mut self.list[index];
            let Poll::Ready(output) = operation.poll(cx, self.generation, self.viewer.as_ref(), &self.id) else {
                continue;
            };
            // The next time another one comes first.
            self.first = index + 1;
            let id = match output {
                Output::Begun | Output::Next(_) => operation.id.clone(),
                _ => self.list.swap_remove(index).id,
            };
            return Poll::Ready((id, output));
        }
        Poll::Pending
    }
}

impl Operation {
    fn poll(&mut self, cx: &mut Context<'_>, generation: u32, viewer: Option<&Viewer>, id: &RequestId) -> Poll<Output> {
        loop {
            let work = match &mut self.work {
                Work::Live(subscriber) => {
                    return Poll::Ready(match ready!(subscriber.poll_next_unpin(cx)) {
                        Some(Ok(delivery)) => Output::Next(delivery.payload),
                        Some(Err(Ended::TooSlow)) => Output::TooSlow,
                        Some(Err(Ended::Expired)) => Output::Expired,
                        None => Output::Complete,
                    });
                }
                Work::Pending(outcome) => match ready!(outcome.as_mut().poll(cx)) {
                    Outcome::Answered(json) => return Poll::Ready(Output::Answer(json)),
                    Outcome::Refused(errors) => return Poll::Ready(Output::Error(errors)),
                    Outcome::Subscribed(subscriber) => match viewer {
                        // Opened by what the viewer might do before.
                        Some(viewer) if self.generation != generation => {
                            self.generation = generation;
                            Work::Pending(continue_as(*subscriber, viewer.clone(), id.clone()))
                        }
                        _ => {
                            self.work = Work::Live(subscriber);
                            return Poll::Ready(Output::Begun);
                        }
                    },
                },
            };
            self.work = work;
        }
    }
}

/// Takes a request to its first outcome.
async fn run(api: Api, request: Request, caller: Caller, id: RequestId) -> Outcome {
    let outcome = AssertUnwindSafe(attempt(api, request, caller, &id)).catch_unwind().await;
    match outcome {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(refusal)) => refused(refusal, &id),
        Err(_) => Outcome::Refused(to_json(&[errors::internal(&id)])),
    }
}

async fn attempt(api: Api, request: Request, caller: Caller, id: &RequestId) -> Result<Outcome, Refusal> {
    let admitted = api.admit(request, caller).await?;
    if admitted.operation() == OperationType::Subscription {
        return api.subscribe(admitted, None).await.map(|subscriber| Outcome::Subscribed(Box::new(subscriber)));
    }
    let mut response = api.execute(admitted).await;
    if errors::is_request_error(&response) {
        response.errors.iter_mut().for_each(|error| errors::name_request(error, id));
        return Ok(Outcome::Refused(to_json(&response.errors)));
    }
    Ok(Outcome::Answered(errors::to_json(response, id)))
}

fn continue_as(subscriber: Subscriber, viewer: Viewer, id: RequestId) -> BoxFuture<'static, Outcome> {
    let continued = subscriber.continue_as(viewer);
    async move { continued.await.map_or_else(|refusal| refused(refusal, &id), |live| Outcome::Subscribed(Box::new(live))) }.boxed()
}

fn refused(mut refusal: Refusal, id: &RequestId) -> Outcome {
    refusal.errors.iter_mut().for_each(|error| errors::name_request(error, id));
    Outcome::Refused(to_json(&refusal.errors))
}

fn to_json(errors: &[ServerError]) -> Vec<u8> {
    serde_json::to_vec(errors).expect("errors are plain data")
}
