//! Runs over many conversions: asked for, cancelled, listed, watched. What they do is in [`super::advance`].
//!
//! # Decisions
//! - Actions that came later are work of kinds of their own: a node of an earlier version, running beside,
//!   takes up work of the kinds it knows, and so leaves these to nodes that know what they do.

use tributary_entity::{
    conversion_run, conversion_run_refusal,
    ids::{ConversionRunId, OutboxId},
    kinds::{ConversionRunAction, ConversionRunStatus, EventKind, OutboxKind},
};
use uuid::Uuid;

use crate::{
    ambient,
    auth::Viewer,
    domain::{
        conversion_run::{self as rules, NewConversionRun, Selection},
        cursor::Position,
        event::NewEvent,
        page::{List, Order, Page, PageRequest},
    },
    services::{Outcome, ServiceError, Services, feed, idempotency},
    store::{conversion_runs, conversions, error::StoreError, outbox, scope::Tx},
};

/// The most refusals that one run tells of.
const REFUSALS_MAX: u64 = 1_000;

/// Asks for a run. It begins in the background.
///
/// # Errors
/// The input's problems; `IDEMPOTENCY_CONFLICT`.
pub async fn create(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    input: NewConversionRun,
) -> Result<Outcome<conversion_run::Model>, ServiceError> {
    let input = input.check()?;
    let id = ConversionRunId::from_uuid(ambient::new_uuid());
    let mut tx = services.begin(viewer).await?;
    let claimed = idempotency::claim(services, &mut tx, viewer, key, "startConversionRun", &input, id.uuid()).await?;
    if let Some(earlier) = claimed {
        return Ok(Outcome::replayed(existing(&tx, ConversionRunId::from_uuid(earlier)).await?));
    }
    let (total, until_id) = extent(&tx, &input.selection).await?;
    let now = services.now();
    let row = conversion_run::Model {
        tenant_id: viewer.scope.tenant_id(),
        id,
        status: ConversionRunStatus::Queued,
        action: input.action,
        reason: input.reason,
        part_ppm: input.part_ppm,
        selection: serde_json::to_string(&input.selection)
            .map_err(|error| StoreError::inconsistent("conversion_run", error))?,
        note: input.note,
        author: viewer.actor.to_string(),
        conversions_total: total,
        conversions_seen: 0,
        conversions_changed: 0,
        until_id,
        seen_id: None,
        created_at: now,
        updated_at: now,
        finished_at: None,
    };
    conversion_runs::insert(&mut tx, row.clone()).await?;
    ask(&mut tx, &row).await?;
    tx.record(changed(&row));
    services.commit(tx).await?;
    Ok(Outcome::done(row))
}

/// How many conversions a selection has now, and the newest of them: what is recorded later is not meant.
async fn extent(tx: &Tx, selection: &Selection) -> Result<(i64, Option<Uuid>), StoreError> {
    match selection {
        Selection::Ids(ids) => Ok((i64::try_from(ids.len()).unwrap_or(i64::MAX), ids.last().map(|id| id.uuid()))),
        Selection::Filter(filter) => {
            let list = List::new("Conversion", Order::CreatedDesc);
            let request = PageRequest { list, size: 1, backward: false, after: None, before: None };
            let newest = conversions::list(tx, filter, &request).await?.rows.pop();
            Ok((conversions::count(tx, filter).await?, newest.map(|row| row.id.uuid())))
        }
    }
}

/// Ends a run where it stands: what it did stays.
///
/// # Errors
/// `NOT_FOUND`; `INVALID_TRANSITION` for one that is over; `IDEMPOTENCY_CONFLICT`.
pub async fn cancel(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    id: ConversionRunId,
) -> Result<Outcome<conversion_run::Model>, ServiceError> {
    let mut tx = services.begin(viewer).await?;
    let claimed = idempotency::claim(services, &mut tx, viewer, key, "cancelConversionRun", &id, id.uuid()).await?;
    if claimed.is_some() {
        return Ok(Outcome::replayed(existing(&tx, id).await?));
    }
    let run = conversion_runs::lock(&tx, id).await?.ok_or_else(|| ServiceError::not_found(&["id"]))?;
    let now = services.now();
    let run =
        conversion_run::Model { status: rules::cancel(run.status)?, updated_at: now, finished_at: Some(now), ..run };
    tx.record(changed(&run));
    conversion_runs::update(&mut tx, run.clone()).await?;
    services.commit(tx).await?;
    Ok(Outcome::done(run))
}

async fn existing(tx: &Tx, id: ConversionRunId) -> Result<conversion_run::Model, ServiceError> {
    conversion_runs::get(tx, id).await?.ok_or_else(|| ServiceError::not_found(&["id"]))
}

/// Asks for the next step of a run, to be taken at once.
pub(super) async fn ask(tx: &mut Tx, run: &conversion_run::Model) -> Result<(), StoreError> {
    let id = OutboxId::from_uuid(ambient::new_uuid());
    let kind = match run.action {
        ConversionRunAction::Approve | ConversionRunAction::Reject | ConversionRunAction::Reverse => {
            OutboxKind::RunConversions
        }
        ConversionRunAction::Reopen | ConversionRunAction::Undo => OutboxKind::RestoreConversions,
        ConversionRunAction::Refund | ConversionRunAction::Adjust => OutboxKind::ReckonConversions,
    };
    outbox::ask(tx, id, kind, run.id.to_string(), run.created_at, run.updated_at).await
}

pub(super) fn changed(run: &conversion_run::Model) -> NewEvent {
    NewEvent::new(EventKind::ConversionRunChanged, run.id.uuid(), run, run.updated_at)
}

/// How a run stands, with its place in the event log: every step up to it is in the numbers, none after it.
///
/// # Errors
/// `NOT_FOUND`.
pub async fn state(
    services: &Services,
    viewer: &Viewer,
    id: ConversionRunId,
) -> Result<(Position, conversion_run::Model), ServiceError> {
    let tx = services.snapshot(viewer).await?;
    let run = existing(&tx, id).await?;
    Ok((feed::position(&tx).await?, run))
}

/// The runs with these ids.
///
/// # Errors
/// As the database answers.
pub async fn get_many(
    services: &Services,
    viewer: &Viewer,
    ids: &[ConversionRunId],
) -> Result<Vec<conversion_run::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(conversion_runs::get_many(&tx, ids).await?)
}

/// The first conversions that a run refused, by their ids.
///
/// # Errors
/// As the database answers.
pub async fn refusals(
    services: &Services,
    viewer: &Viewer,
    id: ConversionRunId,
) -> Result<Vec<conversion_run_refusal::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(conversion_runs::refusals(&tx, id, REFUSALS_MAX).await?)
}

/// A page of runs.
///
/// # Errors
/// As the database answers.
pub async fn list(
    services: &Services,
    viewer: &Viewer,
    request: &PageRequest,
) -> Result<Page<conversion_run::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(conversion_runs::list(&tx, request).await?)
}

/// How many runs there are.
///
/// # Errors
/// As the database answers.
pub async fn count(services: &Services, viewer: &Viewer) -> Result<i64, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(conversion_runs::count(&tx).await?)
}
