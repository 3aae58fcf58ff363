//! Runs that approve, reject or take back many conversions in the background, and which of them each run refused.

use sea_orm_migration::prelude::*;

use crate::protect::{self, Access};

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLES: &str = "
CREATE TABLE conversion_run (
  tenant_id uuid NOT NULL REFERENCES tenant,
  id uuid NOT NULL,
  status text NOT NULL,
  action text NOT NULL,
  -- Null where nothing is refused or taken back.
  reason text,
  -- JSON: the ids, or the filter.
  selection text NOT NULL,
  note text,
  author text NOT NULL,
  conversions_total bigint NOT NULL CHECK (conversions_total >= 0),
  conversions_seen bigint NOT NULL CHECK (conversions_seen >= 0),
  conversions_changed bigint NOT NULL CHECK (conversions_changed >= 0),
  -- The newest conversion that it is about, and the last one that was looked at: where the run goes on.
  until_id uuid,
  seen_id uuid,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  finished_at timestamptz,
  PRIMARY KEY (tenant_id, id)
);

-- No foreign key to the conversion: a caller may have named what is not there.
CREATE TABLE conversion_run_refusal (
  tenant_id uuid NOT NULL,
  run_id uuid NOT NULL,
  conversion_id uuid NOT NULL,
  code text NOT NULL,
  message text NOT NULL,
  recorded_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, run_id, conversion_id),
  FOREIGN KEY (tenant_id, run_id) REFERENCES conversion_run (tenant_id, id)
);
";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(TABLES).await?;
        protect::table(manager, "conversion_run", Access::Mutable).await?;
        protect::table(manager, "conversion_run_refusal", Access::AppendOnly).await
    }
}
