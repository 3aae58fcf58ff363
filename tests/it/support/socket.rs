//! A graphql-transport-ws client: with one subscription, or saying whatever a test wants said.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{self, Message, client::IntoClientRequest, handshake::client::Request},
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

    /// Connects with other headers; a header that is empty is left out. Where no socket is opened, status and body say
    /// why.
    pub async fn attempt(url: &str, headers: &[(&'static str, &str)]) -> Result<Self, (u16, Value)> {
        let mut request = upgrade(url);
        for (name, value) in headers {
            if value.is_empty() {
                request.headers_mut().remove(*name);
            } else {
                request.headers_mut().insert(*name, value.parse().expect("a header"));
            }
        }
        match timeout(PATIENCE, tokio_tungstenite::connect_async(request)).await.expect("an answer") {
            Ok((stream, _)) => Ok(Self { stream }),
            Err(tungstenite::Error::Http(response)) => {
                let body = response.body().as_deref().unwrap_or_default();
                Err((response.status().as_u16(), serde_json::from_slice(body).expect("JSON")))
            }
            Err(error) => panic!("{error}"),
        }
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

    /// Connects and greets with the token.
    pub async fn greeted(url: &str, token: Option<&str>) -> Self {
        let mut socket = Self::connect(url).await;
        socket.greet(token).await;
        socket
    }

    /// Greets with the token.
    pub async fn greet(&mut self, token: Option<&str>) {
        self.send(greeting(token)).await;
        let ack = self.message().await;
        assert_eq!(ack["type"], "connection_ack", "{ack}");
    }

    /// Greets with the token and subscribes.
    pub async fn begin(&mut self, token: Option<&str>, query: &str, variables: Value) {
        self.greet(token).await;
        self.send(subscribe(query, variables)).await;
    }

    /// Begins an operation.
    pub async fn start(&mut self, id: &str, query: &str) {
        self.send(json!({ "id": id, "type": "subscribe", "payload": { "query": query } })).await;
    }

    /// Sends anything; false when the node has hung up.
    pub async fn say(&mut self, message: Message) -> bool {
        self.stream.send(message).await.is_ok()
    }

    /// A ping and what is answered to it, after whatever else comes.
    pub async fn ping(&mut self, payload: Value) -> Value {
        self.send(json!({ "type": "ping", "payload": payload })).await;
        loop {
            let message = self.message().await;
            if message["type"] == "pong" {
                return message;
            }
        }
    }

    async fn try_send(&mut self, message: Value) -> Option<()> {
        self.stream.send(Message::text(message.to_string())).await.ok()
    }

    pub async fn send(&mut self, message: Value) {
        self.stream.send(Message::text(message.to_string())).await.expect("the socket is open");
    }

    /// The next message; none when the socket is closed or broken.
    pub async fn try_message(&mut self) -> Option<Value> {
        self.message_or_close().await.ok()
    }

    /// The next message, or the code and reason of the close; none of them when the connection just breaks.
    pub async fn message_or_close(&mut self) -> Result<Value, Option<(u16, String)>> {
        loop {
            match timeout(PATIENCE, self.stream.next()).await.expect("a message in time") {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).expect("JSON")),
                Some(Ok(Message::Close(frame))) => {
                    return Err(frame.map(|frame| (frame.code.into(), frame.reason.to_string())));
                }
                Some(Ok(_)) => {}
                None | Some(Err(_)) => return Err(None),
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
        self.closed().await.map(|(code, _)| code)
    }

    /// As `close_code`, with the reason.
    pub async fn closed(&mut self) -> Option<(u16, String)> {
        loop {
            if let Err(closed) = self.message_or_close().await {
                return closed;
            }
        }
    }

    /// Whether nothing but WebSocket's own pings comes until so many of them have.
    pub async fn is_silent_after_pings(&mut self, mut pings: usize) -> bool {
        while pings > 0 {
            match timeout(PATIENCE, self.stream.next()).await.expect("a ping in time") {
                Some(Ok(Message::Ping(_))) => pings -= 1,
                _ => return false,
            }
        }
        true
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
