//! Headers of every answer: what browsers may make of it, and that nobody keeps it.

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, header},
    middleware::Next,
    response::Response,
};

use super::Edge;

/// An answer is data: nothing in it runs, loads or is framed.
const POLICY: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
/// GraphiQL: its own inline script, and its libraries from the one place that it loads them from.
pub(super) const GRAPHIQL_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'unsafe-inline' https://esm.sh data: blob:; worker-src https://esm.sh data: blob:; \
     style-src 'unsafe-inline' https://esm.sh; font-src https://esm.sh data:; img-src 'self' data: https:; \
     connect-src 'self' ws: wss: https://esm.sh; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);
/// A year.
const ONLY_HTTPS: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Adds them where a handler said nothing else.
pub(super) async fn layer(State(edge): State<Edge>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    set(headers, header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    set(headers, header::CONTENT_SECURITY_POLICY, POLICY);
    set(headers, header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    set(headers, header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    set(headers, header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    // We speak plain HTTP behind whatever ends TLS: only its address tells that there is any.
    if edge.api.services.settings.public_url.as_deref().is_some_and(|url| url.starts_with("https://")) {
        set(headers, header::STRICT_TRANSPORT_SECURITY, ONLY_HTTPS);
    }
    headers.append(header::VARY, HeaderValue::from_static("accept, authorization"));
    response
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) {
    headers.entry(name).or_insert(value);
}
