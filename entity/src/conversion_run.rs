//! Runs over many conversions.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{ConversionRunId, TenantId},
    kinds::{ConversionReason, ConversionRunAction, ConversionRunStatus},
};

table! {
    /// What to do with which conversions, and how far it has come.
    "conversion_run" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        id: ConversionRunId,
        status: ConversionRunStatus,
        action: ConversionRunAction,
        /// None where nothing is refused or taken back.
        reason: Option<ConversionReason>,
        /// Of each sale, in millionths; none but where a part is taken back or another amount given.
        part_ppm: Option<i64>,
        /// JSON of `domain::conversion_run::Selection`.
        selection: String,
        note: Option<String>,
        /// Who asked for it, in `kind:id` form.
        author: String,
        /// When it was asked for.
        conversions_total: i64,
        conversions_seen: i64,
        conversions_changed: i64,
        /// The newest conversion that it is about; none where there is none.
        until_id: Option<Uuid>,
        /// The last conversion that was looked at: where the run goes on.
        seen_id: Option<Uuid>,
        created_at: Instant,
        updated_at: Instant,
        /// Done, cancelled or given up.
        finished_at: Option<Instant>,
    }
    id ConversionRunId;
}
