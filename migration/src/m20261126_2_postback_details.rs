//! What callers of a postback endpoint call campaigns, and which conversions their sender keeps back.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub struct Migration;

/// Defaults are what held before: no names, and nothing that was kept back has waited.
const COLUMNS: &str = "
ALTER TABLE postback_endpoint ADD COLUMN campaigns text NOT NULL DEFAULT '[]';
ALTER TABLE conversion ADD COLUMN kept_back boolean NOT NULL DEFAULT FALSE;
";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(COLUMNS).await.map(drop)
    }
}
