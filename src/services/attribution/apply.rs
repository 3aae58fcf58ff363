//! What a run does: chunk by chunk, each one transaction that reads, judges, posts, and says how far the run has come.
//!
//! A node that dies leaves the run where its last chunk ended, and whoever takes the work over goes on from there: the run's
//! row is locked for the chunk, so that two never do the same one.
//!
//! # Decisions
//! - One chunk for one piece of outbox work, which asks for the next in its own transaction: other work takes its turn
//!   between, however long the run.
//! - A fault that would come again ends the run as FAILED; what was posted stays, as it stands for itself, and the same run
//!   asked for again makes only the difference that is left.
//! - Locks are taken as reviews and releases do: conversions, commissions, earnings, balances.

use std::collections::{BTreeMap, BTreeSet};

use tributary_entity::{
    Instant, attribution_adjustment, attribution_decision, attribution_run, attribution_touch, commission, conversion,
    conversion_history,
    ids::{AffiliateId, AttributionRunId, CommissionId, ConversionId, JournalId},
    kinds::{AttributionRunStatus, CommissionStatus, ConversionStatus, EventKind},
    money::{Currency, Money},
};

use super::{
    reading::{self, Judged, Reader},
    runs,
};
use crate::{
    ambient,
    domain::{
        attribution::Means,
        conversion::Snapshot,
        event::NewEvent,
        ledger::{self, Adjustment, Journal},
        reattribution::{self, Line, Trial, Verdict},
        report::{self, Totals},
        tenancy::TenantScope,
    },
    services::{
        ServiceError, Services, conversions as noun, holds,
        ledger::{post, standing},
        overrides, publish,
    },
    store::{
        attribution_runs, attributions, balances, commissions, conversions,
        error::{Constraint, StoreError},
        rollups::{self, RollupKey},
        scope::Tx,
    },
};

/// Conversions of one chunk.
pub const CHUNK: u64 = 250;

/// Races for locks that a chunk may lose before it waits for its next turn.
const RACES: usize = 5;

/// Takes the next step of a run: up to `chunk` conversions. Nothing, when the run is over.
///
/// # Errors
/// As the database answers, when the same may succeed later. Any other fault ends the run.
pub async fn advance(
    services: &Services,
    scope: &TenantScope,
    id: AttributionRunId,
    chunk: u64,
) -> Result<(), ServiceError> {
    let mut lost_races = 0;
    loop {
        match step(services, scope, id, chunk).await {
            Err(ServiceError::Store(error)) if error.is_conflict() && lost_races < RACES => lost_races += 1,
            Err(error) if !error.is_transient() => {
                tracing::error!(tenant.id = %scope.tenant_id(), run.id = %id, %error, "an attribution run has failed");
                return finish(services, scope, id, AttributionRunStatus::Failed).await;
            }
            result => return result,
        }
    }
}

async fn step(services: &Services, scope: &TenantScope, id: AttributionRunId, chunk: u64) -> Result<(), ServiceError> {
    let mut tx = services.db.begin(scope).await?;
    let Some(run) = open_run(&tx, id).await? else { return Ok(()) };
    let trial = Trial::of_run(&run);
    let after = reading::resumed(run.seen_occurred_at, run.seen_id);
    let rows = reading::page(&tx, &trial, after, chunk).await?;
    let (seen, last) = (rows.len() as u64, rows.last().map(reading::place));
    let now = services.now();
    let changed = credit(&mut tx, &run, trial, &rows, now).await?;
    let is_done = seen < chunk;
    let run = attribution_run::Model {
        status: if is_done { AttributionRunStatus::Done } else { AttributionRunStatus::Running },
        conversions_seen: run.conversions_seen + seen.cast_signed(),
        conversions_changed: run.conversions_changed + changed,
        seen_occurred_at: last.map_or(run.seen_occurred_at, |place| place.occurred_at),
        seen_id: last.map_or(run.seen_id, |place| Some(place.id)),
        updated_at: now,
        finished_at: is_done.then_some(now),
        ..run
    };
    if !is_done {
        runs::ask(&mut tx, &run).await?;
    }
    save(services, tx, run).await
}

async fn finish(
    services: &Services,
    scope: &TenantScope,
    id: AttributionRunId,
    status: AttributionRunStatus,
) -> Result<(), ServiceError> {
    let tx = services.db.begin(scope).await?;
    let Some(run) = open_run(&tx, id).await? else { return Ok(()) };
    let now = services.now();
    save(services, tx, attribution_run::Model { status, updated_at: now, finished_at: Some(now), ..run }).await
}

async fn open_run(tx: &Tx, id: AttributionRunId) -> Result<Option<attribution_run::Model>, StoreError> {
    Ok(attribution_runs::lock(tx, id).await?.filter(|run| reattribution::is_open(run.status)))
}

async fn save(services: &Services, mut tx: Tx, run: attribution_run::Model) -> Result<(), ServiceError> {
    tx.record(runs::changed(&run));
    attribution_runs::update(&mut tx, run).await?;
    publish(&*services.bus, tx).await?;
    Ok(())
}

/// Credits conversions anew. Answers how many of them differ from what they were.
async fn credit(
    tx: &mut Tx,
    run: &attribution_run::Model,
    trial: Trial,
    rows: &[conversion::Model],
    now: Instant,
) -> Result<i64, StoreError> {
    let ids: BTreeSet<ConversionId> = rows.iter().map(|row| row.id).collect();
    let ids: Vec<ConversionId> = ids.into_iter().collect();
    // As they are under the lock: a review may have been faster.
    let locked = conversions::lock_many(tx, &ids).await?;
    let counts = |row: &conversion::Model| matches!(row.status, ConversionStatus::Approved | ConversionStatus::Pending);
    let rows: Vec<conversion::Model> = locked.into_iter().filter(counts).collect();
    let commissions = commissions::lock_of_conversions(tx, &ids).await?;
    let judged = Reader::new(trial).judge(tx, rows, commissions).await?;
    let mut changes: Vec<Change> = Vec::new();
    for Judged { conversion, decision, commissions, verdict } in judged {
        if let Some(verdict) = verdict.filter(|verdict| verdict.is_new) {
            changes.push(Change { conversion, version: decision.version + 1, decision, commissions, verdict });
        }
    }
    if !changes.is_empty() {
        write(tx, run, &changes, now).await?;
    }
    Ok(i64::try_from(changes.len()).unwrap_or(i64::MAX))
}

/// A conversion that is credited otherwise.
struct Change {
    conversion: conversion::Model,
    decision: attribution_decision::Model,
    /// Of the new decision.
    version: i32,
    commissions: Vec<commission::Model>,
    verdict: Verdict,
}

impl Change {
    /// The lines that move money.
    fn moved(&self) -> impl Iterator<Item = &Line> {
        self.verdict.lines.iter().filter(|line| line.difference_minor() != 0)
    }

    fn commission_of(&self, line: &Line) -> Option<&commission::Model> {
        let key = (line.affiliate_id, line.level, line.base_affiliate_id);
        self.commissions.iter().find(|row| (row.affiliate_id, row.level, row.base_affiliate_id) == key)
    }

    /// What each affiliate gets or loses, on all levels together.
    fn moved_by_affiliate(&self) -> BTreeMap<(AffiliateId, Currency), i64> {
        let mut moved: BTreeMap<(AffiliateId, Currency), i64> = BTreeMap::new();
        for line in self.moved() {
            *moved.entry((line.affiliate_id, line.currency)).or_default() += line.difference_minor();
        }
        moved.retain(|_, amount| *amount != 0);
        moved
    }

    fn is_approved(&self) -> bool {
        self.conversion.status == ConversionStatus::Approved
    }

    /// The state of a commission that was not there before: that of the others.
    fn status(&self) -> CommissionStatus {
        if !self.is_approved() {
            CommissionStatus::Unapproved
        } else if self.commissions.iter().any(|row| row.status == CommissionStatus::Available) {
            CommissionStatus::Available
        } else {
            CommissionStatus::Pending
        }
    }

    /// What the ledger is told; nothing of a conversion that is not approved.
    fn adjustments(&self) -> Vec<Adjustment> {
        let status_of = |line: &Line| self.commission_of(line).map_or(self.status(), |row| row.status);
        let adjustment = |line: &Line| Adjustment {
            affiliate_id: line.affiliate_id,
            amount: Money::new(line.difference_minor(), line.currency),
            in_hold: status_of(line) == CommissionStatus::Pending,
        };
        if self.is_approved() { self.moved().map(adjustment).collect() } else { Vec::new() }
    }
}

/// Writes all that follows from the changes, table by table.
async fn write(tx: &mut Tx, run: &attribution_run::Model, changes: &[Change], now: Instant) -> Result<(), StoreError> {
    write_decisions(tx, changes, now).await?;
    write_commissions(tx, changes, now).await?;
    let moved: Vec<(ConversionId, i64)> =
        changes.iter().map(|change| (change.conversion.id, change.moved().map(Line::difference_minor).sum())).collect();
    conversions::adjust(tx, &moved, now).await?;
    write_history(tx, run, changes, now).await?;
    add_unapproved(tx, changes).await?;
    let journals = post_adjustments(tx, run, changes, now).await?;
    let rows = changes.iter().flat_map(|change| {
        let journal_id = journals.get(&change.conversion.id).copied();
        change.moved_by_affiliate().into_iter().map(move |((affiliate_id, currency), amount_minor)| {
            attribution_adjustment::Model {
                tenant_id: run.tenant_id,
                run_id: run.id,
                conversion_id: change.conversion.id,
                affiliate_id,
                amount_minor,
                currency,
                journal_id,
                recorded_at: now,
            }
        })
    });
    attribution_runs::insert_adjustments(tx, rows.collect()).await?;
    add_totals(tx, changes).await?;
    tell(tx, changes, now).await
}

/// A version more beside the earlier ones.
async fn write_decisions(tx: &mut Tx, changes: &[Change], now: Instant) -> Result<(), StoreError> {
    let decisions = changes.iter().map(|change| {
        let rules = change.verdict.rules;
        attribution_decision::Model {
            tenant_id: change.conversion.tenant_id,
            conversion_id: change.conversion.id,
            version: change.version,
            model: rules.model,
            window_secs: rules.window_secs,
            half_life_secs: rules.half_life_secs,
            min_secs: rules.min_secs,
            source: change.decision.source,
            decided_at: now,
        }
    });
    let touches = changes.iter().flat_map(|change| {
        (0..).zip(&change.verdict.shares).map(|(position, share)| {
            let (click_id, coupon_id, occurred_at) = match share.touch.means {
                Means::Click(id) => (Some(id), None, Some(share.touch.occurred_at)),
                Means::Coupon(id) => (None, Some(id), None),
            };
            attribution_touch::Model {
                tenant_id: change.conversion.tenant_id,
                conversion_id: change.conversion.id,
                version: change.version,
                position,
                click_id,
                affiliate_id: share.touch.affiliate_id,
                share_millionths: share.millionths,
                coupon_id,
                occurred_at,
            }
        })
    });
    attributions::insert(tx, decisions.collect(), touches.collect()).await
}

/// The difference beside commissions that are there, a commission for those who had none.
async fn write_commissions(tx: &mut Tx, changes: &[Change], now: Instant) -> Result<(), StoreError> {
    let mut adjusted = Vec::new();
    let mut fresh = Vec::new();
    let mut due = BTreeSet::new();
    for change in changes {
        for line in change.moved() {
            match change.commission_of(line) {
                Some(row) => adjusted.push((row.id, line.difference_minor())),
                None => fresh.extend(new_commission(change, line, now)?),
            }
        }
    }
    // Where nobody had a commission, nothing has asked for its release yet.
    due.extend(fresh.iter().filter(|row| row.status == CommissionStatus::Pending).filter_map(|row| row.payable_at));
    commissions::adjust(tx, &adjusted).await?;
    commissions::insert(tx, fresh).await?;
    holds::schedule(tx, due, now).await
}

fn new_commission(change: &Change, line: &Line, now: Instant) -> Result<Option<commission::Model>, StoreError> {
    let Some(earned) = &line.earned else { return Ok(None) };
    let status = change.status();
    Ok(Some(commission::Model {
        tenant_id: change.conversion.tenant_id,
        id: CommissionId::from_uuid(ambient::new_uuid()),
        conversion_id: change.conversion.id,
        affiliate_id: line.affiliate_id,
        level: line.level,
        base_affiliate_id: line.base_affiliate_id,
        status,
        amount_minor: earned.amount.amount_minor,
        currency: earned.amount.currency,
        adjusted_minor: 0,
        rule_id: earned.rule_id,
        rule_version: earned.rule_version,
        explanation: serde_json::to_string(earned).map_err(|error| StoreError::inconsistent("commission", error))?,
        payable_at: change.conversion.payable_at,
        released_at: (status == CommissionStatus::Available).then_some(now),
        created_at: now,
    }))
}

/// A step of each conversion's life, in which it stays where it stands.
async fn write_history(
    tx: &mut Tx,
    run: &attribution_run::Model,
    changes: &[Change],
    now: Instant,
) -> Result<(), StoreError> {
    let rows = changes.iter().map(|Change { conversion, .. }| conversion_history::Model {
        tenant_id: conversion.tenant_id,
        conversion_id: conversion.id,
        version: conversion.version + 1,
        from_status: Some(conversion.status),
        to_status: conversion.status,
        reason: conversion.reason,
        actor: run.author.clone(),
        note: Some(run.reason.clone()),
        recorded_at: now,
    });
    conversions::insert_history(tx, rows.collect()).await
}

/// The projection of what is not approved.
async fn add_unapproved(tx: &mut Tx, changes: &[Change]) -> Result<(), StoreError> {
    let mut deltas: BTreeMap<(AffiliateId, Currency), i64> = BTreeMap::new();
    for line in changes.iter().filter(|change| !change.is_approved()).flat_map(Change::moved) {
        let sum = deltas.entry((line.affiliate_id, line.currency)).or_default();
        *sum = sum.checked_add(line.difference_minor()).ok_or(StoreError::Constraint(Constraint::CounterRange))?;
    }
    if deltas.is_empty() { Ok(()) } else { balances::add_unapproved(tx, &deltas).await }
}

/// Posts the differences of what is approved: a journal for each conversion, under a key of run and conversion, so that
/// it is posted once.
async fn post_adjustments(
    tx: &mut Tx,
    run: &attribution_run::Model,
    changes: &[Change],
    now: Instant,
) -> Result<BTreeMap<ConversionId, JournalId>, StoreError> {
    let adjustments: Vec<(ConversionId, Vec<Adjustment>)> =
        changes.iter().map(|change| (change.conversion.id, change.adjustments())).collect();
    let released = adjustments.iter().flat_map(|(_, adjustments)| adjustments).filter(|one| !one.in_hold);
    let owners: BTreeSet<(AffiliateId, Currency)> =
        released.map(|one| (one.affiliate_id, one.amount.currency)).collect();
    let (mut debts, mut available) = standing(tx, &owners).await?;
    let mut journals: Vec<(ConversionId, Journal)> = Vec::with_capacity(adjustments.len());
    for (id, adjustments) in &adjustments {
        let key = format!("{}:{id}", run.id);
        let journal = ledger::adjusted(key, *id, adjustments, &mut debts, &mut available)
            .map_err(|error| StoreError::inconsistent("journal", error))?;
        journals.extend(journal.map(|journal| (*id, journal)));
    }
    let (ids, journals): (Vec<ConversionId>, Vec<Journal>) = journals.into_iter().unzip();
    let posted = post(tx, &journals, now).await?;
    Ok(ids.into_iter().zip(posted).collect())
}

/// What reports show: the commission of the hour in which the customer acted, each affiliate's own.
async fn add_totals(tx: &mut Tx, changes: &[Change]) -> Result<(), StoreError> {
    let mut totals: BTreeMap<RollupKey, Totals> = BTreeMap::new();
    for change in changes {
        let Some(campaign_id) = change.conversion.campaign_id else { continue };
        for line in change.moved() {
            let key = RollupKey {
                bucket_at: report::hour(change.conversion.occurred_at),
                campaign_id,
                affiliate_id: line.affiliate_id,
                currency: line.currency,
            };
            let added = Totals { commission_minor: line.difference_minor(), ..Totals::default() };
            let sum = totals.entry(key).or_default();
            *sum = sum.checked_add(&added).ok_or(StoreError::Constraint(Constraint::CounterRange))?;
        }
    }
    if totals.is_empty() { Ok(()) } else { rollups::add(tx, &totals).await }
}

/// Who is credited now sees the conversion, and hears of it.
async fn tell(tx: &mut Tx, changes: &[Change], now: Instant) -> Result<(), StoreError> {
    let ids: Vec<ConversionId> = changes.iter().map(|change| change.conversion.id).collect();
    let rows = conversions::get_many(tx, &ids).await?;
    let snapshots = noun::snapshots(tx, rows).await?;
    conversions::share(tx, &ids, snapshots.iter().flat_map(Snapshot::shares).collect()).await?;
    overrides::tell(tx, snapshots.iter().flat_map(|snapshot| &snapshot.commissions), now);
    for snapshot in snapshots {
        let event = NewEvent::new(EventKind::ConversionReattributed, snapshot.conversion.id.uuid(), &snapshot, now)
            .of_campaign(snapshot.conversion.campaign_id)
            .of_affiliates(snapshot.affiliates());
        tx.record(event);
    }
    Ok(())
}
