//! Refresh tokens: what a session is renewed with, once each.
//!
//! The text holds tenant, session, generation and 128 random bits, and a MAC over them; the session keeps only its
//! SHA-256.
//!
//! # Decisions
//! - The MAC makes an older generation that turns up proof of theft or replay: without it, whoever knows a session's id
//!   could make up an old token and so end another's session. It also refuses made-up texts before any look-up.

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use tributary_entity::ids::{SessionId, TenantId};
use uuid::Uuid;

use super::AuthError;
use crate::{ambient, domain::tenancy::TenantScope};

/// Tells people and secret scanners what they found.
const PREFIX: &str = "trb_refresh_";
/// Tenant, session, generation, random.
const BODY_BYTES: usize = 16 + 16 + 4 + 16;

/// A refresh token that this platform made.
pub struct RefreshToken {
    pub tenant_id: TenantId,
    pub session_id: SessionId,
    pub generation: i32,
    text: String,
}

impl RefreshToken {
    /// The scope in which its session is found.
    pub const fn scope(&self) -> TenantScope {
        TenantScope::tenant(self.tenant_id)
    }

    /// What the client keeps.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What the session keeps.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(&self.text).into()
    }
}

/// Makes and reads refresh tokens.
pub(super) struct RefreshKey([u8; 32]);

impl RefreshKey {
    pub const fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    pub fn issue(&self, tenant_id: TenantId, session_id: SessionId, generation: i32) -> RefreshToken {
        let mut bytes = Vec::with_capacity(BODY_BYTES + 32);
        bytes.extend_from_slice(tenant_id.uuid().as_bytes());
        bytes.extend_from_slice(session_id.uuid().as_bytes());
        bytes.extend_from_slice(&generation.to_be_bytes());
        bytes.extend_from_slice(&ambient::random_bytes::<16>());
        let tag = self.mac(&bytes).finalize().into_bytes();
        bytes.extend_from_slice(&tag);
        let text = format!("{PREFIX}{}", BASE64URL_NOPAD.encode(&bytes));
        RefreshToken { tenant_id, session_id, generation, text }
    }

    pub fn verify(&self, text: &str) -> Result<RefreshToken, AuthError> {
        self.read(text).ok_or(AuthError::Invalid)
    }

    fn read(&self, text: &str) -> Option<RefreshToken> {
        let encoded = text.strip_prefix(PREFIX)?;
        // Before the decoding, which would take memory in proportion.
        if encoded.len() != BASE64URL_NOPAD.encode_len(BODY_BYTES + 32) {
            return None;
        }
        let bytes = BASE64URL_NOPAD.decode(encoded.as_bytes()).ok()?;
        let (body, tag) = bytes.split_at_checked(BODY_BYTES)?;
        self.mac(body).verify_slice(tag).ok()?;
        let (tenant, rest) = body.split_first_chunk::<16>()?;
        let (session, rest) = rest.split_first_chunk::<16>()?;
        let (generation, _) = rest.split_first_chunk::<4>()?;
        Some(RefreshToken {
            tenant_id: TenantId::from_uuid(Uuid::from_bytes(*tenant)),
            session_id: SessionId::from_uuid(Uuid::from_bytes(*session)),
            generation: i32::from_be_bytes(*generation),
            text: text.to_owned(),
        })
    }

    fn mac(&self, body: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(body);
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> RefreshToken {
        let (tenant, session) = (Uuid::from_u128(1), Uuid::from_u128(2));
        RefreshKey::new([7; 32]).issue(TenantId::from_uuid(tenant), SessionId::from_uuid(session), 41)
    }

    #[test]
    fn refresh_token_round_trips() {
        let token = token();
        let read = RefreshKey::new([7; 32]).verify(token.text()).expect("ours");
        assert_eq!(
            (read.tenant_id, read.session_id, read.generation),
            (token.tenant_id, token.session_id, token.generation)
        );
        assert_eq!(read.hash(), token.hash());
        assert_ne!(self::token().text(), token.text(), "random");
    }

    #[test]
    fn anything_else_is_refused() {
        let text = token().text().to_owned();
        assert!(RefreshKey::new([8; 32]).verify(&text).is_err(), "another key");
        let key = RefreshKey::new([7; 32]);
        for index in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
            assert!(key.verify(std::str::from_utf8(&bytes).expect("ascii")).is_err(), "byte {index}");
        }
        for wrong in ["", PREFIX, &text[..text.len() - 1], &format!("{text}A"), &text[PREFIX.len()..], "🦀"] {
            assert!(key.verify(wrong).is_err(), "{wrong}");
        }
    }
}
