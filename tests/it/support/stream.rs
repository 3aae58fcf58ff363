//! A client of answers in parts over HTTP: it keeps what has come, and waits for what must.

use std::time::Duration;

use futures_util::{Stream, StreamExt};
use reqwest::{RequestBuilder, Response};
use serde_json::Value;
use tokio::time::timeout;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// An answer that comes in parts.
pub struct Parts {
    pub content_type: String,
    chunks: std::pin::Pin<Box<dyn Stream<Item = reqwest::Result<bytes::Bytes>> + Send>>,
    text: String,
    separator: &'static str,
}

/// One server-sent event.
#[derive(Debug, Default, PartialEq)]
pub struct Event {
    pub name: String,
    pub data: String,
    pub id: Option<String>,
}

impl Event {
    /// The payload of a `next`.
    pub fn payload(&self) -> Value {
        assert_eq!(self.name, "next", "{self:?}");
        serde_json::from_str(&self.data).expect("JSON")
    }
}

/// Sends a request that is answered with status 200 and a type.
pub async fn open(request: RequestBuilder, media_type: &str) -> Response {
    let response = request.send().await.expect("an answer");
    let content_type = response.headers()["content-type"].to_str().expect("text");
    assert!(response.status() == 200 && content_type.starts_with(media_type), "{} {content_type}", response.status());
    response
}

impl Parts {
    /// Reads an answer whose parts end with a text.
    pub fn of(response: Response, separator: &'static str) -> Self {
        let content_type = response.headers()["content-type"].to_str().expect("text").to_owned();
        Self { content_type, chunks: Box::pin(response.bytes_stream()), text: String::new(), separator }
    }

    /// The next part without its separator; none at the end, behind which there is nothing.
    pub async fn part(&mut self) -> Option<String> {
        loop {
            if let Some((part, rest)) = self.text.split_once(self.separator) {
                let part = part.to_owned();
                self.text = rest.to_owned();
                return Some(part);
            }
            match timeout(PATIENCE, self.chunks.next()).await.expect("a part in time") {
                Some(chunk) => self.text.push_str(std::str::from_utf8(&chunk.expect("readable")).expect("text")),
                None => return None,
            }
        }
    }

    /// What stands behind the last separator.
    pub fn rest(&self) -> &str {
        &self.text
    }

    /// The next event of an event stream that is no heartbeat; none at the end.
    pub async fn event(&mut self) -> Option<Event> {
        loop {
            let part = self.part().await?;
            let mut event = Event::default();
            for line in part.lines().filter(|line| !line.starts_with(':')) {
                let (field, value) = line.split_once(':').expect("a field");
                let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
                match field {
                    "event" => event.name = value,
                    "data" => event.data = value,
                    "id" => event.id = Some(value),
                    other => panic!("a field `{other}`"),
                }
            }
            if !event.name.is_empty() {
                return Some(event);
            }
        }
    }
}
