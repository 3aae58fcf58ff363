//! Payout batches: drafted, approved, submitted; and the repetition of a payout, which is a batch of one.

use std::collections::BTreeSet;

use tributary_entity::{
    Instant,
    ids::{PayoutBatchId, PayoutId},
    kinds::PayoutBatchStatus,
    money::{Currency, Money},
    payout, payout_batch, payout_skip,
};

use super::{existing, pages, routes::Routes, write_drafts};
use crate::{
    ambient,
    auth::Viewer,
    domain::{
        page::{Page, PageRequest},
        payout::{self as rules, NewBatch, StatusTotal},
        problem::{Problem, ProblemCode},
        transition,
    },
    services::{Outcome, ServiceError, Services, idempotency, payout_terms::default_threshold},
    store::{
        affiliates,
        error::{Constraint, StoreError},
        payout_batches, payouts,
        scope::Tx,
        tenants,
    },
};

/// Drafts a batch: a payout of all that is available for each affiliate with the minimum or more. Who has an open payout
/// in the currency is passed over, which the batch tells. A large one is still being drafted when it is answered.
///
/// # Errors
/// The input's problems; `NOT_FOUND` for an affiliate; `IDEMPOTENCY_CONFLICT`.
pub async fn create(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    input: NewBatch,
) -> Result<Outcome<payout_batch::Model>, ServiceError> {
    let mut input = input.check()?;
    if let Some(ids) = &mut input.affiliate_ids {
        *ids = BTreeSet::from_iter(ids.drain(..)).into_iter().collect();
    }
    let id = PayoutBatchId::from_uuid(ambient::new_uuid());
    let mut tx = services.begin(viewer).await?;
    let claimed = idempotency::claim(services, &mut tx, viewer, key, "createPayoutBatch", &input, id.uuid()).await?;
    if let Some(id) = claimed {
        return Ok(Outcome::replayed(existing_batch(&tx, PayoutBatchId::from_uuid(id)).await?));
    }
    if let Some(ids) = &input.affiliate_ids
        && affiliates::get_many(&tx, ids).await?.len() < ids.len()
    {
        return Err(ServiceError::not_found(&["affiliateIds"]));
    }
    let now = services.now();
    let mut batch = new_batch(viewer, id, input.currency, now);
    batch.by_terms = input.minimum.is_none();
    batch.minimum_minor = match input.minimum_minor() {
        Some(minimum_minor) => minimum_minor,
        None => default_threshold(&tx, input.currency).await?,
    };
    batch.note.clone_from(&input.note);
    payout_batches::insert(&mut tx, batch.clone()).await?;
    pages::work(&mut tx, &mut batch, input.affiliate_ids.as_deref(), now).await?;
    pages::save(&mut tx, &batch, now).await?;
    services.commit(tx).await?;
    Ok(Outcome::done(batch))
}

/// A batch of which nothing is drafted yet.
pub(super) fn new_batch(viewer: &Viewer, id: PayoutBatchId, currency: Currency, now: Instant) -> payout_batch::Model {
    payout_batch::Model {
        tenant_id: viewer.scope.tenant_id(),
        id,
        status: PayoutBatchStatus::Drafting,
        currency,
        minimum_minor: 1,
        note: None,
        author: viewer.actor.to_string(),
        approver: None,
        created_at: now,
        approved_at: None,
        submitted_at: None,
        by_terms: false,
        schedule: None,
        due_on: None,
        earned_before: None,
        done_to: None,
        submitter: None,
        canceller: None,
        cancelled_at: None,
    }
}

/// Approves a batch with its payouts.
///
/// # Errors
/// `NOT_FOUND`; `INVALID_TRANSITION`, also when none of its payouts is left; `SECOND_PERSON_NEEDED`;
/// `IDEMPOTENCY_CONFLICT`.
pub async fn approve(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    id: PayoutBatchId,
) -> Result<Outcome<payout_batch::Model>, ServiceError> {
    let mut tx = services.begin(viewer).await?;
    let claimed = idempotency::claim(services, &mut tx, viewer, key, "approvePayoutBatch", &id, id.uuid()).await?;
    if claimed.is_some() {
        return Ok(Outcome::replayed(existing_batch(&tx, id).await?));
    }
    let mut batch = lock(&tx, id).await?;
    batch.status = rules::step_batch(batch.status, PayoutBatchStatus::Approving)?;
    let actor = viewer.actor.to_string();
    rules::may_approve(&batch, &actor, tenants::get(&tx).await?.payout_four_eyes)?;
    batch.approver = Some(actor);
    batch.approved_at = Some(services.now());
    begin(services, tx, batch).await
}

/// Submits an approved batch: each payout's money leaves its affiliate's balance. A payout that the balance no longer
/// covers is cancelled; the others go on.
///
/// # Errors
/// `NOT_FOUND`; `INVALID_TRANSITION`, also when none of its payouts is left; `SECOND_PERSON_NEEDED`;
/// `IDEMPOTENCY_CONFLICT`.
pub async fn submit(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    id: PayoutBatchId,
) -> Result<Outcome<payout_batch::Model>, ServiceError> {
    let mut tx = services.begin(viewer).await?;
    let claimed = idempotency::claim(services, &mut tx, viewer, key, "submitPayoutBatch", &id, id.uuid()).await?;
    if claimed.is_some() {
        return Ok(Outcome::replayed(existing_batch(&tx, id).await?));
    }
    let mut batch = lock(&tx, id).await?;
    batch.status = rules::step_batch(batch.status, PayoutBatchStatus::Submitting)?;
    let actor = viewer.actor.to_string();
    rules::may_submit(&batch, &actor, tenants::get(&tx).await?.payout_four_eyes)?;
    batch.submitter = Some(actor);
    batch.submitted_at = Some(services.now());
    begin(services, tx, batch).await
}

/// Gives up a batch of which no money has moved, with its payouts.
///
/// # Errors
/// `NOT_FOUND`; `INVALID_TRANSITION` once it is submitted; `IDEMPOTENCY_CONFLICT`.
pub async fn cancel(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    id: PayoutBatchId,
) -> Result<Outcome<payout_batch::Model>, ServiceError> {
    let mut tx = services.begin(viewer).await?;
    let claimed = idempotency::claim(services, &mut tx, viewer, key, "cancelPayoutBatch", &id, id.uuid()).await?;
    if claimed.is_some() {
        return Ok(Outcome::replayed(existing_batch(&tx, id).await?));
    }
    let mut batch = lock(&tx, id).await?;
    batch.status = rules::step_batch(batch.status, PayoutBatchStatus::Cancelling)?;
    batch.canceller = Some(viewer.actor.to_string());
    batch.cancelled_at = Some(services.now());
    begin(services, tx, batch).await
}

/// Does the first page of a batch's step.
async fn begin(
    services: &Services,
    mut tx: Tx,
    mut batch: payout_batch::Model,
) -> Result<Outcome<payout_batch::Model>, ServiceError> {
    let now = services.now();
    // One that pays nobody can only be given up.
    let is_given_up = batch.status == PayoutBatchStatus::Cancelling;
    if pages::work(&mut tx, &mut batch, None, now).await? == 0 && !is_given_up {
        return Err(transition::refused(&["id"], "none of the batch's payouts is left to be paid").into());
    }
    pages::save(&mut tx, &batch, now).await?;
    services.commit(tx).await?;
    Ok(Outcome::done(batch))
}

/// Repeats a payout that failed or came back: a new draft, in a batch of its own, of what it did not pay.
///
/// # Errors
/// `NOT_FOUND`; `INVALID_TRANSITION`, also when nothing is available; `ALREADY_EXISTS` when it was repeated before or the
/// affiliate has another open payout in the currency; `IDEMPOTENCY_CONFLICT`.
pub async fn retry(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    id: PayoutId,
) -> Result<Outcome<payout::Model>, ServiceError> {
    let new_id = PayoutId::from_uuid(ambient::new_uuid());
    let mut tx = services.begin(viewer).await?;
    let claimed = idempotency::claim(services, &mut tx, viewer, key, "retryPayout", &id, new_id.uuid()).await?;
    if let Some(id) = claimed {
        return Ok(Outcome::replayed(existing(&tx, PayoutId::from_uuid(id)).await?));
    }
    let failed = payouts::lock(&tx, id).await?.ok_or_else(|| ServiceError::not_found(&["id"]))?;
    let available = pages::available(&tx, std::slice::from_ref(&failed)).await?;
    let gross_minor = rules::retry(&failed, available.get(&failed.affiliate_id).copied().unwrap_or(0))?;
    let batch_id = PayoutBatchId::from_uuid(ambient::new_uuid());
    let now = services.now();
    let mut batch = new_batch(viewer, batch_id, failed.currency, now);
    batch.status = rules::step_batch(batch.status, PayoutBatchStatus::Draft)?;
    let row = repetition(&tx, &batch, &failed, new_id, gross_minor).await?;
    payout_batches::insert(&mut tx, batch.clone()).await?;
    pages::save(&mut tx, &batch, now).await?;
    payouts::insert(&mut tx, row.clone()).await.map_err(|error| match error {
        StoreError::Constraint(Constraint::PayoutOpen) => exists("the affiliate has an open payout in this currency"),
        StoreError::Constraint(Constraint::PayoutRetry) => exists("this payout was repeated before"),
        error => error.into(),
    })?;
    write_drafts(&mut tx, &batch.author, std::slice::from_ref(&row)).await?;
    services.commit(tx).await?;
    Ok(Outcome::done(row))
}

/// Goes to where the affiliate is paid now: what failed may have failed for its destination.
async fn repetition(
    tx: &Tx,
    batch: &payout_batch::Model,
    failed: &payout::Model,
    id: PayoutId,
    gross_minor: i64,
) -> Result<payout::Model, ServiceError> {
    let route = Routes::read(tx, batch.currency, &[failed.affiliate_id]).await?.of(failed.affiliate_id);
    let amounts = route.payable(Money::new(gross_minor, batch.currency));
    let amounts = amounts.ok_or_else(|| transition::refused(&["id"], "too little is available to be paid"))?;
    let row = pages::new_payout(batch, failed.affiliate_id, amounts, route);
    Ok(payout::Model { id, retry_of: Some(failed.id), ..row })
}

fn exists(message: &str) -> ServiceError {
    Problem::new(ProblemCode::AlreadyExists, &["id"], message).into()
}

async fn lock(tx: &Tx, id: PayoutBatchId) -> Result<payout_batch::Model, ServiceError> {
    payout_batches::lock(tx, id).await?.ok_or_else(|| ServiceError::not_found(&["id"]))
}

async fn existing_batch(tx: &Tx, id: PayoutBatchId) -> Result<payout_batch::Model, ServiceError> {
    payout_batches::get(tx, id).await?.ok_or_else(|| ServiceError::not_found(&["id"]))
}

/// The batches with these ids.
///
/// # Errors
/// As the database answers.
pub async fn get_many(
    services: &Services,
    viewer: &Viewer,
    ids: &[PayoutBatchId],
) -> Result<Vec<payout_batch::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(payout_batches::get_many(&tx, ids).await?)
}

/// A page of the tenant's batches.
///
/// # Errors
/// As the database answers.
pub async fn list(
    services: &Services,
    viewer: &Viewer,
    statuses: Option<&[PayoutBatchStatus]>,
    request: &PageRequest,
) -> Result<Page<payout_batch::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(payout_batches::list(&tx, statuses, request).await?)
}

/// How many batches a list has.
///
/// # Errors
/// As the database answers.
pub async fn count(
    services: &Services,
    viewer: &Viewer,
    statuses: Option<&[PayoutBatchStatus]>,
) -> Result<i64, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(payout_batches::count(&tx, statuses).await?)
}

/// Whom a batch passed over, by affiliate; at most 1,000.
///
/// # Errors
/// As the database answers.
pub async fn skips(
    services: &Services,
    viewer: &Viewer,
    id: PayoutBatchId,
) -> Result<Vec<payout_skip::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(payout_batches::skips(&tx, id).await?)
}

/// The payouts of these batches, counted and summed by state.
///
/// # Errors
/// As the database answers.
pub async fn totals(
    services: &Services,
    viewer: &Viewer,
    ids: &[PayoutBatchId],
) -> Result<Vec<StatusTotal>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(payout_batches::totals(&tx, ids).await?)
}
