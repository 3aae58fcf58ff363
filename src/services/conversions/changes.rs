//! Changes of recorded conversions: everything that follows from them, table by table, for one conversion or many. What a
//! change does is decided in [`crate::domain::reversal`]; who asks for one is in [`super::refund`], [`super::undo`] and
//! [`super::adjust`].
//!
//! # Decisions
//! - Where the money is, is told by each commission: of a conversion that is not approved it is a projection, in the hold
//!   period in 2000, later in 2010 or, where that is paid out, a debt in 1200.
//! - Reports are corrected in the hour in which the customer acted, as attribution runs do: a report tells what a period's
//!   conversions came to be worth. What was taken back in which period is in the statements.
//! - What others earn on top of a commission is changed with it, by the fraction that its rule takes of it, out of the
//!   account that it was spent from.
//! - Locks are taken as reviews, runs and releases do: conversions, commissions, caps, earnings, balances.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tributary_entity::{
    Instant, commission, conversion, conversion_change, conversion_change_line, conversion_history,
    ids::{AffiliateId, CommissionId, CommissionRuleId, ConversionChangeId, ConversionId, JournalId},
    kinds::{CommissionStatus, ConversionChangeKind, ConversionReason, ConversionStatus, EventKind},
    money::{Currency, Money},
};

use super::snapshots_by_id;
use crate::{
    domain::{
        commission::{Offer, base_of},
        conversion::{Rated, Snapshot, sale_now},
        event::NewEvent,
        ledger::{self, Adjustment, Code, Journal},
        problem::Problem,
        report::{self, Totals},
        reversal::{self, Earned, Effect, Line},
        rule::Rule,
    },
    services::{
        holds,
        ingest::conversions::waiting,
        ledger::{post, standing},
        overrides,
        tiers::{self, earned_of, steps_of},
    },
    store::{
        balances, caps, changes, commissions, conversions,
        error::{Constraint, StoreError},
        rollups::{self, RollupKey},
        rules,
        scope::Tx,
    },
};

/// Conversions that are to be changed, locked with their commissions.
pub(super) struct Locked {
    pub rows: Vec<conversion::Model>,
    commissions: HashMap<ConversionId, Vec<commission::Model>>,
    rules: HashMap<(CommissionRuleId, i32), Rule>,
    /// The steps of tiers that commissions are rated at.
    steps: HashMap<(ConversionId, AffiliateId), i64>,
}

impl Locked {
    pub async fn load(tx: &Tx, ids: &[ConversionId]) -> Result<Self, StoreError> {
        let rows = conversions::lock_many(tx, ids).await?;
        let ids: Vec<ConversionId> = rows.iter().map(|row| row.id).collect();
        let mut by_id: HashMap<ConversionId, Vec<commission::Model>> = HashMap::new();
        let mut named = BTreeSet::new();
        for row in commissions::lock_of_conversions(tx, &ids).await? {
            // What was refused is nobody's any more.
            if row.status != CommissionStatus::Rejected {
                named.insert((row.rule_id, row.rule_version));
                by_id.entry(row.conversion_id).or_default().push(row);
            }
        }
        Ok(Self { rows, commissions: by_id, rules: versions(tx, named).await?, steps: steps_of(tx, &ids).await? })
    }

    pub fn commissions(&self, id: ConversionId) -> &[commission::Model] {
        self.commissions.get(&id).map_or(&[], Vec::as_slice)
    }

    /// By what a commission is paid, were the sale so much in its currency; of an override, the one that it is on.
    pub fn offer(&self, row: &commission::Model, sale_minor: i64) -> Result<Offer<'_>, StoreError> {
        let row = base_of(row, self.commissions(row.conversion_id)).ok_or_else(baseless)?;
        let rule = self.rules.get(&(row.rule_id, row.rule_version));
        let rule = rule.ok_or_else(|| StoreError::inconsistent("commission", "has no rule"))?;
        let step = self.steps.get(&(row.conversion_id, row.affiliate_id)).copied();
        Ok(earned_of(row)?.offer(rule, step, sale_minor))
    }

    /// The commissions of a conversion with what their rules say of taking them back.
    pub fn earned<'a>(&'a self, row: &conversion::Model) -> Result<Vec<Earned<'a>>, StoreError> {
        let of = |commission: &'a commission::Model| {
            let sale_minor = Rated::of_row(row).map_or(0, |rated| rated.sale.amount_minor);
            earned(commission, &self.offer(commission, sale_minor)?)
        };
        self.commissions(row.id).iter().map(of).collect()
    }
}

fn baseless() -> StoreError {
    StoreError::inconsistent("commission", "is on none")
}

fn earned<'a>(row: &'a commission::Model, offer: &Offer<'_>) -> Result<Earned<'a>, StoreError> {
    let earned = offer.fixed().and_then(|fixed| Earned::of(row, fixed));
    earned.ok_or(StoreError::Constraint(Constraint::CounterRange))
}

async fn versions(
    tx: &Tx,
    named: BTreeSet<(CommissionRuleId, i32)>,
) -> Result<HashMap<(CommissionRuleId, i32), Rule>, StoreError> {
    let named: Vec<_> = named.into_iter().collect();
    let mut known = HashMap::new();
    for named in named.chunks(500) {
        let rules = rules::in_versions(tx, named).await?;
        known.extend(rules.into_iter().map(|rule| ((rule.head.id, rule.terms.version), rule)));
    }
    Ok(known)
}

/// A change as it is asked for.
#[derive(Clone, Debug)]
pub(super) struct Cause<'a> {
    pub kind: ConversionChangeKind,
    pub reason: ConversionReason,
    pub undoes_id: Option<ConversionChangeId>,
    pub reference: Option<&'a str>,
    pub note: Option<&'a str>,
}

/// A change of one conversion that was decided.
pub(super) struct Step<'a> {
    pub id: ConversionChangeId,
    pub cause: Cause<'a>,
    pub before: conversion::Model,
    /// As they were.
    pub commissions: Vec<commission::Model>,
    pub effect: Effect,
    /// Why it stands where it then stands.
    pub reason: Option<ConversionReason>,
    /// Until when it waits then.
    pub held_until: Option<Instant>,
}

impl<'a> Step<'a> {
    /// A change after which a conversion stands where it stands, or is taken back for the change's reason.
    pub fn new(
        id: ConversionChangeId,
        cause: Cause<'a>,
        before: conversion::Model,
        commissions: &[commission::Model],
        effect: Effect,
    ) -> Self {
        let is_over = effect.status == ConversionStatus::Reversed;
        Self {
            id,
            reason: if is_over { Some(cause.reason) } else { before.reason },
            held_until: before.held_until.filter(|_| !is_over),
            cause,
            before,
            commissions: commissions.to_vec(),
            effect,
        }
    }

    fn is_reversal(&self) -> bool {
        self.cause.kind != ConversionChangeKind::Adjustment
    }

    /// The state in which the conversion's money is moved: while it is taken back there is none.
    fn status(&self) -> ConversionStatus {
        match self.before.status {
            ConversionStatus::Reversed => self.effect.status,
            status => status,
        }
    }

    fn after(&self, now: Instant) -> conversion::Model {
        let Self { before, effect, .. } = self;
        let (adjusted, refunded) = if self.is_reversal() { (0, -effect.sale_minor) } else { (effect.sale_minor, 0) };
        conversion::Model {
            status: effect.status,
            reason: self.reason,
            held_until: self.held_until,
            sale_adjusted_minor: before.sale_adjusted_minor + adjusted,
            refunded_minor: before.refunded_minor + refunded,
            commission_minor: before.commission_minor + self.moved(),
            version: before.version + 1,
            updated_at: now,
            ..before.clone()
        }
    }

    /// Of all commissions together.
    fn moved(&self) -> i64 {
        self.effect.lines.iter().map(|line| line.amount_minor).sum()
    }

    /// The lines with their commissions, and where those's money is.
    fn placed(&self) -> impl Iterator<Item = (&Line, &commission::Model, CommissionStatus)> {
        self.effect.lines.iter().filter_map(|line| {
            let row = self.commissions.iter().find(|row| row.id == line.commission_id)?;
            Some((line, row, reversal::standing(row, self.status())))
        })
    }

    /// By how much the number of conversions that count changes.
    fn counted(&self) -> i64 {
        let counts = |status| i64::from(status != ConversionStatus::Reversed);
        counts(self.effect.status) - counts(self.before.status)
    }

    fn event(&self) -> EventKind {
        match self.cause.kind {
            ConversionChangeKind::Reversal => EventKind::ConversionReversed,
            ConversionChangeKind::Undo => EventKind::ConversionRestored,
            ConversionChangeKind::Adjustment => EventKind::ConversionAdjusted,
        }
    }
}

/// Writes all that follows from changes of locked conversions, one of each. Answers what they are then.
pub(super) async fn write(
    tx: &mut Tx,
    actor: &str,
    steps: &[Step<'_>],
    now: Instant,
) -> Result<HashMap<ConversionId, Snapshot>, StoreError> {
    for step in steps {
        conversions::update(tx, step.after(now)).await?;
    }
    write_history(tx, actor, steps, now).await?;
    write_commissions(tx, steps).await?;
    after_reversals(tx, steps, now).await?;
    add_unapproved(tx, steps).await?;
    let journals = post_steps(tx, steps, now).await?;
    write_changes(tx, actor, steps, &journals, now).await?;
    add_totals(tx, steps).await?;
    go_on(tx, steps, now).await?;
    let ids: Vec<ConversionId> = steps.iter().map(|step| step.before.id).collect();
    let snapshots = snapshots_by_id(tx, &ids).await?;
    for step in steps {
        let Some(snapshot) = snapshots.get(&step.before.id) else { continue };
        let event = NewEvent::new(step.event(), step.before.id.uuid(), snapshot, now)
            .of_campaign(step.before.campaign_id)
            .of_affiliates(snapshot.affiliates());
        tx.record(event);
    }
    overrides::tell(tx, steps.iter().flat_map(Step::placed).map(|(_, row, _)| row), now);
    Ok(snapshots)
}

/// What else goes with conversions that are taken back or given again: their room in caps, where all of one is taken back.
/// It may be others' when the reversal is undone, and is not taken again. Tiers count what is left of each.
async fn after_reversals(tx: &mut Tx, steps: &[Step<'_>], now: Instant) -> Result<(), StoreError> {
    let over: Vec<ConversionId> = steps.iter().filter(|step| step.counted() < 0).map(|step| step.before.id).collect();
    if !over.is_empty() {
        caps::give_back(tx, &over).await?;
    }
    let after: Vec<conversion::Model> = steps.iter().map(|step| step.after(now)).collect();
    tiers::recount(tx, &after, now).await
}

async fn write_history(tx: &mut Tx, actor: &str, steps: &[Step<'_>], now: Instant) -> Result<(), StoreError> {
    let rows = steps.iter().map(|Step { cause, before, effect, .. }| conversion_history::Model {
        tenant_id: before.tenant_id,
        conversion_id: before.id,
        version: before.version + 1,
        from_status: Some(before.status),
        to_status: effect.status,
        reason: Some(cause.reason),
        actor: actor.to_owned(),
        note: cause.note.map(str::to_owned),
        recorded_at: now,
    });
    conversions::insert_history(tx, rows.collect())
}

/// The sums beside what was reckoned, and where each commission stands.
async fn write_commissions(tx: &mut Tx, steps: &[Step<'_>]) -> Result<(), StoreError> {
    let (mut reversed, mut adjusted) = (Vec::new(), Vec::new());
    let mut moved: BTreeMap<CommissionStatus, Vec<CommissionId>> = BTreeMap::new();
    for step in steps {
        for line in &step.effect.lines {
            match step.is_reversal() {
                true => reversed.push((line.commission_id, -line.amount_minor)),
                false => adjusted.push((line.commission_id, line.amount_minor)),
            }
        }
        for row in step.commissions.iter().filter(|_| step.counted() != 0) {
            moved.entry(reversal::standing(row, step.effect.status)).or_default().push(row.id);
        }
    }
    commissions::reverse(tx, &reversed).await?;
    commissions::adjust(tx, &adjusted).await?;
    for (status, ids) in moved {
        commissions::set_status(tx, &ids, status).await?;
    }
    Ok(())
}

/// The projection of what is not approved.
async fn add_unapproved(tx: &mut Tx, steps: &[Step<'_>]) -> Result<(), StoreError> {
    let mut deltas: BTreeMap<(AffiliateId, Currency), i64> = BTreeMap::new();
    for (line, _, place) in steps.iter().flat_map(Step::placed) {
        if place == CommissionStatus::Unapproved {
            add(deltas.entry((line.affiliate_id, line.currency)).or_default(), line.amount_minor)?;
        }
    }
    if deltas.is_empty() { Ok(()) } else { balances::add_unapproved(tx, &deltas).await }
}

fn add(sum: &mut i64, amount: i64) -> Result<(), StoreError> {
    *sum = sum.checked_add(amount).ok_or(StoreError::Constraint(Constraint::CounterRange))?;
    Ok(())
}

/// Into the ledger what is in it.
async fn post_steps(
    tx: &mut Tx,
    steps: &[Step<'_>],
    now: Instant,
) -> Result<HashMap<ConversionChangeId, JournalId>, StoreError> {
    let parts = |step: &Step<'_>| -> Vec<(Code, Adjustment)> {
        let posted = step.placed().filter(|(.., place)| *place != CommissionStatus::Unapproved);
        let part = |(line, row, place): (&Line, &commission::Model, CommissionStatus)| {
            let amount = Money::new(line.amount_minor, line.currency);
            let in_hold = place == CommissionStatus::Pending;
            (ledger::expense_of(row.level), Adjustment { affiliate_id: line.affiliate_id, amount, in_hold })
        };
        posted.map(part).collect()
    };
    let parts: Vec<(&Step<'_>, Vec<(Code, Adjustment)>)> = steps.iter().map(|step| (step, parts(step))).collect();
    let released = parts.iter().flat_map(|(_, parts)| parts).map(|(_, one)| one).filter(|one| !one.in_hold);
    let owners: BTreeSet<(AffiliateId, Currency)> =
        released.map(|one| (one.affiliate_id, one.amount.currency)).collect();
    let (mut debts, mut available) = standing(tx, &owners, now).await?;
    let mut journals: Vec<(ConversionChangeId, Journal)> = Vec::new();
    for (step, parts) in parts {
        let id = step.before.id;
        let journal = if step.is_reversal() {
            ledger::reversed(step.id, id, &parts, &mut debts, &mut available)
        } else {
            let parts: Vec<Adjustment> = parts.into_iter().map(|(_, one)| one).collect();
            ledger::adjusted(step.id.to_string(), id, &parts, &mut debts, &mut available)
        };
        journals.extend(journal.map_err(|error| StoreError::inconsistent("journal", error))?.map(|one| (step.id, one)));
    }
    let (ids, journals): (Vec<ConversionChangeId>, Vec<Journal>) = journals.into_iter().unzip();
    let posted = post(tx, &journals, now).await?;
    Ok(ids.into_iter().zip(posted).collect())
}

async fn write_changes(
    tx: &mut Tx,
    actor: &str,
    steps: &[Step<'_>],
    journals: &HashMap<ConversionChangeId, JournalId>,
    now: Instant,
) -> Result<(), StoreError> {
    let rows = steps.iter().map(|Step { id, cause, before, effect, .. }| conversion_change::Model {
        tenant_id: before.tenant_id,
        id: *id,
        conversion_id: before.id,
        version: before.version + 1,
        kind: cause.kind,
        reason: cause.reason,
        sale_minor: effect.sale_minor,
        currency: before.sale_currency,
        undoes_id: cause.undoes_id,
        reference: cause.reference.map(str::to_owned),
        journal_id: journals.get(id).copied(),
        actor: actor.to_owned(),
        note: cause.note.map(str::to_owned),
        recorded_at: now,
    });
    let lines = steps.iter().flat_map(|step| {
        step.effect.lines.iter().map(|line| conversion_change_line::Model {
            tenant_id: step.before.tenant_id,
            change_id: step.id,
            commission_id: line.commission_id,
            affiliate_id: line.affiliate_id,
            amount_minor: line.amount_minor,
            currency: line.currency,
        })
    });
    changes::insert(tx, rows.collect(), lines.collect()).await
}

/// What reports show: the conversion and its sale for the affiliate in its row, each commission for its own.
async fn add_totals(tx: &mut Tx, steps: &[Step<'_>]) -> Result<(), StoreError> {
    let mut totals: BTreeMap<RollupKey, Totals> = BTreeMap::new();
    for step in steps {
        let row = &step.before;
        let (Some(campaign_id), Some(affiliate_id)) = (row.campaign_id, row.affiliate_id) else { continue };
        let bucket_at = report::hour(row.occurred_at);
        let key = |affiliate_id, currency| RollupKey { bucket_at, campaign_id, affiliate_id, currency };
        let sale = Totals { conversions: step.counted(), sale_minor: step.effect.sale_minor, ..Totals::default() };
        let mut count = |key, added: Totals| {
            let sum = totals.entry(key).or_default();
            *sum = sum.checked_add(&added).ok_or(StoreError::Constraint(Constraint::CounterRange))?;
            Ok::<_, StoreError>(())
        };
        count(key(affiliate_id, row.sale_currency), sale)?;
        for line in &step.effect.lines {
            let commission = Totals { commission_minor: line.amount_minor, ..Totals::default() };
            count(key(line.affiliate_id, line.currency), commission)?;
        }
    }
    if totals.is_empty() { Ok(()) } else { rollups::add(tx, &totals).await }
}

/// Conversions that are given again go on where they were: their hold ends, or their click may have come.
async fn go_on(tx: &mut Tx, steps: &[Step<'_>], now: Instant) -> Result<(), StoreError> {
    let again = || steps.iter().filter(|step| step.counted() > 0);
    let payable = again().filter(|step| step.effect.status == ConversionStatus::Approved);
    let payable = payable.filter_map(|step| step.before.payable_at).map(|at| at.max(now)).collect();
    holds::schedule(tx, payable, now).await?;
    waiting::schedule(tx, again().filter_map(|step| step.held_until), now).await
}

/// Conversions that are decided anew keep what was refunded of them before: each refund takes its part of the commissions
/// that are there now.
pub(in crate::services) async fn carry_over(
    tx: &mut Tx,
    answers: &mut [Result<Snapshot, Problem>],
) -> Result<(), StoreError> {
    let mut refunded: Vec<&mut Snapshot> =
        answers.iter_mut().flatten().filter(|snapshot| snapshot.conversion.refunded_minor > 0).collect();
    refunded.retain(|snapshot| !snapshot.commissions.is_empty());
    if refunded.is_empty() {
        return Ok(());
    }
    let ids: Vec<ConversionId> = refunded.iter().map(|snapshot| snapshot.conversion.id).collect();
    let live = live_reversals(tx, &ids).await?;
    let named = refunded.iter().flat_map(|snapshot| &snapshot.commissions);
    let rules = versions(tx, named.map(|row| (row.rule_id, row.rule_version)).collect()).await?;
    let mut lines = Vec::new();
    for snapshot in refunded {
        let reversals = live.get(&snapshot.conversion.id).map_or(&[][..], Vec::as_slice);
        let amounts: Vec<i64> = reversals.iter().map(|change| -change.sale_minor).collect();
        let sale = sale_now(&snapshot.conversion);
        let rated = Rated::of_row(&snapshot.conversion).map_or(0, |rated| rated.sale.amount_minor);
        let all = snapshot.commissions.clone();
        for row in &mut snapshot.commissions {
            let base = base_of(row, &all).ok_or_else(baseless)?;
            let rule = rules.get(&(base.rule_id, base.rule_version));
            let rule = rule.ok_or_else(|| StoreError::inconsistent("commission", "has no rule"))?;
            // It was reckoned just now: the terms that it names are those of its step.
            let offer = earned_of(base)?.offer(rule, None, rated);
            let parts = reversal::replay(&earned(row, &offer)?, sale, &amounts);
            let line = |(change, part): (&conversion_change::Model, &i64)| conversion_change_line::Model {
                tenant_id: row.tenant_id,
                change_id: change.id,
                commission_id: row.id,
                affiliate_id: row.affiliate_id,
                amount_minor: -part,
                currency: row.currency,
            };
            lines.extend(reversals.iter().zip(&parts).filter(|(_, part)| **part != 0).map(line));
            row.reversed_minor = parts.iter().sum();
            snapshot.conversion.commission_minor -= row.reversed_minor;
        }
    }
    changes::insert_lines(tx, lines).await
}

/// The reversals of conversions that were not undone, in their order.
pub(super) async fn live_reversals(
    tx: &Tx,
    ids: &[ConversionId],
) -> Result<HashMap<ConversionId, Vec<conversion_change::Model>>, StoreError> {
    let all = changes::of_conversions(tx, ids).await?;
    let undone: BTreeSet<ConversionChangeId> = all.iter().filter_map(|change| change.undoes_id).collect();
    let mut live: HashMap<ConversionId, Vec<conversion_change::Model>> = HashMap::new();
    for change in all {
        if change.kind == ConversionChangeKind::Reversal && !undone.contains(&change.id) {
            live.entry(change.conversion_id).or_default().push(change);
        }
    }
    Ok(live)
}
