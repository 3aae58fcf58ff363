//! PostgreSQL's statistics, renewed as tables grow.
//!
//! The server looks once a minute by itself. A plan that was made for good while a table was empty, and which reads all of the
//! tenant's rows for each that is looked up, holds until then: with thousands of rows a second, that is far too long.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

use crate::protect::APP_ROLE;

#[derive(DeriveMigrationName)]
pub struct Migration;

fn function() -> String {
    format!(
        "
-- Analyzes the tables that have doubled since they were last analyzed, which also ends the plans made by then. Answers how many.
CREATE FUNCTION analyze_grown() RETURNS integer LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = pg_catalog, public, pg_temp SET lock_timeout = '100ms' AS $$
DECLARE
  name text;
  count integer := 0;
BEGIN
  -- One node at a time.
  IF NOT pg_try_advisory_xact_lock(hashtext('tributary.analyze_grown')) THEN RETURN 0; END IF;
  FOR name IN
    SELECT format('%I.%I', seen.schemaname, seen.relname)
    FROM pg_stat_user_tables seen JOIN pg_class known ON known.oid = seen.relid
    WHERE seen.schemaname = 'public' AND seen.n_live_tup > 500 AND seen.n_live_tup > 2 * known.reltuples
    -- Each is locked to the end, against changes of its definition; the others' turn comes soon.
    ORDER BY seen.n_live_tup DESC LIMIT 4
  LOOP
    BEGIN
      EXECUTE 'ANALYZE ' || name;
      count := count + 1;
    EXCEPTION WHEN lock_not_available THEN NULL;
    END;
  END LOOP;
  RETURN count;
END $$;
REVOKE EXECUTE ON FUNCTION analyze_grown() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION analyze_grown() TO {APP_ROLE};
"
    )
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() != DbBackend::Postgres {
            return Ok(());
        }
        manager.get_connection().execute_unprepared(&function()).await.map(drop)
    }
}
