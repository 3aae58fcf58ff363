//! Campaigns: create, change, move between states, list.

use tributary_entity::{
    Instant, campaign,
    ids::CampaignId,
    kinds::{CampaignStatus, EventKind},
};

use super::{Outcome, ServiceError, Services, idempotency};
use crate::{
    ambient,
    auth::Viewer,
    domain::{
        attribution,
        campaign::{self as rules, CampaignChange, CampaignFilter, NewCampaign},
        event::NewEvent,
        page::{Page, PageRequest},
        transition,
    },
    store::{campaigns, scope::Tx},
};

/// Makes a campaign, as a draft.
///
/// # Errors
/// The input's problems; `IDEMPOTENCY_CONFLICT`.
pub async fn create(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    input: NewCampaign,
) -> Result<Outcome<campaign::Model>, ServiceError> {
    let input = input.check()?;
    let id = CampaignId::from_uuid(ambient::new_uuid());
    let mut tx = services.begin(viewer).await?;
    if let Some(id) = idempotency::claim(services, &mut tx, viewer, key, "createCampaign", &input, id.uuid()).await? {
        return Ok(Outcome::replayed(existing(&tx, CampaignId::from_uuid(id)).await?));
    }
    let now = services.now();
    let [deep_link_hosts, countries, devices] = input.redirects.columns();
    let row = campaign::Model {
        tenant_id: viewer.scope.tenant_id(),
        id,
        name: input.name,
        status: CampaignStatus::Draft,
        currency: input.currency,
        destination_url: input.destination_url,
        attribution_model: input.attribution_model,
        attribution_window_secs: input.attribution_window_secs,
        attribution_half_life_secs: input.attribution_half_life_secs,
        attribution_min_secs: input.attribution_min_secs,
        attribution_sources: attribution::sources_text(&input.attribution_sources),
        click_wait_secs: input.click_wait_secs,
        deep_link_hosts,
        fallback_url: input.redirects.fallback_url,
        countries,
        devices,
        approval: input.approval,
        hold_secs: input.hold_secs,
        is_public: input.is_public,
        created_at: now,
        updated_at: now,
    };
    campaigns::insert(&mut tx, row.clone()).await?;
    tx.record(changed(&row));
    services.commit(tx).await?;
    Ok(Outcome::done(row))
}

/// Changes a campaign's settings. Past conversions keep what they were decided by.
///
/// # Errors
/// `NOT_FOUND`; the input's problems; `IDEMPOTENCY_CONFLICT`.
pub async fn update(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    id: CampaignId,
    change: CampaignChange,
) -> Result<Outcome<campaign::Model>, ServiceError> {
    let mut tx = services.begin(viewer).await?;
    let claimed =
        idempotency::claim(services, &mut tx, viewer, key, "updateCampaign", &(id, &change), id.uuid()).await?;
    if claimed.is_some() {
        return Ok(Outcome::replayed(existing(&tx, id).await?));
    }
    let row = campaigns::lock(&tx, id).await?.ok_or_else(|| ServiceError::not_found(&["id"]))?;
    let row = campaign::Model { updated_at: services.now(), ..change.apply(row)? };
    save(services, tx, row).await
}

/// Moves a campaign to another status.
///
/// # Errors
/// `NOT_FOUND`; `INVALID_TRANSITION`; `IDEMPOTENCY_CONFLICT`.
pub async fn set_status(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    id: CampaignId,
    status: CampaignStatus,
) -> Result<Outcome<campaign::Model>, ServiceError> {
    let mut tx = services.begin(viewer).await?;
    let claimed =
        idempotency::claim(services, &mut tx, viewer, key, "setCampaignStatus", &(id, status), id.uuid()).await?;
    if claimed.is_some() {
        return Ok(Outcome::replayed(existing(&tx, id).await?));
    }
    let mut row = campaigns::lock(&tx, id).await?.ok_or_else(|| ServiceError::not_found(&["id"]))?;
    row.status = rules::transition(row.status, status)?;
    row.updated_at = services.now();
    save(services, tx, row).await
}

async fn save(services: &Services, mut tx: Tx, row: campaign::Model) -> Result<Outcome<campaign::Model>, ServiceError> {
    campaigns::update(&mut tx, row.clone()).await?;
    tx.record(changed(&row));
    services.commit(tx).await?;
    Ok(Outcome::done(row))
}

async fn existing(tx: &Tx, id: CampaignId) -> Result<campaign::Model, ServiceError> {
    campaigns::get(tx, id).await?.ok_or_else(|| ServiceError::not_found(&["id"]))
}

fn changed(row: &campaign::Model) -> NewEvent {
    NewEvent::new(EventKind::CampaignChanged, row.id.uuid(), row, row.updated_at).of_campaign(Some(row.id))
}

/// Reads a campaign that the viewer may see and that is not over.
///
/// # Errors
/// `NOT_FOUND` or `INVALID_TRANSITION`, at `field`.
pub(super) async fn get_open(tx: &Tx, field: &[&str], id: CampaignId) -> Result<campaign::Model, ServiceError> {
    let row = campaigns::get(tx, id).await?.ok_or_else(|| ServiceError::not_found(field))?;
    open(field, row)
}

/// Reads a campaign to change a part of it: nobody else can until the transaction ends.
///
/// # Errors
/// `NOT_FOUND` at `field`.
pub(super) async fn lock(tx: &Tx, field: &[&str], id: CampaignId) -> Result<campaign::Model, ServiceError> {
    campaigns::lock(tx, id).await?.ok_or_else(|| ServiceError::not_found(field))
}

/// As [`lock`], for a campaign that is not over.
///
/// # Errors
/// `NOT_FOUND` or `INVALID_TRANSITION`, at `field`.
pub(super) async fn lock_open(tx: &Tx, field: &[&str], id: CampaignId) -> Result<campaign::Model, ServiceError> {
    open(field, lock(tx, field, id).await?)
}

fn open(field: &[&str], row: campaign::Model) -> Result<campaign::Model, ServiceError> {
    if row.status == CampaignStatus::Archived {
        return Err(transition::refused(field, "the campaign is archived").into());
    }
    Ok(row)
}

/// Marks a locked campaign as changed, because a part of it was.
///
/// # Errors
/// As the database answers.
pub(super) async fn touch(tx: &mut Tx, row: campaign::Model, now: Instant) -> Result<(), ServiceError> {
    let row = campaign::Model { updated_at: now, ..row };
    campaigns::update(tx, row.clone()).await?;
    tx.record(changed(&row));
    Ok(())
}

/// The campaigns with these ids that the viewer may see.
///
/// # Errors
/// As the database answers.
pub async fn get_many(
    services: &Services,
    viewer: &Viewer,
    ids: &[CampaignId],
) -> Result<Vec<campaign::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(campaigns::get_many(&tx, ids).await?)
}

/// A page of the campaigns that the viewer may see.
///
/// # Errors
/// As the database answers.
pub async fn list(
    services: &Services,
    viewer: &Viewer,
    filter: &CampaignFilter,
    request: &PageRequest,
) -> Result<Page<campaign::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(campaigns::list(&tx, filter, request).await?)
}

/// How many campaigns a list has.
///
/// # Errors
/// As the database answers.
pub async fn count(services: &Services, viewer: &Viewer, filter: &CampaignFilter) -> Result<i64, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(campaigns::count(&tx, filter).await?)
}
