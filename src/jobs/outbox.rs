//! Does the work that transactions asked for: claimed with a lease, done at least once, deleted when done.

use chrono::TimeDelta;
use tributary_entity::{Instant, kinds::OutboxKind, outbox as row};

use crate::{
    domain::tenancy::TenantScope,
    services::{ServiceError, Services, attribution::apply, click_accruals, conversions, holds},
    store::{directory, outbox},
};

/// Pieces of work looked at in one turn.
const BATCH: u64 = 100;
/// How long a claim holds; a node that dies gives its work back after this.
const LEASE: TimeDelta = TimeDelta::minutes(5);

/// Does all work that is due. Answers how many pieces.
///
/// # Errors
/// As the database answers; a piece that fails keeps its lease and comes up again when that ends.
pub async fn run_due(services: &Services) -> Result<u64, ServiceError> {
    let mut done = 0;
    loop {
        let due = directory::due_work(&services.db, services.now(), BATCH).await?;
        let mut progress = false;
        for (scope, work) in due {
            if let Some(leased_until) = claim(services, &scope, &work).await? {
                run(services, &scope, &work).await?;
                let mut tx = services.db.begin(&scope).await?;
                outbox::finish(&mut tx, work.id, leased_until).await?;
                tx.commit().await?;
                progress = true;
                done += 1;
            }
        }
        if !progress {
            return Ok(done);
        }
    }
}

/// Takes a lease; answers until when, or none when somebody else has it.
async fn claim(services: &Services, scope: &TenantScope, work: &row::Model) -> Result<Option<Instant>, ServiceError> {
    let now = services.now();
    let until = now + LEASE;
    let mut tx = services.db.begin(scope).await?;
    let claimed = outbox::lease(&mut tx, work.id, now, until).await?;
    tx.commit().await?;
    Ok(claimed.then_some(until))
}

async fn run(services: &Services, scope: &TenantScope, work: &row::Model) -> Result<(), ServiceError> {
    match work.kind {
        OutboxKind::ApplyAttribution => match work.dedup_key.parse() {
            Ok(run) => apply::advance(services, scope, run, apply::CHUNK).await?,
            Err(error) => tracing::error!(%error, work.key = work.dedup_key, "no run is of this name"),
        },
        OutboxKind::ReleaseHolds => {
            let released = holds::release_due(services, scope).await?;
            tracing::debug!(tenant.id = %scope.tenant_id(), holds.released = released, "holds released");
        }
        OutboxKind::PostClicks => {
            let posted = click_accruals::post_due(services, scope).await?;
            tracing::debug!(tenant.id = %scope.tenant_id(), accruals.posted = posted, "what clicks earned is posted");
        }
        OutboxKind::ResolveWaiting => {
            let resolved = conversions::resolve_waiting(services, scope).await?;
            tracing::debug!(tenant.id = %scope.tenant_id(), conversions.resolved = resolved, "waiting conversions resolved");
        }
    }
    Ok(())
}
