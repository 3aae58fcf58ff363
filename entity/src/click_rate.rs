//! Click rates: what clicks of a campaign, or of one affiliate in it, earn.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{AffiliateId, CampaignId, ClickRateId, TenantId},
    kinds::RuleStatus,
};

table! {
    /// A rate's identity; its terms are in `click_rate_version`.
    "click_rate" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        id: ClickRateId,
        campaign_id: CampaignId,
        /// None is for all affiliates without a rate of their own.
        affiliate_id: Option<AffiliateId>,
        current_version: i32,
        status: RuleStatus,
        created_at: Instant,
        updated_at: Instant,
    }
    id ClickRateId;
}
