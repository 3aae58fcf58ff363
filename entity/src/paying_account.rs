//! Paying accounts: the tenant's own, from which files say that payouts are paid.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{PayingAccountId, TenantId},
    kinds::PayoutMethod,
};

table! {
    /// The tenant's account for one method. Never changed but for its end: files that were written name it.
    "paying_account" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        id: PayingAccountId,
        method: PayoutMethod,
        /// The account, as JSON.
        account: String,
        /// The account as far as its owner needs to know it again.
        mask: String,
        /// Who set it.
        author: String,
        created_at: Instant,
        /// When another one took its place.
        ended_at: Option<Instant>,
    }
    id PayingAccountId;
}
