//! Hourly totals for reports, kept in the transaction of the facts they count.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{AffiliateId, CampaignId, TenantId},
    money::Currency,
};

table! {
    /// Totals of one hour, campaign, affiliate and currency. Rejected conversions count nowhere.
    "rollup_hourly" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        /// Start of the hour, UTC, of `occurred_at`.
        #[sea_orm(primary_key, auto_increment = false)]
        bucket_at: Instant,
        #[sea_orm(primary_key, auto_increment = false)]
        campaign_id: CampaignId,
        #[sea_orm(primary_key, auto_increment = false)]
        affiliate_id: AffiliateId,
        #[sea_orm(primary_key, auto_increment = false)]
        currency: Currency,
        clicks_gross: i64,
        /// Unique and valid.
        clicks_unique: i64,
        clicks_invalid: i64,
        conversions: i64,
        sale_minor: i64,
        commission_minor: i64,
    }
    affiliate AffiliateId;
}
