//! Clicks: recorded visits, immutable.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{AffiliateId, CampaignId, ClickId, LinkId, TenantId},
    kinds::{ClickInvalidReason, Device},
};

table! {
    /// One recorded visit through a link; never changed.
    "click" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        id: ClickId,
        link_id: LinkId,
        campaign_id: CampaignId,
        affiliate_id: AffiliateId,
        occurred_at: Instant,
        recorded_at: Instant,
        /// The sender's own mark for the visitor.
        visitor_id: Option<String>,
        /// Placement label.
        source: Option<String>,
        /// `sub1`..`sub10` as a JSON object of the labels that are set.
        labels: Option<String>,
        /// First of its link and visitor inside the campaign's window.
        is_unique: bool,
        invalid_reason: Option<ClickInvalidReason>,
        /// ISO 3166-1 alpha-2, of the visitor's address.
        country: Option<String>,
        device: Option<Device>,
        /// Family name, such as `Android`.
        os: Option<String>,
        /// Family name, such as `Firefox`.
        browser: Option<String>,
        /// The host of the page that held the link.
        referrer_host: Option<String>,
        /// The visitor's network, /24 or /48; never the address.
        address_prefix: Option<String>,
        /// Keyed hash of the address, in hexadecimal digits; the key changes daily and is destroyed after the fraud window.
        address_hash: Option<String>,
    }
    id ClickId;
    affiliate AffiliateId;
}
