//! Keeps what tenants entrust to us for others: credentials at processors, encrypted with a key that follows from the
//! signing secret.
//!
//! # Decisions
//! - ChaCha20-Poly1305 with a random nonce; what is sealed is bound to its tenant and row, so that a row copied elsewhere
//!   opens nothing.
//! - With another signing secret nothing opens: the credentials have to be given again. A database that is copied without
//!   the secret tells none.

use hmac::{Hmac, KeyInit, Mac};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sha2::Sha256;
use uuid::Uuid;

use crate::{ambient, domain::tenancy::TenantScope};

const VERSION: u8 = 1;

/// Seals and opens.
pub struct Vault(LessSafeKey);

/// What was sealed cannot be opened: by another secret, for another row, or it was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what was sealed cannot be opened with this secret")]
pub struct Sealed;

impl Vault {
    /// The vault of a signing secret; its key is another than those of tokens and cursors.
    pub fn new(secret: &str) -> Self {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(secret.as_bytes()).expect("HMAC takes any key");
        mac.update(b"vault");
        let key = UnboundKey::new(&CHACHA20_POLY1305, &mac.finalize().into_bytes()).expect("the key has 32 bytes");
        Self(LessSafeKey::new(key))
    }

    /// Seals a secret for a row of a tenant.
    pub fn seal(&self, scope: &TenantScope, row: Uuid, secret: &[u8]) -> Vec<u8> {
        let nonce = ambient::random_bytes::<NONCE_LEN>();
        let mut sealed = secret.to_vec();
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), bound(scope, row), &mut sealed)
            .expect("the secret is short");
        [&[VERSION][..], &nonce, &sealed].concat()
    }

    /// What was sealed for a row of a tenant.
    ///
    /// # Errors
    /// [`Sealed`].
    pub fn open(&self, scope: &TenantScope, row: Uuid, sealed: &[u8]) -> Result<Vec<u8>, Sealed> {
        let (version, rest) = sealed.split_first().ok_or(Sealed)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN).ok_or(Sealed)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Sealed)?;
        if *version != VERSION {
            return Err(Sealed);
        }
        let mut buffer = sealed.to_vec();
        let opened = self.0.open_in_place(nonce, bound(scope, row), &mut buffer).map_err(|_| Sealed)?;
        Ok(opened.to_vec())
    }
}

fn bound(scope: &TenantScope, row: Uuid) -> Aad<Vec<u8>> {
    Aad::from([*scope.tenant_id().uuid().as_bytes(), *row.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use tributary_entity::ids::TenantId;

    use super::*;

    #[test]
    fn sealed_opens_with_its_secret_for_its_row_alone() {
        let scope = |number| TenantScope::tenant(TenantId::from_uuid(Uuid::from_u128(number)));
        let (vault, row) = (Vault::new("a secret of 32 characters or more"), Uuid::from_u128(7));
        let sealed = vault.seal(&scope(1), row, b"sk_live_1");
        assert!(!sealed.windows(9).any(|window| window == b"sk_live_1"));
        assert_ne!(vault.seal(&scope(1), row, b"sk_live_1"), sealed);
        assert_eq!(vault.open(&scope(1), row, &sealed).as_deref(), Ok(&b"sk_live_1"[..]));
        assert_eq!(vault.open(&scope(2), row, &sealed), Err(Sealed));
        assert_eq!(vault.open(&scope(1), Uuid::from_u128(8), &sealed), Err(Sealed));
        assert_eq!(Vault::new("another secret of 32 characters..").open(&scope(1), row, &sealed), Err(Sealed));
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert_eq!(vault.open(&scope(1), row, &changed), Err(Sealed), "byte {index}");
        }
        assert_eq!(vault.open(&scope(1), row, &[]), Err(Sealed));
    }
}
