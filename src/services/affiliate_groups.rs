//! Affiliate groups: create, change, put affiliates into them.

use tributary_entity::{
    Instant, affiliate, affiliate_group, affiliate_group_member,
    ids::{AffiliateGroupId, AffiliateId},
    kinds::EventKind,
};

use super::{Outcome, ServiceError, Services, idempotency};
use crate::{
    ambient,
    auth::Viewer,
    domain::{
        affiliate_group::{GROUPS_MAX, GroupChange, NewGroup},
        event::NewEvent,
        problem::{Problem, ProblemCode},
    },
    store::{
        affiliate_groups as groups, affiliates,
        error::{Constraint, StoreError},
        scope::Tx,
    },
};

/// Makes a group.
///
/// # Errors
/// The input's problems; `ALREADY_EXISTS` for the name; `OUT_OF_RANGE` past [`GROUPS_MAX`]; `IDEMPOTENCY_CONFLICT`.
pub async fn create(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    input: NewGroup,
) -> Result<Outcome<affiliate_group::Model>, ServiceError> {
    let input = input.check()?;
    let id = AffiliateGroupId::from_uuid(ambient::new_uuid());
    let mut tx = services.begin(viewer).await?;
    let claimed = idempotency::claim(services, &mut tx, viewer, key, "createAffiliateGroup", &input, id.uuid()).await?;
    if let Some(id) = claimed {
        return Ok(Outcome::replayed(existing(&tx, AffiliateGroupId::from_uuid(id)).await?));
    }
    if groups::count(&tx).await? >= GROUPS_MAX as u64 {
        let message = format!("at most {GROUPS_MAX} affiliate groups");
        return Err(Problem::new(ProblemCode::OutOfRange, &[], message).into());
    }
    let now = services.now();
    let NewGroup { name, modifier_ppm } = input;
    let tenant_id = viewer.scope.tenant_id();
    let row = affiliate_group::Model { tenant_id, id, name, modifier_ppm, created_at: now, updated_at: now };
    groups::insert(&mut tx, row.clone()).await.map_err(taken())?;
    tx.record(changed(&row));
    services.commit(tx).await?;
    Ok(Outcome::done(row))
}

/// Changes a group. What is recorded from now on is reckoned with it; past commissions keep what they were reckoned with.
///
/// # Errors
/// `NOT_FOUND`; the input's problems; `ALREADY_EXISTS` for the name; `IDEMPOTENCY_CONFLICT`.
pub async fn update(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    id: AffiliateGroupId,
    change: GroupChange,
) -> Result<Outcome<affiliate_group::Model>, ServiceError> {
    let mut tx = services.begin(viewer).await?;
    let claimed =
        idempotency::claim(services, &mut tx, viewer, key, "updateAffiliateGroup", &(id, &change), id.uuid()).await?;
    if claimed.is_some() {
        return Ok(Outcome::replayed(existing(&tx, id).await?));
    }
    let row = groups::lock(&tx, id).await?.ok_or_else(|| ServiceError::not_found(&["id"]))?;
    let row = affiliate_group::Model { updated_at: services.now(), ..change.apply(row)? };
    groups::update(&mut tx, row.clone()).await.map_err(taken())?;
    tx.record(changed(&row));
    services.commit(tx).await?;
    Ok(Outcome::done(row))
}

/// Puts an affiliate into a group, or into none; what is recorded from now on is reckoned by it.
///
/// # Errors
/// `NOT_FOUND` for affiliate or group; `IDEMPOTENCY_CONFLICT`.
pub async fn place(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    id: AffiliateId,
    group_id: Option<AffiliateGroupId>,
) -> Result<Outcome<affiliate::Model>, ServiceError> {
    let mut tx = services.begin(viewer).await?;
    let input = (id, group_id);
    let claimed = idempotency::claim(services, &mut tx, viewer, key, "setAffiliateGroup", &input, id.uuid()).await?;
    let not_found = || ServiceError::not_found(&["affiliateId"]);
    if claimed.is_some() {
        return Ok(Outcome::replayed(affiliates::get(&tx, id).await?.ok_or_else(not_found)?));
    }
    let row = affiliates::lock(&tx, id).await?.ok_or_else(not_found)?;
    if let Some(group_id) = group_id
        && groups::get_many(&tx, &[group_id]).await?.is_empty()
    {
        return Err(ServiceError::not_found(&["groupId"]));
    }
    let now = services.now();
    let member = |group_id| member(&row, group_id, now);
    groups::place(&mut tx, id, group_id.map(member)).await?;
    let row = affiliate::Model { updated_at: now, ..row };
    affiliates::update(&mut tx, row.clone()).await?;
    tx.record(super::affiliates::changed(&row));
    services.commit(tx).await?;
    Ok(Outcome::done(row))
}

const fn member(row: &affiliate::Model, group_id: AffiliateGroupId, now: Instant) -> affiliate_group_member::Model {
    affiliate_group_member::Model { tenant_id: row.tenant_id, affiliate_id: row.id, group_id, added_at: now }
}

fn taken() -> impl FnOnce(StoreError) -> ServiceError {
    ServiceError::taken(Constraint::GroupName, &["name"], "another group has this name")
}

async fn existing(tx: &Tx, id: AffiliateGroupId) -> Result<affiliate_group::Model, ServiceError> {
    groups::get_many(tx, &[id]).await?.pop().ok_or_else(|| ServiceError::not_found(&["id"]))
}

fn changed(row: &affiliate_group::Model) -> NewEvent {
    NewEvent::new(EventKind::AffiliateGroupChanged, row.id.uuid(), row, row.updated_at)
}

/// The tenant's groups, oldest first.
///
/// # Errors
/// As the database answers.
pub async fn all(services: &Services, viewer: &Viewer) -> Result<Vec<affiliate_group::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(groups::all(&tx).await?)
}

/// The groups with these ids.
///
/// # Errors
/// As the database answers.
pub async fn get_many(
    services: &Services,
    viewer: &Viewer,
    ids: &[AffiliateGroupId],
) -> Result<Vec<affiliate_group::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(groups::get_many(&tx, ids).await?)
}

/// The groups of those of these affiliates that are in one.
///
/// # Errors
/// As the database answers.
pub async fn of_affiliates(
    services: &Services,
    viewer: &Viewer,
    ids: &[AffiliateId],
) -> Result<Vec<(AffiliateId, affiliate_group::Model)>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(groups::of_affiliates(&tx, ids).await?.into_iter().collect())
}
