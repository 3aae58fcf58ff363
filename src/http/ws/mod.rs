//! GraphQL over WebSocket: graphql-transport-ws, as a small transport of our own. The credential comes with
//! `connection_init` (browsers cannot set headers) or in the upgrade's `Authorization` header.
//!
//! # Decisions
//! - The stock transport closes with codes that clients misread, and buffers 128 kB per socket.
//! - No compression: it would keep a window of tens of kilobytes per socket and do the same work once per client, where
//!   the bytes of an answer are shared by all who get it.
//! - The legacy sub-protocol `graphql-ws` is refused with the upgrade, in words: a socket that nobody agreed on the
//!   language of is not worth opening to close it.

mod operations;
mod protocol;
mod socket;

use std::net::IpAddr;

use axum::{
    extract::ws::{WebSocketUpgrade, rejection::WebSocketUpgradeRejection},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};

use super::{
    Edge,
    errors::{self, Rejection},
    request_id::RequestId,
    tenure::Tenure,
};
use crate::auth::AuthError;
use protocol::PROTOCOL;
use socket::Socket;

/// What is read and written at once. The default is zeroed at each read, and is what most of a socket's memory is.
const BUFFER_BYTES: usize = 4 * 1024;
const MESSAGE_MAX_BYTES: usize = 64 * 1024;

/// Opens a socket.
pub(super) fn upgrade(
    edge: Edge,
    client: IpAddr,
    headers: &HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    id: RequestId,
) -> Response {
    let authorization = headers.get(header::AUTHORIZATION).map(HeaderValue::to_str).transpose();
    let Ok(authorization) = authorization else { return errors::unauthenticated(AuthError::Invalid, &id) };
    let authorization = authorization.map(str::to_owned);
    match negotiate(&edge, headers, upgrade) {
        Ok(upgrade) => upgrade.on_upgrade(move |stream| {
            let tenure = Tenure::begin(edge.clone(), client);
            Socket::new(edge, stream, tenure, authorization, id).run()
        }),
        Err(rejection) => rejection.into_response(&id),
    }
}

fn negotiate(
    edge: &Edge,
    headers: &HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<WebSocketUpgrade, Rejection> {
    if !edge.origins.permit(headers) {
        let message = "pages of this origin may not connect; see TRIBUTARY_ALLOWED_ORIGINS";
        return Err(Rejection::new(StatusCode::FORBIDDEN, "ORIGIN_NOT_ALLOWED", message));
    }
    if edge.sockets.is_draining() {
        return Err(Rejection::draining());
    }
    let upgrade = upgrade.map_err(|why| Rejection::bad_request(why.body_text()))?.protocols([PROTOCOL]);
    if upgrade.selected_protocol().is_none() {
        return Err(Rejection::bad_request(format!("the sub-protocol {PROTOCOL} is needed"))
            .with(HeaderName::from_static("sec-websocket-protocol"), HeaderValue::from_static(PROTOCOL)));
    }
    Ok(upgrade
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .max_message_size(MESSAGE_MAX_BYTES)
        .max_frame_size(MESSAGE_MAX_BYTES))
}
