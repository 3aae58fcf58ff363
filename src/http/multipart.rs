//! Subscriptions over multipart as Apollo's clients speak it (`subscriptionSpec=1.0`): each part is an answer under
//! `payload`, `{}` is a heartbeat, and what ends the stream from outside stands beside an empty `payload`.
//!
//! # Decisions
//! - A boundary is written behind each part, not before the next: clients hold a part back until they see its end.

use bytes::Bytes;

use super::stream::Framing;
use crate::graphql::live::Delivery;

const HEAD: &[u8] = b"\r\ncontent-type: application/json\r\n\r\n";
const BOUNDARY: &[u8] = b"\r\n--graphql";
/// Behind the last boundary.
const END: &[u8] = b"--\r\n";
const HEARTBEAT: &[u8] = b"{}";

/// `multipart/mixed`.
pub(super) struct Parts;

impl Framing for Parts {
    const CONTENT_TYPE: &'static str = "multipart/mixed;boundary=\"graphql\";subscriptionSpec=1.0";

    fn begin() -> Bytes {
        [BOUNDARY, HEAD, HEARTBEAT, BOUNDARY].concat().into()
    }

    fn next(delivery: &Delivery) -> Bytes {
        [HEAD, b"{\"payload\":", &*delivery.payload, b"}", BOUNDARY].concat().into()
    }

    fn heartbeat() -> Bytes {
        [HEAD, HEARTBEAT, BOUNDARY].concat().into()
    }

    fn complete() -> Bytes {
        Bytes::from_static(END)
    }

    fn fail(errors: &str) -> Bytes {
        [HEAD, b"{\"payload\":null,\"errors\":", errors.as_bytes(), b"}", BOUNDARY, END].concat().into()
    }

    fn cut(errors: &str) -> Bytes {
        Self::fail(errors)
    }
}
