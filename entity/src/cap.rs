//! Caps: limits of what a campaign or an enrollment takes.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{AffiliateId, CampaignId, CapId, EnrollmentId, TenantId},
    kinds::{CapMetric, CapPeriod, CapStatus},
};

table! {
    /// The most that a campaign, or one affiliate in it, may bring in a period.
    "cap" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        id: CapId,
        campaign_id: CampaignId,
        /// None limits the whole campaign.
        enrollment_id: Option<EnrollmentId>,
        /// The enrollment's affiliate.
        affiliate_id: Option<AffiliateId>,
        metric: CapMetric,
        period: CapPeriod,
        /// A count, or minor units of the campaign's currency.
        amount: i64,
        status: CapStatus,
        created_at: Instant,
        updated_at: Instant,
    }
    id CapId;
    affiliate AffiliateId;
}
