//! Runs that credit recorded conversions anew.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{AttributionRunId, CampaignId, TenantId},
    kinds::{AttributionModel, AttributionRunStatus},
};

table! {
    /// What to credit anew, by which rules, and how far it has come.
    "attribution_run" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        id: AttributionRunId,
        status: AttributionRunStatus,
        /// None means all.
        campaign_id: Option<CampaignId>,
        /// Conversions of this time, inclusive.
        occurred_from: Instant,
        /// Exclusive.
        occurred_before: Instant,
        model: AttributionModel,
        /// None means each campaign's own, as it was when the conversion's turn came; also of the next two.
        window_secs: Option<i64>,
        half_life_secs: Option<i64>,
        min_secs: Option<i64>,
        reason: String,
        /// Who asked for it, in `kind:id` form.
        author: String,
        /// When it was asked for.
        conversions_total: i64,
        conversions_seen: i64,
        conversions_changed: i64,
        /// The last conversion that was looked at: where the run goes on.
        seen_occurred_at: Option<Instant>,
        seen_id: Option<Uuid>,
        created_at: Instant,
        updated_at: Instant,
        /// Done or given up.
        finished_at: Option<Instant>,
    }
    id AttributionRunId;
}
