//! Revenue settlements: what affiliates got of their customers' net revenue in a period.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{AffiliateId, AwardId, CampaignId, RevenueDealId, RevenueSettlementId, TenantId},
    money::Currency,
};

table! {
    /// A period of an affiliate in a campaign, settled once. Never changed.
    "revenue_settlement" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        id: RevenueSettlementId,
        campaign_id: CampaignId,
        affiliate_id: AffiliateId,
        deal_id: RevenueDealId,
        deal_version: i32,
        /// The first day.
        period_start: chrono::NaiveDate,
        /// The day after the last one.
        period_end: chrono::NaiveDate,
        currency: Currency,
        /// How many records are part of it, and the sum of their gross revenue.
        records: i64,
        ggr_minor: i64,
        /// What was left of it, of customers who are not set apart and before losses of earlier periods.
        ngr_minor: i64,
        /// Of what the share is.
        shared_minor: i64,
        share_minor: i64,
        /// Customers who qualified in it.
        qualified: i64,
        qualified_minor: i64,
        /// JSON of `domain::revenue_settlement::Line`s, from gross revenue to what the share is of.
        lines: String,
        /// What the next periods have to make good; what it is made of is in `revenue_carried`.
        carried_minor: i64,
        /// What posted it; none where nothing was earned.
        award_id: Option<AwardId>,
        created_at: Instant,
    }
    id RevenueSettlementId;
    affiliate AffiliateId;
}
