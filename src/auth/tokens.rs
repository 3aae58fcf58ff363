//! Access tokens: HS256 JWTs that this platform issues to itself.
//!
//! # Decisions
//! - The signing key is derived from the configured secret under a label, as every other key is: what one of them
//!   signs never passes for another's.
//! - Times are compared here and not by the library, which reads the machine's clock by itself.
//! - An affiliate's token names the affiliate, and holds no other role: one that does otherwise is refused, because its
//!   scope would be the whole tenant.
//! - A user's token names its session: one without could not be ended.

use std::{fmt, str::FromStr};

use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use tributary_entity::{
    Instant,
    ids::{AffiliateId, SessionId, TenantId, UserId},
    kinds::Role,
};

use super::{
    AuthError, TOKEN_MAX_BYTES, permission,
    refresh_tokens::{RefreshKey, RefreshToken},
    viewer::{Actor, Basis, Viewer, scope_of},
};

/// `aud` of our own tokens.
const AUDIENCE: &str = "tributary";
/// How far another node's clock may be ahead of ours.
const SKEW_SECS: i64 = 5;

/// A key for one purpose, from the configured secret.
pub fn derive_key(secret: &str, label: &str) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(label.as_bytes());
    mac.finalize().into_bytes().into()
}

/// Whom a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    User(UserId),
    /// Whoever holds the signing secret.
    Operator,
}

const OPERATOR: &str = "operator";

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => id.fmt(f),
            Self::Operator => f.write_str(OPERATOR),
        }
    }
}

impl FromStr for Subject {
    type Err = AuthError;

    fn from_str(text: &str) -> Result<Self, AuthError> {
        match text {
            OPERATOR => Ok(Self::Operator),
            _ => text.parse().map(Self::User).map_err(|_| AuthError::Invalid),
        }
    }
}

/// What a token is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub subject: Subject,
    pub tenant_id: TenantId,
    /// The log-in that can renew it, for a user's.
    pub session_id: Option<SessionId>,
    pub roles: Vec<Role>,
    /// Set exactly for the role AFFILIATE.
    pub affiliate_id: Option<AffiliateId>,
}

/// A token as it is signed. `iss`, `aud`, `sub`, `iat`, `nbf` and `exp` are RFC 7519's.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Claims {
    iss: String,
    // A text, never a list: nobody else is to read our tokens.
    aud: String,
    sub: String,
    tid: TenantId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sid: Option<SessionId>,
    roles: Vec<Role>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    aff: Option<AffiliateId>,
    iat: i64,
    nbf: i64,
    exp: i64,
}

/// Issues and verifies the tokens of sessions.
pub struct Tokens {
    issuer: String,
    signing: EncodingKey,
    verifying: DecodingKey,
    validation: Validation,
    refresh: RefreshKey,
}

impl Tokens {
    /// `secret` is the configured one, the same on every node; `issuer` is what `iss` says.
    pub fn new(secret: &str, issuer: &str) -> Self {
        let key = derive_key(secret, "jwt");
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "nbf", "exp"]);
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Self {
            issuer: issuer.to_owned(),
            signing: EncodingKey::from_secret(&key),
            verifying: DecodingKey::from_secret(&key),
            validation,
            refresh: RefreshKey::new(derive_key(secret, "refresh")),
        }
    }

    /// An access token that is good from now, for `life_secs`. Answers it with its end.
    pub fn issue(&self, grant: &Grant, now: Instant, life_secs: i64) -> (String, Instant) {
        let issued_at = now.timestamp();
        let expires_at = Instant::from_timestamp(issued_at.saturating_add(life_secs), 0).unwrap_or(now);
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: AUDIENCE.to_owned(),
            sub: grant.subject.to_string(),
            tid: grant.tenant_id,
            sid: grant.session_id,
            roles: grant.roles.clone(),
            aff: grant.affiliate_id,
            iat: issued_at,
            nbf: issued_at,
            exp: expires_at.timestamp(),
        };
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.signing)
            .expect("HMAC signs anything, and claims are plain data");
        (token, expires_at)
    }

    /// The viewer whom a token speaks for.
    ///
    /// # Errors
    /// [`AuthError::Expired`] for a token that was good once, else [`AuthError::Invalid`].
    pub fn verify(&self, token: &str, now: Instant) -> Result<Viewer, AuthError> {
        if token.len() > TOKEN_MAX_BYTES {
            return Err(AuthError::Invalid);
        }
        let data =
            jsonwebtoken::decode::<Claims>(token, &self.verifying, &self.validation).map_err(|_| AuthError::Invalid)?;
        // RFC 7515: an extension that is critical and not understood refuses the token. None is understood here.
        if data.header.crit.is_some() {
            return Err(AuthError::Invalid);
        }
        viewer(data.claims, now)
    }

    /// A refresh token of a session, in one generation.
    pub fn issue_refresh(&self, tenant_id: TenantId, session_id: SessionId, generation: i32) -> RefreshToken {
        self.refresh.issue(tenant_id, session_id, generation)
    }

    /// Reads a refresh token; whether its session still takes it is the session's to say.
    ///
    /// # Errors
    /// [`AuthError::Invalid`] for a text that this platform did not make.
    pub fn verify_refresh(&self, text: &str) -> Result<RefreshToken, AuthError> {
        self.refresh.verify(text)
    }
}

fn viewer(claims: Claims, now: Instant) -> Result<Viewer, AuthError> {
    let now = now.timestamp();
    if claims.nbf > now + SKEW_SECS {
        return Err(AuthError::Invalid);
    }
    let scope = scope_of(claims.tid, &claims.roles, claims.aff).ok_or(AuthError::Invalid)?;
    let (actor, basis) = match (claims.sub.parse::<Subject>()?, claims.sid) {
        (Subject::User(user_id), Some(session_id)) => (Actor::User(user_id), Basis::Session { user_id, session_id }),
        (Subject::Operator, None) => (Actor::Operator, Basis::Secret),
        _ => return Err(AuthError::Invalid),
    };
    let expires_at = Instant::from_timestamp(claims.exp, 0).ok_or(AuthError::Invalid)?;
    // Last, so that only a token that was good in all else is called expired.
    if claims.exp <= now {
        return Err(AuthError::Expired);
    }
    let permissions = permission::of_roles(&claims.roles);
    Ok(Viewer { scope, actor, basis, permissions, roles: claims.roles, expires_at: Some(expires_at) })
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64URL_NOPAD;
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;
    use crate::{auth::Permission, domain::tenancy::TenantScope};

    const SECRET: &str = "a secret of at least thirty-two characters";
    const NOW: i64 = 1_800_000_000;

    fn at(secs: i64) -> Instant {
        Instant::from_timestamp(secs, 0).expect("in range")
    }

    fn tokens() -> Tokens {
        Tokens::new(SECRET, "tributary")
    }

    fn grant(roles: &[Role], affiliate: bool) -> Grant {
        Grant {
            subject: Subject::User(UserId::from_uuid(Uuid::from_u128(1))),
            tenant_id: TenantId::from_uuid(Uuid::from_u128(2)),
            session_id: Some(SessionId::from_uuid(Uuid::from_u128(3))),
            roles: roles.to_vec(),
            affiliate_id: affiliate.then(|| AffiliateId::from_uuid(Uuid::from_u128(4))),
        }
    }

    fn claims() -> Value {
        let grant = grant(&[Role::Manager], false);
        json!({
            "iss": "tributary", "aud": "tributary", "sub": grant.subject.to_string(), "tid": grant.tenant_id,
            "sid": grant.session_id, "roles": ["MANAGER"], "iat": NOW, "nbf": NOW, "exp": NOW + 900,
        })
    }

    /// Claims with one of them replaced, or taken away by null.
    fn with(name: &str, value: Value) -> Value {
        let mut claims = claims();
        let map = claims.as_object_mut().expect("an object");
        if value.is_null() {
            map.remove(name);
        } else {
            map.insert(name.to_owned(), value);
        }
        claims
    }

    fn signed(header: &Value, claims: &Value, key: &[u8]) -> String {
        let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let message = format!("{}.{}", part(header), part(claims));
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length");
        mac.update(message.as_bytes());
        format!("{message}.{}", BASE64URL_NOPAD.encode(&mac.finalize().into_bytes()))
    }

    fn hs256(claims: &Value) -> String {
        signed(&json!({"alg": "HS256", "typ": "JWT"}), claims, &derive_key(SECRET, "jwt"))
    }

    fn is_invalid(token: &str) -> bool {
        matches!(tokens().verify(token, at(NOW)), Err(AuthError::Invalid))
    }

    #[test]
    fn token_carries_its_grant() {
        let (token, expires_at) = tokens().issue(&grant(&[Role::Finance, Role::Manager], false), at(NOW), 900);
        assert_eq!(expires_at, at(NOW + 900));
        let viewer = tokens().verify(&token, at(NOW)).expect("good");
        assert_eq!(viewer.actor, Actor::User(UserId::from_uuid(Uuid::from_u128(1))));
        let session_id = SessionId::from_uuid(Uuid::from_u128(3));
        assert_eq!(viewer.basis, Basis::Session { user_id: UserId::from_uuid(Uuid::from_u128(1)), session_id });
        assert_eq!(viewer.scope, TenantScope::tenant(TenantId::from_uuid(Uuid::from_u128(2))));
        assert_eq!(viewer.expires_at, Some(expires_at));
        assert!(viewer.may(Permission::ReadLedger) && viewer.may(Permission::ManageCampaigns));
        assert!(!viewer.may(Permission::ManageUsers));
        // The matrix below stands on this: its claims and signature are good ones.
        assert!(tokens().verify(&hs256(&claims()), at(NOW)).is_ok());
    }

    #[test]
    fn operator_is_an_actor_of_its_own() {
        let grant = Grant { subject: Subject::Operator, session_id: None, ..grant(&[Role::Owner], false) };
        let (token, _) = tokens().issue(&grant, at(NOW), 60);
        let viewer = tokens().verify(&token, at(NOW)).expect("good");
        assert_eq!((viewer.actor, viewer.basis), (Actor::Operator, Basis::Secret));
    }

    #[test]
    fn affiliate_token_sees_one_affiliate_and_nothing_else() {
        let (token, _) = tokens().issue(&grant(&[Role::Affiliate], true), at(NOW), 900);
        let viewer = tokens().verify(&token, at(NOW)).expect("good");
        assert_eq!(viewer.scope.own_affiliate(), Some(AffiliateId::from_uuid(Uuid::from_u128(4))));
        for wrong in [
            grant(&[Role::Affiliate], false),
            grant(&[Role::Affiliate, Role::Owner], true),
            grant(&[Role::Affiliate, Role::Owner], false),
            grant(&[Role::Affiliate, Role::Affiliate], true),
            grant(&[Role::Owner], true),
            grant(&[], false),
            grant(&[], true),
        ] {
            let (token, _) = tokens().issue(&wrong, at(NOW), 900);
            assert!(is_invalid(&token), "{wrong:?}");
        }
    }

    #[test]
    fn expired_is_told_from_invalid() {
        let (token, _) = tokens().issue(&grant(&[Role::Owner], false), at(NOW), 900);
        assert!(tokens().verify(&token, at(NOW + 899)).is_ok());
        assert!(matches!(tokens().verify(&token, at(NOW + 900)), Err(AuthError::Expired)));
        let other = Tokens::new("another secret of thirty-two characters", "tributary");
        assert!(matches!(other.verify(&token, at(NOW + 900)), Err(AuthError::Invalid)));
    }

    #[test]
    fn only_hs256_with_our_key_is_taken() {
        let key = derive_key(SECRET, "jwt");
        for alg in ["none", "None", "HS384", "HS512", "RS256", "ES256", "EdDSA", "hs256", ""] {
            assert!(is_invalid(&signed(&json!({"alg": alg, "typ": "JWT"}), &claims(), &key)), "{alg}");
        }
        let good = hs256(&claims());
        let (message, _) = good.rsplit_once('.').expect("three parts");
        assert!(is_invalid(&format!("{message}.")), "no signature");
        assert!(is_invalid(message), "two parts");
        let none = signed(&json!({"alg": "none"}), &claims(), &key);
        let (unsigned, _) = none.rsplit_once('.').expect("three parts");
        assert!(is_invalid(&format!("{unsigned}.")), "none, unsigned");
        let header = json!({"alg": "HS256"});
        assert!(is_invalid(&signed(&header, &claims(), SECRET.as_bytes())), "the bare secret");
        assert!(is_invalid(&signed(&header, &claims(), &derive_key(SECRET, "cursor"))), "another purpose");
        assert!(is_invalid(&signed(&json!({"alg": "HS256", "crit": ["b64"]}), &claims(), &key)), "critical extension");
    }

    #[test]
    fn every_claim_must_be_there_and_right() {
        for (name, value) in [
            ("iss", json!("someone")),
            ("iss", json!(["tributary"])),
            ("aud", json!("another")),
            ("aud", json!(["tributary"])),
            ("sub", json!("cmp_00000000000000000000000001")),
            ("sub", json!("system")),
            ("sub", json!("operator")),
            ("tid", json!("usr_00000000000000000000000001")),
            ("roles", json!([])),
            ("roles", json!(["GOD"])),
            ("roles", json!("OWNER")),
            ("aff", json!("aff_00000000000000000000000001")),
            ("nbf", json!(NOW + 6)),
            ("nbf", json!("soon")),
            ("exp", json!("never")),
            ("exp", json!(i64::MAX)),
        ] {
            assert!(is_invalid(&hs256(&with(name, value.clone()))), "{name}: {value}");
        }
        for name in ["iss", "aud", "sub", "tid", "sid", "roles", "nbf", "exp"] {
            assert!(is_invalid(&hs256(&with(name, Value::Null))), "without {name}");
        }
        assert!(tokens().verify(&hs256(&with("nbf", json!(NOW + 5))), at(NOW)).is_ok(), "a clock a little ahead");
    }

    #[test]
    fn tampered_and_oversized_tokens_are_refused() {
        let good = hs256(&claims());
        for index in 0..good.len() {
            let mut bytes = good.clone().into_bytes();
            bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
            assert!(is_invalid(&String::from_utf8(bytes).expect("ascii")), "byte {index}");
        }
        assert!(is_invalid(&hs256(&with("pad", json!("x".repeat(TOKEN_MAX_BYTES))))), "signed, but too long");
        for text in ["", ".", "..", "...", "a.b.c", "🦀"] {
            assert!(is_invalid(text), "{text}");
        }
    }
}
