//! Cursors of subscriptions: opaque, authenticated, bound to tenant, ring, stream and filter.
//!
//! `base64url(version, epoch, seq, mac)`, the MAC over all of these and over what the cursor is bound to: a cursor of
//! another tenant, ring, stream or filter, or a forged one, is invalid and tells nothing.

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::tenancy::{Ring, TenantScope};

const VERSION: u8 = 1;
const MAC_LEN: usize = 16;

/// Signs cursors.
pub struct CursorKey([u8; 32]);

/// A position in a tenant's event log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Which history the number counts in.
    pub epoch: Uuid,
    /// The last event that was seen.
    pub seq: i64,
}

/// What a cursor is good for.
#[derive(Clone, Debug)]
pub struct Binding([u8; 32]);

impl CursorKey {
    /// The key for a signing secret; another one than that of tokens.
    pub fn new(secret: &str) -> Self {
        Self(mac(secret.as_bytes(), &[b"cursor"]))
    }

    /// Binds cursors to a scope, a stream and its filter.
    pub fn bind(&self, scope: &TenantScope, stream: &str, filter: &impl Serialize) -> Binding {
        let filter = serde_json::to_vec(filter).expect("filters serialize: string keys, no floats");
        let tenant = scope.tenant_id().uuid();
        let (ring, owner) = match scope.ring() {
            Ring::Tenant => (0, Uuid::nil()),
            Ring::Affiliate(id) => (1, id.uuid()),
        };
        let bound: [&[u8]; 6] = [tenant.as_bytes(), &[ring], owner.as_bytes(), stream.as_bytes(), &[0], &filter];
        Binding(mac(&self.0, &bound))
    }
}

impl Binding {
    /// The text for a position.
    pub fn encode(&self, position: &Position) -> String {
        let mut bytes = Vec::with_capacity(25 + MAC_LEN);
        bytes.push(VERSION);
        bytes.extend_from_slice(position.epoch.as_bytes());
        bytes.extend_from_slice(&position.seq.to_be_bytes());
        let tag = mac(&self.0, &[&bytes]);
        bytes.extend_from_slice(&tag[..MAC_LEN]);
        BASE64URL_NOPAD.encode(&bytes)
    }

    /// The position of a text; none for any text that [`Binding::encode`] of this binding did not make.
    pub fn decode(&self, text: &str) -> Option<Position> {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        let (body, tag) = bytes.split_at_checked(25)?;
        if !bool::from(mac(&self.0, &[body])[..MAC_LEN].ct_eq(tag)) || body[0] != VERSION {
            return None;
        }
        Some(Position {
            epoch: Uuid::from_slice(&body[1..17]).ok()?,
            seq: i64::from_be_bytes(body[17..25].try_into().ok()?),
        })
    }
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use tributary_entity::ids::{AffiliateId, TenantId};

    use super::*;

    #[test]
    fn cursor_is_good_only_where_it_was_made() {
        let key = CursorKey::new("a secret of at least 32 characters");
        let tenant = |number| TenantId::from_uuid(Uuid::from_u128(number));
        let home = TenantScope::tenant(tenant(1));
        let binding = key.bind(&home, "conversions", &"filter");
        let position = Position { epoch: Uuid::from_u128(5), seq: 42 };
        let text = binding.encode(&position);
        assert_eq!(binding.decode(&text), Some(position));
        let affiliate = TenantScope::affiliate(tenant(1), AffiliateId::from_uuid(Uuid::nil()));
        for other in [
            key.bind(&TenantScope::tenant(tenant(2)), "conversions", &"filter"),
            key.bind(&affiliate, "conversions", &"filter"),
            key.bind(&home, "payouts", &"filter"),
            key.bind(&home, "conversions", &"other"),
            CursorKey::new("another secret of at least 32 char").bind(&home, "conversions", &"filter"),
        ] {
            assert_eq!(other.decode(&text), None);
        }
    }

    #[test]
    fn any_flipped_character_makes_it_invalid() {
        let key = CursorKey::new("a secret of at least 32 characters");
        let binding = key.bind(&TenantScope::tenant(TenantId::from_uuid(Uuid::nil())), "s", &());
        let text = binding.encode(&Position { epoch: Uuid::nil(), seq: 1 });
        for index in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).expect("ASCII");
            assert_eq!(binding.decode(&changed), None, "{index}");
        }
        for text in ["", "A", "!", &text[1..]] {
            assert_eq!(binding.decode(text), None);
        }
    }
}
