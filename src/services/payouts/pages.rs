//! Batches are worked off page by page, each page one transaction: a batch of any size takes the memory and the locks of
//! one page. The first page is done with the call that asks for it, so that a small batch is done when it is answered; the
//! others are work in the background, one piece each.
//!
//! # Decisions
//! - The batch's row is locked for the page and says how far it is: a node that dies leaves it there, and two that take the
//!   work over at once do not do the same page.
//! - Pages go by affiliate when drafting, by payout later; both are in id order, so that batches that meet wait for each
//!   other and do not deadlock.

use std::collections::BTreeMap;

use tributary_entity::{
    Instant,
    ids::{AccountId, AffiliateId, JournalId, OutboxId, PayoutBatchId, PayoutId},
    kinds::{EventKind, OutboxKind, PayoutBatchStatus, PayoutSkipReason, PayoutStatus},
    payout, payout_batch, payout_skip,
};

use super::{
    drive,
    routes::{Route, Routes},
    write, write_drafts,
};
use crate::{
    ambient,
    domain::{
        event::NewEvent,
        ledger::{self, AccountKey, Code},
        payout::{self as rules, Step},
        payout_deductions::Amounts,
        payout_terms::{Candidate, Choice, Schedule},
        problem::Problem,
        tenancy::TenantScope,
    },
    services::{ServiceError, Services, ledger::post, payout_terms::default_schedule, races},
    store::{
        balances,
        error::StoreError,
        outbox, payout_batches,
        payout_candidates::{self, Span},
        payouts,
        scope::Tx,
    },
};

/// Affiliates, or payouts, of one page.
pub const PAGE: u64 = 1_000;

/// Does the next page of a batch. Nothing, when the batch waits for somebody or is done.
///
/// # Errors
/// As the database answers.
pub async fn advance(services: &Services, scope: &TenantScope, id: PayoutBatchId) -> Result<(), ServiceError> {
    races::outlast(|| turn(services, scope, id)).await
}

async fn turn(services: &Services, scope: &TenantScope, id: PayoutBatchId) -> Result<(), ServiceError> {
    let mut tx = services.db.begin(scope).await?;
    let Some(mut batch) = payout_batches::lock(&tx, id).await? else { return Ok(()) };
    if rules::worked_off(batch.status).is_none() {
        return Ok(());
    }
    let now = services.now();
    work(&mut tx, &mut batch, None, now).await?;
    save(&mut tx, &batch, now).await?;
    services.commit(tx).await?;
    Ok(())
}

/// Does a page of a batch and moves it on, or asks for the next page. Answers how many the page held.
pub(super) async fn work(
    tx: &mut Tx,
    batch: &mut payout_batch::Model,
    only: Option<&[AffiliateId]>,
    now: Instant,
) -> Result<usize, ServiceError> {
    let Some(next) = rules::worked_off(batch.status) else { return Ok(0) };
    let page = match batch.status {
        PayoutBatchStatus::Drafting => draft(tx, batch, only).await?,
        PayoutBatchStatus::Approving => approve(tx, batch, now).await?,
        PayoutBatchStatus::Cancelling => cancel(tx, batch, now).await?,
        _ => submit(tx, batch, now).await?,
    };
    if page.is_last {
        batch.status = rules::step_batch(batch.status, next)?;
        batch.done_to = None;
    } else {
        batch.done_to = page.done_to;
        let id = OutboxId::from_uuid(ambient::new_uuid());
        outbox::ask(tx, id, OutboxKind::AdvancePayoutBatch, batch.id.to_string(), now, now).await?;
    }
    Ok(page.size)
}

/// Writes a batch as it is after a page, and tells of it.
pub(super) async fn save(tx: &mut Tx, batch: &payout_batch::Model, now: Instant) -> Result<(), StoreError> {
    payout_batches::update(tx, batch.clone()).await?;
    tx.record(NewEvent::new(EventKind::PayoutBatchChanged, batch.id.uuid(), batch, now));
    Ok(())
}

/// What was done of a batch.
struct PageDone {
    size: usize,
    is_last: bool,
    done_to: Option<uuid::Uuid>,
}

impl PageDone {
    fn of<T>(rows: &[T], limit: u64, id: impl Fn(&T) -> uuid::Uuid) -> Self {
        Self { size: rows.len(), is_last: (rows.len() as u64) < limit, done_to: rows.last().map(id) }
    }
}

/// By what a batch chooses whom to pay.
pub(super) async fn choice(tx: &Tx, batch: &payout_batch::Model) -> Result<Choice, StoreError> {
    let schedule: Option<Schedule> = batch.schedule.as_deref().map(str::parse).transpose().map_err(unreadable)?;
    Ok(Choice {
        minimum_minor: batch.minimum_minor,
        by_terms: batch.by_terms,
        schedule,
        default_schedule: default_schedule(tx, batch.currency).await?,
    })
}

fn unreadable(error: impl std::fmt::Display) -> StoreError {
    StoreError::inconsistent("payout_batch", error)
}

async fn draft(tx: &mut Tx, batch: &payout_batch::Model, only: Option<&[AffiliateId]>) -> Result<PageDone, StoreError> {
    let choice = choice(tx, batch).await?;
    // Those that are named are at most a page, and done at once.
    let limit = if only.is_some() { PAGE + 1 } else { PAGE };
    let span = Span {
        currency: batch.currency,
        only,
        earned_before: batch.earned_before,
        after: batch.done_to.map(AffiliateId::from_uuid),
        before: None,
        backward: false,
        limit,
    };
    let candidates = payout_candidates::list(tx, span).await?;
    let ids: Vec<AffiliateId> = candidates.iter().map(|candidate| candidate.affiliate_id).collect();
    let routes = Routes::read(tx, batch.currency, &ids).await?;
    let (rows, mut skipped) = choose(batch, &choice, &candidates, &routes);
    let wanted: Vec<AffiliateId> = rows.iter().map(|row| row.affiliate_id).collect();
    let drafted = payouts::insert_unless_open(tx, rows).await?;
    write_drafts(tx, &batch.author, &drafted).await?;
    // Another batch drafted for the rest meanwhile.
    skipped.extend(without(&wanted, &drafted).map(|id| (id, PayoutSkipReason::OpenPayout)));
    match only {
        Some(only) => skipped.extend(without_balance(only, &candidates)),
        // Everybody else has too little, or another schedule, which is worth telling of those that were named.
        None => skipped.retain(|(_, reason)| matches!(reason, PayoutSkipReason::OpenPayout | PayoutSkipReason::InDebt)),
    }
    skip(tx, batch, &skipped).await?;
    Ok(PageDone::of(&candidates, limit, |candidate| candidate.affiliate_id.uuid()))
}

type Skipped = Vec<(AffiliateId, PayoutSkipReason)>;

/// Whom to pay, and whom to pass over.
fn choose(
    batch: &payout_batch::Model,
    choice: &Choice,
    candidates: &[Candidate],
    routes: &Routes,
) -> (Vec<payout::Model>, Skipped) {
    let (mut rows, mut skipped) = (Vec::with_capacity(candidates.len()), Vec::new());
    for candidate in candidates {
        let route = routes.of(candidate.affiliate_id);
        // What the processor does not pay stays in the balance.
        match route.amounts(choice, candidate, batch.currency) {
            Ok(amounts) => rows.push(new_payout(batch, candidate.affiliate_id, amounts, route)),
            Err(reason) => skipped.push((candidate.affiliate_id, reason)),
        }
    }
    (rows, skipped)
}

/// The affiliates without a payout; both are in the same order.
fn without<'a>(wanted: &'a [AffiliateId], drafted: &'a [payout::Model]) -> impl Iterator<Item = AffiliateId> + 'a {
    let mut drafted = drafted.iter().map(|row| row.affiliate_id).peekable();
    wanted.iter().copied().filter(move |id| drafted.next_if_eq(id).is_none())
}

/// Those that were named and have nothing at all.
fn without_balance<'a>(
    only: &'a [AffiliateId],
    candidates: &'a [Candidate],
) -> impl Iterator<Item = (AffiliateId, PayoutSkipReason)> + 'a {
    let is_there = |id: &AffiliateId| candidates.binary_search_by_key(id, |candidate| candidate.affiliate_id).is_ok();
    only.iter().filter(move |id| !is_there(id)).map(|id| (*id, PayoutSkipReason::BelowMinimum))
}

async fn skip(
    tx: &mut Tx,
    batch: &payout_batch::Model,
    skipped: &[(AffiliateId, PayoutSkipReason)],
) -> Result<(), StoreError> {
    let passed_over: Vec<AffiliateId> = skipped.iter().map(|(id, _)| *id).collect();
    let open = payouts::open(tx, batch.currency, &passed_over).await?;
    let rows: Vec<payout_skip::Model> = skipped
        .iter()
        .map(|(affiliate_id, reason)| payout_skip::Model {
            tenant_id: batch.tenant_id,
            batch_id: batch.id,
            affiliate_id: *affiliate_id,
            reason: *reason,
            payout_id: open.get(affiliate_id).copied().filter(|_| *reason == PayoutSkipReason::OpenPayout),
        })
        .collect();
    payout_batches::insert_skips(tx, rows).await
}

/// A draft of a batch.
pub(super) fn new_payout(
    batch: &payout_batch::Model,
    affiliate_id: AffiliateId,
    amounts: Amounts,
    route: Route,
) -> payout::Model {
    payout::Model {
        tenant_id: batch.tenant_id,
        id: PayoutId::from_uuid(ambient::new_uuid()),
        batch_id: batch.id,
        affiliate_id,
        currency: batch.currency,
        gross_minor: amounts.gross_minor,
        tax_minor: amounts.tax_minor,
        fee_minor: amounts.fee_minor,
        method: route.method,
        status: PayoutStatus::Draft,
        reference: None,
        reason: None,
        destination_id: route.destination_id,
        file_id: None,
        bank_reference: None,
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

async fn approve(tx: &mut Tx, batch: &payout_batch::Model, now: Instant) -> Result<PageDone, ServiceError> {
    let rows = page_in(tx, batch, PayoutStatus::Draft).await?;
    let page = PageDone::of(&rows, PAGE, |row| row.id.uuid());
    let step = Step::to(PayoutStatus::Approved);
    write(tx, actor(batch.approver.as_ref()), &step, taken(&step, rows, now)?, &BTreeMap::new()).await?;
    Ok(page)
}

/// A payout that the balance no longer covers is cancelled; the others go on.
async fn submit(tx: &mut Tx, batch: &payout_batch::Model, now: Instant) -> Result<PageDone, ServiceError> {
    let rows = page_in(tx, batch, PayoutStatus::Approved).await?;
    let page = PageDone::of(&rows, PAGE, |row| row.id.uuid());
    let available = available(tx, &rows).await?;
    let (covered, uncovered): (Vec<_>, Vec<_>) =
        rows.into_iter().partition(|row| available.get(&row.affiliate_id).is_some_and(|have| *have >= row.gross_minor));
    let step = Step::to(PayoutStatus::Submitted);
    let journals = initiate(tx, &covered, now).await?;
    drive::begin(tx, &covered, now).await?;
    let actor = actor(batch.submitter.as_ref());
    write(tx, actor, &step, taken(&step, covered, now)?, &journals).await?;
    let given_up = Step::cancelled(Some("the available balance no longer covers it"))?;
    write(tx, actor, &given_up, taken(&given_up, uncovered, now)?, &BTreeMap::new()).await?;
    Ok(page)
}

/// No money has moved: nothing is posted.
async fn cancel(tx: &mut Tx, batch: &payout_batch::Model, now: Instant) -> Result<PageDone, ServiceError> {
    let status = if batch.approver.is_some() { PayoutStatus::Approved } else { PayoutStatus::Draft };
    let rows = page_in(tx, batch, status).await?;
    let page = PageDone::of(&rows, PAGE, |row| row.id.uuid());
    let step = Step::cancelled(Some("its batch was cancelled"))?;
    write(tx, actor(batch.canceller.as_ref()), &step, taken(&step, rows, now)?, &BTreeMap::new()).await?;
    Ok(page)
}

/// Who moved the batch; each is written down before the first page.
fn actor(name: Option<&String>) -> &str {
    name.map_or("system", String::as_str)
}

async fn page_in(tx: &Tx, batch: &payout_batch::Model, status: PayoutStatus) -> Result<Vec<payout::Model>, StoreError> {
    payouts::lock_of_batch(tx, batch.id, status, batch.done_to.map(PayoutId::from_uuid), PAGE).await
}

pub(super) fn taken(
    step: &Step,
    rows: Vec<payout::Model>,
    now: Instant,
) -> Result<Vec<(payout::Model, payout::Model)>, Problem> {
    rows.into_iter().map(|row| step.take(&row, now).map(|after| (row, after))).collect()
}

/// What the payouts' affiliates have available, locked in id order: nobody spends it before this transaction ends.
pub(super) async fn available(tx: &Tx, rows: &[payout::Model]) -> Result<BTreeMap<AffiliateId, i64>, StoreError> {
    let tenant_id = tx.scope().tenant_id();
    let owners: BTreeMap<AccountId, AffiliateId> = rows
        .iter()
        .map(|row| {
            let key = AccountKey::of_affiliate(Code::AffiliateAvailable, row.affiliate_id, row.currency);
            (key.id(tenant_id), row.affiliate_id)
        })
        .collect();
    let ids: Vec<AccountId> = owners.keys().copied().collect();
    let balances = balances::lock_many(tx, &ids).await?;
    Ok(balances.into_iter().filter_map(|(id, amount)| Some((*owners.get(&id)?, amount))).collect())
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
