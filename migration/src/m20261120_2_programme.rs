//! What tenants manage: campaigns with goals and commission rules, affiliates, enrollments, links.

use sea_orm_migration::prelude::*;

use crate::protect::{self, Access};

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLES: &str = "
CREATE TABLE campaign (
  tenant_id uuid NOT NULL REFERENCES tenant,
  id uuid NOT NULL,
  name text NOT NULL,
  status text NOT NULL,
  currency text NOT NULL,
  destination_url text NOT NULL,
  attribution_model text NOT NULL,
  attribution_window_secs bigint NOT NULL CHECK (attribution_window_secs > 0),
  approval text NOT NULL,
  hold_secs bigint NOT NULL CHECK (hold_secs >= 0),
  is_public boolean NOT NULL,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id)
);

CREATE TABLE goal (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  campaign_id uuid NOT NULL,
  code text NOT NULL,
  name text NOT NULL,
  once_per_click boolean NOT NULL,
  status text NOT NULL,
  created_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, campaign_id) REFERENCES campaign (tenant_id, id)
);
CREATE UNIQUE INDEX goal_code_key ON goal (tenant_id, campaign_id, code);

CREATE TABLE commission_rule (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  campaign_id uuid NOT NULL,
  goal_id uuid,
  name text NOT NULL,
  is_default boolean NOT NULL,
  current_version integer NOT NULL,
  status text NOT NULL,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, campaign_id) REFERENCES campaign (tenant_id, id),
  FOREIGN KEY (tenant_id, goal_id) REFERENCES goal (tenant_id, id)
);
CREATE INDEX commission_rule_campaign_idx ON commission_rule (tenant_id, campaign_id);
-- One default for all goals and one per goal. Two indexes, because nulls are distinct in a unique index.
CREATE UNIQUE INDEX commission_rule_default_key ON commission_rule (tenant_id, campaign_id)
  WHERE is_default AND status = 'ACTIVE' AND goal_id IS NULL;
CREATE UNIQUE INDEX commission_rule_goal_default_key ON commission_rule (tenant_id, campaign_id, goal_id)
  WHERE is_default AND status = 'ACTIVE' AND goal_id IS NOT NULL;

CREATE TABLE commission_rule_version (
  tenant_id uuid NOT NULL,
  rule_id uuid NOT NULL,
  version integer NOT NULL CHECK (version > 0),
  kind text NOT NULL,
  flat_minor bigint NOT NULL CHECK (flat_minor >= 0),
  rate_ppm bigint NOT NULL CHECK (rate_ppm BETWEEN 0 AND 1000000),
  created_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, rule_id, version),
  FOREIGN KEY (tenant_id, rule_id) REFERENCES commission_rule (tenant_id, id)
);

CREATE TABLE affiliate (
  tenant_id uuid NOT NULL REFERENCES tenant,
  id uuid NOT NULL,
  name text NOT NULL,
  email text NOT NULL,
  company text,
  status text NOT NULL,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX affiliate_email_key ON affiliate (tenant_id, email);

CREATE TABLE enrollment (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  campaign_id uuid NOT NULL,
  affiliate_id uuid NOT NULL,
  status text NOT NULL,
  rule_id uuid,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, campaign_id) REFERENCES campaign (tenant_id, id),
  FOREIGN KEY (tenant_id, affiliate_id) REFERENCES affiliate (tenant_id, id),
  FOREIGN KEY (tenant_id, rule_id) REFERENCES commission_rule (tenant_id, id)
);
CREATE UNIQUE INDEX enrollment_pair_key ON enrollment (tenant_id, campaign_id, affiliate_id);
CREATE INDEX enrollment_affiliate_idx ON enrollment (tenant_id, affiliate_id);

CREATE TABLE link (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  code text NOT NULL,
  campaign_id uuid NOT NULL,
  affiliate_id uuid NOT NULL,
  destination_url text,
  label text,
  status text NOT NULL,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, campaign_id) REFERENCES campaign (tenant_id, id),
  FOREIGN KEY (tenant_id, affiliate_id) REFERENCES affiliate (tenant_id, id)
);
CREATE UNIQUE INDEX link_code_key ON link (tenant_id, code);
CREATE INDEX link_affiliate_idx ON link (tenant_id, affiliate_id);
CREATE INDEX link_campaign_idx ON link (tenant_id, campaign_id);
";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(TABLES).await?;
        for (table, access) in [
            ("campaign", Access::Mutable),
            ("goal", Access::Mutable),
            ("commission_rule", Access::Mutable),
            ("commission_rule_version", Access::AppendOnly),
            ("affiliate", Access::Mutable),
            ("enrollment", Access::Mutable),
            ("link", Access::Mutable),
        ] {
            protect::table(manager, table, access).await?;
        }
        Ok(())
    }
}
