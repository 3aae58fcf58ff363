//! Payout terms: when and from how much on affiliates are paid.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{AffiliateId, PayoutTermsId, TenantId},
    money::Currency,
};

table! {
    /// Terms in one currency, of the tenant or of one affiliate.
    "payout_terms" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        id: PayoutTermsId,
        /// None for the tenant's, which those of affiliates fill up from.
        affiliate_id: Option<AffiliateId>,
        currency: Currency,
        /// The least balance that is paid, inclusive; none as the tenant's, or any.
        threshold_minor: Option<i64>,
        /// In the form of `domain::payout_terms`; none as the tenant's, or never by itself.
        schedule: Option<String>,
        /// Of each payout, in millionths, what is withheld as tax; none as the tenant's, or nothing.
        withholding_ppm: Option<i64>,
        /// What an affiliate bears of the cost of each payment; none as the tenant's, or nothing.
        fee_minor: Option<i64>,
        /// Since when the schedule is this one: days before are not due by it.
        scheduled_at: Option<Instant>,
        /// Who set it last, in `kind:id` form.
        author: String,
        created_at: Instant,
        updated_at: Instant,
    }
    id PayoutTermsId;
    affiliate AffiliateId;
}
