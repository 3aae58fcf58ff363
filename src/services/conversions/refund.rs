//! Refunds, chargebacks, returned goods, bad debt: a conversion is taken back, in part or whole.

use std::collections::HashMap;

use serde::Serialize;
use tributary_entity::{
    Instant, conversion_change, conversion_change_line,
    ids::{ConversionChangeId, ConversionId},
    kinds::{ConversionChangeKind, ConversionReason},
    money::Money,
};

use super::{
    changes::{Cause, Locked, Step, write},
    snapshots_by_id,
};
use crate::{
    ambient,
    auth::Viewer,
    domain::{
        conversion::Snapshot, conversion_run::part_of_sale, idempotency::Claim, problem::Problem, reversal, text,
    },
    services::{Outcome, ServiceError, Services, idempotency},
    store::{changes, conversions, error::StoreError, scope::Tx},
};

/// The changes of a conversion that are answered: the newest.
const CHANGES_MAX: u64 = 100;

/// What a caller wants taken back.
#[derive(Clone, Debug, Serialize)]
pub struct RefundInput {
    pub id: ConversionId,
    /// None means all that is left.
    pub amount: Option<Money>,
    pub reason: ConversionReason,
    /// The caller's own reference: the same again is the same refund.
    pub reference: Option<String>,
    pub note: Option<String>,
}

/// A change with what it did.
#[derive(Clone, Debug)]
pub struct Change {
    pub row: conversion_change::Model,
    pub lines: Vec<conversion_change_line::Model>,
    pub is_undone: bool,
}

impl Change {
    async fn load(tx: &Tx, rows: Vec<conversion_change::Model>) -> Result<Vec<Self>, StoreError> {
        let ids: Vec<ConversionChangeId> = rows.iter().map(|row| row.id).collect();
        let undone = changes::undone(tx, &ids).await?;
        let mut lines: HashMap<ConversionChangeId, Vec<conversion_change_line::Model>> = HashMap::new();
        for line in changes::lines(tx, &ids).await? {
            lines.entry(line.change_id).or_default().push(line);
        }
        let change = |row: conversion_change::Model| Self {
            is_undone: undone.contains(&row.id),
            lines: lines.remove(&row.id).unwrap_or_default(),
            row,
        };
        Ok(rows.into_iter().map(change).collect())
    }
}

/// The newest changes of a conversion, newest first; none of one that the viewer may not see.
///
/// # Errors
/// As the database answers.
pub async fn changes_of(services: &Services, viewer: &Viewer, id: ConversionId) -> Result<Vec<Change>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    if conversions::get_many(&tx, &[id]).await?.is_empty() {
        return Ok(Vec::new());
    }
    let rows = changes::newest(&tx, id, CHANGES_MAX).await?;
    Ok(Change::load(&tx, rows).await?)
}

/// A change, and the conversion after it.
#[derive(Clone, Debug)]
pub struct Changed {
    pub snapshot: Snapshot,
    pub change: Change,
}

impl Changed {
    /// A change that is there, with the conversion as it is now.
    pub(super) async fn load(tx: &Tx, id: ConversionChangeId) -> Result<Self, ServiceError> {
        let row = changes::get(tx, id).await?.ok_or(ServiceError::Internal("a change is not there"))?;
        let snapshot = snapshots_by_id(tx, &[row.conversion_id]).await?.remove(&row.conversion_id);
        let snapshot = snapshot.ok_or(ServiceError::Internal("a changed conversion is not there"))?;
        let change = Change::load(tx, vec![row]).await?.pop();
        Ok(Self { snapshot, change: change.ok_or(ServiceError::Internal("a change is not there"))? })
    }
}

/// Takes a conversion back, in part or whole.
///
/// # Errors
/// `NOT_FOUND`; `INVALID_TRANSITION`; the amount's problems; `IDEMPOTENCY_CONFLICT`, also for a reference that was used with
/// another amount or reason.
pub async fn refund(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    mut input: RefundInput,
) -> Result<Outcome<Changed>, ServiceError> {
    input.note = text::optional(&["note"], input.note.as_deref(), text::NOTE_MAX)?;
    input.reference = text::optional(&["reference"], input.reference.as_deref(), text::REFERENCE_MAX)?;
    let id = new_id();
    let mut tx = services.begin(viewer).await?;
    let claimed = idempotency::claim(services, &mut tx, viewer, key, "refundConversion", &input, id.uuid()).await?;
    if let Some(earlier) = claimed {
        return Ok(Outcome::replayed(Changed::load(&tx, ConversionChangeId::from_uuid(earlier)).await?));
    }
    let locked = Locked::load(&tx, &[input.id]).await?;
    let row = locked.rows.first().ok_or_else(|| ServiceError::not_found(&["id"]))?;
    if let Some(earlier) = earlier(&tx, &input).await? {
        return Ok(Outcome::replayed(Changed::load(&tx, earlier).await?));
    }
    let effect = reversal::reverse(row, &locked.earned(row)?, input.amount)?;
    let cause = Cause {
        kind: ConversionChangeKind::Reversal,
        reason: input.reason,
        undoes_id: None,
        reference: input.reference.as_deref(),
        note: input.note.as_deref(),
    };
    let step = Step::new(id, cause, row.clone(), locked.commissions(row.id), effect);
    write(&mut tx, &viewer.actor.to_string(), &[step], services.now()).await?;
    let changed = Changed::load(&tx, id).await?;
    services.commit(tx).await?;
    Ok(Outcome::done(changed))
}

pub(super) fn new_id() -> ConversionChangeId {
    ConversionChangeId::from_uuid(ambient::new_uuid())
}

/// The refund that the caller's reference already names. The conversion is locked: nobody else can make one now.
///
/// # Errors
/// `IDEMPOTENCY_CONFLICT` when it is another one.
async fn earlier(tx: &Tx, input: &RefundInput) -> Result<Option<ConversionChangeId>, ServiceError> {
    let Some(reference) = &input.reference else { return Ok(None) };
    let Some(change) = changes::by_reference(tx, input.id, reference).await? else { return Ok(None) };
    let is_same = change.kind == ConversionChangeKind::Reversal
        && change.reason == input.reason
        && input.amount.is_none_or(|amount| amount == Money::new(-change.sale_minor, change.currency));
    if is_same { Ok(Some(change.id)) } else { Err(Claim::conflict().into()) }
}

/// Takes conversions back, each that may be: in full, or so many millionths of each sale. Answers what each is then, or why
/// it stays.
pub(super) async fn reverse_all(
    tx: &mut Tx,
    actor: &str,
    ids: &[ConversionId],
    (reason, part_ppm): (ConversionReason, Option<i64>),
    note: Option<&str>,
    now: Instant,
) -> Result<HashMap<ConversionId, Result<Snapshot, Problem>>, StoreError> {
    let locked = Locked::load(tx, ids).await?;
    let mut answers = HashMap::new();
    let mut steps = Vec::new();
    for row in &locked.rows {
        let cause = Cause { kind: ConversionChangeKind::Reversal, reason, undoes_id: None, reference: None, note };
        let earned = locked.earned(row)?;
        let amount = part_ppm.map(|part_ppm| part_of_sale(row, part_ppm)).transpose();
        match amount.and_then(|amount| reversal::reverse(row, &earned, amount)) {
            Ok(effect) => steps.push(Step::new(new_id(), cause, row.clone(), locked.commissions(row.id), effect)),
            Err(problem) => _ = answers.insert(row.id, Err(problem)),
        }
    }
    if !steps.is_empty() {
        let changed = write(tx, actor, &steps, now).await?;
        answers.extend(changed.into_iter().map(|(id, snapshot)| (id, Ok(snapshot))));
    }
    Ok(answers)
}
