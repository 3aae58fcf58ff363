//! What the edge says when it does not answer a request: JSON with a stable code and the request's id, whatever went
//! wrong and wherever.

use std::time::Duration;

use async_graphql::{Response as GraphqlResponse, ServerError, Value};
use axum::{
    Extension, Json,
    extract::Request,
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;
use serde::Serialize;
use serde_json::json;

use super::{accept::Media, request_id::RequestId};
use crate::{
    auth::AuthError,
    graphql::{error, execution::RefusalKind},
    services::ServiceError,
};

/// A request that the edge refuses by itself.
pub(super) struct Rejection {
    status: StatusCode,
    code: &'static str,
    message: String,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Rejection {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), header: None }
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", message)
    }

    pub fn method_not_allowed(message: &str, allow: &'static str) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", message)
            .with(header::ALLOW, HeaderValue::from_static(allow))
    }

    pub fn draining() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "DRAINING", "the node ends; connect again")
            .with(header::RETRY_AFTER, HeaderValue::from_static("1"))
    }

    /// Status, code and message, for who answers in another form.
    pub fn parts(&self) -> (StatusCode, &'static str, &str) {
        (self.status, self.code, &self.message)
    }

    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header = Some((name, value));
        self
    }

    pub fn into_response(self, id: &RequestId) -> Response {
        count(self.code);
        let extensions = json!({ "code": self.code, "requestId": id.text });
        let body = json!({ "errors": [{ "message": self.message, "extensions": extensions }] });
        let mut response = (self.status, Json(body)).into_response();
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// Nothing is at this address.
pub(super) async fn not_found(Extension(id): Extension<RequestId>) -> Response {
    Rejection::new(StatusCode::NOT_FOUND, "NOT_FOUND", "nothing is here; the API is at /graphql").into_response(&id)
}

/// Something is at this address, for other methods. The router adds which.
pub(super) async fn method_not_allowed(Extension(id): Extension<RequestId>) -> Response {
    let message = "the method is not allowed here";
    Rejection::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", message).into_response(&id)
}

/// Answers for a handler that panicked. What happened is in the log, in the request's span, not in the answer.
pub(super) async fn catch_panics(Extension(id): Extension<RequestId>, request: Request, next: Next) -> Response {
    let caught = std::panic::AssertUnwindSafe(next.run(request)).catch_unwind().await;
    caught.unwrap_or_else(|_| {
        Rejection::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", "internal error").into_response(&id)
    })
}

/// Puts the request's id into an error, so that a caller can name it.
pub(super) fn name_request(error: &mut ServerError, id: &RequestId) {
    let extensions = error.extensions.get_or_insert_default();
    let is_known = extensions.get("requestId").is_some();
    extensions.set("requestId", id.text.clone());
    if extensions.get("code").is_none() {
        // What has no code of ours comes from parsing and validation.
        extensions.set("code", "GRAPHQL_VALIDATION_FAILED");
    }
    // Whoever names it first has made it.
    if let (false, Some(Value::String(code))) = (is_known, extensions.get("code")) {
        count(code.clone());
    }
}

/// Counts an error of an answer.
fn count(code: impl Into<metrics::SharedString>) {
    metrics::counter!("tributary_errors_total", "code" => code.into()).increment(1);
}

/// The error behind a credential that was not accepted.
pub(super) fn of_auth(auth: AuthError, id: &RequestId) -> ServerError {
    of_service(auth.into(), id)
}

/// The error of a use case, outside any field.
pub(super) fn of_service(service: ServiceError, id: &RequestId) -> ServerError {
    let mut error = error::to_server_error(service);
    name_request(&mut error, id);
    error
}

/// The error of a panic, which its hook has logged.
pub(super) fn internal(id: &RequestId) -> ServerError {
    let mut error = ServerError::new("internal error", None);
    error.extensions.get_or_insert_default().set("code", "INTERNAL");
    name_request(&mut error, id);
    error
}

/// Answers a credential that was not accepted.
pub(super) fn unauthenticated(auth: AuthError, id: &RequestId) -> Response {
    let status = match &auth {
        AuthError::Unavailable | AuthError::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
        AuthError::Invalid | AuthError::Expired => StatusCode::UNAUTHORIZED,
    };
    let mut response = (status, Json(json!({ "errors": [of_auth(auth, id)] }))).into_response();
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// The status of a request that was not executed, as GraphQL over HTTP has it: a document's faults are the client's
/// under the newer media type, and 200 under the older one.
pub(super) const fn status_of(kind: RefusalKind, media: Media) -> StatusCode {
    match (kind, media) {
        (RefusalKind::RateLimited { .. }, _) => StatusCode::TOO_MANY_REQUESTS,
        (RefusalKind::Document | RefusalKind::Source, Media::GraphqlResponse) => StatusCode::BAD_REQUEST,
        (RefusalKind::Document | RefusalKind::Source, Media::Json) => StatusCode::OK,
    }
}

/// What `Retry-After` says: whole seconds, at least one.
pub(super) fn retry_after(wait: Duration) -> HeaderValue {
    HeaderValue::from((wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1))
}

/// Whether nothing was executed: the errors then belong to the document, and the answer has no `data`.
pub(super) fn is_request_error(response: &GraphqlResponse) -> bool {
    response.is_err()
        && response.data == async_graphql::Value::Null
        && response.errors.iter().all(|error| error.path.is_empty())
}

/// A response as JSON, each error with the request's id.
pub(super) fn to_json(mut response: GraphqlResponse, id: &RequestId) -> Vec<u8> {
    #[derive(Serialize)]
    struct NotExecuted<'a> {
        errors: &'a [ServerError],
        #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
        extensions: &'a std::collections::BTreeMap<String, async_graphql::Value>,
    }
    for error in &mut response.errors {
        name_request(error, id);
    }
    let json = if is_request_error(&response) {
        serde_json::to_vec(&NotExecuted { errors: &response.errors, extensions: &response.extensions })
    } else {
        serde_json::to_vec(&response)
    };
    json.expect("responses are plain data")
}

#[cfg(test)]
mod tests {
    use axum::{Router, middleware, routing::get};

    use super::*;
    use crate::http::request_id;

    #[test]
    fn retry_after_is_rounded_up() {
        for (millis, expected) in [(0, "1"), (1, "1"), (1_000, "1"), (1_001, "2"), (60_000, "60")] {
            assert_eq!(retry_after(Duration::from_millis(millis)), expected, "{millis} ms");
        }
    }

    #[tokio::test]
    async fn panic_is_answered_generically() {
        async fn panics() -> &'static str {
            panic!("a secret")
        }
        let router = Router::new()
            .route("/", get(panics))
            .layer(middleware::from_fn(catch_panics))
            .layer(middleware::from_fn(request_id::layer));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("bound"));
        tokio::spawn(async { axum::serve(listener, router).await });
        // An HTTP client wants a provider, also for plain HTTP.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let request = reqwest::Client::new().get(url).header("x-request-id", "r-1");
        let response = request.send().await.expect("an answer");
        assert_eq!(
            (response.status().as_u16(), &response.headers()["x-request-id"]),
            (500, &HeaderValue::from_static("r-1"))
        );
        let body: serde_json::Value = response.json().await.expect("JSON");
        let extensions = json!({ "code": "INTERNAL", "requestId": "r-1" });
        assert_eq!(body, json!({ "errors": [{ "message": "internal error", "extensions": extensions }] }));
    }
}
