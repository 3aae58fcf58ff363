//! What is kept of an address: its network, and a hash under a key of the tenant and day.
//!
//! # Decisions
//! - The key is the tenant's and the day's: the same visitor is another one for another tenant, and on another day. When
//!   the key is destroyed, nothing leads from a hash to an address, by guessing neither.
//! - Keys are in the database, not derived from the server's secret: what can be derived cannot be destroyed.
//! - The day is that of the visit as this node sees it, also for a click that is told of later.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use chrono::{Days, NaiveDate};
use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tributary_entity::ids::TenantId;

use crate::{
    ambient::{self, Clock},
    domain::tenancy::TenantScope,
    services::ServiceError,
    store::{address_keys, database::Db, error::StoreError},
};

/// Bytes of the hash that are kept: enough to tell apart all addresses there are.
const HASH_BYTES: usize = 16;

/// The network of an address: /24 of IPv4, /48 of IPv6. What IPv6 maps of IPv4 is IPv4.
pub(super) fn prefix(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            format!("{}/24", Ipv4Addr::new(a, b, c, 0))
        }
        IpAddr::V6(address) => {
            let [a, b, c, ..] = address.segments();
            format!("{}/48", Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0))
        }
    }
}

/// A key, ready to hash with; not to be printed.
type Key = Hmac<Sha256>;

fn prepared(key: &[u8; 32]) -> Key {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// Hashes an address.
fn hash(key: &Key, address: IpAddr) -> String {
    let mut mac = key.clone();
    match address.to_canonical() {
        IpAddr::V4(address) => mac.update(&address.octets()),
        IpAddr::V6(address) => mac.update(&address.octets()),
    }
    HEXLOWER.encode(&mac.finalize().into_bytes()[..HASH_BYTES])
}

/// The keys that this node knows; cheap to clone.
#[derive(Clone)]
pub(super) struct Keys(Arc<Inner>);

struct Inner {
    db: Db,
    clock: Arc<dyn Clock>,
    /// Of today and tomorrow; older ones go as new ones come.
    known: RwLock<HashMap<TenantId, Vec<(NaiveDate, Key)>>>,
    /// Whose keys are being asked for.
    asked: Mutex<HashSet<TenantId>>,
}

impl Keys {
    pub fn new(db: Db, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner { db, clock, known: RwLock::default(), asked: Mutex::default() }))
    }

    fn today(&self) -> NaiveDate {
        self.0.clock.now().date_naive()
    }

    fn known(&self, scope: &TenantScope, day: NaiveDate) -> Option<Key> {
        let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(&scope.tenant_id())?.iter().find(|(of, _)| *of == day).map(|(_, key)| key.clone())
    }

    /// The hash of an address under today's key. None where the key is not known; it is asked for then, for the next
    /// visitor.
    pub fn hash(&self, scope: &TenantScope, address: IpAddr) -> Option<String> {
        let key = self.known(scope, self.today());
        if key.is_none() {
            self.ask(*scope);
        }
        Some(hash(&key?, address))
    }

    /// Learns a tenant's keys in the background, unless somebody does already.
    fn ask(&self, scope: TenantScope) {
        if self.0.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(scope.tenant_id()) {
            let keys = self.clone();
            tokio::spawn(async move {
                if let Err(error) = keys.learn(&scope).await {
                    tracing::debug!(%error, tenant.id = %scope.tenant_id(), "no keys for addresses");
                }
                keys.0.asked.lock().unwrap_or_else(PoisonError::into_inner).remove(&scope.tenant_id());
            });
        }
    }

    pub async fn prepare(&self, scope: &TenantScope) {
        if self.known(scope, self.today()).is_none()
            && let Err(error) = self.learn(scope).await
        {
            tracing::debug!(%error, tenant.id = %scope.tenant_id(), "no keys for addresses");
        }
    }

    pub async fn prepare_all(&self, scopes: &[TenantScope]) {
        let tomorrow = self.today() + Days::new(1);
        for scope in scopes.iter().filter(|scope| self.known(scope, tomorrow).is_none()) {
            if let Err(error) = self.learn(scope).await {
                tracing::warn!(%error, tenant.id = %scope.tenant_id(), "no keys for addresses");
            }
        }
    }

    /// Reads the keys of today and tomorrow, and makes those that nobody has made.
    async fn learn(&self, scope: &TenantScope) -> Result<(), StoreError> {
        let today = self.today();
        let days = [today, today + Days::new(1)];
        let mut keys = address_keys::get_many(&self.0.db.snapshot(scope).await?, &days).await?;
        if keys.len() < days.len() {
            let mut tx = self.0.db.begin(scope).await?;
            let new = days.map(|day| (day, ambient::random_bytes::<32>().to_vec()));
            address_keys::insert_missing(&mut tx, new.into()).await?;
            keys = address_keys::get_many(&tx, &days).await?;
            tx.commit().await?;
        }
        let keys = keys
            .into_iter()
            .map(|(day, key)| {
                let key = key.try_into().map_err(|_| StoreError::inconsistent("address_key", "not 32 bytes"))?;
                Ok((day, prepared(&key)))
            })
            .collect::<Result<Vec<_>, StoreError>>()?;
        self.0.known.write().unwrap_or_else(PoisonError::into_inner).insert(scope.tenant_id(), keys);
        Ok(())
    }

    pub async fn destroy(&self, scope: &TenantScope, before: NaiveDate) -> Result<u64, ServiceError> {
        let mut tx = self.0.db.begin(scope).await?;
        let destroyed = address_keys::delete_before(&mut tx, before).await?;
        tx.commit().await?;
        Ok(destroyed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn prefix_is_a_network() {
        for (text, expected) in [
            ("203.0.113.77", "203.0.113.0/24"),
            ("::ffff:203.0.113.77", "203.0.113.0/24"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
            ("::1", "::/48"),
        ] {
            assert_eq!(prefix(address(text)), expected, "{text}");
        }
    }

    #[test]
    fn hash_is_of_the_key_and_the_whole_address() {
        let (key, other) = (prepared(&[1; 32]), prepared(&[2; 32]));
        let one = hash(&key, address("203.0.113.77"));
        // HMAC-SHA256 of the four bytes under 32 bytes of 01, reckoned elsewhere.
        assert_eq!(one, "61351ded89c4dc6041cb7ef57fc473c3");
        assert_eq!(one, hash(&key, address("::ffff:203.0.113.77")));
        assert_ne!(one, hash(&key, address("203.0.113.78")));
        assert_ne!(one, hash(&other, address("203.0.113.77")));
    }
}
