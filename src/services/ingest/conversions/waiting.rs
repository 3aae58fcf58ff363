//! Conversions that came before their click: they wait, HELD, until it is recorded or their time is over.
//!
//! # Decisions
//! - A click decides those that wait for it in its own transaction. A click and a conversion that are recorded at the same
//!   moment, on two nodes, may pass each other unseen; so each conversion that waits is looked at again a little later,
//!   when every transaction that could have missed it has ended. Clicks pay nothing for it.
//! - Rows are locked before they are decided, and a row that no longer waits is not among them: whoever comes second finds
//!   nothing to do.

use std::collections::{BTreeSet, HashMap};

use chrono::TimeDelta;
use tributary_entity::{Instant, click, conversion, ids::ClickId};

use super::{Case, load_clicks, settle, traces::Trace};
use crate::{
    auth::Actor,
    domain::{tenancy::TenantScope, touches::Scrutiny},
    services::{
        ServiceError, Services, holds,
        ingest::programme::{BatchTotals, Programme},
        publish,
    },
    store::{conversions, error::StoreError, scope::Tx},
};

/// When a conversion that waits is looked at again, for a click that was recorded at the same moment: soon, and when no
/// transaction that began before can still be open.
const LOOK_AGAIN: [TimeDelta; 2] = [TimeDelta::seconds(2), TimeDelta::seconds(60)];
/// Conversions decided in one transaction, about.
const CHUNK: u64 = 500;

/// Until when a conversion waits, if it may and there is something to wait for. That its sender keeps it back is
/// remembered in its row.
pub(super) fn until(case: &Case<'_>, trace: &Trace, wait_secs: i64, now: Instant) -> Option<Instant> {
    let waits = case.before.is_none() && trace.lacks_click() && wait_secs > 0;
    waits.then(|| now + TimeDelta::seconds(wait_secs))
}

/// Asks for conversions that wait to be looked at again.
pub(in crate::services) async fn schedule(
    tx: &mut Tx,
    held_until: impl Iterator<Item = Instant>,
    now: Instant,
) -> Result<(), StoreError> {
    let ends: BTreeSet<Instant> = held_until.collect();
    if ends.is_empty() {
        return Ok(());
    }
    let again = LOOK_AGAIN.map(|delay| now + delay);
    holds::ask_each(tx, tributary_entity::kinds::OutboxKind::ResolveWaiting, ends.into_iter().chain(again), now).await
}

/// The cases of conversions that waited for clicks.
pub(in crate::services::ingest) async fn awaiting(
    tx: &Tx,
    clicks: &[ClickId],
) -> Result<Vec<Case<'static>>, StoreError> {
    // Nearly always nothing waits: a short question spares one with every click's id in it.
    if clicks.is_empty() || !conversions::any_awaits(tx).await? {
        return Ok(Vec::new());
    }
    Ok(conversions::lock_awaiting(tx, clicks).await?.into_iter().map(case).collect())
}

fn case(row: conversion::Model) -> Case<'static> {
    Case::again(row, Actor::System.to_string().into(), None, Scrutiny::Full)
}

/// Decides every conversion of a tenant whose click has come, or whose time is over. Answers how many. Safe to run at any
/// time, any number of times, on any number of nodes.
///
/// # Errors
/// As the database answers; what was committed before stays decided.
pub(in crate::services) async fn resolve(services: &Services, scope: &TenantScope) -> Result<u64, ServiceError> {
    let mut resolved = 0;
    loop {
        let mut tx = services.db.begin(scope).await?;
        let now = services.now();
        let rows = conversions::lock_resolvable(&tx, now, CHUNK).await?;
        if rows.is_empty() {
            return Ok(resolved);
        }
        resolved += rows.len() as u64;
        let known: HashMap<ClickId, click::Model> =
            load_clicks(&tx, rows.iter().filter_map(|row| row.sent_click_id).collect()).await?;
        let mut totals = BatchTotals::default();
        let cases = rows.into_iter().map(case).collect();
        settle(&mut tx, cases, &known, &mut Programme::default(), &mut totals, now).await?;
        totals.write(&mut tx).await?;
        publish(&*services.bus, tx).await?;
    }
}
