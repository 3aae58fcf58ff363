//! Accounts at processors: set up, given other credentials, removed, listed. [`receive`] takes the processors' calls,
//! [`reconcile`] compares the books, [`differences`] is what it finds.
//!
//! # Decisions
//! - Credentials go in and never come out: what is shown is a mask. Whoever changes them gives all of them.
//! - While payouts are under way that a processor was called about, its account stays the same: another one, asked for them,
//!   would not know them, and they would be paid a second time. Where credentials do not tell whose they are, a person does.
//! - The address that the processor calls stays when credentials change, as it is written down at the processor; its token
//!   is told once, when the account is set up.

pub mod differences;
pub mod receive;
pub mod reconcile;

use tributary_entity::{
    ids::ProcessorId,
    kinds::{EventKind, PayoutMethod},
    processor, processor_call,
};

use super::{Outcome, ServiceError, Services, idempotency};
use crate::{
    ambient,
    auth::{Viewer, processors as tokens},
    domain::{
        event::NewEvent,
        page::{Page, PageRequest},
        problem::{Problem, ProblemCode},
        processor::Credentials,
        tenancy::TenantScope,
    },
    processors::Processor,
    store::{error::Constraint, payout_transfers, processors, scope::Tx},
};

/// An account as it is told to who set it up.
#[derive(Clone)]
pub struct ProcessorWithToken {
    pub row: processor::Model,
    /// Of the address that the processor calls. Nobody can tell it again: neither a replay nor a change has one.
    pub token: Option<String>,
}

/// Sets up an account at a processor, or gives the one that is there other credentials. `keeps_account` says that they are
/// of the account that is there, or was there last, where they do not tell it themselves.
///
/// # Errors
/// The input's problems; `INVALID_TRANSITION` for another account while payouts are under way at the one that is there;
/// `ALREADY_EXISTS` when another one was set up at the same time; `IDEMPOTENCY_CONFLICT`.
pub async fn set(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    input: Credentials,
    keeps_account: bool,
) -> Result<Outcome<ProcessorWithToken>, ServiceError> {
    let input = input.check()?;
    let new_id = ProcessorId::from_uuid(ambient::new_uuid());
    let mut tx = services.begin(viewer).await?;
    let before = processors::lock_live_of(&tx, input.method()).await?;
    let id = before.as_ref().map_or(new_id, |row| row.id);
    let claimed = idempotency::claim(services, &mut tx, viewer, key, "setProcessor", &input, id.uuid()).await?;
    if let Some(id) = claimed {
        let row = existing(&tx, ProcessorId::from_uuid(id)).await?;
        return Ok(Outcome::replayed(ProcessorWithToken { row, token: None }));
    }
    refuse_other_account(services, &tx, &input, keeps_account).await?;
    let now = services.now();
    let secret = serde_json::to_vec(&input).map_err(|_| ServiceError::Internal("credentials cannot be written"))?;
    let sealed = services.vault.seal(&viewer.scope, id.uuid(), &secret);
    let (mask, author) = (input.mask(), viewer.actor.to_string());
    let (row, token) = match before {
        Some(row) => (processor::Model { sealed, mask, author, updated_at: now, ..row }, None),
        None => {
            let token = tokens::generate();
            let hash = tokens::stored_hash(&token).ok_or(ServiceError::Internal("a token has no hash"))?;
            let row = processor::Model {
                tenant_id: viewer.scope.tenant_id(),
                id,
                method: input.method(),
                sealed,
                mask,
                token_hash: hash.to_vec(),
                hint: tokens::hint(&token),
                author,
                created_at: now,
                updated_at: now,
                ended_at: None,
            };
            (row, Some(token))
        }
    };
    if token.is_some() {
        let taken = ServiceError::taken(Constraint::ProcessorLive, &["account"], "another one was set up meanwhile");
        processors::insert(&mut tx, row.clone()).await.map_err(taken)?;
    } else {
        processors::update(&mut tx, row.clone()).await?;
    }
    tx.record(changed(&row));
    services.commit(tx).await?;
    Ok(Outcome::done(ProcessorWithToken { row, token }))
}

/// Refuses another account while payouts are under way at the one that is there, or was there last.
async fn refuse_other_account(
    services: &Services,
    tx: &Tx,
    input: &Credentials,
    keeps_account: bool,
) -> Result<(), ServiceError> {
    let method = input.method();
    let Some(last) = processors::last_of(tx, method).await? else { return Ok(()) };
    let is_same = credentials(services, tx.scope(), &last).and_then(|last| input.is_account_of(&last));
    if is_same.unwrap_or(keeps_account) || !payout_transfers::is_any_under_way(tx, method).await? {
        return Ok(());
    }
    let message = match is_same {
        Some(_) => "payouts are under way at another account: it stays until they are final",
        None => "payouts are under way: say with `keepsAccount` that these are of the same account",
    };
    Err(Problem::new(ProblemCode::InvalidTransition, &["account"], message).into())
}

/// What the log keeps of an account: no secret, neither sealed nor hashed.
fn changed(row: &processor::Model) -> NewEvent {
    let shown = processor::Model { sealed: Vec::new(), token_hash: Vec::new(), ..row.clone() };
    NewEvent::new(EventKind::ProcessorChanged, row.id.uuid(), &shown, row.updated_at)
}

/// Removes an account: nothing is paid through it any more, and its address is nobody's. Payouts that are under way there
/// wait until it is set up again, or a person says what became of them.
///
/// # Errors
/// `NOT_FOUND`, also for one that was removed before; `IDEMPOTENCY_CONFLICT`.
pub async fn remove(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    id: ProcessorId,
) -> Result<Outcome<processor::Model>, ServiceError> {
    let mut tx = services.begin(viewer).await?;
    let claimed = idempotency::claim(services, &mut tx, viewer, key, "removeProcessor", &id, id.uuid()).await?;
    if claimed.is_some() {
        return Ok(Outcome::replayed(existing(&tx, id).await?));
    }
    let row = existing(&tx, id).await?;
    let now = services.now();
    if !processors::end(&mut tx, id, now).await? {
        return Err(ServiceError::not_found(&["id"]));
    }
    let row = processor::Model { ended_at: Some(now), updated_at: now, ..row };
    tx.record(changed(&row));
    services.commit(tx).await?;
    Ok(Outcome::done(row))
}

async fn existing(tx: &Tx, id: ProcessorId) -> Result<processor::Model, ServiceError> {
    processors::get_many(tx, &[id]).await?.pop().ok_or_else(|| ServiceError::not_found(&["id"]))
}

/// The account of a row, ready to be called. None, and a line in the log, when its credentials cannot be opened.
pub(super) fn open(services: &Services, scope: &TenantScope, row: &processor::Model) -> Option<Box<dyn Processor>> {
    credentials(services, scope, row).map(|credentials| services.processors.open(credentials))
}

fn credentials(services: &Services, scope: &TenantScope, row: &processor::Model) -> Option<Credentials> {
    let opened = services.vault.open(scope, row.id.uuid(), &row.sealed).ok();
    let credentials = opened.and_then(|secret| serde_json::from_slice::<Credentials>(&secret).ok());
    if credentials.is_none() {
        tracing::error!(processor.id = %row.id, "credentials cannot be opened; were they sealed with another secret?");
    }
    credentials
}

/// The tenant's account at a method's processor, ready to be called. It stays as it is until the transaction ends: what is to
/// be called through it is noted by then.
///
/// # Errors
/// As the database answers.
pub(super) async fn of_method(
    services: &Services,
    tx: &Tx,
    method: PayoutMethod,
) -> Result<Option<Box<dyn Processor>>, ServiceError> {
    let row = processors::lock_live_of(tx, method).await?;
    Ok(row.and_then(|row| open(services, tx.scope(), &row)))
}

/// The accounts in use.
///
/// # Errors
/// As the database answers.
pub async fn list(services: &Services, viewer: &Viewer) -> Result<Vec<processor::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(processors::live(&tx).await?)
}

/// The accounts with these ids, in use or not.
///
/// # Errors
/// As the database answers.
pub async fn get_many(
    services: &Services,
    viewer: &Viewer,
    ids: &[ProcessorId],
) -> Result<Vec<processor::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(processors::get_many(&tx, ids).await?)
}

/// A page of the calls that came.
///
/// # Errors
/// As the database answers.
pub async fn calls(
    services: &Services,
    viewer: &Viewer,
    request: &PageRequest,
) -> Result<Page<processor_call::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(processors::calls(&tx, request).await?)
}

/// How many calls came.
///
/// # Errors
/// As the database answers.
pub async fn count_calls(services: &Services, viewer: &Viewer) -> Result<i64, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(processors::count_calls(&tx).await?)
}
