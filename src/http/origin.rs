//! Which web pages may use the API: those of an allow-list, and our own.
//!
//! # Decisions
//! - Credentials travel in headers that a page has to set, never in cookies: a foreign page has nobody's authority to
//!   borrow. What is kept from it are answers to what it asks without a credential, and sockets.
//! - A request without `Origin` comes from a program: browsers send it with everything that matters here.

use std::{sync::Arc, time::Duration};

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use crate::services::Services;

/// How long a browser may keep what a preflight said.
const PREFLIGHT_KEPT: Duration = Duration::from_secs(2 * 3_600);

/// The allow-list.
#[derive(Clone)]
pub(super) struct Origins {
    allowed: Arc<[String]>,
    development: bool,
}

impl Origins {
    pub fn new(services: &Services) -> Self {
        let settings = &services.settings;
        let mut allowed = settings.allowed_origins.clone();
        allowed.extend(settings.public_url.as_deref().and_then(origin_of));
        Self { allowed: allowed.into(), development: !settings.is_production() }
    }

    /// Whether a request comes from a page that may send it, or from no page at all.
    pub fn permit(&self, headers: &HeaderMap) -> bool {
        headers.get(header::ORIGIN).is_none_or(|origin| self.permits(origin, headers))
    }

    fn permits(&self, origin: &HeaderValue, headers: &HeaderMap) -> bool {
        let Ok(origin) = origin.to_str() else { return false };
        let Some((_, authority)) = origin.split_once("://") else { return false };
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        host.is_some_and(|host| host.eq_ignore_ascii_case(authority))
            || self.allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
            || (self.development && is_localhost(authority))
    }

    /// Tells browsers.
    pub fn cors(&self) -> CorsLayer {
        let origins = self.clone();
        CorsLayer::new()
            .allow_origin(AllowOrigin::predicate(move |origin, parts| origins.permits(origin, &parts.headers)))
            .allow_methods([Method::GET, Method::POST])
            // Clients send names and versions of their own in headers; none of them gives authority.
            .allow_headers(AllowHeaders::mirror_request())
            .expose_headers([HeaderName::from_static("x-request-id"), header::RETRY_AFTER])
            .max_age(PREFLIGHT_KEPT)
    }
}

/// `https://host:port` of an address.
fn origin_of(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    Some(format!("{scheme}://{}", rest.split('/').next()?))
}

fn is_localhost(authority: &str) -> bool {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    ["localhost", "127.0.0.1", "[::1]"].contains(&host)
}
