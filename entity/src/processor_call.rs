//! Calls that came to the addresses of processors.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{PayoutId, ProcessorCallId, ProcessorId, TenantId},
    kinds::ProcessorCallOutcome,
};

table! {
    /// One call. Of each event that a processor tells there is one row, however often it is told.
    "processor_call" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        id: ProcessorCallId,
        processor_id: ProcessorId,
        /// The processor's name of the event; none for a call that was refused.
        event_id: Option<String>,
        /// What the processor calls such events.
        event_type: Option<String>,
        outcome: ProcessorCallOutcome,
        http_status: i32,
        /// Why it was refused, or what it contradicted.
        message: Option<String>,
        payout_id: Option<PayoutId>,
        /// As it came, when it was the processor's.
        body: Option<String>,
        received_at: Instant,
        /// Refused calls before this one that are not listed: there were too many in a minute.
        unlisted_before: i64,
    }
    id ProcessorCallId;
}
