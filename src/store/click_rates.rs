//! Click rates: heads with the terms of their current version.

use sea_orm::{ColumnTrait, EntityTrait, JoinType, QueryFilter, QueryOrder, QuerySelect, Select};
use tributary_entity::{
    click_rate as head, click_rate_version as version,
    ids::{AffiliateGroupId, AffiliateId, CampaignId, ClickRateId},
    kinds::RuleStatus,
};

use super::{
    dialect,
    error::StoreError,
    scope::{Tx, any_of},
};
use crate::domain::click_rate::Rate;

/// Reads heads and current terms in one statement, so that no change comes between the two.
async fn with_terms(tx: &Tx, select: Select<head::Entity>) -> Result<Vec<Rate>, StoreError> {
    let current = head::Entity::belongs_to(version::Entity)
        .from((head::Column::TenantId, head::Column::Id, head::Column::CurrentVersion))
        .to((version::Column::TenantId, version::Column::RateId, version::Column::Version))
        .into();
    let rows = select
        .join(JoinType::InnerJoin, current)
        .order_by_asc(head::Column::Id)
        .select_two_required(version::Entity)
        .all(tx.connection())
        .await?;
    Ok(rows.into_iter().map(|(head, terms)| Rate { head, terms }).collect())
}

/// # Errors
/// As the database answers.
pub async fn get_many(tx: &Tx, ids: &[ClickRateId]) -> Result<Vec<Rate>, StoreError> {
    with_terms(tx, tx.find::<head::Entity>().filter(any_of(head::Column::Id, ids.iter().copied()))).await
}

/// The rates of campaigns, archived ones too, oldest first.
///
/// # Errors
/// As the database answers.
pub async fn of_campaigns(tx: &Tx, ids: &[CampaignId]) -> Result<Vec<Rate>, StoreError> {
    with_terms(tx, tx.find::<head::Entity>().filter(any_of(head::Column::CampaignId, ids.iter().copied()))).await
}

/// The active rates of campaigns.
///
/// # Errors
/// As the database answers.
pub async fn in_force(tx: &Tx, ids: &[CampaignId]) -> Result<Vec<Rate>, StoreError> {
    let select = tx.find::<head::Entity>().filter(head::Column::Status.eq(RuleStatus::Active));
    with_terms(tx, select.filter(any_of(head::Column::CampaignId, ids.iter().copied()))).await
}

/// Reads the head of the rate of an affiliate or a group in a campaign, or of all others in it, to change it: nobody else
/// can until the transaction ends.
///
/// # Errors
/// As the database answers.
pub async fn lock_of(
    tx: &Tx,
    campaign_id: CampaignId,
    affiliate_id: Option<AffiliateId>,
    group_id: Option<AffiliateGroupId>,
) -> Result<Option<head::Model>, StoreError> {
    let whose = affiliate_id.map_or(head::Column::AffiliateId.is_null(), |id| head::Column::AffiliateId.eq(id));
    let of_group = group_id.map_or(head::Column::GroupId.is_null(), |id| head::Column::GroupId.eq(id));
    let select = tx.find::<head::Entity>().filter(head::Column::CampaignId.eq(campaign_id));
    let select = select.filter(whose).filter(of_group);
    Ok(dialect::lock(tx, select).one(tx.connection()).await?)
}

/// Reads a rate's head to change it: nobody else can until the transaction ends.
///
/// # Errors
/// As the database answers.
pub async fn lock(tx: &Tx, id: ClickRateId) -> Result<Option<head::Model>, StoreError> {
    Ok(dialect::lock(tx, tx.by_id::<head::Entity>(id)).one(tx.connection()).await?)
}

/// # Errors
/// As the database answers.
pub async fn insert(tx: &mut Tx, row: head::Model) -> Result<(), StoreError> {
    tx.insert::<head::Entity>(row).await
}

/// # Errors
/// As the database answers.
pub async fn insert_version(tx: &mut Tx, row: version::Model) -> Result<(), StoreError> {
    tx.insert::<version::Entity>(row).await
}

/// # Errors
/// As the database answers.
pub async fn update(tx: &mut Tx, row: head::Model) -> Result<(), StoreError> {
    tx.save::<head::Entity>(row.id, row).await
}
