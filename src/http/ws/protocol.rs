//! The messages of graphql-transport-ws, and the codes that a socket is closed with.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};

use crate::http::parameters::{self, Parameters};

/// The sub-protocol.
pub(super) const PROTOCOL: &str = "graphql-transport-ws";

/// How a socket ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Close {
    pub code: u16,
    pub reason: Cow<'static, str>,
}

impl Close {
    const fn new(code: u16, reason: &'static str) -> Self {
        Self { code, reason: Cow::Borrowed(reason) }
    }

    /// The client does not speak the protocol.
    pub fn bad_message(reason: impl Into<Cow<'static, str>>) -> Self {
        Self { code: 4400, reason: reason.into() }
    }

    /// An operation before `connection_ack`.
    pub const UNGREETED: Self = Self::new(4401, "Unauthorized");
    /// A credential that was refused, has ended, or was revoked: clients come back with another.
    pub const fn forbidden(reason: &'static str) -> Self {
        Self::new(4403, reason)
    }

    /// No greeting in time.
    pub const GREETING_TIMEOUT: Self = Self::new(4408, "Connection initialisation timeout");

    /// An operation's id is taken.
    pub fn taken(id: &str) -> Self {
        Self { code: 4409, reason: format!("Subscriber for {} already exists", id.trim_matches('"')).into() }
    }

    /// A second greeting.
    pub const GREETED_TWICE: Self = Self::new(4429, "Too many initialisation requests");

    /// The client is to come back at once.
    pub const fn leave(reason: &'static str) -> Self {
        Self::new(1012, reason)
    }

    /// There is no room, or the client is too slow; it may come back later.
    pub const fn overloaded(reason: &'static str) -> Self {
        Self::new(1013, reason)
    }

    /// A message that breaks WebSocket itself.
    pub const PROTOCOL_ERROR: Self = Self::new(1002, "not WebSocket");
    pub const NOT_UTF8: Self = Self::new(1007, "not UTF-8");
    pub const TOO_LARGE: Self = Self::new(1009, "a message is larger than 64 kB");

    /// The reason, cut to what a close frame holds.
    pub fn reason(&self) -> &str {
        const MAX_BYTES: usize = 123;
        &self.reason[..self.reason.floor_char_boundary(MAX_BYTES)]
    }
}

/// What a client says.
pub(super) enum Inbound {
    ConnectionInit(Map<String, Value>),
    Ping(Map<String, Value>),
    Pong,
    Subscribe(OperationId, Box<Parameters>),
    Complete(OperationId),
}

/// The id of an operation, as the client wrote it and as it goes into messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OperationId(std::sync::Arc<str>);

impl OperationId {
    fn new(id: &str) -> Self {
        Self(Value::from(id).to_string().into())
    }

    /// With its quotes.
    pub fn as_json(&self) -> &str {
        &self.0
    }
}

impl Inbound {
    /// Reads a message; a fault closes the socket.
    pub fn parse(text: &str) -> Result<Self, Close> {
        /// The largest payload of a greeting: a token and some room.
        const INIT_MAX_BYTES: usize = 8 * 1024;

        #[derive(Deserialize)]
        struct Envelope<'a> {
            #[serde(rename = "type", borrow)]
            kind: Cow<'a, str>,
            id: Option<String>,
            #[serde(borrow)]
            payload: Option<&'a RawValue>,
        }
        let envelope: Envelope = parameters::object(text.as_bytes()).map_err(Close::bad_message)?;
        let id = || match envelope.id.as_deref() {
            Some(id) if !id.is_empty() => Ok(OperationId::new(id)),
            _ => Err(Close::bad_message("the member `id` is needed")),
        };
        let object = || match envelope.payload {
            Some(payload) => parameters::object(payload.get().as_bytes())
                .map_err(|why| Close::bad_message(format!("payload: {why}"))),
            None => Ok(Map::new()),
        };
        match &*envelope.kind {
            "connection_init" if text.len() > INIT_MAX_BYTES => Err(Close::bad_message("the greeting is too large")),
            "connection_init" => object().map(Self::ConnectionInit),
            "ping" => object().map(Self::Ping),
            "pong" => object().map(|_| Self::Pong),
            "subscribe" => {
                let payload = envelope.payload.ok_or_else(|| Close::bad_message("the member `payload` is needed"))?;
                let parameters = parameters::object(payload.get().as_bytes())
                    .map_err(|why| Close::bad_message(format!("payload: {why}")))?;
                Ok(Self::Subscribe(id()?, Box::new(parameters)))
            }
            "complete" => id().map(Self::Complete),
            other => Err(Close::bad_message(format!("no message of a client is called `{other}`"))),
        }
    }
}

/// The credential of a payload, as an `Authorization` header has it: `{"Authorization": "Bearer .."}`, in either case, or
/// `{"token": ".."}`.
pub(super) fn credential(payload: &Map<String, Value>) -> Option<String> {
    let text = |name: &str| payload.get(name).and_then(Value::as_str);
    text("Authorization")
        .or_else(|| text("authorization"))
        .map(str::to_owned)
        .or_else(|| text("token").map(|token| format!("Bearer {token}")))
}

pub(super) fn connection_ack() -> String {
    r#"{"type":"connection_ack"}"#.to_owned()
}

/// The answer to a ping; with a payload when it was more than one.
pub(super) fn pong(payload: Option<Value>) -> String {
    match payload {
        Some(payload) => json!({ "type": "pong", "payload": payload }).to_string(),
        None => r#"{"type":"pong"}"#.to_owned(),
    }
}

/// An answer; `payload` is JSON.
pub(super) fn next(id: &OperationId, payload: &[u8]) -> Vec<u8> {
    [b"{\"id\":", id.as_json().as_bytes(), b",\"type\":\"next\",\"payload\":", payload, b"}"].concat()
}

/// The errors that an operation ends with; JSON.
pub(super) fn error(id: &OperationId, errors: &[u8]) -> Vec<u8> {
    [b"{\"id\":", id.as_json().as_bytes(), b",\"type\":\"error\",\"payload\":", errors, b"}"].concat()
}

pub(super) fn complete(id: &OperationId) -> Vec<u8> {
    [b"{\"id\":", id.as_json().as_bytes(), b",\"type\":\"complete\"}"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_fit_into_a_close_frame() {
        let close = Close::bad_message("é".repeat(100));
        assert_eq!(close.reason(), "é".repeat(61));
        assert_eq!(Close::GREETED_TWICE.reason(), "Too many initialisation requests");
    }

    #[test]
    fn id_stays_as_it_was_written() {
        let id = OperationId::new("a\"b\\\u{1}é");
        let message: Value = serde_json::from_slice(&next(&id, b"{\"data\":1}")).expect("JSON");
        assert_eq!(message, json!({ "id": "a\"b\\\u{1}é", "type": "next", "payload": { "data": 1 } }));
    }
}
