//! What clicks earned that is not posted yet.

use sea_orm::entity::prelude::*;

use crate::ids::{AffiliateId, CampaignId, TenantId};

table! {
    /// What the clicks of an affiliate in a campaign earned since it was posted last, with what could not be posted then.
    "click_accrual" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        campaign_id: CampaignId,
        #[sea_orm(primary_key, auto_increment = false)]
        affiliate_id: AffiliateId,
        /// Unique valid clicks since it was posted last.
        clicks: i64,
        /// Millionths of the major unit of the campaign's currency.
        accrued_micros: i64,
    }
    affiliate AffiliateId;
}
