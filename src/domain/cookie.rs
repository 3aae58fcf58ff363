//! The first-party cookie that tells visitors of redirects apart.
//!
//! # Decisions
//! - One random value per browser, and a visitor id per tenant, derived from it with a secret key. The value itself is
//!   told to nobody but the browser: the ids of one person at two tenants have nothing in common that either could
//!   compare, and browsers are not burdened with a cookie per tenant.

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::tenancy::TenantScope;

/// The cookie's name.
pub const NAME: &str = "trb_v";
/// How long browsers keep it: a year.
pub const MAX_AGE_SECS: u32 = 365 * 86_400;

/// A browser's random value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token([u8; 16]);

impl Token {
    pub const fn new(random: [u8; 16]) -> Self {
        Self(random)
    }

    /// The value of a cookie; none for a text that is none of ours.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut bytes = [0; 16];
        if text.len() != 32 {
            return None;
        }
        HEXLOWER.decode_mut(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// `Set-Cookie`. Sent along when somebody follows a link from any page, and to us alone.
    pub fn set_cookie(&self, secure: bool) -> String {
        let secure = if secure { "; Secure" } else { "" };
        let value = HEXLOWER.encode(&self.0);
        format!("{NAME}={value}; Path=/; Max-Age={MAX_AGE_SECS}; HttpOnly; SameSite=Lax{secure}")
    }
}

/// Makes visitor ids of tokens.
#[derive(Clone)]
pub struct VisitorKey(Hmac<Sha256>);

impl VisitorKey {
    /// The key for a signing secret; another one than that of tokens and cursors.
    pub fn new(secret: &str) -> Self {
        let mut key = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
        key.update(b"visitor");
        let key = key.finalize().into_bytes();
        Self(Hmac::new_from_slice(&key).expect("HMAC takes keys of any length"))
    }

    /// A tenant's id for the visitor with a token.
    pub fn visitor_id(&self, scope: &TenantScope, token: &Token) -> String {
        let mut mac = self.0.clone();
        mac.update(scope.tenant_id().uuid().as_bytes());
        mac.update(&token.0);
        HEXLOWER.encode(&mac.finalize().into_bytes()[..16])
    }
}

#[cfg(test)]
mod tests {
    use tributary_entity::ids::TenantId;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn visitor_is_another_at_each_tenant_and_the_same_at_each_node() {
        let scope = |number| TenantScope::tenant(TenantId::from_uuid(Uuid::from_u128(number)));
        let (key, same, other) = (VisitorKey::new("a"), VisitorKey::new("a"), VisitorKey::new("b"));
        let token = Token::new([7; 16]);
        let id = key.visitor_id(&scope(1), &token);
        assert_eq!(id, same.visitor_id(&scope(1), &token));
        assert_ne!(id, key.visitor_id(&scope(2), &token));
        assert_ne!(id, other.visitor_id(&scope(1), &token));
        assert_ne!(id, key.visitor_id(&scope(1), &Token::new([8; 16])));
        assert!(!token.set_cookie(true).contains(&id));
    }

    #[test]
    fn token_reads_back_and_nothing_else_does() {
        let token = Token::new([0xab; 16]);
        let cookie = token.set_cookie(false);
        let value = cookie.strip_prefix("trb_v=").and_then(|rest| rest.split(';').next()).expect("a value");
        assert_eq!(Token::parse(value.as_bytes()), Some(token));
        assert!(!cookie.contains("Secure") && token.set_cookie(true).ends_with("; Secure"));
        for text in ["", "AB", &value[1..], &value.to_uppercase(), &format!("{value}0"), &value.replace('a', "g")] {
            assert_eq!(Token::parse(text.as_bytes()), None, "{text}");
        }
    }
}
