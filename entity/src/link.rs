//! Links: tracking links.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{AffiliateId, CampaignId, LinkId, TenantId},
    kinds::LinkStatus,
};

table! {
    /// A tracking link of one affiliate in one campaign.
    "link" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        id: LinkId,
        /// The random public token in `/c/{code}`.
        code: String,
        campaign_id: CampaignId,
        affiliate_id: AffiliateId,
        /// Instead of the campaign's.
        destination_url: Option<String>,
        label: Option<String>,
        status: LinkStatus,
        created_at: Instant,
        updated_at: Instant,
    }
    id LinkId;
    affiliate AffiliateId;
}
