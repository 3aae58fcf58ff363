//! Balances converted into another currency: what an affiliate has available in one becomes available in another, by the
//! rate of the day.
//!
//! # Decisions
//! - What is bought is rounded down: the rate must not pay out more than it says. What is left over by that stays with the
//!   tenant, in its FX position.
//! - Debts of the other currency are paid off first, as by every credit to an affiliate.

use std::collections::BTreeSet;

use serde::Serialize;
use tributary_entity::{
    fx_conversion,
    ids::{AffiliateId, FxConversionId},
    kinds::EventKind,
    money::{Currency, Money},
};

use super::{
    Outcome, ServiceError, Services, fx_rates, idempotency,
    ledger::{post, standing},
};
use crate::{
    ambient,
    auth::Viewer,
    domain::{
        event::NewEvent,
        ledger,
        page::{Page, PageRequest},
        problem::{Problem, ProblemCode},
        text,
    },
    store::{affiliates, error::StoreError, fx_conversions},
};

/// What to convert.
#[derive(Clone, Debug, Serialize)]
pub struct ConvertInput {
    pub affiliate_id: AffiliateId,
    pub from: Money,
    pub to: Currency,
    pub note: Option<String>,
}

/// Converts a part of an affiliate's available balance.
///
/// # Errors
/// `NOT_FOUND`; `OUT_OF_RANGE` for nothing, for the same currency, for an amount that buys nothing, and for more than is
/// available; `FX_RATE_MISSING` while no rate is known; `IDEMPOTENCY_CONFLICT`.
pub async fn convert(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    mut input: ConvertInput,
) -> Result<Outcome<fx_conversion::Model>, ServiceError> {
    input.note = text::optional(&["note"], input.note.as_deref(), text::NOTE_MAX)?;
    let out_of_range = |field: &[&str], message: String| Problem::new(ProblemCode::OutOfRange, field, message);
    if input.from.amount_minor == 0 {
        return Err(out_of_range(&["from", "amount"], "more than nothing".to_owned()).into());
    }
    if input.from.currency == input.to {
        return Err(out_of_range(&["to"], "another currency".to_owned()).into());
    }
    let id = FxConversionId::from_uuid(ambient::new_uuid());
    let mut tx = services.begin(viewer).await?;
    if let Some(id) = idempotency::claim(services, &mut tx, viewer, key, "convertBalance", &input, id.uuid()).await? {
        let earlier = fx_conversions::get_many(&tx, &[FxConversionId::from_uuid(id)]).await?.pop();
        return Ok(Outcome::replayed(earlier.ok_or_else(|| ServiceError::not_found(&["idempotencyKey"]))?));
    }
    let affiliate = affiliates::get(&tx, input.affiliate_id).await?;
    let affiliate = affiliate.ok_or_else(|| ServiceError::not_found(&["affiliateId"]))?;
    let now = services.now();
    let quote = fx_rates::find(&tx, input.from.currency, input.to, now.date_naive()).await?.ok_or_else(|| {
        let message = format!("no rate from {} to {} is known", input.from.currency, input.to);
        Problem::new(ProblemCode::FxRateMissing, &["to"], message)
    })?;
    let bought = quote.convert_down(input.from).filter(|bought| bought.amount_minor > 0);
    let bought = bought.ok_or_else(|| {
        let message = format!("the amount is worth nothing in {}, or more than can be held", input.to);
        out_of_range(&["from", "amount"], message)
    })?;
    let owners = BTreeSet::from([(affiliate.id, input.from.currency), (affiliate.id, input.to)]);
    let (mut debts, available) = standing(&mut tx, &owners, now).await?;
    let has = available.get(&(affiliate.id, input.from.currency)).copied().unwrap_or(0);
    if has < input.from.amount_minor {
        let message = format!("{} available", Money::new(has, input.from.currency));
        return Err(out_of_range(&["from", "amount"], message).into());
    }
    let journal = ledger::fx_converted(id, affiliate.id, input.from, bought, &mut debts)
        .map_err(|error| StoreError::inconsistent("journal", error))?;
    post(&mut tx, &journal.into_iter().collect::<Vec<_>>(), now).await?;
    let row = fx_conversion::Model {
        tenant_id: viewer.scope.tenant_id(),
        id,
        affiliate_id: affiliate.id,
        from_minor: input.from.amount_minor,
        from_currency: input.from.currency,
        to_minor: bought.amount_minor,
        to_currency: bought.currency,
        fx: serde_json::to_string(&quote).map_err(|_| ServiceError::Internal("a quote cannot be written"))?,
        note: input.note,
        author: viewer.actor.to_string(),
        created_at: now,
    };
    fx_conversions::insert(&mut tx, row.clone()).await?;
    tx.record(NewEvent::new(EventKind::BalanceConverted, id.uuid(), &row, now).of_affiliate(Some(affiliate.id)));
    services.commit(tx).await?;
    Ok(Outcome::done(row))
}

/// A page of the conversions of balances that the viewer may see.
///
/// # Errors
/// As the database answers.
pub async fn list(
    services: &Services,
    viewer: &Viewer,
    affiliate_ids: Option<&[AffiliateId]>,
    request: &PageRequest,
) -> Result<Page<fx_conversion::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(fx_conversions::list(&tx, affiliate_ids, request).await?)
}

/// How many a list has.
///
/// # Errors
/// As the database answers.
pub async fn count(
    services: &Services,
    viewer: &Viewer,
    affiliate_ids: Option<&[AffiliateId]>,
) -> Result<i64, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(fx_conversions::count(&tx, affiliate_ids).await?)
}

/// The conversions of balances with these ids that the viewer may see.
///
/// # Errors
/// As the database answers.
pub async fn get_many(
    services: &Services,
    viewer: &Viewer,
    ids: &[FxConversionId],
) -> Result<Vec<fx_conversion::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(fx_conversions::get_many(&tx, ids).await?)
}
