//! Exchange rates, append-only: a correction is another row.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{FxRateId, TenantId},
    kinds::FxSource,
    money::Currency,
};

table! {
    /// What one currency was worth in another on a day. Of several of one source, pair and day the newest counts.
    "fx_rate" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        id: FxRateId,
        source: FxSource,
        /// One unit of it.
        base: Currency,
        /// Is worth `rate_e12 / 10^12` units of this.
        quote: Currency,
        rate_e12: i64,
        /// The day from which it holds.
        valid_on: chrono::NaiveDate,
        author: String,
        created_at: Instant,
    }
    id FxRateId;
}
