//! What revenue settlements leave to the next ones.

use sea_orm::entity::prelude::*;

use crate::ids::{RevenueSettlementId, TenantId};

table! {
    /// What the period after a settlement begins with. Never changed.
    "revenue_carried" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        settlement_id: RevenueSettlementId,
        /// JSON of `domain::revenue_settlement::Carried`.
        carried: String,
    }
}
