//! Which affiliate is in which group.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{AffiliateGroupId, AffiliateId, TenantId},
};

table! {
    /// An affiliate's group: at most one.
    "affiliate_group_member" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        affiliate_id: AffiliateId,
        group_id: AffiliateGroupId,
        added_at: Instant,
    }
    affiliate AffiliateId;
}
