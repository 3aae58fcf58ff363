//! Access tokens of other issuers: identity providers that the settings name, each for the tenants it may speak for.
//!
//! # Decisions
//! - Nobody is mapped to a user of ours, by e-mail address or otherwise: an address is what a provider says of somebody,
//!   perhaps what that somebody said, and would open the roles of the user who has it here, an owner's too. A viewer from
//!   outside is an actor of its own, with the roles that the provider's values are mapped to and no others.
//! - A provider is chosen by `iss` before anything is verified, and then every key, algorithm, audience and tenant is that
//!   provider's. Its tokens never meet our own signing secret, nor ours its keys.
//! - What a token carries of keys (`jwk`, `jku`, `x5u`, `x5c`) is refused, not passed over: an honest issuer of the
//!   key set has no need of it.
//! - A verified token is remembered for [`REMEMBERED`], because a signature costs a hundred microseconds, and not longer,
//!   because the provider may have withdrawn the key.
//! - Whom such a viewer can do without is the provider: it ends with its token. Suspending the tenant, or the affiliate
//!   whose ring it is, ends it at once. Keep tokens short.

mod fetch;
mod key;
mod keys;

use std::{sync::Arc, time::Duration};

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{Algorithm, Header, Validation};
use moka::sync::Cache;
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;
use tributary_entity::{
    Instant,
    ids::{AffiliateId, TenantId},
    kinds::Role,
};

use self::{fetch::Source, keys::Keys};
use super::{
    AuthError, TOKEN_MAX_BYTES, permission,
    viewer::{Actor, Basis, ExternalSubject, Viewer, scope_of},
};
use crate::{
    config::identity::{IdentityProvider, SigningAlgorithm},
    store::{database::Db, directory},
};

/// How far a provider's clock may be from ours.
const SKEW_SECS: i64 = 30;
/// Characters of a subject (OpenID Connect Core, 2).
const SUBJECT_MAX: usize = 255;
/// How long a verified token is not verified again.
const REMEMBERED: Duration = Duration::from_secs(60);
/// Tokens that are remembered.
const TOKENS: u64 = 10_000;

/// The identity providers of this platform.
pub struct ExternalIdentity(Vec<Provider>);

impl ExternalIdentity {
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(providers: &[IdentityProvider], development: bool) -> Result<Self, reqwest::Error> {
        providers.iter().map(|settings| Provider::new(settings, development)).collect::<Result<_, _>>().map(Self)
    }

    /// The provider that a token says it is from. Nothing is verified by that.
    pub fn provider_of(&self, token: &str) -> Option<&Provider> {
        #[derive(Deserialize)]
        struct Issued<'a> {
            #[serde(borrow)]
            iss: std::borrow::Cow<'a, str>,
        }
        if self.0.is_empty() || token.len() > TOKEN_MAX_BYTES {
            return None;
        }
        let claims = BASE64URL_NOPAD.decode(token.split('.').nth(1)?.as_bytes()).ok()?;
        let issued: Issued<'_> = serde_json::from_slice(&claims).ok()?;
        self.0.iter().find(|provider| provider.settings.issuer == issued.iss)
    }
}

/// One provider.
pub struct Provider {
    settings: IdentityProvider,
    keys: Keys,
    /// The tenants of the settings, found when first needed: they may be made after the start. Slugs never change.
    tenants: Vec<(String, OnceCell<TenantId>)>,
    verified: Cache<[u8; 32], Arc<Verified>>,
}

/// What a token that was verified says.
struct Verified {
    viewer: Viewer,
    not_before: Option<Instant>,
    expires_at: Instant,
}

impl Provider {
    fn new(settings: &IdentityProvider, development: bool) -> Result<Self, reqwest::Error> {
        let source = Arc::new(Source::new(settings, development)?);
        let fetch = move || -> futures_util::future::BoxFuture<'static, _> {
            let source = Arc::clone(&source);
            Box::pin(async move { source.fetch().await })
        };
        Ok(Self {
            keys: Keys::new(settings.name.clone(), Box::new(fetch)),
            tenants: settings.tenants.iter().map(|slug| (slug.clone(), OnceCell::new())).collect(),
            verified: Cache::builder().max_capacity(TOKENS).time_to_live(REMEMBERED).build(),
            settings: settings.clone(),
        })
    }

    /// The viewer whom a token speaks for.
    ///
    /// # Errors
    /// [`AuthError::Expired`] for a token that was good once; [`AuthError::Unavailable`] while the provider's keys are
    /// not known; else [`AuthError::Invalid`]; as the database answers.
    pub async fn verify(&self, db: &Db, token: &str, now: Instant) -> Result<Viewer, AuthError> {
        let digest: [u8; 32] = Sha256::digest(token).into();
        let verified = match self.verified.get(&digest) {
            Some(verified) => verified,
            None => {
                let claims = self.check_signature(token).await?;
                let verified = Arc::new(self.read(db, &claims).await?);
                self.verified.insert(digest, Arc::clone(&verified));
                verified
            }
        };
        if verified.not_before.is_some_and(|start| now < start) {
            return Err(AuthError::Invalid);
        }
        // Last, so that only a token that was good in all else is called expired.
        if verified.expires_at <= now {
            return Err(AuthError::Expired);
        }
        Ok(verified.viewer.clone())
    }

    /// The claims of a token that is whole, the provider's, and for us.
    async fn check_signature(&self, token: &str) -> Result<Map<String, Value>, AuthError> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| AuthError::Invalid)?;
        if !self.allows(&header) {
            return Err(AuthError::Invalid);
        }
        let key = self.keys.find(header.kid.as_deref(), header.alg).await?;
        let mut validation = Validation::new(header.alg);
        validation.set_issuer(&[&self.settings.issuer]);
        validation.set_audience(&[&self.settings.audience]);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
        // Times are compared by our clock, not by the library's.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        let data = jsonwebtoken::decode::<Map<String, Value>>(token, &key.decoding, &validation);
        data.map(|data| data.claims).map_err(|_| AuthError::Invalid)
    }

    fn allows(&self, header: &Header) -> bool {
        // RFC 8725, 3.11: tokens of other uses, such as log-out tokens, are signed with the same keys.
        let is_access_token = header.typ.as_deref().is_none_or(|typ| {
            let typ = typ.strip_prefix("application/").unwrap_or(typ);
            typ.eq_ignore_ascii_case("JWT") || typ.eq_ignore_ascii_case("at+jwt")
        });
        let carries_keys = header.jwk.is_some() || header.jku.is_some() || header.x5u.is_some() || header.x5c.is_some();
        is_access_token
            && !carries_keys
            // RFC 7515: an extension that is critical and not understood refuses the token. None is understood here.
            && header.crit.is_none()
            && self.settings.algorithms.iter().any(|algorithm| of_settings(*algorithm) == header.alg)
    }

    /// What verified claims come to.
    async fn read(&self, db: &Db, claims: &Map<String, Value>) -> Result<Verified, AuthError> {
        let settings = &self.settings;
        let issuer = claims.get("iss").and_then(Value::as_str);
        let required = settings.required_claims.iter().all(|(name, value)| claim(claims, name) == Some(value));
        if issuer != Some(&settings.issuer) || !required {
            return Err(AuthError::Invalid);
        }
        let subject = claims.get("sub").and_then(Value::as_str).filter(|sub| is_subject(sub));
        let roles = self.roles(claims);
        let affiliate_id = self.affiliate(claims)?;
        let tenant_id = self.tenant(db, claims).await?;
        let scope = scope_of(tenant_id, &roles, affiliate_id).ok_or(AuthError::Invalid)?;
        let who =
            ExternalSubject { provider: settings.name.clone(), subject: subject.ok_or(AuthError::Invalid)?.to_owned() };
        let expires_at = time(claims, "exp", SKEW_SECS)?.ok_or(AuthError::Invalid)?;
        let viewer = Viewer {
            scope,
            actor: Actor::External(Arc::new(who)),
            basis: Basis::Tenant,
            permissions: permission::of_roles(&roles),
            roles,
            expires_at: Some(expires_at),
        };
        Ok(Verified { viewer, not_before: time(claims, "nbf", -SKEW_SECS)?, expires_at })
    }

    /// The roles that the provider's values mean, in order and each once.
    fn roles(&self, claims: &Map<String, Value>) -> Vec<Role> {
        let values = match claim(claims, &self.settings.roles_claim) {
            Some(Value::Array(values)) => values.as_slice(),
            Some(value) => std::slice::from_ref(value),
            None => &[],
        };
        let mut roles: Vec<Role> =
            values.iter().filter_map(|value| self.settings.roles.get(value.as_str()?)).copied().collect();
        roles.sort_unstable();
        roles.dedup();
        roles
    }

    fn affiliate(&self, claims: &Map<String, Value>) -> Result<Option<AffiliateId>, AuthError> {
        let value = self.settings.affiliate_claim.as_deref().and_then(|name| claim(claims, name));
        match value {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                let id = value.as_str().and_then(|text| text.parse().ok());
                id.ok_or(AuthError::Invalid).map(Some)
            }
        }
    }

    /// The tenant that a token is for: one of those that the provider may speak for.
    async fn tenant(&self, db: &Db, claims: &Map<String, Value>) -> Result<TenantId, AuthError> {
        let named = match &self.settings.tenant_claim {
            Some(name) => Some(claim(claims, name).and_then(Value::as_str).ok_or(AuthError::Invalid)?),
            None => None,
        };
        let wanted: Option<TenantId> = named.and_then(|text| text.parse().ok());
        for (slug, id) in &self.tenants {
            // By slug the others need not be asked for; without a claim there is one.
            if wanted.is_none() && named.is_some_and(|named| named != slug) {
                continue;
            }
            let find = async || {
                let found = directory::tenant_by_slug(db, slug).await?;
                found.map(|(scope, _)| scope.tenant_id()).ok_or(AuthError::Invalid)
            };
            match id.get_or_try_init(find).await {
                Ok(id) if wanted.is_none_or(|wanted| wanted == *id) => return Ok(*id),
                // A tenant that is yet to be made.
                Ok(_) | Err(AuthError::Invalid) => {}
                Err(error) => return Err(error),
            }
        }
        Err(AuthError::Invalid)
    }
}

/// A claim by its name, or by a JSON pointer where the name begins with a slash.
fn claim<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    match name.strip_prefix('/') {
        Some(path) => {
            let (first, rest) = path.split_once('/').map_or((path, ""), |(first, _)| (first, &path[first.len()..]));
            claims.get(&first.replace("~1", "/").replace("~0", "~"))?.pointer(rest)
        }
        None => claims.get(name),
    }
}

/// A numeric date (RFC 7519: seconds, perhaps with a fraction), moved by some seconds.
fn time(claims: &Map<String, Value>, name: &str, by_secs: i64) -> Result<Option<Instant>, AuthError> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    // A fraction more or less does not matter; a float out of range becomes a bound, which is no time.
    #[expect(clippy::cast_possible_truncation, reason = "saturates")]
    let secs = value.as_i64().or_else(|| value.as_f64().map(|secs| secs as i64)).ok_or(AuthError::Invalid)?;
    let time = Instant::from_timestamp(secs.saturating_add(by_secs), 0);
    time.ok_or(AuthError::Invalid).map(Some)
}

fn is_subject(text: &str) -> bool {
    (1..=SUBJECT_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

const fn of_settings(algorithm: SigningAlgorithm) -> Algorithm {
    match algorithm {
        SigningAlgorithm::Rs256 => Algorithm::RS256,
        SigningAlgorithm::Ps256 => Algorithm::PS256,
        SigningAlgorithm::Es256 => Algorithm::ES256,
        SigningAlgorithm::Es384 => Algorithm::ES384,
        SigningAlgorithm::EdDsa => Algorithm::EdDSA,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn claims_are_found_by_name_and_by_pointer() {
        let claims = json!({ "https://x.example/roles": 1, "realm": { "roles": [2], "a/b": 3 }, "a/b": { "~c": 4 } });
        let claims = claims.as_object().expect("an object");
        for (name, value) in [
            ("https://x.example/roles", Some(json!(1))),
            ("/realm/roles", Some(json!([2]))),
            ("/realm/a~1b", Some(json!(3))),
            ("/a~1b/~0c", Some(json!(4))),
            ("/realm/none", None),
            ("realm/roles", None),
            ("none", None),
        ] {
            assert_eq!(claim(claims, name).cloned(), value, "{name}");
        }
    }

    #[test]
    fn times_may_have_fractions_and_must_be_times() {
        let at = |value: Value| time(json!({ "exp": value }).as_object().expect("an object"), "exp", 0);
        assert_eq!(at(json!(10.9)).expect("a time"), Instant::from_timestamp(10, 0));
        for value in [json!("10"), json!(null), json!(1e300), json!(i64::MAX), json!({})] {
            assert!(at(value.clone()).is_err(), "{value}");
        }
    }

    #[test]
    fn subjects_are_short_and_printable() {
        assert!(is_subject("auth0|507f1f77bcf86cd799439020") && is_subject(&"a".repeat(255)));
        for text in ["", "a b", "a\n", "ä", &"a".repeat(256)] {
            assert!(!is_subject(text), "{text}");
        }
    }
}
