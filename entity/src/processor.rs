//! Accounts at processors, through which a tenant pays.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{ProcessorId, TenantId},
    kinds::PayoutMethod,
};

table! {
    /// A tenant's account at a processor. One at a time per processor; it is ended, not deleted, as payouts went through it.
    "processor" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        id: ProcessorId,
        method: PayoutMethod,
        /// The credentials, encrypted and authenticated.
        sealed: Vec<u8>,
        /// The account as far as its owner needs to know it again.
        mask: String,
        /// SHA-256 of the token in the address that the processor calls.
        token_hash: Vec<u8>,
        /// The token's last four characters.
        hint: String,
        /// Who set it last, in `kind:id` form.
        author: String,
        created_at: Instant,
        updated_at: Instant,
        ended_at: Option<Instant>,
    }
    id ProcessorId;
}
