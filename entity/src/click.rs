//! Clicks: recorded visits, immutable.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{AffiliateId, CampaignId, ClickId, LinkId, TenantId},
    kinds::ClickInvalidReason,
};

table! {
    /// One recorded visit through a link; never changed.
    "click" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        id: ClickId,
        link_id: LinkId,
        campaign_id: CampaignId,
        affiliate_id: AffiliateId,
        occurred_at: Instant,
        recorded_at: Instant,
        /// The sender's own mark for the visitor.
        visitor_id: Option<String>,
        /// Placement label.
        source: Option<String>,
        /// `sub1`..`sub10` as a JSON object of the labels that are set.
        labels: Option<String>,
        /// First of its link and visitor inside the campaign's window.
        is_unique: bool,
        invalid_reason: Option<ClickInvalidReason>,
    }
    id ClickId;
    affiliate AffiliateId;
}
