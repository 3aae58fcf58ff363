//! Versions of click rates, never changed once written.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{ClickRateId, TenantId},
    kinds::ClickRateKind,
};

table! {
    /// What a rate is from one moment on.
    "click_rate_version" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        rate_id: ClickRateId,
        /// From 1.
        #[sea_orm(primary_key, auto_increment = false)]
        version: i32,
        kind: ClickRateKind,
        /// Millionths of the major unit of the campaign's currency, per click or per thousand.
        rate_micros: i64,
        created_at: Instant,
    }
}
