//! Balances that decide something: the accounts of affiliates.

use sea_orm::entity::prelude::*;

use crate::ids::{AccountId, TenantId};

table! {
    /// The balance of an affiliate's account on its normal side, never negative; changed only by one guarded update.
    "balance" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        account_id: AccountId,
        amount_minor: i64,
        /// Grows by one with each change.
        version: i64,
    }
}
