//! The routes of this node's links: read once, used until an event says otherwise, and while the database is away.
//!
//! # Decisions
//! - A route that an event made doubtful is read again by the next request, which waits [`BRIEFLY`] for it; then, and for
//!   all others meanwhile, the old one does. So a change holds at once where the database answers, and no redirect waits
//!   for one that does not.
//! - One reads a link for the first time, the others wait for its answer. Readers are few, for all links together: a flood
//!   of invented codes queues up here, each for [`PATIENCE`] at most, and leaves the database to everybody else.
//! - That there is no such link is remembered for [`ABSENT`], apart from the routes: invented codes push no route out.

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use moka::sync::Cache;
use tokio::{
    sync::{Mutex, Semaphore},
    time::{sleep, timeout},
};
use tributary_entity::{
    event,
    ids::{AffiliateId, CampaignId, TenantId},
    kinds::TenantStatus,
};

use super::following::{Followings, Watch};
use crate::{
    domain::{link::CODE_LEN, redirect::Route, tenancy::TenantScope},
    services::feed::Feeds,
    store::{affiliates, campaigns, database::Db, directory, enrollments, error::StoreError, links, tenants},
};

/// How long a route is kept that nobody asks for. Its tenant is followed as long.
const IDLE: Duration = Duration::from_secs(3_600);
/// How long a link is taken to be absent.
const ABSENT: Duration = Duration::from_secs(3);
/// Absent links that are remembered.
const ABSENT_MAX: u64 = 10_000;
/// Reads at once.
const READERS: usize = 4;
/// How long a link is waited for that is not known.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a link is waited for that is known, but perhaps has changed.
const BRIEFLY: Duration = Duration::from_millis(250);
/// How long to wait before asking a database again that did not answer.
const RETRY: Duration = Duration::from_millis(500);

/// What leads to a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// In its address.
    Code([u8; CODE_LEN]),
    /// The affiliate's first active link of a campaign.
    Pair(CampaignId, AffiliateId),
}

impl Key {
    /// The key of a code; none for what is no code.
    pub fn code(text: &str) -> Option<Self> {
        let code: [u8; CODE_LEN] = text.as_bytes().try_into().ok()?;
        code.iter().all(u8::is_ascii_alphanumeric).then_some(Self::Code(code))
    }
}

/// What is known of a link.
pub(super) struct Known {
    pub scope: TenantScope,
    /// None while the tenant is suspended.
    pub route: Option<Route>,
    watch: Watch,
}

#[derive(Default)]
struct Slot {
    known: RwLock<Option<Arc<Known>>>,
    reading: Mutex<()>,
    /// Somebody reads again what is known.
    renewing: AtomicBool,
}

impl Slot {
    fn known(&self) -> Option<Arc<Known>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, known: Option<Arc<Known>>) {
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = known;
    }
}

/// The routes; cheap to clone.
#[derive(Clone)]
pub(super) struct Routes {
    db: Db,
    followings: Followings,
    slots: Cache<Key, Arc<Slot>>,
    absent: Cache<Key, ()>,
    readers: Arc<Semaphore>,
}

impl Routes {
    pub fn new(db: Db, feeds: Feeds, entries: u64) -> Self {
        Self {
            db,
            followings: Followings::new(feeds),
            slots: Cache::builder().max_capacity(entries).time_to_idle(IDLE).build(),
            absent: Cache::builder().max_capacity(ABSENT_MAX).time_to_live(ABSENT).build(),
            readers: Arc::new(Semaphore::new(READERS)),
        }
    }

    /// What is known of a link; none when there is none.
    ///
    /// # Errors
    /// As the database answers, for a link that was not asked for before.
    pub async fn get(&self, key: Key) -> Result<Option<Arc<Known>>, StoreError> {
        if let Some(slot) = self.slots.get(&key)
            && let Some(known) = slot.known()
        {
            return Ok(if known.watch.is_quiet() { Some(known) } else { self.renewed(key, slot).await });
        }
        if self.absent.contains_key(&key) {
            return Ok(None);
        }
        let first = async {
            let slot = self.slots.get_with(key, Arc::default);
            let _reading = slot.reading.lock().await;
            // Somebody may have read while this call waited.
            if let Some(known) = slot.known() {
                return Ok(Some(known));
            }
            if self.absent.contains_key(&key) {
                return Ok(None);
            }
            let read = self.read(key).await;
            self.keep(key, &slot, read.as_ref().ok().cloned().flatten());
            if matches!(read, Ok(None)) {
                self.absent.insert(key, ());
            }
            read
        };
        timeout(PATIENCE, first).await.unwrap_or_else(|_| Err(StoreError::timed_out()))
    }

    /// Takes note of what was just committed on this node.
    pub fn heed(&self, tenant_id: TenantId, events: &[event::Model]) {
        self.followings.heed(tenant_id, events);
    }

    /// What is known after it was read again, or what was known, when that takes too long.
    async fn renewed(&self, key: Key, slot: Arc<Slot>) -> Option<Arc<Known>> {
        if !slot.renewing.swap(true, Ordering::AcqRel) {
            let (routes, slot) = (self.clone(), Arc::clone(&slot));
            // On a task of its own: the request may be gone before the database answers.
            let renewal = tokio::spawn(async move { routes.renew(key, &slot).await });
            let _ = timeout(BRIEFLY, renewal).await;
        }
        slot.known()
    }

    async fn renew(&self, key: Key, slot: &Arc<Slot>) {
        match timeout(PATIENCE, self.read(key)).await.unwrap_or_else(|_| Err(StoreError::timed_out())) {
            Ok(known) => self.keep(key, slot, known),
            Err(error) => {
                tracing::warn!(%error, "a link cannot be read again; it redirects as before");
                sleep(RETRY).await;
            }
        }
        slot.renewing.store(false, Ordering::Release);
    }

    fn keep(&self, key: Key, slot: &Slot, known: Option<Arc<Known>>) {
        let is_known = known.is_some();
        slot.set(known);
        if !is_known {
            self.slots.invalidate(&key);
        }
    }

    async fn read(&self, key: Key) -> Result<Option<Arc<Known>>, StoreError> {
        let _permit = self.readers.acquire().await;
        let found = match &key {
            Key::Code(code) => {
                let code = std::str::from_utf8(code).map_err(|_| StoreError::inconsistent("link", "a code"))?;
                directory::link_by_code(&self.db, code).await?
            }
            Key::Pair(campaign_id, affiliate_id) => {
                directory::first_link(&self.db, *campaign_id, *affiliate_id).await?
            }
        };
        let Some((scope, found)) = found else { return Ok(None) };
        let (id, campaign_id, affiliate_id) = (found.id, found.campaign_id, found.affiliate_id);
        // First followed, then read: whatever changes after the reading leaves its mark.
        let following = self.followings.of(&scope).await?;
        let watch = following.watch([scope.tenant_id().uuid(), id.uuid(), campaign_id.uuid(), affiliate_id.uuid()]);
        let tx = self.db.snapshot(&scope).await?;
        let missing = |table| move || StoreError::inconsistent(table, "named by a link and not there");
        let link = links::get(&tx, id).await?.ok_or_else(missing("link"))?;
        let campaign = campaigns::get(&tx, campaign_id).await?.ok_or_else(missing("campaign"))?;
        let affiliate = affiliates::get(&tx, affiliate_id).await?.ok_or_else(missing("affiliate"))?;
        let enrollment = enrollments::for_pairs(&tx, &[(campaign_id, affiliate_id)]).await?.pop();
        let is_suspended = tenants::get(&tx).await?.status == TenantStatus::Suspended;
        let route = (!is_suspended).then(|| Route::new(&link, &campaign, &affiliate, enrollment.as_ref()));
        Ok(Some(Arc::new(Known { scope, route, watch })))
    }
}
