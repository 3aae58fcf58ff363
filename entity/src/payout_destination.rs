//! Payout destinations: where affiliates want to be paid.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{AffiliateId, PayoutDestinationId, TenantId},
    kinds::PayoutMethod,
    money::Currency,
};

table! {
    /// Where an affiliate is paid in one currency. Never changed but for its end.
    "payout_destination" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        id: PayoutDestinationId,
        affiliate_id: AffiliateId,
        currency: Currency,
        method: PayoutMethod,
        /// Whose account it is, as the bank knows the name.
        holder: String,
        /// The account, as JSON: personal data, for who pays only.
        account: String,
        /// The account as far as its owner needs to know it again.
        mask: String,
        /// Who set it.
        author: String,
        created_at: Instant,
        /// When another one took its place, or it was removed.
        ended_at: Option<Instant>,
    }
    id PayoutDestinationId;
    affiliate AffiliateId;
}
