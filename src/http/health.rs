//! Whether the node lives, and whether it can work.

use axum::{Json, extract::State, http::StatusCode};
use serde_json::{Value, json};

use super::Edge;

/// The process answers.
pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// The node takes work: it does not end, and the database answers. Redis is not asked for: without it the node works,
/// only slower.
pub(super) async fn ready(State(edge): State<Edge>) -> (StatusCode, Json<Value>) {
    if edge.sockets.is_draining() {
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "ready": false, "draining": true })));
    }
    match edge.api.services.db.ping().await {
        Ok(()) => (StatusCode::OK, Json(json!({ "ready": true }))),
        Err(error) => {
            tracing::warn!(%error, "not ready: the database does not answer");
            (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "ready": false, "missing": ["database"] })))
        }
    }
}
