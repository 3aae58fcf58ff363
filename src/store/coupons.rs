//! Coupons.

use sea_orm::{ColumnTrait, QueryFilter, Select};
use tributary_entity::{coupon, ids::CouponId, kinds::CouponStatus};

use super::{
    dialect,
    error::StoreError,
    page,
    scope::{Tx, any_of},
};
use crate::domain::{
    coupon::CouponFilter,
    page::{Page, PageRequest},
};

fn filtered(tx: &Tx, filter: &CouponFilter) -> Select<coupon::Entity> {
    use coupon::Column;
    let mut select = tx.visible::<coupon::Entity>();
    if let Some(ids) = &filter.campaign_ids {
        select = select.filter(any_of(Column::CampaignId, ids.iter().copied()));
    }
    if let Some(ids) = &filter.affiliate_ids {
        select = select.filter(any_of(Column::AffiliateId, ids.iter().copied()));
    }
    if let Some(statuses) = &filter.statuses {
        select = select.filter(any_of(Column::Status, statuses.iter().copied()));
    }
    if let Some(codes) = &filter.codes {
        select = select.filter(any_of(Column::Code, codes.iter().cloned()));
    }
    select
}

/// # Errors
/// As the database answers.
pub async fn get(tx: &Tx, id: CouponId) -> Result<Option<coupon::Model>, StoreError> {
    Ok(tx.visible::<coupon::Entity>().filter(coupon::Column::Id.eq(id)).one(tx.connection()).await?)
}

/// # Errors
/// As the database answers.
pub async fn get_many(tx: &Tx, ids: &[CouponId]) -> Result<Vec<coupon::Model>, StoreError> {
    let select = tx.visible::<coupon::Entity>().filter(any_of(coupon::Column::Id, ids.iter().copied()));
    Ok(select.all(tx.connection()).await?)
}

/// The active coupons with these codes, of all campaigns.
///
/// # Errors
/// As the database answers.
pub async fn active_with_codes(tx: &Tx, codes: &[String]) -> Result<Vec<coupon::Model>, StoreError> {
    let mut coupons = Vec::new();
    for chunk in codes.chunks(1_000) {
        let select = tx
            .find::<coupon::Entity>()
            .filter(any_of(coupon::Column::Code, chunk.iter().cloned()))
            .filter(coupon::Column::Status.eq(CouponStatus::Active));
        coupons.extend(select.all(tx.connection()).await?);
    }
    Ok(coupons)
}

/// Reads a coupon to change it: nobody else can until the transaction ends.
///
/// # Errors
/// As the database answers.
pub async fn lock(tx: &Tx, id: CouponId) -> Result<Option<coupon::Model>, StoreError> {
    let select = tx.visible::<coupon::Entity>().filter(coupon::Column::Id.eq(id));
    Ok(dialect::lock(tx, select).one(tx.connection()).await?)
}

/// # Errors
/// As the database answers.
pub async fn list(tx: &Tx, filter: &CouponFilter, request: &PageRequest) -> Result<Page<coupon::Model>, StoreError> {
    page::page(tx, filtered(tx, filter), request, None).await
}

/// # Errors
/// As the database answers.
pub async fn count(tx: &Tx, filter: &CouponFilter) -> Result<i64, StoreError> {
    page::count(tx, filtered(tx, filter)).await
}

/// # Errors
/// `Constraint::CouponCode` when the campaign has a coupon with this code.
pub async fn insert(tx: &mut Tx, row: coupon::Model) -> Result<(), StoreError> {
    tx.insert::<coupon::Entity>(row).await
}

/// # Errors
/// As the database answers.
pub async fn update(tx: &mut Tx, row: coupon::Model) -> Result<(), StoreError> {
    tx.save::<coupon::Entity>(row.id, row).await
}
