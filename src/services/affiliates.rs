//! Affiliates: create, apply, change, move between states, list.

use std::time::Duration;

use tributary_entity::{
    Instant, affiliate,
    ids::{AffiliateId, TenantId},
    kinds::{AffiliateStatus, EventKind, TenantStatus},
};

use super::{Outcome, ServiceError, Services, idempotency};
use crate::{
    ambient,
    auth::Viewer,
    domain::{
        affiliate::{self as rules, AffiliateChange, AffiliateFilter, Application, NewAffiliate},
        event::NewEvent,
        page::{Page, PageRequest},
        tenant,
    },
    limits::Limit,
    store::{
        affiliates, directory,
        error::{Constraint, StoreError},
        scope::Tx,
    },
};

/// Applications from one address: a person mistypes now and then, a program does not stop.
const APPLY_PER_CLIENT: Limit = Limit { count: 20, window: Duration::from_secs(3_600) };
/// Applications to one tenant, from wherever.
const APPLY_PER_TENANT: Limit = Limit { count: 1_000, window: Duration::from_secs(3_600) };

/// Makes an affiliate, active at once.
///
/// # Errors
/// The input's problems; `ALREADY_EXISTS` for the e-mail address; `IDEMPOTENCY_CONFLICT`.
pub async fn create(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    input: NewAffiliate,
) -> Result<Outcome<affiliate::Model>, ServiceError> {
    let input = input.check()?;
    let id = AffiliateId::from_uuid(ambient::new_uuid());
    let mut tx = services.begin(viewer).await?;
    if let Some(id) = idempotency::claim(services, &mut tx, viewer, key, "createAffiliate", &input, id.uuid()).await? {
        return Ok(Outcome::replayed(existing(&tx, AffiliateId::from_uuid(id)).await?));
    }
    let row = new_row(viewer.scope.tenant_id(), id, input, AffiliateStatus::Active, services.now());
    insert(&mut tx, &row).await?;
    services.commit(tx).await?;
    Ok(Outcome::done(row))
}

/// Takes the application of somebody without a credential: a pending affiliate with its log-in. `client` is the
/// caller's address.
///
/// # Errors
/// `RateLimited` by client and by tenant; the input's problems; `NOT_FOUND` for the tenant; `ALREADY_EXISTS` for the
/// e-mail address; `IDEMPOTENCY_CONFLICT`.
pub async fn apply(
    services: &Services,
    client: &str,
    key: Option<&str>,
    input: Application,
) -> Result<Outcome<affiliate::Model>, ServiceError> {
    limit(services, &format!("apply:client:{client}"), APPLY_PER_CLIENT).await?;
    let Application { tenant, affiliate: input, password } = input;
    let input = input.check()?;
    // A text that can be nobody's short name is not asked for.
    let slug = tenant::slug(&["tenant"], &tenant).map_err(|_| ServiceError::not_found(&["tenant"]))?;
    let (scope, _) = directory::tenant_by_slug(&services.db, &slug)
        .await?
        .filter(|(_, tenant)| tenant.status == TenantStatus::Active)
        .ok_or_else(|| ServiceError::not_found(&["tenant"]))?;
    limit(services, &format!("apply:tenant:{}", scope.tenant_id()), APPLY_PER_TENANT).await?;
    // Before the transaction begins: hashing is slow on purpose, and SQLite has one writer.
    let password_hash = services.passwords.hash(&password).await?;
    let id = AffiliateId::from_uuid(ambient::new_uuid());
    let mut tx = services.db.begin(&scope).await?;
    // Without the password: a fast hash of it must not be stored.
    let claimed =
        idempotency::claim_public(services, &mut tx, &input.email, key, "applyAffiliate", &input, id.uuid()).await?;
    if let Some(id) = claimed {
        return Ok(Outcome::replayed(existing(&tx, AffiliateId::from_uuid(id)).await?));
    }
    let row = new_row(scope.tenant_id(), id, input, AffiliateStatus::Pending, services.now());
    insert(&mut tx, &row).await?;
    super::users::insert_affiliate_user(services, &mut tx, row.id, &row.email, &row.name, password_hash).await?;
    services.commit(tx).await?;
    Ok(Outcome::done(row))
}

/// Changes what is known of an affiliate.
///
/// # Errors
/// `NOT_FOUND`; the input's problems; `ALREADY_EXISTS` for the e-mail address; `IDEMPOTENCY_CONFLICT`.
pub async fn update(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    id: AffiliateId,
    change: AffiliateChange,
) -> Result<Outcome<affiliate::Model>, ServiceError> {
    let mut tx = services.begin(viewer).await?;
    let claimed =
        idempotency::claim(services, &mut tx, viewer, key, "updateAffiliate", &(id, &change), id.uuid()).await?;
    if claimed.is_some() {
        return Ok(Outcome::replayed(existing(&tx, id).await?));
    }
    let row = affiliates::lock(&tx, id).await?.ok_or_else(|| ServiceError::not_found(&["id"]))?;
    let row = affiliate::Model { updated_at: services.now(), ..change.apply(row)? };
    save(services, tx, row).await
}

/// Moves an affiliate to another status.
///
/// # Errors
/// `NOT_FOUND`; `INVALID_TRANSITION`; `IDEMPOTENCY_CONFLICT`.
pub async fn set_status(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    id: AffiliateId,
    status: AffiliateStatus,
) -> Result<Outcome<affiliate::Model>, ServiceError> {
    let mut tx = services.begin(viewer).await?;
    let claimed =
        idempotency::claim(services, &mut tx, viewer, key, "setAffiliateStatus", &(id, status), id.uuid()).await?;
    if claimed.is_some() {
        return Ok(Outcome::replayed(existing(&tx, id).await?));
    }
    let mut row = affiliates::lock(&tx, id).await?.ok_or_else(|| ServiceError::not_found(&["id"]))?;
    row.status = rules::transition(row.status, status)?;
    row.updated_at = services.now();
    save(services, tx, row).await
}

async fn limit(services: &Services, key: &str, limit: Limit) -> Result<(), ServiceError> {
    services.limits.hit(key, limit).await.map_err(|retry_after| ServiceError::RateLimited { retry_after })
}

fn new_row(
    tenant_id: TenantId,
    id: AffiliateId,
    input: NewAffiliate,
    status: AffiliateStatus,
    now: Instant,
) -> affiliate::Model {
    let NewAffiliate { name, email, company } = input;
    affiliate::Model { tenant_id, id, name, email, company, status, created_at: now, updated_at: now }
}

async fn insert(tx: &mut Tx, row: &affiliate::Model) -> Result<(), ServiceError> {
    affiliates::insert(tx, row.clone()).await.map_err(taken())?;
    tx.record(changed(row));
    Ok(())
}

/// Writes an affiliate's row with what it tells the log, and commits.
pub(super) async fn save(
    services: &Services,
    mut tx: Tx,
    row: affiliate::Model,
) -> Result<Outcome<affiliate::Model>, ServiceError> {
    affiliates::update(&mut tx, row.clone()).await.map_err(taken())?;
    tx.record(changed(&row));
    services.commit(tx).await?;
    Ok(Outcome::done(row))
}

fn taken() -> impl FnOnce(StoreError) -> ServiceError {
    ServiceError::taken(Constraint::AffiliateEmail, &["email"], "another affiliate has this e-mail address")
}

async fn existing(tx: &Tx, id: AffiliateId) -> Result<affiliate::Model, ServiceError> {
    affiliates::get(tx, id).await?.ok_or_else(|| ServiceError::not_found(&["id"]))
}

pub(super) fn changed(row: &affiliate::Model) -> NewEvent {
    NewEvent::new(EventKind::AffiliateChanged, row.id.uuid(), row, row.updated_at).of_affiliate(Some(row.id))
}

/// The affiliates with these ids that the viewer may see.
///
/// # Errors
/// As the database answers.
pub async fn get_many(
    services: &Services,
    viewer: &Viewer,
    ids: &[AffiliateId],
) -> Result<Vec<affiliate::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(affiliates::get_many(&tx, ids).await?)
}

/// A page of the affiliates that the viewer may see.
///
/// # Errors
/// As the database answers.
pub async fn list(
    services: &Services,
    viewer: &Viewer,
    filter: &AffiliateFilter,
    request: &PageRequest,
) -> Result<Page<affiliate::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(affiliates::list(&tx, filter, request).await?)
}

/// How many affiliates a list has.
///
/// # Errors
/// As the database answers.
pub async fn count(services: &Services, viewer: &Viewer, filter: &AffiliateFilter) -> Result<i64, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(affiliates::count(&tx, filter).await?)
}
