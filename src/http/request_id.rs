//! Every request has an id: the caller's, or ours. It is in the answer's header, in each error, and in the log.

use axum::{
    extract::Request,
    http::{HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};
use tracing::Instrument;

use crate::ambient;

const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The id of a request.
#[derive(Clone)]
pub(super) struct RequestId(pub String);

/// Takes the caller's id if it is short and plain, makes one otherwise.
pub(super) async fn layer(mut request: Request, next: Next) -> Response {
    let sent = request.headers().get(HEADER).and_then(|value| value.to_str().ok()).filter(|id| is_plain(id));
    let id = sent.map_or_else(|| ambient::new_uuid().to_string(), str::to_owned);
    request.extensions_mut().insert(RequestId(id.clone()));
    let span = tracing::info_span!("request", request.id = %id);
    let mut response = next.run(request).instrument(span).await;
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(HEADER, value);
    }
    response
}

fn is_plain(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}
