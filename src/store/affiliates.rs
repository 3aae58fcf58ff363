//! Affiliates.

use sea_orm::{ColumnTrait, QueryFilter, Select};
use tributary_entity::{affiliate, ids::AffiliateId};

use super::{
    affiliate_parents, dialect,
    error::StoreError,
    page,
    scope::{Tx, any_of},
};
use crate::domain::{
    affiliate::AffiliateFilter,
    page::{Page, PageRequest},
};

fn filtered(tx: &Tx, filter: &AffiliateFilter) -> Select<affiliate::Entity> {
    let mut select = tx.visible::<affiliate::Entity>();
    if let Some(statuses) = &filter.statuses {
        select = select.filter(any_of(affiliate::Column::Status, statuses.iter().copied()));
    }
    if let Some(part) = &filter.name_contains {
        select = select.filter(page::contains(affiliate::Column::Name, part));
    }
    if let Some(ids) = &filter.ids {
        select = select.filter(any_of(affiliate::Column::Id, ids.iter().copied()));
    }
    if let Some(ids) = &filter.parent_ids {
        let children = affiliate_parents::children_of(tx, ids);
        select = select.filter(affiliate::Column::Id.in_subquery(children));
    }
    select
}

/// # Errors
/// As the database answers.
pub async fn get(tx: &Tx, id: AffiliateId) -> Result<Option<affiliate::Model>, StoreError> {
    Ok(tx.visible::<affiliate::Entity>().filter(affiliate::Column::Id.eq(id)).one(tx.connection()).await?)
}

/// # Errors
/// As the database answers.
pub async fn get_many(tx: &Tx, ids: &[AffiliateId]) -> Result<Vec<affiliate::Model>, StoreError> {
    let select = tx.visible::<affiliate::Entity>().filter(any_of(affiliate::Column::Id, ids.iter().copied()));
    Ok(select.all(tx.connection()).await?)
}

/// Reads an affiliate to change it: nobody else can until the transaction ends.
///
/// # Errors
/// As the database answers.
pub async fn lock(tx: &Tx, id: AffiliateId) -> Result<Option<affiliate::Model>, StoreError> {
    let select = tx.visible::<affiliate::Entity>().filter(affiliate::Column::Id.eq(id));
    Ok(dialect::lock(tx, select).one(tx.connection()).await?)
}

/// # Errors
/// As the database answers.
pub async fn list(
    tx: &Tx,
    filter: &AffiliateFilter,
    request: &PageRequest,
) -> Result<Page<affiliate::Model>, StoreError> {
    page::page(tx, filtered(tx, filter), request, None).await
}

/// # Errors
/// As the database answers.
pub async fn count(tx: &Tx, filter: &AffiliateFilter) -> Result<i64, StoreError> {
    page::count(tx, filtered(tx, filter)).await
}

/// # Errors
/// `Constraint::AffiliateEmail` when another affiliate of the tenant has the address.
pub async fn insert(tx: &mut Tx, row: affiliate::Model) -> Result<(), StoreError> {
    tx.insert::<affiliate::Entity>(row).await
}

/// # Errors
/// `Constraint::AffiliateEmail` when another affiliate of the tenant has the address.
pub async fn update(tx: &mut Tx, row: affiliate::Model) -> Result<(), StoreError> {
    tx.save::<affiliate::Entity>(row.id, row).await
}

/// Every affiliate of the tenant whose id is asked for, for deciding clicks and conversions: rings do not apply to the
/// machine.
///
/// # Errors
/// As the database answers.
pub async fn get_all(tx: &Tx, ids: &[AffiliateId]) -> Result<Vec<affiliate::Model>, StoreError> {
    let select = tx.find::<affiliate::Entity>().filter(any_of(affiliate::Column::Id, ids.iter().copied()));
    Ok(select.all(tx.connection()).await?)
}
