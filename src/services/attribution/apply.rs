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

use std::collections::BTreeSet;

use tributary_entity::{
    Instant, attribution_adjustment, attribution_decision, attribution_run, attribution_touch, commission, conversion,
    ids::{AttributionRunId, CommissionId, ConversionId},
    kinds::{AttributionRunStatus, CommissionStatus, ConversionStatus, EventKind},
    money::Money,
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
        reattribution::{self, Line, Trial, Verdict},
        tenancy::TenantScope,
    },
    services::{
        ServiceError, Services,
        adjustments::{self, By, Move, Moves},
        holds, overrides, publish, races,
    },
    store::{attribution_runs, attributions, commissions, conversions, error::StoreError, scope::Tx},
};

/// Conversions of one chunk: a few hundred milliseconds, in which others that write wait on SQLite.
pub const CHUNK: u64 = 1_000;

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
    match races::outlast(|| step(services, scope, id, chunk)).await {
        Err(error) if !error.is_transient() => {
            tracing::error!(tenant.id = %scope.tenant_id(), run.id = %id, %error, "an attribution run has failed");
            finish(services, scope, id, AttributionRunStatus::Failed).await
        }
        result => result,
    }
}

async fn step(services: &Services, scope: &TenantScope, id: AttributionRunId, chunk: u64) -> Result<(), ServiceError> {
    let mut tx = services.db.begin(scope).await?;
    let Some(run) = open_run(&tx, id).await? else { return Ok(()) };
    let trial = Trial::of_run(&run);
    let after = reading::resumed(run.seen_occurred_at, run.seen_id);
    let rows = reading::page(&tx, &trial, after, chunk).await?;
    let (seen, last) = (rows.len() as u64, rows.last().map(reading::place));
    let changed = credit(services, &mut tx, &run, trial, &rows).await?;
    let now = services.now();
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
    services: &Services,
    tx: &mut Tx,
    run: &attribution_run::Model,
    trial: Trial,
    rows: &[conversion::Model],
) -> Result<i64, StoreError> {
    let ids: BTreeSet<ConversionId> = rows.iter().map(|row| row.id).collect();
    let ids: Vec<ConversionId> = ids.into_iter().collect();
    // As they are under the lock: a review may have been faster.
    let locked = conversions::lock_many(tx, &ids).await?;
    let counts = |row: &conversion::Model| matches!(row.status, ConversionStatus::Approved | ConversionStatus::Pending);
    let rows: Vec<conversion::Model> = locked.into_iter().filter(counts).collect();
    let commissions = commissions::lock_of_conversions(tx, &ids).await?;
    // After whatever made these commissions: which adjustments are of which commission is told by their times.
    let now = services.now();
    let judged = Reader::new(trial).judge(tx, rows, commissions).await?;
    let mut changes: Vec<Change> = Vec::new();
    for Judged { conversion, decision, commissions, past_commissions, verdict } in judged {
        if let Some(verdict) = verdict.filter(|verdict| verdict.is_new) {
            let version = decision.version + 1;
            changes.push(Change { conversion, version, decision, commissions, past_commissions, verdict });
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
    /// Those that count.
    commissions: Vec<commission::Model>,
    /// Those that do not any more.
    past_commissions: Vec<commission::Model>,
    verdict: Verdict,
}

/// Whether a line is about a commission.
fn is_of(row: &commission::Model, line: &Line) -> bool {
    (row.affiliate_id, row.level, row.base_affiliate_id) == (line.affiliate_id, line.level, line.base_affiliate_id)
}

impl Change {
    /// The lines that move money.
    fn moved(&self) -> impl Iterator<Item = &Line> {
        self.verdict.lines.iter().filter(|line| line.difference_minor() != 0)
    }

    fn commission_of(&self, line: &Line) -> Option<&commission::Model> {
        self.commissions.iter().find(|row| is_of(row, line))
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

    fn moves(&self) -> Moves<'_> {
        let status_of = |line: &Line| self.commission_of(line).map_or(self.status(), |row| row.status);
        let lines = self.moved().map(|line| Move {
            affiliate_id: line.affiliate_id,
            amount: Money::new(line.difference_minor(), line.currency),
            status: status_of(line),
        });
        Moves { conversion: &self.conversion, lines: lines.collect() }
    }
}

/// Writes all that follows from the changes, table by table.
async fn write(tx: &mut Tx, run: &attribution_run::Model, changes: &[Change], now: Instant) -> Result<(), StoreError> {
    let mut snapshots = Vec::with_capacity(changes.len());
    for change in changes {
        snapshots.push(change.snapshot(now)?);
    }
    let decisions = snapshots.iter().filter_map(|snapshot| snapshot.decision.clone()).collect();
    let touches = snapshots.iter().flat_map(|snapshot| snapshot.touches.iter().cloned()).collect();
    attributions::insert(tx, decisions, touches)?;
    write_commissions(tx, changes, &snapshots, now).await?;
    let moves: Vec<Moves<'_>> = changes.iter().map(Change::moves).collect();
    let by = By { actor: &run.author, note: Some(&run.reason) };
    let key = |conversion: &conversion::Model| format!("{}:{}", run.id, conversion.id);
    let journals = adjustments::write(tx, &moves, by, key, now).await?;
    let rows = changes.iter().flat_map(|change| {
        let journal_id = journals.get(&change.conversion.id).copied();
        change.moved().map(move |line| attribution_adjustment::Model {
            tenant_id: run.tenant_id,
            run_id: run.id,
            conversion_id: change.conversion.id,
            affiliate_id: line.affiliate_id,
            base_affiliate_id: line.base_affiliate_id.unwrap_or(line.affiliate_id),
            amount_minor: line.difference_minor(),
            currency: line.currency,
            journal_id,
            recorded_at: now,
        })
    });
    attribution_runs::insert_adjustments(tx, rows.collect()).await?;
    let moved = changes.iter().zip(&snapshots).flat_map(|(change, snapshot)| {
        let is_moved = |row: &&commission::Model| change.moved().any(|line| is_of(row, line));
        snapshot.commissions.iter().filter(is_moved)
    });
    overrides::tell(tx, moved, now);
    tell(tx, snapshots, now).await
}

impl Change {
    /// The conversion as it is with the change.
    fn snapshot(&self, now: Instant) -> Result<Snapshot, StoreError> {
        let (mut commissions, mut commission_minor) = (Vec::new(), self.conversion.commission_minor);
        for row in &self.commissions {
            let line = self.moved().find(|line| self.commission_of(line).is_some_and(|known| known.id == row.id));
            let adjusted_minor = row.adjusted_minor + line.map_or(0, Line::difference_minor);
            commissions.push(commission::Model { adjusted_minor, ..row.clone() });
        }
        commission_minor += self.moved().map(Line::difference_minor).sum::<i64>();
        // As when a conversion is recorded, also those of nothing: others may earn on them.
        for line in self.verdict.lines.iter().filter(|line| self.commission_of(line).is_none()) {
            commissions.extend(new_commission(self, line, now)?);
        }
        commissions.extend(self.past_commissions.iter().cloned());
        commissions.sort_unstable_by_key(|row| row.id);
        let conversion = conversion::Model {
            commission_minor,
            version: self.conversion.version + 1,
            updated_at: now,
            ..self.conversion.clone()
        };
        Ok(Snapshot { conversion, decision: Some(self.decided(now)), touches: self.touches(), commissions })
    }

    fn is_fresh(&self, row: &commission::Model) -> bool {
        !self.commissions.iter().chain(&self.past_commissions).any(|known| known.id == row.id)
    }

    /// A version more beside the earlier ones.
    fn decided(&self, now: Instant) -> attribution_decision::Model {
        let rules = self.verdict.rules;
        attribution_decision::Model {
            version: self.version,
            model: rules.model,
            window_secs: rules.window_secs,
            half_life_secs: rules.half_life_secs,
            min_secs: rules.min_secs,
            decided_at: now,
            ..self.decision.clone()
        }
    }

    fn touches(&self) -> Vec<attribution_touch::Model> {
        let touches = (0..).zip(&self.verdict.shares).map(|(position, share)| {
            let (click_id, coupon_id, occurred_at) = match share.touch.means {
                Means::Click(id) => (Some(id), None, Some(share.touch.occurred_at)),
                Means::Coupon(id) => (None, Some(id), None),
            };
            attribution_touch::Model {
                tenant_id: self.conversion.tenant_id,
                conversion_id: self.conversion.id,
                version: self.version,
                position,
                click_id,
                affiliate_id: share.touch.affiliate_id,
                share_millionths: share.millionths,
                coupon_id,
                occurred_at,
            }
        });
        touches.collect()
    }
}

/// The difference beside commissions that are there, a commission for those who had none.
async fn write_commissions(
    tx: &mut Tx,
    changes: &[Change],
    snapshots: &[Snapshot],
    now: Instant,
) -> Result<(), StoreError> {
    let (mut adjusted, mut fresh, mut due) = (Vec::new(), Vec::new(), BTreeSet::new());
    for (change, snapshot) in changes.iter().zip(snapshots) {
        let moved = change.moved();
        adjusted.extend(moved.filter_map(|line| Some((change.commission_of(line)?.id, line.difference_minor()))));
        fresh.extend(snapshot.commissions.iter().filter(|row| change.is_fresh(row)).cloned());
        // Where nobody had a commission in hold, nothing has asked for its release yet.
        let in_hold = |row: &commission::Model| row.status == CommissionStatus::Pending;
        if !change.commissions.iter().any(in_hold) {
            due.extend(snapshot.commissions.iter().filter(|row| in_hold(row)).filter_map(|row| row.payable_at));
        }
    }
    commissions::adjust(tx, &adjusted).await?;
    commissions::insert(tx, fresh)?;
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
        reversed_minor: 0,
        rule_id: earned.rule_id,
        rule_version: earned.rule_version,
        explanation: serde_json::to_string(earned).map_err(|error| StoreError::inconsistent("commission", error))?,
        clamp: None,
        payable_at: change.conversion.payable_at,
        released_at: (status == CommissionStatus::Available).then_some(now),
        created_at: now,
    }))
}

/// Who is credited now sees the conversion, and hears of it.
async fn tell(tx: &mut Tx, snapshots: Vec<Snapshot>, now: Instant) -> Result<(), StoreError> {
    let ids: Vec<ConversionId> = snapshots.iter().map(|snapshot| snapshot.conversion.id).collect();
    conversions::share(tx, &ids, snapshots.iter().flat_map(Snapshot::shares).collect()).await?;
    for snapshot in snapshots {
        let event = NewEvent::new(EventKind::ConversionReattributed, snapshot.conversion.id.uuid(), &snapshot, now)
            .of_campaign(snapshot.conversion.campaign_id)
            .of_affiliates(snapshot.affiliates());
        tx.record(event);
    }
    Ok(())
}
