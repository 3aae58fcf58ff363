//! Why a revenue record counts for nothing.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub struct Migration;

/// A node of an earlier release knows of no reasons: it may not settle what has one, and leaves the period to the others.
const COLUMN: &str = "
ALTER TABLE revenue_record ADD COLUMN reason text CHECK (reason IS NULL OR settlement_id IS NULL);
-- What has a reason is never settled, and must not stay among what is to be.
DROP INDEX revenue_record_open_idx;
CREATE INDEX revenue_record_open_idx ON revenue_record (tenant_id, campaign_id, affiliate_id, day)
  WHERE settlement_id IS NULL AND reason IS NULL;
";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(COLUMN).await?;
        Ok(())
    }
}
