//! Revenue settlements, and the customers who qualified in them.

use sea_orm::{ColumnTrait, QueryFilter, QueryOrder, QuerySelect, Select};
use tributary_entity::{
    ids::RevenueSettlementId,
    revenue_carried, revenue_qualification,
    revenue_settlement::{Column, Entity, Model},
};

use super::{
    error::StoreError,
    page,
    revenue_records::Key,
    scope::{Tx, any_of},
};
use crate::domain::{
    page::{Page, PageRequest},
    revenue_settlement::{Carried, SettlementFilter},
};

fn filtered(tx: &Tx, filter: &SettlementFilter) -> Select<Entity> {
    let mut select = tx.visible::<Entity>();
    if let Some(ids) = &filter.affiliate_ids {
        select = select.filter(any_of(Column::AffiliateId, ids.iter().copied()));
    }
    if let Some(ids) = &filter.campaign_ids {
        select = select.filter(any_of(Column::CampaignId, ids.iter().copied()));
    }
    select
}

/// # Errors
/// As the database answers.
pub async fn list(tx: &Tx, filter: &SettlementFilter, request: &PageRequest) -> Result<Page<Model>, StoreError> {
    page::page(tx, filtered(tx, filter), request, None).await
}

/// # Errors
/// As the database answers.
pub async fn count(tx: &Tx, filter: &SettlementFilter) -> Result<i64, StoreError> {
    page::count(tx, filtered(tx, filter)).await
}

/// # Errors
/// As the database answers.
pub async fn get_many(tx: &Tx, ids: &[RevenueSettlementId]) -> Result<Vec<Model>, StoreError> {
    let select = tx.visible::<Entity>().filter(any_of(Column::Id, ids.iter().copied()));
    Ok(select.all(tx.connection()).await?)
}

/// The newest period that was settled.
///
/// # Errors
/// As the database answers.
pub async fn newest(tx: &Tx, key: Key) -> Result<Option<Model>, StoreError> {
    let select = tx.find::<Entity>().filter(Column::CampaignId.eq(key.0)).filter(Column::AffiliateId.eq(key.1));
    Ok(select.order_by_desc(Column::PeriodEnd).limit(1).one(tx.connection()).await?)
}

/// # Errors
/// As the database answers.
pub async fn insert(tx: &mut Tx, row: Model) -> Result<(), StoreError> {
    tx.insert::<Entity>(row).await
}

/// What a settlement left to the next one.
///
/// # Errors
/// As the database answers; `Inconsistent` when it is not there or cannot be read.
pub async fn carried(tx: &Tx, id: RevenueSettlementId) -> Result<Carried, StoreError> {
    let select = tx.find::<revenue_carried::Entity>().filter(revenue_carried::Column::SettlementId.eq(id));
    let row = select.one(tx.connection()).await?;
    let row = row.ok_or_else(|| StoreError::inconsistent("revenue_carried", "nothing of a settlement"))?;
    serde_json::from_str(&row.carried).map_err(|error| StoreError::inconsistent("revenue_carried", error))
}

/// # Errors
/// As the database answers.
pub async fn insert_carried(tx: &mut Tx, id: RevenueSettlementId, carried: &Carried) -> Result<(), StoreError> {
    let carried = serde_json::to_string(carried);
    let carried = carried.map_err(|error| StoreError::inconsistent("revenue_carried", error))?;
    let row = revenue_carried::Model { tenant_id: tx.scope().tenant_id(), settlement_id: id, carried };
    tx.insert::<revenue_carried::Entity>(row).await
}

/// # Errors
/// As the database answers.
pub async fn insert_qualified(tx: &mut Tx, rows: Vec<revenue_qualification::Model>) -> Result<(), StoreError> {
    tx.insert_all::<revenue_qualification::Entity>(rows).await
}
