//! Conversions that a run could not do.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{ConversionId, ConversionRunId, TenantId},
};

table! {
    /// A conversion that a run refused, and why.
    "conversion_run_refusal" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        run_id: ConversionRunId,
        /// As the caller named it; there may be no such.
        #[sea_orm(primary_key, auto_increment = false)]
        conversion_id: ConversionId,
        /// As the API spells problems.
        code: String,
        message: String,
        recorded_at: Instant,
    }
}
