//! Postback endpoints as callers: the token in an endpoint's address, `trb_post_` and a [`KeyText`], and whom it speaks
//! for.

use tributary_entity::postback_endpoint;

use super::{
    key_text::{self, KeyText},
    permission::{Permission, PermissionSet},
    viewer::{Actor, Basis, Viewer},
};
use crate::domain::tenancy::TenantScope;

pub use super::key_text::hint;

const FORM: KeyText = KeyText::new("trb_post_");

/// A new token; its text is shown once.
pub fn generate() -> String {
    FORM.generate()
}

/// What is stored of a token; none for a text that cannot be one.
pub fn stored_hash(token: &str) -> Option<[u8; 32]> {
    FORM.fits(token).then(|| key_text::hash(token))
}

/// Whom an endpoint speaks for: nobody, who may record conversions and no more.
pub fn viewer(scope: TenantScope, row: &postback_endpoint::Model) -> Viewer {
    Viewer {
        scope,
        actor: Actor::Postback(row.id),
        basis: Basis::Tenant,
        roles: Vec::new(),
        permissions: PermissionSet::of(&[Permission::RecordConversions]),
        expires_at: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_is_no_api_key_and_has_a_hash() {
        let token = generate();
        assert_eq!(stored_hash(&token), Some(key_text::hash(&token)));
        assert!(stored_hash(&crate::auth::api_keys::generate()).is_none());
        assert!(crate::auth::api_keys::stored_hash(&token).is_err());
    }
}
