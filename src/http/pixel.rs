//! `/pixel/{token}`: a conversion from a page, by an image: always the same dot, with the status of what became of it.

use axum::{
    Extension,
    extract::{ConnectInfo, Path, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{Edge, errors, listener::Peer, postback, request_id::RequestId};
use crate::services::postbacks::receive::{self, Call, Parameters, Sender};

/// One transparent pixel.
const GIF: &[u8; 43] = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00\x21\xf9\x04\x01\x00\x00\x00\x00\
    \x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00\x3b";
/// Where `t.js` keeps the click id; it comes with the image where this is the page's own site.
const COOKIE: &str = "trb_click";
/// Why it is not recorded: an image has no words.
const CODE: HeaderName = HeaderName::from_static("x-postback-code");

pub(super) async fn take(
    State(edge): State<Edge>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Extension(id): Extension<RequestId>,
    Path(token): Path<String>,
    request: Request,
) -> Response {
    if request.method() != Method::GET {
        return errors::method_not_allowed(Extension(id)).await;
    }
    let headers = request.headers();
    let call = Call {
        token,
        method: "GET",
        address: edge.client(peer, headers),
        parameters: Parameters::of_query(request.uri().query().unwrap_or_default()),
        unreadable: None,
        secret: None,
        from: Sender::Image { cookie: click_of(headers) },
    };
    let answer = receive::receive(&edge.api.services, call).await;
    let status = answer.as_ref().map_or_else(postback::status_of, |_| StatusCode::OK);
    let mut response = (
        status,
        [
            (header::CONTENT_TYPE, HeaderValue::from_static("image/gif")),
            (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("cross-origin")),
        ],
        GIF.as_slice(),
    )
        .into_response();
    if let Err(refusal) = answer {
        if let Ok(code) = HeaderValue::from_str(&refusal.code) {
            response.headers_mut().insert(CODE, code);
        }
        if let Some(wait) = refusal.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, errors::retry_after(wait));
        }
    }
    response
}

fn click_of(headers: &HeaderMap) -> Option<String> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut cookies = lines.flat_map(|line| line.split(';')).filter_map(|cookie| cookie.trim().split_once('='));
    cookies.find(|(name, value)| *name == COOKIE && !value.is_empty()).map(|(_, value)| value.to_owned())
}
