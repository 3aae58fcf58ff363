//! Tenants: the customers of the platform.

use sea_orm::entity::prelude::*;

use crate::{Instant, ids::TenantId, kinds::TenantStatus, money::Currency};

table! {
    /// One customer of the platform. Its own id is its scope.
    "tenant" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        /// Short name in log-in forms and on the command line; unique on the platform.
        slug: String,
        name: String,
        /// Default currency of new campaigns.
        currency: Currency,
        /// IANA name; day boundaries of reports and tiers.
        time_zone: String,
        /// Which history the event log continues; changes when an older backup is restored, so that old cursors are refused.
        epoch: Uuid,
        status: TenantStatus,
        /// Whether a payout batch must be approved by another than its author.
        payout_four_eyes: bool,
        /// How long a conversion of an unknown campaign waits for a click that is not there yet; 0 refuses it at once.
        click_wait_secs: i64,
        created_at: Instant,
    }
}
