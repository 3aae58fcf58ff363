//! Commission rules: heads of versioned terms.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{AffiliateGroupId, CampaignId, CommissionRuleId, GoalId, TenantId},
    kinds::RuleStatus,
};

table! {
    /// A rule's identity; its terms are in `commission_rule_version`.
    "commission_rule" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        id: CommissionRuleId,
        campaign_id: CampaignId,
        /// The goal it is for; none means every goal without a rule of its own.
        goal_id: Option<GoalId>,
        name: String,
        /// Applies to every enrollment that names no rule of its own.
        is_default: bool,
        /// The affiliates it is for, where it is for a group.
        group_id: Option<AffiliateGroupId>,
        /// Its place among the rules of its level; none comes last.
        position: Option<i32>,
        current_version: i32,
        status: RuleStatus,
        created_at: Instant,
        updated_at: Instant,
    }
    id CommissionRuleId;
}
