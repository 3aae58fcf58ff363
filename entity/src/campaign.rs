//! Campaigns: the things promoted.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{CampaignId, TenantId},
    kinds::{ApprovalMode, AttributionModel, CampaignStatus},
    money::Currency,
};

table! {
    /// A thing promoted, with its attribution and approval settings.
    "campaign" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        id: CampaignId,
        name: String,
        status: CampaignStatus,
        /// Commission accrues in it; fixed at creation.
        currency: Currency,
        /// Where links lead unless they name their own destination.
        destination_url: String,
        attribution_model: AttributionModel,
        /// A click counts when 0 <= conversion - click <= window.
        attribution_window_secs: i64,
        approval: ApprovalMode,
        /// From approval to payable.
        hold_secs: i64,
        /// Any affiliate sees it and may apply.
        is_public: bool,
        created_at: Instant,
        updated_at: Instant,
    }
    id CampaignId;
}
