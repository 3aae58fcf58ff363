//! What a cap left a commission when it last rose.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub struct Migration;

/// Nothing was measured when it rose before this was kept.
const COLUMN: &str = "ALTER TABLE commission ADD COLUMN clamp text";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(COLUMN).await?;
        Ok(())
    }
}
