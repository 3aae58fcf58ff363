//! The viewer: scope, actor and permissions of one request, made once from its credential.

use std::{fmt, sync::Arc};

use tributary_entity::{
    Instant,
    ids::{AffiliateId, ApiKeyId, PostbackEndpointId, SessionId, TenantId, UserId},
    kinds::Role,
};

use super::permission::{self, Permission, PermissionSet};
use crate::domain::tenancy::TenantScope;

/// Who acts. Its text stands in audit columns.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Actor {
    User(UserId),
    ApiKey(ApiKeyId),
    /// A call of another server, or of a page, that knows an endpoint's token.
    Postback(PostbackEndpointId),
    /// Somebody whom an identity provider of the tenant vouches for.
    External(Arc<ExternalSubject>),
    /// Whoever holds the signing secret: a token made on the command line.
    Operator,
    /// The program itself: jobs.
    System,
}

/// Somebody outside: which provider calls whom what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ExternalSubject {
    /// The provider's name in our settings, at most 32 characters.
    pub provider: String,
    /// `sub` as the provider says it: printable ASCII, at most 255 characters.
    pub subject: String,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => write!(f, "user:{id}"),
            Self::ApiKey(id) => write!(f, "key:{id}"),
            Self::Postback(id) => write!(f, "postback:{id}"),
            Self::External(who) => write!(f, "ext:{}:{}", who.provider, who.subject),
            Self::Operator => f.write_str("operator"),
            Self::System => f.write_str("system"),
        }
    }
}

/// What a credential stands on: when that falls, the credential does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Basis {
    /// A log-in, and with it its user, tenant and affiliate.
    Session { user_id: UserId, session_id: SessionId },
    /// A key, and with it its tenant.
    ApiKey(ApiKeyId),
    /// The tenant alone (and the affiliate whose ring it is): the rest is the identity provider's.
    Tenant,
    /// The signing secret, which outlives tenants.
    Secret,
}

/// Who asks, for whose rows, and what they may do.
#[derive(Clone, Debug)]
pub struct Viewer {
    pub scope: TenantScope,
    pub actor: Actor,
    pub basis: Basis,
    pub roles: Vec<Role>,
    pub permissions: PermissionSet,
    /// When the credential ends; a subscription ends with it.
    pub expires_at: Option<Instant>,
}

impl Viewer {
    pub const fn may(&self, permission: Permission) -> bool {
        self.permissions.contains(permission)
    }

    /// The program itself at work for a tenant: it asks for no permission, as no field of the API is asked.
    pub const fn system(scope: TenantScope) -> Self {
        Self {
            scope,
            actor: Actor::System,
            basis: Basis::Tenant,
            roles: Vec::new(),
            permissions: PermissionSet::EMPTY,
            expires_at: None,
        }
    }

    /// The same viewer with these roles. None where they do not go with its scope.
    pub fn with_roles(self, roles: &[Role]) -> Option<Self> {
        let scope = scope_of(self.scope.tenant_id(), roles, self.scope.own_affiliate())?;
        Some(Self { scope, roles: roles.to_vec(), permissions: permission::of_roles(roles), ..self })
    }
}

/// Whose rows roles open. An affiliate's viewer has that role and no other, and names the affiliate: with any other role
/// its scope would be the whole tenant.
pub(super) fn scope_of(tenant_id: TenantId, roles: &[Role], affiliate_id: Option<AffiliateId>) -> Option<TenantScope> {
    match (roles, affiliate_id) {
        ([Role::Affiliate], Some(id)) => Some(TenantScope::affiliate(tenant_id, id)),
        ([_, ..], None) if !roles.contains(&Role::Affiliate) => Some(TenantScope::tenant(tenant_id)),
        _ => None,
    }
}
