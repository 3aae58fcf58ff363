//! Users: people who log in.

use sea_orm::entity::prelude::*;

use crate::{
    Instant,
    ids::{AffiliateId, TenantId, UserId},
    kinds::UserStatus,
};

table! {
    /// A person who logs in to one tenant. An affiliate's user names the affiliate.
    "tenant_user" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        id: UserId,
        /// Lower case; unique in the tenant.
        email: String,
        name: String,
        /// PHC string (argon2id); none means that the user cannot log in by password.
        password_hash: Option<String>,
        affiliate_id: Option<AffiliateId>,
        status: UserStatus,
        created_at: Instant,
        updated_at: Instant,
    }
    id UserId;
    affiliate AffiliateId;
}
