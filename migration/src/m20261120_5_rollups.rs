//! Hourly totals, so that reports answer at once.

use sea_orm_migration::prelude::*;

use crate::protect::{self, Access};

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLES: &str = "
-- Bounded like balances: an overflow must be an error on both databases.
CREATE TABLE rollup_hourly (
  tenant_id uuid NOT NULL REFERENCES tenant,
  bucket_at timestamptz NOT NULL,
  campaign_id uuid NOT NULL,
  affiliate_id uuid NOT NULL,
  currency text NOT NULL,
  clicks_gross bigint NOT NULL CHECK (clicks_gross >= 0),
  clicks_unique bigint NOT NULL CHECK (clicks_unique >= 0),
  clicks_invalid bigint NOT NULL CHECK (clicks_invalid >= 0),
  conversions bigint NOT NULL CHECK (conversions >= 0),
  sale_minor bigint NOT NULL CHECK (sale_minor BETWEEN 0 AND 9000000000000000000),
  commission_minor bigint NOT NULL CHECK (commission_minor BETWEEN 0 AND 9000000000000000000),
  PRIMARY KEY (tenant_id, bucket_at, campaign_id, affiliate_id, currency)
);
";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(TABLES).await?;
        for (table, access) in [("rollup_hourly", Access::Mutable)] {
            protect::table(manager, table, access).await?;
        }
        Ok(())
    }
}
