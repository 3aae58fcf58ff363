//! Versions of commission rules: the terms, never changed once written.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{CommissionRuleId, TenantId},
    kinds::RuleKind,
};

table! {
    /// The terms of a rule from one moment on. A change is a new version, so that past conversions keep theirs.
    "commission_rule_version" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        rule_id: CommissionRuleId,
        /// From 1.
        #[sea_orm(primary_key, auto_increment = false)]
        version: i32,
        kind: RuleKind,
        /// Minor units of the campaign's currency per conversion; 0 where the kind has no flat part.
        flat_minor: i64,
        /// Millionths of the sale amount; 0 where the kind has no share.
        rate_ppm: i64,
        /// The flat part is taken back with parts of the sale; else with the whole of it only.
        is_flat_refunded_in_part: bool,
        /// JSON of `domain::commission::Plan`: criteria, recurrence, tiers; none where there are none.
        plan: Option<String>,
        created_at: Instant,
    }
}
