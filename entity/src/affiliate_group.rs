//! Affiliate groups: who is paid alike.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{AffiliateGroupId, TenantId},
};

table! {
    /// Affiliates with rules of their own, or with a percentage on top of what they earn.
    "affiliate_group" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        id: AffiliateGroupId,
        name: String,
        /// Millionths on top of the rate that is chosen.
        modifier_ppm: i64,
        created_at: Instant,
        updated_at: Instant,
    }
    id AffiliateGroupId;
}
