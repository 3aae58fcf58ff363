//! The double-entry ledger: accounts, journals, entries, guarded balances, and the projection beside it.

use sea_orm_migration::prelude::*;

use crate::protect::{self, Access};

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLES: &str = "
CREATE TABLE account (
  tenant_id uuid NOT NULL REFERENCES tenant,
  id uuid NOT NULL,
  code integer NOT NULL,
  affiliate_id uuid,
  currency text NOT NULL,
  created_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, affiliate_id) REFERENCES affiliate (tenant_id, id)
);
CREATE INDEX account_affiliate_idx ON account (tenant_id, affiliate_id) WHERE affiliate_id IS NOT NULL;

-- A fact posts once: its kind and business key are unique for ever.
CREATE TABLE journal (
  tenant_id uuid NOT NULL REFERENCES tenant,
  id uuid NOT NULL,
  kind text NOT NULL,
  business_key text NOT NULL,
  conversion_id uuid,
  posted_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, conversion_id) REFERENCES conversion (tenant_id, id)
);
CREATE UNIQUE INDEX journal_business_key ON journal (tenant_id, kind, business_key);
CREATE INDEX journal_conversion_idx ON journal (tenant_id, conversion_id) WHERE conversion_id IS NOT NULL;

CREATE TABLE entry (
  tenant_id uuid NOT NULL,
  journal_id uuid NOT NULL,
  line integer NOT NULL,
  account_id uuid NOT NULL,
  amount_minor bigint NOT NULL CHECK (amount_minor <> 0),
  currency text NOT NULL,
  PRIMARY KEY (tenant_id, journal_id, line),
  FOREIGN KEY (tenant_id, journal_id) REFERENCES journal (tenant_id, id),
  FOREIGN KEY (tenant_id, account_id) REFERENCES account (tenant_id, id)
);
CREATE INDEX entry_account_idx ON entry (tenant_id, account_id, journal_id);

-- The bound leaves room below the end of bigint: SQLite would turn an overflowing sum into a float without a word.
CREATE TABLE balance (
  tenant_id uuid NOT NULL,
  account_id uuid NOT NULL,
  amount_minor bigint NOT NULL CHECK (amount_minor BETWEEN 0 AND 9000000000000000000),
  version bigint NOT NULL,
  PRIMARY KEY (tenant_id, account_id),
  FOREIGN KEY (tenant_id, account_id) REFERENCES account (tenant_id, id)
);

CREATE TABLE earning (
  tenant_id uuid NOT NULL,
  affiliate_id uuid NOT NULL,
  currency text NOT NULL,
  unapproved_minor bigint NOT NULL CHECK (unapproved_minor BETWEEN 0 AND 9000000000000000000),
  PRIMARY KEY (tenant_id, affiliate_id, currency),
  FOREIGN KEY (tenant_id, affiliate_id) REFERENCES affiliate (tenant_id, id)
);
";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(TABLES).await?;
        for (table, access) in [
            ("account", Access::AppendOnly),
            ("journal", Access::AppendOnly),
            ("entry", Access::AppendOnly),
            ("balance", Access::Mutable),
            ("earning", Access::Mutable),
        ] {
            protect::table(manager, table, access).await?;
        }
        Ok(())
    }
}
