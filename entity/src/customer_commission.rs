//! Customers whose commissions end after a time: one row each, held while the next is decided.

use sea_orm::entity::prelude::*;

use crate::ids::{AffiliateId, CampaignId, TenantId};

table! {
    /// A customer of an affiliate in a campaign.
    "customer_commission" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        campaign_id: CampaignId,
        #[sea_orm(primary_key, auto_increment = false)]
        affiliate_id: AffiliateId,
        #[sea_orm(primary_key, auto_increment = false)]
        customer_id: String,
        /// Not counted any more, as nobody asked for it; nodes of the release before still write it.
        conversions: i64,
    }
    affiliate AffiliateId;
}
