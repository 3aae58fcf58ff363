//! Tenants: made from the command line with their first owner, read by everybody who belongs to them.
//!
//! # Decisions
//! - A suspended tenant is locked, not stopped: nobody gets in, whatever the credential, and who is in is put out within
//!   two seconds. Its data stays, and what runs by itself goes on: holds are released as they were promised, so that
//!   affiliates do not lose by a quarrel between their tenant and the platform.
//! - The operator stays able to act: who resolves the matter must see the tenant.

use serde::Serialize;
use tributary_entity::{
    ids::{TenantId, UserId},
    kinds::{EventKind, Role, TenantStatus, UserStatus},
    money::Currency,
    tenant, user,
};

use super::{Outcome, ServiceError, Services, idempotency};
use crate::{
    ambient,
    auth::Viewer,
    domain::{
        event::NewEvent,
        problem::{Problem, ProblemCode},
        tenancy::TenantScope,
        tenant::{self as rules, TenantChange},
        text,
        user::{NewUser, User},
    },
    store::{
        directory,
        error::{Constraint, StoreError},
        tenants, users,
    },
};

/// A new tenant with its first owner. No `Debug`: it holds a password.
pub struct NewTenant {
    pub slug: String,
    pub name: String,
    /// Default currency of new campaigns.
    pub currency: Currency,
    pub owner_email: String,
    pub owner_name: String,
    pub owner_password: String,
}

/// Makes a tenant and its first owner. Belongs to no viewer: who calls it has the machine.
///
/// # Errors
/// The input's problems; `ALREADY_EXISTS` when the slug is taken.
pub async fn create(services: &Services, input: NewTenant) -> Result<(tenant::Model, User), ServiceError> {
    let slug = rules::slug(&["slug"], &input.slug)?;
    let name = text::required(&["name"], &input.name, text::NAME_MAX)?;
    let owner = NewUser {
        email: input.owner_email,
        name: input.owner_name,
        password: input.owner_password,
        roles: vec![Role::Owner],
        affiliate_id: None,
    };
    let owner = owner.check()?;
    let password_hash = services.passwords.hash(&owner.password).await?;
    let scope = directory::new_tenant();
    let now = services.now();
    let tenant = tenant::Model {
        tenant_id: scope.tenant_id(),
        slug,
        name,
        currency: input.currency,
        time_zone: "UTC".to_owned(),
        epoch: new_epoch(),
        status: TenantStatus::Active,
        payout_four_eyes: false,
        click_wait_secs: 0,
        created_at: now,
    };
    let row = user::Model {
        tenant_id: scope.tenant_id(),
        id: UserId::from_uuid(ambient::new_uuid()),
        email: owner.email,
        name: owner.name,
        password_hash: Some(password_hash),
        affiliate_id: None,
        status: UserStatus::Active,
        created_at: now,
        updated_at: now,
    };
    let mut tx = services.db.begin(&scope).await?;
    tenants::insert(&mut tx, tenant.clone()).await.map_err(slug_taken)?;
    users::insert(&mut tx, row.clone(), &owner.roles).await?;
    tx.commit().await?;
    Ok((tenant, User { row, roles: owner.roles }))
}

fn slug_taken(error: StoreError) -> ServiceError {
    match error {
        StoreError::Constraint(Constraint::TenantSlug) => {
            Problem::new(ProblemCode::AlreadyExists, &["slug"], "another tenant has this name").into()
        }
        other => other.into(),
    }
}

/// Suspends or resumes a tenant. Belongs to no viewer, as [`create`]. Done again, it changes nothing.
///
/// # Errors
/// `NOT_FOUND`.
pub async fn set_status(services: &Services, slug: &str, status: TenantStatus) -> Result<tenant::Model, ServiceError> {
    let found = directory::tenant_by_slug(&services.db, slug).await?;
    let (scope, _) = found.ok_or_else(|| ServiceError::not_found(&["slug"]))?;
    let mut tx = services.db.begin(&scope).await?;
    let changed = tenants::update_status(&mut tx, status).await?;
    if changed {
        let payload = Changed { id: scope.tenant_id(), status };
        tx.record(NewEvent::new(EventKind::TenantChanged, payload.id.uuid(), &payload, services.now()));
    }
    let tenant = tenants::get(&tx).await?;
    services.commit(tx).await?;
    Ok(tenant)
}

/// Begins another history of a tenant, after an older backup was restored: the log's numbers are given again, so that a
/// cursor from before must not be taken for one of now. Clients are told once that theirs have expired.
///
/// # Errors
/// As the database answers.
pub async fn begin_history(services: &Services, scope: &TenantScope) -> Result<(), ServiceError> {
    let mut tx = services.db.begin(scope).await?;
    tenants::set_epoch(&mut tx, new_epoch()).await?;
    Ok(services.commit(tx).await?)
}

/// Nobody can know it before.
fn new_epoch() -> uuid::Uuid {
    uuid::Builder::from_random_bytes(ambient::random_bytes()).into_uuid()
}

/// What the log says of a tenant.
#[derive(Serialize)]
struct Changed {
    id: TenantId,
    status: TenantStatus,
}

/// The tenant with a slug, for the command line.
///
/// # Errors
/// As the database answers.
pub async fn get_by_slug(
    services: &Services,
    slug: &str,
) -> Result<Option<(TenantScope, tenant::Model)>, ServiceError> {
    Ok(directory::tenant_by_slug(&services.db, slug).await?)
}

/// All tenants, for the command line.
///
/// # Errors
/// As the database answers.
pub async fn all(services: &Services) -> Result<Vec<TenantScope>, ServiceError> {
    Ok(directory::tenants(&services.db).await?)
}

/// The viewer's own tenant.
///
/// # Errors
/// As the database answers.
pub async fn get(services: &Services, viewer: &Viewer) -> Result<tenant::Model, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(tenants::get(&tx).await?)
}

/// Changes the settings of the viewer's tenant.
///
/// # Errors
/// The change's problems; `IDEMPOTENCY_CONFLICT`; as the database answers.
pub async fn update(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    change: TenantChange,
) -> Result<Outcome<tenant::Model>, ServiceError> {
    let change = change.check()?;
    let id = viewer.scope.tenant_id().uuid();
    let mut tx = services.begin(viewer).await?;
    let claimed = idempotency::claim(services, &mut tx, viewer, key, "updateTenant", &change, id).await?;
    if claimed.is_some() {
        return Ok(Outcome::replayed(tenants::get(&tx).await?));
    }
    if let Some(four_eyes) = change.payout_four_eyes {
        tenants::set_payout_four_eyes(&mut tx, four_eyes).await?;
    }
    if let Some(time_zone) = change.time_zone {
        tenants::set_time_zone(&mut tx, time_zone).await?;
    }
    if let Some(secs) = change.click_wait_secs {
        tenants::set_click_wait(&mut tx, secs).await?;
    }
    let row = tenants::get(&tx).await?;
    let payload = Changed { id: row.tenant_id, status: row.status };
    tx.record(NewEvent::new(EventKind::TenantChanged, id, &payload, services.now()));
    services.commit(tx).await?;
    Ok(Outcome::done(row))
}
