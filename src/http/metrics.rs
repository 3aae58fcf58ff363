//! Metrics for Prometheus. They tell of all tenants together, so they are the operator's alone.

use axum::{
    Extension,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use subtle::ConstantTimeEq;

use super::{
    Edge,
    errors::{self, Rejection},
    request_id::RequestId,
};
use crate::telemetry;

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics of the process. With a token set, to who sends it; without one, to everybody in development.
pub(super) async fn metrics(
    State(edge): State<Edge>,
    Extension(id): Extension<RequestId>,
    headers: HeaderMap,
) -> Response {
    let settings = &edge.api.services.settings;
    let Some(token) = &settings.metrics_token else {
        return if settings.is_production() { errors::not_found(Extension(id)).await } else { rendered(&edge) };
    };
    let sent = headers.get(header::AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    if sent.is_some_and(|sent| bool::from(sent.ct_eq(token.as_bytes()))) {
        rendered(&edge)
    } else {
        Rejection::new(StatusCode::UNAUTHORIZED, "UNAUTHENTICATED", "the metrics have a token of their own")
            .with(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
            .into_response(&id)
    }
}

fn rendered(edge: &Edge) -> Response {
    // Told by the pools when they are asked.
    for (pool, [open, idle]) in edge.api.services.db.connections() {
        for (state, count) in [("open", open), ("idle", idle)] {
            metrics::gauge!("tributary_database_connections", "pool" => pool, "state" => state).set(f64::from(count));
        }
    }
    if let Some((_, lag)) = edge.api.services.db.replica() {
        metrics::gauge!("tributary_replica_lag_seconds").set(lag.as_secs_f64());
    }
    ([(header::CONTENT_TYPE, TEXT)], telemetry::render_metrics()).into_response()
}
