//! Clicks that the database did not take in time: kept in this node's spool, recorded when the database is back.
//!
//! A click's id is its key: a lane passes over a click that is there already, so that one that was slow in the lane and
//! went to the spool as well is counted once, and a segment that is read twice does nothing the second time.
//!
//! # Decisions
//! - Replay waits for each of its calls, and after it for as long as that took: it has at most half of a lane's time,
//!   and live clicks are never behind more than one small call of it.
//! - A click that the database refuses for good (its tenant or link is gone) is set aside with its segment, not lost.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tokio::time::{sleep, timeout};
use tributary_entity::ids::TenantId;

use super::{
    ServiceError, Services,
    ingest::{Failure, Item, Work},
};
use crate::{
    auth::Actor,
    domain::{click::NewClick, tenancy::TenantScope},
    spool::{Record, SpoolError},
    store::directory,
};

/// Clicks of one call to a lane.
const CHUNK: usize = 256;
/// How long the database may take to show that it is back.
const PING: Duration = Duration::from_secs(2);

impl From<SpoolError> for ServiceError {
    fn from(error: SpoolError) -> Self {
        match error {
            SpoolError::Full => Self::Overloaded { retry_after: Duration::from_secs(1) },
            error => {
                tracing::error!(%error, "the spool failed");
                Self::Unavailable
            }
        }
    }
}

/// Keeps a click that has an id and a time; answers when it is on disk.
///
/// # Errors
/// `Overloaded` when the spool is full, `Unavailable` when the disk fails.
pub(super) async fn keep(services: &Services, scope: &TenantScope, click: &NewClick) -> Result<(), ServiceError> {
    let body = serde_json::to_vec(click).map_err(|_| ServiceError::Internal("a click does not serialize"))?;
    match services.spool.append(&Record { tenant_id: scope.tenant_id(), body }).await {
        Ok(()) => {
            metrics::counter!("tributary_spool_clicks_total").increment(1);
            Ok(())
        }
        Err(error) => {
            metrics::counter!("tributary_spool_refused_total").increment(1);
            Err(error.into())
        }
    }
}

/// Records the clicks of the oldest segment, if any, and removes it. Answers how many clicks.
///
/// # Errors
/// `Unavailable` while the database is away; the segment stays then.
pub async fn replay(services: &Services) -> Result<u64, ServiceError> {
    if services.spool.is_empty() {
        return Ok(0);
    }
    match timeout(PING, services.db.ping()).await {
        Ok(Ok(())) => {}
        // It is known to be away; there is nothing to tell.
        Ok(Err(_)) | Err(_) => return Ok(0),
    }
    let Some(segment) = services.spool.oldest().await? else { return Ok(0) };
    let mut of_tenant: BTreeMap<TenantId, Vec<NewClick>> = BTreeMap::new();
    let mut is_whole = true;
    for record in &segment.records {
        match serde_json::from_slice(&record.body) {
            Ok(click) => of_tenant.entry(record.tenant_id).or_default().push(click),
            Err(error) => {
                tracing::error!(%error, "a record of the spool is no click");
                is_whole = false;
            }
        }
    }
    let mut replayed = 0;
    for (tenant_id, clicks) in of_tenant {
        match directory::tenant_by_id(&services.db, tenant_id).await? {
            Some(scope) => {
                let recorded = replay_tenant(services, &scope, &clicks).await?;
                is_whole &= recorded == clicks.len();
                replayed += recorded as u64;
            }
            None => {
                tracing::error!(tenant.id = %tenant_id, clicks = clicks.len(), "the spool holds clicks of no tenant");
                is_whole = false;
            }
        }
    }
    if is_whole {
        segment.remove()?
    } else {
        segment.set_aside()?
    }
    Ok(replayed)
}

/// Records a tenant's clicks in their order. Answers how many of them are in the database now.
async fn replay_tenant(services: &Services, scope: &TenantScope, clicks: &[NewClick]) -> Result<usize, ServiceError> {
    let mut recorded = 0;
    for chunk in clicks.chunks(CHUNK) {
        let began = Instant::now();
        let item =
            |click: &NewClick| Item { actor: Actor::System, claim: None, work: Work::Click(click.clone().into()) };
        let answers = services.lanes.record(scope, chunk.iter().map(item).collect()).await?;
        for (answer, click) in answers.into_iter().zip(chunk) {
            match answer {
                Ok(_) => recorded += 1,
                Err(Failure::Unavailable) => return Err(ServiceError::Unavailable),
                Err(failure) => tracing::error!(?failure, click.id = ?click.id, "a click of the spool is refused"),
            }
        }
        metrics::counter!("tributary_spool_replayed_total").increment(chunk.len() as u64);
        sleep(began.elapsed()).await;
    }
    Ok(recorded)
}
