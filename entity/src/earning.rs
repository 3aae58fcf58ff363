//! Projection of what is not yet in the ledger: commissions of conversions that nobody approved so far.

use sea_orm::entity::prelude::*;

use crate::{
    ids::{AffiliateId, TenantId},
    money::Currency,
};

table! {
    /// Unapproved commission of one affiliate in one currency.
    "earning" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        affiliate_id: AffiliateId,
        #[sea_orm(primary_key, auto_increment = false)]
        currency: Currency,
        unapproved_minor: i64,
    }
    affiliate AffiliateId;
}
