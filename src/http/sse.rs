//! Server-sent events as graphql-sse has them, in its distinct connections mode: an operation is a request, its answers
//! are `next` events, and `complete` is its end.
//!
//! # Decisions
//! - An event's id is its cursor. Browsers send the last one back as `Last-Event-ID` by themselves.
//! - A stream that ends without `complete` is one to come back to: both graphql-sse and browsers do.

use bytes::Bytes;

use super::stream::Framing;
use crate::graphql::live::Delivery;

/// `text/event-stream`.
pub(super) struct Events;

impl Framing for Events {
    const CONTENT_TYPE: &'static str = "text/event-stream; charset=utf-8";

    fn begin() -> Bytes {
        Self::heartbeat()
    }

    fn next(delivery: &Delivery) -> Bytes {
        // JSON has no line breaks outside strings, and escapes them inside.
        let id = delivery.cursor.as_deref().map_or_else(String::new, |cursor| format!("id: {cursor}\n"));
        [b"event: next\n", id.as_bytes(), b"data: ", &*delivery.payload, b"\n\n"].concat().into()
    }

    fn heartbeat() -> Bytes {
        Bytes::from_static(b":\n\n")
    }

    fn complete() -> Bytes {
        Bytes::from_static(b"event: complete\ndata:\n\n")
    }

    fn fail(errors: &str) -> Bytes {
        format!("event: next\ndata: {{\"errors\":{errors}}}\n\nevent: complete\ndata:\n\n").into()
    }

    fn cut(_errors: &str) -> Bytes {
        Self::heartbeat()
    }
}
