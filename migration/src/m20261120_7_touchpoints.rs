//! What a click tells of its visitor, how a campaign credits touches and where it lets visitors go, and conversions that
//! name no click: a coupon, a visitor or a customer leads to the touches as well.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

use crate::protect::{self, Access};

#[derive(DeriveMigrationName)]
pub struct Migration;

/// A conversion may name no click.
const CLICK_POSTGRES: &str = "ALTER TABLE conversion ALTER COLUMN sent_click_id DROP NOT NULL";

/// A column cannot be made nullable on SQLite: this one changes places with a nullable one.
const CLICK_SQLITE: &str = "
ALTER TABLE conversion ADD COLUMN named_click_id uuid;
UPDATE conversion SET named_click_id = sent_click_id;
ALTER TABLE conversion DROP COLUMN sent_click_id;
ALTER TABLE conversion RENAME COLUMN named_click_id TO sent_click_id;
";

/// Defaults are what campaigns did before.
const COLUMNS: &str = "
ALTER TABLE campaign ADD COLUMN attribution_half_life_secs bigint NOT NULL DEFAULT 604800
  CHECK (attribution_half_life_secs > 0);
ALTER TABLE campaign ADD COLUMN attribution_min_secs bigint NOT NULL DEFAULT 0 CHECK (attribution_min_secs >= 0);
ALTER TABLE campaign ADD COLUMN attribution_sources text NOT NULL DEFAULT 'CLICK_ID,COUPON,HISTORY';
ALTER TABLE campaign ADD COLUMN click_wait_secs bigint NOT NULL DEFAULT 0 CHECK (click_wait_secs >= 0);
ALTER TABLE campaign ADD COLUMN deep_link_hosts text;
ALTER TABLE campaign ADD COLUMN fallback_url text;
ALTER TABLE campaign ADD COLUMN countries text;
ALTER TABLE campaign ADD COLUMN devices text;

ALTER TABLE click ADD COLUMN country text;
ALTER TABLE click ADD COLUMN device text;
ALTER TABLE click ADD COLUMN os text;
ALTER TABLE click ADD COLUMN browser text;
ALTER TABLE click ADD COLUMN referrer_host text;
ALTER TABLE click ADD COLUMN address_prefix text;
ALTER TABLE click ADD COLUMN address_hash text;
-- One index for both questions: whether a visitor came before, and what a visitor's touches are.
DROP INDEX click_visitor_idx;
CREATE INDEX click_visitor_idx ON click (tenant_id, visitor_id, occurred_at) WHERE visitor_id IS NOT NULL;

ALTER TABLE conversion ADD COLUMN visitor_id text;
ALTER TABLE conversion ADD COLUMN coupon_code text;
ALTER TABLE conversion ADD COLUMN held_until timestamptz;
-- What waits for a click, and what has waited long enough; rows leave the indexes as they are resolved.
CREATE INDEX conversion_awaited_idx ON conversion (tenant_id, sent_click_id) WHERE held_until IS NOT NULL;
CREATE INDEX conversion_held_idx ON conversion (tenant_id, held_until, id) WHERE held_until IS NOT NULL;

ALTER TABLE attribution_decision ADD COLUMN half_life_secs bigint NOT NULL DEFAULT 604800;
ALTER TABLE attribution_decision ADD COLUMN min_secs bigint NOT NULL DEFAULT 0;
ALTER TABLE attribution_decision ADD COLUMN source text NOT NULL DEFAULT 'CLICK_ID';
";

/// A touch is a click or a coupon. Clicks are dropped by age, hence no foreign key.
const TOUCH_POSTGRES: &str = "
ALTER TABLE attribution_touch ALTER COLUMN click_id DROP NOT NULL;
ALTER TABLE attribution_touch DROP CONSTRAINT attribution_touch_tenant_id_click_id_fkey;
ALTER TABLE attribution_touch ADD COLUMN coupon_id uuid;
ALTER TABLE attribution_touch ADD COLUMN occurred_at timestamptz;
";

const TOUCH_SQLITE: &str = "
ALTER TABLE attribution_touch RENAME TO attribution_touch_old;
CREATE TABLE attribution_touch (
  tenant_id uuid NOT NULL,
  conversion_id uuid NOT NULL,
  version integer NOT NULL,
  position integer NOT NULL,
  click_id uuid,
  affiliate_id uuid NOT NULL,
  share_millionths integer NOT NULL CHECK (share_millionths BETWEEN 0 AND 1000000),
  coupon_id uuid,
  occurred_at timestamptz,
  PRIMARY KEY (tenant_id, conversion_id, version, position),
  FOREIGN KEY (tenant_id, conversion_id, version)
    REFERENCES attribution_decision (tenant_id, conversion_id, version)
);
INSERT INTO attribution_touch
  SELECT tenant_id, conversion_id, version, position, click_id, affiliate_id, share_millionths, NULL, NULL
  FROM attribution_touch_old;
DROP TABLE attribution_touch_old;
";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        let is_postgres = manager.get_database_backend() == DbBackend::Postgres;
        connection.execute_unprepared(if is_postgres { CLICK_POSTGRES } else { CLICK_SQLITE }).await?;
        connection.execute_unprepared(COLUMNS).await?;
        if is_postgres {
            connection.execute_unprepared(TOUCH_POSTGRES).await?;
        } else {
            connection.execute_unprepared(TOUCH_SQLITE).await?;
            protect::table(manager, "attribution_touch", Access::AppendOnly).await?;
        }
        Ok(())
    }
}
