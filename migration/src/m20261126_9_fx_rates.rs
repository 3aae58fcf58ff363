//! Exchange rates, what a conversion was rated by, and balances that were converted.

use sea_orm_migration::prelude::*;

use crate::protect::{self, Access};

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLES: &str = "
-- Read by day: a batch of conversions asks for a few days before each. The id, which grows with time, tells which of
-- several rates of one day is the newest.
CREATE TABLE fx_rate (
  tenant_id uuid NOT NULL REFERENCES tenant,
  id uuid NOT NULL,
  source text NOT NULL,
  base text NOT NULL,
  quote text NOT NULL,
  rate_e12 bigint NOT NULL CHECK (rate_e12 > 0),
  valid_on date NOT NULL,
  author text NOT NULL,
  created_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  CHECK (base <> quote)
);
CREATE INDEX fx_rate_day_idx ON fx_rate (tenant_id, valid_on);

CREATE TABLE fx_conversion (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  affiliate_id uuid NOT NULL,
  from_minor bigint NOT NULL CHECK (from_minor > 0),
  from_currency text NOT NULL,
  to_minor bigint NOT NULL CHECK (to_minor > 0),
  to_currency text NOT NULL,
  fx text NOT NULL,
  note text,
  author text NOT NULL,
  created_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, affiliate_id) REFERENCES affiliate (tenant_id, id),
  CHECK (from_currency <> to_currency)
);
CREATE INDEX fx_conversion_affiliate_idx ON fx_conversion (tenant_id, affiliate_id, id);

ALTER TABLE conversion ADD COLUMN rated_sale_minor bigint;
ALTER TABLE conversion ADD COLUMN fx text;
-- What waits for a rate; rows leave the index as they are resolved.
CREATE INDEX conversion_unrated_idx ON conversion (tenant_id, id) WHERE status = 'HELD' AND reason = 'FX_RATE_MISSING';
";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(TABLES).await?;
        for table in ["fx_rate", "fx_conversion"] {
            protect::table(manager, table, Access::AppendOnly).await?;
        }
        Ok(())
    }
}
