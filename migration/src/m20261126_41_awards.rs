//! Awards: what affiliates get or lose apart from conversions.

use sea_orm_migration::prelude::*;

use crate::protect::{self, Access};

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLES: &str = "
-- What was given is never changed; only its hold ends.
CREATE TABLE award (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  kind text NOT NULL,
  affiliate_id uuid NOT NULL,
  campaign_id uuid,
  -- Negative where it takes.
  amount_minor bigint NOT NULL CHECK (amount_minor <> 0),
  currency text NOT NULL,
  status text NOT NULL,
  reason text NOT NULL,
  -- JSON: how the amount came about; null where a person said it.
  explanation text,
  author text NOT NULL,
  journal_id uuid NOT NULL,
  payable_at timestamptz NOT NULL,
  released_at timestamptz,
  created_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, affiliate_id) REFERENCES affiliate (tenant_id, id),
  FOREIGN KEY (tenant_id, campaign_id) REFERENCES campaign (tenant_id, id),
  FOREIGN KEY (tenant_id, journal_id) REFERENCES journal (tenant_id, id)
);
CREATE INDEX award_affiliate_idx ON award (tenant_id, affiliate_id, id);
-- What the hold release looks for; rows leave the index as they are released.
CREATE INDEX award_due_idx ON award (tenant_id, payable_at, id) WHERE status = 'PENDING';
";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(TABLES).await?;
        protect::table(manager, "award", Access::Mutable).await
    }
}
