//! Who is asking: credentials in, a [`Viewer`] out.
//!
//! What is here judges a credential by itself: signature, form, time. What it stands on (session, user, key, tenant) may
//! have ended since; [`crate::services::access`] looks that up and joins the two.
//!
//! # Decisions
//! - Nothing is believed until it expires. Every viewer names its [`Basis`], which is read at requests (once a second
//!   at most, from then on out of a cache) and followed for as long as a connection stands on it: what is revoked is
//!   refused everywhere within two seconds.
//! - Roles in a user's access token are those of the moment when it was made; what holds are the user's roles now.
//! - A token made on the command line stands on the signing secret alone. Whoever holds that can make another.

pub mod api_keys;
pub mod external;
mod key_text;
pub mod passwords;
pub mod permission;
pub mod postbacks;
pub mod processors;
pub mod refresh_tokens;
pub mod tokens;
pub mod vault;
pub mod viewer;

pub use external::ExternalIdentity;
pub use passwords::Passwords;
pub use permission::{Permission, PermissionSet};
pub use tokens::Tokens;
pub use vault::Vault;
pub use viewer::{Actor, Basis, Viewer};

use crate::store::error::StoreError;

/// Longer tokens are refused unread. One of ours with every role has some 600 bytes; identity providers may add groups.
const TOKEN_MAX_BYTES: usize = 8_192;

/// Why a credential was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// Not ours, not whole, or revoked; deliberately not told which.
    #[error("invalid credential")]
    Invalid,
    /// Was good once.
    #[error("expired credential")]
    Expired,
    /// It may be good, but what tells so cannot be asked: the database, or the identity provider. The same credential
    /// may be taken a little later.
    #[error("the credential cannot be judged now")]
    Unavailable,
    /// It could not be looked up.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The credential in the value of an `Authorization` header: what follows `Bearer`, whose case does not matter (RFC
/// 9110). None for other schemes.
pub fn bearer(value: &str) -> Option<&str> {
    let (scheme, credential) = value.trim().split_once(' ')?;
    let credential = credential.trim_start();
    (scheme.eq_ignore_ascii_case("bearer") && !credential.is_empty()).then_some(credential)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bearer_is_the_only_scheme() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bearer  abc "), Some("abc"));
        for value in ["", "Bearer", "Bearer ", "Basic abc", "abc", "Bearerabc x"] {
            assert_eq!(bearer(value), None, "{value}");
        }
    }
}
