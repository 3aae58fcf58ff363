//! `/postback/{token}`: conversions from servers that do not speak GraphQL, by GET or POST, in whatever names they have.
//!
//! Below the token the paths of other vendors' addresses are taken, too, so that such an address works with its host
//! alone replaced. What a call says is not read here: see [`crate::services::postbacks::receive`].
//!
//! # Decisions
//! - The status is honest, and the body always JSON: 200 when the conversion is recorded, now or by the same call before.
//! - Any page may call: who knows the token needs no other authority, and cookies give none.

use std::collections::HashMap;

use axum::{
    Extension, Json, Router,
    body::Body,
    extract::{ConnectInfo, Path, Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Map, Value, json};
use tower_http::cors::{Any, CorsLayer};

use super::{Edge, body, errors, listener::Peer, pixel, request_id::RequestId, snippet};
use crate::services::postbacks::receive::{self, Call, Parameters, Receipt, Refusal, Sender};

/// The largest body: many times what any vendor sends.
const BODY_MAX: usize = 64 * 1024;
/// Below the token: those of TUNE; of Voluum and Affise; Everflow's is none.
const PATHS: &[&str] = &["", "aff_lsr", "aff_goal", "postback"];
const SECRET: &str = "x-postback-secret";

/// What servers and pages of others call.
pub(super) fn router() -> Router<Edge> {
    let cors = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([header::CONTENT_TYPE]);
    Router::new()
        .route("/postback/{token}", get(take).post(take))
        .route("/postback/{token}/", get(take).post(take))
        .route("/postback/{token}/{*path}", get(take).post(take))
        .route("/pixel/{token}", get(pixel::take))
        .route("/t.js", get(snippet::script))
        .method_not_allowed_fallback(errors::method_not_allowed)
        .layer(cors)
}

async fn take(
    State(edge): State<Edge>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Extension(id): Extension<RequestId>,
    Path(mut path): Path<HashMap<String, String>>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let method = match parts.method {
        Method::GET => "GET",
        Method::POST => "POST",
        // What only looks whether the address is there must not record anything.
        _ => return errors::method_not_allowed(Extension(id)).await,
    };
    if !PATHS.contains(&path.get("path").map_or("", |path| path.trim_end_matches('/'))) {
        return errors::not_found(Extension(id)).await;
    }
    let mut parameters = Parameters::of_query(parts.uri.query().unwrap_or_default());
    let unreadable = match of_body(&parts.headers, body).await {
        Ok(more) => {
            parameters.extend(more);
            None
        }
        Err(refusal) => Some(refusal),
    };
    let call = Call {
        token: path.remove("token").unwrap_or_default(),
        method,
        address: edge.client(peer, &parts.headers),
        parameters,
        unreadable,
        secret: parts.headers.get(SECRET).and_then(|secret| secret.to_str().ok()).map(str::to_owned),
        from: Sender::Server,
    };
    match receive::receive(&edge.api.services, call).await {
        Ok(receipt) => Json(recorded(&receipt)).into_response(),
        Err(refusal) => refused(&refusal, &id),
    }
}

/// A form, or an object of JSON with plain values.
async fn of_body(headers: &HeaderMap, body: Body) -> Result<Parameters, Refusal> {
    let bytes = body::read_up_to(BODY_MAX, headers, body).await.map_err(|rejection| {
        let (status, code, message) = rejection.parts();
        Refusal::new(status.as_u16(), code, message)
    })?;
    if bytes.is_empty() {
        return Ok(Parameters::default());
    }
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    let unreadable = |why: &str| Refusal::new(400, "BAD_REQUEST", why);
    if media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        let form = std::str::from_utf8(&bytes).map_err(|_| unreadable("the form is not in UTF-8"))?;
        Ok(Parameters::of_query(form))
    } else if media_type.eq_ignore_ascii_case("application/json") {
        let object: Map<String, Value> =
            serde_json::from_slice(&bytes).map_err(|_| unreadable("the body is no object of JSON"))?;
        let pairs = object.into_iter().map(|(name, value)| match value {
            Value::Null => Ok((name, String::new())),
            Value::String(text) => Ok((name, text)),
            Value::Number(_) | Value::Bool(_) => Ok((name, value.to_string())),
            Value::Array(_) | Value::Object(_) => Err(unreadable("values are texts and numbers")),
        });
        Ok(Parameters::new(pairs.collect::<Result<_, _>>()?))
    } else {
        Err(Refusal::new(
            415,
            "UNSUPPORTED_MEDIA_TYPE",
            "send application/x-www-form-urlencoded or application/json, or all in the address",
        ))
    }
}

fn recorded(receipt: &Receipt) -> Value {
    json!({
        "status": if receipt.replayed { "replayed" } else { "created" },
        "conversionId": receipt.conversion_id,
        "conversionStatus": receipt.status,
        "reason": receipt.reason,
    })
}

fn refused(refusal: &Refusal, id: &RequestId) -> Response {
    let body = json!({
        "status": "refused",
        "code": refusal.code,
        "message": refusal.message,
        "parameter": refusal.field,
        "conversionId": refusal.recorded.as_ref().map(|receipt| receipt.conversion_id),
        "conversionStatus": refusal.recorded.as_ref().map(|receipt| receipt.status),
        "reason": refusal.recorded.as_ref().and_then(|receipt| receipt.reason),
        "requestId": id.text,
    });
    let mut response = (status_of(refusal), Json(body)).into_response();
    if let Some(wait) = refusal.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, errors::retry_after(wait));
    }
    response
}

pub(super) fn status_of(refusal: &Refusal) -> StatusCode {
    StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
