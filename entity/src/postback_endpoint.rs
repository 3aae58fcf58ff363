//! Postback endpoints: where other servers and pages send conversions to.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{PostbackEndpointId, TenantId},
    kinds::{PostbackDialect, PostbackEndpointStatus},
    money::Currency,
};

table! {
    /// An address with a token in it, at which conversions are taken; only the hash of the token is kept.
    "postback_endpoint" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        id: PostbackEndpointId,
        name: String,
        /// SHA-256 of the whole token, which has 160 random bits.
        token_hash: Vec<u8>,
        /// The token's last four characters.
        hint: String,
        dialect: PostbackDialect,
        /// The code of the goal that a call means which names none.
        default_goal: Option<String>,
        /// What callers call goals, as JSON: a list of `{"external", "goal"}`.
        goals: String,
        /// What callers call campaigns, as JSON: a list of `{"external", "campaign"}`.
        campaigns: String,
        /// Of amounts that come without one; none means that of the click's campaign.
        default_currency: Option<Currency>,
        /// SHA-256 of what a call has to know besides the token.
        secret_hash: Option<Vec<u8>>,
        /// Networks that calls may come from, with commas between; none means from anywhere.
        networks: Option<String>,
        status: PostbackEndpointStatus,
        created_at: Instant,
        updated_at: Instant,
    }
    id PostbackEndpointId;
}
