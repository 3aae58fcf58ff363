//! Payout terms: set, read, and what they come to for an affiliate.

use chrono::NaiveDate;
use tributary_entity::{
    ids::{AffiliateId, PayoutTermsId},
    kinds::EventKind,
    money::{Currency, Money},
    payout_terms,
};

use super::{Outcome, ServiceError, Services, idempotency};
use crate::{
    ambient,
    auth::Viewer,
    domain::{
        event::NewEvent,
        page::{Page, PageRequest},
        payout_deductions::Deductions,
        payout_terms::{NewTerms, Schedule},
    },
    store::{
        affiliates,
        error::{Constraint, StoreError},
        payout_terms as store,
        scope::Tx,
        tenants,
    },
};

/// Sets the terms of an affiliate in a currency, or the tenant's, in place of those before.
///
/// # Errors
/// The input's problems; `NOT_FOUND` for the affiliate; `IDEMPOTENCY_CONFLICT`; `ALREADY_EXISTS` when others were set at
/// the same time.
pub async fn set(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    input: NewTerms,
) -> Result<Outcome<payout_terms::Model>, ServiceError> {
    let input = input.check()?;
    let mut tx = services.begin(viewer).await?;
    let before = store::lock(&tx, input.affiliate_id, input.currency).await?;
    let id = before.as_ref().map_or_else(|| PayoutTermsId::from_uuid(ambient::new_uuid()), |row| row.id);
    let claimed = idempotency::claim(services, &mut tx, viewer, key, "setPayoutTerms", &input, id.uuid()).await?;
    if let Some(id) = claimed {
        let earlier = store::by_id(&tx, PayoutTermsId::from_uuid(id)).await?;
        return Ok(Outcome::replayed(earlier.ok_or_else(|| ServiceError::not_found(&["affiliateId"]))?));
    }
    if let Some(id) = input.affiliate_id {
        affiliates::get(&tx, id).await?.ok_or_else(|| ServiceError::not_found(&["affiliateId"]))?;
    }
    let now = services.now();
    let schedule = input.schedule.map(|schedule| schedule.to_string());
    let kept = before.as_ref().filter(|before| before.schedule == schedule).and_then(|before| before.scheduled_at);
    let row = payout_terms::Model {
        tenant_id: viewer.scope.tenant_id(),
        id,
        affiliate_id: input.affiliate_id,
        currency: input.currency,
        threshold_minor: input.threshold.map(|threshold| threshold.amount_minor),
        withholding_ppm: input.withholding_ppm,
        fee_minor: input.fee.map(|fee| fee.amount_minor),
        scheduled_at: schedule.is_some().then(|| kept.unwrap_or(now)),
        schedule,
        author: viewer.actor.to_string(),
        created_at: before.as_ref().map_or(now, |before| before.created_at),
        updated_at: now,
    };
    if before.is_some() {
        store::update(&mut tx, row.clone()).await?;
    } else {
        store::insert(&mut tx, row.clone()).await.map_err(ServiceError::taken(
            Constraint::PayoutTerms,
            &["currency"],
            "other terms were set at the same time",
        ))?;
    }
    let event = NewEvent::new(EventKind::PayoutTermsChanged, id.uuid(), &row, now);
    tx.record(event.of_affiliate(row.affiliate_id));
    services.commit(tx).await?;
    Ok(Outcome::done(row))
}

/// The tenant's threshold in a currency: one minor unit where it has none.
pub(super) async fn default_threshold(tx: &Tx, currency: Currency) -> Result<i64, StoreError> {
    Ok(store::get(tx, None, currency).await?.and_then(|terms| terms.threshold_minor).unwrap_or(1))
}

/// The tenant's schedule in a currency.
pub(super) async fn default_schedule(tx: &Tx, currency: Currency) -> Result<Schedule, StoreError> {
    schedule(store::get(tx, None, currency).await?.as_ref()).map(|schedule| schedule.unwrap_or(Schedule::Never))
}

fn schedule(terms: Option<&payout_terms::Model>) -> Result<Option<Schedule>, StoreError> {
    let text = terms.and_then(|terms| terms.schedule.as_deref());
    text.map(str::parse).transpose().map_err(|error| StoreError::inconsistent("payout_terms", error))
}

/// What terms come to for one affiliate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effective {
    pub threshold: Money,
    pub schedule: Schedule,
    pub deductions: Deductions,
    /// The next day that is due after today, in the tenant's time zone.
    pub next_day: Option<NaiveDate>,
}

/// When, and from how much on, an affiliate is paid in a currency: its own terms, filled up from the tenant's. None when
/// there is no such affiliate for the viewer to see.
///
/// # Errors
/// As the database answers.
pub async fn effective(
    services: &Services,
    viewer: &Viewer,
    affiliate_id: AffiliateId,
    currency: Currency,
) -> Result<Option<Effective>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    if affiliates::get(&tx, affiliate_id).await?.is_none() {
        return Ok(None);
    }
    let (own, default) = (store::get(&tx, Some(affiliate_id), currency).await?, store::get(&tx, None, currency).await?);
    let threshold = [&own, &default].into_iter().find_map(|terms| terms.as_ref()?.threshold_minor).unwrap_or(1);
    let chosen = schedule(own.as_ref())?.or(schedule(default.as_ref())?).unwrap_or(Schedule::Never);
    let zone = tenants::zone(&tx).await?;
    Ok(Some(Effective {
        threshold: Money::new(threshold, currency),
        schedule: chosen,
        deductions: Deductions::of_terms(own.as_ref(), default.as_ref()),
        next_day: chosen.next_day(services.now(), zone),
    }))
}

/// A page of the terms that the viewer may see: an affiliate its own.
///
/// # Errors
/// As the database answers.
pub async fn list(
    services: &Services,
    viewer: &Viewer,
    affiliate_ids: Option<&[AffiliateId]>,
    request: &PageRequest,
) -> Result<Page<payout_terms::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(store::list(&tx, affiliate_ids, request).await?)
}

/// How many terms a list has.
///
/// # Errors
/// As the database answers.
pub async fn count(
    services: &Services,
    viewer: &Viewer,
    affiliate_ids: Option<&[AffiliateId]>,
) -> Result<i64, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(store::count(&tx, affiliate_ids).await?)
}
