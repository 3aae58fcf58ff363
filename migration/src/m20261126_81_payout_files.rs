//! Files for banks and from banks: who pays, what was handed out, what was told back.

use sea_orm_migration::prelude::*;

use crate::protect::{self, Access};

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLES: &str = "
CREATE TABLE paying_account (
  tenant_id uuid NOT NULL REFERENCES tenant,
  id uuid NOT NULL,
  method text NOT NULL,
  account text NOT NULL,
  mask text NOT NULL,
  author text NOT NULL,
  created_at timestamptz NOT NULL,
  ended_at timestamptz,
  PRIMARY KEY (tenant_id, id)
);
-- One at a time.
CREATE UNIQUE INDEX paying_account_live_key ON paying_account (tenant_id, method) WHERE ended_at IS NULL;

CREATE TABLE payout_file (
  tenant_id uuid NOT NULL REFERENCES tenant,
  id uuid NOT NULL,
  format text NOT NULL,
  batch_id uuid,
  part integer NOT NULL,
  paying_account_id uuid,
  digest text NOT NULL,
  items bigint NOT NULL,
  author text NOT NULL,
  created_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, batch_id) REFERENCES payout_batch (tenant_id, id),
  FOREIGN KEY (tenant_id, paying_account_id) REFERENCES paying_account (tenant_id, id)
);
-- What was handed out is written again from here.
CREATE UNIQUE INDEX payout_file_part_key ON payout_file (tenant_id, batch_id, format, part) WHERE batch_id IS NOT NULL;
-- What was taken in is taken in once.
CREATE UNIQUE INDEX payout_file_digest_key ON payout_file (tenant_id, digest) WHERE batch_id IS NULL;

CREATE TABLE payout_notice (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  file_id uuid NOT NULL,
  entry_key text NOT NULL,
  reference text,
  payout_id uuid,
  outcome text NOT NULL,
  status text NOT NULL,
  reason text,
  detail text,
  amount_minor bigint,
  currency text,
  recorded_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, file_id) REFERENCES payout_file (tenant_id, id),
  FOREIGN KEY (tenant_id, payout_id) REFERENCES payout (tenant_id, id)
);
-- The same line of the bank, in whatever file.
CREATE INDEX payout_notice_entry_idx ON payout_notice (tenant_id, entry_key);
CREATE INDEX payout_notice_file_idx ON payout_notice (tenant_id, file_id, id);
CREATE INDEX payout_notice_outcome_idx ON payout_notice (tenant_id, outcome, id);

-- No foreign key: SQLite cannot add one to a table that is there, and files are never deleted.
ALTER TABLE payout ADD COLUMN file_id uuid;
-- By which name the bank knows the payment.
ALTER TABLE payout ADD COLUMN bank_reference text;
CREATE INDEX payout_file_idx ON payout (tenant_id, file_id, id) WHERE file_id IS NOT NULL;
CREATE UNIQUE INDEX payout_bank_reference_key ON payout (tenant_id, bank_reference) WHERE bank_reference IS NOT NULL;
";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(TABLES).await?;
        protect::table(manager, "paying_account", Access::Mutable).await?;
        protect::table(manager, "payout_file", Access::AppendOnly).await?;
        protect::table(manager, "payout_notice", Access::AppendOnly).await
    }
}
