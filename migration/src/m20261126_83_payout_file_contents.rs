//! The bytes of payout files that were handed out: another version of a library may write the same payments otherwise.

use sea_orm_migration::prelude::*;

use crate::protect::{self, Access};

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLES: &str = "
-- Beside the file's row, which is listed and told in events. Files that are older have none, and are written again.
CREATE TABLE payout_file_content (
  tenant_id uuid NOT NULL,
  file_id uuid NOT NULL,
  content bytea NOT NULL,
  PRIMARY KEY (tenant_id, file_id),
  FOREIGN KEY (tenant_id, file_id) REFERENCES payout_file (tenant_id, id)
);
";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(TABLES).await?;
        protect::table(manager, "payout_file_content", Access::AppendOnly).await
    }
}
