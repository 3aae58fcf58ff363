//! Fetches a provider's key set: bounded in size and time, from where the settings say and nowhere else.
//!
//! # Decisions
//! - Redirects are not followed: a key set is at its address, and whoever can bend one must not choose our keys.

use std::time::Duration;

use reqwest::{Client, Response, header, redirect};
use serde::Deserialize;

use super::key::VerifyingKey;
use crate::config::identity::{IdentityProvider, may_fetch};

/// A key set of many keys with certificate chains has some tens of kilobytes.
const BODY_MAX_BYTES: usize = 256 * 1024;
/// Of one request.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long a set is used when the provider does not say.
const DEFAULT_LIFE: Duration = Duration::from_secs(600);
/// Bounds on what the provider says: it is not to be asked all the time, and a key that it withdrew is not to be good
/// for days.
const LIFE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3_600));

/// A key set as the provider has it now.
#[derive(Clone)]
pub(super) struct KeySet {
    pub keys: Vec<VerifyingKey>,
    /// How long it may be used unasked.
    pub life: Duration,
}

/// Why there is no key set.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("{0}")]
    Http(#[from] reqwest::Error),
    #[error("answered {0}")]
    Status(reqwest::StatusCode),
    #[error("answered more than {BODY_MAX_BYTES} bytes")]
    TooLarge,
    #[error("answered what is no {0}")]
    Garbage(&'static str),
    #[error("the discovery document is another issuer's")]
    OtherIssuer,
    #[error("the discovery document names no address that keys may be fetched from")]
    NoAddress,
    #[error("no key of the set is of use")]
    NoKeys,
    #[error("no answer in time")]
    TimedOut,
}

/// Where a provider's keys are.
pub(super) struct Source {
    http: Client,
    issuer: String,
    jwks_url: Option<String>,
    development: bool,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<serde_json::Value>,
}

impl Source {
    pub(super) fn new(provider: &IdentityProvider, development: bool) -> Result<Self, reqwest::Error> {
        let http = Client::builder()
            .redirect(redirect::Policy::none())
            .timeout(PATIENCE)
            .user_agent(concat!("tributary/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { http, issuer: provider.issuer.clone(), jwks_url: provider.jwks_url.clone(), development })
    }

    /// Fetches the set, by discovery where no address is set.
    pub(super) async fn fetch(&self) -> Result<KeySet, FetchError> {
        let discovered;
        let url = match &self.jwks_url {
            Some(url) => url,
            None => {
                discovered = self.discover().await?;
                &discovered
            }
        };
        let response = self.get(url).await?;
        let life = life(response.headers());
        let set: Jwks = serde_json::from_slice(&body(response).await?).map_err(|_| FetchError::Garbage("key set"))?;
        // Keys of other uses and kinds, also of kinds that are yet to come, do not spoil the set.
        let keys: Vec<_> = set.keys.into_iter().filter_map(VerifyingKey::read).collect();
        if keys.is_empty() { Err(FetchError::NoKeys) } else { Ok(KeySet { keys, life }) }
    }

    async fn discover(&self) -> Result<String, FetchError> {
        let url = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let body = body(self.get(&url).await?).await?;
        let found: Discovery = serde_json::from_slice(&body).map_err(|_| FetchError::Garbage("discovery document"))?;
        if found.issuer != self.issuer {
            return Err(FetchError::OtherIssuer);
        }
        if may_fetch(&found.jwks_uri, self.development) { Ok(found.jwks_uri) } else { Err(FetchError::NoAddress) }
    }

    async fn get(&self, url: &str) -> Result<Response, FetchError> {
        let response = self.http.get(url).header(header::ACCEPT, "application/json").send().await?;
        if response.status() == reqwest::StatusCode::OK {
            Ok(response)
        } else {
            Err(FetchError::Status(response.status()))
        }
    }
}

async fn body(mut response: Response) -> Result<Vec<u8>, FetchError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > BODY_MAX_BYTES {
            return Err(FetchError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// `max-age` of `Cache-Control`, within bounds.
fn life(headers: &header::HeaderMap) -> Duration {
    let control = headers.get(header::CACHE_CONTROL).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let directives = || control.split(',').map(str::trim);
    if directives().any(|directive| matches!(directive, "no-store" | "no-cache")) {
        return LIFE.0;
    }
    let max_age = directives().find_map(|directive| directive.strip_prefix("max-age=")?.parse().ok());
    max_age.map_or(DEFAULT_LIFE, Duration::from_secs).clamp(LIFE.0, LIFE.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers_say_how_long_within_bounds() {
        let secs = |text: &'static str| {
            let value = header::HeaderValue::from_static(text);
            life(&[(header::CACHE_CONTROL, value)].into_iter().collect()).as_secs()
        };
        assert_eq!(life(&header::HeaderMap::new()), DEFAULT_LIFE);
        assert_eq!(secs("public, max-age=900"), 900);
        assert_eq!((secs("max-age=1"), secs("no-store"), secs("max-age=99999999")), (60, 60, 3_600));
        assert_eq!((secs("max-age=soon"), secs("max-age=-1"), secs("public")), (600, 600, 600));
    }
}
