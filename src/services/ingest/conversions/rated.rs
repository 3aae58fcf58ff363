//! Sales in another currency than their campaign: reckoned by the exchange rate of their day, or HELD until there is one.
//!
//! # Decisions
//! - A conversion that waits for a rate was accepted as it came in. When the rate comes it is credited by what is known
//!   then, as one that is recorded late would be; one that a person had re-opened waits for that person again.
//! - Rates ask for the work in their own transaction, and once more when no transaction that could not see them can still
//!   be open. Conversions pay nothing for it.

use std::collections::{BTreeSet, HashMap};

use tributary_entity::{Instant, click, conversion, ids::ClickId, money::Money};

use super::{Case, Lead, Programme, load_clicks, settle};
use crate::{
    auth::Actor,
    domain::{conversion::Rated, fx_rate::Rates, tenancy::TenantScope, touches::Scrutiny},
    services::{ServiceError, Services, ingest::programme::BatchTotals, publish},
    store::{caps, conversions, error::StoreError, fx_rates, scope::Tx},
};

/// Conversions decided in one transaction.
const CHUNK: u64 = 500;

/// The rates that cases need whose sale is in another currency than their campaign. Reads nothing where none is.
pub(super) async fn rates<'a, 'case: 'a>(
    tx: &Tx,
    leads: impl Iterator<Item = &'a Lead<'a, 'case>>,
    programme: &Programme,
    now: Instant,
) -> Result<Rates, StoreError> {
    let mut needs = BTreeSet::new();
    for lead in leads {
        if let (Some(sale), Some(campaign_id)) = (lead.case.input.sale, lead.trace.campaign_id) {
            let currency = programme.campaign(campaign_id)?.currency;
            needs.insert((sale.currency, currency, lead.case.occurred_at(now).date_naive()));
        }
    }
    fx_rates::of_needs(tx, needs.into_iter()).await
}

/// A conversion's row with what its sale was rated by.
pub(super) fn written(row: conversion::Model, rated: Option<Rated>) -> Result<conversion::Model, StoreError> {
    let Some(Rated { sale, fx: Some(quote) }) = rated else { return Ok(row) };
    let fx = serde_json::to_string(&quote).map_err(|error| StoreError::inconsistent("conversion", error))?;
    Ok(conversion::Model { rated_sale_minor: Some(sale.amount_minor), fx: Some(fx), ..row })
}

/// What of a case's sale was not taken back before, in the currency that it is rated in.
pub(super) fn left(rated: &Rated, sale: Money, case: &Case<'_>) -> i64 {
    let refunded_minor = case.before.as_ref().map_or(0, |row| row.refunded_minor);
    let left = Money::new(sale.amount_minor - refunded_minor, sale.currency);
    rated.fx.map_or(Some(left), |quote| quote.convert(left)).map_or(0, |left| left.amount_minor)
}

/// Decides every conversion of a tenant that waited for a rate which is there now. Answers how many. Safe to run at any
/// time, any number of times, on any number of nodes.
///
/// # Errors
/// As the database answers; what was committed before stays decided.
pub(in crate::services) async fn resolve(services: &Services, scope: &TenantScope) -> Result<u64, ServiceError> {
    let mut resolved = 0;
    let mut after = None;
    loop {
        let mut tx = services.db.begin(scope).await?;
        let now = services.now();
        let rows = conversions::lock_unrated(&tx, after, CHUNK).await?;
        let Some(last) = rows.last().map(|row| row.id) else { return Ok(resolved) };
        after = Some(last);
        let need = |row: &conversion::Model| (row.sale_currency, row.commission_currency, row.occurred_at.date_naive());
        let rates = fx_rates::of_needs(&tx, rows.iter().map(need)).await?;
        let is_rated = |row: &conversion::Model| {
            let (from, to, on) = need(row);
            rates.find(from, to, on).is_some()
        };
        let rows: Vec<conversion::Model> = rows.into_iter().filter(is_rated).collect();
        if rows.is_empty() {
            continue;
        }
        resolved += rows.len() as u64;
        decide(&mut tx, rows, now).await?;
        publish(&*services.bus, tx).await?;
    }
}

async fn decide(tx: &mut Tx, rows: Vec<conversion::Model>, now: Instant) -> Result<(), StoreError> {
    let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
    // It took of caps as it came in, and takes again with its commission.
    caps::give_back(tx, &ids).await?;
    let reopened = conversions::reopened(tx, &ids).await?;
    let known: HashMap<ClickId, click::Model> =
        load_clicks(tx, rows.iter().filter_map(|row| row.sent_click_id).collect()).await?;
    let cases = rows.into_iter().map(|row| {
        let scrutiny = if reopened.contains(&row.id) { Scrutiny::Waived } else { Scrutiny::Full };
        Case::again(row, Actor::System.to_string().into(), None, scrutiny)
    });
    let mut totals = BatchTotals::default();
    settle(tx, cases.collect(), &known, &mut Programme::default(), &mut totals, now).await?;
    totals.write(tx).await
}
