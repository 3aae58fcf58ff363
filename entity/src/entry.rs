//! Ledger entries, append-only.

use sea_orm::entity::prelude::*;

use crate::{
    ids::{AccountId, JournalId, TenantId},
    money::Currency,
};

table! {
    /// One line of a journal.
    "entry" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        journal_id: JournalId,
        /// From 0.
        #[sea_orm(primary_key, auto_increment = false)]
        line: i32,
        /// The number of its journal: 1, 2, 3.. per tenant, in commit order.
        seq: i64,
        account_id: AccountId,
        /// Debit positive, credit negative; the lines of a journal sum to zero per currency.
        amount_minor: i64,
        currency: Currency,
    }
}
