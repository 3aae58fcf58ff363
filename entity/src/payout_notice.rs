//! Payout notices: what banks told back, line by line, append-only.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{PayoutFileId, PayoutId, PayoutNoticeId, TenantId},
    kinds::{PayoutNoticeOutcome, PayoutNoticeStatus},
    money::Currency,
};

table! {
    /// One line of a bank's file, and what it did.
    "payout_notice" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        id: PayoutNoticeId,
        file_id: PayoutFileId,
        /// By which name the bank tells this line.
        entry_key: String,
        /// By which name it says the payment was given to it.
        reference: Option<String>,
        /// The payout, where one is known by the reference.
        payout_id: Option<PayoutId>,
        outcome: PayoutNoticeOutcome,
        status: PayoutNoticeStatus,
        /// The bank's code.
        reason: Option<String>,
        /// In the bank's words.
        detail: Option<String>,
        amount_minor: Option<i64>,
        currency: Option<Currency>,
        recorded_at: Instant,
    }
    id PayoutNoticeId;
}
