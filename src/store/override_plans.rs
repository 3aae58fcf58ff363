//! Override plans: heads with the levels of their current version.

use sea_orm::{ColumnTrait, Condition, EntityTrait, JoinType, QueryFilter, QueryOrder, QuerySelect, Select};
use tributary_entity::{
    ids::{CampaignId, OverridePlanId},
    kinds::RuleStatus,
    override_plan as head, override_plan_version as version,
};

use super::{
    dialect,
    error::StoreError,
    scope::{Tx, any_of},
};
use crate::domain::override_plan::{Plan, VERSIONS_SHOWN};

/// Reads heads and current levels in one statement, so that no change comes between the two.
async fn with_terms(tx: &Tx, select: Select<head::Entity>) -> Result<Vec<Plan>, StoreError> {
    let current = head::Entity::belongs_to(version::Entity)
        .from((head::Column::TenantId, head::Column::Id, head::Column::CurrentVersion))
        .to((version::Column::TenantId, version::Column::PlanId, version::Column::Version))
        .into();
    let rows = select
        .join(JoinType::InnerJoin, current)
        .order_by_asc(head::Column::Id)
        .select_two_required(version::Entity)
        .all(tx.connection())
        .await?;
    Ok(rows.into_iter().map(|(head, terms)| Plan { head, terms }).collect())
}

/// # Errors
/// As the database answers.
pub async fn get_many(tx: &Tx, ids: &[OverridePlanId]) -> Result<Vec<Plan>, StoreError> {
    with_terms(tx, tx.find::<head::Entity>().filter(any_of(head::Column::Id, ids.iter().copied()))).await
}

/// The plans of campaigns, archived ones too.
///
/// # Errors
/// As the database answers.
pub async fn of_campaigns(tx: &Tx, ids: &[CampaignId]) -> Result<Vec<Plan>, StoreError> {
    with_terms(tx, tx.find::<head::Entity>().filter(any_of(head::Column::CampaignId, ids.iter().copied()))).await
}

/// The tenant's default, archived or not.
///
/// # Errors
/// As the database answers.
pub async fn default(tx: &Tx) -> Result<Option<Plan>, StoreError> {
    Ok(with_terms(tx, tx.find::<head::Entity>().filter(head::Column::CampaignId.is_null())).await?.pop())
}

/// The active plans of campaigns, and the tenant's default if it is active.
///
/// # Errors
/// As the database answers.
pub async fn in_force(tx: &Tx, ids: &[CampaignId]) -> Result<Vec<Plan>, StoreError> {
    let meant = Condition::any()
        .add(head::Column::CampaignId.is_null())
        .add(any_of(head::Column::CampaignId, ids.iter().copied()));
    let select = tx.find::<head::Entity>().filter(head::Column::Status.eq(RuleStatus::Active));
    with_terms(tx, select.filter(meant)).await
}

/// Reads the head of a campaign's plan, or of the tenant's default, to change it: nobody else can until the transaction
/// ends.
///
/// # Errors
/// As the database answers.
pub async fn lock_of(tx: &Tx, campaign_id: Option<CampaignId>) -> Result<Option<head::Model>, StoreError> {
    let meant = campaign_id.map_or(head::Column::CampaignId.is_null(), |id| head::Column::CampaignId.eq(id));
    Ok(dialect::lock(tx, tx.find::<head::Entity>().filter(meant)).one(tx.connection()).await?)
}

/// Reads a plan's head to change it: nobody else can until the transaction ends.
///
/// # Errors
/// As the database answers.
pub async fn lock(tx: &Tx, id: OverridePlanId) -> Result<Option<head::Model>, StoreError> {
    Ok(dialect::lock(tx, tx.by_id::<head::Entity>(id)).one(tx.connection()).await?)
}

/// The newest versions of plans, at most [`VERSIONS_SHOWN`] of each, newest first. Each plan comes with its current
/// version.
///
/// # Errors
/// As the database answers.
pub async fn versions(tx: &Tx, plans: &[(OverridePlanId, i32)]) -> Result<Vec<version::Model>, StoreError> {
    let mut wanted = Condition::any();
    for (id, current) in plans {
        let newest = Condition::all()
            .add(version::Column::PlanId.eq(*id))
            .add(version::Column::Version.lte(*current))
            .add(version::Column::Version.gt(*current - VERSIONS_SHOWN));
        wanted = wanted.add(newest);
    }
    if plans.is_empty() {
        return Ok(Vec::new());
    }
    let select = tx.find::<version::Entity>().filter(wanted).order_by_desc(version::Column::Version);
    Ok(select.all(tx.connection()).await?)
}

/// Writes a new plan without its first version.
///
/// # Errors
/// `Constraint::OverridePlan` when the campaign has one, or the tenant its default.
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
