//! How often a tenant's programme was changed: what batches remember of it is good while that is as it was.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub struct Migration;

/// A node of an earlier release does not count its changes: others see them when they look again, a second later.
const COLUMN: &str = "ALTER TABLE tenant_counter ADD COLUMN programme_version bigint NOT NULL DEFAULT 0";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(COLUMN).await.map(drop)
    }
}
