//! Customers who qualified for a fixed amount, each once in a campaign.

use sea_orm::entity::prelude::*;

use crate::ids::{AffiliateId, CampaignId, RevenueSettlementId, TenantId};

table! {
    /// A customer who qualified. Never changed.
    "revenue_qualification" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        campaign_id: CampaignId,
        /// The tenant's own customer reference.
        #[sea_orm(primary_key, auto_increment = false)]
        customer_id: String,
        affiliate_id: AffiliateId,
        settlement_id: RevenueSettlementId,
        amount_minor: i64,
    }
    affiliate AffiliateId;
}
