//! When and from how much on affiliates are paid, batches that follow it, and batches that are worked off in pages.

use sea_orm_migration::prelude::*;

use crate::protect::{self, Access};

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLES: &str = "
CREATE TABLE payout_terms (
  tenant_id uuid NOT NULL REFERENCES tenant,
  id uuid NOT NULL,
  affiliate_id uuid,
  currency text NOT NULL,
  threshold_minor bigint CHECK (threshold_minor > 0),
  schedule text,
  scheduled_at timestamptz,
  author text NOT NULL,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, affiliate_id) REFERENCES affiliate (tenant_id, id)
);
-- The tenant's own in a currency, which those of affiliates fill up from.
CREATE UNIQUE INDEX payout_terms_default_key ON payout_terms (tenant_id, currency) WHERE affiliate_id IS NULL;
-- Also how a batch finds them.
CREATE UNIQUE INDEX payout_terms_affiliate_key ON payout_terms (tenant_id, affiliate_id, currency)
  WHERE affiliate_id IS NOT NULL;

ALTER TABLE payout_batch ADD COLUMN by_terms boolean NOT NULL DEFAULT FALSE;
ALTER TABLE payout_batch ADD COLUMN schedule text;
ALTER TABLE payout_batch ADD COLUMN due_on date;
ALTER TABLE payout_batch ADD COLUMN earned_before timestamptz;
-- How far it is worked off: the last affiliate, or payout.
ALTER TABLE payout_batch ADD COLUMN done_to uuid;
ALTER TABLE payout_batch ADD COLUMN submitter text;
-- One batch for a day that is due, however many schedulers look at once.
CREATE UNIQUE INDEX payout_batch_due_key ON payout_batch (tenant_id, currency, schedule, due_on)
  WHERE schedule IS NOT NULL;

-- Everybody's balance in a currency, by affiliate: pages of a batch.
CREATE INDEX account_owner_idx ON account (tenant_id, code, currency, affiliate_id) WHERE affiliate_id IS NOT NULL;
";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(TABLES).await?;
        protect::table(manager, "payout_terms", Access::Mutable).await
    }
}
