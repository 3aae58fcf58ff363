//! What follows when commissions of recorded conversions gain or lose something, table by table: the conversion's sum and
//! history, the projection of what is not approved, a journal for what is, and the totals that reports show.
//!
//! Whoever adjusts holds conversions and commissions locked, and has written the commissions; locks are taken on in the
//! order of reviews and releases: earnings, balances.

use std::collections::{BTreeMap, BTreeSet};

use tributary_entity::{
    Instant, conversion, conversion_history,
    ids::{AffiliateId, ConversionId, JournalId},
    kinds::{CommissionStatus, ConversionStatus},
    money::{Currency, Money},
};

use super::ledger::{post, standing};
use crate::{
    domain::{
        ledger::{self, Adjustment, Journal},
        report::{self, Totals},
    },
    store::{
        balances, conversions,
        error::{Constraint, StoreError},
        rollups::{self, RollupKey},
        scope::Tx,
    },
};

/// What the commissions of a conversion gain and lose.
pub(super) struct Moves<'a> {
    /// As it was.
    pub conversion: &'a conversion::Model,
    pub lines: Vec<Move>,
}

/// What one commission gains, or loses.
pub(super) struct Move {
    pub affiliate_id: AffiliateId,
    /// Signed; not zero.
    pub amount: Money,
    /// Of the commission.
    pub status: CommissionStatus,
}

/// Who adjusts, and why.
#[derive(Clone, Copy)]
pub(super) struct By<'a> {
    pub actor: &'a str,
    pub note: Option<&'a str>,
}

impl Moves<'_> {
    fn is_approved(&self) -> bool {
        self.conversion.status == ConversionStatus::Approved
    }

    /// What the ledger is told; nothing of a conversion that is not approved.
    fn adjustments(&self) -> Vec<Adjustment> {
        let adjustment = |line: &Move| Adjustment {
            affiliate_id: line.affiliate_id,
            amount: line.amount,
            in_hold: line.status == CommissionStatus::Pending,
        };
        if self.is_approved() { self.lines.iter().map(adjustment).collect() } else { Vec::new() }
    }
}

/// Writes all that follows. Answers the journal of each conversion that has one; `key` names it, once and for ever.
pub(super) async fn write(
    tx: &mut Tx,
    moves: &[Moves<'_>],
    by: By<'_>,
    key: impl Fn(&conversion::Model) -> String,
    now: Instant,
) -> Result<BTreeMap<ConversionId, JournalId>, StoreError> {
    let sum = |one: &Moves<'_>| one.lines.iter().map(|line| line.amount.amount_minor).sum::<i64>();
    let sums: Vec<(ConversionId, i64)> = moves.iter().map(|one| (one.conversion.id, sum(one))).collect();
    conversions::adjust(tx, &sums, now).await?;
    write_history(tx, moves, by, now).await?;
    add_unapproved(tx, moves).await?;
    let journals = post_adjustments(tx, moves, key, now).await?;
    add_totals(tx, moves).await?;
    Ok(journals)
}

/// A step of each conversion's life, in which it stays where it stands.
async fn write_history(tx: &mut Tx, moves: &[Moves<'_>], by: By<'_>, now: Instant) -> Result<(), StoreError> {
    let rows = moves.iter().map(|Moves { conversion, .. }| conversion_history::Model {
        tenant_id: conversion.tenant_id,
        conversion_id: conversion.id,
        version: conversion.version + 1,
        from_status: Some(conversion.status),
        to_status: conversion.status,
        reason: conversion.reason,
        actor: by.actor.to_owned(),
        note: by.note.map(str::to_owned),
        recorded_at: now,
    });
    conversions::insert_history(tx, rows.collect())
}

/// The projection of what is not approved.
async fn add_unapproved(tx: &mut Tx, moves: &[Moves<'_>]) -> Result<(), StoreError> {
    let mut deltas: BTreeMap<(AffiliateId, Currency), i64> = BTreeMap::new();
    for line in moves.iter().filter(|one| !one.is_approved()).flat_map(|one| &one.lines) {
        let sum = deltas.entry((line.affiliate_id, line.amount.currency)).or_default();
        *sum = sum.checked_add(line.amount.amount_minor).ok_or(StoreError::Constraint(Constraint::CounterRange))?;
    }
    if deltas.is_empty() { Ok(()) } else { balances::add_unapproved(tx, &deltas).await }
}

/// Posts the differences of what is approved, a journal for each conversion.
async fn post_adjustments(
    tx: &mut Tx,
    moves: &[Moves<'_>],
    key: impl Fn(&conversion::Model) -> String,
    now: Instant,
) -> Result<BTreeMap<ConversionId, JournalId>, StoreError> {
    let adjustments: Vec<(&conversion::Model, Vec<Adjustment>)> =
        moves.iter().map(|one| (one.conversion, one.adjustments())).collect();
    let released = adjustments.iter().flat_map(|(_, adjustments)| adjustments).filter(|one| !one.in_hold);
    let owners: BTreeSet<(AffiliateId, Currency)> =
        released.map(|one| (one.affiliate_id, one.amount.currency)).collect();
    let (mut debts, mut available) = standing(tx, &owners, now).await?;
    let mut journals: Vec<(ConversionId, Journal)> = Vec::with_capacity(adjustments.len());
    for (conversion, adjustments) in &adjustments {
        let journal = ledger::adjusted(key(conversion), conversion.id, adjustments, &mut debts, &mut available)
            .map_err(|error| StoreError::inconsistent("journal", error))?;
        journals.extend(journal.map(|journal| (conversion.id, journal)));
    }
    let (ids, journals): (Vec<ConversionId>, Vec<Journal>) = journals.into_iter().unzip();
    let posted = post(tx, &journals, now).await?;
    Ok(ids.into_iter().zip(posted).collect())
}

/// What reports show: the commission of the hour in which the customer acted, each affiliate's own.
async fn add_totals(tx: &mut Tx, moves: &[Moves<'_>]) -> Result<(), StoreError> {
    let mut totals: BTreeMap<RollupKey, Totals> = BTreeMap::new();
    for Moves { conversion, lines } in moves {
        let Some(campaign_id) = conversion.campaign_id else { continue };
        for line in lines {
            let key = RollupKey {
                bucket_at: report::hour(conversion.occurred_at),
                campaign_id,
                affiliate_id: line.affiliate_id,
                currency: line.amount.currency,
            };
            let added = Totals { commission_minor: line.amount.amount_minor, ..Totals::default() };
            let sum = totals.entry(key).or_default();
            *sum = sum.checked_add(&added).ok_or(StoreError::Constraint(Constraint::CounterRange))?;
        }
    }
    if totals.is_empty() { Ok(()) } else { rollups::add(tx, &totals).await }
}
