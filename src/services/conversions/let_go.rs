//! A sender lets go a conversion that it kept back, while that still waits for something else.

use tributary_entity::{
    conversion, conversion_history,
    ids::ConversionId,
    kinds::{ConversionStatus, EventKind},
};

use super::snapshots;
use crate::{
    auth::Viewer,
    domain::{conversion::Snapshot, event::NewEvent},
    services::{ServiceError, Services},
    store::conversions,
};

/// Forgets that a HELD conversion is kept back: what it waits for decides it then as if it never had been. One that waits
/// no longer stays as it is.
///
/// # Errors
/// `NOT_FOUND`; as the database answers.
pub async fn let_go(services: &Services, viewer: &Viewer, id: ConversionId) -> Result<Snapshot, ServiceError> {
    let mut tx = services.begin(viewer).await?;
    let row = conversions::lock_many(&tx, &[id]).await?.pop().ok_or_else(|| ServiceError::not_found(&["id"]))?;
    let is_kept = row.status == ConversionStatus::Held && row.kept_back;
    let now = services.now();
    let row = match is_kept {
        true => conversion::Model { kept_back: false, version: row.version + 1, updated_at: now, ..row },
        false => row,
    };
    let snapshot = snapshots(&tx, vec![row.clone()]).await?.pop();
    let snapshot = snapshot.ok_or(ServiceError::Internal("a conversion without its snapshot"))?;
    if is_kept {
        let step = conversion_history::Model {
            tenant_id: row.tenant_id,
            conversion_id: row.id,
            version: row.version,
            from_status: Some(row.status),
            to_status: row.status,
            reason: row.reason,
            actor: viewer.actor.to_string(),
            note: None,
            recorded_at: now,
        };
        conversions::insert_history(&mut tx, vec![step])?;
        conversions::update(&mut tx, row).await?;
        let event = NewEvent::new(EventKind::ConversionChanged, id.uuid(), &snapshot, now)
            .of_campaign(snapshot.conversion.campaign_id)
            .of_affiliates(snapshot.affiliates());
        tx.record(event);
        services.commit(tx).await?;
    }
    Ok(snapshot)
}
