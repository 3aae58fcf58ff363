//! What clicks earned by each version of a rate; rates of affiliate groups.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

use crate::protect::{self, Access};

#[derive(DeriveMigrationName)]
pub struct Migration;

/// A node of an earlier release takes a group's rate for the campaign's: it is to be set when there is none any more. What
/// such a node accrues is in `click_accrual` alone, as what was accrued before.
const TABLES: &str = "
ALTER TABLE click_rate ADD COLUMN group_id uuid CHECK (group_id IS NULL OR affiliate_id IS NULL);
DROP INDEX click_rate_campaign_key;
CREATE UNIQUE INDEX click_rate_campaign_key ON click_rate (tenant_id, campaign_id)
  WHERE affiliate_id IS NULL AND group_id IS NULL;
CREATE UNIQUE INDEX click_rate_group_key ON click_rate (tenant_id, campaign_id, group_id) WHERE group_id IS NOT NULL;

-- Beside click_accrual, whose row is locked by whoever adds to these or posts them. All that was ever earned, and of how
-- many of the clicks it is posted. No foreign keys, as there.
CREATE TABLE click_rate_accrual (
  tenant_id uuid NOT NULL,
  campaign_id uuid NOT NULL,
  affiliate_id uuid NOT NULL,
  rate_id uuid NOT NULL,
  rate_version integer NOT NULL,
  -- Millionths on top, of the affiliate's group.
  modifier_ppm bigint NOT NULL CHECK (modifier_ppm >= 0),
  clicks bigint NOT NULL CHECK (clicks >= 0),
  accrued_micros bigint NOT NULL CHECK (accrued_micros >= 0),
  posted_clicks bigint NOT NULL DEFAULT 0 CHECK (posted_clicks BETWEEN 0 AND clicks),
  PRIMARY KEY (tenant_id, campaign_id, affiliate_id, rate_id, rate_version, modifier_ppm)
);
";

/// SQLite cannot add a key of several columns to a table that is there: `services::click_rates` looks for the group.
const GROUP_POSTGRES: &str =
    "ALTER TABLE click_rate ADD FOREIGN KEY (tenant_id, group_id) REFERENCES affiliate_group (tenant_id, id)";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        connection.execute_unprepared(TABLES).await?;
        if manager.get_database_backend() == DbBackend::Postgres {
            connection.execute_unprepared(GROUP_POSTGRES).await?;
        }
        protect::table(manager, "click_rate_accrual", Access::Mutable).await
    }
}
