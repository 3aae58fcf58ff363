//! Does the work that transactions asked for: claimed with a lease, done at least once, deleted when done.

use chrono::TimeDelta;
use futures_util::{StreamExt, stream};
use tracing::{Instrument, Span};
use tributary_entity::{Instant, kinds::OutboxKind, outbox as row};

use crate::{
    domain::tenancy::TenantScope,
    services::{
        ServiceError, Services,
        attribution::apply,
        bonus_grants, click_accruals, conversions, holds,
        payouts::{drive, pages},
        revenue_settlements, tiers,
    },
    store::{directory, outbox},
    trace::Trace,
};

/// Pieces of work looked at in one turn.
const BATCH: u64 = 100;
/// How long a claim holds; a node that dies gives its work back after this.
const LEASE: TimeDelta = TimeDelta::minutes(5);

/// Calls to processors under way at once, per node.
const CALLS: usize = 16;

/// Whether a piece of work waits for a processor: a slow one must not hold up the rest.
const fn waits_for_a_processor(kind: OutboxKind) -> bool {
    match kind {
        OutboxKind::DrivePayout => true,
        OutboxKind::AdvancePayoutBatch
        | OutboxKind::ApplyAttribution
        | OutboxKind::DecideBonuses
        | OutboxKind::PostClicks
        | OutboxKind::ReleaseHolds
        | OutboxKind::RerateTier
        | OutboxKind::ResolveRates
        | OutboxKind::ResolveWaiting
        | OutboxKind::ReckonConversions
        | OutboxKind::RestoreConversions
        | OutboxKind::RunConversions
        | OutboxKind::SettleRevenue => false,
    }
}

/// The kinds of work of one of the two sorts.
fn kinds(wait_for_a_processor: bool) -> Vec<OutboxKind> {
    let is_wanted = |kind: &OutboxKind| waits_for_a_processor(*kind) == wait_for_a_processor;
    OutboxKind::ALL.iter().copied().filter(is_wanted).collect()
}

/// Does all work that is due and waits for nobody outside. Answers how many pieces.
///
/// # Errors
/// As the database answers; a piece that fails keeps its lease and comes up again when that ends.
pub async fn run_due(services: &Services) -> Result<u64, ServiceError> {
    let (mut done, kinds) = (0, kinds(false));
    loop {
        let due = directory::due_work(&services.db, &kinds, services.now(), BATCH).await?;
        let mut progress = false;
        for (scope, work) in due {
            if claim_and_run(services, &scope, &work).await? {
                progress = true;
                done += 1;
            }
        }
        if !progress {
            return Ok(done);
        }
    }
}

/// Does all work that is due and waits for processors, some of it at once. Answers how many pieces.
///
/// # Errors
/// As the database answers when it is asked what is due; a piece that fails is logged, and keeps its lease.
pub async fn call_processors(services: &Services) -> Result<u64, ServiceError> {
    let (mut done, kinds) = (0, kinds(true));
    loop {
        let due = directory::due_work(&services.db, &kinds, services.now(), BATCH).await?;
        let pieces = stream::iter(due).map(|(scope, work)| async move {
            claim_and_run(services, &scope, &work).await.unwrap_or_else(|error| {
                tracing::warn!(?error, work.key = work.dedup_key, "a payout was not taken further");
                false
            })
        });
        let run = pieces.buffer_unordered(CALLS).filter(|ran| std::future::ready(*ran)).count().await as u64;
        if run == 0 {
            return Ok(done);
        }
        done += run;
    }
}

/// Does a piece of work, unless somebody else has it.
async fn claim_and_run(services: &Services, scope: &TenantScope, work: &row::Model) -> Result<bool, ServiceError> {
    let Some(leased_until) = claim(services, scope, work).await? else { return Ok(false) };
    let done = async {
        run(services, scope, work).await?;
        let mut tx = services.db.begin(scope).await?;
        outbox::finish(&mut tx, work.id, leased_until).await?;
        tx.commit().await?;
        Ok(true)
    };
    done.instrument(span(scope, work)).await
}

/// A piece of work is a trace of its own: what asked for it may be long over.
fn span(scope: &TenantScope, work: &row::Model) -> Span {
    let mut trace = Trace::begin();
    let span = tracing::error_span!(
        "job",
        job.kind = %work.kind,
        tenant.id = %scope.tenant_id(),
        trace.id = trace.id(),
    );
    trace.lead(&span, || format!("job {}", work.kind));
    span
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
        OutboxKind::DrivePayout => match drive::subject(&work.dedup_key) {
            Some(id) => drive::advance(services, scope, id).await?,
            None => tracing::error!(work.key = work.dedup_key, "no payout is of this name"),
        },
        OutboxKind::RunConversions | OutboxKind::RestoreConversions | OutboxKind::ReckonConversions => {
            match work.dedup_key.parse() {
                Ok(run) => conversions::advance::advance(services, scope, run, conversions::advance::CHUNK).await?,
                Err(error) => tracing::error!(%error, work.key = work.dedup_key, "no run is of this name"),
            }
        }
        OutboxKind::RerateTier => match work.dedup_key.parse() {
            Ok(key) => tiers::rerate(services, scope, key).await?,
            Err(error) => tracing::error!(%error, work.key = work.dedup_key, "no tier is of this name"),
        },
        OutboxKind::AdvancePayoutBatch => match work.dedup_key.parse() {
            Ok(batch) => pages::advance(services, scope, batch).await?,
            Err(error) => tracing::error!(%error, work.key = work.dedup_key, "no payout batch is of this name"),
        },
        OutboxKind::ReleaseHolds => {
            let released = holds::release_due(services, scope).await?;
            tracing::debug!(tenant.id = %scope.tenant_id(), holds.released = released, "holds released");
        }
        OutboxKind::PostClicks => {
            let posted = click_accruals::post_due(services, scope).await?;
            tracing::debug!(tenant.id = %scope.tenant_id(), accruals.posted = posted, "what clicks earned is posted");
        }
        OutboxKind::SettleRevenue => {
            let settled = revenue_settlements::settle_due(services, scope).await?;
            tracing::debug!(tenant.id = %scope.tenant_id(), periods.settled = settled, "net revenue is settled");
        }
        OutboxKind::DecideBonuses => {
            let given = bonus_grants::decide_due(services, scope).await?;
            tracing::debug!(tenant.id = %scope.tenant_id(), bonuses.given = given, "bonuses by rule are given");
        }
        OutboxKind::ResolveRates => {
            let resolved = conversions::resolve_unrated(services, scope).await?;
            tracing::debug!(tenant.id = %scope.tenant_id(), conversions.resolved = resolved, "rated conversions resolved");
        }
        OutboxKind::ResolveWaiting => {
            let resolved = conversions::resolve_waiting(services, scope).await?;
            tracing::debug!(tenant.id = %scope.tenant_id(), conversions.resolved = resolved, "waiting conversions resolved");
        }
    }
    Ok(())
}
