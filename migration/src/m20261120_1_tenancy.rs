//! Tenants, their users and keys, and the machinery that every later table leans on: events, outbox, idempotency.

use sea_orm_migration::prelude::*;

use crate::protect::{self, Access};

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLES: &str = "
CREATE TABLE tenant (
  tenant_id uuid PRIMARY KEY,
  slug text NOT NULL,
  name text NOT NULL,
  currency text NOT NULL,
  time_zone text NOT NULL,
  epoch uuid NOT NULL,
  status text NOT NULL,
  created_at timestamptz NOT NULL
);
-- The one key that does not begin with the tenant: it is how a tenant is found.
CREATE UNIQUE INDEX tenant_slug_key ON tenant (slug);

-- Apart from tenant: every commit updates this row, and tenant is read everywhere.
CREATE TABLE tenant_counter (
  tenant_id uuid PRIMARY KEY REFERENCES tenant,
  event_seq bigint NOT NULL CHECK (event_seq >= 0)
);

CREATE TABLE tenant_user (
  tenant_id uuid NOT NULL REFERENCES tenant,
  id uuid NOT NULL,
  email text NOT NULL,
  name text NOT NULL,
  password_hash text,
  affiliate_id uuid,
  status text NOT NULL,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX tenant_user_email_key ON tenant_user (tenant_id, email);

CREATE TABLE user_role (
  tenant_id uuid NOT NULL,
  user_id uuid NOT NULL,
  role text NOT NULL,
  PRIMARY KEY (tenant_id, user_id, role),
  FOREIGN KEY (tenant_id, user_id) REFERENCES tenant_user (tenant_id, id)
);

CREATE TABLE api_key (
  tenant_id uuid NOT NULL REFERENCES tenant,
  id uuid NOT NULL,
  name text NOT NULL,
  key_hash bytea NOT NULL,
  hint text NOT NULL,
  scopes text NOT NULL,
  created_at timestamptz NOT NULL,
  expires_at timestamptz,
  last_used_at timestamptz,
  revoked_at timestamptz,
  PRIMARY KEY (tenant_id, id)
);
-- Found by its hash before the tenant is known; 160 random bits do not collide.
CREATE INDEX api_key_hash_idx ON api_key (key_hash);

CREATE TABLE session (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  user_id uuid NOT NULL,
  token_hash bytea NOT NULL,
  generation integer NOT NULL,
  created_at timestamptz NOT NULL,
  rotated_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  revoked_at timestamptz,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, user_id) REFERENCES tenant_user (tenant_id, id)
);
CREATE INDEX session_user_idx ON session (tenant_id, user_id);

-- No foreign keys on the next three: they are written with every batch and name rows of the same transaction.
CREATE TABLE event (
  tenant_id uuid NOT NULL,
  seq bigint NOT NULL CHECK (seq > 0),
  kind text NOT NULL,
  subject_id uuid NOT NULL,
  campaign_id uuid,
  affiliate_id uuid,
  payload text NOT NULL,
  recorded_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, seq)
);

CREATE TABLE outbox (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  kind text NOT NULL,
  dedup_key text NOT NULL,
  due_at timestamptz NOT NULL,
  attempts integer NOT NULL,
  leased_until timestamptz,
  created_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX outbox_dedup_key ON outbox (tenant_id, kind, dedup_key);
-- The worker asks for what is due, whoever's it is.
CREATE INDEX outbox_due_idx ON outbox (due_at);

CREATE TABLE idempotency (
  tenant_id uuid NOT NULL,
  key text NOT NULL,
  input_hash bytea NOT NULL,
  result_id uuid,
  created_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, key)
);
-- Retention deletes by age.
CREATE INDEX idempotency_age_idx ON idempotency (tenant_id, created_at);
";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        protect::create_refuse_rewrite(manager).await?;
        manager.get_connection().execute_unprepared(TABLES).await?;
        for (table, access) in [
            ("tenant", Access::Mutable),
            ("tenant_counter", Access::Mutable),
            ("tenant_user", Access::Mutable),
            ("user_role", Access::Mutable),
            ("api_key", Access::Mutable),
            ("session", Access::Mutable),
            ("event", Access::AppendOnly),
            ("outbox", Access::Mutable),
            ("idempotency", Access::Mutable),
        ] {
            protect::table(manager, table, access).await?;
        }
        for table in ["tenant", "api_key", "outbox"] {
            protect::directory(manager, table).await?;
        }
        Ok(())
    }
}
