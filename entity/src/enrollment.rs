//! Enrollments: affiliates in campaigns.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{AffiliateId, CampaignId, CommissionRuleId, EnrollmentId, TenantId},
    kinds::EnrollmentStatus,
};

table! {
    /// An affiliate in a campaign.
    "enrollment" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        id: EnrollmentId,
        campaign_id: CampaignId,
        affiliate_id: AffiliateId,
        status: EnrollmentStatus,
        /// Overrides the campaign's default rules.
        rule_id: Option<CommissionRuleId>,
        created_at: Instant,
        updated_at: Instant,
    }
    id EnrollmentId;
    affiliate AffiliateId;
}
