//! What a credential's basis is worth now, as the database says.

use tributary_entity::{
    api_key,
    kinds::{AffiliateStatus, Role, TenantStatus},
};

use crate::{
    auth::{Basis, Viewer},
    domain::{tenancy::TenantScope, user},
    store::{api_keys, database::Db, error::StoreError, standings},
};

/// What a basis is worth. Not a viewer: many share a basis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Worth {
    /// User, session, key, affiliate or tenant has ended.
    Nothing,
    /// What the credential itself says.
    AsSaid,
    /// These roles, whatever the credential says.
    Roles(Vec<Role>),
    /// What the key's row says.
    Key(Box<api_key::Model>),
}

impl Worth {
    /// Reads it, in one transaction.
    ///
    /// # Errors
    /// As the database answers.
    pub(super) async fn read(db: &Db, scope: &TenantScope, basis: Basis) -> Result<Self, StoreError> {
        let tx = db.snapshot(scope).await?;
        Ok(match basis {
            Basis::Secret => Self::AsSaid,
            Basis::Session { user_id, session_id } => match standings::of_session(&tx, session_id).await? {
                Some(session)
                    if !session.revoked
                        && session.user_id == user_id
                        && session.affiliate_id == scope.own_affiliate()
                        && user::may_enter(
                            session.user,
                            session.affiliate_id.map(|_| session.affiliate),
                            session.tenant,
                        ) =>
                {
                    Self::Roles(session.roles)
                }
                _ => Self::Nothing,
            },
            Basis::ApiKey(id) => {
                let (tenant, _) = standings::of_scope(&tx).await?;
                let row = api_keys::get(&tx, id).await?;
                match row.filter(|row| row.revoked_at.is_none() && tenant == TenantStatus::Active) {
                    Some(row) => Self::Key(Box::new(row)),
                    None => Self::Nothing,
                }
            }
            Basis::Tenant => {
                let (tenant, affiliate) = standings::of_scope(&tx).await?;
                let in_ring = scope.own_affiliate().is_none() || affiliate == Some(AffiliateStatus::Active);
                if in_ring && tenant == TenantStatus::Active { Self::AsSaid } else { Self::Nothing }
            }
        })
    }

    /// The viewer with what it is worth; none for nothing. A key's viewer is made from the key's row, whose scopes never
    /// change.
    pub(super) fn apply(&self, viewer: Viewer) -> Option<Viewer> {
        match self {
            Self::Nothing => None,
            Self::AsSaid | Self::Key(_) => Some(viewer),
            Self::Roles(roles) => viewer.with_roles(roles),
        }
    }
}
