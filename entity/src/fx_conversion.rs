//! Balances of affiliates that were converted into another currency, append-only.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{AffiliateId, FxConversionId, TenantId},
    money::Currency,
};

table! {
    /// A part of an affiliate's available balance that became one of another currency.
    "fx_conversion" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        id: FxConversionId,
        affiliate_id: AffiliateId,
        from_minor: i64,
        from_currency: Currency,
        to_minor: i64,
        to_currency: Currency,
        /// The exchange rate that was used, as JSON of `domain::fx_rate::Quote`.
        fx: String,
        note: Option<String>,
        author: String,
        created_at: Instant,
    }
    id FxConversionId;
    affiliate AffiliateId;
}
