//! Revenue deals: heads with the terms of a version.

use sea_orm::{ColumnTrait, EntityTrait, JoinType, QueryFilter, QueryOrder, QuerySelect, RelationDef, Select};
use tributary_entity::{
    ids::{AffiliateId, CampaignId, RevenueDealId},
    revenue_deal as head, revenue_deal_version as version,
};

use super::{
    dialect,
    error::StoreError,
    scope::{Tx, any_of},
};
use crate::domain::revenue_deal::{Deal, Terms};

/// JSON of terms, as it is stored.
///
/// # Errors
/// `Inconsistent` for what cannot be written.
pub fn write_terms(terms: &Terms) -> Result<String, StoreError> {
    serde_json::to_string(terms).map_err(|error| StoreError::inconsistent("revenue_deal_version", error))
}

fn deal((head, row): (head::Model, version::Model)) -> Result<Deal, StoreError> {
    let terms = serde_json::from_str(&row.terms);
    let terms = terms.map_err(|error| StoreError::inconsistent("revenue_deal_version", error))?;
    Ok(Deal { head, version: row.version, terms, set_at: row.created_at, is_end: row.is_end })
}

/// Reads heads and terms in one statement, so that no change comes between the two; of each deal the oldest version first.
async fn with_terms(tx: &Tx, select: Select<head::Entity>, join: RelationDef) -> Result<Vec<Deal>, StoreError> {
    let rows = select
        .join(JoinType::InnerJoin, join)
        .order_by_asc(head::Column::Id)
        .order_by_asc(version::Column::Version)
        .select_two_required(version::Entity)
        .all(tx.connection())
        .await?;
    rows.into_iter().map(deal).collect()
}

fn current() -> RelationDef {
    head::Entity::belongs_to(version::Entity)
        .from((head::Column::TenantId, head::Column::Id, head::Column::CurrentVersion))
        .to((version::Column::TenantId, version::Column::DealId, version::Column::Version))
        .into()
}

/// # Errors
/// As the database answers.
pub async fn get_many(tx: &Tx, ids: &[RevenueDealId]) -> Result<Vec<Deal>, StoreError> {
    let select = tx.find::<head::Entity>().filter(any_of(head::Column::Id, ids.iter().copied()));
    with_terms(tx, select, current()).await
}

/// The deals of campaigns, archived ones too, oldest first.
///
/// # Errors
/// As the database answers.
pub async fn of_campaigns(tx: &Tx, ids: &[CampaignId]) -> Result<Vec<Deal>, StoreError> {
    let select = tx.find::<head::Entity>().filter(any_of(head::Column::CampaignId, ids.iter().copied()));
    with_terms(tx, select, current()).await
}

/// All versions of a campaign's deals, archived ones too; of each deal the oldest first.
///
/// # Errors
/// As the database answers.
pub async fn versions(tx: &Tx, id: CampaignId) -> Result<Vec<Deal>, StoreError> {
    let every = head::Entity::belongs_to(version::Entity)
        .from((head::Column::TenantId, head::Column::Id))
        .to((version::Column::TenantId, version::Column::DealId))
        .into();
    with_terms(tx, tx.find::<head::Entity>().filter(head::Column::CampaignId.eq(id)), every).await
}

/// Reads the head of the deal of an affiliate in a campaign, or of all others in it, to change it: nobody else can until
/// the transaction ends.
///
/// # Errors
/// As the database answers.
pub async fn lock_of(
    tx: &Tx,
    campaign_id: CampaignId,
    affiliate_id: Option<AffiliateId>,
) -> Result<Option<head::Model>, StoreError> {
    let whose = affiliate_id.map_or(head::Column::AffiliateId.is_null(), |id| head::Column::AffiliateId.eq(id));
    let select = tx.find::<head::Entity>().filter(head::Column::CampaignId.eq(campaign_id)).filter(whose);
    Ok(dialect::lock(tx, select).one(tx.connection()).await?)
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
