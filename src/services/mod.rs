//! Use cases: `(services, viewer, input) -> Result<Outcome, ServiceError>`. The only place where a request begins a
//! transaction.
//!
//! A noun calls another noun only through functions that take a transaction. Permissions are checked before (by the
//! field guards of the API); whose rows are seen is decided by the viewer's scope, inside the store.

pub mod access;
pub mod accounts;
mod adjustments;
pub mod affiliate_groups;
pub mod affiliate_parents;
pub mod affiliates;
pub mod api_keys;
pub mod attribution;
pub mod audit;
pub mod awards;
pub mod bonus_grants;
pub mod bonus_rules;
pub mod budgets;
pub mod campaigns;
pub mod caps;
pub mod click_accruals;
pub mod click_rates;
pub mod clicks;
pub mod commission_preview;
pub mod commissions;
pub mod conversions;
pub mod coupons;
pub mod dashboard;
pub mod documents;
pub mod earnings;
pub mod enrollments;
pub mod error;
pub mod events;
pub mod feed;
pub mod fx_conversions;
pub mod fx_rates;
pub mod goals;
pub mod health;
pub mod holds;
pub mod idempotency;
pub mod ingest;
pub mod ledger;
pub mod ledger_blocks;
pub mod links;
pub mod override_plans;
mod overrides;
pub mod payout_destinations;
pub mod payout_terms;
pub mod payouts;
pub mod postbacks;
pub mod postings;
pub mod processors;
mod races;
pub mod redirect;
pub mod reports;
pub mod revenue_deals;
pub mod revenue_records;
pub mod revenue_settlements;
pub mod rules;
pub mod sessions;
pub mod spool;
pub mod statements;
pub mod statistics;
pub mod tenants;
pub mod tiers;
pub mod users;
pub mod visitors;

use std::{ops::Deref, sync::Arc};

use futures_util::future::Either;
use tributary_entity::{Instant, ids::TenantId};

pub use error::ServiceError;

use crate::{
    ambient::Clock,
    auth::{Passwords, Tokens, Vault, Viewer},
    bus::{EventBatch, EventBus},
    config::Settings,
    domain::{
        cursor::CursorKey,
        event::Committed,
        ledger_chain::{Hash, SealKey},
    },
    limits::RateLimits,
    redis_client::RedisClient,
    spool::Spool,
    store::{database::Db, error::StoreError, scope::Tx},
};

/// A use case's result, and whether it is an earlier call's.
#[derive(Clone, Debug)]
pub struct Outcome<T> {
    pub value: T,
    /// The idempotency key was used before with the same input; nothing was done now.
    pub replayed: bool,
}

impl<T> Outcome<T> {
    pub const fn done(value: T) -> Self {
        Self { value, replayed: false }
    }

    pub const fn replayed(value: T) -> Self {
        Self { value, replayed: true }
    }
}

/// What every use case needs; cheap to clone, as every loader of every request holds one.
#[derive(Clone)]
pub struct Services {
    parts: Arc<Parts>,
    reads: Reads,
}

/// Where what is only read is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reads {
    Newest,
    /// The replica of the database, whose state may be a little older.
    Replica,
}

/// What [`Services`] are made of.
#[derive(Clone)]
pub struct Parts {
    pub db: Db,
    pub clock: Arc<dyn Clock>,
    pub bus: Arc<dyn EventBus>,
    pub limits: Arc<dyn RateLimits>,
    pub spending: budgets::Spending,
    pub documents: documents::Documents,
    pub settings: Arc<Settings>,
    pub access: access::Access,
    pub tokens: Arc<Tokens>,
    pub passwords: Passwords,
    pub cursors: Arc<CursorKey>,
    pub seal: Arc<SealKey>,
    pub feeds: feed::Feeds,
    pub dashboards: dashboard::Dashboards,
    pub lanes: ingest::Lanes,
    pub spool: Spool,
    /// Where there is one: for asking whether it answers.
    pub redis: Option<Arc<RedisClient>>,
    pub seen: Arc<health::Seen>,
    pub redirects: redirect::Redirects,
    pub caps: caps::Exhaustion,
    pub visitors: visitors::Visitors,
    pub refusals: postbacks::refusals::Refusals,
    pub processors: crate::processors::Processors,
    pub vault: Arc<Vault>,
}

impl Deref for Services {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

impl Services {
    pub fn new(parts: Parts) -> Self {
        Self { parts: Arc::new(parts), reads: Reads::Newest }
    }

    /// The same for a query of the viewer's that is answered by the replica of the database; none where that does not have
    /// all that this node wrote for the tenant. All of its reads go there: from the primary to an older state, what was
    /// read before could be missing.
    pub fn of_replica(&self, viewer: &Viewer) -> Option<Self> {
        let has = self.db.replica_has(&viewer.scope);
        has.then(|| Self { parts: Arc::clone(&self.parts), reads: Reads::Replica })
    }

    /// A transaction that reads the end of the viewer's log, which is the newest or none: what is read after it has to be as
    /// new.
    ///
    /// # Errors
    /// `Unavailable` by the replica.
    #[track_caller]
    pub(crate) fn snapshot_of_log(&self, viewer: &Viewer) -> impl Future<Output = Result<Tx, ServiceError>> + Send {
        let begun = (self.reads == Reads::Newest).then(|| {
            self.db.heard_of(&viewer.scope);
            self.db.snapshot(&viewer.scope)
        });
        async move {
            match begun {
                Some(begun) => Ok(begun.await?),
                None => Err(ServiceError::Unavailable),
            }
        }
    }

    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Whose signatures on the ledger count: this installation's, and those of its earlier secrets.
    pub fn trusted_seals(&self) -> Vec<Hash> {
        std::iter::once(self.seal.public()).chain(self.settings.ledger_keys.iter().map(|key| key.0)).collect()
    }

    /// A transaction that writes in the viewer's scope.
    #[track_caller]
    pub(crate) fn begin(&self, viewer: &Viewer) -> impl Future<Output = Result<Tx, StoreError>> + Send {
        self.db.begin(&viewer.scope)
    }

    /// A transaction that reads in the viewer's scope.
    #[track_caller]
    pub(crate) fn snapshot(&self, viewer: &Viewer) -> impl Future<Output = Result<Tx, StoreError>> + Send {
        match self.reads {
            Reads::Newest => Either::Left(self.db.snapshot(&viewer.scope)),
            Reads::Replica => Either::Right(self.db.snapshot_of_replica(&viewer.scope)),
        }
    }

    /// Commits and tells what was logged.
    pub(crate) async fn commit(&self, tx: Tx) -> Result<(), StoreError> {
        self.announce(tx.scope().tenant_id(), tx.commit().await?);
        Ok(())
    }

    /// Tells what a commit of a tenant did: this node's credentials and links at once, and the bus.
    fn announce(&self, tenant_id: TenantId, committed: Committed) {
        self.access.heed(&committed.events);
        self.redirects.heed(tenant_id, &committed.events);
        if let Some(batch) = EventBatch::of(tenant_id, committed) {
            self.bus.publish(batch);
        }
    }
}

/// Commits a transaction and tells the bus what it did.
pub(crate) async fn publish(bus: &dyn EventBus, tx: Tx) -> Result<(), StoreError> {
    let tenant_id = tx.scope().tenant_id();
    if let Some(batch) = EventBatch::of(tenant_id, tx.commit().await?) {
        bus.publish(batch);
    }
    Ok(())
}
