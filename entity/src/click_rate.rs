//! Click rates: what clicks of a campaign, or of a group or one affiliate in it, earn.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{AffiliateGroupId, AffiliateId, CampaignId, ClickRateId, TenantId},
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
        /// Whose own it is.
        affiliate_id: Option<AffiliateId>,
        /// The group whose affiliates it is for. Neither is for all affiliates without one of their own or of their group.
        group_id: Option<AffiliateGroupId>,
        current_version: i32,
        status: RuleStatus,
        created_at: Instant,
        updated_at: Instant,
    }
    id ClickRateId;
}
