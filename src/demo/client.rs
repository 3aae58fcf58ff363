//! A client of the public API, as anybody could write one: GraphQL by HTTP, with retries that idempotency keys make
//! safe.
//!
//! Documents name the answer `answer` and, in mutations, the object `object`, so that one shape reads them all.

use std::time::Duration;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// How often a call is made before it is given up.
const ATTEMPTS: u32 = 100;
/// How long to wait where the server names no time.
const PAUSE: Duration = Duration::from_millis(250);

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("the API cannot be reached: {0}")]
    Http(#[from] reqwest::Error),
    #[error("the API refused a request: {0}")]
    Refused(String),
    #[error("the API had no time for a request in {ATTEMPTS} attempts")]
    Busy,
}

/// Calls one server with one token.
pub struct Client {
    http: reqwest::Client,
    url: String,
    token: String,
}

#[derive(Serialize)]
struct Request<'a, V> {
    query: &'a str,
    variables: &'a V,
}

#[derive(Deserialize)]
struct Response<T> {
    data: Option<T>,
    #[serde(default)]
    errors: Vec<TopLevel>,
}

#[derive(Deserialize)]
struct TopLevel {
    message: String,
    #[serde(default)]
    extensions: Extensions,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Extensions {
    code: Option<String>,
    retry_after_ms: Option<u64>,
}

/// A document's `answer`.
#[derive(Deserialize)]
pub struct Answer<T> {
    pub answer: T,
}

/// A mutation's payload.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Payload<T> {
    pub object: Option<T>,
    #[serde(default)]
    pub replayed: bool,
    pub user_errors: Vec<UserError>,
}

/// A batch mutation's payload.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Batch<T> {
    items: Vec<Payload<T>>,
    user_errors: Vec<UserError>,
}

/// Why an input was refused.
#[derive(Debug, Deserialize)]
pub struct UserError {
    code: String,
    field: Vec<String>,
    message: String,
}

impl UserError {
    fn told(&self) -> String {
        format!("{} at {}: {}", self.code, self.field.join("."), self.message)
    }
}

impl<T> Payload<T> {
    /// The object, and whether it is an earlier call's.
    ///
    /// # Errors
    /// [`ClientError::Refused`].
    pub fn done(self) -> Result<(T, bool), ClientError> {
        match (self.object, self.user_errors.first()) {
            (Some(object), None) => Ok((object, self.replayed)),
            (_, Some(error)) => Err(ClientError::Refused(error.told())),
            (None, None) => Err(ClientError::Refused("an answer without object and error".to_owned())),
        }
    }
}

#[derive(Serialize)]
struct Input<V> {
    input: V,
}

#[derive(Serialize)]
struct Items<'a, I> {
    items: &'a [I],
}

impl Client {
    pub fn new(url: String, token: String) -> Self {
        Self { http: reqwest::Client::new(), url, token }
    }

    /// The data of a document. A server that is busy or away is asked again; every mutation of the demo may be repeated.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn call<T, V>(&self, document: &str, variables: V) -> Result<T, ClientError>
    where
        T: DeserializeOwned,
        V: Serialize,
    {
        for _ in 0..ATTEMPTS {
            let request = Request { query: document, variables: &variables };
            let sent = self.http.post(&self.url).bearer_auth(&self.token).json(&request).send().await;
            let response: Response<T> = match sent {
                Ok(response) => response.json().await?,
                // A kept connection that ends as it is used again.
                Err(error) if error.is_request() => {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            match (response.data, response.errors.first()) {
                (Some(data), None) => return Ok(data),
                (_, Some(error)) => match error.extensions.code.as_deref() {
                    Some("OVERLOADED" | "UNAVAILABLE" | "RATE_LIMITED") => {
                        let pause = error.extensions.retry_after_ms.map_or(PAUSE, Duration::from_millis);
                        tokio::time::sleep(pause).await;
                    }
                    code => {
                        let code = code.unwrap_or("no code");
                        return Err(ClientError::Refused(format!("{} ({code})", error.message)));
                    }
                },
                (None, None) => return Err(ClientError::Refused("an answer without data and error".to_owned())),
            }
        }
        Err(ClientError::Busy)
    }

    /// A query's `answer`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn query<T: DeserializeOwned>(
        &self,
        document: &str,
        variables: impl Serialize,
    ) -> Result<T, ClientError> {
        Ok(self.call::<Answer<T>, _>(document, variables).await?.answer)
    }

    /// A mutation's object, and whether it is an earlier call's.
    ///
    /// # Errors
    /// [`ClientError`], also for a refused input.
    pub async fn mutate<T: DeserializeOwned>(
        &self,
        document: &str,
        input: impl Serialize,
    ) -> Result<(T, bool), ClientError> {
        self.query::<Payload<T>>(document, Input { input }).await?.done()
    }

    /// A batch mutation's objects in the order of the items, each with whether it is an earlier call's.
    ///
    /// # Errors
    /// [`ClientError`], also when one item is refused.
    pub async fn mutate_batch<T: DeserializeOwned>(
        &self,
        document: &str,
        items: &[impl Serialize],
    ) -> Result<Vec<(T, bool)>, ClientError> {
        for _ in 0..ATTEMPTS {
            let batch: Batch<T> = self.query(document, Input { input: Items { items } }).await?;
            if let Some(error) = batch.user_errors.first() {
                return Err(ClientError::Refused(error.told()));
            }
            let away = |item: &Payload<T>| item.user_errors.iter().any(|error| error.code == "UNAVAILABLE");
            if batch.items.iter().any(away) {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            if batch.items.len() != items.len() {
                return Err(ClientError::Refused("another number of answers than items".to_owned()));
            }
            return batch.items.into_iter().map(Payload::done).collect();
        }
        Err(ClientError::Busy)
    }
}
