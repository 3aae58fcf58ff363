//! Who is above whom among the affiliates.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{AffiliateId, TenantId},
};

table! {
    /// An affiliate's parent. Who has none has no row.
    "affiliate_parent" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        affiliate_id: AffiliateId,
        parent_id: AffiliateId,
        created_at: Instant,
    }
    affiliate AffiliateId;
}
