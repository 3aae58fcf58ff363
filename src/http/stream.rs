//! Answers in parts over HTTP: one core for server-sent events and multipart, as a viewer's stream over time.

use std::{convert::Infallible, future::ready, time::Duration};

use async_graphql::ServerError;
use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::json;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::{
    errors,
    request_id::RequestId,
    sockets::Departure,
    tenure::{Tenure, Turn},
};
use crate::{
    graphql::live::{Delivery, Ended, Subscriber},
    services::ServiceError,
};

/// How a protocol writes the parts of an answer.
pub(super) trait Framing: Send + 'static {
    const CONTENT_TYPE: &'static str;

    /// Tells the client at once that it is connected.
    fn begin() -> Bytes;
    fn next(delivery: &Delivery) -> Bytes;
    /// Says that the connection lives.
    fn heartbeat() -> Bytes;
    /// There is nothing more to come.
    fn complete() -> Bytes;
    /// It ends for good for this credential or document; `errors` is JSON.
    fn fail(errors: &str) -> Bytes;
    /// It ends here; the client should come back.
    fn cut(errors: &str) -> Bytes;
}

/// An answer in one part, and the end.
pub(super) fn single<F: Framing>(payload: Bytes) -> Response {
    let next = F::next(&Delivery { payload, cursor: None });
    response::<F>(Body::from([F::begin(), next, F::complete()].concat()))
}

/// The answers of a subscription.
pub(super) fn live<F: Framing>(subscriber: Subscriber, tenure: Tenure, heartbeat: Duration, id: RequestId) -> Response {
    let mut heartbeat = interval_at(Instant::now() + heartbeat, heartbeat);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let live = Live { subscriber: Some(subscriber), tenure, heartbeat, id };
    let begin = stream::once(ready(Ok::<_, Infallible>(F::begin())));
    let parts = stream::unfold(live, async |mut live| {
        let part = live.part::<F>().await?;
        Some((Ok(part), live))
    });
    response::<F>(Body::from_stream(begin.chain(parts)))
}

fn response<F: Framing>(body: Body) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(F::CONTENT_TYPE)),
        // Proxies that gather answers would hold the stream back.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    (headers, body).into_response()
}

struct Live {
    /// None when it has ended.
    subscriber: Option<Subscriber>,
    tenure: Tenure,
    heartbeat: Interval,
    id: RequestId,
}

enum Event {
    Turn(Turn),
    Delivery(Option<Result<Delivery, Ended>>),
    Heartbeat,
}

impl Live {
    async fn part<F: Framing>(&mut self) -> Option<Bytes> {
        loop {
            let subscriber = self.subscriber.as_mut()?;
            let event = tokio::select! {
                turn = self.tenure.turn() => Event::Turn(turn),
                delivery = subscriber.next() => Event::Delivery(delivery),
                _ = self.heartbeat.tick() => Event::Heartbeat,
            };
            return Some(match event {
                Event::Heartbeat => F::heartbeat(),
                Event::Delivery(Some(Ok(delivery))) => F::next(&delivery),
                Event::Delivery(Some(Err(Ended::TooSlow))) => {
                    self.cut::<F>("TOO_SLOW", "the client reads too slowly; connect again with the last cursor")
                }
                Event::Delivery(None) => {
                    self.subscriber = None;
                    F::complete()
                }
                Event::Delivery(Some(Err(Ended::Expired))) | Event::Turn(Turn::Expired) => {
                    self.fail::<F>(&[self.error(ServiceError::TokenExpired)])
                }
                Event::Turn(Turn::Revoked) => self.fail::<F>(&[self.error(ServiceError::Unauthenticated)]),
                Event::Turn(Turn::Leave(departure)) => {
                    let code = match departure {
                        Departure::Draining => "DRAINING",
                        Departure::Age => "CONNECTION_AGE",
                    };
                    self.cut::<F>(code, departure.reason())
                }
                Event::Turn(Turn::Changed(viewer)) => match self.subscriber.take()?.continue_as(viewer).await {
                    Ok(subscriber) => {
                        self.subscriber = Some(subscriber);
                        continue;
                    }
                    Err(mut refusal) => {
                        refusal.errors.iter_mut().for_each(|error| errors::name_request(error, &self.id));
                        self.fail::<F>(&refusal.errors)
                    }
                },
            });
        }
    }

    fn error(&self, error: ServiceError) -> ServerError {
        errors::of_service(error, &self.id)
    }

    fn fail<F: Framing>(&mut self, errors: &[ServerError]) -> Bytes {
        self.subscriber = None;
        F::fail(&serde_json::to_string(errors).expect("errors are plain data"))
    }

    fn cut<F: Framing>(&mut self, code: &str, message: &str) -> Bytes {
        self.subscriber = None;
        let extensions = json!({ "code": code, "requestId": self.id.text });
        F::cut(&json!([{ "message": message, "extensions": extensions }]).to_string())
    }
}
