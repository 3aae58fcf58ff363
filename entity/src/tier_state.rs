//! What tiers have counted.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{AffiliateId, CommissionRuleId, TenantId},
    kinds::CapPeriod,
};

table! {
    /// What a rule's tiers have counted of an affiliate in a period.
    "tier_state" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        affiliate_id: AffiliateId,
        #[sea_orm(primary_key, auto_increment = false)]
        rule_id: CommissionRuleId,
        #[sea_orm(primary_key, auto_increment = false)]
        period: CapPeriod,
        #[sea_orm(primary_key, auto_increment = false)]
        period_start: Instant,
        conversions: i64,
        /// In the campaign's currency.
        sale_minor: i64,
    }
    affiliate AffiliateId;
}
