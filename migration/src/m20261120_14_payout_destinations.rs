//! Where affiliates want to be paid.

use sea_orm_migration::prelude::*;

use crate::protect::{self, Access};

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLES: &str = "
CREATE TABLE payout_destination (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  affiliate_id uuid NOT NULL,
  currency text NOT NULL,
  method text NOT NULL,
  holder text NOT NULL,
  account text NOT NULL,
  mask text NOT NULL,
  author text NOT NULL,
  created_at timestamptz NOT NULL,
  ended_at timestamptz,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, affiliate_id) REFERENCES affiliate (tenant_id, id)
);
-- One at a time per affiliate and currency; also how a batch finds it.
CREATE UNIQUE INDEX payout_destination_live_key ON payout_destination (tenant_id, affiliate_id, currency)
  WHERE ended_at IS NULL;

-- No foreign key: SQLite cannot add one to a table that is there, and destinations are never deleted.
ALTER TABLE payout ADD COLUMN destination_id uuid;
";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(TABLES).await?;
        protect::table(manager, "payout_destination", Access::Mutable).await
    }
}
