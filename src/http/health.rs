//! Whether the node lives, and whether it can work.

use axum::{Json, extract::State, http::StatusCode};
use serde_json::{Map, Value, json};

use super::Edge;
use crate::services::health::{self, Health, Verdict};

/// The process answers.
pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// The node takes whatever work there is: nothing is missing that it needs.
pub(super) async fn ready(State(edge): State<Edge>) -> (StatusCode, Json<Value>) {
    let health = look(&edge).await;
    (status(health.is_ready()), Json(report(&health)))
}

/// The node sends visitors on and loses no click, with the database or without.
pub(super) async fn redirects(State(edge): State<Edge>) -> (StatusCode, Json<Value>) {
    let health = look(&edge).await;
    (status(health.redirects), Json(report(&health)))
}

async fn look(edge: &Edge) -> Health {
    health::look(&edge.api.services, edge.sockets.is_draining()).await
}

const fn status(is_ready: bool) -> StatusCode {
    if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

/// States and times alone: anybody may ask.
fn report(health: &Health) -> Value {
    let part = |part: &health::Part| {
        let verdict = match part.verdict {
            Verdict::Well => "well",
            Verdict::Degraded => "degraded",
            Verdict::Missing => "missing",
        };
        (part.name.to_owned(), json!({ "state": part.state, "verdict": verdict, "since": part.since }))
    };
    json!({
        "ready": health.is_ready(),
        "redirects": health.redirects,
        "missing": health.named(Verdict::Missing).collect::<Vec<_>>(),
        "degraded": health.named(Verdict::Degraded).collect::<Vec<_>>(),
        "parts": health.parts.iter().map(part).collect::<Map<_, _>>(),
    })
}
