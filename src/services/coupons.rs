//! Coupons: create, disable and enable, list.
//!
//! # Decisions
//! - The tenant gives coupons to affiliates, never an affiliate to itself: with a code that customers know it would take
//!   the credit of sales that others brought.

use tributary_entity::{
    coupon,
    ids::CouponId,
    kinds::{CouponStatus, EventKind},
};

use super::{Outcome, ServiceError, Services, campaigns, idempotency};
use crate::{
    ambient,
    auth::Viewer,
    domain::{
        coupon::{self as rules, CouponFilter, NewCoupon},
        event::NewEvent,
        page::{Page, PageRequest},
    },
    store::{affiliates, coupons, error::Constraint, scope::Tx},
};

/// Makes a coupon.
///
/// # Errors
/// The input's problems; `NOT_FOUND` for campaign or affiliate; `INVALID_TRANSITION` when the campaign is archived;
/// `ALREADY_EXISTS` when the campaign has a coupon with this code; `IDEMPOTENCY_CONFLICT`.
pub async fn create(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    input: NewCoupon,
) -> Result<Outcome<coupon::Model>, ServiceError> {
    let input = input.check()?;
    let id = CouponId::from_uuid(ambient::new_uuid());
    let mut tx = services.begin(viewer).await?;
    if let Some(id) = idempotency::claim(services, &mut tx, viewer, key, "createCoupon", &input, id.uuid()).await? {
        return Ok(Outcome::replayed(existing(&tx, CouponId::from_uuid(id)).await?));
    }
    let campaign = campaigns::get_open(&tx, &["campaignId"], input.campaign_id).await?;
    let affiliate = affiliates::get(&tx, input.affiliate_id).await?;
    let affiliate = affiliate.ok_or_else(|| ServiceError::not_found(&["affiliateId"]))?;
    let now = services.now();
    let row = coupon::Model {
        tenant_id: viewer.scope.tenant_id(),
        id,
        campaign_id: campaign.id,
        affiliate_id: affiliate.id,
        code: input.code,
        status: CouponStatus::Active,
        created_at: now,
        updated_at: now,
    };
    let taken = ServiceError::taken(Constraint::CouponCode, &["code"], "the campaign has a coupon with this code");
    coupons::insert(&mut tx, row.clone()).await.map_err(taken)?;
    tx.record(changed(&row));
    services.commit(tx).await?;
    Ok(Outcome::done(row))
}

/// Moves a coupon to another status.
///
/// # Errors
/// `NOT_FOUND`; `INVALID_TRANSITION`; `IDEMPOTENCY_CONFLICT`.
pub async fn set_status(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    id: CouponId,
    status: CouponStatus,
) -> Result<Outcome<coupon::Model>, ServiceError> {
    let mut tx = services.begin(viewer).await?;
    let input = (id, status);
    if idempotency::claim(services, &mut tx, viewer, key, "setCouponStatus", &input, id.uuid()).await?.is_some() {
        return Ok(Outcome::replayed(existing(&tx, id).await?));
    }
    let mut row = coupons::lock(&tx, id).await?.ok_or_else(|| ServiceError::not_found(&["id"]))?;
    row.status = rules::transition(row.status, status)?;
    row.updated_at = services.now();
    coupons::update(&mut tx, row.clone()).await?;
    tx.record(changed(&row));
    services.commit(tx).await?;
    Ok(Outcome::done(row))
}

async fn existing(tx: &Tx, id: CouponId) -> Result<coupon::Model, ServiceError> {
    coupons::get(tx, id).await?.ok_or_else(|| ServiceError::not_found(&["id"]))
}

fn changed(row: &coupon::Model) -> NewEvent {
    NewEvent::new(EventKind::CouponChanged, row.id.uuid(), row, row.updated_at)
        .of_campaign(Some(row.campaign_id))
        .of_affiliate(Some(row.affiliate_id))
}

/// The coupons with these ids that the viewer may see.
///
/// # Errors
/// As the database answers.
pub async fn get_many(
    services: &Services,
    viewer: &Viewer,
    ids: &[CouponId],
) -> Result<Vec<coupon::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(coupons::get_many(&tx, ids).await?)
}

/// A page of the coupons that the viewer may see.
///
/// # Errors
/// As the database answers.
pub async fn list(
    services: &Services,
    viewer: &Viewer,
    filter: &CouponFilter,
    request: &PageRequest,
) -> Result<Page<coupon::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(coupons::list(&tx, filter, request).await?)
}

/// How many coupons a list has.
///
/// # Errors
/// As the database answers.
pub async fn count(services: &Services, viewer: &Viewer, filter: &CouponFilter) -> Result<i64, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(coupons::count(&tx, filter).await?)
}
