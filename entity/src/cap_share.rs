//! What conversions took of caps.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{CapId, ConversionId, TenantId},
};

table! {
    /// A conversion's part of what a period has used of a cap; gone when the conversion is rejected.
    "cap_share" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        conversion_id: ConversionId,
        #[sea_orm(primary_key, auto_increment = false)]
        cap_id: CapId,
        period_start: Instant,
        amount: i64,
    }
}
