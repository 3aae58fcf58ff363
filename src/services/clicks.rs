//! Clicks: record through the lanes, list.

use std::time::Duration;

use serde::Serialize;
use tokio::time::timeout;
use tributary_entity::{click, ids::ClickId, kinds::ClickInvalidReason};

use super::{
    Outcome, ServiceError, Services,
    ingest::{Item, Recorded, Work},
    visitors::{Told, Visitor},
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

/// As [`ClickInput`], with what is told of the visitor.
pub type ToldClick = Result<(Option<String>, NewClick, Told), Problem>;

/// What a repetition of a call has to agree with. Not what was made of it, which differs from day to day, nor the
/// address itself: the hash of an input is kept, and an address can be guessed.
#[derive(Serialize)]
struct ToldInput<'a> {
    click: &'a NewClick,
    user_agent: Option<&'a str>,
    referrer: Option<&'a str>,
    address_prefix: Option<&'a str>,
}

/// As [`record`], of clicks whose senders tell of their visitors.
///
/// # Errors
/// As [`record`].
pub async fn record_told(
    services: &Services,
    viewer: &Viewer,
    inputs: Vec<ToldClick>,
) -> Result<Vec<Result<Outcome<click::Model>, ServiceError>>, ServiceError> {
    let now = services.now();
    if inputs.iter().flatten().any(|(_, _, told)| told.address.is_some()) {
        services.visitors.prepare(&viewer.scope).await;
    }
    let items = inputs.into_iter().map(|input| {
        let (key, new, told) = input?;
        let mut new = new.check(now)?;
        if told.is_blank() {
            return item(viewer, key.as_deref(), new);
        }
        let Visitor { visit, is_crawler } = services.visitors.describe_told(&viewer.scope, &told);
        let input = ToldInput {
            click: &new,
            user_agent: told.user_agent.as_deref(),
            referrer: told.referrer.as_deref(),
            address_prefix: visit.address_prefix.as_deref(),
        };
        let claim = Claim::new(&viewer.scope, key.as_deref(), OPERATION, &input)?;
        new.visit = visit;
        new.invalid_reason = is_crawler.then_some(ClickInvalidReason::Bot);
        Ok(Item { actor: viewer.actor.clone(), claim, work: Work::Click(new) })
    });
    send(services, viewer, items.collect()).await
}

/// What idempotency keys of clicks are for.
const OPERATION: &str = "recordClick";

fn item(viewer: &Viewer, key: Option<&str>, new: NewClick) -> Result<Item, Problem> {
    let claim = Claim::new(&viewer.scope, key, OPERATION, &new)?;
    Ok(Item { actor: viewer.actor.clone(), claim, work: Work::Click(new) })
}

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
    let items = inputs.into_iter().map(|input| {
        let (key, new) = input?;
        item(viewer, key.as_deref(), new.check(now)?)
    });
    send(services, viewer, items.collect()).await
}

/// Hands items to the lane, and answers what became of them.
async fn send(
    services: &Services,
    viewer: &Viewer,
    items: Vec<Result<Item, Problem>>,
) -> Result<Vec<Result<Outcome<click::Model>, ServiceError>>, ServiceError> {
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
