//! Bonus rules: what an affiliate who brings enough in a period is given.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{BonusRuleId, CampaignId, TenantId},
    kinds::{CapPeriod, RuleStatus, TierBasis},
    money::Currency,
};

table! {
    /// A rule; its terms never change.
    "bonus_rule" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        id: BonusRuleId,
        /// None counts what is brought in all campaigns.
        campaign_id: Option<CampaignId>,
        /// The reason of what it gives, for affiliates to read.
        name: String,
        basis: TierBasis,
        /// Conversions, or minor units of `currency`; inclusive.
        threshold: i64,
        period: CapPeriod,
        amount_minor: i64,
        /// Of the amount, and of the sales that count.
        currency: Currency,
        hold_secs: i64,
        /// From the end of a period until it is decided.
        wait_days: i32,
        status: RuleStatus,
        /// Where the first period begins that is not decided; of a rule for life, the first day.
        decided_until: Instant,
        created_at: Instant,
        updated_at: Instant,
    }
    id BonusRuleId;
}
