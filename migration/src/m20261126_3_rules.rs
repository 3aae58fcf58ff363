//! Rules with criteria, recurrence and tiers; affiliate groups; what tiers have counted, and what rating anew did.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

use crate::protect::{self, Access};

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLES: &str = "
CREATE TABLE affiliate_group (
  tenant_id uuid NOT NULL REFERENCES tenant,
  id uuid NOT NULL,
  name text NOT NULL,
  modifier_ppm bigint NOT NULL CHECK (modifier_ppm BETWEEN 0 AND 1000000),
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX affiliate_group_name_key ON affiliate_group (tenant_id, name);

CREATE TABLE affiliate_group_member (
  tenant_id uuid NOT NULL,
  affiliate_id uuid NOT NULL,
  group_id uuid NOT NULL,
  added_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, affiliate_id),
  FOREIGN KEY (tenant_id, affiliate_id) REFERENCES affiliate (tenant_id, id),
  FOREIGN KEY (tenant_id, group_id) REFERENCES affiliate_group (tenant_id, id)
);
CREATE INDEX affiliate_group_member_group_idx ON affiliate_group_member (tenant_id, group_id);

ALTER TABLE commission_rule ADD COLUMN group_id uuid;
ALTER TABLE commission_rule ADD COLUMN position integer CHECK (position > 0);
ALTER TABLE commission_rule_version ADD COLUMN plan text;
ALTER TABLE conversion ADD COLUMN product_id text;

-- Rules with a position are as many as one likes; of those without, one is what is left to all others.
DROP INDEX commission_rule_default_key;
DROP INDEX commission_rule_goal_default_key;
CREATE UNIQUE INDEX commission_rule_default_key ON commission_rule (tenant_id, campaign_id)
  WHERE is_default AND status = 'ACTIVE' AND goal_id IS NULL AND position IS NULL;
CREATE UNIQUE INDEX commission_rule_goal_default_key ON commission_rule (tenant_id, campaign_id, goal_id)
  WHERE is_default AND status = 'ACTIVE' AND goal_id IS NOT NULL AND position IS NULL;
CREATE UNIQUE INDEX commission_rule_group_key ON commission_rule (tenant_id, campaign_id, group_id)
  WHERE group_id IS NOT NULL AND status = 'ACTIVE' AND goal_id IS NULL AND position IS NULL;
CREATE UNIQUE INDEX commission_rule_group_goal_key ON commission_rule (tenant_id, campaign_id, group_id, goal_id)
  WHERE group_id IS NOT NULL AND status = 'ACTIVE' AND goal_id IS NOT NULL AND position IS NULL;

-- A customer's first commission is looked for by the customer.
CREATE INDEX conversion_customer_idx ON conversion (tenant_id, customer_id, id) WHERE customer_id IS NOT NULL;

CREATE TABLE customer_commission (
  tenant_id uuid NOT NULL,
  campaign_id uuid NOT NULL,
  affiliate_id uuid NOT NULL,
  customer_id text NOT NULL,
  conversions bigint NOT NULL CHECK (conversions >= 0),
  PRIMARY KEY (tenant_id, campaign_id, affiliate_id, customer_id),
  FOREIGN KEY (tenant_id, campaign_id) REFERENCES campaign (tenant_id, id),
  FOREIGN KEY (tenant_id, affiliate_id) REFERENCES affiliate (tenant_id, id)
);

CREATE TABLE tier_state (
  tenant_id uuid NOT NULL,
  affiliate_id uuid NOT NULL,
  rule_id uuid NOT NULL,
  period text NOT NULL,
  period_start timestamptz NOT NULL,
  conversions bigint NOT NULL CHECK (conversions >= 0),
  sale_minor bigint NOT NULL CHECK (sale_minor BETWEEN 0 AND 9000000000000000000),
  PRIMARY KEY (tenant_id, affiliate_id, rule_id, period, period_start),
  FOREIGN KEY (tenant_id, affiliate_id) REFERENCES affiliate (tenant_id, id),
  FOREIGN KEY (tenant_id, rule_id) REFERENCES commission_rule (tenant_id, id)
);

CREATE TABLE tier_share (
  tenant_id uuid NOT NULL,
  conversion_id uuid NOT NULL,
  affiliate_id uuid NOT NULL,
  rule_id uuid NOT NULL,
  rule_version integer NOT NULL,
  period text NOT NULL,
  period_start timestamptz NOT NULL,
  mode text NOT NULL,
  is_counted boolean NOT NULL,
  sale_minor bigint NOT NULL CHECK (sale_minor >= 0),
  step bigint NOT NULL CHECK (step >= 0),
  is_due boolean NOT NULL,
  PRIMARY KEY (tenant_id, conversion_id, affiliate_id),
  FOREIGN KEY (tenant_id, conversion_id) REFERENCES conversion (tenant_id, id),
  FOREIGN KEY (tenant_id, affiliate_id) REFERENCES affiliate (tenant_id, id),
  FOREIGN KEY (tenant_id, rule_id, rule_version) REFERENCES commission_rule_version (tenant_id, rule_id, version)
);
-- What is to be rated anew: the shares of a period whose step is another.
CREATE INDEX tier_share_period_idx
  ON tier_share (tenant_id, affiliate_id, rule_id, period, period_start, rule_version, step);

CREATE TABLE tier_adjustment (
  tenant_id uuid NOT NULL,
  conversion_id uuid NOT NULL,
  affiliate_id uuid NOT NULL,
  version integer NOT NULL,
  rule_id uuid NOT NULL,
  from_step bigint NOT NULL,
  to_step bigint NOT NULL,
  amount_minor bigint NOT NULL,
  reversed_minor bigint NOT NULL,
  currency text NOT NULL,
  journal_id uuid,
  recorded_at timestamptz NOT NULL,
  CHECK (amount_minor <> 0 OR reversed_minor <> 0),
  PRIMARY KEY (tenant_id, conversion_id, affiliate_id, version),
  FOREIGN KEY (tenant_id, conversion_id) REFERENCES conversion (tenant_id, id),
  FOREIGN KEY (tenant_id, affiliate_id) REFERENCES affiliate (tenant_id, id),
  FOREIGN KEY (tenant_id, rule_id) REFERENCES commission_rule (tenant_id, id),
  FOREIGN KEY (tenant_id, journal_id) REFERENCES journal (tenant_id, id)
);
";

/// SQLite cannot add a key of several columns to a table that is there: `services::rules` looks for the group.
const GROUP_POSTGRES: &str =
    "ALTER TABLE commission_rule ADD FOREIGN KEY (tenant_id, group_id) REFERENCES affiliate_group (tenant_id, id)";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        connection.execute_unprepared(TABLES).await?;
        if manager.get_database_backend() == DbBackend::Postgres {
            connection.execute_unprepared(GROUP_POSTGRES).await?;
        }
        for (table, access) in [
            ("affiliate_group", Access::Mutable),
            ("affiliate_group_member", Access::Mutable),
            ("customer_commission", Access::Mutable),
            ("tier_state", Access::Mutable),
            ("tier_share", Access::Mutable),
            ("tier_adjustment", Access::AppendOnly),
        ] {
            protect::table(manager, table, access).await?;
        }
        Ok(())
    }
}
