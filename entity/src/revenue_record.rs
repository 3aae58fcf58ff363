//! Revenue records: what customers brought, as the tenant's servers tell.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{AffiliateId, CampaignId, RevenueRecordId, RevenueSettlementId, TenantId},
    kinds::ConversionReason,
    money::Currency,
};

table! {
    /// What a customer brought on a day. What was sent never changes: what was wrong is put right by another record, which
    /// may be negative.
    "revenue_record" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        id: RevenueRecordId,
        campaign_id: CampaignId,
        /// Whose customer it is; none while nobody is credited with one of its conversions.
        affiliate_id: Option<AffiliateId>,
        /// The tenant's own customer reference.
        customer_id: String,
        /// The sender's own, once in a campaign.
        reference: String,
        /// In the tenant's time zone.
        day: chrono::NaiveDate,
        /// Stakes less winnings.
        ggr_minor: i64,
        bonuses_minor: i64,
        chargebacks_minor: i64,
        /// What the customer paid in.
        deposits_minor: i64,
        stakes_minor: i64,
        currency: Currency,
        /// Why it counts for nothing: its affiliate could not earn when it came. None where it counts.
        reason: Option<ConversionReason>,
        /// The settlement that it is part of; none while it is open, and where it counts for nothing.
        settlement_id: Option<RevenueSettlementId>,
        recorded_at: Instant,
    }
    id RevenueRecordId;
    affiliate AffiliateId;
}
