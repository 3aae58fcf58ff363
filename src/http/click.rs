//! Tracking links: `GET /c/{code}`, and the addresses that links of others have.
//!
//! # Decisions
//! - 302 for people and programs alike, never kept: the next click is another one. The next page learns of the page that
//!   held the link what it would have learned without us, its origin.
//! - Where a link leads nowhere, the status is 404, also for a campaign that is paused: it may be back tomorrow. A person
//!   reads a sentence.

use std::time::Instant;

use axum::{
    body::Body,
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header, request::Parts},
};

use super::{Edge, listener::Peer};
use crate::services::redirect::{self, Ahead, Arrival, COOKIE, Departure, Target};

/// Where the path names the link.
const BY_CODE: &str = "/c/";

const NOT_KEPT: HeaderValue = HeaderValue::from_static("no-store");
const ORIGIN_ONLY: HeaderValue = HeaderValue::from_static("strict-origin-when-cross-origin");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const DEEP_LINK: HeaderName = HeaderName::from_static("x-deep-link");

/// How browsers say that they only fetch ahead.
const PREFETCHING: [HeaderName; 4] = [
    HeaderName::from_static("sec-purpose"),
    HeaderName::from_static("purpose"),
    HeaderName::from_static("x-moz"),
    HeaderName::from_static("x-purpose"),
];

/// `/c/{code}`.
pub(super) async fn by_code(
    State(edge): State<Edge>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
) -> Response<Body> {
    let (request, _) = request.into_parts();
    let code = request.uri.path().strip_prefix(BY_CODE).unwrap_or_default();
    answer(&edge, peer, &request, Target::Code(code)).await
}

/// `/c?oid=&affid=`, `/aff_c?offer_id=&aff_id=`, `/click?offer_id=&pid=`.
pub(super) async fn by_query(
    State(edge): State<Edge>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
) -> Response<Body> {
    answer(&edge, peer, &request.into_parts().0, Target::Query).await
}

async fn answer(edge: &Edge, peer: Peer, request: &Parts, target: Target<'_>) -> Response<Body> {
    let began = Instant::now();
    let headers = &request.headers;
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let arrival = Arrival {
        target,
        query: request.uri.query().unwrap_or_default(),
        address: edge.client(peer, headers),
        user_agent: text(header::USER_AGENT),
        referrer: text(header::REFERER),
        cookie: cookie(headers),
        secure: edge.is_secure(peer, headers),
        ahead: ahead(&request.method, headers),
    };
    let departure = redirect::follow(&edge.api.services, &arrival).await;
    metrics::counter!("tributary_redirects_total", "outcome" => departure.name()).increment(1);
    metrics::histogram!("tributary_redirect_seconds").record(began.elapsed());
    response(departure)
}

/// The visitor's cookie, the first of its name.
fn cookie(headers: &HeaderMap) -> Option<&[u8]> {
    let pairs = headers.get_all(header::COOKIE).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pairs.map(<[u8]>::trim_ascii).find_map(|pair| pair.strip_prefix(COOKIE.as_bytes())?.strip_prefix(b"="))
}

fn ahead(method: &Method, headers: &HeaderMap) -> Option<Ahead> {
    if method == Method::HEAD {
        return Some(Ahead::Head);
    }
    // Values such as `prefetch;prerender` and `preview`; who says its purpose does not click.
    PREFETCHING.iter().any(|name| headers.get(name).is_some_and(|value| !value.is_empty())).then_some(Ahead::Prefetch)
}

fn response(departure: Departure) -> Response<Body> {
    match departure {
        Departure::To { location, set_cookie, deep_link_refused, .. } => {
            let Ok(location) = HeaderValue::try_from(location) else {
                tracing::error!("a destination is no header value");
                return page(StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong. Please try again later.\n");
            };
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::FOUND;
            let headers = response.headers_mut();
            headers.insert(header::LOCATION, location);
            headers.insert(header::CACHE_CONTROL, NOT_KEPT);
            headers.insert(header::REFERRER_POLICY, ORIGIN_ONLY);
            if let Some(cookie) = set_cookie.and_then(|cookie| HeaderValue::try_from(cookie).ok()) {
                headers.insert(header::SET_COOKIE, cookie);
            }
            if deep_link_refused {
                headers.insert(DEEP_LINK, HeaderValue::from_static("refused"));
            }
            response
        }
        Departure::Closed => page(StatusCode::NOT_FOUND, "This offer is not available at the moment.\n"),
        Departure::Unknown => page(StatusCode::NOT_FOUND, "This link does not exist.\n"),
        Departure::Unavailable => {
            let mut response =
                page(StatusCode::SERVICE_UNAVAILABLE, "This link cannot be followed right now. Please try again.\n");
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            response
        }
    }
}

/// A sentence for a person.
fn page(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, TEXT);
    headers.insert(header::CACHE_CONTROL, NOT_KEPT);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"))
        };
        lines.iter().map(pair).collect()
    }

    #[test]
    fn cookie_is_found_among_others() {
        for (lines, expected) in [
            (&[][..], None),
            (&[("cookie", "trb_v=a")], Some("a")),
            (&[("cookie", "x=trb_v=b; trb_v=a;y=1")], Some("a")),
            (&[("cookie", "xtrb_v=b; trb_va=c; trb_v")], None),
            (&[("cookie", "x=1"), ("cookie", "trb_v=a; trb_v=b")], Some("a")),
        ] {
            assert_eq!(cookie(&headers(lines)), expected.map(str::as_bytes), "{lines:?}");
        }
    }

    #[test]
    fn who_only_looks_ahead_says_so() {
        assert_eq!(ahead(&Method::GET, &headers(&[("sec-fetch-mode", "navigate")])), None);
        assert_eq!(ahead(&Method::HEAD, &HeaderMap::new()), Some(Ahead::Head));
        for (name, value) in [
            ("sec-purpose", "prefetch;prerender"),
            ("purpose", "prefetch"),
            ("x-moz", "prefetch"),
            ("x-purpose", "preview"),
        ] {
            assert_eq!(ahead(&Method::GET, &headers(&[(name, value)])), Some(Ahead::Prefetch), "{name}");
        }
    }
}
