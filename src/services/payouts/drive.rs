//! Drives payouts that processors make: asks for the payment, and what became of it, until it is final.
//!
//! Each turn is three parts: a transaction that notes the call, the call, a transaction that writes what came of it. A
//! worker that dies between them leaves the note; whoever takes the work over finds it, and asks by our reference before it
//! asks to pay again.
//!
//! # Decisions
//! - A payout that was handed over once is asked about first, whatever its state says: only where the processor knows of
//!   none is it handed over again, under the same key.
//! - Where the processor cannot be asked, it is handed over again without that, and only a payment that is found or made
//!   ends it: an earlier call may have been taken in, and a refusal of this one says nothing of that. It stays `UNKNOWN`,
//!   with the reason beside it, and people may say what they found.
//! - One worker at a time calls about one payout: the note is a lease. The key would stop a second payment, but two answers
//!   to one call would be confusing to read in a log at night.
//! - A call that nobody answered makes the payout `UNKNOWN`, however the call ended otherwise; what certainly did nothing
//!   leaves it where it is, with the reason beside it.

use chrono::TimeDelta;
use tributary_entity::{
    Instant,
    ids::{OutboxId, PayoutId},
    kinds::{OutboxKind, PayoutStatus, ReconciliationKind},
    money::Money,
    payout, payout_transfer,
};

use crate::{
    ambient,
    auth::Actor,
    domain::{
        ledger,
        payout::Step,
        payout_deductions::net_minor,
        payout_destination,
        processor::{self as rules, Order, Report},
        tenancy::TenantScope,
    },
    processors::{CallError, Found, Processor, is_processor},
    services::{
        ServiceError, Services,
        ledger::post,
        processors::{
            self,
            differences::{self, Difference},
        },
        publish,
    },
    store::{error::StoreError, outbox, payout_destinations, payout_transfers, payouts, scope::Tx},
};

/// How long a worker may take for a call: longer than every call's patience together.
const BUSY: TimeDelta = TimeDelta::minutes(5);
/// Until the first look at a payout that is under way, and the longest between two.
const LOOKS: (TimeDelta, TimeDelta) = (TimeDelta::seconds(10), TimeDelta::hours(1));

/// Begins to drive submitted payouts, those that processors make.
///
/// # Errors
/// As the database answers.
pub(super) async fn begin(tx: &mut Tx, rows: &[payout::Model], now: Instant) -> Result<(), StoreError> {
    let rows: Vec<&payout::Model> = rows.iter().filter(|row| is_processor(row.method)).collect();
    let transfers = rows.iter().map(|row| payout_transfer::Model {
        tenant_id: row.tenant_id,
        payout_id: row.id,
        method: row.method,
        calls: 0,
        handed_at: None,
        busy_until: None,
        next_look_at: None,
        external_id: None,
        fee_transaction: None,
        fee_minor: None,
        trouble: None,
        updated_at: now,
    });
    payout_transfers::insert_all(tx, transfers.collect()).await?;
    for row in rows {
        ask(tx, row.id, now, now).await?;
    }
    Ok(())
}

/// Asks for a look at a payout: one per payout and second.
async fn ask(tx: &mut Tx, id: PayoutId, due_at: Instant, now: Instant) -> Result<(), StoreError> {
    let key = format!("{id}/{}", due_at.timestamp());
    outbox::ask(tx, OutboxId::from_uuid(ambient::new_uuid()), OutboxKind::DrivePayout, key, due_at, now).await
}

/// The payout that a piece of work is about.
pub fn subject(dedup_key: &str) -> Option<PayoutId> {
    dedup_key.split_once('/')?.0.parse().ok()
}

/// A call that was noted.
struct Turn {
    order: Order,
    processor: Box<dyn Processor>,
    /// The processor may have been asked to pay before.
    was_handed: bool,
    /// What became of such a call nobody knows.
    is_in_doubt: bool,
}

/// Takes a payout one turn further. Nothing, when it is final or somebody else is at it.
///
/// # Errors
/// As the database answers; whatever the processor answers is no error.
pub async fn advance(services: &Services, scope: &TenantScope, id: PayoutId) -> Result<(), ServiceError> {
    let Some(turn) = note(services, scope, id).await? else { return Ok(()) };
    let outcome = call(services, scope, &turn).await?;
    finish(services, scope, id, outcome).await
}

/// Notes that the processor is about to be called.
async fn note(services: &Services, scope: &TenantScope, id: PayoutId) -> Result<Option<Turn>, ServiceError> {
    let mut tx = services.db.begin(scope).await?;
    let Some(payout) = payouts::lock(&tx, id).await? else { return Ok(None) };
    let Some(mut transfer) = payout_transfers::lock(&tx, id).await? else { return Ok(None) };
    if !matches!(payout.status, PayoutStatus::Submitted | PayoutStatus::InTransit | PayoutStatus::Unknown) {
        return Ok(None);
    }
    let now = services.now();
    // Looks that were asked for on the way end here: there is one ahead.
    if transfer.next_look_at.is_some_and(|at| now < at) {
        return Ok(None);
    }
    if let Some(until) = transfer.busy_until.filter(|until| *until > now) {
        // Should that worker have died, this one comes again.
        ask(&mut tx, id, until, now).await?;
        tx.commit().await?;
        return Ok(None);
    }
    let was_handed = transfer.handed_at.is_some();
    let is_in_doubt = is_in_doubt(&tx, &payout, &transfer).await?;
    let (processor, order) = match prepare(services, &tx, &payout, &transfer, now).await? {
        Ok(prepared) => prepared,
        Err(trouble) => {
            transfer.trouble = Some(trouble);
            rest(&mut tx, &mut transfer, now).await?;
            tx.commit().await?;
            return Ok(None);
        }
    };
    transfer.handed_at = transfer.handed_at.or(Some(now));
    transfer.calls += 1;
    transfer.busy_until = Some(now + BUSY);
    transfer.updated_at = now;
    payout_transfers::update(&mut tx, &transfer).await?;
    tx.commit().await?;
    Ok(Some(Turn { order, processor, was_handed, is_in_doubt }))
}

/// Whether an earlier call may have been taken in without our knowing: nobody answered it, or nobody wrote the answer down.
/// States alone do not tell: earlier versions took a payout back to `SUBMITTED` before they handed it over again.
async fn is_in_doubt(tx: &Tx, payout: &payout::Model, transfer: &payout_transfer::Model) -> Result<bool, StoreError> {
    if transfer.handed_at.is_none() {
        return Ok(false);
    }
    Ok(transfer.busy_until.is_some() || payouts::has_been(tx, payout.id, PayoutStatus::Unknown).await?)
}

/// Whom to call about what; or what stands in the way.
async fn prepare(
    services: &Services,
    tx: &Tx,
    payout: &payout::Model,
    transfer: &payout_transfer::Model,
    now: Instant,
) -> Result<Result<(Box<dyn Processor>, Order), String>, ServiceError> {
    let Some(processor) = processors::of_method(services, tx, payout.method).await? else {
        return Ok(Err(format!("{} is not set up", payout.method)));
    };
    let destination = match payout.destination_id {
        Some(id) => payout_destinations::get_many(tx, &[id]).await?.pop(),
        None => None,
    };
    let Some(account) = destination.as_ref().and_then(payout_destination::account) else {
        return Ok(Err("it has no destination that can be read".to_owned()));
    };
    let order = Order {
        payout_id: payout.id,
        amount: Money::new(net_minor(payout), payout.currency),
        account,
        external_id: transfer.external_id.clone(),
        handed_at: transfer.handed_at,
        at: now,
    };
    Ok(Ok((processor, order)))
}

/// Calls the processor. No transaction is open.
async fn call(
    services: &Services,
    scope: &TenantScope,
    turn: &Turn,
) -> Result<Result<Report, CallError>, ServiceError> {
    if !turn.was_handed {
        return Ok(turn.processor.submit(&turn.order).await);
    }
    let (was_asked, external_id) = match turn.processor.find(&turn.order).await {
        Ok(Found::Known(report)) => return Ok(Ok(report)),
        Ok(Found::CannotTell(why)) => return Ok(Err(CallError::Unknown(why))),
        Err(error) => return Ok(Err(error)),
        Ok(Found::Begun(name)) => (true, Some(name)),
        Ok(Found::Nothing) => (true, None),
        Ok(Found::NotAsked) => (false, None),
    };
    if !hand_again(services, scope, turn.order.payout_id, was_asked).await? {
        return Ok(Err(CallError::NotDone("it went on meanwhile".to_owned())));
    }
    let outcome = turn.processor.submit(&Order { external_id, ..turn.order.clone() }).await;
    Ok(if was_asked || !turn.is_in_doubt { outcome } else { outcome.map_err(still_in_doubt) })
}

/// However a call ended that found nothing and made nothing: an earlier one may have been taken in.
fn still_in_doubt(error: CallError) -> CallError {
    match error {
        CallError::Unknown(_) => error,
        CallError::Refused(_) | CallError::NotDone(_) => {
            CallError::Unknown(format!("{error}; an earlier call may have been taken in"))
        }
    }
}

/// Before a payout is handed over again: what the processor was asked about, and does not know, is `SUBMITTED` again, on the
/// record; what it could not be asked about stays `UNKNOWN`. False when it went on meanwhile.
async fn hand_again(
    services: &Services,
    scope: &TenantScope,
    id: PayoutId,
    was_asked: bool,
) -> Result<bool, ServiceError> {
    let mut tx = services.db.begin(scope).await?;
    let Some(payout) = payouts::lock(&tx, id).await? else { return Ok(false) };
    match payout.status {
        PayoutStatus::Submitted => Ok(true),
        PayoutStatus::Unknown if !was_asked => Ok(true),
        PayoutStatus::Unknown => {
            let step = Step::to(PayoutStatus::Submitted);
            take(services, &mut tx, payout, &step).await?;
            publish(&*services.bus, tx).await?;
            Ok(true)
        }
        // What is on its way, and the processor does not know any more, is a question for people.
        _ => Ok(false),
    }
}

/// Writes what came of a call.
async fn finish(
    services: &Services,
    scope: &TenantScope,
    id: PayoutId,
    outcome: Result<Report, CallError>,
) -> Result<(), ServiceError> {
    let mut tx = services.db.begin(scope).await?;
    let Some(payout) = payouts::lock(&tx, id).await? else { return Ok(()) };
    let Some(mut transfer) = payout_transfers::lock(&tx, id).await? else { return Ok(()) };
    (transfer.busy_until, transfer.next_look_at, transfer.trouble) = (None, None, None);
    let mut after = payout.clone();
    match outcome {
        Ok(report) => after = settle(services, &mut tx, payout, &mut transfer, &report).await?.0,
        Err(CallError::Refused(why)) if is_open(payout.status) => {
            let step = Step { reason: Some(why), ..Step::to(PayoutStatus::Failed) };
            after = take(services, &mut tx, payout, &step).await?;
        }
        Err(CallError::Unknown(why)) => {
            transfer.trouble = Some(why);
            if payout.status == PayoutStatus::Submitted {
                after = take(services, &mut tx, payout, &Step::to(PayoutStatus::Unknown)).await?;
            }
        }
        Err(CallError::NotDone(why) | CallError::Refused(why)) => transfer.trouble = Some(why),
    }
    let now = services.now();
    if is_open(after.status) {
        rest(&mut tx, &mut transfer, now).await?;
    } else {
        transfer.updated_at = now;
        payout_transfers::update(&mut tx, &transfer).await?;
    }
    publish(&*services.bus, tx).await?;
    Ok(())
}

const fn is_open(status: PayoutStatus) -> bool {
    matches!(status, PayoutStatus::Submitted | PayoutStatus::InTransit | PayoutStatus::Unknown)
}

/// Writes a transfer whose payout is under way, and asks for the next look at it.
async fn rest(tx: &mut Tx, transfer: &mut payout_transfer::Model, now: Instant) -> Result<(), StoreError> {
    let doublings = u32::try_from(transfer.calls).unwrap_or(0).min(10);
    let next = now + (LOOKS.0 * (1_i32 << doublings)).min(LOOKS.1);
    (transfer.next_look_at, transfer.updated_at) = (Some(next), now);
    payout_transfers::update(tx, transfer).await?;
    ask(tx, transfer.payout_id, next, now).await
}

/// Takes a step of a locked payout, which nobody asked for.
async fn take(
    services: &Services,
    tx: &mut Tx,
    before: payout::Model,
    step: &Step,
) -> Result<payout::Model, ServiceError> {
    super::move_on(tx, &Actor::System.to_string(), before, step, services.now()).await
}

/// Takes the steps that a report means of a locked payout, and posts the fee that it tells, once. The transfer, locked, is
/// changed and not written. Answers the payout as it is then, and what contradicts it.
///
/// # Errors
/// As the database answers.
pub(in crate::services) async fn settle(
    services: &Services,
    tx: &mut Tx,
    mut payout: payout::Model,
    transfer: &mut payout_transfer::Model,
    report: &Report,
) -> Result<(payout::Model, Option<String>), ServiceError> {
    transfer.external_id = Some(report.external_id.clone());
    let steps = match rules::steps(payout.status, report) {
        Ok(steps) => steps,
        Err(contradiction) => {
            let words = contradiction.to_string();
            contradict(services, tx, &payout, report, &words).await?;
            return Ok((payout, Some(words)));
        }
    };
    for step in &steps {
        payout = take(services, tx, payout, step).await?;
    }
    if let Some(fee) = report.fee.as_ref().filter(|_| transfer.fee_transaction.is_none()) {
        let journal = ledger::processor_fee(payout.method, &fee.transaction, fee.amount)
            .map_err(|error| StoreError::inconsistent("journal", error))?;
        post(tx, journal.as_slice(), services.now()).await?;
        transfer.fee_transaction = Some(fee.transaction.clone());
        transfer.fee_minor = Some(fee.amount.amount_minor);
    }
    Ok((payout, None))
}

/// Makes what contradicts a settled payout visible: nothing is undone by itself.
async fn contradict(
    services: &Services,
    tx: &mut Tx,
    payout: &payout::Model,
    report: &Report,
    words: &str,
) -> Result<(), StoreError> {
    let difference =
        Difference { external_id: Some(&report.reference), ..Difference::of(ReconciliationKind::State, payout, words) };
    differences::tell(tx, &difference, services.now()).await.map(drop)
}
