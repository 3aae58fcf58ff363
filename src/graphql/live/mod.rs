//! Live subscriptions as a transport sees them: bytes to send, in order.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use async_graphql::Response;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream::BoxStream};

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

/// One client's subscription: its answers in order, without gap or duplicate. Ends only when there is nothing more to
/// come for this client.
pub struct Subscriber(BoxStream<'static, Response>);

impl Subscriber {
    pub(super) fn new(responses: BoxStream<'static, Response>) -> Self {
        Self(responses)
    }
}

impl Stream for Subscriber {
    type Item = Delivery;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        self.0.poll_next_unpin(cx).map(|response| response.as_ref().map(Delivery::of))
    }
}
