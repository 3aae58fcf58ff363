//! Campaigns: the things promoted.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{CampaignId, TenantId},
    kinds::{ApprovalMode, AttributionModel, CampaignStatus},
    money::Currency,
};

table! {
    /// A thing promoted, with its attribution and approval settings.
    "campaign" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        id: CampaignId,
        name: String,
        status: CampaignStatus,
        /// Commission accrues in it; fixed at creation.
        currency: Currency,
        /// Where links lead unless they name their own destination.
        destination_url: String,
        attribution_model: AttributionModel,
        /// A click counts when 0 <= conversion - click <= window.
        attribution_window_secs: i64,
        /// In which a touch loses half its weight, under TIME_DECAY.
        #[serde(default)]
        attribution_half_life_secs: i64,
        /// A conversion that comes sooner after its click is refused.
        #[serde(default)]
        attribution_min_secs: i64,
        /// Where touches are looked for, first to last: [`TouchSource`](crate::kinds::TouchSource)s, comma separated.
        #[serde(default)]
        attribution_sources: String,
        /// How long a conversion waits for a click that is not there yet; 0 refuses it at once.
        #[serde(default)]
        click_wait_secs: i64,
        /// Hosts that a link's visitor may be sent to by `?to=`, as a JSON list; null allows none.
        deep_link_hosts: Option<String>,
        /// Where visitors go whom the campaign does not take.
        fallback_url: Option<String>,
        /// Countries that are taken, as a JSON list of ISO 3166-1 alpha-2 codes; null means all.
        countries: Option<String>,
        /// Devices that are taken, as a JSON list; null means all.
        devices: Option<String>,
        approval: ApprovalMode,
        /// From approval to payable.
        hold_secs: i64,
        /// Any affiliate sees it and may apply.
        is_public: bool,
        created_at: Instant,
        updated_at: Instant,
    }
    id CampaignId;
}
