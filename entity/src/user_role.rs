//! Roles of users.

use sea_orm::entity::prelude::*;

use crate::{
    ids::{TenantId, UserId},
    kinds::Role,
};

table! {
    /// One role of one user.
    "user_role" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        user_id: UserId,
        #[sea_orm(primary_key, auto_increment = false)]
        role: Role,
    }
}
