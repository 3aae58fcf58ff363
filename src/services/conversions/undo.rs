//! Undoing a reversal: a chargeback was won, a refund was entered by mistake. It gives again exactly what that took, once.

use std::collections::HashMap;

use serde::Serialize;
use tributary_entity::{
    Instant, conversion, conversion_change, conversion_change_line,
    ids::{ConversionChangeId, ConversionId},
    kinds::{ConversionChangeKind, ConversionReason, ConversionStatus},
};

use super::{
    changes::{Cause, Locked, Step, live_reversals, write},
    refund::{Changed, new_id},
};
use crate::{
    auth::Viewer,
    domain::{conversion::Snapshot, problem::Problem, reversal, text, transition},
    services::{Outcome, ServiceError, Services, idempotency},
    store::{changes, conversions, error::StoreError, scope::Tx},
};

/// Which reversal.
#[derive(Clone, Debug, Serialize)]
pub struct UndoInput {
    pub id: ConversionChangeId,
    pub note: Option<String>,
}

/// Undoes a reversal.
///
/// # Errors
/// `NOT_FOUND`; `INVALID_TRANSITION` for what is no reversal, or was undone before; `IDEMPOTENCY_CONFLICT`.
pub async fn undo(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    mut input: UndoInput,
) -> Result<Outcome<Changed>, ServiceError> {
    input.note = text::optional(&["note"], input.note.as_deref(), text::NOTE_MAX)?;
    let id = new_id();
    let mut tx = services.begin(viewer).await?;
    let claimed = idempotency::claim(services, &mut tx, viewer, key, "undoReversal", &input, id.uuid()).await?;
    if let Some(earlier) = claimed {
        return Ok(Outcome::replayed(Changed::load(&tx, ConversionChangeId::from_uuid(earlier)).await?));
    }
    let change = changes::get(&tx, input.id).await?.ok_or_else(|| ServiceError::not_found(&["id"]))?;
    let locked = Locked::load(&tx, &[change.conversion_id]).await?;
    let row = locked.rows.first().ok_or(ServiceError::Internal("a changed conversion is not there"))?;
    // Under the conversion's lock: nobody else undoes it now.
    if !changes::undone(&tx, &[change.id]).await?.is_empty() {
        return Err(transition::refused(&["id"], "the reversal was undone before").into());
    }
    let lines = changes::lines(&tx, &[change.id]).await?;
    let now = services.now();
    let undoing = Undoing { id, change: &change, lines: &lines, note: input.note.as_deref() };
    let step = undoing.step(&tx, &locked, row, now).await??;
    write(&mut tx, &viewer.actor.to_string(), &[step], now).await?;
    let changed = Changed::load(&tx, id).await?;
    services.commit(tx).await?;
    Ok(Outcome::done(changed))
}

/// Undoes the newest reversal of each conversion that has one which was not undone. Answers what each is then, or why it
/// stays; nothing of what is not there.
pub(super) async fn undo_all(
    tx: &mut Tx,
    actor: &str,
    ids: &[ConversionId],
    note: Option<&str>,
    now: Instant,
) -> Result<HashMap<ConversionId, Result<Snapshot, Problem>>, StoreError> {
    let locked = Locked::load(tx, ids).await?;
    // Under the conversions' locks: nobody else undoes them now.
    let mut live = live_reversals(tx, ids).await?;
    let newest: HashMap<ConversionId, conversion_change::Model> =
        live.iter_mut().filter_map(|(id, changes)| Some((*id, changes.pop()?))).collect();
    let mut lines: HashMap<ConversionChangeId, Vec<conversion_change_line::Model>> = HashMap::new();
    for line in changes::lines(tx, &newest.values().map(|change| change.id).collect::<Vec<_>>()).await? {
        lines.entry(line.change_id).or_default().push(line);
    }
    let mut answers = HashMap::new();
    let mut steps = Vec::new();
    for row in &locked.rows {
        let Some(change) = newest.get(&row.id) else {
            let problem =
                transition::refused(&["ids"], "nothing was taken back of the conversion that was not given again");
            answers.insert(row.id, Err(problem));
            continue;
        };
        let lines = lines.get(&change.id).map_or(&[][..], Vec::as_slice);
        match (Undoing { id: new_id(), change, lines, note }).step(tx, &locked, row, now).await? {
            Ok(step) => steps.push(step),
            Err(problem) => _ = answers.insert(row.id, Err(problem)),
        }
    }
    if !steps.is_empty() {
        let changed = write(tx, actor, &steps, now).await?;
        answers.extend(changed.into_iter().map(|(id, snapshot)| (id, Ok(snapshot))));
    }
    Ok(answers)
}

/// A reversal that is to be undone.
struct Undoing<'a> {
    /// Of the change that undoes it.
    id: ConversionChangeId,
    change: &'a conversion_change::Model,
    lines: &'a [conversion_change_line::Model],
    note: Option<&'a str>,
}

impl<'a> Undoing<'a> {
    /// What undoing it does to its conversion, or why that cannot be.
    async fn step(
        &self,
        tx: &Tx,
        locked: &Locked,
        row: &conversion::Model,
        now: Instant,
    ) -> Result<Result<Step<'a>, Problem>, StoreError> {
        let earlier = Earlier::of(tx, row).await?;
        let commissions = locked.commissions(row.id);
        let effect = match reversal::undo(row, commissions, self.change, self.lines, earlier.status) {
            Ok(effect) => effect,
            Err(problem) => return Ok(Err(problem)),
        };
        let cause = Cause {
            kind: ConversionChangeKind::Undo,
            reason: self.change.reason,
            undoes_id: Some(self.change.id),
            reference: None,
            note: self.note,
        };
        let is_back = row.status != effect.status;
        let mut step = Step::new(self.id, cause, row.clone(), commissions, effect);
        if is_back {
            step.reason = earlier.reason;
            // Its click may have come meanwhile.
            step.held_until = (earlier.reason == Some(ConversionReason::AwaitingClick)).then_some(now);
        }
        Ok(Ok(step))
    }
}

/// Where a conversion that was taken back in full stood before, and why; else where it stands.
struct Earlier {
    status: ConversionStatus,
    reason: Option<ConversionReason>,
}

impl Earlier {
    async fn of(tx: &Tx, row: &conversion::Model) -> Result<Self, StoreError> {
        if row.status != ConversionStatus::Reversed {
            return Ok(Self { status: row.status, reason: row.reason });
        }
        let inconsistent = || StoreError::inconsistent("conversion", "was taken back and never stood anywhere");
        let taken = conversions::last_move(tx, row.id, row.version + 1).await?.ok_or_else(inconsistent)?;
        let came = conversions::last_move(tx, row.id, taken.version).await?.ok_or_else(inconsistent)?;
        Ok(Self { status: came.to_status, reason: came.reason })
    }
}
