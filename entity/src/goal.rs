//! Goals: action types inside a campaign.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{CampaignId, GoalId, TenantId},
    kinds::GoalStatus,
};

table! {
    /// An action type inside a campaign.
    "goal" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        id: GoalId,
        campaign_id: CampaignId,
        /// What senders of conversions name; unique in the campaign.
        code: String,
        name: String,
        /// A click converts at most once for this goal.
        once_per_click: bool,
        status: GoalStatus,
        created_at: Instant,
    }
    id GoalId;
}
