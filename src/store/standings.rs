//! What credentials stand on, each in one read: it is asked for at requests.

use sea_orm::ConnectionTrait;
use tributary_entity::{
    Instant, affiliate,
    ids::{AffiliateId, SessionId, UserId},
    kinds::{AffiliateStatus, Role, TenantStatus, UserStatus},
};

use super::{error::StoreError, scope::Tx, tenants};

/// A session with everything that can end it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionStanding {
    pub user_id: UserId,
    pub revoked: bool,
    pub user: UserStatus,
    /// The affiliate that the user belongs to, if it belongs to one.
    pub affiliate_id: Option<AffiliateId>,
    /// None also where there is no such affiliate.
    pub affiliate: Option<AffiliateStatus>,
    pub tenant: TenantStatus,
    /// In order.
    pub roles: Vec<Role>,
}

/// A row for each role; one without a role where the user has none.
const SESSION: &str = "
SELECT s.user_id, s.revoked_at, u.status AS user_status, u.affiliate_id, a.status AS affiliate_status,
  t.status AS tenant_status, r.role
FROM session s
JOIN tenant t ON t.tenant_id = s.tenant_id
JOIN tenant_user u ON u.tenant_id = s.tenant_id AND u.id = s.user_id
LEFT JOIN affiliate a ON a.tenant_id = u.tenant_id AND a.id = u.affiliate_id
LEFT JOIN user_role r ON r.tenant_id = u.tenant_id AND r.user_id = u.id
WHERE s.tenant_id = $1 AND s.id = $2";

/// What a session stands on; none when there is no such session.
///
/// # Errors
/// As the database answers.
pub async fn of_session(tx: &Tx, id: SessionId) -> Result<Option<SessionStanding>, StoreError> {
    let statement = tx.statement(SESSION, vec![tx.scope().tenant_id().into(), id.into()]);
    let rows = tx.connection().query_all_raw(statement).await?;
    let Some(first) = rows.first() else {
        return Ok(None);
    };
    let mut roles = Vec::with_capacity(rows.len());
    for row in &rows {
        roles.extend(row.try_get::<Option<Role>>("", "role")?);
    }
    // By the enum's order; the column's is the alphabet's.
    roles.sort_unstable();
    Ok(Some(SessionStanding {
        user_id: first.try_get("", "user_id")?,
        revoked: first.try_get::<Option<Instant>>("", "revoked_at")?.is_some(),
        user: first.try_get("", "user_status")?,
        affiliate_id: first.try_get("", "affiliate_id")?,
        affiliate: first.try_get("", "affiliate_status")?,
        tenant: first.try_get("", "tenant_status")?,
        roles,
    }))
}

/// Where the scope itself stands: its tenant, and the affiliate whose ring it is. The affiliate's is none where there is
/// no such affiliate.
///
/// # Errors
/// As the database answers.
pub async fn of_scope(tx: &Tx) -> Result<(TenantStatus, Option<AffiliateStatus>), StoreError> {
    let tenant = tenants::get(tx).await?.status;
    let affiliate = match tx.scope().own_affiliate() {
        Some(id) => tx.by_id::<affiliate::Entity>(id).one(tx.connection()).await?.map(|row| row.status),
        None => None,
    };
    Ok((tenant, affiliate))
}
