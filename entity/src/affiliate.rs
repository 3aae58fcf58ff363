//! Affiliates: who promotes.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{AffiliateId, TenantId},
    kinds::AffiliateStatus,
};

table! {
    /// Who promotes.
    "affiliate" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        id: AffiliateId,
        name: String,
        /// Lower case; unique among the tenant's affiliates.
        email: String,
        company: Option<String>,
        status: AffiliateStatus,
        created_at: Instant,
        updated_at: Instant,
    }
    id AffiliateId;
    affiliate Id;
}
