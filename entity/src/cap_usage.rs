//! What is used of caps.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{CapId, TenantId},
};

table! {
    /// What a period has used of a cap.
    "cap_usage" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        cap_id: CapId,
        #[sea_orm(primary_key, auto_increment = false)]
        period_start: Instant,
        used: i64,
    }
}
