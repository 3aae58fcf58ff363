//! Versions of override plans: the levels, never changed once written.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{OverridePlanId, TenantId},
};

table! {
    /// The levels of a plan from one moment on. A change is a new version, so that past conversions keep theirs.
    "override_plan_version" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        plan_id: OverridePlanId,
        /// From 1.
        #[sea_orm(primary_key, auto_increment = false)]
        version: i32,
        /// JSON of `domain::override_plan::Level`s, the first above the affiliate first.
        levels: String,
        created_at: Instant,
    }
}
