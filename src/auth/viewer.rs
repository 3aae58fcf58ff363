//! The viewer: scope, actor and permissions of one request, made once from its credential.

use std::fmt;

use tributary_entity::ids::{ApiKeyId, UserId};

use super::permission::{Permission, PermissionSet};
use crate::domain::tenancy::TenantScope;
use tributary_entity::{Instant, kinds::Role};

/// Who acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Actor {
    User(UserId),
    ApiKey(ApiKeyId),
    /// Whoever holds the signing secret: a token made on the command line.
    Operator,
    /// The program itself: jobs.
    System,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => write!(f, "user:{id}"),
            Self::ApiKey(id) => write!(f, "key:{id}"),
            Self::Operator => f.write_str("operator"),
            Self::System => f.write_str("system"),
        }
    }
}

/// Who asks, for whose rows, and what they may do.
#[derive(Clone, Debug)]
pub struct Viewer {
    pub scope: TenantScope,
    pub actor: Actor,
    pub roles: Vec<Role>,
    pub permissions: PermissionSet,
    /// When the credential ends; a subscription ends with it.
    pub expires_at: Option<Instant>,
}

impl Viewer {
    pub const fn may(&self, permission: Permission) -> bool {
        self.permissions.contains(permission)
    }
}
