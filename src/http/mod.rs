//! The HTTP edge: routes, limits, request ids, and the transports. Thin: everything behind `/graphql` is the schema's.
//!
//! | module | what it is |
//! |---|---|
//! | `graphql` | a document by POST or GET, answered whole or in parts |
//! | `click` | tracking links: visitors are sent on |
//! | `accept`, `parameters`, `body` | what a request wants, asks and carries |
//! | `postback`, `pixel`, `snippet` | conversions from other servers and from pages |
//! | `processor` | what processors tell of payouts |
//! | `ws` | GraphQL over WebSocket |
//! | `stream`, `sse`, `multipart` | answers in parts over HTTP |
//! | `tenure`, `sockets` | connections that stay: what happens to them over time, how many there are, how they end |
//! | `origin`, `headers`, `client`, `listener` | pages, browsers, proxies and peers |
//! | `errors`, `request_id` | what is said when nothing else is |

mod accept;
mod body;
mod click;
mod client;
mod errors;
mod graphql;
mod headers;
mod health;
mod listener;
mod metrics;
mod multipart;
mod origin;
mod parameters;
mod pixel;
mod postback;
mod processor;
mod request_id;
mod snippet;
pub mod sockets;
mod sse;
mod stream;
mod tenure;
mod ws;

use std::{io, net::IpAddr, ops::Deref, sync::Arc, time::Duration};

use axum::{Router, http::HeaderMap, middleware, routing::get};
use listener::{Edgewise, Peer};
use origin::Origins;
use sockets::Sockets;
use tokio::net::TcpListener;
use tower_http::compression::{
    CompressionLayer,
    predicate::{DefaultPredicate, NotForContentType, Predicate},
};

use crate::graphql::execution::Api;

/// How patient the edge is. Tests are less.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Until a socket has to greet.
    pub greeting: Duration,
    /// Without a word from a socket until it is asked for one; after two more in silence it is gone.
    pub ping: Duration,
    /// Between signs of life of a stream over HTTP.
    pub heartbeat: Duration,
    /// Until a write has to get on.
    pub stall: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            greeting: Duration::from_secs(10),
            ping: Duration::from_secs(25),
            heartbeat: Duration::from_secs(12),
            stall: Duration::from_secs(10),
        }
    }
}

/// What handlers share; cheap to clone.
#[derive(Clone)]
struct Edge(Arc<Shared>);

struct Shared {
    api: Api,
    sockets: Sockets,
    origins: Origins,
    pace: Pace,
}

impl Deref for Edge {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Edge {
    /// The address of a request's client.
    fn client(&self, peer: Peer, headers: &HeaderMap) -> IpAddr {
        client::address(peer.0.ip(), headers, &self.api.services.settings.trusted_proxies)
    }

    /// Whether a request's client came by https: so the settings say, or a trusted proxy.
    fn is_secure(&self, peer: Peer, headers: &HeaderMap) -> bool {
        let settings = &self.api.services.settings;
        settings.public_url.as_deref().is_some_and(|url| url.starts_with("https://"))
            || client::came_by_https(peer.0.ip(), headers, &settings.trusted_proxies)
    }
}

/// Serves all routes of a node, until `shutdown` ends and what is under way is answered.
///
/// # Errors
/// When the port fails.
pub async fn serve(
    listener: TcpListener,
    api: Api,
    sockets: Sockets,
    pace: Pace,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let listener = Edgewise { listener, stall: pace.stall };
    let service = router(api, sockets, pace).into_make_service_with_connect_info::<Peer>();
    axum::serve(listener, service).with_graceful_shutdown(shutdown).await
}

fn router(api: Api, sockets: Sockets, pace: Pace) -> Router {
    let origins = Origins::new(&api.services);
    let cors = origins.cors();
    let edge = Edge(Arc::new(Shared { api, sockets, origins, pace }));
    // What comes in parts must not wait in a compressor for more.
    let whole = DefaultPredicate::new().and(NotForContentType::const_new("multipart/mixed"));
    let api = Router::new()
        .route("/", get(graphql::front))
        .route("/graphql", get(graphql::get).post(graphql::post))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/readyz/redirects", get(health::redirects))
        .route("/metrics", get(metrics::metrics))
        .fallback(errors::not_found)
        .method_not_allowed_fallback(errors::method_not_allowed)
        .layer(CompressionLayer::new().gzip(true).compress_when(whole))
        .layer(cors)
        .merge(postback::router())
        .merge(processor::router())
        .layer(middleware::from_fn_with_state(edge.clone(), headers::layer))
        .layer(middleware::from_fn(errors::catch_panics))
        .layer(middleware::from_fn(request_id::layer));
    // Outside of the layers: a redirect has nothing to compress, no page reads it, and it has to be quick.
    Router::new()
        .route("/c/{code}", get(click::by_code))
        .route("/c", get(click::by_query))
        .route("/aff_c", get(click::by_query))
        .route("/click", get(click::by_query))
        .merge(api)
        .with_state(edge)
}
