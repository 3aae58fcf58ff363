//! Whether a campaign still takes something, for the redirect: out of memory, refreshed behind the question.
//!
//! # Decisions
//! - An answer may be a second old, and an unknown campaign's is "it does": a visitor is never kept waiting for a cap.
//!   What counts is decided where the click is recorded, exactly.
//! - A campaign that nobody asks for is forgotten; nobody refreshes it.

use std::{
    collections::HashSet,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chrono::TimeDelta;
use moka::sync::Cache;
use tributary_entity::{
    Instant,
    ids::{AffiliateId, CampaignId, TenantId},
};

use crate::{
    ambient::Clock,
    domain::{cap as rules, tenancy::TenantScope},
    store::{
        caps::{self, UsageKey},
        database::Db,
        error::StoreError,
        tenants,
    },
};

/// Campaigns that are remembered; one takes some 300 bytes.
const REMEMBERED: u64 = 100_000;
/// How long one is remembered that nobody asks for.
const IDLE: Duration = Duration::from_secs(300);
/// How old an answer may be before it is asked for anew.
const FRESH: TimeDelta = TimeDelta::seconds(1);

/// Knows which campaigns are used up; cheap to clone.
#[derive(Clone)]
pub struct Exhaustion {
    db: Db,
    clock: Arc<dyn Clock>,
    known: Cache<(TenantId, CampaignId), Arc<Known>>,
}

/// What is known of a campaign.
#[derive(Default)]
struct Known {
    answer: RwLock<Answer>,
    /// Somebody is asking the database.
    asked: AtomicBool,
}

#[derive(Default)]
struct Answer {
    /// None before the first.
    at: Option<Instant>,
    whole: bool,
    affiliates: HashSet<AffiliateId>,
}

impl Exhaustion {
    pub fn new(db: Db, clock: Arc<dyn Clock>) -> Self {
        Self { db, clock, known: Cache::builder().max_capacity(REMEMBERED).time_to_idle(IDLE).build() }
    }

    /// Whether a cap of any metric is used up that concerns an affiliate's visitors in a campaign: who could lead
    /// them elsewhere should. Never waits; asks for news of it where what it knows is older than a second.
    pub fn is_exhausted(&self, scope: &TenantScope, campaign_id: CampaignId, affiliate_id: AffiliateId) -> bool {
        let known = self.known.get_with((scope.tenant_id(), campaign_id), Arc::default);
        let now = self.clock.now();
        let (is_exhausted, is_fresh) = {
            let answer = known.answer.read().unwrap_or_else(PoisonError::into_inner);
            // A clock that was set back makes an answer stale, too.
            let is_fresh = answer.at.is_some_and(|at| (now - at).abs() < FRESH);
            (answer.whole || answer.affiliates.contains(&affiliate_id), is_fresh)
        };
        if !is_fresh && !known.asked.swap(true, Ordering::AcqRel) {
            tokio::spawn(self.clone().refresh(*scope, campaign_id, known));
        }
        is_exhausted
    }

    async fn refresh(self, scope: TenantScope, campaign_id: CampaignId, known: Arc<Known>) {
        let now = self.clock.now();
        let answer = self.read(&scope, campaign_id, now).await;
        {
            let mut last = known.answer.write().unwrap_or_else(PoisonError::into_inner);
            match answer {
                Ok(answer) => *last = answer,
                // The last answer stands; the next question after a second tries again.
                Err(error) => {
                    tracing::debug!(%error, campaign.id = %campaign_id, "what is used of caps is not known");
                    last.at = Some(now);
                }
            }
        }
        known.asked.store(false, Ordering::Release);
    }

    async fn read(&self, scope: &TenantScope, campaign_id: CampaignId, now: Instant) -> Result<Answer, StoreError> {
        let tx = self.db.snapshot(scope).await?;
        let mut answer = Answer { at: Some(now), ..Answer::default() };
        let caps = caps::for_campaigns(&tx, &[campaign_id]).await?;
        if caps.is_empty() {
            return Ok(answer);
        }
        let zone = tenants::zone(&tx).await?;
        let key =
            |cap: &tributary_entity::cap::Model| -> UsageKey { (cap.id, rules::period_start(cap.period, now, zone)) };
        let used = caps::used(&tx, &caps.iter().map(key).collect()).await?;
        for cap in &caps {
            if rules::is_exhausted(cap, used.get(&key(cap)).copied().unwrap_or(0)) {
                match cap.affiliate_id {
                    Some(id) => drop(answer.affiliates.insert(id)),
                    None => answer.whole = true,
                }
            }
        }
        Ok(answer)
    }
}
