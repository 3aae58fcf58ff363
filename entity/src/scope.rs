//! What the store must know of a table to keep tenants, and affiliates inside a tenant, apart.

use sea_orm::EntityTrait;

/// A table whose rows belong to a tenant: all of them.
pub trait Scoped: EntityTrait {
    /// The column that holds the owner and begins the primary key.
    fn tenant_column() -> Self::Column;
}

/// A table whose rows also belong to one affiliate, who may see her own and no others.
pub trait OwnedByAffiliate: Scoped {
    /// The column that holds the affiliate; null rows belong to no affiliate and are seen by none.
    fn affiliate_column() -> Self::Column;
}

/// A table with a one-column identity inside its tenant.
pub trait Identified: Scoped {
    /// The typed id of this table's rows.
    type Id: Into<sea_orm::Value> + Copy + Send;
    /// The column that holds it.
    fn id_column() -> Self::Column;
}
