//! Every request has an id: the caller's, or ours. It is in the answer's header, in each error, and in the log, where
//! the id of its trace is, too.

use std::time::Instant;

use axum::{
    extract::{MatchedPath, Request},
    http::{HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};
use tracing::{Instrument, Span};

use crate::{
    ambient,
    trace::{self, Trace},
};

const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The id of a request, and the trace that it belongs to.
#[derive(Clone)]
pub(super) struct RequestId {
    pub text: String,
    trace: Trace,
}

impl RequestId {
    /// A span for an operation on the socket that this request opened; it bears the request's ids.
    pub fn operation(&self) -> Span {
        let mut trace = self.trace.clone();
        let span = tracing::error_span!(
            "request",
            request.id = %self.text,
            trace.id = trace.id(),
            otel.kind = trace::server_kind(),
            network.protocol.name = "websocket",
        );
        trace.lead(&span, || "WebSocket /graphql".to_owned());
        span
    }
}

/// Takes the caller's id if it is short and plain, makes one otherwise; continues the caller's trace, or begins one.
pub(super) async fn layer(mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let sent = request.headers().get(HEADER).and_then(|value| value.to_str().ok()).filter(|id| is_plain(id));
    let id = sent.map_or_else(|| ambient::new_uuid().to_string(), str::to_owned);
    let mut trace = Trace::of_caller(request.headers());
    let span = span(&request, &id, &mut trace);
    request.extensions_mut().insert(RequestId { text: id.clone(), trace });
    let answer = async {
        let response = next.run(request).await;
        tracing::debug!(http.response.status_code = response.status().as_u16(), time = ?began.elapsed(), "answered");
        response
    };
    let mut response = answer.instrument(span.clone()).await;
    trace::answered(&span, response.status().as_u16());
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(HEADER, value);
    }
    response
}

/// What log and trace say of a request: of its address the route alone, as the rest may be a token, a secret or a
/// person's data.
fn span(request: &Request, id: &str, trace: &mut Trace) -> Span {
    let (method, route) = (request.method(), request.extensions().get::<MatchedPath>().map(MatchedPath::as_str));
    let span = tracing::error_span!(
        "request",
        request.id = %id,
        trace.id = trace.id(),
        http.request.method = %method,
        http.route = route,
        otel.kind = trace::server_kind(),
    );
    trace.lead(&span, || format!("{method} {}", route.unwrap_or_default()));
    span
}

fn is_plain(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}
