//! `/processors/{processor}/{token}`: what processors tell of payouts. What a call says is not read here: see
//! [`crate::services::processors::receive`].

use axum::{
    Extension, Json, Router,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use serde_json::json;
use tributary_entity::kinds::PayoutMethod;

use super::{Edge, body, errors, request_id::RequestId};
use crate::services::{
    ServiceError,
    processors::receive::{self, Answer, Call},
};

/// The largest body: many times what any processor sends.
const BODY_MAX: usize = 256 * 1024;

pub(super) fn router() -> Router<Edge> {
    Router::new()
        .route("/processors/{processor}/{token}", post(take))
        .method_not_allowed_fallback(errors::method_not_allowed)
}

async fn take(
    State(edge): State<Edge>,
    Extension(id): Extension<RequestId>,
    Path((processor, token)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let Ok(method) = processor.to_ascii_uppercase().parse::<PayoutMethod>() else {
        return errors::not_found(Extension(id)).await;
    };
    let body = match body::read_up_to(BODY_MAX, &headers, body).await {
        Ok(body) => body.to_vec(),
        Err(rejection) => {
            let (status, code, message) = rejection.parts();
            return answer(status, "refused", Some((code, message)), &id);
        }
    };
    let services = &edge.api.services;
    let texts =
        headers.iter().filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())));
    let call = Call { headers: texts.collect(), body, received_at: services.now() };
    match receive::receive(services, method, &token, &call).await {
        Ok(Answer::Taken) => answer(StatusCode::OK, "taken", None, &id),
        Ok(Answer::Replayed) => answer(StatusCode::OK, "replayed", None, &id),
        Ok(Answer::Unknown) => errors::not_found(Extension(id)).await,
        Ok(Answer::Refused { status, code, message }) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            answer(status, "refused", Some((code, &*message)), &id)
        }
        Err(error) => {
            let status = if error.is_transient() || matches!(error, ServiceError::Overloaded { .. }) {
                StatusCode::SERVICE_UNAVAILABLE
            } else {
                tracing::error!(?error, "a processor's call was not taken");
                StatusCode::INTERNAL_SERVER_ERROR
            };
            answer(status, "refused", Some(("UNAVAILABLE", "call again")), &id)
        }
    }
}

fn answer(status: StatusCode, what: &str, why: Option<(&str, &str)>, id: &RequestId) -> Response {
    let (code, message) = why.unzip();
    (status, Json(json!({ "status": what, "code": code, "message": message, "requestId": id.text }))).into_response()
}
