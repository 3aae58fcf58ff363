//! What happened to conversions, append-only.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{ConversionId, TenantId},
    kinds::{ConversionReason, ConversionStatus},
};

table! {
    /// One step of one conversion's life.
    "conversion_history" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        conversion_id: ConversionId,
        #[sea_orm(primary_key, auto_increment = false)]
        version: i32,
        /// None for the recording.
        from_status: Option<ConversionStatus>,
        to_status: ConversionStatus,
        reason: Option<ConversionReason>,
        /// Who: a user, key or the system, in `kind:id` form.
        actor: String,
        note: Option<String>,
        recorded_at: Instant,
    }
}
