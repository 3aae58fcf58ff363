//! Users and their roles.

use sea_orm::{ColumnTrait, QueryFilter, QueryOrder, QuerySelect, Select};
use tributary_entity::{
    affiliate,
    ids::{AffiliateId, UserId},
    kinds::{AffiliateStatus, Role, UserStatus},
    user, user_role,
};

use super::{
    dialect,
    error::StoreError,
    page,
    scope::{Tx, any_of},
};
use crate::domain::{
    page::{Page, PageRequest},
    user::UserFilter,
};

fn filtered(tx: &Tx, filter: &UserFilter) -> Select<user::Entity> {
    let mut select = tx.visible::<user::Entity>();
    if let Some(statuses) = &filter.statuses {
        select = select.filter(any_of(user::Column::Status, statuses.iter().copied()));
    }
    if let Some(part) = &filter.name_contains {
        select = select.filter(page::contains(user::Column::Name, part));
    }
    select
}

/// # Errors
/// As the database answers.
pub async fn get(tx: &Tx, id: UserId) -> Result<Option<user::Model>, StoreError> {
    Ok(tx.visible::<user::Entity>().filter(user::Column::Id.eq(id)).one(tx.connection()).await?)
}

/// # Errors
/// As the database answers.
pub async fn get_many(tx: &Tx, ids: &[UserId]) -> Result<Vec<user::Model>, StoreError> {
    let select = tx.visible::<user::Entity>().filter(any_of(user::Column::Id, ids.iter().copied()));
    Ok(select.all(tx.connection()).await?)
}

/// The user who logs in with an address, lower-cased.
///
/// # Errors
/// As the database answers.
pub async fn get_by_email(tx: &Tx, email: &str) -> Result<Option<user::Model>, StoreError> {
    Ok(tx.find::<user::Entity>().filter(user::Column::Email.eq(email)).one(tx.connection()).await?)
}

/// Reads a user to change it, or to log it in: nobody else can change it until the transaction ends.
///
/// # Errors
/// As the database answers.
pub async fn lock(tx: &Tx, id: UserId) -> Result<Option<user::Model>, StoreError> {
    Ok(dialect::lock(tx, tx.by_id::<user::Entity>(id)).one(tx.connection()).await?)
}

/// # Errors
/// As the database answers.
pub async fn list(tx: &Tx, filter: &UserFilter, request: &PageRequest) -> Result<Page<user::Model>, StoreError> {
    page::page(tx, filtered(tx, filter), request, None).await
}

/// # Errors
/// As the database answers.
pub async fn count(tx: &Tx, filter: &UserFilter) -> Result<i64, StoreError> {
    page::count(tx, filtered(tx, filter)).await
}

/// # Errors
/// `Constraint::UserEmail` when the address is taken.
pub async fn insert(tx: &mut Tx, row: user::Model, roles: &[Role]) -> Result<(), StoreError> {
    let id = row.id;
    tx.insert::<user::Entity>(row).await?;
    insert_roles(tx, id, roles).await
}

/// # Errors
/// As the database answers.
pub async fn update(tx: &mut Tx, row: user::Model) -> Result<(), StoreError> {
    tx.save::<user::Entity>(row.id, row).await
}

/// The roles of some users, in order.
///
/// # Errors
/// As the database answers.
pub async fn list_roles(tx: &Tx, ids: &[UserId]) -> Result<Vec<user_role::Model>, StoreError> {
    let select = tx.find::<user_role::Entity>().filter(any_of(user_role::Column::UserId, ids.iter().copied()));
    let mut rows = select.all(tx.connection()).await?;
    // By the enum's order; the column's is the alphabet's.
    rows.sort_unstable_by_key(|row| (row.user_id, row.role));
    Ok(rows)
}

/// Gives a user these roles instead of its own.
///
/// # Errors
/// As the database answers.
pub async fn update_roles(tx: &mut Tx, id: UserId, roles: &[Role]) -> Result<(), StoreError> {
    let delete = tx.delete_many::<user_role::Entity>().filter(user_role::Column::UserId.eq(id));
    delete.exec(tx.connection()).await?;
    insert_roles(tx, id, roles).await
}

async fn insert_roles(tx: &mut Tx, user_id: UserId, roles: &[Role]) -> Result<(), StoreError> {
    let tenant_id = tx.scope().tenant_id();
    let rows = roles.iter().map(|role| user_role::Model { tenant_id, user_id, role: *role }).collect();
    tx.insert_all::<user_role::Entity>(rows).await
}

/// The owners who can log in. Nobody else can make or unmake one of them until the transaction ends: two owners cannot
/// end each other at the same moment.
///
/// # Errors
/// As the database answers.
pub async fn lock_owners(tx: &Tx) -> Result<Vec<UserId>, StoreError> {
    // Role rows first, in order; what they lead to is read after the wait, so that it is not from before it.
    let select = tx.find::<user_role::Entity>().filter(user_role::Column::Role.eq(Role::Owner));
    let select = dialect::lock(tx, select.order_by_asc(user_role::Column::UserId));
    let owners = select.all(tx.connection()).await?;
    let active = tx
        .find::<user::Entity>()
        .filter(any_of(user::Column::Id, owners.iter().map(|row| row.user_id)))
        .filter(user::Column::Status.eq(UserStatus::Active));
    Ok(active.select_only().column(user::Column::Id).into_tuple().all(tx.connection()).await?)
}

/// Where the affiliate of a user stands.
///
/// # Errors
/// As the database answers.
pub async fn get_affiliate_status(tx: &Tx, id: AffiliateId) -> Result<Option<AffiliateStatus>, StoreError> {
    let row = tx.by_id::<affiliate::Entity>(id).one(tx.connection()).await?;
    Ok(row.map(|row| row.status))
}
