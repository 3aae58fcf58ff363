//! Bonuses by rule: the rules, and what each gave to whom for which period.

use sea_orm_migration::prelude::*;

use crate::protect::{self, Access};

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLES: &str = "
CREATE TABLE bonus_rule (
  tenant_id uuid NOT NULL REFERENCES tenant,
  id uuid NOT NULL,
  -- Null counts what is brought in all campaigns.
  campaign_id uuid,
  name text NOT NULL,
  basis text NOT NULL,
  -- Conversions, or minor units of the currency.
  threshold bigint NOT NULL CHECK (threshold > 0),
  period text NOT NULL,
  amount_minor bigint NOT NULL CHECK (amount_minor > 0),
  currency text NOT NULL,
  hold_secs bigint NOT NULL CHECK (hold_secs >= 0),
  wait_days integer NOT NULL CHECK (wait_days >= 0),
  status text NOT NULL,
  -- Where the first period begins that is not decided.
  decided_until timestamptz NOT NULL,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, campaign_id) REFERENCES campaign (tenant_id, id)
);
CREATE INDEX bonus_rule_campaign_idx ON bonus_rule (tenant_id, campaign_id, id);
-- What is looked at when a period is over; rules leave the index as they are archived.
CREATE INDEX bonus_rule_active_idx ON bonus_rule (tenant_id, id) WHERE status = 'ACTIVE';

-- The key is the promise: a rule gives an affiliate one award for a period, whoever decides it, however often.
CREATE TABLE bonus_grant (
  tenant_id uuid NOT NULL,
  rule_id uuid NOT NULL,
  affiliate_id uuid NOT NULL,
  period_start timestamptz NOT NULL,
  award_id uuid NOT NULL,
  created_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, rule_id, affiliate_id, period_start),
  FOREIGN KEY (tenant_id, rule_id) REFERENCES bonus_rule (tenant_id, id),
  FOREIGN KEY (tenant_id, affiliate_id) REFERENCES affiliate (tenant_id, id),
  FOREIGN KEY (tenant_id, award_id) REFERENCES award (tenant_id, id)
);
";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(TABLES).await?;
        protect::table(manager, "bonus_rule", Access::Mutable).await?;
        protect::table(manager, "bonus_grant", Access::AppendOnly).await
    }
}
