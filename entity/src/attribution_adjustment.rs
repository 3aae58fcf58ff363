//! What attribution runs added to and took from commissions, append-only.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{AffiliateId, AttributionRunId, ConversionId, JournalId, TenantId},
    money::Currency,
};

table! {
    /// What one run changed of one commission.
    "attribution_adjustment" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        run_id: AttributionRunId,
        #[sea_orm(primary_key, auto_increment = false)]
        conversion_id: ConversionId,
        #[sea_orm(primary_key, auto_increment = false)]
        affiliate_id: AffiliateId,
        /// Of an override, whose own commission it is on; else the affiliate.
        #[sea_orm(primary_key, auto_increment = false)]
        base_affiliate_id: AffiliateId,
        /// Signed, never zero.
        amount_minor: i64,
        currency: Currency,
        /// None while the conversion is not approved: a projection, not in the ledger.
        journal_id: Option<JournalId>,
        recorded_at: Instant,
    }
    affiliate AffiliateId;
}
