//! Coupons: codes that lead a sale to an affiliate without a click.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{AffiliateId, CampaignId, CouponId, TenantId},
    kinds::CouponStatus,
};

table! {
    /// A code that stands for one affiliate in one campaign.
    "coupon" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        id: CouponId,
        campaign_id: CampaignId,
        affiliate_id: AffiliateId,
        /// In upper case; unique in the campaign.
        code: String,
        status: CouponStatus,
        created_at: Instant,
        updated_at: Instant,
    }
    id CouponId;
    affiliate AffiliateId;
}
