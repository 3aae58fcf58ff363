//! What happens: clicks, conversions with their history, attribution decisions, commissions.

use sea_orm_migration::prelude::*;

use crate::protect::{self, Access};

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLES: &str = "
-- Immutable. One foreign key only: the link already binds campaign and affiliate, and clicks are the largest table.
CREATE TABLE click (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  link_id uuid NOT NULL,
  campaign_id uuid NOT NULL,
  affiliate_id uuid NOT NULL,
  occurred_at timestamptz NOT NULL,
  recorded_at timestamptz NOT NULL,
  visitor_id text,
  source text,
  labels text,
  is_unique boolean NOT NULL,
  invalid_reason text,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, link_id) REFERENCES link (tenant_id, id)
);
CREATE INDEX click_affiliate_idx ON click (tenant_id, affiliate_id, id);
CREATE INDEX click_campaign_idx ON click (tenant_id, campaign_id, id);
-- Whether a visitor came before; also the touches of a visitor by time.
CREATE INDEX click_visitor_idx ON click (tenant_id, link_id, visitor_id, occurred_at) WHERE visitor_id IS NOT NULL;

CREATE TABLE conversion (
  tenant_id uuid NOT NULL REFERENCES tenant,
  id uuid NOT NULL,
  campaign_id uuid,
  goal_id uuid,
  goal_code text NOT NULL,
  affiliate_id uuid,
  click_id uuid,
  -- As sent: may name no click at all, hence no foreign key.
  sent_click_id uuid NOT NULL,
  order_id text,
  unique_order_id text,
  unique_click_id uuid,
  customer_id text,
  status text NOT NULL,
  reason text,
  sale_minor bigint NOT NULL CHECK (sale_minor >= 0),
  sale_currency text NOT NULL,
  commission_minor bigint NOT NULL CHECK (commission_minor >= 0),
  commission_currency text NOT NULL,
  labels text,
  occurred_at timestamptz NOT NULL,
  recorded_at timestamptz NOT NULL,
  approved_at timestamptz,
  payable_at timestamptz,
  version integer NOT NULL CHECK (version > 0),
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, campaign_id) REFERENCES campaign (tenant_id, id),
  FOREIGN KEY (tenant_id, affiliate_id) REFERENCES affiliate (tenant_id, id),
  FOREIGN KEY (tenant_id, click_id) REFERENCES click (tenant_id, id)
);
-- The natural keys, unique for ever. Null on duplicates, which are recorded beside the first and refused.
CREATE UNIQUE INDEX conversion_order_key ON conversion (tenant_id, campaign_id, goal_id, unique_order_id)
  WHERE unique_order_id IS NOT NULL;
CREATE UNIQUE INDEX conversion_click_key ON conversion (tenant_id, goal_id, unique_click_id)
  WHERE unique_click_id IS NOT NULL;
-- Look-up by the advertiser's reference, duplicates included.
CREATE INDEX conversion_order_idx ON conversion (tenant_id, order_id) WHERE order_id IS NOT NULL;
-- Lists, newest first: all of an affiliate, of a campaign, in a state, and by the time of the action.
CREATE INDEX conversion_affiliate_idx ON conversion (tenant_id, affiliate_id, id);
CREATE INDEX conversion_campaign_idx ON conversion (tenant_id, campaign_id, id);
CREATE INDEX conversion_status_idx ON conversion (tenant_id, status, id);
CREATE INDEX conversion_occurred_idx ON conversion (tenant_id, occurred_at, id);

CREATE TABLE conversion_history (
  tenant_id uuid NOT NULL,
  conversion_id uuid NOT NULL,
  version integer NOT NULL,
  from_status text,
  to_status text NOT NULL,
  reason text,
  actor text NOT NULL,
  note text,
  recorded_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, conversion_id, version),
  FOREIGN KEY (tenant_id, conversion_id) REFERENCES conversion (tenant_id, id)
);

CREATE TABLE attribution_decision (
  tenant_id uuid NOT NULL,
  conversion_id uuid NOT NULL,
  version integer NOT NULL,
  model text NOT NULL,
  window_secs bigint NOT NULL,
  decided_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, conversion_id, version),
  FOREIGN KEY (tenant_id, conversion_id) REFERENCES conversion (tenant_id, id)
);

CREATE TABLE attribution_touch (
  tenant_id uuid NOT NULL,
  conversion_id uuid NOT NULL,
  version integer NOT NULL,
  position integer NOT NULL,
  click_id uuid NOT NULL,
  affiliate_id uuid NOT NULL,
  share_millionths integer NOT NULL CHECK (share_millionths BETWEEN 0 AND 1000000),
  PRIMARY KEY (tenant_id, conversion_id, version, position),
  FOREIGN KEY (tenant_id, conversion_id, version)
    REFERENCES attribution_decision (tenant_id, conversion_id, version),
  FOREIGN KEY (tenant_id, click_id) REFERENCES click (tenant_id, id)
);

CREATE TABLE commission (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  conversion_id uuid NOT NULL,
  affiliate_id uuid NOT NULL,
  status text NOT NULL,
  amount_minor bigint NOT NULL CHECK (amount_minor >= 0),
  currency text NOT NULL,
  rule_id uuid NOT NULL,
  rule_version integer NOT NULL,
  explanation text NOT NULL,
  payable_at timestamptz,
  released_at timestamptz,
  created_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, conversion_id) REFERENCES conversion (tenant_id, id),
  FOREIGN KEY (tenant_id, affiliate_id) REFERENCES affiliate (tenant_id, id),
  FOREIGN KEY (tenant_id, rule_id, rule_version)
    REFERENCES commission_rule_version (tenant_id, rule_id, version)
);
CREATE INDEX commission_conversion_idx ON commission (tenant_id, conversion_id);
CREATE INDEX commission_affiliate_idx ON commission (tenant_id, affiliate_id, id);
-- What the hold release looks for; rows leave the index as they are released.
CREATE INDEX commission_due_idx ON commission (tenant_id, payable_at, id) WHERE status = 'PENDING';
";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(TABLES).await?;
        for (table, access) in [
            ("click", Access::AppendOnly),
            ("conversion", Access::Mutable),
            ("conversion_history", Access::AppendOnly),
            ("attribution_decision", Access::AppendOnly),
            ("attribution_touch", Access::AppendOnly),
            ("commission", Access::Mutable),
        ] {
            protect::table(manager, table, access).await?;
        }
        Ok(())
    }
}
