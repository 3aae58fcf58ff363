//! Everything that follows from decided conversions, table by table.

use std::collections::{BTreeMap, BTreeSet};

use tributary_entity::{
    Instant, conversion, conversion_history,
    ids::{AffiliateId, ConversionId},
    kinds::{ConversionStatus, EventKind},
    money::Currency,
};

use super::{BatchTotals, Case, book::BatchBook, waiting};
use crate::{
    domain::{
        commission::{earned, net},
        conversion::{Snapshot, sale_left},
        event::NewEvent,
        ledger::{self, Earned},
        report::Totals,
    },
    services::{holds, ledger::post, overrides},
    store::{
        attributions, balances, commissions, conversions,
        error::{Constraint, StoreError},
        scope::Tx,
    },
};

/// Writes conversions, new ones and such as were recorded before.
pub(super) async fn write(
    tx: &mut Tx,
    decided: &[(&Case<'_>, &Snapshot)],
    totals: &mut BatchTotals,
    book: BatchBook,
    now: Instant,
) -> Result<(), StoreError> {
    let snapshots = || decided.iter().map(|(_, snapshot)| *snapshot);
    write_rows(tx, decided, now).await?;
    attributions::insert(
        tx,
        snapshots().filter_map(|snapshot| snapshot.decision.clone()).collect(),
        snapshots().flat_map(|snapshot| snapshot.touches.clone()).collect(),
    )?;
    book.write(tx, now).await?;
    commissions::insert(tx, snapshots().flat_map(|snapshot| snapshot.commissions.clone()).collect())?;
    post_commissions(tx, snapshots(), now).await?;
    waiting::schedule(tx, snapshots().filter_map(|snapshot| snapshot.conversion.held_until), now).await?;
    for (case, snapshot) in decided {
        if let Some(before) = &case.before {
            uncount(totals, before)?;
        }
        count(totals, snapshot)?;
    }
    for (case, snapshot) in decided {
        let kind = kind(case.before.as_ref(), &snapshot.conversion);
        let event = NewEvent::new(kind, snapshot.conversion.id.uuid(), snapshot, now)
            .of_campaign(snapshot.conversion.campaign_id)
            .of_affiliates(snapshot.affiliates());
        tx.record(event);
    }
    overrides::tell(tx, snapshots().flat_map(|snapshot| &snapshot.commissions), now);
    Ok(())
}

/// What the log calls it.
fn kind(before: Option<&conversion::Model>, row: &conversion::Model) -> EventKind {
    match (before, row.status) {
        (None, _) => EventKind::ConversionRecorded,
        (Some(_), ConversionStatus::Approved) => EventKind::ConversionApproved,
        (Some(_), ConversionStatus::Rejected) => EventKind::ConversionRejected,
        (Some(_), _) => EventKind::ConversionChanged,
    }
}

/// The conversions themselves, their history, and whom they credit besides.
async fn write_rows(tx: &mut Tx, decided: &[(&Case<'_>, &Snapshot)], now: Instant) -> Result<(), StoreError> {
    let (new, again): (Vec<_>, Vec<_>) = decided.iter().partition(|(case, _)| case.before.is_none());
    conversions::insert(tx, new.into_iter().map(|(_, snapshot)| snapshot.conversion.clone()).collect())?;
    for (_, snapshot) in &again {
        conversions::update(tx, snapshot.conversion.clone()).await?;
    }
    let again: Vec<ConversionId> = again.into_iter().map(|(case, _)| case.id).collect();
    if !again.is_empty() {
        commissions::delete_rejected(tx, &again).await?;
    }
    let besides = decided.iter().flat_map(|(_, snapshot)| snapshot.shares());
    conversions::share(tx, &again, besides.collect()).await?;
    let history = decided.iter().map(|(case, snapshot)| conversion_history::Model {
        tenant_id: snapshot.conversion.tenant_id,
        conversion_id: case.id,
        version: snapshot.conversion.version,
        from_status: case.before.as_ref().map(|row| row.status),
        to_status: snapshot.conversion.status,
        reason: snapshot.conversion.reason,
        actor: case.actor.clone().into_owned(),
        note: case.note.map(str::to_owned),
        recorded_at: now,
    });
    conversions::insert_history(tx, history.collect())
}

/// Into the ledger what is approved, into the projection beside it what is not.
async fn post_commissions<'a>(
    tx: &mut Tx,
    snapshots: impl Iterator<Item = &'a Snapshot>,
    now: Instant,
) -> Result<(), StoreError> {
    let mut journals = Vec::new();
    let mut unapproved: BTreeMap<(AffiliateId, Currency), i64> = BTreeMap::new();
    let mut due = BTreeSet::new();
    for Snapshot { conversion, commissions, .. } in snapshots {
        let earned: Vec<Earned> = commissions.iter().map(earned).collect();
        if conversion.status == ConversionStatus::Approved {
            let journal = ledger::conversion_approved(conversion.id, &earned)
                .map_err(|error| StoreError::inconsistent("journal", error))?;
            journals.extend(journal);
            due.extend(conversion.payable_at.filter(|_| !commissions.is_empty()));
        } else {
            for Earned { affiliate_id, amount, .. } in earned {
                let sum = unapproved.entry((affiliate_id, amount.currency)).or_default();
                *sum = sum.checked_add(amount.amount_minor).ok_or(StoreError::Constraint(Constraint::CounterRange))?;
            }
        }
    }
    // Earnings before balances, as a review does: the other way round the two would wait for each other.
    if !unapproved.is_empty() {
        balances::add_unapproved(tx, &unapproved).await?;
    }
    post(tx, &journals, now).await?;
    holds::schedule(tx, due, now).await
}

/// Takes a conversion that is decided anew out of the totals, so far as it was in them. It has no commission yet.
fn uncount(totals: &mut BatchTotals, before: &conversion::Model) -> Result<(), StoreError> {
    let (Some(campaign_id), Some(affiliate_id)) = (before.campaign_id, before.affiliate_id) else { return Ok(()) };
    if before.status == ConversionStatus::Rejected || before.held_until.is_some() {
        return Ok(());
    }
    let sale = Totals { conversions: -1, sale_minor: -sale_left(before), ..Totals::default() };
    totals.add(before.occurred_at, campaign_id, affiliate_id, before.sale_currency, sale)
}

/// Adds a conversion to the totals: itself once, for the affiliate in its row; each commission for its own. Rejected
/// conversions count nowhere.
fn count(totals: &mut BatchTotals, Snapshot { conversion: row, commissions, .. }: &Snapshot) -> Result<(), StoreError> {
    let (Some(campaign_id), Some(affiliate_id)) = (row.campaign_id, row.affiliate_id) else { return Ok(()) };
    if row.status == ConversionStatus::Rejected {
        return Ok(());
    }
    let sale = Totals { conversions: 1, sale_minor: sale_left(row), ..Totals::default() };
    totals.add(row.occurred_at, campaign_id, affiliate_id, row.sale_currency, sale)?;
    for line in commissions {
        let commission = Totals { commission_minor: net(line).amount_minor, ..Totals::default() };
        totals.add(row.occurred_at, campaign_id, line.affiliate_id, line.currency, commission)?;
    }
    Ok(())
}
