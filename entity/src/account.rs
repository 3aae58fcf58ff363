//! Ledger accounts.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{AccountId, AffiliateId, TenantId},
    kinds::PayoutMethod,
    money::Currency,
};

table! {
    /// A ledger account: one code, one owner, one currency.
    "account" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        /// Derived from code, owner and currency, so that no look-up is needed to post.
        #[sea_orm(primary_key, auto_increment = false)]
        id: AccountId,
        /// From the chart in `domain::ledger`.
        code: i32,
        /// The owner of an affiliate's account.
        affiliate_id: Option<AffiliateId>,
        /// The owner of a processor's account; without either owner it is the tenant's.
        processor: Option<PayoutMethod>,
        currency: Currency,
        created_at: Instant,
    }
    id AccountId;
    affiliate AffiliateId;
}
