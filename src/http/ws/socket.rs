//! One socket: a single task over what comes in, what its operations say, and what time brings.
//!
//! # Decisions
//! - Everything that is ready is written, then flushed once: under load the kernel's sends are half of the cost.
//! - We ask for signs of life by Ping frames of WebSocket itself, not by the protocol's own `ping`: every client answers
//!   those beneath its code, browsers as well, also with keep-alive off.
//! - A greeting and a renewal are waited for in place: a socket has nothing better to do, and messages stay in order.

use std::{ops::ControlFlow, pin::Pin, time::Duration};

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::{
    operations::{Operations, Output},
    protocol::{self, Close, Inbound, OperationId},
};
use crate::{
    auth::AuthError,
    graphql::execution::Caller,
    http::{
        Edge, errors,
        parameters::Parameters,
        request_id::RequestId,
        tenure::{Tenure, Turn},
    },
};

/// Operations of one socket.
const OPERATIONS_MAX: usize = 50;
/// How much is written, and how long, before what comes in and what time brings get their turn: a client that reads one
/// byte at a time must not outlive its credential.
const WRITE_BYTES: usize = 64 * 1024;
const WRITE_TIME: Duration = Duration::from_secs(1);
/// How long a client may take to answer our good-bye.
const GOOD_BYE: Duration = Duration::from_secs(2);

/// A socket, from its upgrade to its end.
pub(super) struct Socket {
    edge: Edge,
    stream: WebSocket,
    tenure: Tenure,
    operations: Operations,
    /// The upgrade's credential, for a greeting without one.
    authorization: Option<String>,
    id: RequestId,
    is_greeted: bool,
    /// Set while what runs is still waited for.
    leaving: Option<Close>,
    /// Until the greeting, then until the next look at whether the client lives.
    timer: Pin<Box<Sleep>>,
    /// Whether something came since the last look.
    is_heard: bool,
    /// How many looks found nothing.
    silence: u32,
}

/// Why a socket ends.
enum End {
    /// With a good-bye.
    Close(Close),
    /// The client is gone.
    Gone,
}

type Flow = ControlFlow<End>;

const CONTINUE: Flow = ControlFlow::Continue(());

const fn close(close: Close) -> Flow {
    ControlFlow::Break(End::Close(close))
}

enum Event {
    Inbound(Option<Result<Message, axum::Error>>),
    Output(OperationId, Output),
    Turn(Turn),
    Timer,
}

impl Socket {
    pub fn new(edge: Edge, stream: WebSocket, tenure: Tenure, authorization: Option<String>, id: RequestId) -> Self {
        let timer = Box::pin(sleep(edge.pace.greeting));
        let operations = Operations::new(id.clone());
        let (is_greeted, leaving, is_heard, silence) = (false, None, false, 0);
        Self { edge, stream, tenure, operations, authorization, id, is_greeted, leaving, timer, is_heard, silence }
    }

    /// Serves the client until one of both ends it.
    pub async fn run(mut self) {
        let end = loop {
            if let ControlFlow::Break(end) = self.step().await {
                break end;
            }
        };
        let End::Close(close) = end else { return };
        self.operations = Operations::new(self.id);
        let frame = CloseFrame { code: close.code, reason: close.reason().into() };
        let good_bye = async {
            if self.stream.send(Message::Close(Some(frame))).await.is_ok() {
                // Until the client has answered: what is unread when a connection is closed resets it.
                while let Some(Ok(_)) = self.stream.next().await {}
            }
        };
        // A client that is gone needs no good-bye.
        let _ = timeout(GOOD_BYE, good_bye).await;
    }

    async fn step(&mut self) -> Flow {
        if let Some(close) = &self.leaving {
            self.operations.end_subscriptions();
            if self.operations.is_empty() {
                return ControlFlow::Break(End::Close(close.clone()));
            }
        }
        let event = tokio::select! {
            inbound = self.stream.next() => Event::Inbound(inbound),
            (id, output) = self.operations.next() => Event::Output(id, output),
            turn = self.tenure.turn(), if self.leaving.is_none() => Event::Turn(turn),
            () = &mut self.timer => Event::Timer,
        };
        match event {
            Event::Inbound(Some(Ok(message))) => self.hear(message).await,
            Event::Inbound(Some(Err(error))) => unreadable(error),
            Event::Inbound(None) => ControlFlow::Break(End::Gone),
            Event::Output(id, output) => self.deliver(id, output).await,
            Event::Turn(turn) => self.turn(turn),
            Event::Timer => self.look().await,
        }
    }

    async fn hear(&mut self, message: Message) -> Flow {
        self.is_heard = true;
        let text = match &message {
            Message::Text(text) => text.as_str(),
            Message::Binary(_) => return close(Close::bad_message("messages are text")),
            // WebSocket's own, answered beneath.
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => return CONTINUE,
        };
        match Inbound::parse(text) {
            Ok(Inbound::ConnectionInit(_)) if self.is_greeted => close(Close::GREETED_TWICE),
            Ok(Inbound::ConnectionInit(payload)) => self.greet(&payload).await,
            Ok(Inbound::Ping(payload)) => self.pong(&payload).await,
            Ok(Inbound::Pong) => CONTINUE,
            Ok(Inbound::Subscribe(_, _)) if !self.is_greeted => close(Close::UNGREETED),
            Ok(Inbound::Subscribe(id, parameters)) => self.subscribe(id, *parameters),
            Ok(Inbound::Complete(id)) => {
                self.operations.end(&id);
                CONTINUE
            }
            Err(fault) => close(fault),
        }
    }

    async fn greet(&mut self, payload: &Map<String, Value>) -> Flow {
        let authorization = protocol::credential(payload).or_else(|| self.authorization.take());
        let authenticating = self.edge.api.services.access.authenticate(authorization.as_deref());
        let viewer = match Box::pin(authenticating).await {
            Ok(viewer) => viewer,
            Err(AuthError::Expired) => return close(Close::forbidden("token expired")),
            Err(AuthError::Invalid) => return close(Close::forbidden("invalid credential")),
            Err(error @ (AuthError::Unavailable | AuthError::Store(_))) => {
                tracing::warn!(%error, "a credential could not be looked up");
                return close(Close::overloaded("credentials cannot be looked up at the moment"));
            }
        };
        if let Err(full) = self.tenure.settle(viewer) {
            return close(Close::overloaded(full.reason()));
        }
        self.is_greeted = true;
        self.authorization = None;
        self.timer.as_mut().reset(Instant::now() + self.edge.pace.ping);
        self.send(protocol::connection_ack()).await
    }

    /// Answers a ping; one with a credential renews the viewer.
    async fn pong(&mut self, payload: &Map<String, Value>) -> Flow {
        let Some(authorization) = protocol::credential(payload).filter(|_| self.is_greeted) else {
            return self.send(protocol::pong(None)).await;
        };
        let payload = match Box::pin(self.tenure.renew(&authorization)).await {
            Ok(renewed) => {
                let expires_at = renewed.expires_at;
                self.operations.continue_as(renewed);
                json!({ "expiresAt": expires_at })
            }
            Err(error) => {
                let error = errors::of_service(error, &self.id);
                let code = error.extensions.as_ref().and_then(|extensions| extensions.get("code"));
                json!({ "error": { "code": code, "message": error.message } })
            }
        };
        self.send(protocol::pong(Some(payload))).await
    }

    fn subscribe(&mut self, id: OperationId, parameters: Parameters) -> Flow {
        if self.operations.contains(&id) {
            return close(Close::taken(id.as_json()));
        }
        if self.operations.len() >= OPERATIONS_MAX {
            return close(Close::overloaded("too many operations on this socket"));
        }
        let request = match parameters.into_request() {
            Ok(request) => request,
            Err(fault) => return close(Close::bad_message(fault)),
        };
        // Its client is about to be sent elsewhere, and asks again there.
        if self.leaving.is_none() {
            // Beside what is live, the newest is wanted.
            let (viewer, client) = (self.tenure.viewer().cloned(), self.tenure.client().to_string());
            let caller = Caller { viewer, client, may_lag: false };
            self.operations.begin(id, self.edge.api.clone(), request, caller);
        }
        CONTINUE
    }

    fn turn(&mut self, turn: Turn) -> Flow {
        match turn {
            Turn::Expired => close(Close::forbidden("token expired")),
            Turn::Revoked => close(Close::forbidden("credential revoked")),
            Turn::Changed(viewer) => {
                self.operations.continue_as(viewer);
                CONTINUE
            }
            Turn::Leave(departure) => {
                self.leaving = Some(Close::leave(departure.reason()));
                CONTINUE
            }
        }
    }

    /// Looks whether the client greets in time, and later whether it lives.
    async fn look(&mut self) -> Flow {
        if !self.is_greeted {
            return close(Close::GREETING_TIMEOUT);
        }
        self.timer.as_mut().reset(Instant::now() + self.edge.pace.ping);
        if std::mem::take(&mut self.is_heard) {
            self.silence = 0;
            return CONTINUE;
        }
        self.silence += 1;
        if self.silence > 2 {
            return ControlFlow::Break(End::Gone);
        }
        gone_if(self.stream.send(Message::Ping(bytes::Bytes::new())).await)
    }

    /// Writes what an operation says, and whatever else is ready.
    async fn deliver(&mut self, id: OperationId, output: Output) -> Flow {
        let mut said = Some((id, output));
        let (mut written, began) = (0, Instant::now());
        while let Some((id, output)) = said {
            let (message, end) = match output {
                Output::Begun => (None, None),
                Output::Next(payload) => (Some(protocol::next(&id, &payload)), None),
                Output::Answer(payload) => (Some(protocol::next(&id, &payload)), Some(protocol::complete(&id))),
                Output::Error(errors) => (Some(protocol::error(&id, &errors)), None),
                Output::Complete => (Some(protocol::complete(&id)), None),
                Output::TooSlow => {
                    return close(Close::overloaded("too slow; connect again with the last cursor"));
                }
                Output::Expired => return close(Close::forbidden("token expired")),
            };
            for message in [message, end].into_iter().flatten() {
                written += message.len();
                let text = Utf8Bytes::try_from(message).expect("JSON is UTF-8");
                if self.stream.feed(Message::Text(text)).await.is_err() {
                    return ControlFlow::Break(End::Gone);
                }
            }
            let goes_on = written < WRITE_BYTES && began.elapsed() < WRITE_TIME;
            said = if goes_on { self.operations.ready().await } else { None };
        }
        gone_if(self.stream.flush().await)
    }

    async fn send(&mut self, text: String) -> Flow {
        gone_if(self.stream.send(Message::text(text)).await)
    }
}

fn gone_if(sent: Result<(), axum::Error>) -> Flow {
    if sent.is_ok() { CONTINUE } else { ControlFlow::Break(End::Gone) }
}

/// What to make of a message that could not be read.
fn unreadable(error: axum::Error) -> Flow {
    match error.into_inner().downcast_ref::<tungstenite::Error>() {
        Some(tungstenite::Error::Capacity(_)) => close(Close::TOO_LARGE),
        Some(tungstenite::Error::Utf8(_)) => close(Close::NOT_UTF8),
        Some(tungstenite::Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake)) => {
            ControlFlow::Break(End::Gone)
        }
        Some(tungstenite::Error::Protocol(_)) => close(Close::PROTOCOL_ERROR),
        _ => ControlFlow::Break(End::Gone),
    }
}
