//! Whom a conversion credits besides the affiliate in its own row.

use sea_orm::entity::prelude::*;

use crate::ids::{AffiliateId, ConversionId, TenantId};

table! {
    /// An affiliate with a smaller share of a conversion.
    "conversion_affiliate" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        affiliate_id: AffiliateId,
        #[sea_orm(primary_key, auto_increment = false)]
        conversion_id: ConversionId,
    }
    affiliate AffiliateId;
}
