//! Payouts: payments to affiliates.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{AffiliateId, PayoutBatchId, PayoutDestinationId, PayoutFileId, PayoutId, TenantId},
    kinds::{PayoutMethod, PayoutStatus},
    money::Currency,
};

table! {
    /// One payment to one affiliate in one currency. Whom and how much never changes; its state does, with history.
    "payout" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        id: PayoutId,
        batch_id: PayoutBatchId,
        affiliate_id: AffiliateId,
        currency: Currency,
        /// What leaves the affiliate's balance.
        gross_minor: i64,
        /// Of that, what is withheld as tax.
        #[serde(default)]
        tax_minor: i64,
        /// Of that, what the affiliate bears of the cost of the payment. The rest is paid.
        #[serde(default)]
        fee_minor: i64,
        method: PayoutMethod,
        status: PayoutStatus,
        /// The payment's name at the bank or processor, once it is paid.
        reference: Option<String>,
        /// Why it failed, was cancelled or came back.
        reason: Option<String>,
        /// Where it goes, as it was set when the payout was drafted.
        destination_id: Option<PayoutDestinationId>,
        /// The file that it was handed over in.
        #[serde(default)]
        file_id: Option<PayoutFileId>,
        /// By which name the bank knows it, where it was handed over in a file of one.
        #[serde(default)]
        bank_reference: Option<String>,
        /// The failed or returned payout that this one repeats.
        retry_of: Option<PayoutId>,
        /// Grows by one with each change; names the row of `payout_history`.
        version: i32,
        created_at: Instant,
        approved_at: Option<Instant>,
        submitted_at: Option<Instant>,
        paid_at: Option<Instant>,
        /// When it failed, was cancelled or came back.
        closed_at: Option<Instant>,
        updated_at: Instant,
    }
    id PayoutId;
    affiliate AffiliateId;
}
