//! Net revenue of customers: deals in versions, records, settlements, customers who qualified.

use sea_orm_migration::prelude::*;

use crate::protect::{self, Access};

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLES: &str = "
CREATE TABLE revenue_deal (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  campaign_id uuid NOT NULL,
  -- Null is for all affiliates of the campaign without a deal of their own.
  affiliate_id uuid,
  current_version integer NOT NULL CHECK (current_version > 0),
  status text NOT NULL,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, campaign_id) REFERENCES campaign (tenant_id, id),
  FOREIGN KEY (tenant_id, affiliate_id) REFERENCES affiliate (tenant_id, id)
);
-- Set again, it is the same deal in another version.
CREATE UNIQUE INDEX revenue_deal_affiliate_key ON revenue_deal (tenant_id, campaign_id, affiliate_id)
  WHERE affiliate_id IS NOT NULL;
CREATE UNIQUE INDEX revenue_deal_campaign_key ON revenue_deal (tenant_id, campaign_id) WHERE affiliate_id IS NULL;

CREATE TABLE revenue_deal_version (
  tenant_id uuid NOT NULL,
  deal_id uuid NOT NULL,
  version integer NOT NULL CHECK (version > 0),
  -- JSON.
  terms text NOT NULL,
  -- From then on there is no deal.
  is_end boolean NOT NULL,
  created_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, deal_id, version),
  FOREIGN KEY (tenant_id, deal_id) REFERENCES revenue_deal (tenant_id, id)
);

CREATE TABLE revenue_settlement (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  campaign_id uuid NOT NULL,
  affiliate_id uuid NOT NULL,
  deal_id uuid NOT NULL,
  deal_version integer NOT NULL,
  period_start date NOT NULL,
  period_end date NOT NULL,
  currency text NOT NULL,
  records bigint NOT NULL CHECK (records >= 0),
  ggr_minor bigint NOT NULL,
  ngr_minor bigint NOT NULL,
  shared_minor bigint NOT NULL CHECK (shared_minor >= 0),
  share_minor bigint NOT NULL CHECK (share_minor >= 0),
  qualified bigint NOT NULL CHECK (qualified >= 0),
  qualified_minor bigint NOT NULL CHECK (qualified_minor >= 0),
  -- JSON.
  lines text NOT NULL,
  carried_minor bigint NOT NULL CHECK (carried_minor >= 0),
  award_id uuid,
  created_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  CHECK (period_end > period_start),
  FOREIGN KEY (tenant_id, campaign_id) REFERENCES campaign (tenant_id, id),
  FOREIGN KEY (tenant_id, affiliate_id) REFERENCES affiliate (tenant_id, id),
  FOREIGN KEY (tenant_id, deal_id, deal_version) REFERENCES revenue_deal_version (tenant_id, deal_id, version),
  FOREIGN KEY (tenant_id, award_id) REFERENCES award (tenant_id, id)
);
-- A period is settled once, and the newest one is looked for.
CREATE UNIQUE INDEX revenue_settlement_period_key
  ON revenue_settlement (tenant_id, campaign_id, affiliate_id, period_end);
CREATE INDEX revenue_settlement_affiliate_idx ON revenue_settlement (tenant_id, affiliate_id, id);

-- Apart from the settlements, which are listed: of high rollers it may be long.
CREATE TABLE revenue_carried (
  tenant_id uuid NOT NULL,
  settlement_id uuid NOT NULL,
  -- JSON.
  carried text NOT NULL,
  PRIMARY KEY (tenant_id, settlement_id),
  FOREIGN KEY (tenant_id, settlement_id) REFERENCES revenue_settlement (tenant_id, id)
);

CREATE TABLE revenue_record (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  campaign_id uuid NOT NULL,
  -- Null while nobody is credited with one of the customer's conversions.
  affiliate_id uuid,
  customer_id text NOT NULL,
  reference text NOT NULL,
  day date NOT NULL,
  ggr_minor bigint NOT NULL,
  bonuses_minor bigint NOT NULL,
  chargebacks_minor bigint NOT NULL,
  deposits_minor bigint NOT NULL,
  stakes_minor bigint NOT NULL,
  currency text NOT NULL,
  settlement_id uuid,
  recorded_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, campaign_id) REFERENCES campaign (tenant_id, id),
  FOREIGN KEY (tenant_id, affiliate_id) REFERENCES affiliate (tenant_id, id),
  -- Records are given to a settlement before it is reckoned, and written.
  FOREIGN KEY (tenant_id, settlement_id) REFERENCES revenue_settlement (tenant_id, id) DEFERRABLE INITIALLY DEFERRED
);
CREATE UNIQUE INDEX revenue_record_reference_key ON revenue_record (tenant_id, campaign_id, reference);
CREATE INDEX revenue_record_customer_idx
  ON revenue_record (tenant_id, campaign_id, affiliate_id, customer_id, day);
CREATE INDEX revenue_record_affiliate_idx ON revenue_record (tenant_id, affiliate_id, id);
CREATE INDEX revenue_record_settlement_idx ON revenue_record (tenant_id, settlement_id, customer_id);
-- What is to be settled; rows leave the index as they are.
CREATE INDEX revenue_record_open_idx ON revenue_record (tenant_id, campaign_id, affiliate_id, day)
  WHERE settlement_id IS NULL;
CREATE INDEX revenue_record_unclaimed_idx ON revenue_record (tenant_id, id)
  WHERE affiliate_id IS NULL AND settlement_id IS NULL;

CREATE TABLE revenue_qualification (
  tenant_id uuid NOT NULL,
  campaign_id uuid NOT NULL,
  customer_id text NOT NULL,
  affiliate_id uuid NOT NULL,
  settlement_id uuid NOT NULL,
  amount_minor bigint NOT NULL CHECK (amount_minor > 0),
  PRIMARY KEY (tenant_id, campaign_id, customer_id),
  FOREIGN KEY (tenant_id, settlement_id) REFERENCES revenue_settlement (tenant_id, id)
);
CREATE INDEX revenue_qualification_settlement_idx ON revenue_qualification (tenant_id, settlement_id);
";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(TABLES).await?;
        protect::table(manager, "revenue_deal", Access::Mutable).await?;
        protect::table(manager, "revenue_deal_version", Access::AppendOnly).await?;
        protect::table(manager, "revenue_settlement", Access::AppendOnly).await?;
        protect::table(manager, "revenue_carried", Access::AppendOnly).await?;
        protect::table(manager, "revenue_record", Access::Mutable).await?;
        protect::table(manager, "revenue_qualification", Access::AppendOnly).await
    }
}
