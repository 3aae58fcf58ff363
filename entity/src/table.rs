//! The boilerplate that every row file would repeat.

/// Declares a table's row. After the fields: optional `id: Type` (one-column identity inside the tenant) and
/// `affiliate: Column` (rows seen by one affiliate).
macro_rules! table {
    (
        $(#[$doc:meta])*
        $table:literal {
            $($(#[$field_meta:meta])* $field:ident : $ty:ty,)*
        }
        $(id $id_ty:ty;)?
        $(affiliate $affiliate:ident;)?
    ) => {
        $(#[$doc])*
        #[derive(
            Clone, Debug, PartialEq, Eq, ::sea_orm::DeriveEntityModel, ::serde::Serialize, ::serde::Deserialize,
        )]
        #[sea_orm(table_name = $table)]
        pub struct Model {
            $($(#[$field_meta])* pub $field: $ty,)*
        }

        #[derive(Clone, Copy, Debug, ::sea_orm::EnumIter, ::sea_orm::DeriveRelation)]
        pub enum Relation {}

        impl ::sea_orm::ActiveModelBehavior for ActiveModel {}

        impl $crate::scope::Scoped for Entity {
            fn tenant_column() -> Column {
                Column::TenantId
            }
        }

        $(impl $crate::scope::Identified for Entity {
            type Id = $id_ty;
            fn id_column() -> Column {
                Column::Id
            }
        })?

        $(impl $crate::scope::OwnedByAffiliate for Entity {
            fn affiliate_column() -> Column {
                Column::$affiliate
            }
        })?
    };
}
