//! The ledger's order, and the chain of blocks that seals it.
//!
//! # Decisions
//! - Entries carry the number of their journal: 1, 2, 3.. per tenant in commit order, from the counter row that every
//!   commit bumps anyway. So an account's entries have an order in which each balance follows from the one before.
//! - `entry_account_idx` holds all that a balance is made of: sums before a page, and at an instant, read the index alone.
//! - A block keeps the hash of each of its journals (32 bytes a journal), so that `verify` names the journal and not
//!   only the block that is not as it was.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

use crate::protect::{self, Access};

#[derive(DeriveMigrationName)]
pub struct Migration;

const COLUMNS: &str = "
ALTER TABLE tenant_counter ADD COLUMN journal_seq bigint NOT NULL DEFAULT 0;
ALTER TABLE entry ADD COLUMN seq bigint NOT NULL DEFAULT 0;
";

/// Numbers what was posted before, in the order of the ids, which is that of posting.
const NUMBERS: &str = "
UPDATE entry SET seq = numbered.seq FROM
  (SELECT tenant_id, id, ROW_NUMBER() OVER (PARTITION BY tenant_id ORDER BY id) AS seq FROM journal) AS numbered
  WHERE numbered.tenant_id = entry.tenant_id AND numbered.id = entry.journal_id;
UPDATE tenant_counter SET journal_seq =
  COALESCE((SELECT MAX(entry.seq) FROM entry WHERE entry.tenant_id = tenant_counter.tenant_id), 0);
";

const KEYS: &str = "
CREATE UNIQUE INDEX entry_seq_key ON entry (tenant_id, seq, line);
DROP INDEX entry_account_idx;
CREATE INDEX entry_account_idx ON entry (tenant_id, account_id, seq, line, amount_minor);

CREATE TABLE ledger_block (
  tenant_id uuid NOT NULL REFERENCES tenant,
  number bigint NOT NULL CHECK (number > 0),
  first_seq bigint NOT NULL,
  last_seq bigint NOT NULL CHECK (last_seq >= first_seq),
  entries bigint NOT NULL,
  leaves bytea NOT NULL,
  previous_hash bytea NOT NULL,
  hash bytea NOT NULL,
  public_key bytea NOT NULL,
  signature bytea NOT NULL,
  sealed_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, number)
);
";

/// The tables whose rows are numbered: their owner is bound by their policies as well, and knows no tenant here.
const NUMBERED: [&str; 3] = ["entry", "journal", "tenant_counter"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        connection.execute_unprepared(COLUMNS).await?;
        if manager.get_database_backend() == DbBackend::Postgres {
            for table in NUMBERED {
                connection.execute_unprepared(&format!("ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")).await?;
            }
            connection.execute_unprepared("ALTER TABLE entry DISABLE TRIGGER entry_append_only").await?;
            connection.execute_unprepared(NUMBERS).await?;
            connection.execute_unprepared("ALTER TABLE entry ENABLE TRIGGER entry_append_only").await?;
            for table in NUMBERED {
                connection.execute_unprepared(&format!("ALTER TABLE {table} FORCE ROW LEVEL SECURITY")).await?;
            }
        } else {
            connection.execute_unprepared("DROP TRIGGER entry_no_update").await?;
            connection.execute_unprepared(NUMBERS).await?;
            connection
                .execute_unprepared(
                    "CREATE TRIGGER entry_no_update BEFORE UPDATE ON entry
                       BEGIN SELECT RAISE(ABORT, 'entry is append-only'); END;",
                )
                .await?;
        }
        connection.execute_unprepared(KEYS).await?;
        protect::table(manager, "ledger_block", Access::AppendOnly).await
    }
}
