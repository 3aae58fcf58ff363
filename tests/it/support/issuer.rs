//! An identity provider of a test: keys, a key set by HTTP that can misbehave, and tokens, good and bad.

use std::{
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use p256::pkcs8::EncodePrivateKey;
use rsa::{pkcs1::EncodeRsaPrivateKey, rand_core::OsRng};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};
use tributary::config::identity::IdentityProvider;

/// One RSA key for all tests: they are slow to make.
static RSA: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let key = rsa::RsaPrivateKey::new(&mut OsRng, 2_048).expect("a key");
    key.to_pkcs1_der().expect("encodes").as_bytes().to_vec()
});

/// A key that signs.
#[derive(Clone)]
pub struct SigningKey {
    pub kid: String,
    pub algorithm: Algorithm,
    pub key: EncodingKey,
}

impl SigningKey {
    pub fn new(kid: &str, algorithm: Algorithm) -> Self {
        let key = match algorithm {
            Algorithm::RS256 | Algorithm::PS256 => EncodingKey::from_rsa_der(&RSA),
            Algorithm::ES256 => {
                let key = p256::SecretKey::random(&mut OsRng).to_pkcs8_der().expect("encodes");
                EncodingKey::from_ec_der(key.as_bytes())
            }
            // RFC 8410: the seed behind a constant.
            Algorithm::EdDSA => {
                let seed = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()].map(uuid::Uuid::into_bytes).concat();
                let begin = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
                EncodingKey::from_ed_der(&[&begin[..], &seed].concat())
            }
            other => panic!("{other:?}"),
        };
        Self { kid: kid.to_owned(), algorithm, key }
    }

    /// The public half, as key sets have it.
    pub fn public(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.key, self.algorithm).expect("a public key");
        jwk.common.key_id = Some(self.kid.clone());
        let mut jwk = serde_json::to_value(jwk).expect("serializes");
        jwk["use"] = json!("sig");
        jwk
    }

    pub fn header(&self) -> Header {
        Header { kid: Some(self.kid.clone()), ..Header::new(self.algorithm) }
    }

    pub fn sign(&self, claims: &Value) -> String {
        self.sign_as(&self.header(), claims)
    }

    pub fn sign_as(&self, header: &Header, claims: &Value) -> String {
        jsonwebtoken::encode(header, claims, &self.key).expect("signs")
    }
}

/// How the provider answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Well,
    Down,
    /// Never, within a test's patience.
    Slow,
    Garbage,
    Huge,
    Redirect,
}

struct Desk {
    url: String,
    keys: Mutex<Vec<Value>>,
    mood: Mutex<Mood>,
    fetches: AtomicUsize,
}

/// A running provider.
pub struct Issuer {
    pub url: String,
    desk: Arc<Desk>,
    server: JoinHandle<()>,
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Issuer {
    pub async fn start(keys: &[&SigningKey]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let desk = Arc::new(Desk {
            url: url.clone(),
            keys: Mutex::default(),
            mood: Mutex::new(Mood::Well),
            fetches: AtomicUsize::new(0),
        });
        let router = Router::new()
            .route("/keys", get(answer))
            .route("/elsewhere", get(honest))
            .route("/.well-known/openid-configuration", get(discovery))
            .with_state(Arc::clone(&desk));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("serves") });
        let issuer = Self { url, desk, server };
        issuer.publish(keys);
        issuer
    }

    /// Replaces the key set.
    pub fn publish(&self, keys: &[&SigningKey]) {
        *self.desk.keys.lock().expect("not poisoned") = keys.iter().map(|key| key.public()).collect();
    }

    pub fn behave(&self, mood: Mood) {
        *self.desk.mood.lock().expect("not poisoned") = mood;
    }

    /// How often the key set was asked for.
    pub fn fetches(&self) -> usize {
        self.desk.fetches.load(Ordering::SeqCst)
    }

    /// Settings that take the provider's tokens for the tenant `home`.
    pub fn settings(&self) -> IdentityProvider {
        let settings = json!({
            "name": "idp", "issuer": self.url, "audience": "tributary-test", "jwks_url": format!("{}/keys", self.url),
            "algorithms": ["RS256", "PS256", "ES256", "EdDSA"], "tenants": ["home"], "roles_claim": "/realm/groups",
            "roles": { "owners": "OWNER", "readers": "ANALYST", "money": "FINANCE", "partners": "AFFILIATE" },
            "affiliate_claim": "affiliate",
        });
        serde_json::from_value(settings).expect("settings")
    }

    /// Claims that those settings take, at a time.
    pub fn claims(&self, now: i64) -> Value {
        json!({
            "iss": self.url, "aud": "tributary-test", "sub": "auth0|4711", "iat": now, "nbf": now, "exp": now + 600,
            "realm": { "groups": ["readers"] },
        })
    }
}

async fn discovery(State(desk): State<Arc<Desk>>) -> Response {
    axum::Json(json!({ "issuer": desk.url, "jwks_uri": format!("{}/keys", desk.url) })).into_response()
}

async fn honest(State(desk): State<Arc<Desk>>) -> Response {
    axum::Json(json!({ "keys": *desk.keys.lock().expect("not poisoned") })).into_response()
}

async fn answer(state: State<Arc<Desk>>) -> Response {
    state.fetches.fetch_add(1, Ordering::SeqCst);
    let mood = *state.mood.lock().expect("not poisoned");
    match mood {
        Mood::Well => honest(state).await,
        Mood::Down => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Mood::Slow => {
            tokio::time::sleep(Duration::from_secs(3_600)).await;
            honest(state).await
        }
        Mood::Garbage => "<html>".into_response(),
        Mood::Huge => axum::Json(json!({ "keys": ["x".repeat(1_000_000)] })).into_response(),
        Mood::Redirect => (StatusCode::FOUND, [(header::LOCATION, "/elsewhere")]).into_response(),
    }
}
