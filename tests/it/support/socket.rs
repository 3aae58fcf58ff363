//! A graphql-transport-ws client with one subscription.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{Message, client::IntoClientRequest, handshake::client::Request},
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
        socket.begin(token, query, variables).await;
        socket
    }

    /// As `open`; none where no node answers, or it goes away meanwhile.
    pub async fn try_open(url: &str, token: Option<&str>, query: &str, variables: Value) -> Option<Self> {
        let (stream, _) =
            timeout(PATIENCE, tokio_tungstenite::connect_async(upgrade(url))).await.expect("an answer").ok()?;
        let mut socket = Self { stream };
        socket.try_send(greeting(token)).await?;
        assert_eq!(socket.try_message().await?["type"], "connection_ack");
        socket.try_send(subscribe(query, variables)).await?;
        Some(socket)
    }

    /// Connects and says nothing yet.
    pub async fn connect(url: &str) -> Self {
        let connecting = tokio_tungstenite::connect_async(upgrade(url));
        let (stream, _) = timeout(PATIENCE, connecting).await.expect("an answer").expect("a socket");
        Self { stream }
    }

    /// Connects with a small buffer, so that the node notices when nobody reads.
    pub async fn connect_narrow(url: &str) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4_096).expect("a size");
        let address = url.trim_start_matches("http://").parse().expect("an address");
        let stream = MaybeTlsStream::Plain(socket.connect(address).await.expect("connects"));
        let (stream, _) = tokio_tungstenite::client_async(upgrade(url), stream).await.expect("a socket");
        Self { stream }
    }

    /// Greets with the token and subscribes.
    pub async fn begin(&mut self, token: Option<&str>, query: &str, variables: Value) {
        self.send(greeting(token)).await;
        let ack = self.message().await;
        assert_eq!(ack["type"], "connection_ack", "{ack}");
        self.send(subscribe(query, variables)).await;
    }

    async fn try_send(&mut self, message: Value) -> Option<()> {
        self.stream.send(Message::text(message.to_string())).await.ok()
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

    /// The data of the next `next`, if it comes within a time.
    pub async fn next_within(&mut self, time: Duration) -> Option<Value> {
        timeout(time, self.next()).await.ok()
    }

    /// The code that the socket is closed with, after whatever else comes; none when the connection just breaks.
    pub async fn close_code(&mut self) -> Option<u16> {
        loop {
            match timeout(PATIENCE, self.stream.next()).await.expect("an end in time")? {
                Ok(Message::Close(frame)) => return frame.map(|frame| frame.code.into()),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }

    /// Whether nothing comes for a while.
    pub async fn is_silent(&mut self, time: Duration) -> bool {
        timeout(time, self.stream.next()).await.is_err()
    }
}

/// The request that opens a socket.
fn upgrade(url: &str) -> Request {
    let mut request = format!("{}/graphql", url.replace("http://", "ws://")).into_client_request().expect("an address");
    request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse().expect("plain"));
    request
}

fn greeting(token: Option<&str>) -> Value {
    let payload = token.map_or(json!({}), |token| json!({ "Authorization": format!("Bearer {token}") }));
    json!({ "type": "connection_init", "payload": payload })
}

fn subscribe(query: &str, variables: Value) -> Value {
    json!({ "id": "1", "type": "subscribe", "payload": { "query": query, "variables": variables } })
}
