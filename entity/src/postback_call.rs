//! Calls of postback endpoints that were refused.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{ConversionId, PostbackCallId, PostbackEndpointId, TenantId},
};

table! {
    /// One refused call, kept for a while so that whoever integrates can see why. Secrets and addresses of people are
    /// masked before it is written.
    "postback_call" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        id: PostbackCallId,
        endpoint_id: PostbackEndpointId,
        received_at: Instant,
        /// GET or POST.
        method: String,
        /// As JSON: a list of `[name, value]`, in the order they came.
        parameters: String,
        http_status: i32,
        /// What callers may switch on.
        code: String,
        /// For people.
        message: String,
        /// The conversion that was recorded as rejected, where it was.
        conversion_id: Option<ConversionId>,
        /// Refused calls before this one that are not listed: there were too many in a minute.
        unlisted_before: i64,
    }
    id PostbackCallId;
}
