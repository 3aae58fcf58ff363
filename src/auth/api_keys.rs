//! API keys: `trb_live_` and a [`KeyText`]: what one opens, and when it was used.

use std::sync::atomic::{AtomicI64, Ordering};

use chrono::TimeDelta;
use tracing::debug;
use tributary_entity::{Instant, api_key, ids::ApiKeyId, kinds::Role};

pub use super::key_text::{hash, hint};
use super::{
    AuthError,
    key_text::KeyText,
    permission::{self, PermissionSet},
    viewer::{Actor, Basis, Viewer},
};
use crate::{
    domain::{api_key as rules, tenancy::TenantScope},
    store::{self, database::Db, error::StoreError},
};

const FORM: KeyText = KeyText::new("trb_live_");
/// `last_used_at` is kept to this.
const USE_RESOLUTION_SECS: i64 = 60;

/// A new key; its text is shown once.
pub fn generate() -> String {
    FORM.generate()
}

/// Whether a credential claims to be an API key rather than an access token.
pub fn is_api_key(credential: &str) -> bool {
    FORM.claims(credential)
}

/// What is stored of a key, if the text can be one at all: a mistyped or made-up one is refused before any look-up.
///
/// # Errors
/// [`AuthError::Invalid`].
pub fn stored_hash(key: &str) -> Result<[u8; 32], AuthError> {
    if FORM.fits(key) { Ok(hash(key)) } else { Err(AuthError::Invalid) }
}

/// The viewer whom a key speaks for: the INTEGRATION role as far as the key's scopes open it.
///
/// # Errors
/// [`AuthError::Expired`] past the key's end; [`AuthError::Invalid`] for a revoked one; a row that cannot be read.
pub fn viewer(scope: TenantScope, row: &api_key::Model, now: Instant) -> Result<Viewer, AuthError> {
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
        basis: Basis::ApiKey(row.id),
        roles: vec![Role::Integration],
        permissions: scopes
            .iter()
            .fold(PermissionSet::EMPTY, |permissions, scope| permissions.union(permission::of_scope(*scope))),
        expires_at: row.expires_at,
    })
}

/// Who on this node noted last that a key was used: one of many requests in a minute does.
#[derive(Default)]
pub struct LastUse(AtomicI64);

impl LastUse {
    /// Whether the caller is the one to note a use of the key at `now`, seeing what its row says.
    pub fn is_due(&self, row: &api_key::Model, now: Instant) -> bool {
        let now = now.timestamp();
        let noted = self.0.load(Ordering::Relaxed);
        let seen = row.last_used_at.map_or(0, |at| at.timestamp());
        now - noted.max(seen) >= USE_RESOLUTION_SECS
            && self.0.compare_exchange(noted, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// Notes that a key was used, beside the request, which neither waits for the write nor fails with it.
pub fn note_use(db: &Db, scope: TenantScope, id: ApiKeyId, now: Instant) {
    let (db, since) = (db.clone(), now - TimeDelta::seconds(USE_RESOLUTION_SECS));
    tokio::spawn(async move {
        let noted = async {
            let mut tx = db.begin(&scope).await?;
            store::api_keys::note_use(&mut tx, id, since, now).await?;
            tx.commit().await.map(drop)
        };
        if let Err(error) = noted.await {
            debug!(%error, api_key.id = %id, "the use of an API key was not noted");
        }
    });
}

#[cfg(test)]
mod tests {
    use tributary_entity::ids::TenantId;
    use uuid::Uuid;

    use super::*;
    use crate::auth::Permission;

    fn at(secs: i64) -> Instant {
        Instant::from_timestamp(1_800_000_000 + secs, 0).expect("in range")
    }

    fn row() -> api_key::Model {
        api_key::Model {
            tenant_id: TenantId::from_uuid(Uuid::nil()),
            id: ApiKeyId::from_uuid(Uuid::nil()),
            name: "shop".to_owned(),
            key_hash: Vec::new(),
            hint: String::new(),
            scopes: "RECORD_CLICKS,RECORD_CONVERSIONS".to_owned(),
            created_at: at(0),
            expires_at: Some(at(1)),
            last_used_at: None,
            revoked_at: None,
        }
    }

    #[test]
    fn key_opens_what_its_scopes_say_until_it_ends() {
        let scope = TenantScope::tenant(row().tenant_id);
        let good = viewer(scope, &row(), at(0)).expect("good");
        assert_eq!(good.roles, [Role::Integration]);
        assert!(good.may(Permission::RecordConversions) && !good.may(Permission::ReadCampaigns));
        assert!(matches!(viewer(scope, &row(), at(1)), Err(AuthError::Expired)));
        let revoked = api_key::Model { revoked_at: Some(at(0)), ..row() };
        assert!(matches!(viewer(scope, &revoked, at(0)), Err(AuthError::Invalid)));
        let unreadable = api_key::Model { scopes: "EVERYTHING".to_owned(), ..row() };
        assert!(matches!(viewer(scope, &unreadable, at(0)), Err(AuthError::Store(_))));
    }

    #[test]
    fn use_is_noted_once_a_minute() {
        let (last_use, unused) = (LastUse::default(), row());
        assert!(last_use.is_due(&unused, at(0)));
        assert!(!last_use.is_due(&unused, at(0)), "the row that this node holds is still the old one");
        assert!(!last_use.is_due(&unused, at(59)) && last_use.is_due(&unused, at(60)));
        let used_elsewhere = api_key::Model { last_used_at: Some(at(119)), ..row() };
        assert!(!last_use.is_due(&used_elsewhere, at(121)) && last_use.is_due(&used_elsewhere, at(179)));
    }
}
