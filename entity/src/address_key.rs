//! Keys of address hashes: one a day and tenant, destroyed after the fraud window.

use sea_orm::entity::prelude::*;

use crate::ids::TenantId;

table! {
    /// The key by which a tenant's visitors are told apart on one day, UTC.
    "address_key" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        day: Date,
        /// 32 random bytes.
        key: Vec<u8>,
    }
}
