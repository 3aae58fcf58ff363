//! Payouts: one payment moved from state to state, and lists. Batches are in [`batches`], how they are worked
//! off in [`pages`], those that come by themselves in [`schedules`].
//!
//! Every step is one transaction: the state, the journal, the history row that names the journal, and the event.
//!
//! # Decisions
//! - The intent is committed, with its journal, before anybody is asked to pay: a payment that is asked for twice is asked
//!   for under the payout's id, which stays.

pub mod advice;
pub mod batches;
pub mod drive;
pub mod files;
pub mod live;
pub mod notices;
pub mod pages;
pub mod preview;
mod routes;
pub mod schedules;

use std::collections::BTreeMap;

use tributary_entity::{
    Instant,
    ids::{JournalId, PayoutId},
    kinds::{EventKind, PayoutStatus},
    payout, payout_history, payout_transfer,
};

use super::{
    Outcome, ServiceError, Services, feed, idempotency,
    ledger::{debts, post},
};
use crate::{
    auth::Viewer,
    domain::{
        cursor::Position,
        event::NewEvent,
        ledger::{self, Journal},
        page::{Page, PageRequest},
        payout::{self as rules, PayoutFilter, Posting, Step},
        processor::by_hand,
    },
    processors::{is_processor, knows_references},
    store::{error::StoreError, payout_transfers, payouts, processors, scope::Tx},
};

/// Moves a payout to another state.
///
/// # Errors
/// `NOT_FOUND`; `INVALID_TRANSITION`; `IDEMPOTENCY_CONFLICT`.
pub async fn take(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    id: PayoutId,
    step: Step,
) -> Result<Outcome<payout::Model>, ServiceError> {
    let mut tx = services.begin(viewer).await?;
    let claimed = idempotency::claim(services, &mut tx, viewer, key, "movePayout", &(id, &step), id.uuid()).await?;
    if claimed.is_some() {
        return Ok(Outcome::replayed(existing(&tx, id).await?));
    }
    let before = payouts::lock(&tx, id).await?.ok_or_else(|| ServiceError::not_found(&["id"]))?;
    if is_processor(before.method) && processors::live_of(&tx, before.method).await?.is_some() {
        let transfer = payout_transfers::lock(&tx, id).await?;
        by_hand(&before, transfer.as_ref(), knows_references(before.method), services.now())?;
    }
    let after = move_on(&mut tx, &viewer.actor.to_string(), before, &step, services.now()).await?;
    services.commit(tx).await?;
    Ok(Outcome::done(after))
}

/// Takes a step of a locked payout, and posts what it means. Answers the payout as it is then.
async fn move_on(
    tx: &mut Tx,
    actor: &str,
    before: payout::Model,
    step: &Step,
    now: Instant,
) -> Result<payout::Model, ServiceError> {
    let after = step.take(&before, now)?;
    let journal = journal(tx, &before, step, now).await?;
    let posted = post(tx, journal.as_slice(), now).await?;
    let journals = posted.into_iter().map(|journal| (before.id, journal)).collect();
    write(tx, actor, step, vec![(before, after.clone())], &journals).await?;
    Ok(after)
}

async fn existing(tx: &Tx, id: PayoutId) -> Result<payout::Model, ServiceError> {
    payouts::get_many(tx, &[id]).await?.pop().ok_or_else(|| ServiceError::not_found(&["id"]))
}

/// The journal of a step. Locks what the affiliate owes, where the step gives money back.
async fn journal(
    tx: &mut Tx,
    before: &payout::Model,
    step: &Step,
    now: Instant,
) -> Result<Option<Journal>, StoreError> {
    let Some(posting) = rules::posting(before.status, step.to) else { return Ok(None) };
    let owner = (before.affiliate_id, before.currency);
    let journal = match posting {
        Posting::Initiated => ledger::payout_initiated(before),
        Posting::Settled => ledger::payout_settled(before),
        Posting::Failed => ledger::payout_failed(before, &mut debts(tx, [&owner].into_iter(), now).await?),
        Posting::Returned => {
            let reference = step.reference.as_deref().unwrap_or_default();
            ledger::payout_returned(before, reference, &mut debts(tx, [&owner].into_iter(), now).await?)
        }
    };
    journal.map_err(|error| StoreError::inconsistent("journal", error))
}

/// Writes what a step made of locked payouts: rows, history, events.
async fn write(
    tx: &mut Tx,
    actor: &str,
    step: &Step,
    changed: Vec<(payout::Model, payout::Model)>,
    journals: &BTreeMap<PayoutId, JournalId>,
) -> Result<(), StoreError> {
    let (before, after): (Vec<_>, Vec<_>) = changed.into_iter().unzip();
    payouts::update_many(tx, &after).await?;
    let history = before.iter().zip(&after).map(|(before, after)| payout_history::Model {
        from_status: Some(before.status),
        journal_id: journals.get(&after.id).copied(),
        ..history_row(actor, step, after)
    });
    payouts::insert_history(tx, history.collect()).await?;
    tell(tx, &after);
    Ok(())
}

/// Writes the first step of inserted payouts: history, events.
async fn write_drafts(tx: &mut Tx, actor: &str, rows: &[payout::Model]) -> Result<(), StoreError> {
    let step = Step::to(PayoutStatus::Draft);
    payouts::insert_history(tx, rows.iter().map(|row| history_row(actor, &step, row)).collect()).await?;
    tell(tx, rows);
    Ok(())
}

/// A step that came from nowhere and posted nothing.
fn history_row(actor: &str, step: &Step, after: &payout::Model) -> payout_history::Model {
    payout_history::Model {
        tenant_id: after.tenant_id,
        payout_id: after.id,
        version: after.version,
        from_status: None,
        to_status: after.status,
        reason: step.reason.clone(),
        reference: step.reference.clone(),
        journal_id: None,
        actor: actor.to_owned(),
        recorded_at: after.updated_at,
    }
}

fn tell(tx: &mut Tx, rows: &[payout::Model]) {
    for row in rows {
        let event = NewEvent::new(EventKind::PayoutChanged, row.id.uuid(), row, row.updated_at);
        tx.record(event.of_affiliate(Some(row.affiliate_id)));
    }
}

/// The payouts with these ids that the viewer may see.
///
/// # Errors
/// As the database answers.
pub async fn get_many(
    services: &Services,
    viewer: &Viewer,
    ids: &[PayoutId],
) -> Result<Vec<payout::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(payouts::get_many(&tx, ids).await?)
}

/// What these payouts are at their processors.
///
/// # Errors
/// As the database answers.
pub async fn transfers(
    services: &Services,
    viewer: &Viewer,
    ids: &[PayoutId],
) -> Result<Vec<payout_transfer::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    // Only of payouts that the viewer may see.
    let seen: Vec<PayoutId> = payouts::get_many(&tx, ids).await?.into_iter().map(|row| row.id).collect();
    Ok(payout_transfers::get_many(&tx, &seen).await?)
}

/// A page of the payouts that the viewer may see.
///
/// # Errors
/// As the database answers.
pub async fn list(
    services: &Services,
    viewer: &Viewer,
    filter: &PayoutFilter,
    request: &PageRequest,
) -> Result<Page<payout::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(payouts::list(&tx, filter, request).await?)
}

/// How many payouts a list has.
///
/// # Errors
/// As the database answers.
pub async fn count(services: &Services, viewer: &Viewer, filter: &PayoutFilter) -> Result<i64, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(payouts::count(&tx, filter).await?)
}

/// The steps of a payout's life, oldest first; empty for one that the viewer may not see.
///
/// # Errors
/// As the database answers.
pub async fn history(
    services: &Services,
    viewer: &Viewer,
    id: PayoutId,
) -> Result<Vec<payout_history::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    if payouts::get_many(&tx, &[id]).await?.is_empty() {
        return Ok(Vec::new());
    }
    Ok(payouts::history(&tx, id).await?)
}

/// The place in the event log now: a stream that begins there misses nothing that a later list holds.
///
/// # Errors
/// As the database answers.
pub async fn position(services: &Services, viewer: &Viewer) -> Result<Position, ServiceError> {
    let tx = services.snapshot_of_log(viewer).await?;
    Ok(feed::position(&tx).await?)
}
