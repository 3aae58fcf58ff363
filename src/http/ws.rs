//! GraphQL over WebSocket: graphql-transport-ws. The credential comes with `connection_init` (browsers cannot set
//! headers) or in the upgrade's `Authorization` header.

use std::net::SocketAddr;

use async_graphql::{Data, http::WebSocketProtocols};
use async_graphql_axum::{GraphQLProtocol, GraphQLWebSocket};
use axum::{
    RequestPartsExt,
    extract::{
        WebSocketUpgrade,
        ws::{CloseFrame, Message},
    },
    http::{HeaderMap, Request, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;

use super::Edge;
use crate::{
    graphql::{context::RequestContext, error},
    services::ServiceError,
};

const PROTOCOL: &str = "graphql-transport-ws";
/// The close code of a node that ends: clients connect again at once, to another one.
const SERVICE_RESTART: u16 = 1012;

/// Opens a socket.
pub(super) fn upgrade(edge: Edge, client: SocketAddr, headers: &HeaderMap, upgrade: WebSocketUpgrade) -> Response {
    let offered = headers.get(header::SEC_WEBSOCKET_PROTOCOL).and_then(|value| value.to_str().ok()).unwrap_or("");
    if !offered.split(',').any(|protocol| protocol.trim() == PROTOCOL) {
        return (StatusCode::BAD_REQUEST, format!("the sub-protocol {PROTOCOL} is needed\n")).into_response();
    }
    let at_upgrade = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
    upgrade.protocols([PROTOCOL]).on_upgrade(move |socket| async move {
        let Some(protocol) = transport_ws().await else { return };
        let services = edge.api.services.clone();
        let open = edge.sockets.enter();
        let (mut sink, messages) = socket.split();
        // What the client says ends when the node does, and with it everything that runs on the socket.
        let messages = messages.take_until(open.ending());
        GraphQLWebSocket::new_with_pair(&mut sink, messages, edge.api.schema, protocol)
            .on_connection_init(async move |payload: Value| {
                let authorization = in_payload(&payload).or(at_upgrade);
                let viewer = services
                    .access
                    .authenticate(authorization.as_deref())
                    .await
                    .map_err(|error| error::to_graphql(ServiceError::from(error)))?;
                let mut data = Data::default();
                data.insert(RequestContext::new(services, viewer, client.ip().to_string()));
                Ok(data)
            })
            .serve()
            .await;
        if open.is_ending() {
            let frame = CloseFrame { code: SERVICE_RESTART, reason: "the node ends; connect again".into() };
            // A client that is gone needs no good-bye.
            let _ = sink.send(Message::Close(Some(frame))).await;
        }
    })
}

/// The stock transport takes its protocol from a request's header; ours is settled before.
async fn transport_ws() -> Option<GraphQLProtocol> {
    let request = Request::builder().header(header::SEC_WEBSOCKET_PROTOCOL, PROTOCOL).body(()).ok()?;
    let (mut parts, ()) = request.into_parts();
    debug_assert_eq!(WebSocketProtocols::GraphQLWS.sec_websocket_protocol(), PROTOCOL);
    parts.extract().await.ok()
}

/// `{"Authorization": "Bearer .."}`, in either case, or `{"token": ".."}`.
fn in_payload(payload: &Value) -> Option<String> {
    let text = |name: &str| payload.get(name).and_then(Value::as_str);
    text("Authorization")
        .or_else(|| text("authorization"))
        .map(str::to_owned)
        .or_else(|| text("token").map(|token| format!("Bearer {token}")))
}
