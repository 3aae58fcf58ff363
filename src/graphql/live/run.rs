//! One execution of a document: a group's, or one client's own.

use std::{
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use async_graphql::{Response, ServerError};
use futures_util::{Stream, StreamExt, stream::BoxStream};
use tributary_entity::Instant;

use super::{
    Delivery,
    context::{LiveContext, Source, Start},
    document::Document,
};
use crate::{
    auth::Viewer,
    graphql::{
        ApiSchema,
        context::RequestContext,
        error::to_server_error,
        execution::{Refusal, RefusalKind},
    },
    services::{ServiceError, Services},
};

/// An answer on its way to everybody who asked for it.
pub(super) struct Item {
    pub delivery: Delivery,
    /// Its place in the log; none for an error of the source, which is its last answer.
    pub seq: Option<i64>,
    /// When what it tells of happened.
    pub happened_at: Option<Instant>,
}

/// A document that is being executed: its answers, one for each event.
pub(super) struct Run {
    responses: BoxStream<'static, Response>,
    live: Arc<LiveContext>,
    /// Came with the opening.
    first: Option<Response>,
}

impl Run {
    /// Executes a document until its field has opened its source.
    ///
    /// # Errors
    /// What the client is told when the source is refused.
    pub async fn open(
        schema: &ApiSchema,
        services: &Services,
        viewer: Viewer,
        document: &Document,
        start: Start,
        until: Option<i64>,
    ) -> Result<Self, Refusal> {
        let live = Arc::new(LiveContext::new(start, until));
        let context = RequestContext::new(services.clone(), Some(viewer), String::new()).with_live(Arc::clone(&live));
        let responses = AssertUnwindSafe(schema.execute_stream(document.request().data(context)))
            .catch_unwind()
            .map({
                let live = Arc::clone(&live);
                move |response| {
                    response.unwrap_or_else(|_| {
                        live.broke();
                        Response::from_errors(vec![to_server_error(ServiceError::Internal("a subscription panicked"))])
                    })
                }
            })
            .boxed();
        let mut run = Self { responses, live, first: None };
        std::future::poll_fn(|cx| run.poll_opened(cx)).await?;
        Ok(run)
    }

    /// The source is opened while the first answer is asked for.
    fn poll_opened(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        let polled = self.responses.poll_next_unpin(cx);
        match (polled, self.live.source()) {
            (Poll::Pending, None) => Poll::Pending,
            (Poll::Pending, Some(_)) => Poll::Ready(Ok(())),
            (Poll::Ready(response), Some(_)) => {
                self.first = response;
                Poll::Ready(Ok(()))
            }
            (Poll::Ready(response), None) => {
                let errors = response.map(|response| response.errors).filter(|errors| !errors.is_empty());
                Poll::Ready(Err(refused(errors)))
            }
        }
    }

    /// What the field said of itself.
    pub fn source(&self) -> &Source {
        self.live.source().expect("set before `open` returns")
    }
}

impl Stream for Run {
    type Item = Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        let response = match self.first.take() {
            Some(first) => Some(first),
            None => ready!(self.responses.poll_next_unpin(cx)),
        };
        Poll::Ready(response.map(|response| {
            let seq = self.live.seq();
            let cursor = seq.map(|seq| self.source().places.cursor(seq).0.into());
            Item { delivery: Delivery::of(&response, cursor), seq, happened_at: self.live.happened_at() }
        }))
    }
}

/// A refusal with the reasons that the schema gave: those of a source have codes, those of a document do not.
pub(super) fn refused(errors: Option<Vec<ServerError>>) -> Refusal {
    let errors =
        errors.unwrap_or_else(|| vec![to_server_error(ServiceError::Internal("a source opened without a word"))]);
    let is_coded = |error: &ServerError| error.extensions.as_ref().is_some_and(|more| more.get("code").is_some());
    let kind = if errors.iter().any(is_coded) { RefusalKind::Source } else { RefusalKind::Document };
    Refusal { kind, errors }
}
