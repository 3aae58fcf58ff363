//! Overrides: who is above whom, what each level above earns, and on which level a commission is.
//!
//! # Decisions
//! - An affiliate may have several commissions of a conversion: its own, and one on that of each who shares it and is below.
//!   What runs and tiers did to them names the one below as well; in runs it is a part of the key. An
//!   older node that applies a run during a rollout is refused and ends it as FAILED; asked for again, it makes what is left.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

use crate::protect::{self, Access};

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLES: &str = "
-- A table of its own: SQLite cannot add a foreign key to `affiliate`, and most affiliates have no parent.
CREATE TABLE affiliate_parent (
  tenant_id uuid NOT NULL,
  affiliate_id uuid NOT NULL,
  parent_id uuid NOT NULL,
  created_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, affiliate_id),
  FOREIGN KEY (tenant_id, affiliate_id) REFERENCES affiliate (tenant_id, id),
  FOREIGN KEY (tenant_id, parent_id) REFERENCES affiliate (tenant_id, id),
  CHECK (affiliate_id <> parent_id)
);
-- Who is below an affiliate.
CREATE INDEX affiliate_parent_parent_idx ON affiliate_parent (tenant_id, parent_id);

CREATE TABLE override_plan (
  tenant_id uuid NOT NULL REFERENCES tenant,
  id uuid NOT NULL,
  -- Null is the tenant's default.
  campaign_id uuid,
  current_version integer NOT NULL CHECK (current_version > 0),
  status text NOT NULL,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, campaign_id) REFERENCES campaign (tenant_id, id)
);
-- One for each campaign and one for all others, archived or not: set again, it is the same plan in another version.
CREATE UNIQUE INDEX override_plan_campaign_key ON override_plan (tenant_id, campaign_id) WHERE campaign_id IS NOT NULL;
CREATE UNIQUE INDEX override_plan_default_key ON override_plan (tenant_id) WHERE campaign_id IS NULL;

CREATE TABLE override_plan_version (
  tenant_id uuid NOT NULL,
  plan_id uuid NOT NULL,
  version integer NOT NULL CHECK (version > 0),
  -- JSON: what each level earns, the first above the affiliate first.
  levels text NOT NULL,
  created_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, plan_id, version),
  FOREIGN KEY (tenant_id, plan_id) REFERENCES override_plan (tenant_id, id)
);

-- 0 is what an affiliate earns itself, 1 what its parent earns on that, and so on up.
ALTER TABLE commission ADD COLUMN level integer NOT NULL DEFAULT 0 CHECK (level >= 0);
-- Whose own commission an override is on. No foreign key: SQLite cannot add one, and affiliates are never deleted.
ALTER TABLE commission ADD COLUMN base_affiliate_id uuid;
-- Null where it is the affiliate's own.
ALTER TABLE tier_adjustment ADD COLUMN base_affiliate_id uuid;
";

/// The owner is bound by the table's policy as well, and knows no tenant here.
const KEY_POSTGRES: &str = "
ALTER TABLE attribution_adjustment NO FORCE ROW LEVEL SECURITY;
ALTER TABLE attribution_adjustment DISABLE TRIGGER attribution_adjustment_append_only;
ALTER TABLE attribution_adjustment ADD COLUMN base_affiliate_id uuid;
UPDATE attribution_adjustment SET base_affiliate_id = affiliate_id;
ALTER TABLE attribution_adjustment ALTER COLUMN base_affiliate_id SET NOT NULL;
ALTER TABLE attribution_adjustment DROP CONSTRAINT attribution_adjustment_pkey;
ALTER TABLE attribution_adjustment
  ADD PRIMARY KEY (tenant_id, run_id, conversion_id, affiliate_id, base_affiliate_id);
ALTER TABLE attribution_adjustment ENABLE TRIGGER attribution_adjustment_append_only;
ALTER TABLE attribution_adjustment FORCE ROW LEVEL SECURITY;
";

const KEY_SQLITE: &str = "
ALTER TABLE attribution_adjustment RENAME TO attribution_adjustment_old;
CREATE TABLE attribution_adjustment (
  tenant_id uuid NOT NULL,
  run_id uuid NOT NULL,
  conversion_id uuid NOT NULL,
  affiliate_id uuid NOT NULL,
  base_affiliate_id uuid NOT NULL,
  amount_minor bigint NOT NULL CHECK (amount_minor <> 0),
  currency text NOT NULL,
  journal_id uuid,
  recorded_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, run_id, conversion_id, affiliate_id, base_affiliate_id),
  FOREIGN KEY (tenant_id, run_id) REFERENCES attribution_run (tenant_id, id),
  FOREIGN KEY (tenant_id, conversion_id) REFERENCES conversion (tenant_id, id),
  FOREIGN KEY (tenant_id, affiliate_id) REFERENCES affiliate (tenant_id, id),
  FOREIGN KEY (tenant_id, journal_id) REFERENCES journal (tenant_id, id)
);
INSERT INTO attribution_adjustment
  SELECT tenant_id, run_id, conversion_id, affiliate_id, affiliate_id, amount_minor, currency, journal_id, recorded_at
  FROM attribution_adjustment_old;
DROP TABLE attribution_adjustment_old;
CREATE INDEX attribution_adjustment_conversion_idx ON attribution_adjustment (tenant_id, conversion_id);
";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        connection.execute_unprepared(TABLES).await?;
        if manager.get_database_backend() == DbBackend::Postgres {
            connection.execute_unprepared(KEY_POSTGRES).await?;
        } else {
            connection.execute_unprepared(KEY_SQLITE).await?;
            protect::table(manager, "attribution_adjustment", Access::AppendOnly).await?;
        }
        protect::table(manager, "affiliate_parent", Access::Mutable).await?;
        protect::table(manager, "override_plan", Access::Mutable).await?;
        protect::table(manager, "override_plan_version", Access::AppendOnly).await
    }
}
