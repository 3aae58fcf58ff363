//! The bytes of payout files that were handed out; append-only.

use sea_orm::entity::prelude::*;

use crate::ids::{PayoutFileId, TenantId};

table! {
    /// What a file's row does not hold: it is listed and told in events.
    "payout_file_content" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        file_id: PayoutFileId,
        content: Vec<u8>,
    }
}
