//! Versions of revenue deals, never changed once written.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{RevenueDealId, TenantId},
};

table! {
    /// What a deal is from one moment on.
    "revenue_deal_version" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        deal_id: RevenueDealId,
        /// From 1.
        #[sea_orm(primary_key, auto_increment = false)]
        version: i32,
        /// JSON of `domain::revenue_deal::Terms`.
        terms: String,
        /// It is when the deal was archived: from then on there is none.
        is_end: bool,
        created_at: Instant,
    }
}
