//! Revenue deals: what affiliates have of their customers' net revenue in a campaign.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{AffiliateId, CampaignId, RevenueDealId, TenantId},
    kinds::RuleStatus,
};

table! {
    /// A deal's identity; its terms are in `revenue_deal_version`.
    "revenue_deal" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        id: RevenueDealId,
        campaign_id: CampaignId,
        /// None is for all affiliates without a deal of their own.
        affiliate_id: Option<AffiliateId>,
        current_version: i32,
        status: RuleStatus,
        created_at: Instant,
        updated_at: Instant,
    }
    id RevenueDealId;
}
