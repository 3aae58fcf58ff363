//! One basis on this node: what it was worth when last asked, who is asking, who is told of changes.
//!
//! # Decisions
//! - One reads, the others wait for its answer, also when that is a failure: a database that does not answer is not asked
//!   by everybody in turn.
//! - An answer counts from when it was asked for, not from when it came: a slow answer is an old one.
//! - When the database cannot be asked, what was known two seconds ago still counts, and nothing older: the promise that
//!   a revocation holds everywhere within two seconds has no exception, and so fails closed. Nearly everything else
//!   needs the database as well; what is lost is little. The answer is `UNAVAILABLE` and not `UNAUTHENTICATED`, which
//!   would make clients throw good credentials away.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Mutex, watch},
    time::{Instant, timeout},
};

use super::worth::Worth;
use crate::{
    auth::{AuthError, Basis},
    domain::tenancy::TenantScope,
    store::{database::Db, error::StoreError},
};

/// How old an answer may be at a request.
const FRESH: Duration = Duration::from_secs(1);
/// How old it may be when the database does not answer.
const STALE: Duration = Duration::from_secs(2);
/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a slot is about.
pub(super) type Key = (TenantScope, Basis);

/// See the module.
pub(super) struct Slot {
    pub(super) scope: TenantScope,
    pub(super) basis: Basis,
    known: watch::Sender<Known>,
    reading: Mutex<()>,
}

/// What is known of a basis.
#[derive(Clone, Default)]
pub(super) struct Known {
    /// None before the first answer.
    pub(super) worth: Option<Arc<Worth>>,
    asked_at: Option<Instant>,
    failed_at: Option<Instant>,
    /// Answers that were asked for before this are overtaken.
    since: Option<Instant>,
}

impl Known {
    /// The worth, if it was asked for at most so long before a moment.
    fn within(&self, age: Duration, moment: Instant) -> Option<Arc<Worth>> {
        let asked_at = self.asked_at?;
        let current = self.since.is_none_or(|since| asked_at >= since);
        (current && asked_at + age >= moment).then(|| self.worth.clone()).flatten()
    }
}

impl Slot {
    pub(super) fn new((scope, basis): Key) -> Self {
        Self { scope, basis, known: watch::Sender::new(Known::default()), reading: Mutex::new(()) }
    }

    /// What the basis is worth, as of a second ago at most.
    ///
    /// # Errors
    /// [`AuthError::Unavailable`] when the database cannot be asked; a defect.
    pub(super) async fn worth(&self, db: &Db) -> Result<Arc<Worth>, AuthError> {
        let began = Instant::now();
        if let Some(worth) = self.known.borrow().within(FRESH, began) {
            return Ok(worth);
        }
        let _reading = self.reading.lock().await;
        let failed = {
            // Somebody may have read while this call waited.
            let known = self.known.borrow();
            if let Some(worth) = known.within(FRESH, began) {
                return Ok(worth);
            }
            known.failed_at.is_some_and(|at| at >= began)
        };
        let error = if failed {
            AuthError::Unavailable
        } else {
            match self.read(db).await {
                Ok(worth) => return Ok(worth),
                Err(StoreError::Unavailable(_) | StoreError::Conflict(_)) => AuthError::Unavailable,
                Err(error) => return Err(error.into()),
            }
        };
        self.known.borrow().within(STALE, Instant::now()).ok_or(error)
    }

    /// Reads again, unless that was done since a moment.
    ///
    /// # Errors
    /// As the database answers.
    pub(super) async fn refresh(&self, db: &Db, since: Instant) -> Result<(), StoreError> {
        let _reading = self.reading.lock().await;
        if self.known.borrow().asked_at.is_some_and(|at| at >= since) {
            return Ok(());
        }
        self.read(db).await.map(drop)
    }

    /// Makes what is known too old for the next request.
    pub(super) fn expire(&self) {
        self.known.send_if_modified(|known| {
            known.since = Some(Instant::now());
            false
        });
    }

    /// Sets what the caller knows from elsewhere.
    pub(super) fn set(&self, worth: Worth, asked_at: Instant) -> Arc<Worth> {
        let worth = Arc::new(worth);
        self.known.send_if_modified(|known| {
            let changed = known.worth.as_deref() != Some(&*worth);
            known.worth = Some(Arc::clone(&worth));
            known.asked_at = Some(asked_at);
            changed
        });
        worth
    }

    /// Tells of changes from now on.
    pub(super) fn subscribe(&self) -> watch::Receiver<Known> {
        self.known.subscribe()
    }

    async fn read(&self, db: &Db) -> Result<Arc<Worth>, StoreError> {
        let asked_at = Instant::now();
        let answer = timeout(PATIENCE, Worth::read(db, &self.scope, self.basis)).await;
        match answer.unwrap_or_else(|_| Err(StoreError::timed_out())) {
            Ok(worth) => Ok(self.set(worth, asked_at)),
            Err(error) => {
                self.known.send_if_modified(|known| {
                    known.failed_at = Some(Instant::now());
                    false
                });
                Err(error)
            }
        }
    }
}
