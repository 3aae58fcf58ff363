//! Payout destinations: set, remove, read.

use tributary_entity::{
    ids::{AffiliateId, PayoutDestinationId},
    kinds::PayoutMethod,
    money::Currency,
    payout_destination,
};

use super::{Outcome, ServiceError, Services, idempotency};
use crate::{
    ambient,
    auth::Viewer,
    domain::{
        payout_destination::NewDestination,
        problem::{Problem, ProblemCode},
    },
    processors::{is_processor, unit},
    store::{affiliates, error::Constraint, payout_destinations, processors, scope::Tx},
};

/// Sets where an affiliate is paid in a currency, in place of what was set before. Payouts that are drafted keep theirs.
///
/// # Errors
/// The input's problems; `METHOD_NOT_AVAILABLE` for a processor that is not set up; `REQUIRED` when staff name no affiliate; `NOT_FOUND` for it; `IDEMPOTENCY_CONFLICT`;
/// `ALREADY_EXISTS` when another one was set at the same time.
pub async fn set(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    input: NewDestination,
) -> Result<Outcome<payout_destination::Model>, ServiceError> {
    let input = input.check()?;
    let id = PayoutDestinationId::from_uuid(ambient::new_uuid());
    let mut tx = services.begin(viewer).await?;
    let claimed = idempotency::claim(services, &mut tx, viewer, key, "setPayoutDestination", &input, id.uuid()).await?;
    if let Some(id) = claimed {
        return Ok(Outcome::replayed(existing(&tx, PayoutDestinationId::from_uuid(id)).await?));
    }
    let affiliate_id = input.affiliate_id.or(viewer.scope.own_affiliate());
    let affiliate_id = affiliate_id.ok_or_else(|| Problem::required(&["affiliateId"]))?;
    affiliates::get(&tx, affiliate_id).await?.ok_or_else(|| ServiceError::not_found(&["affiliateId"]))?;
    payable(&tx, input.account.method(), input.currency).await?;
    let now = services.now();
    if let Some(before) = payout_destinations::lock_live(&tx, affiliate_id, input.currency).await? {
        payout_destinations::end(&mut tx, before.id, now).await?;
    }
    let row = payout_destination::Model {
        tenant_id: viewer.scope.tenant_id(),
        id,
        affiliate_id,
        currency: input.currency,
        method: input.account.method(),
        holder: input.holder,
        account: serde_json::to_string(&input.account)
            .map_err(|_| ServiceError::Internal("an account cannot be written"))?,
        mask: input.account.mask(),
        author: viewer.actor.to_string(),
        created_at: now,
        ended_at: None,
    };
    payout_destinations::insert(&mut tx, row.clone()).await.map_err(ServiceError::taken(
        Constraint::PayoutDestination,
        &["currency"],
        "another destination was set at the same time",
    ))?;
    services.commit(tx).await?;
    Ok(Outcome::done(row))
}

/// Whether the tenant can pay a currency by a method.
async fn payable(tx: &Tx, method: PayoutMethod, currency: Currency) -> Result<(), ServiceError> {
    if !is_processor(method) {
        return Ok(());
    }
    if processors::live_of(tx, method).await?.is_none() {
        let message = format!("payouts by {method} are not set up");
        return Err(Problem::new(ProblemCode::MethodNotAvailable, &["account"], message).into());
    }
    if unit(method, currency).is_none() {
        let message = format!("{method} does not pay {currency}");
        return Err(Problem::new(ProblemCode::CurrencyMismatch, &["currency"], message).into());
    }
    Ok(())
}

/// Removes a destination: the affiliate has none in the currency then.
///
/// # Errors
/// `NOT_FOUND`, also for one that is no longer in use; `IDEMPOTENCY_CONFLICT`.
pub async fn remove(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    id: PayoutDestinationId,
) -> Result<Outcome<payout_destination::Model>, ServiceError> {
    let mut tx = services.begin(viewer).await?;
    let claimed = idempotency::claim(services, &mut tx, viewer, key, "removePayoutDestination", &id, id.uuid()).await?;
    if claimed.is_some() {
        return Ok(Outcome::replayed(existing(&tx, id).await?));
    }
    let row = existing(&tx, id).await?;
    let now = services.now();
    if !payout_destinations::end(&mut tx, id, now).await? {
        return Err(ServiceError::not_found(&["id"]));
    }
    services.commit(tx).await?;
    Ok(Outcome::done(payout_destination::Model { ended_at: Some(now), ..row }))
}

async fn existing(tx: &Tx, id: PayoutDestinationId) -> Result<payout_destination::Model, ServiceError> {
    payout_destinations::get_many(tx, &[id]).await?.pop().ok_or_else(|| ServiceError::not_found(&["id"]))
}

/// The destinations with these ids that the viewer may see, in use or not.
///
/// # Errors
/// As the database answers.
pub async fn get_many(
    services: &Services,
    viewer: &Viewer,
    ids: &[PayoutDestinationId],
) -> Result<Vec<payout_destination::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(payout_destinations::get_many(&tx, ids).await?)
}

/// Those in use of these affiliates.
///
/// # Errors
/// As the database answers.
pub async fn of_affiliates(
    services: &Services,
    viewer: &Viewer,
    ids: &[AffiliateId],
) -> Result<Vec<payout_destination::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(payout_destinations::of_affiliates(&tx, ids).await?)
}
