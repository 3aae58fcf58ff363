//! Undoing a reversal: a chargeback was won, a refund was entered by mistake. It gives again exactly what that took, once.

use serde::Serialize;
use tributary_entity::{
    conversion,
    ids::ConversionChangeId,
    kinds::{ConversionChangeKind, ConversionReason, ConversionStatus},
};

use super::{
    changes::{Cause, Locked, Step, write},
    refund::{Changed, new_id},
};
use crate::{
    auth::Viewer,
    domain::{reversal, text, transition},
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
    let earlier = Earlier::of(&tx, row).await?;
    let lines = changes::lines(&tx, &[change.id]).await?;
    let effect = reversal::undo(row, locked.commissions(row.id), &change, &lines, earlier.status)?;
    let cause = Cause {
        kind: ConversionChangeKind::Undo,
        reason: change.reason,
        undoes_id: Some(change.id),
        reference: None,
        note: input.note.as_deref(),
    };
    let now = services.now();
    let is_back = row.status != effect.status;
    let mut step = Step::new(id, cause, row.clone(), locked.commissions(row.id), effect);
    if is_back {
        step.reason = earlier.reason;
        // Its click may have come meanwhile.
        step.held_until = (earlier.reason == Some(ConversionReason::AwaitingClick)).then_some(now);
    }
    write(&mut tx, &viewer.actor.to_string(), &[step], now).await?;
    let changed = Changed::load(&tx, id).await?;
    services.commit(tx).await?;
    Ok(Outcome::done(changed))
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
