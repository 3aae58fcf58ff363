//! What a credential is worth: at a request, and for as long as a connection stands on it.
//!
//! A credential that is good by itself (see [`crate::auth`]) is worth what its basis is worth now: its session, user,
//! key, affiliate and tenant. At a request that comes out of a cache, at most a second old; a hot credential costs one
//! read a second on each node. Connections are told of changes by the tenant's event log. Either way a revocation holds
//! on every node within two seconds, also while Redis is away.

mod following;
mod slot;
mod worth;

use std::{sync::Arc, time::Duration};

use moka::sync::Cache;
use tokio::sync::watch;
use tributary_entity::{Instant, event, ids::ApiKeyId};

use self::{
    following::{Following, Followings, concerns, matters},
    slot::{Key, Known, Slot},
    worth::Worth,
};
use super::feed::Feeds;
use crate::{
    ambient::Clock,
    auth::{self, AuthError, Basis, ExternalIdentity, Tokens, Viewer, api_keys},
    domain::tenancy::TenantScope,
    store::{database::Db, directory},
};

/// Bases and keys that are remembered. One takes some 500 bytes.
const REMEMBERED: u64 = 50_000;
/// How long one is remembered that nobody asks for.
const IDLE: Duration = Duration::from_secs(60);

/// Judges credentials; cheap to clone.
#[derive(Clone)]
pub struct Access {
    db: Db,
    tokens: Arc<Tokens>,
    external: Arc<ExternalIdentity>,
    clock: Arc<dyn Clock>,
    slots: Cache<Key, Arc<Slot>>,
    /// API keys by hash. Whose a key is never changes, what it is worth is its slot's to say.
    keys: Cache<[u8; 32], Arc<KnownKey>>,
    followings: Followings,
}

/// An API key that was presented on this node.
struct KnownKey {
    scope: TenantScope,
    id: ApiKeyId,
    last_use: api_keys::LastUse,
}

/// What became of a credential that a connection stands on.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// It is worth nothing any more: user, key, session, affiliate or tenant ended.
    Revoked,
    /// It is worth something else: other roles.
    Changed(Viewer),
}

/// Follows one credential.
pub struct Standing {
    viewer: Viewer,
    /// None for a viewer that stands on nothing that can fall.
    followed: Option<Followed>,
}

struct Followed {
    known: watch::Receiver<Known>,
    // In this order: who follows no more lets go of the tenant last.
    _slot: Arc<Slot>,
    _following: Arc<Following>,
}

impl Access {
    pub fn new(
        db: Db,
        tokens: Arc<Tokens>,
        external: Arc<ExternalIdentity>,
        clock: Arc<dyn Clock>,
        feeds: Feeds,
    ) -> Self {
        let slots = Cache::builder().max_capacity(REMEMBERED).time_to_idle(IDLE).build();
        let keys = Cache::builder().max_capacity(REMEMBERED).time_to_idle(IDLE).build();
        let followings = Followings::new(db.clone(), feeds);
        Self { db, tokens, external, clock, slots, keys, followings }
    }

    /// The viewer behind the value of an `Authorization` header: `Bearer` and an access token of ours, one of an
    /// identity provider, or an API key. None without a header: what an anonymous caller may do is decided by the fields.
    ///
    /// # Errors
    /// [`AuthError::Invalid`], also for other schemes; [`AuthError::Expired`]; [`AuthError::Unavailable`].
    pub async fn authenticate(&self, authorization: Option<&str>) -> Result<Option<Viewer>, AuthError> {
        let Some(value) = authorization else {
            return Ok(None);
        };
        let credential = auth::bearer(value).ok_or(AuthError::Invalid)?;
        let now = self.clock.now();
        if api_keys::is_api_key(credential) {
            return self.key(credential, now).await.map(Some);
        }
        let said = match self.external.provider_of(credential) {
            Some(provider) => provider.verify(&self.db, credential, now).await?,
            None => self.tokens.verify(credential, now)?,
        };
        if said.basis == Basis::Secret {
            return Ok(Some(said));
        }
        let worth = self.slot((said.scope, said.basis)).worth(&self.db).await?;
        worth.apply(said).ok_or(AuthError::Invalid).map(Some)
    }

    async fn key(&self, key: &str, now: Instant) -> Result<Viewer, AuthError> {
        let hash = api_keys::stored_hash(key)?;
        let known = match self.keys.get(&hash) {
            Some(known) => known,
            None => {
                let (scope, row) = directory::api_key_by_hash(&self.db, &hash).await?.ok_or(AuthError::Invalid)?;
                let known = KnownKey { scope, id: row.id, last_use: api_keys::LastUse::default() };
                self.keys.get_with(hash, || Arc::new(known))
            }
        };
        let worth = self.slot((known.scope, Basis::ApiKey(known.id))).worth(&self.db).await?;
        let Worth::Key(row) = &*worth else {
            return Err(AuthError::Invalid);
        };
        let viewer = api_keys::viewer(known.scope, row, now)?;
        if known.last_use.is_due(row, now) {
            api_keys::note_use(&self.db, known.scope, known.id, now);
        }
        Ok(viewer)
    }

    fn slot(&self, key: Key) -> Arc<Slot> {
        self.slots.get_with(key, || Arc::new(Slot::new(key)))
    }

    /// Follows what the viewer's credential is worth, on every node, until the answer is dropped. Its end by time is the
    /// caller's to watch (`Viewer::expires_at`).
    pub fn watch(&self, viewer: &Viewer) -> Standing {
        let followed = (viewer.basis != Basis::Secret).then(|| {
            let key = (viewer.scope, viewer.basis);
            let following = self.followings.of(&viewer.scope);
            let slot = following.slot(key, || self.slot(key));
            Followed { known: slot.subscribe(), _slot: slot, _following: following }
        });
        Standing { viewer: viewer.clone(), followed }
    }

    /// Takes note of what was just committed on this node: whoever changed it sees it hold at once, here.
    pub fn heed(&self, events: &[event::Model]) {
        for event in events.iter().filter(|event| matters(event.kind)) {
            for (key, slot) in &self.slots {
                if concerns(event, &key) {
                    slot.expire();
                }
            }
        }
    }
}

impl Standing {
    /// Waits for the next verdict. Safe to cancel. After [`Verdict::Revoked`] there is no other.
    pub async fn changed(&mut self) -> Verdict {
        let Some(followed) = &mut self.followed else {
            return std::future::pending().await;
        };
        loop {
            let worth = followed.known.borrow_and_update().worth.clone();
            if let Some(worth) = worth {
                let Some(now) = worth.apply(self.viewer.clone()) else {
                    return Verdict::Revoked;
                };
                if now.roles != self.viewer.roles {
                    self.viewer = now.clone();
                    return Verdict::Changed(now);
                }
            }
            if followed.known.changed().await.is_err() {
                // The sender is in the slot, which we hold.
                return std::future::pending().await;
            }
        }
    }
}
