//! Whom a payout batch passed over, append-only.

use sea_orm::entity::prelude::*;

use crate::{
    ids::{AffiliateId, PayoutBatchId, PayoutId, TenantId},
    kinds::PayoutSkipReason,
};

table! {
    /// An affiliate that a batch could have paid and did not.
    "payout_skip" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        batch_id: PayoutBatchId,
        #[sea_orm(primary_key, auto_increment = false)]
        affiliate_id: AffiliateId,
        reason: PayoutSkipReason,
        /// The open payout that stood in the way.
        payout_id: Option<PayoutId>,
    }
    affiliate AffiliateId;
}
