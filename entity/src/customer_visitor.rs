//! The visitors that a tenant's customers were.

use sea_orm::entity::prelude::*;

use crate::{Instant, ids::TenantId};

table! {
    /// A customer who came as a visitor; one may have been several, on several devices.
    "customer_visitor" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        /// The tenant's own reference.
        #[sea_orm(primary_key, auto_increment = false)]
        customer_id: String,
        /// As clicks carry it.
        #[sea_orm(primary_key, auto_increment = false)]
        visitor_id: String,
        bound_at: Instant,
    }
}
