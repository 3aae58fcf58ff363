//! Calls to processors: bounded in time and size, redirects not followed, and told apart by what they leave open.

use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, StatusCode, redirect};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::CallError;

/// A page of a hundred transactions has some hundred kilobytes.
const BODY_MAX_BYTES: usize = 4 << 20;
/// What of an answer's own words is told.
const WORDS_MAX: usize = 300;

/// The client; cheap to clone.
#[derive(Clone)]
pub(super) struct Http(Client);

/// An answer, whatever its status.
pub(super) struct Answer {
    pub status: StatusCode,
    pub body: Vec<u8>,
}

impl Http {
    pub(super) fn new(patience: Duration) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .connect_timeout(patience.min(Duration::from_secs(5)))
            .timeout(patience)
            .user_agent(concat!("tributary/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self(client))
    }

    pub(super) fn request(&self, method: Method, url: String) -> RequestBuilder {
        self.0.request(method, url)
    }
}

/// Sends a request, and reads all of its answer.
///
/// # Errors
/// `NotDone` when no connection was made; `Unknown` for whatever goes wrong later.
pub(super) async fn send(request: RequestBuilder) -> Result<Answer, CallError> {
    let mut response = request.send().await.map_err(|error| {
        // The address is left out: nothing of it is news, and a query may hold what is not for logs.
        let error = error.without_url();
        if error.is_connect() { CallError::NotDone(error.to_string()) } else { CallError::Unknown(error.to_string()) }
    })?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) =
        response.chunk().await.map_err(|error| CallError::Unknown(error.without_url().to_string()))?
    {
        if body.len() + chunk.len() > BODY_MAX_BYTES {
            return Err(CallError::Unknown(format!("answered more than {BODY_MAX_BYTES} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, body })
}

impl Answer {
    /// The body of a success.
    ///
    /// # Errors
    /// By the status: `NotDone` for credentials and rate limits; `Unknown` for conflicts of the same key; `Refused` for any
    /// other of 4xx; `Unknown` for the rest, and for a body that is not as documented.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, CallError> {
        if self.status.is_success() {
            return serde_json::from_slice(&self.body)
                .map_err(|error| CallError::Unknown(format!("answered what cannot be read: {error}")));
        }
        Err(self.refusal())
    }

    pub(super) fn refusal(&self) -> CallError {
        let words = format!("{}: {}", self.status.as_u16(), self.words());
        match self.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS => {
                CallError::NotDone(words)
            }
            // Another call under the same key is under way; something behind the processor failed.
            StatusCode::CONFLICT
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::TOO_EARLY
            | StatusCode::FAILED_DEPENDENCY => CallError::Unknown(words),
            status if status.is_client_error() => CallError::Refused(words),
            _ => CallError::Unknown(words),
        }
    }

    /// What an error says for people: the message of Stripe, PayPal, or Wise.
    fn words(&self) -> String {
        let value: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let found = [&value["error"]["message"], &value["message"], &value["errors"][0]["message"]];
        let words = found.into_iter().find_map(Value::as_str).unwrap_or("no reason given");
        words.chars().filter(|char| !char.is_control()).take(WORDS_MAX).collect()
    }
}

/// A query, or a form.
pub(super) fn encoded(pairs: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// For questions that change nothing: an answer of any kind but success leaves the question open.
pub(super) fn asked<T>(answer: Result<T, CallError>) -> Result<T, CallError> {
    answer.map_err(|error| match error {
        CallError::Refused(words) => CallError::Unknown(words),
        error => error,
    })
}
