//! Runs that take back a part of each sale, or give each another amount.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub struct Migration;

/// In millionths of a sale. A node of an earlier release does not take up such runs: they are work of a kind of its own.
const COLUMN: &str = "ALTER TABLE conversion_run ADD COLUMN part_ppm bigint CHECK (part_ppm > 0)";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(COLUMN).await.map(drop)
    }
}
