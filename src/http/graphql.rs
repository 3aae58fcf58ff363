//! GraphQL over HTTP: POST with JSON, GET for queries, GraphiQL for people in development.
//!
//! # Decisions
//! - Our own thin handler: the stock one takes mutations by GET and bodies of other media types, which a foreign page
//!   can send without asking (CSRF), and answers errors in plain text.
//! - `application/graphql-response+json` gets 400 for a document that was not executed; `application/json`, which older
//!   clients ask for, gets 200, as the specification says.

use std::net::SocketAddr;

use async_graphql::{Response as GraphqlResponse, ServerError, http::GraphiQLSource, parser::types::OperationType};
use axum::{
    Extension, Json,
    body::Bytes,
    extract::{ConnectInfo, FromRequestParts, Query, Request, State, WebSocketUpgrade, rejection::BytesRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    response::{Html, IntoResponse, Redirect, Response},
};
use serde_json::json;

use super::{Edge, request_id::RequestId, ws};
use crate::{
    auth::AuthError,
    graphql::{error, execution::Caller},
    services::ServiceError,
};

const GRAPHQL_RESPONSE: &str = "application/graphql-response+json";

/// Takes people to GraphiQL.
pub(super) async fn front() -> Redirect {
    Redirect::temporary("/graphql")
}

/// A document by POST.
pub(super) async fn post(
    State(edge): State<Edge>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    Extension(id): Extension<RequestId>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    if !is_json(&headers) {
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", "send application/json", &id);
    }
    let body = match body {
        Ok(body) => body,
        Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            return refuse(StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE", "the body is too large", &id);
        }
        Err(_) => return refuse(StatusCode::BAD_REQUEST, "BAD_REQUEST", "the body could not be read", &id),
    };
    let request: async_graphql::Request = match serde_json::from_slice::<async_graphql::Request>(&body) {
        Ok(request) if request.query.is_empty() => {
            return refuse(StatusCode::BAD_REQUEST, "BAD_REQUEST", "the member `query` is needed", &id);
        }
        Ok(request) => request,
        Err(error) => {
            return refuse(StatusCode::BAD_REQUEST, "BAD_REQUEST", &format!("not a GraphQL request: {error}"), &id);
        }
    };
    execute(&edge, client, &headers, &id, request, Method::Post).await
}

/// A query by GET, a WebSocket, or GraphiQL.
pub(super) async fn get(
    State(edge): State<Edge>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    Extension(id): Extension<RequestId>,
    request: Request,
) -> Response {
    let (mut parts, _) = request.into_parts();
    if parts.headers.contains_key(header::UPGRADE) {
        return match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
            Ok(upgrade) => ws::upgrade(edge, client, &parts.headers, upgrade),
            Err(rejection) => rejection.into_response(),
        };
    }
    if parts.uri.query().is_none() && wants_html(&parts) && !edge.api.services.settings.is_production() {
        // What is in its headers pane goes with queries as headers, and with subscriptions as `connection_init` payload.
        let page = GraphiQLSource::build().endpoint("/graphql").subscription_endpoint("/graphql").title("Tributary");
        return Html(page.finish()).into_response();
    }
    let document: Document = match Query::try_from_uri(&parts.uri) {
        Ok(Query(document)) => document,
        Err(_) => return refuse(StatusCode::BAD_REQUEST, "BAD_REQUEST", "the parameter `query` is needed", &id),
    };
    let mut request = async_graphql::Request::new(document.query);
    if let Some(name) = document.operation_name {
        request = request.operation_name(name);
    }
    if let Some(variables) = document.variables {
        match serde_json::from_str(&variables) {
            Ok(variables) => request = request.variables(async_graphql::Variables::from_json(variables)),
            Err(_) => return refuse(StatusCode::BAD_REQUEST, "BAD_REQUEST", "`variables` is not JSON", &id),
        }
    }
    execute(&edge, client, &parts.headers, &id, request, Method::Get).await
}

/// The parameters of a GET.
#[derive(serde::Deserialize)]
struct Document {
    query: String,
    #[serde(rename = "operationName")]
    operation_name: Option<String>,
    variables: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    Get,
    Post,
}

async fn execute(
    edge: &Edge,
    client: SocketAddr,
    headers: &HeaderMap,
    id: &RequestId,
    request: async_graphql::Request,
    method: Method,
) -> Response {
    let authorization = match headers.get(header::AUTHORIZATION).map(HeaderValue::to_str).transpose() {
        Ok(value) => value,
        Err(_) => return unauthenticated(AuthError::Invalid, id),
    };
    let viewer = match edge.api.services.access.authenticate(authorization).await {
        Ok(viewer) => viewer,
        Err(error) => return unauthenticated(error, id),
    };
    let caller = Caller { viewer, client: client.ip().to_string() };
    let mut response = match edge.api.admit(request, caller).await {
        Ok(admitted) if method == Method::Get && admitted.operation() != OperationType::Query => {
            let mut response = refuse(
                StatusCode::METHOD_NOT_ALLOWED,
                "METHOD_NOT_ALLOWED",
                "GET is for queries; send mutations by POST",
                id,
            );
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
            return response;
        }
        Ok(admitted) => edge.api.execute(admitted).await,
        Err(refusal) => GraphqlResponse::from_errors(refusal.errors),
    };
    for error in &mut response.errors {
        name_request(error, id);
    }
    answer(headers, response)
}

/// Puts the request's id into an error, so that a caller can name it.
fn name_request(error: &mut ServerError, id: &RequestId) {
    let extensions = error.extensions.get_or_insert_default();
    extensions.set("requestId", id.0.clone());
    if extensions.get("code").is_none() {
        // What has no code of ours comes from parsing and validation.
        extensions.set("code", "GRAPHQL_VALIDATION_FAILED");
    }
}

fn answer(headers: &HeaderMap, response: GraphqlResponse) -> Response {
    let modern = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|accept| accept.contains(GRAPHQL_RESPONSE));
    let not_executed =
        response.data == async_graphql::Value::Null && response.errors.iter().all(|error| error.path.is_empty());
    let status = if modern && response.is_err() && not_executed { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let media_type = if modern { GRAPHQL_RESPONSE } else { "application/json" };
    let mut http = (status, Json(&response)).into_response();
    http.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    http.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    http
}

fn unauthenticated(auth: AuthError, id: &RequestId) -> Response {
    let status = match &auth {
        AuthError::Unavailable | AuthError::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
        AuthError::Invalid | AuthError::Expired => StatusCode::UNAUTHORIZED,
    };
    let mut error = error::to_graphql(ServiceError::from(auth)).into_server_error(async_graphql::Pos::default());
    error.locations.clear();
    name_request(&mut error, id);
    (status, Json(json!({ "errors": [error] }))).into_response()
}

fn refuse(status: StatusCode, code: &str, message: &str, id: &RequestId) -> Response {
    let extensions = json!({ "code": code, "requestId": id.0 });
    (status, Json(json!({ "errors": [{ "message": message, "extensions": extensions }] }))).into_response()
}

fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case("application/json"))
}

fn wants_html(parts: &Parts) -> bool {
    parts
        .headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"))
}
