//! Touches of attribution decisions with their shares.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{AffiliateId, ClickId, ConversionId, CouponId, TenantId},
};

table! {
    /// One touch of a decision.
    "attribution_touch" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        conversion_id: ConversionId,
        #[sea_orm(primary_key, auto_increment = false)]
        version: i32,
        /// From 0, by time.
        #[sea_orm(primary_key, auto_increment = false)]
        position: i32,
        /// None for a coupon.
        click_id: Option<ClickId>,
        affiliate_id: AffiliateId,
        /// The shares of one decision sum to 1 000 000.
        share_millionths: i32,
        /// The coupon that was used, when it is no click.
        coupon_id: Option<CouponId>,
        /// When the visitor clicked; none for a coupon.
        occurred_at: Option<Instant>,
    }
    affiliate AffiliateId;
}
