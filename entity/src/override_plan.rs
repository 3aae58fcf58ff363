//! Override plans: what those above an affiliate earn on its commissions.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{CampaignId, OverridePlanId, TenantId},
    kinds::RuleStatus,
};

table! {
    /// A plan's identity; its levels are in `override_plan_version`.
    "override_plan" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        id: OverridePlanId,
        /// None is the tenant's default, for campaigns that have no plan of their own.
        campaign_id: Option<CampaignId>,
        current_version: i32,
        status: RuleStatus,
        created_at: Instant,
        updated_at: Instant,
    }
    id OverridePlanId;
}
