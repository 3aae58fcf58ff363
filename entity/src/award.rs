//! Awards: what affiliates get or lose apart from conversions.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{AffiliateId, AwardId, CampaignId, JournalId, TenantId},
    kinds::{AwardKind, AwardStatus},
    money::Currency,
};

table! {
    /// What an affiliate got or lost at once.
    "award" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        id: AwardId,
        kind: AwardKind,
        affiliate_id: AffiliateId,
        campaign_id: Option<CampaignId>,
        /// Negative where it takes; never zero.
        amount_minor: i64,
        currency: Currency,
        status: AwardStatus,
        /// For the affiliate to read.
        reason: String,
        /// JSON of `domain::award::Step`s: how the amount came about; none where a person said it.
        explanation: Option<String>,
        author: String,
        journal_id: JournalId,
        payable_at: Instant,
        released_at: Option<Instant>,
        created_at: Instant,
    }
    id AwardId;
    affiliate AffiliateId;
}
