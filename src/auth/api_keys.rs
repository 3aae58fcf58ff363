//! API keys: `trb_live_<32 characters>_<6 characters>`, 160 random bits and a checksum over them.
//!
//! # Decisions
//! - The checksum refuses a mistyped or made-up key before any look-up, and lets secret scanners tell a key from chance.
//! - A plain SHA-256 is stored: there is nothing to guess in 160 random bits, so a slow hash would only slow requests.

use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};
use tracing::debug;
use tributary_entity::{Instant, api_key, kinds::Role};

use super::{
    AuthError,
    permission::{self, PermissionSet},
    viewer::{Actor, Viewer},
};
use crate::{
    ambient,
    domain::{api_key as rules, tenancy::TenantScope},
    store::{self, database::Db, directory, error::StoreError},
};

const PREFIX: &str = "trb_live_";
const RANDOM_CHARS: usize = 32;
const CHECKSUM_CHARS: usize = 6;
/// `last_used_at` is kept to this.
const USE_RESOLUTION_SECS: i64 = 60;

/// A new key; its text is shown once.
pub fn generate() -> String {
    let random = BASE32_NOPAD.encode(&ambient::random_bytes::<20>()).to_ascii_lowercase();
    format!("{PREFIX}{random}_{}", checksum(&random))
}

/// What is stored of a key.
pub fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key).into()
}

/// The key's last four characters, to tell keys apart in a list.
pub fn hint(key: &str) -> String {
    key.chars().skip(key.chars().count().saturating_sub(4)).collect()
}

/// Whether a credential claims to be an API key rather than an access token.
pub(super) fn is_api_key(credential: &str) -> bool {
    credential.starts_with(PREFIX)
}

fn checksum(random: &str) -> String {
    let digest = Sha256::digest(format!("{PREFIX}{random}"));
    let mut text = BASE32_NOPAD.encode(&digest[..4]).to_ascii_lowercase();
    text.truncate(CHECKSUM_CHARS);
    text
}

fn is_well_formed(key: &str) -> bool {
    key.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_')).is_some_and(|(random, sum)| {
        random.len() == RANDOM_CHARS
            && random.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7'))
            && sum == checksum(random)
    })
}

/// The viewer whom a key speaks for: the INTEGRATION role as far as the key's scopes open it.
///
/// # Errors
/// [`AuthError::Expired`] past the key's end; [`AuthError::Invalid`] for revoked and unknown keys; as the database
/// answers.
pub async fn authenticate(db: &Db, now: Instant, key: &str) -> Result<Viewer, AuthError> {
    if !is_well_formed(key) {
        return Err(AuthError::Invalid);
    }
    let (scope, row) = directory::api_key_by_hash(db, &hash(key)).await?.ok_or(AuthError::Invalid)?;
    let viewer = viewer(scope, &row, now)?;
    if row.last_used_at.is_none_or(|at| (now - at).num_seconds() >= USE_RESOLUTION_SECS) {
        let db = db.clone();
        // Beside the request, which neither waits for the write nor fails with it.
        tokio::spawn(async move {
            if let Err(error) = note_use(&db, &scope, &row, now).await {
                debug!(%error, api_key.id = %row.id, "the use of an API key was not noted");
            }
        });
    }
    Ok(viewer)
}

async fn note_use(db: &Db, scope: &TenantScope, row: &api_key::Model, now: Instant) -> Result<(), StoreError> {
    let mut tx = db.begin(scope).await?;
    store::api_keys::note_use(&mut tx, row.id, row.last_used_at, now).await?;
    tx.commit().await.map(drop)
}

fn viewer(scope: TenantScope, row: &api_key::Model, now: Instant) -> Result<Viewer, AuthError> {
    if row.revoked_at.is_some() {
        return Err(AuthError::Invalid);
    }
    if row.expires_at.is_some_and(|at| at <= now) {
        return Err(AuthError::Expired);
    }
    let scopes = rules::parse_scopes(&row.scopes).map_err(|error| StoreError::inconsistent("api_key", error))?;
    Ok(Viewer {
        scope,
        actor: Actor::ApiKey(row.id),
        roles: vec![Role::Integration],
        permissions: scopes
            .iter()
            .fold(PermissionSet::EMPTY, |permissions, scope| permissions.union(permission::of_scope(*scope))),
        expires_at: row.expires_at,
    })
}

#[cfg(test)]
mod tests {
    use tributary_entity::ids::{ApiKeyId, TenantId};
    use uuid::Uuid;

    use super::*;
    use crate::auth::Permission;

    #[test]
    fn generated_key_has_its_form() {
        let key = generate();
        assert_eq!(key.len(), PREFIX.len() + RANDOM_CHARS + 1 + CHECKSUM_CHARS);
        assert!(is_api_key(&key) && is_well_formed(&key), "{key}");
        assert!(key.ends_with(&hint(&key)));
        assert_ne!(generate(), key);
    }

    #[test]
    fn checksum_catches_every_changed_character() {
        let key = generate();
        for index in 0..key.len() {
            let mut bytes = key.clone().into_bytes();
            bytes[index] = if bytes[index] == b'a' { b'b' } else { b'a' };
            assert!(!is_well_formed(std::str::from_utf8(&bytes).expect("ascii")), "byte {index} of {key}");
        }
        for wrong in ["", PREFIX, "trb_live__", &key[..key.len() - 1], &format!("{key}a"), &key.to_uppercase(), "🦀"]
        {
            assert!(!is_well_formed(wrong), "{wrong}");
        }
    }

    #[test]
    fn key_opens_what_its_scopes_say_until_it_ends() {
        let now = Instant::from_timestamp(1_800_000_000, 0).expect("in range");
        let scope = TenantScope::tenant(TenantId::from_uuid(Uuid::nil()));
        let row = api_key::Model {
            tenant_id: scope.tenant_id(),
            id: ApiKeyId::from_uuid(Uuid::nil()),
            name: "shop".to_owned(),
            key_hash: Vec::new(),
            hint: String::new(),
            scopes: "RECORD_CLICKS,RECORD_CONVERSIONS".to_owned(),
            created_at: now,
            expires_at: Some(now + chrono::TimeDelta::seconds(1)),
            last_used_at: None,
            revoked_at: None,
        };
        let good = viewer(scope, &row, now).expect("good");
        assert_eq!(good.roles, [Role::Integration]);
        assert!(good.may(Permission::RecordConversions) && !good.may(Permission::ReadCampaigns));
        let later = now + chrono::TimeDelta::seconds(1);
        assert!(matches!(viewer(scope, &row, later), Err(AuthError::Expired)));
        let revoked = api_key::Model { revoked_at: Some(now), ..row.clone() };
        assert!(matches!(viewer(scope, &revoked, now), Err(AuthError::Invalid)));
        let unreadable = api_key::Model { scopes: "EVERYTHING".to_owned(), ..row };
        assert!(matches!(viewer(scope, &unreadable, now), Err(AuthError::Store(_))));
    }
}
