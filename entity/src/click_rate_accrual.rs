//! What clicks earned by each version of a rate.

use sea_orm::entity::prelude::*;

use crate::ids::{AffiliateId, CampaignId, ClickRateId, TenantId};

table! {
    /// What the clicks of an affiliate in a campaign ever earned by a version of a rate and a modifier.
    "click_rate_accrual" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        campaign_id: CampaignId,
        #[sea_orm(primary_key, auto_increment = false)]
        affiliate_id: AffiliateId,
        #[sea_orm(primary_key, auto_increment = false)]
        rate_id: ClickRateId,
        #[sea_orm(primary_key, auto_increment = false)]
        rate_version: i32,
        /// Millionths on top of the rate, of the affiliate's group.
        #[sea_orm(primary_key, auto_increment = false)]
        modifier_ppm: i64,
        /// Unique valid clicks.
        clicks: i64,
        /// Millionths of the major unit of the campaign's currency.
        accrued_micros: i64,
        /// Of how many of the clicks it is posted.
        posted_clicks: i64,
    }
    affiliate AffiliateId;
}
