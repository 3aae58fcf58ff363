//! Commissions: what affiliates earn from conversions.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{AffiliateId, CommissionId, CommissionRuleId, ConversionId, TenantId},
    kinds::CommissionStatus,
    money::Currency,
};

table! {
    /// What one affiliate earns from one conversion, or on what another below it earns.
    "commission" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        id: CommissionId,
        conversion_id: ConversionId,
        affiliate_id: AffiliateId,
        /// 0 is the affiliate's own; 1 is earned as the parent of who earned that, 2 as the parent's parent, and so on.
        #[serde(default)]
        level: i32,
        /// Whose own commission an override is on; none on level 0.
        #[serde(default)]
        base_affiliate_id: Option<AffiliateId>,
        status: CommissionStatus,
        amount_minor: i64,
        currency: Currency,
        /// What attribution runs, tiers and adjusted sales added or took since; never more than there is.
        #[serde(default)]
        adjusted_minor: i64,
        /// What was taken back of both together.
        #[serde(default)]
        reversed_minor: i64,
        rule_id: CommissionRuleId,
        rule_version: i32,
        /// JSON of `domain::commission::Explanation`: why this amount.
        explanation: String,
        /// JSON of `domain::commission::caps::Clamp`: what a cap left of it when it last rose after it was earned; none where
        /// none cut it.
        #[serde(default)]
        clamp: Option<String>,
        /// Set by approval.
        payable_at: Option<Instant>,
        released_at: Option<Instant>,
        created_at: Instant,
    }
    id CommissionId;
    affiliate AffiliateId;
}
