//! Attribution runs: asked for, listed, watched. What they do is in [`super::apply`].

use serde::Serialize;
use tributary_entity::{
    attribution_run,
    ids::{AttributionRunId, CampaignId, OutboxId},
    kinds::{AttributionRunStatus, EventKind, OutboxKind},
};

use crate::{
    ambient,
    auth::Viewer,
    domain::{
        cursor::Position,
        event::NewEvent,
        page::{Page, PageRequest},
        reattribution::{Adjusted, Trial},
        text,
    },
    services::{Outcome, ServiceError, Services, feed, idempotency},
    store::{attribution_runs, campaigns, conversions, error::StoreError, outbox, scope::Tx},
};

/// The most affiliates that one run tells of.
const AFFILIATES_MAX: u64 = 1_000;

/// A run as a caller asks for it.
#[derive(Clone, Debug, Serialize)]
pub struct NewRun {
    pub trial: Trial,
    pub reason: String,
}

/// Asks for a run. It begins in the background.
///
/// # Errors
/// The input's problems; `NOT_FOUND` for a campaign; `IDEMPOTENCY_CONFLICT`.
pub async fn create(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    input: NewRun,
) -> Result<Outcome<attribution_run::Model>, ServiceError> {
    let trial = input.trial.check()?;
    let reason = text::required(&["reason"], &input.reason, text::NOTE_MAX)?;
    let input = NewRun { trial, reason };
    let id = AttributionRunId::from_uuid(ambient::new_uuid());
    let mut tx = services.begin(viewer).await?;
    let claimed = idempotency::claim(services, &mut tx, viewer, key, "applyAttribution", &input, id.uuid()).await?;
    if let Some(earlier) = claimed {
        let earlier = attribution_runs::get(&tx, AttributionRunId::from_uuid(earlier)).await?;
        return Ok(Outcome::replayed(earlier.ok_or_else(|| ServiceError::not_found(&["id"]))?));
    }
    known_campaign(&tx, &input.trial).await?;
    let row = new_run(&tx, viewer, id, input, services).await?;
    attribution_runs::insert(&mut tx, row.clone()).await?;
    ask(&mut tx, &row).await?;
    tx.record(changed(&row));
    services.commit(tx).await?;
    Ok(Outcome::done(row))
}

async fn new_run(
    tx: &Tx,
    viewer: &Viewer,
    id: AttributionRunId,
    NewRun { trial, reason }: NewRun,
    services: &Services,
) -> Result<attribution_run::Model, StoreError> {
    let now = services.now();
    Ok(attribution_run::Model {
        tenant_id: viewer.scope.tenant_id(),
        id,
        status: AttributionRunStatus::Queued,
        campaign_id: trial.campaign_id,
        occurred_from: trial.from,
        occurred_before: trial.until,
        model: trial.model,
        window_secs: trial.window_secs,
        half_life_secs: trial.half_life_secs,
        min_secs: trial.min_secs,
        reason,
        author: viewer.actor.to_string(),
        conversions_total: conversions::count(tx, &trial.conversions()).await?,
        conversions_seen: 0,
        conversions_changed: 0,
        seen_occurred_at: None,
        seen_id: None,
        created_at: now,
        updated_at: now,
        finished_at: None,
    })
}

/// Asks for the next step of a run, to be taken at once.
pub(super) async fn ask(tx: &mut Tx, run: &attribution_run::Model) -> Result<(), StoreError> {
    let id = OutboxId::from_uuid(ambient::new_uuid());
    outbox::ask(tx, id, OutboxKind::ApplyAttribution, run.id.to_string(), run.created_at, run.updated_at).await
}

pub(super) fn changed(run: &attribution_run::Model) -> NewEvent {
    NewEvent::new(EventKind::AttributionRunChanged, run.id.uuid(), run, run.updated_at).of_campaign(run.campaign_id)
}

/// # Errors
/// `NOT_FOUND` for a campaign that the viewer does not see.
async fn known_campaign(tx: &Tx, trial: &Trial) -> Result<(), ServiceError> {
    match trial.campaign_id {
        Some(id) if campaigns::get(tx, id).await?.is_none() => Err(ServiceError::not_found(&["campaignId"])),
        _ => Ok(()),
    }
}

/// A run with what it did so far, and its place in the event log: every step up to it is in the numbers, none after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunState {
    pub run: attribution_run::Model,
    /// By currency.
    pub totals: Vec<Adjusted>,
}

/// How a run stands.
///
/// # Errors
/// `NOT_FOUND`.
pub async fn state(
    services: &Services,
    viewer: &Viewer,
    id: AttributionRunId,
) -> Result<(Position, RunState), ServiceError> {
    let tx = services.snapshot(viewer).await?;
    let run = attribution_runs::get(&tx, id).await?.ok_or_else(|| ServiceError::not_found(&["id"]))?;
    let totals = attribution_runs::totals(&tx, id).await?;
    Ok((feed::position(&tx).await?, RunState { run, totals }))
}

/// The runs with these ids.
///
/// # Errors
/// As the database answers.
pub async fn get_many(
    services: &Services,
    viewer: &Viewer,
    ids: &[AttributionRunId],
) -> Result<Vec<attribution_run::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(attribution_runs::get_many(&tx, ids).await?)
}

/// What a run added and took so far, by currency.
///
/// # Errors
/// As the database answers.
pub async fn totals(services: &Services, viewer: &Viewer, id: AttributionRunId) -> Result<Vec<Adjusted>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(attribution_runs::totals(&tx, id).await?)
}

/// The affiliates of whom a run added or took the most, by currency.
///
/// # Errors
/// As the database answers.
pub async fn affiliates(
    services: &Services,
    viewer: &Viewer,
    id: AttributionRunId,
) -> Result<Vec<Adjusted>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(attribution_runs::affiliates(&tx, id, AFFILIATES_MAX).await?)
}

/// A page of runs; those over all campaigns are in no campaign's list.
///
/// # Errors
/// As the database answers.
pub async fn list(
    services: &Services,
    viewer: &Viewer,
    campaign_ids: Option<&[CampaignId]>,
    request: &PageRequest,
) -> Result<Page<attribution_run::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(attribution_runs::list(&tx, campaign_ids, request).await?)
}

/// How many runs a list has.
///
/// # Errors
/// As the database answers.
pub async fn count(
    services: &Services,
    viewer: &Viewer,
    campaign_ids: Option<&[CampaignId]>,
) -> Result<i64, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(attribution_runs::count(&tx, campaign_ids).await?)
}
