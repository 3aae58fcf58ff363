//! GraphQL over HTTP: POST with JSON, GET for queries, answers whole or in parts; GraphiQL for people in development.
//!
//! # Decisions
//! - Our own thin handler: the stock one takes mutations by GET and bodies of other media types, which a foreign page
//!   can send without asking (CSRF), and answers errors in plain text.
//! - `application/graphql-response+json` gets 400 for a document that was not executed; `application/json`, which older
//!   clients ask for, gets 200, as the specification says.
//! - A client that names both a whole type and a stream gets its queries and mutations whole and its subscriptions
//!   streamed: what several clients send with everything.

use async_graphql::{
    Request as GraphqlRequest, Response as GraphqlResponse, http::GraphiQLSource, parser::types::OperationType,
};
use axum::{
    Extension,
    body::Body,
    extract::{ConnectInfo, FromRequestParts, Request, State, WebSocketUpgrade},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::{Html, IntoResponse, Redirect, Response},
};

use super::{
    Edge,
    accept::{Accept, Media, Streaming},
    body,
    errors::{self, Rejection},
    headers,
    listener::Peer,
    multipart,
    parameters::Parameters,
    request_id::RequestId,
    sse, stream,
    tenure::Tenure,
    ws,
};
use crate::{
    auth::AuthError,
    graphql::execution::{Admitted, Caller, Refusal, RefusalKind},
};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Takes people to GraphiQL.
pub(super) async fn front() -> Redirect {
    Redirect::temporary("/graphql")
}

/// A document by POST.
pub(super) async fn post(
    State(edge): State<Edge>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Extension(id): Extension<RequestId>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let exchange = match Exchange::begin(&edge, peer, &parts, &id) {
        Ok(exchange) => exchange,
        Err(rejection) => return rejection.into_response(&id),
    };
    match of_post(&parts.headers, body).await {
        Ok(request) => exchange.answer(request).await,
        Err(rejection) => rejection.into_response(&id),
    }
}

/// A query by GET, a WebSocket, or GraphiQL.
pub(super) async fn get(
    State(edge): State<Edge>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Extension(id): Extension<RequestId>,
    request: Request,
) -> Response {
    let (mut parts, _) = request.into_parts();
    if asks_for_socket(&parts.headers) {
        let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &()).await;
        let client = edge.client(peer, &parts.headers);
        return ws::upgrade(edge, client, &parts.headers, upgrade, id);
    }
    let accept = Accept::of(&parts.headers);
    if parts.uri.query().is_none() && accept.names_html() && !edge.api.services.settings.is_production() {
        return graphiql();
    }
    let exchange = match Exchange::begin(&edge, peer, &parts, &id) {
        Ok(exchange) => exchange,
        Err(rejection) => return rejection.into_response(&id),
    };
    let request =
        Parameters::of_uri(&parts.uri).and_then(|parameters| parameters.into_request().map_err(Rejection::bad_request));
    match request {
        Ok(request) => exchange.answer(request).await,
        Err(rejection) => rejection.into_response(&id),
    }
}

fn asks_for_socket(headers: &HeaderMap) -> bool {
    headers.get(header::UPGRADE).is_some_and(|upgrade| upgrade.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

fn graphiql() -> Response {
    // What is in its headers pane goes with queries as headers, and with subscriptions as `connection_init` payload.
    let page = GraphiQLSource::build().endpoint("/graphql").subscription_endpoint("/graphql").title("Tributary");
    ([(header::CONTENT_SECURITY_POLICY, headers::GRAPHIQL_POLICY)], Html(page.finish())).into_response()
}

async fn of_post(headers: &HeaderMap, body: Body) -> Result<GraphqlRequest, Rejection> {
    if !is_json(headers) {
        let message = "send application/json, in UTF-8 and not compressed";
        return Err(Rejection::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", message)
            .with(HeaderName::from_static("accept-post"), HeaderValue::from_static("application/json")));
    }
    let body = body::read(headers, body).await?;
    Parameters::of_body(&body)?.into_request().map_err(Rejection::bad_request)
}

/// As HTTP says that nothing is to be answered that was kept from before.
fn wants_newest(headers: &HeaderMap) -> bool {
    let directives = headers.get_all(header::CACHE_CONTROL).into_iter().filter_map(|value| value.to_str().ok());
    directives.flat_map(|value| value.split(',')).any(|directive| {
        let directive = directive.trim();
        directive.eq_ignore_ascii_case("no-cache") || directive.eq_ignore_ascii_case("no-store")
    })
}

fn is_json(headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let Some(content_type) = text(header::CONTENT_TYPE) else { return false };
    let mut parts = content_type.split(';').map(str::trim);
    let is_json = parts.next().is_some_and(|media_type| media_type.eq_ignore_ascii_case("application/json"));
    let is_utf8 = parts.filter_map(|parameter| parameter.split_once('=')).all(|(name, value)| {
        !name.trim().eq_ignore_ascii_case("charset") || value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
    });
    let is_plain = text(header::CONTENT_ENCODING).is_none_or(|coding| coding.eq_ignore_ascii_case("identity"));
    is_json && is_utf8 && is_plain
}

/// A request on its way to its answer.
struct Exchange<'a> {
    edge: &'a Edge,
    peer: Peer,
    parts: &'a Parts,
    id: &'a RequestId,
    whole: Option<Media>,
    streaming: Option<Streaming>,
}

impl<'a> Exchange<'a> {
    /// Settles what the client can be answered in.
    fn begin(edge: &'a Edge, peer: Peer, parts: &'a Parts, id: &'a RequestId) -> Result<Self, Rejection> {
        let accept = Accept::of(&parts.headers);
        let exchange = Self { edge, peer, parts, id, whole: accept.whole(), streaming: accept.streaming() };
        if exchange.whole.is_none() && exchange.streaming.is_none() { Err(not_acceptable()) } else { Ok(exchange) }
    }

    async fn answer(self, request: GraphqlRequest) -> Response {
        let headers = &self.parts.headers;
        let authorization = headers.get(header::AUTHORIZATION).map(HeaderValue::to_str).transpose();
        let authenticated = match authorization {
            Ok(authorization) => self.edge.api.services.access.authenticate(authorization).await,
            Err(_) => Err(AuthError::Invalid),
        };
        let viewer = match authenticated {
            Ok(viewer) => viewer,
            Err(error) => return errors::unauthenticated(error, self.id),
        };
        let client = self.edge.client(self.peer, headers);
        let caller = Caller { viewer: viewer.clone(), client: client.to_string(), may_lag: !wants_newest(headers) };
        let admitted = match self.edge.api.admit(request, caller).await {
            Ok(admitted) => admitted,
            Err(refusal) => return self.refuse(refusal),
        };
        if let Err(rejection) = self.permit(admitted.operation()) {
            return rejection.into_response(self.id);
        }
        if admitted.operation() != OperationType::Subscription {
            return self.respond(self.edge.api.execute(admitted).await);
        }
        let mut tenure = Tenure::begin(self.edge.clone(), client);
        if let Err(full) = tenure.settle(viewer) {
            return Rejection::new(StatusCode::TOO_MANY_REQUESTS, "CONNECTION_LIMIT", full.reason())
                .with(header::RETRY_AFTER, HeaderValue::from_static("10"))
                .into_response(self.id);
        }
        self.subscribe(admitted, tenure).await
    }

    /// Whether an operation may come by this method, and can be answered in what the client takes.
    fn permit(&self, operation: OperationType) -> Result<(), Rejection> {
        let by_get = self.parts.method != axum::http::Method::POST;
        match operation {
            OperationType::Mutation if by_get => {
                Err(Rejection::method_not_allowed("GET is for queries; send mutations by POST", "POST"))
            }
            OperationType::Subscription if self.streaming.is_none() && by_get => {
                Err(Rejection::method_not_allowed("GET is for queries, and for subscriptions as event streams", "POST"))
            }
            OperationType::Subscription if self.streaming.is_none() => Err(not_acceptable()),
            OperationType::Subscription if self.edge.sockets.is_draining() => Err(Rejection::draining()),
            _ => Ok(()),
        }
    }

    async fn subscribe(self, admitted: Admitted, tenure: Tenure) -> Response {
        let last = self.parts.headers.get(LAST_EVENT_ID).and_then(|value| value.to_str().ok());
        let last = last.filter(|cursor| !cursor.is_empty()).map(str::to_owned);
        let subscriber = match self.edge.api.subscribe(admitted, last).await {
            Ok(subscriber) => subscriber,
            Err(refusal) => return self.refuse(refusal),
        };
        let (heartbeat, id) = (self.edge.pace.heartbeat, self.id.clone());
        match self.streaming {
            Some(Streaming::Multipart) => stream::live::<multipart::Parts>(subscriber, tenure, heartbeat, id),
            _ => stream::live::<sse::Events>(subscriber, tenure, heartbeat, id),
        }
    }

    /// Answers what was executed, or found not to be worth it.
    fn respond(&self, response: GraphqlResponse) -> Response {
        let is_request_error = errors::is_request_error(&response);
        let status = |media| match media {
            Media::GraphqlResponse if is_request_error => StatusCode::BAD_REQUEST,
            _ => StatusCode::OK,
        };
        self.send(response, status)
    }

    fn refuse(&self, refusal: Refusal) -> Response {
        let mut response =
            self.send(GraphqlResponse::from_errors(refusal.errors), |media| errors::status_of(refusal.kind, media));
        if let RefusalKind::RateLimited { retry_after } = refusal.kind {
            response.headers_mut().insert(header::RETRY_AFTER, errors::retry_after(retry_after));
        }
        response
    }

    /// Sends an answer whole, or as the only part where the client takes nothing else: it looks for errors there, and
    /// would take another type for a broken connection.
    fn send(&self, response: GraphqlResponse, status: impl Fn(Media) -> StatusCode) -> Response {
        let json = errors::to_json(response, self.id);
        let media = self.whole.unwrap_or(Media::Json);
        match (self.whole, self.streaming, status(media)) {
            (None, Some(Streaming::Multipart), StatusCode::OK) => stream::single::<multipart::Parts>(json.into()),
            (None, Some(Streaming::Events), StatusCode::OK) => stream::single::<sse::Events>(json.into()),
            (_, _, status) => (status, [(header::CONTENT_TYPE, media.content_type())], json).into_response(),
        }
    }
}

fn not_acceptable() -> Rejection {
    let message = "answers are application/graphql-response+json or application/json; those of subscriptions \
                   text/event-stream or multipart/mixed;subscriptionSpec=1.0, or come on a WebSocket";
    Rejection::new(StatusCode::NOT_ACCEPTABLE, "NOT_ACCEPTABLE", message)
}
