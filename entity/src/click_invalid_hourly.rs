//! Hourly counts of clicks that do not count, by reason.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{AffiliateId, CampaignId, TenantId},
    kinds::ClickInvalidReason,
};

table! {
    /// Invalid clicks of one hour, campaign, affiliate and reason. Over all reasons they sum to the rollup's.
    "click_invalid_hourly" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        /// Start of the hour, UTC, of `occurred_at`.
        #[sea_orm(primary_key, auto_increment = false)]
        bucket_at: Instant,
        #[sea_orm(primary_key, auto_increment = false)]
        campaign_id: CampaignId,
        #[sea_orm(primary_key, auto_increment = false)]
        affiliate_id: AffiliateId,
        #[sea_orm(primary_key, auto_increment = false)]
        reason: ClickInvalidReason,
        clicks: i64,
    }
    affiliate AffiliateId;
}
