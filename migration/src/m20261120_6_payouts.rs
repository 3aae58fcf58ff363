//! Payouts: batches, payments, their history, and whose accounts money goes through.

use sea_orm_migration::prelude::*;

use crate::protect::{self, Access};

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLES: &str = "
CREATE TABLE payout_batch (
  tenant_id uuid NOT NULL REFERENCES tenant,
  id uuid NOT NULL,
  status text NOT NULL,
  currency text NOT NULL,
  minimum_minor bigint NOT NULL CHECK (minimum_minor > 0),
  note text,
  author text NOT NULL,
  approver text,
  created_at timestamptz NOT NULL,
  approved_at timestamptz,
  submitted_at timestamptz,
  PRIMARY KEY (tenant_id, id)
);

CREATE TABLE payout (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  batch_id uuid NOT NULL,
  affiliate_id uuid NOT NULL,
  currency text NOT NULL,
  gross_minor bigint NOT NULL CHECK (gross_minor > 0),
  method text NOT NULL,
  status text NOT NULL,
  reference text,
  reason text,
  retry_of uuid,
  version integer NOT NULL CHECK (version > 0),
  created_at timestamptz NOT NULL,
  approved_at timestamptz,
  submitted_at timestamptz,
  paid_at timestamptz,
  closed_at timestamptz,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, batch_id) REFERENCES payout_batch (tenant_id, id),
  FOREIGN KEY (tenant_id, affiliate_id) REFERENCES affiliate (tenant_id, id),
  FOREIGN KEY (tenant_id, retry_of) REFERENCES payout (tenant_id, id)
);
-- One open payout per affiliate and currency, however many runs start at once.
CREATE UNIQUE INDEX payout_open_key ON payout (tenant_id, affiliate_id, currency)
  WHERE status IN ('DRAFT', 'APPROVED', 'SUBMITTED', 'IN_TRANSIT', 'UNKNOWN');
-- A payout is repeated once, unless the repetition was given up.
CREATE UNIQUE INDEX payout_retry_key ON payout (tenant_id, retry_of)
  WHERE retry_of IS NOT NULL AND status <> 'CANCELLED';
-- Lists, newest first: of a batch, of an affiliate, in a state.
CREATE INDEX payout_batch_idx ON payout (tenant_id, batch_id, id);
CREATE INDEX payout_affiliate_idx ON payout (tenant_id, affiliate_id, id);
CREATE INDEX payout_status_idx ON payout (tenant_id, status, id);

CREATE TABLE payout_history (
  tenant_id uuid NOT NULL,
  payout_id uuid NOT NULL,
  version integer NOT NULL,
  from_status text,
  to_status text NOT NULL,
  reason text,
  reference text,
  journal_id uuid,
  actor text NOT NULL,
  recorded_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, payout_id, version),
  FOREIGN KEY (tenant_id, payout_id) REFERENCES payout (tenant_id, id),
  FOREIGN KEY (tenant_id, journal_id) REFERENCES journal (tenant_id, id)
);
-- The payout behind a journal, which posts one step.
CREATE UNIQUE INDEX payout_history_journal_key ON payout_history (tenant_id, journal_id) WHERE journal_id IS NOT NULL;

CREATE TABLE payout_skip (
  tenant_id uuid NOT NULL,
  batch_id uuid NOT NULL,
  affiliate_id uuid NOT NULL,
  reason text NOT NULL,
  payout_id uuid,
  PRIMARY KEY (tenant_id, batch_id, affiliate_id),
  FOREIGN KEY (tenant_id, batch_id) REFERENCES payout_batch (tenant_id, id),
  FOREIGN KEY (tenant_id, affiliate_id) REFERENCES affiliate (tenant_id, id),
  FOREIGN KEY (tenant_id, payout_id) REFERENCES payout (tenant_id, id)
);

-- The owner of a processor's account; null on those of affiliates and of the tenant.
ALTER TABLE account ADD COLUMN processor text;
-- Whether a payout batch must be approved by another than its author.
ALTER TABLE tenant ADD COLUMN payout_four_eyes boolean NOT NULL DEFAULT FALSE;
";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(TABLES).await?;
        for (table, access) in [
            ("payout_batch", Access::Mutable),
            ("payout", Access::Mutable),
            ("payout_history", Access::AppendOnly),
            ("payout_skip", Access::AppendOnly),
        ] {
            protect::table(manager, table, access).await?;
        }
        Ok(())
    }
}
