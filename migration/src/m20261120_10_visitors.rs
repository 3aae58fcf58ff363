//! Who came and what that is worth: keys of address hashes, caps with what is used of them, invalid clicks by reason.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

use crate::protect::{self, Access};

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLES: &str = "
-- A day's key goes when its hashes may no longer be compared: without it they tell nothing.
CREATE TABLE address_key (
  tenant_id uuid NOT NULL REFERENCES tenant,
  day date NOT NULL,
  key bytea NOT NULL,
  PRIMARY KEY (tenant_id, day)
);

CREATE TABLE cap (
  tenant_id uuid NOT NULL REFERENCES tenant,
  id uuid NOT NULL,
  campaign_id uuid NOT NULL,
  enrollment_id uuid,
  affiliate_id uuid,
  metric text NOT NULL,
  period text NOT NULL,
  amount bigint NOT NULL CHECK (amount BETWEEN 0 AND 9000000000000000000),
  status text NOT NULL,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, campaign_id) REFERENCES campaign (tenant_id, id),
  FOREIGN KEY (tenant_id, enrollment_id) REFERENCES enrollment (tenant_id, id),
  FOREIGN KEY (tenant_id, affiliate_id) REFERENCES affiliate (tenant_id, id),
  CHECK ((enrollment_id IS NULL) = (affiliate_id IS NULL))
);
CREATE INDEX cap_campaign_idx ON cap (tenant_id, campaign_id);
-- One answer to 'how much is left': two caps of one measure and period would be the smaller one.
CREATE UNIQUE INDEX cap_campaign_key ON cap (tenant_id, campaign_id, metric, period)
  WHERE status = 'ACTIVE' AND enrollment_id IS NULL;
CREATE UNIQUE INDEX cap_enrollment_key ON cap (tenant_id, enrollment_id, metric, period)
  WHERE status = 'ACTIVE' AND enrollment_id IS NOT NULL;

CREATE TABLE cap_usage (
  tenant_id uuid NOT NULL,
  cap_id uuid NOT NULL,
  period_start timestamptz NOT NULL,
  used bigint NOT NULL CHECK (used BETWEEN 0 AND 9000000000000000000),
  PRIMARY KEY (tenant_id, cap_id, period_start),
  FOREIGN KEY (tenant_id, cap_id) REFERENCES cap (tenant_id, id)
);

-- What a conversion took of a cap: given back when it is rejected.
CREATE TABLE cap_share (
  tenant_id uuid NOT NULL,
  conversion_id uuid NOT NULL,
  cap_id uuid NOT NULL,
  period_start timestamptz NOT NULL,
  amount bigint NOT NULL CHECK (amount > 0),
  PRIMARY KEY (tenant_id, conversion_id, cap_id),
  FOREIGN KEY (tenant_id, conversion_id) REFERENCES conversion (tenant_id, id),
  FOREIGN KEY (tenant_id, cap_id) REFERENCES cap (tenant_id, id)
);

CREATE TABLE click_invalid_hourly (
  tenant_id uuid NOT NULL REFERENCES tenant,
  bucket_at timestamptz NOT NULL,
  campaign_id uuid NOT NULL,
  affiliate_id uuid NOT NULL,
  reason text NOT NULL,
  clicks bigint NOT NULL CHECK (clicks >= 0),
  PRIMARY KEY (tenant_id, bucket_at, campaign_id, affiliate_id, reason)
);
";

/// What was counted before there were reasons to count by. The hour of a click is that of the rollups: text in SQLite,
/// in the form that its driver writes. Row-level security holds for PostgreSQL's owner of the table, too, who is no
/// tenant: it is lifted for the one statement.
const PAST_POSTGRES: &str = "
ALTER TABLE click NO FORCE ROW LEVEL SECURITY;
INSERT INTO click_invalid_hourly
  SELECT tenant_id, date_trunc('hour', occurred_at, 'UTC'), campaign_id, affiliate_id, invalid_reason, COUNT(*)
  FROM click WHERE invalid_reason IS NOT NULL GROUP BY 1, 2, 3, 4, 5;
ALTER TABLE click FORCE ROW LEVEL SECURITY;
";

const PAST_SQLITE: &str = "
INSERT INTO click_invalid_hourly
  SELECT tenant_id, strftime('%Y-%m-%dT%H:00:00+00:00', occurred_at), campaign_id, affiliate_id, invalid_reason, COUNT(*)
  FROM click WHERE invalid_reason IS NOT NULL GROUP BY 1, 2, 3, 4, 5;
";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        connection.execute_unprepared(TABLES).await?;
        let past = match manager.get_database_backend() {
            DbBackend::Postgres => PAST_POSTGRES,
            _ => PAST_SQLITE,
        };
        connection.execute_unprepared(past).await?;
        for table in ["address_key", "cap", "cap_usage", "cap_share", "click_invalid_hourly"] {
            protect::table(manager, table, Access::Mutable).await?;
        }
        Ok(())
    }
}
