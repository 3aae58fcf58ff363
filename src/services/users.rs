//! Users: make, give roles, disable, change the own password, list.
//!
//! # Decisions
//! - Passwords are hashed and verified before the transaction begins: it takes tens of milliseconds, and SQLite has one
//!   writer.
//! - Disabling a user and changing a password end the user's sessions. Changing roles does not: what holds are the roles
//!   that the user has now, whatever its access token says.

use std::{collections::HashMap, time::Duration};

use serde::Serialize;
use tributary_entity::{
    ids::{AffiliateId, UserId},
    kinds::{EventKind, Role, UserStatus},
    user,
};

use super::{Outcome, ServiceError, Services, idempotency};
use crate::{
    ambient,
    auth::{Actor, Viewer},
    domain::{
        event::NewEvent,
        page::{Page, PageRequest},
        problem::{Problem, ProblemCode},
        text,
        user::{self as rules, NewUser, User, UserFilter},
    },
    limits::Limit,
    store::{
        error::{Constraint, StoreError},
        scope::Tx,
        sessions, users,
    },
};

/// Guesses at the own password, which a stolen access token would allow.
const PASSWORD_CHANGES: Limit = Limit { count: 10, window: Duration::from_secs(300) };

/// Makes a user.
///
/// # Errors
/// The input's problems; `NOT_FOUND` for the affiliate; `ALREADY_EXISTS` for the address; `FORBIDDEN` when who is no
/// owner makes one; `IDEMPOTENCY_CONFLICT`.
pub async fn create(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    input: NewUser,
) -> Result<Outcome<User>, ServiceError> {
    let input = input.check()?;
    if !rules::may_manage(&viewer.roles, &input.roles) {
        return Err(ServiceError::Forbidden);
    }
    let password_hash = services.passwords.hash(&input.password).await?;
    let id = UserId::from_uuid(ambient::new_uuid());
    let mut tx = services.begin(viewer).await?;
    if let Some(id) = idempotency::claim(services, &mut tx, viewer, key, "createUser", &input, id.uuid()).await? {
        return Ok(Outcome::replayed(existing(&tx, UserId::from_uuid(id)).await?));
    }
    if let Some(id) = input.affiliate_id
        && users::get_affiliate_status(&tx, id).await?.is_none()
    {
        return Err(ServiceError::not_found(&["affiliateId"]));
    }
    let now = services.now();
    let row = user::Model {
        tenant_id: viewer.scope.tenant_id(),
        id,
        email: input.email,
        name: input.name,
        password_hash: Some(password_hash),
        affiliate_id: input.affiliate_id,
        status: UserStatus::Active,
        created_at: now,
        updated_at: now,
    };
    users::insert(&mut tx, row.clone(), &input.roles).await.map_err(email_taken)?;
    let user = User { row, roles: input.roles };
    tx.record(changed(&user));
    services.commit(tx).await?;
    Ok(Outcome::done(user))
}

/// Makes the user of an affiliate, in the transaction that makes the affiliate. `password_hash` comes from
/// [`crate::auth::Passwords::hash`], which is to be called before the transaction begins.
///
/// # Errors
/// The problems of address and name; `ALREADY_EXISTS` for the address.
pub async fn insert_affiliate_user(
    services: &Services,
    tx: &mut Tx,
    affiliate_id: AffiliateId,
    email: &str,
    name: &str,
    password_hash: String,
) -> Result<(), ServiceError> {
    let now = services.now();
    let row = user::Model {
        tenant_id: tx.scope().tenant_id(),
        id: UserId::from_uuid(ambient::new_uuid()),
        email: text::email(&["email"], email)?,
        name: text::required(&["name"], name, text::NAME_MAX)?,
        password_hash: Some(password_hash),
        affiliate_id: Some(affiliate_id),
        status: UserStatus::Active,
        created_at: now,
        updated_at: now,
    };
    users::insert(tx, row, &[Role::Affiliate]).await.map_err(email_taken)
}

fn email_taken(error: StoreError) -> ServiceError {
    match error {
        StoreError::Constraint(Constraint::UserEmail) => {
            Problem::new(ProblemCode::AlreadyExists, &["email"], "another user has this address").into()
        }
        other => other.into(),
    }
}

/// Gives a user these roles instead of its own.
///
/// # Errors
/// `NOT_FOUND`; roles that do not go together; `INVALID_TRANSITION` for the last owner; `FORBIDDEN` when who is no owner
/// makes or changes one; `IDEMPOTENCY_CONFLICT`.
pub async fn set_roles(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    id: UserId,
    roles: Vec<Role>,
) -> Result<Outcome<User>, ServiceError> {
    let mut tx = services.begin(viewer).await?;
    let claimed = idempotency::claim(services, &mut tx, viewer, key, "setUserRoles", &(id, &roles), id.uuid()).await?;
    if claimed.is_some() {
        return Ok(Outcome::replayed(existing(&tx, id).await?));
    }
    let (mut user, owners) = lock(&tx, viewer, id).await?;
    let roles = rules::roles(roles, user.row.affiliate_id)?;
    if !rules::may_manage(&viewer.roles, &roles) {
        return Err(ServiceError::Forbidden);
    }
    if !roles.contains(&Role::Owner) && owners == [id] {
        return Err(rules::last_owner().into());
    }
    users::update_roles(&mut tx, id, &roles).await?;
    user.row.updated_at = services.now();
    users::update(&mut tx, user.row.clone()).await?;
    let user = User { roles, ..user };
    tx.record(changed(&user));
    services.commit(tx).await?;
    Ok(Outcome::done(user))
}

/// Lets a user log in, or no longer. Disabling ends the user's sessions.
///
/// # Errors
/// `NOT_FOUND`; `INVALID_TRANSITION` for the last owner; `FORBIDDEN` when who is no owner changes one;
/// `IDEMPOTENCY_CONFLICT`.
pub async fn set_status(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    id: UserId,
    status: UserStatus,
) -> Result<Outcome<User>, ServiceError> {
    let mut tx = services.begin(viewer).await?;
    let claimed = idempotency::claim(services, &mut tx, viewer, key, "setUserStatus", &(id, status), id.uuid()).await?;
    if claimed.is_some() {
        return Ok(Outcome::replayed(existing(&tx, id).await?));
    }
    let (mut user, owners) = lock(&tx, viewer, id).await?;
    let now = services.now();
    if status == UserStatus::Disabled {
        if owners == [id] {
            return Err(rules::last_owner().into());
        }
        sessions::revoke_of_user(&mut tx, id, now).await?;
    }
    user.row.status = status;
    user.row.updated_at = now;
    users::update(&mut tx, user.row.clone()).await?;
    tx.record(changed(&user));
    services.commit(tx).await?;
    Ok(Outcome::done(user))
}

/// A user whom the viewer may change, and who the active owners are. Both stay so until the transaction ends.
async fn lock(tx: &Tx, viewer: &Viewer, id: UserId) -> Result<(User, Vec<UserId>), ServiceError> {
    // Owners before the user, always: two who change each other wait in a line, not in a circle.
    let owners = users::lock_owners(tx).await?;
    let row = users::lock(tx, id).await?.ok_or_else(|| ServiceError::not_found(&["id"]))?;
    let user = with_roles(tx, vec![row]).await?.into_iter().next().ok_or_else(|| ServiceError::not_found(&["id"]))?;
    if rules::may_manage(&viewer.roles, &user.roles) { Ok((user, owners)) } else { Err(ServiceError::Forbidden) }
}

/// Changes the viewer's own password and ends all of the viewer's sessions: whoever else has one has to know the new
/// password.
///
/// # Errors
/// `WEAK_PASSWORD`; `INVALID_CREDENTIALS` when the current one is wrong; `FORBIDDEN` for who is no user; rate limit;
/// `IDEMPOTENCY_CONFLICT`.
pub async fn change_password(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    current: &str,
    new: &str,
) -> Result<Outcome<User>, ServiceError> {
    let Actor::User(id) = viewer.actor else {
        return Err(ServiceError::Forbidden);
    };
    rules::password(&["newPassword"], new)?;
    let limit = services.limits.hit(&format!("password:{id}"), PASSWORD_CHANGES).await;
    limit.map_err(|retry_after| ServiceError::RateLimited { retry_after })?;
    let before = {
        let tx = services.snapshot(viewer).await?;
        users::get(&tx, id).await?.ok_or(ServiceError::Unauthenticated)?
    };
    let verified = services.passwords.verify(current, before.password_hash.as_deref()).await;
    let password_hash = services.passwords.hash(new).await?;

    let mut tx = services.begin(viewer).await?;
    // Neither password is part of the claim: its stored hash is a fast one. The key stands for the change alone.
    let claimed = idempotency::claim(services, &mut tx, viewer, key, "changePassword", &id, id.uuid()).await?;
    if claimed.is_some() {
        return Ok(Outcome::replayed(existing(&tx, id).await?));
    }
    let mut row = users::lock(&tx, id).await?.ok_or(ServiceError::Unauthenticated)?;
    if !verified || row.password_hash != before.password_hash {
        let message = "the current password is wrong";
        return Err(Problem::new(ProblemCode::InvalidCredentials, &["currentPassword"], message).into());
    }
    let now = services.now();
    row.password_hash = Some(password_hash);
    row.updated_at = now;
    users::update(&mut tx, row).await?;
    sessions::revoke_of_user(&mut tx, id, now).await?;
    let user = existing(&tx, id).await?;
    tx.record(changed(&user));
    services.commit(tx).await?;
    Ok(Outcome::done(user))
}

/// What the log says of a user: nothing that tells who it is.
#[derive(Serialize)]
struct Changed<'a> {
    id: UserId,
    status: UserStatus,
    roles: &'a [Role],
}

fn changed(user: &User) -> NewEvent {
    let User { row, roles } = user;
    let payload = Changed { id: row.id, status: row.status, roles };
    NewEvent::new(EventKind::UserChanged, row.id.uuid(), &payload, row.updated_at).of_affiliate(row.affiliate_id)
}

async fn existing(tx: &Tx, id: UserId) -> Result<User, ServiceError> {
    let row = users::get(tx, id).await?.ok_or_else(|| ServiceError::not_found(&["id"]))?;
    with_roles(tx, vec![row]).await?.into_iter().next().ok_or_else(|| ServiceError::not_found(&["id"]))
}

/// Users with their roles, in the order of the rows.
pub(super) async fn with_roles(tx: &Tx, rows: Vec<user::Model>) -> Result<Vec<User>, StoreError> {
    let ids: Vec<UserId> = rows.iter().map(|row| row.id).collect();
    let mut roles: HashMap<UserId, Vec<Role>> = HashMap::new();
    for role in users::list_roles(tx, &ids).await? {
        roles.entry(role.user_id).or_default().push(role.role);
    }
    Ok(rows.into_iter().map(|row| User { roles: roles.remove(&row.id).unwrap_or_default(), row }).collect())
}

/// The users with these ids that the viewer may see.
///
/// # Errors
/// As the database answers.
pub async fn get_many(services: &Services, viewer: &Viewer, ids: &[UserId]) -> Result<Vec<User>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    let rows = users::get_many(&tx, ids).await?;
    Ok(with_roles(&tx, rows).await?)
}

/// The viewer itself, if it is a user.
///
/// # Errors
/// As the database answers.
pub async fn get_own(services: &Services, viewer: &Viewer) -> Result<Option<User>, ServiceError> {
    match viewer.actor {
        Actor::User(id) => Ok(get_many(services, viewer, &[id]).await?.into_iter().next()),
        Actor::ApiKey(_) | Actor::Postback(_) | Actor::External(_) | Actor::Operator | Actor::System => Ok(None),
    }
}

/// A page of the users that the viewer may see.
///
/// # Errors
/// As the database answers.
pub async fn list(
    services: &Services,
    viewer: &Viewer,
    filter: &UserFilter,
    request: &PageRequest,
) -> Result<Page<User>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    let page = users::list(&tx, filter, request).await?;
    Ok(Page { rows: with_roles(&tx, page.rows).await?, has_next: page.has_next, has_previous: page.has_previous })
}

/// How many users a list has.
///
/// # Errors
/// As the database answers.
pub async fn count(services: &Services, viewer: &Viewer, filter: &UserFilter) -> Result<i64, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(users::count(&tx, filter).await?)
}
