//! Payout batches: drafted, approved, submitted; and the repetition of a payout, which is a batch of one.

use std::collections::{BTreeMap, BTreeSet};

use tributary_entity::{
    Instant,
    ids::{AccountId, AffiliateId, JournalId, PayoutBatchId, PayoutId},
    kinds::{PayoutBatchStatus, PayoutSkipReason, PayoutStatus},
    money::{Currency, Money},
    payout, payout_batch, payout_skip,
};

use super::{
    drive, existing,
    routes::{Route, Routes},
    write, write_drafts,
};
use crate::{
    ambient,
    auth::Viewer,
    domain::{
        ledger::{self, AccountKey, Code},
        page::{Page, PageRequest},
        payout::{self as rules, NewBatch, StatusTotal, Step},
        problem::{Problem, ProblemCode},
        transition,
    },
    services::{Outcome, ServiceError, Services, idempotency, ledger::post},
    store::{
        affiliates, balances,
        error::{Constraint, StoreError},
        payout_batches, payouts,
        scope::Tx,
        tenants,
    },
};

/// Affiliates that are looked at together.
const CHUNK: usize = 1_000;

/// Drafts a batch: a payout of all that is available for each affiliate with the minimum or more. Who has an open payout
/// in the currency is passed over, which the batch tells.
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
    let batch = new_batch(viewer, id, input.currency, input.minimum_minor(), input.note.clone(), services.now());
    payout_batches::insert(&mut tx, batch.clone()).await?;
    draft(&mut tx, viewer, &batch, input.affiliate_ids.as_deref()).await?;
    services.commit(tx).await?;
    Ok(Outcome::done(batch))
}

fn new_batch(
    viewer: &Viewer,
    id: PayoutBatchId,
    currency: Currency,
    minimum_minor: i64,
    note: Option<String>,
    now: Instant,
) -> payout_batch::Model {
    payout_batch::Model {
        tenant_id: viewer.scope.tenant_id(),
        id,
        status: PayoutBatchStatus::Draft,
        currency,
        minimum_minor,
        note,
        author: viewer.actor.to_string(),
        approver: None,
        created_at: now,
        approved_at: None,
        submitted_at: None,
    }
}

fn new_payout(
    batch: &payout_batch::Model,
    affiliate_id: AffiliateId,
    gross_minor: i64,
    route: Route,
) -> payout::Model {
    payout::Model {
        tenant_id: batch.tenant_id,
        id: PayoutId::from_uuid(ambient::new_uuid()),
        batch_id: batch.id,
        affiliate_id,
        currency: batch.currency,
        gross_minor,
        method: route.method,
        status: PayoutStatus::Draft,
        reference: None,
        reason: None,
        destination_id: route.destination_id,
        retry_of: None,
        version: 1,
        created_at: batch.created_at,
        approved_at: None,
        submitted_at: None,
        paid_at: None,
        closed_at: None,
        updated_at: batch.created_at,
    }
}

/// Drafts the payouts of a new batch, in the order of their affiliates: two runs at once wait for each other and do not
/// deadlock.
async fn draft(
    tx: &mut Tx,
    viewer: &Viewer,
    batch: &payout_batch::Model,
    only: Option<&[AffiliateId]>,
) -> Result<(), StoreError> {
    let mut after = None;
    let mut met: BTreeSet<AffiliateId> = BTreeSet::new();
    loop {
        let limit = CHUNK as u64;
        let payable = payouts::payable(tx, batch.currency, batch.minimum_minor, only, after, limit).await?;
        let Some((last, _)) = payable.last() else { break };
        after = Some(*last);
        let ids: Vec<AffiliateId> = payable.iter().map(|(affiliate_id, _)| *affiliate_id).collect();
        let routes = Routes::read(tx, batch.currency, &ids).await?;
        // What the processor does not pay stays in the balance.
        let cut = |id: AffiliateId, amount| routes.of(id).payable(Money::new(amount, batch.currency));
        let (rows, too_little): (Vec<_>, Vec<_>) =
            payable.iter().map(|(id, amount)| (*id, cut(*id, *amount))).partition(|(_, gross)| gross.is_some());
        let too_little: Vec<AffiliateId> = too_little.into_iter().map(|(id, _)| id).collect();
        skip(tx, batch, &too_little, PayoutSkipReason::BelowMinimum, &BTreeMap::new()).await?;
        let rows = rows.into_iter().filter_map(|(id, gross)| Some(new_payout(batch, id, gross?, routes.of(id)))).collect();
        let drafted = payouts::insert_unless_open(tx, rows).await?;
        write_drafts(tx, viewer, &drafted).await?;
        let drafted: BTreeSet<AffiliateId> = drafted.iter().map(|row| row.affiliate_id).collect();
        let is_other = |id: &AffiliateId| !drafted.contains(id) && !too_little.contains(id);
        let others: Vec<AffiliateId> = payable.iter().map(|(id, _)| *id).filter(is_other).collect();
        let open = payouts::open(tx, batch.currency, &others).await?;
        skip(tx, batch, &others, PayoutSkipReason::OpenPayout, &open).await?;
        if only.is_some() {
            met.extend(payable.iter().map(|(id, _)| *id));
        }
        if payable.len() < CHUNK {
            break;
        }
    }
    // Everybody else has too little, which is worth telling of those that were named.
    let below: Vec<AffiliateId> = only.unwrap_or_default().iter().copied().filter(|id| !met.contains(id)).collect();
    skip(tx, batch, &below, PayoutSkipReason::BelowMinimum, &BTreeMap::new()).await
}

async fn skip(
    tx: &mut Tx,
    batch: &payout_batch::Model,
    affiliate_ids: &[AffiliateId],
    reason: PayoutSkipReason,
    open: &BTreeMap<AffiliateId, PayoutId>,
) -> Result<(), StoreError> {
    let rows = affiliate_ids.iter().map(|affiliate_id| payout_skip::Model {
        tenant_id: batch.tenant_id,
        batch_id: batch.id,
        affiliate_id: *affiliate_id,
        reason,
        payout_id: open.get(affiliate_id).copied(),
    });
    payout_batches::insert_skips(tx, rows.collect()).await
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
    batch.status = rules::step_batch(batch.status, PayoutBatchStatus::Approved)?;
    let actor = viewer.actor.to_string();
    rules::may_approve(&batch, &actor, tenants::get(&tx).await?.payout_four_eyes)?;
    let rows = payouts::lock_of_batch(&tx, id, PayoutStatus::Draft).await?;
    not_empty(&rows)?;
    let now = services.now();
    let step = Step::to(PayoutStatus::Approved);
    let changed = taken(&step, rows, now)?;
    write(&mut tx, viewer, &step, changed, &BTreeMap::new()).await?;
    batch.approver = Some(actor);
    batch.approved_at = Some(now);
    save(services, tx, batch).await
}

/// Submits an approved batch: each payout's money leaves its affiliate's balance. A payout that the balance no longer
/// covers is cancelled; the others go on.
///
/// # Errors
/// `NOT_FOUND`; `INVALID_TRANSITION`, also when none of its payouts is left; `IDEMPOTENCY_CONFLICT`.
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
    batch.status = rules::step_batch(batch.status, PayoutBatchStatus::Submitted)?;
    let rows = payouts::lock_of_batch(&tx, id, PayoutStatus::Approved).await?;
    not_empty(&rows)?;
    let now = services.now();
    let available = available(&tx, &rows).await?;
    let (covered, uncovered): (Vec<_>, Vec<_>) =
        rows.into_iter().partition(|row| available.get(&row.affiliate_id).is_some_and(|have| *have >= row.gross_minor));
    let step = Step::to(PayoutStatus::Submitted);
    let journals = initiate(&mut tx, &covered, now).await?;
    drive::begin(&mut tx, &covered, now).await?;
    write(&mut tx, viewer, &step, taken(&step, covered, now)?, &journals).await?;
    let given_up = Step::cancelled(Some("the available balance no longer covers it"))?;
    write(&mut tx, viewer, &given_up, taken(&given_up, uncovered, now)?, &BTreeMap::new()).await?;
    batch.submitted_at = Some(now);
    save(services, tx, batch).await
}

fn not_empty(rows: &[payout::Model]) -> Result<(), Problem> {
    if rows.is_empty() {
        return Err(transition::refused(&["id"], "none of the batch's payouts is left to be paid"));
    }
    Ok(())
}

fn taken(step: &Step, rows: Vec<payout::Model>, now: Instant) -> Result<Vec<(payout::Model, payout::Model)>, Problem> {
    rows.into_iter().map(|row| step.take(&row, now).map(|after| (row, after))).collect()
}

/// What the payouts' affiliates have available, locked in id order: nobody spends it before this transaction ends.
async fn available(tx: &Tx, rows: &[payout::Model]) -> Result<BTreeMap<AffiliateId, i64>, StoreError> {
    let tenant_id = tx.scope().tenant_id();
    let owners: BTreeMap<AccountId, AffiliateId> = rows
        .iter()
        .map(|row| {
            let key = AccountKey::of_affiliate(Code::AffiliateAvailable, row.affiliate_id, row.currency);
            (key.id(tenant_id), row.affiliate_id)
        })
        .collect();
    let ids: Vec<AccountId> = owners.keys().copied().collect();
    let mut available = BTreeMap::new();
    for chunk in ids.chunks(CHUNK) {
        let balances = balances::lock_many(tx, chunk).await?;
        available.extend(balances.into_iter().filter_map(|(id, amount)| Some((*owners.get(&id)?, amount))));
    }
    Ok(available)
}

/// Posts the initiation of payouts; answers the journal of each.
async fn initiate(
    tx: &mut Tx,
    rows: &[payout::Model],
    now: Instant,
) -> Result<BTreeMap<PayoutId, JournalId>, StoreError> {
    let mut journals = Vec::with_capacity(rows.len());
    for row in rows {
        journals.extend(ledger::payout_initiated(row).map_err(|error| StoreError::inconsistent("journal", error))?);
    }
    let posted = post(tx, &journals, now).await?;
    Ok(rows.iter().map(|row| row.id).zip(posted).collect())
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
    let available = available(&tx, std::slice::from_ref(&failed)).await?;
    let gross_minor = rules::retry(&failed, available.get(&failed.affiliate_id).copied().unwrap_or(0))?;
    let batch_id = PayoutBatchId::from_uuid(ambient::new_uuid());
    let batch = new_batch(viewer, batch_id, failed.currency, 1, None, services.now());
    // To where the affiliate is paid now: what failed may have failed for its destination.
    let route = Routes::read(&tx, batch.currency, &[failed.affiliate_id]).await?.of(failed.affiliate_id);
    let gross_minor = route.payable(Money::new(gross_minor, batch.currency));
    let gross_minor = gross_minor.ok_or_else(|| transition::refused(&["id"], "too little is available to be paid"))?;
    let row = payout::Model {
        id: new_id,
        retry_of: Some(id),
        ..new_payout(&batch, failed.affiliate_id, gross_minor, route)
    };
    payout_batches::insert(&mut tx, batch).await?;
    payouts::insert(&mut tx, row.clone()).await.map_err(|error| match error {
        StoreError::Constraint(Constraint::PayoutOpen) => exists("the affiliate has an open payout in this currency"),
        StoreError::Constraint(Constraint::PayoutRetry) => exists("this payout was repeated before"),
        error => error.into(),
    })?;
    write_drafts(&mut tx, viewer, std::slice::from_ref(&row)).await?;
    services.commit(tx).await?;
    Ok(Outcome::done(row))
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

async fn save(
    services: &Services,
    mut tx: Tx,
    batch: payout_batch::Model,
) -> Result<Outcome<payout_batch::Model>, ServiceError> {
    payout_batches::update(&mut tx, batch.clone()).await?;
    services.commit(tx).await?;
    Ok(Outcome::done(batch))
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
