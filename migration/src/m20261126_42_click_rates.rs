//! What clicks earn: rates in versions, and what has accrued and is not posted yet.

use sea_orm_migration::prelude::*;

use crate::protect::{self, Access};

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLES: &str = "
CREATE TABLE click_rate (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  campaign_id uuid NOT NULL,
  -- Null is for all affiliates of the campaign without a rate of their own.
  affiliate_id uuid,
  current_version integer NOT NULL CHECK (current_version > 0),
  status text NOT NULL,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, campaign_id) REFERENCES campaign (tenant_id, id),
  FOREIGN KEY (tenant_id, affiliate_id) REFERENCES affiliate (tenant_id, id)
);
-- Set again, it is the same rate in another version.
CREATE UNIQUE INDEX click_rate_affiliate_key ON click_rate (tenant_id, campaign_id, affiliate_id)
  WHERE affiliate_id IS NOT NULL;
CREATE UNIQUE INDEX click_rate_campaign_key ON click_rate (tenant_id, campaign_id) WHERE affiliate_id IS NULL;

CREATE TABLE click_rate_version (
  tenant_id uuid NOT NULL,
  rate_id uuid NOT NULL,
  version integer NOT NULL CHECK (version > 0),
  kind text NOT NULL,
  -- Millionths of the major unit of the campaign's currency, per click or per thousand.
  rate_micros bigint NOT NULL CHECK (rate_micros >= 0),
  created_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, rate_id, version),
  FOREIGN KEY (tenant_id, rate_id) REFERENCES click_rate (tenant_id, id)
);

-- One row for each pair, however many clicks: added to by the batch that records them. No foreign keys: the clicks' links
-- bind both, and this is on the way of every click.
CREATE TABLE click_accrual (
  tenant_id uuid NOT NULL,
  campaign_id uuid NOT NULL,
  affiliate_id uuid NOT NULL,
  clicks bigint NOT NULL CHECK (clicks >= 0),
  accrued_micros bigint NOT NULL CHECK (accrued_micros >= 0),
  PRIMARY KEY (tenant_id, campaign_id, affiliate_id)
);
";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(TABLES).await?;
        protect::table(manager, "click_rate", Access::Mutable).await?;
        protect::table(manager, "click_rate_version", Access::AppendOnly).await?;
        protect::table(manager, "click_accrual", Access::Mutable).await
    }
}
