//! Where other servers and pages send conversions to, and what of that was refused.

use sea_orm_migration::prelude::*;

use crate::protect::{self, Access};

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLES: &str = "
CREATE TABLE postback_endpoint (
  tenant_id uuid NOT NULL REFERENCES tenant,
  id uuid NOT NULL,
  name text NOT NULL,
  token_hash bytea NOT NULL,
  hint text NOT NULL,
  dialect text NOT NULL,
  default_goal text,
  goals text NOT NULL,
  default_currency text,
  secret_hash bytea,
  networks text,
  status text NOT NULL,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id)
);
-- The look-up of a call, before its tenant is known. Not unique: a key that is must begin with the tenant, and 160 random
-- bits do not meet.
CREATE INDEX postback_endpoint_token_idx ON postback_endpoint (token_hash);

CREATE TABLE postback_call (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  endpoint_id uuid NOT NULL,
  received_at timestamptz NOT NULL,
  method text NOT NULL,
  parameters text NOT NULL,
  http_status integer NOT NULL,
  code text NOT NULL,
  message text NOT NULL,
  conversion_id uuid,
  unlisted_before bigint NOT NULL CHECK (unlisted_before >= 0),
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, endpoint_id) REFERENCES postback_endpoint (tenant_id, id),
  FOREIGN KEY (tenant_id, conversion_id) REFERENCES conversion (tenant_id, id)
);
-- An endpoint's calls, newest first.
CREATE INDEX postback_call_endpoint_idx ON postback_call (tenant_id, endpoint_id, id);
-- Those that are past their time.
CREATE INDEX postback_call_received_idx ON postback_call (tenant_id, received_at);
";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(TABLES).await?;
        for table in ["postback_endpoint", "postback_call"] {
            protect::table(manager, table, Access::Mutable).await?;
        }
        protect::directory(manager, "postback_endpoint").await
    }
}
