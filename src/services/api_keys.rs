//! API keys: make, revoke, list.

use serde::Serialize;
use tributary_entity::{Instant, api_key, ids::ApiKeyId, kinds::EventKind};

use super::{Outcome, ServiceError, Services, idempotency};
use crate::{
    ambient,
    auth::{Viewer, api_keys as keys},
    domain::{
        api_key::{NewApiKey, scopes_text},
        event::NewEvent,
        page::{Page, PageRequest},
    },
    store::{api_keys, scope::Tx},
};

/// A key as it is told to who made it.
#[derive(Clone)]
pub struct CreatedApiKey {
    pub row: api_key::Model,
    /// The key itself. Nobody can tell it again: a replay has none.
    pub secret: Option<String>,
}

/// Makes a key.
///
/// # Errors
/// The input's problems; `IDEMPOTENCY_CONFLICT`.
pub async fn create(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    input: NewApiKey,
) -> Result<Outcome<CreatedApiKey>, ServiceError> {
    let now = services.now();
    let id = ApiKeyId::from_uuid(ambient::new_uuid());
    let mut tx = services.begin(viewer).await?;
    // Before the check: a call that is repeated when its key has ended is still the call that made it.
    if let Some(id) = idempotency::claim(services, &mut tx, viewer, key, "createApiKey", &input, id.uuid()).await? {
        let row = existing(&tx, ApiKeyId::from_uuid(id)).await?;
        return Ok(Outcome::replayed(CreatedApiKey { row, secret: None }));
    }
    let input = input.check(now)?;
    let secret = keys::generate();
    let row = api_key::Model {
        tenant_id: viewer.scope.tenant_id(),
        id,
        name: input.name,
        key_hash: keys::hash(&secret).to_vec(),
        hint: keys::hint(&secret),
        scopes: scopes_text(&input.scopes),
        created_at: now,
        expires_at: input.expires_at,
        last_used_at: None,
        revoked_at: None,
    };
    api_keys::insert(&mut tx, row.clone()).await?;
    tx.record(changed(&row, now));
    services.commit(tx).await?;
    Ok(Outcome::done(CreatedApiKey { row, secret: Some(secret) }))
}

/// Ends a key, at once and for good. Ending it again changes nothing.
///
/// # Errors
/// `NOT_FOUND`; `IDEMPOTENCY_CONFLICT`.
pub async fn revoke(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    id: ApiKeyId,
) -> Result<Outcome<api_key::Model>, ServiceError> {
    let mut tx = services.begin(viewer).await?;
    let claimed = idempotency::claim(services, &mut tx, viewer, key, "revokeApiKey", &id, id.uuid()).await?;
    if claimed.is_some() {
        return Ok(Outcome::replayed(existing(&tx, id).await?));
    }
    let now = services.now();
    let ended = api_keys::revoke(&mut tx, id, now).await?;
    let row = existing(&tx, id).await?;
    if ended {
        tx.record(changed(&row, now));
    }
    services.commit(tx).await?;
    Ok(Outcome::done(row))
}

/// What the log says of a key: nothing that leads to its text.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Changed {
    id: ApiKeyId,
    revoked_at: Option<Instant>,
}

fn changed(row: &api_key::Model, now: Instant) -> NewEvent {
    NewEvent::new(EventKind::ApiKeyChanged, row.id.uuid(), &Changed { id: row.id, revoked_at: row.revoked_at }, now)
}

async fn existing(tx: &Tx, id: ApiKeyId) -> Result<api_key::Model, ServiceError> {
    api_keys::get(tx, id).await?.ok_or_else(|| ServiceError::not_found(&["id"]))
}

/// A page of the tenant's keys, revoked ones included.
///
/// # Errors
/// As the database answers.
pub async fn list(
    services: &Services,
    viewer: &Viewer,
    request: &PageRequest,
) -> Result<Page<api_key::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(api_keys::list(&tx, request).await?)
}

/// How many keys the tenant has.
///
/// # Errors
/// As the database answers.
pub async fn count(services: &Services, viewer: &Viewer) -> Result<i64, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(api_keys::count(&tx).await?)
}
