//! Clicks: record through the lanes, list.

use std::time::Duration;

use tokio::time::timeout;
use tributary_entity::{click, ids::ClickId};

use super::{
    Outcome, ServiceError, Services,
    ingest::{Item, Recorded, Work},
};
use crate::{
    auth::{Actor, Viewer},
    domain::{
        click::{ClickFilter, NewClick},
        idempotency::Claim,
        page::{Page, PageRequest},
        problem::Problem,
        tenancy::TenantScope,
    },
    store::clicks,
};

/// The most items of one batch call.
pub const BATCH_MAX: usize = 1_000;

/// How long a visitor waits for her click to become durable.
const TRACK_PATIENCE: Duration = Duration::from_secs(1);

/// One call's click with its key, or why its input could not be read.
pub type ClickInput = Result<(Option<String>, NewClick), Problem>;

/// Records clicks. Answers per item, in order; an item that is refused does not touch the others.
///
/// # Errors
/// `Overloaded` when the lane is full; `Unavailable` when nothing is known of the outcome.
pub async fn record(
    services: &Services,
    viewer: &Viewer,
    inputs: Vec<ClickInput>,
) -> Result<Vec<Result<Outcome<click::Model>, ServiceError>>, ServiceError> {
    let now = services.now();
    let items = inputs
        .into_iter()
        .map(|input| {
            let (key, new) = input?;
            let new = new.check(now)?;
            let claim = Claim::new(&viewer.scope, key.as_deref(), "recordClick", &new)?;
            Ok(Item { actor: viewer.actor.clone(), claim, work: Work::Click(new) })
        })
        .collect();
    let answers = services.lanes.record_checked(&viewer.scope, items).await?;
    let replayed: Vec<ClickId> = answers
        .iter()
        .filter_map(|answer| match answer {
            Ok(Recorded::Replayed(id)) => Some(ClickId::from_uuid(*id)),
            _ => None,
        })
        .collect();
    let earlier = if replayed.is_empty() { Vec::new() } else { get_many(services, viewer, &replayed).await? };
    Ok(answers
        .into_iter()
        .map(|answer| match answer? {
            Recorded::Click(row) => Ok(Outcome::done(*row)),
            Recorded::Replayed(id) => earlier
                .iter()
                .find(|row| row.id.uuid() == id)
                .map(|row| Outcome::replayed(row.clone()))
                .ok_or(ServiceError::Internal("a replayed click is not there")),
            Recorded::Conversion(_) => Err(ServiceError::Internal("a click was answered with a conversion")),
        })
        .collect())
}

/// Records a click of the redirect, whose id is settled. Answers when it is durable.
///
/// # Errors
/// `Overloaded` when the lane is full; `Unavailable` when it did not become durable in [`TRACK_PATIENCE`], which does not
/// say that it will not.
pub async fn track(services: &Services, scope: &TenantScope, click: NewClick) -> Result<(), ServiceError> {
    let item = Item { actor: Actor::System, claim: None, work: Work::Click(click) };
    let recorded = timeout(TRACK_PATIENCE, services.lanes.record(scope, vec![item])).await;
    for answer in recorded.map_err(|_| ServiceError::Unavailable)?? {
        answer?;
    }
    Ok(())
}

/// The clicks with these ids that the viewer may see.
///
/// # Errors
/// As the database answers.
pub async fn get_many(
    services: &Services,
    viewer: &Viewer,
    ids: &[ClickId],
) -> Result<Vec<click::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(clicks::get_many(&tx, ids).await?)
}

/// A page of the clicks that the viewer may see.
///
/// # Errors
/// As the database answers.
pub async fn list(
    services: &Services,
    viewer: &Viewer,
    filter: &ClickFilter,
    request: &PageRequest,
) -> Result<Page<click::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(clicks::list(&tx, filter, request).await?)
}

/// How many clicks a list has.
///
/// # Errors
/// As the database answers.
pub async fn count(services: &Services, viewer: &Viewer, filter: &ClickFilter) -> Result<i64, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(clicks::count(&tx, filter).await?)
}
