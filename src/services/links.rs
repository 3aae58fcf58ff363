//! Links: create, change, disable and enable, list.

use tributary_entity::{
    ids::{AffiliateId, CampaignId, LinkId},
    kinds::{AffiliateStatus, EventKind, LinkStatus},
    link,
};

use super::{Outcome, ServiceError, Services, campaigns, enrollments, idempotency};
use crate::{
    ambient,
    auth::Viewer,
    domain::{
        event::NewEvent,
        link::{self as rules, LinkChange, LinkFilter, NewLink},
        page::{Page, PageRequest},
        problem::Problem,
        transition,
    },
    store::{affiliates, links, scope::Tx},
};

/// Makes a tracking link. Staff make them for any affiliate; an affiliate for itself, where it is approved.
///
/// # Errors
/// The input's problems; `REQUIRED` when staff name no affiliate; `NOT_FOUND` for campaign or affiliate (an affiliate
/// that names another gets it too); `INVALID_TRANSITION` when the campaign is archived, or the affiliate not active or
/// not approved; `IDEMPOTENCY_CONFLICT`.
pub async fn create(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    input: NewLink,
) -> Result<Outcome<link::Model>, ServiceError> {
    let input = input.check()?;
    let id = LinkId::from_uuid(ambient::new_uuid());
    let mut tx = services.begin(viewer).await?;
    if let Some(id) = idempotency::claim(services, &mut tx, viewer, key, "createLink", &input, id.uuid()).await? {
        return Ok(Outcome::replayed(existing(&tx, LinkId::from_uuid(id)).await?));
    }
    let campaign = campaigns::get_open(&tx, &["campaignId"], input.campaign_id).await?;
    let affiliate_id = promoter(&tx, viewer, campaign.id, input.affiliate_id).await?;
    let now = services.now();
    let row = link::Model {
        tenant_id: viewer.scope.tenant_id(),
        id,
        code: rules::code(ambient::random_bytes()),
        campaign_id: campaign.id,
        affiliate_id,
        destination_url: input.destination_url,
        label: input.label,
        status: LinkStatus::Active,
        created_at: now,
        updated_at: now,
    };
    links::insert(&mut tx, row.clone()).await?;
    tx.record(changed(&row));
    services.commit(tx).await?;
    Ok(Outcome::done(row))
}

/// Whose link it becomes.
async fn promoter(
    tx: &Tx,
    viewer: &Viewer,
    campaign_id: CampaignId,
    named: Option<AffiliateId>,
) -> Result<AffiliateId, ServiceError> {
    let own = viewer.scope.own_affiliate();
    let id = named.or(own).ok_or_else(|| Problem::required(&["affiliateId"]))?;
    let affiliate = affiliates::get(tx, id).await?.ok_or_else(|| ServiceError::not_found(&["affiliateId"]))?;
    if own.is_some() {
        if affiliate.status != AffiliateStatus::Active {
            return Err(transition::refused(&["affiliateId"], "the affiliate is not active").into());
        }
        if !enrollments::is_approved(tx, campaign_id, id).await? {
            return Err(transition::refused(&["campaignId"], "the affiliate is not approved for this campaign").into());
        }
    }
    Ok(id)
}

/// Changes where a link leads or what it is called. Past clicks keep where they led.
///
/// # Errors
/// `NOT_FOUND`; the input's problems; `IDEMPOTENCY_CONFLICT`.
pub async fn update(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    id: LinkId,
    change: LinkChange,
) -> Result<Outcome<link::Model>, ServiceError> {
    let mut tx = services.begin(viewer).await?;
    if idempotency::claim(services, &mut tx, viewer, key, "updateLink", &(id, &change), id.uuid()).await?.is_some() {
        return Ok(Outcome::replayed(existing(&tx, id).await?));
    }
    let row = links::lock(&tx, id).await?.ok_or_else(|| ServiceError::not_found(&["id"]))?;
    let row = link::Model { updated_at: services.now(), ..change.apply(row)? };
    save(services, tx, row).await
}

/// Moves a link to another status.
///
/// # Errors
/// `NOT_FOUND`; `INVALID_TRANSITION`; `IDEMPOTENCY_CONFLICT`.
pub async fn set_status(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    id: LinkId,
    status: LinkStatus,
) -> Result<Outcome<link::Model>, ServiceError> {
    let mut tx = services.begin(viewer).await?;
    let claimed = idempotency::claim(services, &mut tx, viewer, key, "setLinkStatus", &(id, status), id.uuid()).await?;
    if claimed.is_some() {
        return Ok(Outcome::replayed(existing(&tx, id).await?));
    }
    let mut row = links::lock(&tx, id).await?.ok_or_else(|| ServiceError::not_found(&["id"]))?;
    row.status = rules::transition(row.status, status)?;
    row.updated_at = services.now();
    save(services, tx, row).await
}

async fn save(services: &Services, mut tx: Tx, row: link::Model) -> Result<Outcome<link::Model>, ServiceError> {
    links::update(&mut tx, row.clone()).await?;
    tx.record(changed(&row));
    services.commit(tx).await?;
    Ok(Outcome::done(row))
}

async fn existing(tx: &Tx, id: LinkId) -> Result<link::Model, ServiceError> {
    links::get(tx, id).await?.ok_or_else(|| ServiceError::not_found(&["id"]))
}

fn changed(row: &link::Model) -> NewEvent {
    NewEvent::new(EventKind::LinkChanged, row.id.uuid(), row, row.updated_at)
        .of_campaign(Some(row.campaign_id))
        .of_affiliate(Some(row.affiliate_id))
}

/// The links with these ids that the viewer may see.
///
/// # Errors
/// As the database answers.
pub async fn get_many(services: &Services, viewer: &Viewer, ids: &[LinkId]) -> Result<Vec<link::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(links::get_many(&tx, ids).await?)
}

/// A page of the links that the viewer may see.
///
/// # Errors
/// As the database answers.
pub async fn list(
    services: &Services,
    viewer: &Viewer,
    filter: &LinkFilter,
    request: &PageRequest,
) -> Result<Page<link::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(links::list(&tx, filter, request).await?)
}

/// How many links a list has.
///
/// # Errors
/// As the database answers.
pub async fn count(services: &Services, viewer: &Viewer, filter: &LinkFilter) -> Result<i64, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(links::count(&tx, filter).await?)
}
