//! Crediting recorded conversions anew: runs, what each of them added to and took from commissions, and the sums beside
//! the commissions.

use sea_orm_migration::prelude::*;

use crate::protect::{self, Access};

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLES: &str = "
CREATE TABLE attribution_run (
  tenant_id uuid NOT NULL REFERENCES tenant,
  id uuid NOT NULL,
  status text NOT NULL,
  campaign_id uuid,
  occurred_from timestamptz NOT NULL,
  occurred_before timestamptz NOT NULL,
  model text NOT NULL,
  -- Null is each campaign's own.
  window_secs bigint,
  half_life_secs bigint,
  min_secs bigint,
  reason text NOT NULL,
  author text NOT NULL,
  conversions_total bigint NOT NULL CHECK (conversions_total >= 0),
  conversions_seen bigint NOT NULL CHECK (conversions_seen >= 0),
  conversions_changed bigint NOT NULL CHECK (conversions_changed >= 0),
  -- The last conversion that was looked at: where the run goes on.
  seen_occurred_at timestamptz,
  seen_id uuid,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  finished_at timestamptz,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, campaign_id) REFERENCES campaign (tenant_id, id)
);

CREATE TABLE attribution_adjustment (
  tenant_id uuid NOT NULL,
  run_id uuid NOT NULL,
  conversion_id uuid NOT NULL,
  affiliate_id uuid NOT NULL,
  amount_minor bigint NOT NULL CHECK (amount_minor <> 0),
  currency text NOT NULL,
  -- Null while the conversion is not approved: a projection, not in the ledger.
  journal_id uuid,
  recorded_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, run_id, conversion_id, affiliate_id),
  FOREIGN KEY (tenant_id, run_id) REFERENCES attribution_run (tenant_id, id),
  FOREIGN KEY (tenant_id, conversion_id) REFERENCES conversion (tenant_id, id),
  FOREIGN KEY (tenant_id, affiliate_id) REFERENCES affiliate (tenant_id, id),
  FOREIGN KEY (tenant_id, journal_id) REFERENCES journal (tenant_id, id)
);
CREATE INDEX attribution_adjustment_conversion_idx ON attribution_adjustment (tenant_id, conversion_id);

-- What was reckoned first stays; what runs added or took is summed beside it.
ALTER TABLE commission ADD COLUMN adjusted_minor bigint NOT NULL DEFAULT 0
  CHECK (amount_minor + adjusted_minor >= 0);
";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(TABLES).await?;
        protect::table(manager, "attribution_run", Access::Mutable).await?;
        protect::table(manager, "attribution_adjustment", Access::AppendOnly).await
    }
}
