//! Payout files: handed out for a bank, or taken in from one; append-only.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{PayingAccountId, PayoutBatchId, PayoutFileId, TenantId},
    kinds::PayoutFileFormat,
};

table! {
    /// A file of payments, whose bytes are beside it; or one of a bank's answers, read once.
    "payout_file" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        id: PayoutFileId,
        format: PayoutFileFormat,
        /// Whose payments; none for a bank's answer.
        batch_id: Option<PayoutBatchId>,
        /// Of a batch that is too large for one, from 1.
        part: i32,
        paying_account_id: Option<PayingAccountId>,
        /// SHA-256 of the text, in hexadecimal.
        digest: String,
        /// Payouts, or lines of the answer.
        items: i64,
        /// Who handed it out or in, in `kind:id` form.
        author: String,
        created_at: Instant,
    }
    id PayoutFileId;
}
