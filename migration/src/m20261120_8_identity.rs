//! Who a conversion's customer was: coupons, the visitors of a customer, and every affiliate whom one conversion credits.

use sea_orm_migration::prelude::*;

use crate::protect::{self, Access};

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLES: &str = "
CREATE TABLE coupon (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  campaign_id uuid NOT NULL,
  affiliate_id uuid NOT NULL,
  code text NOT NULL,
  status text NOT NULL,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, campaign_id) REFERENCES campaign (tenant_id, id),
  FOREIGN KEY (tenant_id, affiliate_id) REFERENCES affiliate (tenant_id, id)
);
-- The code first: a conversion need not name the campaign.
CREATE UNIQUE INDEX coupon_code_key ON coupon (tenant_id, code, campaign_id);
CREATE INDEX coupon_affiliate_idx ON coupon (tenant_id, affiliate_id);
CREATE INDEX coupon_campaign_idx ON coupon (tenant_id, campaign_id);

-- No foreign keys: both are the sender's own marks.
CREATE TABLE customer_visitor (
  tenant_id uuid NOT NULL REFERENCES tenant,
  customer_id text NOT NULL,
  visitor_id text NOT NULL,
  bound_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, customer_id, visitor_id)
);

-- Whom a conversion credits besides the affiliate in its own row. Empty where models credit one touch.
CREATE TABLE conversion_affiliate (
  tenant_id uuid NOT NULL,
  affiliate_id uuid NOT NULL,
  conversion_id uuid NOT NULL,
  PRIMARY KEY (tenant_id, affiliate_id, conversion_id),
  FOREIGN KEY (tenant_id, affiliate_id) REFERENCES affiliate (tenant_id, id),
  FOREIGN KEY (tenant_id, conversion_id) REFERENCES conversion (tenant_id, id)
);
CREATE INDEX conversion_affiliate_conversion_idx ON conversion_affiliate (tenant_id, conversion_id);

ALTER TABLE event ADD COLUMN further_affiliates text;
ALTER TABLE tenant ADD COLUMN click_wait_secs bigint NOT NULL DEFAULT 0 CHECK (click_wait_secs >= 0);
";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(TABLES).await?;
        for table in ["coupon", "customer_visitor", "conversion_affiliate"] {
            protect::table(manager, table, Access::Mutable).await?;
        }
        Ok(())
    }
}
