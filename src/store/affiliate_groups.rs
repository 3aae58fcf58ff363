//! Affiliate groups, and who is in them.

use std::collections::BTreeMap;

use sea_orm::{ColumnTrait, EntityTrait, JoinType, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};
use tributary_entity::{
    affiliate_group, affiliate_group_member,
    ids::{AffiliateGroupId, AffiliateId},
};

use super::{
    dialect,
    error::StoreError,
    scope::{Tx, any_of},
};

/// The tenant's groups, oldest first.
///
/// # Errors
/// As the database answers.
pub async fn all(tx: &Tx) -> Result<Vec<affiliate_group::Model>, StoreError> {
    let select = tx.find::<affiliate_group::Entity>().order_by_asc(affiliate_group::Column::Id);
    Ok(select.all(tx.connection()).await?)
}

/// # Errors
/// As the database answers.
pub async fn count(tx: &Tx) -> Result<u64, StoreError> {
    Ok(tx.find::<affiliate_group::Entity>().count(tx.connection()).await?)
}

/// # Errors
/// As the database answers.
pub async fn get_many(tx: &Tx, ids: &[AffiliateGroupId]) -> Result<Vec<affiliate_group::Model>, StoreError> {
    let select = tx.find::<affiliate_group::Entity>();
    Ok(select.filter(any_of(affiliate_group::Column::Id, ids.iter().copied())).all(tx.connection()).await?)
}

/// Reads a group to change it: nobody else can until the transaction ends.
///
/// # Errors
/// As the database answers.
pub async fn lock(tx: &Tx, id: AffiliateGroupId) -> Result<Option<affiliate_group::Model>, StoreError> {
    Ok(dialect::lock(tx, tx.by_id::<affiliate_group::Entity>(id)).one(tx.connection()).await?)
}

/// # Errors
/// `Constraint::GroupName`.
pub async fn insert(tx: &mut Tx, row: affiliate_group::Model) -> Result<(), StoreError> {
    tx.insert::<affiliate_group::Entity>(row).await
}

/// # Errors
/// `Constraint::GroupName`.
pub async fn update(tx: &mut Tx, row: affiliate_group::Model) -> Result<(), StoreError> {
    tx.save::<affiliate_group::Entity>(row.id, row).await
}

/// The groups of those of these affiliates that are in one, whatever the ring: for deciding, and of rows that were seen.
///
/// # Errors
/// As the database answers.
pub async fn of_affiliates(
    tx: &Tx,
    ids: &[AffiliateId],
) -> Result<BTreeMap<AffiliateId, affiliate_group::Model>, StoreError> {
    use affiliate_group_member::Column;
    let mut groups = BTreeMap::new();
    for chunk in ids.chunks(1_000) {
        let of_member = affiliate_group_member::Entity::belongs_to(affiliate_group::Entity)
            .from((Column::TenantId, Column::GroupId))
            .to((affiliate_group::Column::TenantId, affiliate_group::Column::Id))
            .into();
        let rows = tx
            .find::<affiliate_group_member::Entity>()
            .filter(any_of(Column::AffiliateId, chunk.iter().copied()))
            .join(JoinType::InnerJoin, of_member)
            .select_two_required(affiliate_group::Entity)
            .all(tx.connection())
            .await?;
        groups.extend(rows.into_iter().map(|(member, group)| (member.affiliate_id, group)));
    }
    Ok(groups)
}

/// Puts an affiliate into a group, or into none.
///
/// # Errors
/// As the database answers.
pub async fn place(
    tx: &mut Tx,
    affiliate_id: AffiliateId,
    member: Option<affiliate_group_member::Model>,
) -> Result<(), StoreError> {
    tx.delete_many::<affiliate_group_member::Entity>()
        .filter(affiliate_group_member::Column::AffiliateId.eq(affiliate_id))
        .exec(tx.connection())
        .await?;
    match member {
        Some(row) => tx.insert::<affiliate_group_member::Entity>(row).await,
        None => Ok(()),
    }
}
