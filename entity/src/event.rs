//! The event log: every change that anyone may watch, in commit order, without gaps.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{AffiliateId, CampaignId, TenantId},
    kinds::EventKind,
};

table! {
    /// One change. The log is the truth of every subscription.
    "event" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        /// 1, 2, 3.. per tenant, in commit order.
        #[sea_orm(primary_key, auto_increment = false)]
        seq: i64,
        kind: EventKind,
        /// Which object changed; the kind tells its type.
        subject_id: Uuid,
        campaign_id: Option<CampaignId>,
        /// Whose it is: an affiliate's subscriptions see no other.
        affiliate_id: Option<AffiliateId>,
        /// Whose it is besides: their UUIDs, comma separated.
        #[serde(default)]
        further_affiliates: Option<String>,
        /// JSON snapshot of the subject at this moment.
        payload: String,
        recorded_at: Instant,
    }
    affiliate AffiliateId;
}
