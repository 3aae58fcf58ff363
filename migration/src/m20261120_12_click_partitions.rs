//! Clicks by month, so that old ones can go without a trace in the others.
//!
//! PostgreSQL: partitions by ranges of ids, which are UUIDv7 and begin with their time: the key stays `(tenant_id, id)`,
//! and who knows an id is led to one partition. The application owns no table; two functions with the owner's rights
//! make the coming months and drop the old ones, and nothing else. Nothing is granted on a partition: every row is
//! reached through `click`, under its policy. SQLite: old rows are deleted; the trigger that keeps them lets go of those
//! before the tenant's horizon.
//!
//! # Decisions
//! - A default partition takes what fits nowhere, so that no click is refused when a month is missing. Making that month
//!   moves its rows.
//! - No foreign key names a click any more: a month would be kept by one conversion in it.
//! - Partitions have row-level security without FORCE: the owner must be able to move rows, nobody else has any right.
//! - The functions wait two seconds for their locks: ingest must never queue up behind them. The job comes again.

use sea_orm_migration::{
    prelude::*,
    sea_orm::{ConnectionTrait, DbBackend, Statement},
};

use crate::protect::{self, APP_ROLE, Access};

#[derive(DeriveMigrationName)]
pub struct Migration;

/// What the functions have in common.
const DEFINER: &str =
    "LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET lock_timeout = '2s'";

/// The table anew, with the indexes that it had, and all rows still in `click_old`.
const TABLE: &str = "
ALTER TABLE conversion DROP CONSTRAINT conversion_tenant_id_click_id_fkey;
-- Else an owner who is no superuser would move nothing.
ALTER TABLE click NO FORCE ROW LEVEL SECURITY;
DO $$
DECLARE
  definitions text[];
  definition text;
BEGIN
  SELECT array_agg(pg_get_indexdef(indexrelid)) INTO definitions
    FROM pg_index WHERE indrelid = 'click'::regclass AND NOT indisprimary;
  ALTER TABLE click RENAME TO click_old;
  ALTER TABLE click_old DROP CONSTRAINT click_pkey, DROP CONSTRAINT click_tenant_id_link_id_fkey;
  FOR definition IN SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 'click_old'::regclass LOOP
    EXECUTE format('DROP INDEX %s', definition);
  END LOOP;
  CREATE TABLE click (LIKE click_old INCLUDING DEFAULTS, PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, link_id) REFERENCES link (tenant_id, id)) PARTITION BY RANGE (id);
  FOREACH definition IN ARRAY definitions LOOP
    EXECUTE definition;
  END LOOP;
END $$;
";

const MOVE: &str = "
CREATE TABLE click_default PARTITION OF click DEFAULT;
ALTER TABLE click_default ENABLE ROW LEVEL SECURITY;
CREATE TRIGGER click_default_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON click_default
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewrite();
INSERT INTO click SELECT * FROM click_old;
DROP TABLE click_old;
DO $$
DECLARE
  months timestamptz[];
  month timestamptz;
BEGIN
  SELECT array_agg(DISTINCT date_trunc('month',
      to_timestamp(('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint / 1000.0), 'UTC'))
    INTO months FROM click_default;
  FOREACH month IN ARRAY coalesce(months, '{}') LOOP
    PERFORM click_partition(month);
  END LOOP;
END $$;
SELECT click_make_partitions(3);
";

fn functions() -> String {
    format!(
        "
-- The least id of a time: its milliseconds, and nothing behind them.
CREATE FUNCTION click_id_at(at timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE SET search_path = pg_catalog AS $$
  SELECT rpad(lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0'), 32, '0')::uuid $$;

CREATE FUNCTION click_partition(month timestamptz) RETURNS void {DEFINER} AS $$
DECLARE
  first uuid := click_id_at(month);
  beyond uuid := click_id_at(date_trunc('month', month + interval '40 days', 'UTC'));
  name text := 'click_' || to_char(month AT TIME ZONE 'UTC', 'YYYY_MM');
BEGIN
  -- Also keeps two nodes apart.
  LOCK TABLE public.click_default IN ACCESS EXCLUSIVE MODE;
  IF to_regclass('public.' || name) IS NOT NULL THEN RETURN; END IF;
  EXECUTE format('CREATE TABLE public.%I (LIKE public.click INCLUDING DEFAULTS)', name);
  ALTER TABLE public.click_default DISABLE TRIGGER click_default_append_only;
  EXECUTE format('WITH moved AS (DELETE FROM public.click_default WHERE id >= $1 AND id < $2 RETURNING *)
    INSERT INTO public.%I SELECT * FROM moved', name) USING first, beyond;
  ALTER TABLE public.click_default ENABLE TRIGGER click_default_append_only;
  EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', name);
  EXECUTE format('CREATE TRIGGER %I BEFORE UPDATE OR DELETE OR TRUNCATE ON public.%I
    FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_rewrite()', name || '_append_only', name);
  EXECUTE format('ALTER TABLE public.click ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)', name, first, beyond);
END $$;

CREATE FUNCTION click_make_partitions(ahead integer) RETURNS integer {DEFINER} AS $$
DECLARE
  month timestamptz;
  made integer := 0;
BEGIN
  FOR step IN 0 .. least(ahead, 12) LOOP
    month := date_trunc('month', now() AT TIME ZONE 'UTC' + make_interval(months => step)) AT TIME ZONE 'UTC';
    IF to_regclass('public.click_' || to_char(month AT TIME ZONE 'UTC', 'YYYY_MM')) IS NULL THEN
      PERFORM public.click_partition(month);
      made := made + 1;
    END IF;
  END LOOP;
  RETURN made;
END $$;

-- Keeps the current month and so many before it, at least one.
CREATE FUNCTION click_drop_partitions(keep integer) RETURNS integer {DEFINER} AS $$
DECLARE
  oldest text := 'click_' || to_char((now() AT TIME ZONE 'UTC') - make_interval(months => greatest(keep, 1)), 'YYYY_MM');
  name text;
  dropped integer := 0;
BEGIN
  FOR name IN SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'public.click'::regclass AND c.relname ~ '^click_[0-9]{{4}}_[0-9]{{2}}$' AND c.relname < oldest
  LOOP
    EXECUTE format('DROP TABLE public.%I', name);
    dropped := dropped + 1;
  END LOOP;
  RETURN dropped;
END $$;

REVOKE EXECUTE ON FUNCTION click_partition(timestamptz), click_make_partitions(integer), click_drop_partitions(integer)
  FROM PUBLIC;
GRANT EXECUTE ON FUNCTION click_make_partitions(integer), click_drop_partitions(integer) TO {APP_ROLE};
"
    )
}

/// Rows before a tenant's horizon may go, and no others.
const HORIZON: &str = "
CREATE TABLE click_horizon (
  tenant_id uuid NOT NULL PRIMARY KEY REFERENCES tenant,
  before_id uuid NOT NULL
);
DROP TRIGGER click_no_delete;
CREATE TRIGGER click_no_delete BEFORE DELETE ON click
  WHEN NOT EXISTS (SELECT 1 FROM click_horizon h WHERE h.tenant_id = OLD.tenant_id AND OLD.id < h.before_id)
  BEGIN SELECT RAISE(ABORT, 'click is append-only'); END;
";

const FOREIGN_KEY: &str = ",\n  FOREIGN KEY (tenant_id, click_id) REFERENCES click (tenant_id, id)";

/// Takes the foreign key out of SQLite's own text of the table, as its manual describes for changes that leave the rows
/// as they are: the table cannot be made anew while others name it.
async fn drop_foreign_key_in_place(connection: &SchemaManagerConnection<'_>) -> Result<(), DbErr> {
    let version = Statement::from_string(DbBackend::Sqlite, "PRAGMA schema_version");
    let version: i64 = match connection.query_one_raw(version).await? {
        Some(row) => row.try_get_by_index(0)?,
        None => return Err(DbErr::Migration("SQLite has no schema version".to_owned())),
    };
    connection
        .execute_unprepared(&format!(
            "PRAGMA writable_schema = ON;
             UPDATE sqlite_schema SET sql = replace(sql, '{FOREIGN_KEY}', '') WHERE type = 'table' AND name = 'conversion';
             PRAGMA schema_version = {};
             PRAGMA writable_schema = OFF;",
            version + 1
        ))
        .await?;
    let left = Statement::from_string(
        DbBackend::Sqlite,
        "SELECT COUNT(*) FROM pragma_foreign_key_list('conversion') WHERE \"table\" = 'click'",
    );
    match connection.query_one_raw(left).await?.map(|row| row.try_get_by_index::<i64>(0)).transpose()? {
        Some(0) => Ok(()),
        _ => Err(DbErr::Migration("the foreign key of conversions to clicks is still there".to_owned())),
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        if manager.get_database_backend() == DbBackend::Postgres {
            connection.execute_unprepared(TABLE).await?;
            connection.execute_unprepared(&functions()).await?;
            connection.execute_unprepared(MOVE).await?;
            protect::table(manager, "click", Access::AppendOnly).await?;
        } else {
            drop_foreign_key_in_place(connection).await?;
            connection.execute_unprepared(HORIZON).await?;
        }
        Ok(())
    }
}
