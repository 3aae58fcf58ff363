//! Processors: a tenant's accounts there, what payouts are there, their calls, and how the books differ.

use sea_orm_migration::prelude::*;

use crate::protect::{self, Access};

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLES: &str = "
CREATE TABLE processor (
  tenant_id uuid NOT NULL REFERENCES tenant,
  id uuid NOT NULL,
  method text NOT NULL,
  sealed bytea NOT NULL,
  mask text NOT NULL,
  token_hash bytea NOT NULL,
  hint text NOT NULL,
  author text NOT NULL,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  ended_at timestamptz,
  PRIMARY KEY (tenant_id, id)
);
-- One account at a time per processor.
CREATE UNIQUE INDEX processor_live_key ON processor (tenant_id, method) WHERE ended_at IS NULL;
-- The look-up of a call, before its tenant is known; not unique, as of postback endpoints.
CREATE INDEX processor_token_idx ON processor (token_hash);

CREATE TABLE payout_transfer (
  tenant_id uuid NOT NULL,
  payout_id uuid NOT NULL,
  method text NOT NULL,
  calls integer NOT NULL,
  handed_at timestamptz,
  busy_until timestamptz,
  next_look_at timestamptz,
  external_id text,
  fee_transaction text,
  fee_minor bigint,
  trouble text,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, payout_id),
  FOREIGN KEY (tenant_id, payout_id) REFERENCES payout (tenant_id, id)
);
-- A call that does not say our reference is about the payout that the processor calls so.
CREATE INDEX payout_transfer_external_idx ON payout_transfer (tenant_id, method, external_id);

CREATE TABLE processor_call (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  processor_id uuid NOT NULL,
  event_id text,
  event_type text,
  outcome text NOT NULL,
  http_status integer NOT NULL,
  message text,
  payout_id uuid,
  body text,
  received_at timestamptz NOT NULL,
  unlisted_before bigint NOT NULL CHECK (unlisted_before >= 0),
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, processor_id) REFERENCES processor (tenant_id, id),
  FOREIGN KEY (tenant_id, payout_id) REFERENCES payout (tenant_id, id)
);
-- An event counts once, however often it is told.
CREATE UNIQUE INDEX processor_call_event_key ON processor_call (tenant_id, processor_id, event_id)
  WHERE event_id IS NOT NULL;
-- Those that are past their time.
CREATE INDEX processor_call_received_idx ON processor_call (tenant_id, received_at);

CREATE TABLE reconciliation_run (
  tenant_id uuid NOT NULL REFERENCES tenant,
  method text NOT NULL,
  day text NOT NULL,
  transactions bigint NOT NULL,
  differences bigint NOT NULL,
  finished_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, method, day)
);

CREATE TABLE reconciliation_item (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  method text NOT NULL,
  kind text NOT NULL,
  subject text NOT NULL,
  status text NOT NULL,
  payout_id uuid,
  external_id text,
  currency text,
  ours_minor bigint,
  theirs_minor bigint,
  detail text NOT NULL,
  found_at timestamptz NOT NULL,
  note text,
  resolved_by text,
  resolved_at timestamptz,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, payout_id) REFERENCES payout (tenant_id, id)
);
-- Comparing a day again finds the same differences.
CREATE UNIQUE INDEX reconciliation_item_subject_key ON reconciliation_item (tenant_id, method, kind, subject);
CREATE INDEX reconciliation_item_status_idx ON reconciliation_item (tenant_id, status, id);

-- Payouts that the processor names in its books by the payment alone.
CREATE INDEX payout_reference_idx ON payout (tenant_id, method, reference) WHERE reference IS NOT NULL;
";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(TABLES).await?;
        for table in ["processor", "payout_transfer", "processor_call", "reconciliation_run", "reconciliation_item"] {
            protect::table(manager, table, Access::Mutable).await?;
        }
        protect::directory(manager, "processor").await
    }
}
