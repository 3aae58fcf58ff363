//! What a run over many conversions does: chunk by chunk, each one transaction that does its conversions, tells which it
//! could not do, and says how far the run has come.
//!
//! A node that dies leaves the run where its last chunk ended, and whoever takes the work over goes on from there: the run's
//! row is locked for the chunk, so that two never do the same one, and a run that was cancelled does no more.

use std::collections::HashMap;

use tributary_entity::{
    Instant, conversion_run, conversion_run_refusal,
    ids::{ConversionId, ConversionRunId},
    kinds::{ConversionReason, ConversionRunAction, ConversionRunStatus},
};

use super::{adjust::adjust_all, refund::reverse_all, reopen, review::review_all, runs, undo::undo_all};
use crate::{
    domain::{
        conversion::{Review, Snapshot},
        conversion_run::{self as rules, Selection},
        page::{List, Order, PageRequest, Position},
        problem::Problem,
        tenancy::TenantScope,
    },
    services::{ServiceError, Services, publish, races},
    store::{conversion_runs, conversions, error::StoreError, scope::Tx},
};

/// Conversions of one chunk.
pub const CHUNK: u64 = 250;

/// Takes the next step of a run: up to `chunk` conversions. Nothing, when the run is over.
///
/// # Errors
/// As the database answers, when the same may succeed later. Any other fault ends the run.
pub async fn advance(
    services: &Services,
    scope: &TenantScope,
    id: ConversionRunId,
    chunk: u64,
) -> Result<(), ServiceError> {
    match races::outlast(|| step(services, scope, id, chunk)).await {
        Err(error) if !error.is_transient() => {
            tracing::error!(tenant.id = %scope.tenant_id(), run.id = %id, %error, "a run over conversions has failed");
            fail(services, scope, id).await
        }
        result => result,
    }
}

async fn step(services: &Services, scope: &TenantScope, id: ConversionRunId, chunk: u64) -> Result<(), ServiceError> {
    let mut tx = services.db.begin(scope).await?;
    let Some(run) = open_run(&tx, id).await? else { return Ok(()) };
    let ids = page(&tx, &run, chunk).await?;
    let (seen, last) = (ids.len() as u64, ids.last().map(|id| id.uuid()));
    let now = services.now();
    let changed = act(&mut tx, &run, &ids, now).await?;
    let is_done = seen < chunk || last == run.until_id;
    let run = conversion_run::Model {
        status: if is_done { ConversionRunStatus::Done } else { ConversionRunStatus::Running },
        conversions_seen: run.conversions_seen + seen.cast_signed(),
        conversions_changed: run.conversions_changed + changed,
        seen_id: last.or(run.seen_id),
        updated_at: now,
        finished_at: is_done.then_some(now),
        ..run
    };
    if !is_done {
        runs::ask(&mut tx, &run).await?;
    }
    save(services, tx, run).await
}

async fn fail(services: &Services, scope: &TenantScope, id: ConversionRunId) -> Result<(), ServiceError> {
    let tx = services.db.begin(scope).await?;
    let Some(run) = open_run(&tx, id).await? else { return Ok(()) };
    let now = services.now();
    let status = ConversionRunStatus::Failed;
    save(services, tx, conversion_run::Model { status, updated_at: now, finished_at: Some(now), ..run }).await
}

async fn open_run(tx: &Tx, id: ConversionRunId) -> Result<Option<conversion_run::Model>, StoreError> {
    Ok(conversion_runs::lock(tx, id).await?.filter(|run| rules::is_open(run.status)))
}

async fn save(services: &Services, mut tx: Tx, run: conversion_run::Model) -> Result<(), ServiceError> {
    tx.record(runs::changed(&run));
    conversion_runs::update(&mut tx, run).await?;
    publish(&*services.bus, tx).await?;
    Ok(())
}

/// The next conversions of a run, in id order: also what its own steps change keeps its place.
async fn page(tx: &Tx, run: &conversion_run::Model, chunk: u64) -> Result<Vec<ConversionId>, StoreError> {
    let Some(until) = run.until_id.map(ConversionId::from_uuid) else { return Ok(Vec::new()) };
    let seen = run.seen_id.map(ConversionId::from_uuid);
    let selection =
        rules::selection(run).ok_or_else(|| StoreError::inconsistent("conversion_run", "has no selection"))?;
    match selection {
        Selection::Ids(ids) => {
            let size = usize::try_from(chunk).unwrap_or(usize::MAX);
            Ok(ids.into_iter().filter(|id| seen.is_none_or(|seen| *id > seen)).take(size).collect())
        }
        Selection::Filter(filter) => {
            let list = List::new("Conversion", Order::CreatedAsc);
            let after = run.seen_id.map(|id| Position { occurred_at: None, id });
            let request = PageRequest { list, size: chunk, backward: false, after, before: None };
            let rows = conversions::list(tx, &filter, &request).await?.rows;
            Ok(rows.into_iter().map(|row| row.id).take_while(|id| *id <= until).collect())
        }
    }
}

/// Of each sale, of a run that needs it.
fn part(run: &conversion_run::Model) -> Result<i64, StoreError> {
    run.part_ppm.ok_or_else(|| StoreError::inconsistent("conversion_run", "has no part"))
}

/// Does what the run is for with each that may be. Answers how many.
async fn act(tx: &mut Tx, run: &conversion_run::Model, ids: &[ConversionId], now: Instant) -> Result<i64, StoreError> {
    if ids.is_empty() {
        return Ok(0);
    }
    let (actor, note) = (run.author.as_str(), run.note.as_deref());
    let reason = run.reason.unwrap_or(ConversionReason::Manual);
    let answers: HashMap<ConversionId, Result<Snapshot, Problem>> = match run.action {
        ConversionRunAction::Approve => review_all(tx, actor, ids, Review::Approve, note, now).await?,
        ConversionRunAction::Reject => review_all(tx, actor, ids, Review::Reject(reason), note, now).await?,
        ConversionRunAction::Reverse => reverse_all(tx, actor, ids, (reason, None), note, now).await?,
        ConversionRunAction::Refund => reverse_all(tx, actor, ids, (reason, Some(part(run)?)), note, now).await?,
        ConversionRunAction::Adjust => adjust_all(tx, actor, ids, part(run)?, note, now).await?,
        ConversionRunAction::Reopen => match reopen::reopen_all(tx, actor, ids, note, now).await {
            // The whole chunk is done again, and sees who was first.
            Err(error) if error.was_second() => return Err(StoreError::raced("a natural key")),
            answers => answers?,
        },
        ConversionRunAction::Undo => undo_all(tx, actor, ids, note, now).await?,
    };
    let refused = ids.iter().filter_map(|id| {
        let problem = match answers.get(id) {
            Some(Ok(_)) => return None,
            Some(Err(problem)) => problem.clone(),
            None => Problem::not_found(&["ids"]),
        };
        Some(conversion_run_refusal::Model {
            tenant_id: run.tenant_id,
            run_id: run.id,
            conversion_id: *id,
            code: problem.code.to_string(),
            message: problem.message,
            recorded_at: now,
        })
    });
    let refused: Vec<conversion_run_refusal::Model> = refused.collect();
    let changed = ids.len() - refused.len();
    conversion_runs::insert_refusals(tx, refused).await?;
    Ok(i64::try_from(changed).unwrap_or(i64::MAX))
}
