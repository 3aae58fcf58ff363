//! Clicks that cost less to write.
//!
//! # Decisions
//! - No foreign key from clicks to links on PostgreSQL, where it is a query and a row lock for each click, as dear as two
//!   indexes. A batch reads the links of its clicks in its own transaction; and that no link goes is now held by the
//!   application's rights, which had no use for deleting one. SQLite keeps it: there it costs a look-up, and its tables
//!   cannot be altered so.

use sea_orm_migration::{
    prelude::*,
    sea_orm::{ConnectionTrait, DbBackend},
};

use crate::protect::APP_ROLE;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::Postgres {
            let sql = format!(
                "ALTER TABLE click DROP CONSTRAINT click_tenant_id_link_id_fkey;
                 REVOKE DELETE ON link FROM {APP_ROLE};"
            );
            manager.get_connection().execute_unprepared(&sql).await?;
        }
        Ok(())
    }
}
