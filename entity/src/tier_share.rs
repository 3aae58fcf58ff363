//! A conversion's part of what tiers have counted.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{AffiliateId, CommissionRuleId, ConversionId, TenantId},
    kinds::{CapPeriod, TierMode},
};

table! {
    /// What a conversion adds to a tier's count, and at which step it is rated; gone when the conversion is refused.
    "tier_share" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        conversion_id: ConversionId,
        #[sea_orm(primary_key, auto_increment = false)]
        affiliate_id: AffiliateId,
        rule_id: CommissionRuleId,
        rule_version: i32,
        period: CapPeriod,
        period_start: Instant,
        mode: TierMode,
        /// Adds one to the count; not while the conversion is taken back in full.
        is_counted: bool,
        /// What it adds to the sum of sales, in the campaign's currency: what was not taken back.
        sale_minor: i64,
        /// The threshold of the step that its commission is rated at now; 0 is the rule's own terms.
        step: i64,
        /// It was changed, and what was taken back of it is to be held against its step again.
        is_due: bool,
    }
    affiliate AffiliateId;
}
