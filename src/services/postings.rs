//! What people post to the ledger: deposits of the tenant, and debts that are given up. Who did it and why is in the event
//! log, which nobody rewrites.

use serde::Serialize;
use tributary_entity::{
    ids::{AffiliateId, JournalId},
    kinds::EventKind,
};

use super::{
    Outcome, ServiceError, Services, idempotency,
    ledger::{PostedJournal, debts, get_many, post_named},
};
use crate::{
    ambient,
    auth::Viewer,
    domain::{
        event::NewEvent,
        ledger::{self, Journal, Unbalanced},
        posting::{NewDeposit, NewWriteOff},
    },
    store::{
        affiliates,
        error::{Constraint, StoreError},
        scope::Tx,
    },
};

/// What the log keeps of a posting.
#[derive(Serialize)]
struct Posted<'a, T> {
    actor: String,
    input: &'a T,
}

/// Posts money that the tenant paid in.
///
/// # Errors
/// The input's problems; `ALREADY_EXISTS` for a reference that was posted; `IDEMPOTENCY_CONFLICT`.
pub async fn deposit(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    input: NewDeposit,
) -> Result<Outcome<PostedJournal>, ServiceError> {
    let input = input.check()?;
    let id = JournalId::from_uuid(ambient::new_uuid());
    let mut tx = services.begin(viewer).await?;
    if let Some(id) = idempotency::claim(services, &mut tx, viewer, key, "recordDeposit", &input, id.uuid()).await? {
        return Ok(Outcome::replayed(existing(services, viewer, JournalId::from_uuid(id)).await?));
    }
    let journal = ledger::deposited(input.processor, &input.reference, input.amount);
    finish(services, viewer, tx, id, journal, None, &input).await
}

/// Gives a debt up.
///
/// # Errors
/// The input's problems; `NOT_FOUND` for the affiliate; `OUT_OF_RANGE` where less is owed; `IDEMPOTENCY_CONFLICT`.
pub async fn write_off(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    input: NewWriteOff,
) -> Result<Outcome<PostedJournal>, ServiceError> {
    let input = input.check()?;
    let id = JournalId::from_uuid(ambient::new_uuid());
    let mut tx = services.begin(viewer).await?;
    if let Some(id) = idempotency::claim(services, &mut tx, viewer, key, "writeOffDebt", &input, id.uuid()).await? {
        return Ok(Outcome::replayed(existing(services, viewer, JournalId::from_uuid(id)).await?));
    }
    if affiliates::get(&tx, input.affiliate_id).await?.is_none() {
        return Err(ServiceError::not_found(&["affiliateId"]));
    }
    let owner = (input.affiliate_id, input.amount.currency);
    let owed = debts(&mut tx, [&owner].into_iter(), services.now()).await?;
    input.covered_by(owed.get(&owner).copied().unwrap_or(0))?;
    let journal = ledger::written_off(id.to_string(), input.affiliate_id, input.amount);
    finish(services, viewer, tx, id, journal, Some(input.affiliate_id), &input).await
}

async fn finish<T: Serialize + Sync>(
    services: &Services,
    viewer: &Viewer,
    mut tx: Tx,
    id: JournalId,
    journal: Result<Option<Journal>, Unbalanced>,
    affiliate_id: Option<AffiliateId>,
    input: &T,
) -> Result<Outcome<PostedJournal>, ServiceError> {
    let journal = journal
        .map_err(|error| StoreError::inconsistent("journal", error))?
        .ok_or(ServiceError::Internal("a posting of nothing"))?;
    let now = services.now();
    post_named(&mut tx, &[(id, &journal)], now).await.map_err(ServiceError::taken(
        Constraint::JournalBusinessKey,
        &["reference"],
        "a deposit with this reference is posted",
    ))?;
    let posted = Posted { actor: viewer.actor.to_string(), input };
    tx.record(NewEvent::new(EventKind::JournalPosted, id.uuid(), &posted, now).of_affiliate(affiliate_id));
    services.commit(tx).await?;
    Ok(Outcome::done(existing(services, viewer, id).await?))
}

async fn existing(services: &Services, viewer: &Viewer, id: JournalId) -> Result<PostedJournal, ServiceError> {
    get_many(services, viewer, &[id]).await?.pop().ok_or(ServiceError::Internal("a posted journal is not there"))
}
