//! Metrics for Prometheus. They tell of all tenants together, so they are the operator's alone.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use subtle::ConstantTimeEq;

use super::Edge;
use crate::telemetry;

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics of the process. With a token set, to who sends it; without one, to everybody in development.
pub(super) async fn metrics(State(edge): State<Edge>, headers: HeaderMap) -> Response {
    let settings = &edge.api.services.settings;
    let Some(token) = &settings.metrics_token else {
        return if settings.is_production() { StatusCode::NOT_FOUND.into_response() } else { rendered() };
    };
    let sent = headers.get(header::AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    if sent.is_some_and(|sent| bool::from(sent.ct_eq(token.as_bytes()))) {
        rendered()
    } else {
        (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")]).into_response()
    }
}

fn rendered() -> Response {
    ([(header::CONTENT_TYPE, TEXT)], telemetry::render_metrics()).into_response()
}
