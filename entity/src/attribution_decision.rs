//! Attribution decisions: who is credited and by which rule, apart from the clicks.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{ConversionId, TenantId},
    kinds::{AttributionModel, TouchSource},
};

table! {
    /// Which model decided, with which window.
    "attribution_decision" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        conversion_id: ConversionId,
        /// From 1; a re-run adds one.
        #[sea_orm(primary_key, auto_increment = false)]
        version: i32,
        model: AttributionModel,
        window_secs: i64,
        // Decisions that were logged before there were these: LAST_CLICK by the click's id.
        #[serde(default)]
        half_life_secs: i64,
        #[serde(default)]
        min_secs: i64,
        /// What led to the touches.
        #[serde(default = "by_click_id")]
        source: TouchSource,
        decided_at: Instant,
    }
}

fn by_click_id() -> TouchSource {
    TouchSource::ClickId
}
