//! What changes of conversions did to commissions.

use sea_orm::entity::prelude::*;

use crate::{
    ids::{AffiliateId, CommissionId, ConversionChangeId, TenantId},
    money::Currency,
};

table! {
    /// What one change did to one commission.
    "conversion_change_line" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        change_id: ConversionChangeId,
        #[sea_orm(primary_key, auto_increment = false)]
        commission_id: CommissionId,
        affiliate_id: AffiliateId,
        /// Negative where it took.
        amount_minor: i64,
        currency: Currency,
    }
    affiliate AffiliateId;
}
