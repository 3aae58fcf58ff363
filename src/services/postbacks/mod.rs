//! Postback endpoints: make, change, disable and enable, give another token, list. [`receive`] takes their calls,
//! [`refusals`] keeps those that were refused.

pub mod receive;
pub mod refusals;

use std::collections::BTreeSet;

use serde::Serialize;
use tributary_entity::{
    ids::{CampaignId, PostbackEndpointId},
    kinds::{EventKind, PostbackDialect, PostbackEndpointStatus},
    postback_endpoint,
};

use super::{Outcome, ServiceError, Services, idempotency};
use crate::{
    ambient,
    auth::{Viewer, postbacks as tokens},
    domain::{
        event::NewEvent,
        page::{Page, PageRequest},
        postback::endpoint::{self as rules, CampaignName, EndpointChange, NewEndpoint},
    },
    store::{campaigns, postbacks, scope::Tx},
};

/// An endpoint as it is told to who gave it a token.
#[derive(Clone)]
pub struct EndpointWithToken {
    pub row: postback_endpoint::Model,
    /// The token itself. Nobody can tell it again: a replay has none.
    pub token: Option<String>,
}

impl EndpointWithToken {
    const fn replayed(row: postback_endpoint::Model) -> Outcome<Self> {
        Outcome::replayed(Self { row, token: None })
    }
}

/// Makes an endpoint.
///
/// # Errors
/// The input's problems; `IDEMPOTENCY_CONFLICT`.
pub async fn create(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    input: NewEndpoint,
) -> Result<Outcome<EndpointWithToken>, ServiceError> {
    let now = services.now();
    let id = PostbackEndpointId::from_uuid(ambient::new_uuid());
    let (token, token_hash) = new_token()?;
    let row = input.apply(postback_endpoint::Model {
        tenant_id: viewer.scope.tenant_id(),
        id,
        name: String::new(),
        hint: tokens::hint(&token),
        token_hash,
        dialect: input.dialect,
        default_goal: None,
        goals: String::new(),
        campaigns: String::new(),
        default_currency: None,
        secret_hash: None,
        networks: None,
        status: PostbackEndpointStatus::Active,
        created_at: now,
        updated_at: now,
    })?;
    let mut tx = services.begin(viewer).await?;
    let claimed =
        idempotency::claim(services, &mut tx, viewer, key, "createPostbackEndpoint", &input, id.uuid()).await?;
    if let Some(id) = claimed {
        return Ok(EndpointWithToken::replayed(existing(&tx, PostbackEndpointId::from_uuid(id)).await?));
    }
    known_campaigns(&tx, &input.campaigns).await?;
    postbacks::insert(&mut tx, row.clone()).await?;
    tx.record(changed(&row));
    services.commit(tx).await?;
    Ok(Outcome::done(EndpointWithToken { row, token: Some(token) }))
}

fn new_token() -> Result<(String, Vec<u8>), ServiceError> {
    let token = tokens::generate();
    let hash = tokens::stored_hash(&token).ok_or(ServiceError::Internal("a new token is not well-formed"))?;
    Ok((token, hash.to_vec()))
}

/// Changes how calls are read and from whom they are taken.
///
/// # Errors
/// `NOT_FOUND`; the input's problems; `IDEMPOTENCY_CONFLICT`.
pub async fn update(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    id: PostbackEndpointId,
    change: EndpointChange,
) -> Result<Outcome<postback_endpoint::Model>, ServiceError> {
    let mut tx = services.begin(viewer).await?;
    let input = (id, &change);
    if idempotency::claim(services, &mut tx, viewer, key, "updatePostbackEndpoint", &input, id.uuid()).await?.is_some()
    {
        return Ok(Outcome::replayed(existing(&tx, id).await?));
    }
    let row = change.apply(locked(&tx, id).await?)?;
    known_campaigns(&tx, change.campaigns.as_deref().unwrap_or_default()).await?;
    Ok(Outcome::done(save(services, tx, row).await?))
}

/// Takes calls, or refuses them.
///
/// # Errors
/// `NOT_FOUND`; `INVALID_TRANSITION`; `IDEMPOTENCY_CONFLICT`.
pub async fn set_status(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    id: PostbackEndpointId,
    status: PostbackEndpointStatus,
) -> Result<Outcome<postback_endpoint::Model>, ServiceError> {
    let mut tx = services.begin(viewer).await?;
    let input = (id, status);
    let claimed = idempotency::claim(services, &mut tx, viewer, key, "setPostbackEndpointStatus", &input, id.uuid());
    if claimed.await?.is_some() {
        return Ok(Outcome::replayed(existing(&tx, id).await?));
    }
    let mut row = locked(&tx, id).await?;
    row.status = rules::transition(row.status, status)?;
    Ok(Outcome::done(save(services, tx, row).await?))
}

/// Gives an endpoint another token; the one before opens nothing from then on.
///
/// # Errors
/// `NOT_FOUND`; `IDEMPOTENCY_CONFLICT`.
pub async fn rotate(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    id: PostbackEndpointId,
) -> Result<Outcome<EndpointWithToken>, ServiceError> {
    let mut tx = services.begin(viewer).await?;
    let claimed = idempotency::claim(services, &mut tx, viewer, key, "rotatePostbackToken", &id, id.uuid()).await?;
    if claimed.is_some() {
        return Ok(EndpointWithToken::replayed(existing(&tx, id).await?));
    }
    let mut row = locked(&tx, id).await?;
    let (token, token_hash) = new_token()?;
    (row.hint, row.token_hash) = (tokens::hint(&token), token_hash);
    let row = save(services, tx, row).await?;
    Ok(Outcome::done(EndpointWithToken { row, token: Some(token) }))
}

/// # Errors
/// `NOT_FOUND` for a campaign that is not there.
async fn known_campaigns(tx: &Tx, names: &[CampaignName]) -> Result<(), ServiceError> {
    let wanted: BTreeSet<CampaignId> = names.iter().map(|name| name.campaign).collect();
    let ids: Vec<CampaignId> = wanted.into_iter().collect();
    if ids.is_empty() || campaigns::get_many(tx, &ids).await?.len() == ids.len() {
        return Ok(());
    }
    Err(ServiceError::not_found(&["campaigns", "campaignId"]))
}

async fn save(
    services: &Services,
    mut tx: Tx,
    row: postback_endpoint::Model,
) -> Result<postback_endpoint::Model, ServiceError> {
    let row = postback_endpoint::Model { updated_at: services.now(), ..row };
    postbacks::update(&mut tx, row.clone()).await?;
    tx.record(changed(&row));
    services.commit(tx).await?;
    Ok(row)
}

async fn existing(tx: &Tx, id: PostbackEndpointId) -> Result<postback_endpoint::Model, ServiceError> {
    postbacks::get(tx, id).await?.ok_or_else(|| ServiceError::not_found(&["id"]))
}

async fn locked(tx: &Tx, id: PostbackEndpointId) -> Result<postback_endpoint::Model, ServiceError> {
    postbacks::lock(tx, id).await?.ok_or_else(|| ServiceError::not_found(&["id"]))
}

/// What the log says of an endpoint: nothing that leads to its token or its secret.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Changed {
    id: PostbackEndpointId,
    dialect: PostbackDialect,
    status: PostbackEndpointStatus,
}

fn changed(row: &postback_endpoint::Model) -> NewEvent {
    let change = Changed { id: row.id, dialect: row.dialect, status: row.status };
    NewEvent::new(EventKind::PostbackEndpointChanged, row.id.uuid(), &change, row.updated_at)
}

/// The endpoints with these ids.
///
/// # Errors
/// As the database answers.
pub async fn get_many(
    services: &Services,
    viewer: &Viewer,
    ids: &[PostbackEndpointId],
) -> Result<Vec<postback_endpoint::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(postbacks::get_many(&tx, ids).await?)
}

/// A page of the tenant's endpoints.
///
/// # Errors
/// As the database answers.
pub async fn list(
    services: &Services,
    viewer: &Viewer,
    request: &PageRequest,
) -> Result<Page<postback_endpoint::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(postbacks::list(&tx, request).await?)
}

/// How many endpoints the tenant has.
///
/// # Errors
/// As the database answers.
pub async fn count(services: &Services, viewer: &Viewer) -> Result<i64, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(postbacks::count(&tx).await?)
}
