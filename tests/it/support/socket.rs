//! A graphql-transport-ws client with one subscription.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{Message, client::IntoClientRequest},
};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A subscription on a socket of its own.
pub struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Socket {
    /// Connects, greets with the token, subscribes.
    pub async fn open(url: &str, token: Option<&str>, query: &str, variables: Value) -> Self {
        let mut socket = Self::connect(url).await;
        let payload = token.map_or(json!({}), |token| json!({ "Authorization": format!("Bearer {token}") }));
        socket.send(json!({ "type": "connection_init", "payload": payload })).await;
        let ack = socket.message().await;
        assert_eq!(ack["type"], "connection_ack", "{ack}");
        socket
            .send(json!({ "id": "1", "type": "subscribe", "payload": { "query": query, "variables": variables } }))
            .await;
        socket
    }

    /// Connects and says nothing yet.
    pub async fn connect(url: &str) -> Self {
        let mut request =
            format!("{}/graphql", url.replace("http://", "ws://")).into_client_request().expect("an address");
        request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse().expect("plain"));
        let (stream, _) =
            timeout(PATIENCE, tokio_tungstenite::connect_async(request)).await.expect("an answer").expect("a socket");
        Self { stream }
    }

    pub async fn send(&mut self, message: Value) {
        self.stream.send(Message::text(message.to_string())).await.expect("the socket is open");
    }

    /// The next message; none when the socket is closed or broken.
    pub async fn try_message(&mut self) -> Option<Value> {
        loop {
            match timeout(PATIENCE, self.stream.next()).await.expect("a message in time")? {
                Ok(Message::Text(text)) => return Some(serde_json::from_str(&text).expect("JSON")),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// The next message.
    pub async fn message(&mut self) -> Value {
        self.try_message().await.expect("a message, not the end")
    }

    /// The data of the next `next`.
    pub async fn next(&mut self) -> Value {
        let mut message = self.message().await;
        assert_eq!(message["type"], "next", "{message}");
        assert!(message["payload"].get("errors").is_none(), "{message}");
        message["payload"]["data"].take()
    }

    /// The code of the error that the subscription ends or is refused with.
    pub async fn error_code(&mut self) -> String {
        let message = self.message().await;
        let errors = match message["type"].as_str() {
            Some("error") => &message["payload"],
            _ => &message["payload"]["errors"],
        };
        errors[0]["extensions"]["code"].as_str().unwrap_or_else(|| panic!("a code in {message}")).to_owned()
    }

    /// Whether nothing comes for a while.
    pub async fn is_silent(&mut self, time: Duration) -> bool {
        timeout(time, self.stream.next()).await.is_err()
    }
}
