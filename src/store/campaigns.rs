//! Campaigns.

use sea_orm::{ColumnTrait, Condition, QueryFilter, QuerySelect, QueryTrait, Select, sea_query::Query};
use tributary_entity::{
    campaign, enrollment,
    ids::CampaignId,
    kinds::{CampaignStatus, EnrollmentStatus},
    scope::Scoped,
};

use super::{
    dialect,
    error::StoreError,
    page,
    scope::{Tx, any_of},
};
use crate::domain::{
    campaign::CampaignFilter,
    page::{Page, PageRequest},
    tenancy::Ring,
};

/// Campaigns that the scope may see: all for the tenant; for an affiliate those it is enrolled in and the public ones
/// that run.
fn visible(tx: &Tx) -> Select<campaign::Entity> {
    let select = tx.find::<campaign::Entity>();
    match tx.scope().ring() {
        Ring::Tenant => select,
        Ring::Affiliate(id) => {
            let enrolled = Query::select()
                .column(enrollment::Column::CampaignId)
                .from(enrollment::Entity)
                .cond_where(enrollment::Column::TenantId.eq(tx.scope().tenant_id()))
                .cond_where(enrollment::Column::AffiliateId.eq(id))
                .cond_where(enrollment::Column::Status.ne(EnrollmentStatus::Rejected))
                .take();
            select.filter(
                Condition::any().add(campaign::Column::Id.in_subquery(enrolled)).add(
                    Condition::all()
                        .add(campaign::Column::IsPublic.eq(true))
                        .add(campaign::Column::Status.eq(CampaignStatus::Active)),
                ),
            )
        }
    }
}

/// Narrows rows that belong to campaigns to those whose campaign the scope may see.
pub(super) fn within_visible<E: Scoped>(tx: &Tx, select: Select<E>, campaign_id: E::Column) -> Select<E> {
    match tx.scope().ring() {
        Ring::Tenant => select,
        Ring::Affiliate(_) => {
            let campaigns = visible(tx).select_only().column(campaign::Column::Id).into_query();
            select.filter(campaign_id.in_subquery(campaigns))
        }
    }
}

fn filtered(tx: &Tx, filter: &CampaignFilter) -> Select<campaign::Entity> {
    let mut select = visible(tx);
    if let Some(statuses) = &filter.statuses {
        select = select.filter(any_of(campaign::Column::Status, statuses.iter().copied()));
    }
    if let Some(part) = &filter.name_contains {
        select = select.filter(page::contains(campaign::Column::Name, part));
    }
    select
}

/// # Errors
/// As the database answers.
pub async fn get(tx: &Tx, id: CampaignId) -> Result<Option<campaign::Model>, StoreError> {
    Ok(visible(tx).filter(campaign::Column::Id.eq(id)).one(tx.connection()).await?)
}

/// # Errors
/// As the database answers.
pub async fn get_many(tx: &Tx, ids: &[CampaignId]) -> Result<Vec<campaign::Model>, StoreError> {
    Ok(visible(tx).filter(any_of(campaign::Column::Id, ids.iter().copied())).all(tx.connection()).await?)
}

/// Reads a campaign to change it: nobody else can until the transaction ends.
///
/// # Errors
/// As the database answers.
pub async fn lock(tx: &Tx, id: CampaignId) -> Result<Option<campaign::Model>, StoreError> {
    Ok(dialect::lock(tx, tx.by_id::<campaign::Entity>(id)).one(tx.connection()).await?)
}

/// # Errors
/// As the database answers.
pub async fn list(
    tx: &Tx,
    filter: &CampaignFilter,
    request: &PageRequest,
) -> Result<Page<campaign::Model>, StoreError> {
    page::page(tx, filtered(tx, filter), request, None).await
}

/// # Errors
/// As the database answers.
pub async fn count(tx: &Tx, filter: &CampaignFilter) -> Result<i64, StoreError> {
    page::count(tx, filtered(tx, filter)).await
}

/// # Errors
/// As the database answers.
pub async fn insert(tx: &mut Tx, row: campaign::Model) -> Result<(), StoreError> {
    tx.insert::<campaign::Entity>(row).await
}

/// # Errors
/// As the database answers.
pub async fn update(tx: &mut Tx, row: campaign::Model) -> Result<(), StoreError> {
    tx.save::<campaign::Entity>(row.id, row).await
}
