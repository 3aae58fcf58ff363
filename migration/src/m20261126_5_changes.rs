//! What was changed about recorded conversions: reversals in part or whole, reversals of those, adjusted sale amounts.

use sea_orm_migration::prelude::*;

use crate::protect::{self, Access};

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLES: &str = "
-- One row per event, for ever.
CREATE TABLE conversion_change (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  conversion_id uuid NOT NULL,
  -- The step of the conversion's history that it was.
  version integer NOT NULL,
  kind text NOT NULL,
  reason text NOT NULL,
  -- What it did to the sale, in the sale's currency: negative where it took.
  sale_minor bigint NOT NULL,
  currency text NOT NULL,
  undoes_id uuid,
  -- The caller's own.
  reference text,
  -- Null where nothing was in the ledger, or nothing had to be posted.
  journal_id uuid,
  actor text NOT NULL,
  note text,
  recorded_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, conversion_id) REFERENCES conversion (tenant_id, id),
  FOREIGN KEY (tenant_id, undoes_id) REFERENCES conversion_change (tenant_id, id),
  FOREIGN KEY (tenant_id, journal_id) REFERENCES journal (tenant_id, id)
);
-- The changes of a conversion, in order.
CREATE UNIQUE INDEX conversion_change_version_key ON conversion_change (tenant_id, conversion_id, version);
-- The natural key: a caller's reference is one change of a conversion.
CREATE UNIQUE INDEX conversion_change_reference_key ON conversion_change (tenant_id, conversion_id, reference)
  WHERE reference IS NOT NULL;
-- What was undone stays undone.
CREATE UNIQUE INDEX conversion_change_undo_key ON conversion_change (tenant_id, undoes_id) WHERE undoes_id IS NOT NULL;

-- What a change did to each commission. No foreign key to it: a refused conversion that is taken up again gets others.
CREATE TABLE conversion_change_line (
  tenant_id uuid NOT NULL,
  change_id uuid NOT NULL,
  commission_id uuid NOT NULL,
  affiliate_id uuid NOT NULL,
  -- Negative where it took.
  amount_minor bigint NOT NULL CHECK (amount_minor <> 0),
  currency text NOT NULL,
  PRIMARY KEY (tenant_id, change_id, commission_id),
  FOREIGN KEY (tenant_id, change_id) REFERENCES conversion_change (tenant_id, id),
  FOREIGN KEY (tenant_id, affiliate_id) REFERENCES affiliate (tenant_id, id)
);
CREATE INDEX conversion_change_line_commission_idx ON conversion_change_line (tenant_id, commission_id);

-- What was sent and what was reckoned first stay; what was changed since is summed beside them.
ALTER TABLE conversion ADD COLUMN sale_adjusted_minor bigint NOT NULL DEFAULT 0
  CHECK (sale_minor + sale_adjusted_minor >= 0);
ALTER TABLE conversion ADD COLUMN refunded_minor bigint NOT NULL DEFAULT 0
  CHECK (refunded_minor BETWEEN 0 AND sale_minor + sale_adjusted_minor);
ALTER TABLE commission ADD COLUMN reversed_minor bigint NOT NULL DEFAULT 0
  CHECK (reversed_minor BETWEEN 0 AND amount_minor + adjusted_minor);
-- Rules were made when fixed amounts were taken back with the whole sale only.
ALTER TABLE commission_rule_version ADD COLUMN is_flat_refunded_in_part boolean NOT NULL DEFAULT false;
";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(TABLES).await?;
        for table in ["conversion_change", "conversion_change_line"] {
            protect::table(manager, table, Access::AppendOnly).await?;
        }
        Ok(())
    }
}
