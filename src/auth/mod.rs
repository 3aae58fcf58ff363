//! Who is asking: credentials in, a [`Viewer`] out.
//!
//! # Decisions
//! - An access token is believed until it expires, without a look-up: it lives for minutes, and what ends a user
//!   (disabling, another password, log-out) ends the session that would renew it.
//! - An API key is looked up at every request: it lives for months, and revoking it must hold at once.

pub mod api_keys;
pub mod passwords;
pub mod permission;
pub mod refresh_tokens;
pub mod tokens;
pub mod viewer;

pub use passwords::Passwords;
pub use permission::{Permission, PermissionSet};
pub use tokens::Tokens;
pub use viewer::{Actor, Viewer};

use tributary_entity::Instant;

use crate::store::{database::Db, error::StoreError};

/// Why a credential was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// Not ours, not whole, or revoked; deliberately not told which.
    #[error("invalid credential")]
    Invalid,
    /// Was good once.
    #[error("expired credential")]
    Expired,
    /// It could not be looked up.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The viewer behind the value of an `Authorization` header: `Bearer` and an access token or an API key. None without
/// a header: what an anonymous caller may do is decided by the fields.
///
/// # Errors
/// [`AuthError::Invalid`], also for other schemes; [`AuthError::Expired`]; as the database answers.
pub async fn authenticate(
    db: &Db,
    tokens: &Tokens,
    now: Instant,
    authorization: Option<&str>,
) -> Result<Option<Viewer>, AuthError> {
    let Some(value) = authorization else {
        return Ok(None);
    };
    let credential = bearer(value).ok_or(AuthError::Invalid)?;
    let viewer = if api_keys::is_api_key(credential) {
        api_keys::authenticate(db, now, credential).await?
    } else {
        tokens.verify(credential, now)?
    };
    Ok(Some(viewer))
}

/// What follows `Bearer`, whose case does not matter (RFC 9110).
fn bearer(value: &str) -> Option<&str> {
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
