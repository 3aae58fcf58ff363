//! Live subscriptions as a transport sees them: bytes to send, in order.
//!
//! | module | what it is |
//! |---|---|
//! | [`source`] | what each subscription field is made of |
//! | [`context`] | where resolver and machinery meet |
//! | [`document`] | what a request shares with others, and what is its own |
//! | [`run`] | one execution |
//! | [`group`] | executions that are shared |
//! | [`subscriber`] | one client's way through both |

pub(in crate::graphql) mod context;
mod document;
mod group;
mod meters;
mod run;
pub(in crate::graphql) mod source;
mod subscriber;

use std::sync::Arc;

use async_graphql::{Request, Response};
use bytes::Bytes;

pub(in crate::graphql) use context::LiveContext;
pub use subscriber::Subscriber;

use super::{
    ApiSchema,
    error::to_server_error,
    execution::{Caller, Refusal},
};
use crate::services::{ServiceError, Services};
use context::Start;
use document::Asked;
use group::{Groups, Key};
use meters::Meters;

/// One answer of a subscription.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The response as JSON: `{"data": ..}`. Shared by all who get the same.
    pub payload: Bytes,
    /// The cursor behind this answer; none for an error that ends the subscription.
    pub cursor: Option<Arc<str>>,
}

impl Delivery {
    fn of(response: &Response, cursor: Option<Arc<str>>) -> Self {
        let payload = serde_json::to_vec(response).expect("responses are plain data");
        Self { payload: payload.into(), cursor }
    }
}

/// Why a subscription ended before its client did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The client fell too far behind the log; it may come back with its last cursor.
    TooSlow,
    /// The credential has ended; the client may come back with another and its last cursor.
    Expired,
}

/// What all subscriptions of a node share.
pub(super) struct Hub {
    schema: ApiSchema,
    services: Services,
    groups: Arc<Groups>,
    meters: Arc<Meters>,
}

impl Hub {
    pub fn new(schema: ApiSchema, services: Services) -> Self {
        Self { schema, services, groups: Arc::default(), meters: Arc::default() }
    }

    /// Opens a subscription, behind `last_cursor` or else behind its own `after`.
    ///
    /// # Errors
    /// `RefusalKind::Document` and `RefusalKind::Source`.
    pub async fn subscribe(
        self: &Arc<Self>,
        request: Request,
        caller: Caller,
        last_cursor: Option<String>,
    ) -> Result<Subscriber, Refusal> {
        let Asked { document, after } = Asked::of(request)?;
        let viewer =
            caller.viewer.ok_or_else(|| run::refused(Some(vec![to_server_error(ServiceError::Unauthenticated)])))?;
        let start = last_cursor.or(after).map_or(Start::Tip, Start::Cursor);
        let key = Arc::new(Key::of(&viewer, document));
        Subscriber::begin(Arc::clone(self), viewer, key, start).await
    }
}
