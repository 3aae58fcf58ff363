//! Whose data a piece of work may touch. Every store function takes a [`TenantScope`]; there is no other way in.

use tributary_entity::ids::{AffiliateId, TenantId};

/// The second ring of isolation, inside the tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ring {
    /// All rows of the tenant.
    Tenant,
    /// Only the rows of this affiliate.
    Affiliate(AffiliateId),
}

/// The rows that a piece of work may see: one tenant's, perhaps only one affiliate's.
///
/// Made by `auth` from a credential, by `store::directory` from a public token or a claimed job, and by tests; the
/// architecture test refuses any other maker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TenantScope {
    tenant_id: TenantId,
    ring: Ring,
}

impl TenantScope {
    /// All rows of a tenant.
    pub const fn tenant(tenant_id: TenantId) -> Self {
        Self { tenant_id, ring: Ring::Tenant }
    }

    /// The rows of one affiliate of a tenant.
    pub const fn affiliate(tenant_id: TenantId, affiliate_id: AffiliateId) -> Self {
        Self { tenant_id, ring: Ring::Affiliate(affiliate_id) }
    }

    /// All rows of the same tenant. For the machine, which decides about every row whoever asks: ingest and feeds, which
    /// narrow their answers to the asker's ring themselves. The architecture test knows them by name.
    pub const fn whole_tenant(&self) -> Self {
        Self::tenant(self.tenant_id)
    }

    pub const fn tenant_id(&self) -> TenantId {
        self.tenant_id
    }

    pub const fn ring(&self) -> Ring {
        self.ring
    }

    /// The affiliate whose ring this is, if it is one's.
    pub const fn own_affiliate(&self) -> Option<AffiliateId> {
        match self.ring {
            Ring::Tenant => None,
            Ring::Affiliate(id) => Some(id),
        }
    }
}
