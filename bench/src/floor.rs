//! The floor: the least that a server can do to send the same bytes to everybody, to answer every query with the same
//! bytes, or to send everybody to the same place.
//! A process of its own, on the same HTTP and WebSocket crates, without GraphQL, database, identity or resume.

use std::{
    net::SocketAddr,
    sync::{Arc, RwLock},
};

use axum::{
    Router,
    extract::{
        State, WebSocketUpgrade,
        ws::{Message, Utf8Bytes, WebSocket},
    },
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::{
    net::TcpSocket,
    sync::broadcast::{self, error::RecvError},
};

use crate::BenchError;

type Frames = broadcast::Sender<Utf8Bytes>;
/// What every query is answered with.
type Answer = Arc<RwLock<Bytes>>;

#[derive(Clone)]
struct Shared {
    frames: Frames,
    answer: Answer,
}

/// Serves until it is killed.
///
/// # Errors
/// When no port is to be had.
pub async fn serve() -> Result<(), BenchError> {
    let shared = Shared { frames: broadcast::channel(4_096).0, answer: Answer::default() };
    let router = Router::new()
        .route("/graphql", get(upgrade).post(answer))
        .route("/answer", put(keep))
        .route("/publish", post(publish))
        .route("/c/{code}", get(redirect))
        .with_state(shared);
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    // As the node does: else a burst of connections is lost to both in turn.
    let listener = socket.listen(4_096)?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, router).await?;
    Ok(())
}

async fn publish(State(Shared { frames, .. }): State<Shared>, body: String) {
    // Nobody there is no fault.
    let _ = frames.send(body.into());
}

/// Answers every query like this from now on.
async fn keep(State(Shared { answer, .. }): State<Shared>, body: Bytes) -> StatusCode {
    match answer.write() {
        Ok(mut answer) => {
            *answer = body;
            StatusCode::NO_CONTENT
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Reads the query whole, and does not look at it.
async fn answer(State(Shared { answer, .. }): State<Shared>, _query: Bytes) -> Response {
    match answer.read() {
        Ok(answer) => ([("content-type", "application/json")], answer.clone()).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// As a tracking link answers, to everybody the same.
async fn redirect() -> Response {
    let headers = [
        ("location", "https://shop.example/?clickId=clk_01kah6t2k2fbdrfnzqmmrv3q6h"),
        ("cache-control", "no-store"),
        ("referrer-policy", "strict-origin-when-cross-origin"),
        ("set-cookie", "trb_v=00112233445566778899aabbccddeeff; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax"),
    ];
    (StatusCode::FOUND, headers).into_response()
}

async fn upgrade(State(Shared { frames, .. }): State<Shared>, upgrade: WebSocketUpgrade) -> Response {
    upgrade
        .read_buffer_size(2_048)
        .write_buffer_size(4_096)
        .protocols(["graphql-transport-ws"])
        .on_upgrade(move |socket| broadcast(socket, frames.subscribe()))
}

/// Sends every frame: all that are there, then one flush.
async fn broadcast(socket: WebSocket, mut frames: broadcast::Receiver<Utf8Bytes>) {
    let (mut sink, mut stream) = socket.split();
    loop {
        let frame = tokio::select! {
            frame = frames.recv() => frame,
            message = stream.next() => match message {
                Some(Ok(_)) => continue,
                _ => return,
            },
        };
        let Some(mut frame) = taken(frame) else { return };
        loop {
            if sink.feed(Message::Text(frame)).await.is_err() {
                return;
            }
            match frames.try_recv() {
                Ok(next) => frame = next,
                Err(_) => break,
            }
        }
        if sink.flush().await.is_err() {
            return;
        }
    }
}

/// A floor that loses frames would be no floor: it ends, and the client counts what is missing.
fn taken(frame: Result<Utf8Bytes, RecvError>) -> Option<Utf8Bytes> {
    frame.ok()
}
