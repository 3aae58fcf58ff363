//! Overrides: who is above whom, what each level above earns, and on which level a commission is.

use sea_orm_migration::prelude::*;

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
";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(TABLES).await?;
        protect::table(manager, "affiliate_parent", Access::Mutable).await?;
        protect::table(manager, "override_plan", Access::Mutable).await?;
        protect::table(manager, "override_plan_version", Access::AppendOnly).await
    }
}
