//! Clicks: record through the lanes, keep while the database is away, list.

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use tributary_entity::{Instant, click, ids::ClickId, kinds::ClickInvalidReason};

use super::{
    Outcome, ServiceError, Services,
    ingest::{Failure, Item, Recorded, Work},
    spool,
    visitors::{Told, Visitor},
};
use crate::{
    ambient,
    auth::{Actor, Viewer},
    domain::{
        click::{self as rules, ClickFilter, NewClick},
        idempotency::Claim,
        page::{Page, PageRequest},
        problem::Problem,
        tenancy::TenantScope,
    },
    store::{clicks, partitions},
};

/// The most items of one batch call.
pub const BATCH_MAX: usize = 1_000;

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
        Ok(Item { actor: viewer.actor.clone(), claim, work: Work::Click(new.into()) })
    });
    send(services, viewer, items.collect()).await
}

/// What idempotency keys of clicks are for.
const OPERATION: &str = "recordClick";

fn item(viewer: &Viewer, key: Option<&str>, new: NewClick) -> Result<Item, Problem> {
    let claim = Claim::new(&viewer.scope, key, OPERATION, &new)?;
    Ok(Item { actor: viewer.actor.clone(), claim, work: Work::Click(new.into()) })
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

/// How long a visitor waits for the database before the click goes to the spool: several times what a lane takes for the
/// largest batch, and less than people notice.
const PATIENCE: Duration = Duration::from_millis(250);

/// Records a click that has its id already, for a redirect: answers when it is durable, in the database or, when that is
/// away or slow, in this node's spool.
///
/// # Errors
/// `Refused` when the link is not the tenant's; `Overloaded` when the spool is full, `Unavailable` when the disk fails.
pub async fn track(services: &Services, scope: &TenantScope, mut click: NewClick) -> Result<(), ServiceError> {
    // Both may reach the database, at different times: it is one click by one id, at one time.
    click.id.get_or_insert_with(|| ClickId::from_uuid(ambient::new_uuid()));
    click.occurred_at.get_or_insert_with(|| services.now());
    let click = Arc::new(click);
    let item = Item { actor: Actor::System, claim: None, work: Work::Click(Arc::clone(&click)) };
    match services.lanes.record_within(scope, item, PATIENCE).await {
        Some(Ok(_)) => Ok(()),
        Some(Err(Failure::Unavailable)) | None => spool::keep(services, scope, &click).await,
        Some(Err(failure)) => Err(failure.into()),
    }
}

/// Months for which there is a partition ahead: a job that fails for weeks is noticed before they are used up.
const PARTITIONS_AHEAD: u32 = 3;
/// Clicks that SQLite deletes in one transaction: others write in between.
const DELETED_AT_ONCE: u32 = 1_000;

/// From which instant all clicks are still there; the beginning of time where none is forgotten.
pub fn kept_from(services: &Services) -> Instant {
    let months = services.settings.click_retention_months;
    rules::kept_from(services.now(), months).filter(|_| months > 0).unwrap_or_default()
}

/// Makes room for the clicks of the coming months, and forgets those that the settings let go. Answers how many months
/// were made and dropped; on SQLite, how many clicks were deleted.
///
/// # Errors
/// As the database answers.
pub async fn retain(services: &Services, tenants: &[TenantScope]) -> Result<u64, ServiceError> {
    let made = partitions::make(&services.db, PARTITIONS_AHEAD).await?;
    let months = services.settings.click_retention_months;
    let Some(oldest) = rules::oldest_kept(services.now(), months).filter(|_| months > 0) else { return Ok(made) };
    let mut gone = partitions::drop(&services.db, months).await?;
    for scope in tenants {
        loop {
            let mut tx = services.db.begin(scope).await?;
            let deleted = clicks::delete_before(&mut tx, oldest, DELETED_AT_ONCE).await?;
            services.commit(tx).await?;
            gone += deleted;
            if deleted < u64::from(DELETED_AT_ONCE) {
                break;
            }
        }
    }
    Ok(made + gone)
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
