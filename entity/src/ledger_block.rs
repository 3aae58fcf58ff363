//! Sealed blocks of the ledger, append-only.

use sea_orm::entity::prelude::*;

use crate::{Instant, ids::TenantId};

table! {
    /// A run of journals that are sealed together: each block's hash holds that of the one before it.
    "ledger_block" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        /// 1, 2, 3.. per tenant.
        #[sea_orm(primary_key, auto_increment = false)]
        number: i64,
        /// The `seq` of its first journal.
        first_seq: i64,
        /// The `seq` of its last journal; all between are in it.
        last_seq: i64,
        /// How many entries its journals have.
        entries: i64,
        /// The hashes of its journals, 32 bytes each, in order.
        leaves: Vec<u8>,
        /// The hash of the block before it; 32 zeros for the first.
        previous_hash: Vec<u8>,
        hash: Vec<u8>,
        /// With which key the signature is checked (Ed25519).
        public_key: Vec<u8>,
        /// Of the checkpoint that the block is.
        signature: Vec<u8>,
        sealed_at: Instant,
    }
}
