//! The HTTP edge: routes, limits, request ids. Thin: everything behind `/graphql` is the schema's.

mod graphql;
mod health;
mod metrics;
mod request_id;
pub mod sockets;
mod ws;

use axum::{Router, extract::DefaultBodyLimit, middleware, routing::get};
use sockets::Sockets;
use tower_http::trace::TraceLayer;

use crate::graphql::execution::Api;

/// The largest request body: a full batch of conversions with every label is about half of it.
const BODY_MAX_BYTES: usize = 8 * 1024 * 1024;

/// What handlers share.
#[derive(Clone)]
struct Edge {
    api: Api,
    sockets: Sockets,
}

/// All routes of a node.
pub fn router(api: Api, sockets: Sockets) -> Router {
    let edge = Edge { api, sockets };
    Router::new()
        .route("/", get(graphql::front))
        .route("/graphql", get(graphql::get).post(graphql::post))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::metrics))
        .layer(DefaultBodyLimit::max(BODY_MAX_BYTES))
        .layer(TraceLayer::new_for_http())
        .layer(middleware::from_fn(request_id::layer))
        .with_state(edge)
}
