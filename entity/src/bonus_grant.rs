//! What bonus rules gave: one award for each affiliate and period.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{AffiliateId, AwardId, BonusRuleId, TenantId},
};

table! {
    /// An award that a rule gave.
    "bonus_grant" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        rule_id: BonusRuleId,
        #[sea_orm(primary_key, auto_increment = false)]
        affiliate_id: AffiliateId,
        /// Of a rule for life always the same.
        #[sea_orm(primary_key, auto_increment = false)]
        period_start: Instant,
        award_id: AwardId,
        created_at: Instant,
    }
}
