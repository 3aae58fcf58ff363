//! What rating anew added to and took from commissions.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{AffiliateId, CommissionRuleId, ConversionId, JournalId, TenantId},
    money::Currency,
};

table! {
    /// What a commission gained or lost when a tier was reached or lost.
    "tier_adjustment" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        conversion_id: ConversionId,
        #[sea_orm(primary_key, auto_increment = false)]
        affiliate_id: AffiliateId,
        /// The conversion's version with it.
        #[sea_orm(primary_key, auto_increment = false)]
        version: i32,
        /// As in the commission: of an override, whose own commission it is on.
        #[serde(default)]
        base_affiliate_id: Option<AffiliateId>,
        rule_id: CommissionRuleId,
        from_step: i64,
        to_step: i64,
        /// Of what was reckoned; signed.
        amount_minor: i64,
        /// Of that, what belongs to what was taken back already: it was taken with it, or given again.
        reversed_minor: i64,
        currency: Currency,
        /// None while the conversion is not approved.
        journal_id: Option<JournalId>,
        recorded_at: Instant,
    }
    affiliate AffiliateId;
}
