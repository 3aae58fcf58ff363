//! What the database itself enforces on every table: tenant isolation, and history that cannot be rewritten.
//!
//! PostgreSQL: row-level security, enabled and forced, one policy per table; the application's connections run as
//! [`APP_ROLE`], which owns nothing and has no BYPASSRLS. SQLite has neither roles nor policies; there the single scoped
//! store is the guard. Append-only tables refuse UPDATE and DELETE by trigger on both, also for the owner.
//!
//! # Decisions
//! - `nullif(current_setting('app.tenant', true), '')`: a transaction that forgot to name its tenant sees nothing,
//!   instead of failing with a cast error or seeing everything.
//! - Settings are read by a sub-select, once for a statement: read for every row, they cost more than the row's checks.
//! - A few tables are read before the tenant is known (log-in by slug, API key, link code, due work). They get a second,
//!   SELECT-only policy that opens when `app.directory` is set, which `store::directory` alone does. A SECURITY DEFINER
//!   function would do as well but cannot be written for both databases.

use sea_orm_migration::{
    prelude::*,
    sea_orm::{ConnectionTrait, DbBackend},
};

/// The role that the application's connections assume on PostgreSQL.
pub const APP_ROLE: &str = "tributary_app";

/// The tenant that the transaction is of.
const TENANT: &str = "(SELECT nullif(current_setting('app.tenant', true), '')::uuid)";
/// Whether `store::directory` asks.
const IN_DIRECTORY: &str = "(SELECT current_setting('app.directory', true) = 'on')";

/// What may happen to the rows of a table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Rows come, change and go.
    Mutable,
    /// Rows come and stay as they are.
    AppendOnly,
}

/// Creates [`APP_ROLE`] when it is missing and lets `login` assume it. Before the first migration, and at every start:
/// roles belong to the whole cluster, so another database may have made it, and a restored one may lack it.
///
/// # Errors
/// As PostgreSQL answers, such as to a user who may neither create roles nor grant this one.
pub async fn create_app_role(connection: &impl ConnectionTrait, login: String) -> Result<(), DbErr> {
    let login = login.replace('\'', "''");
    connection
        .execute_unprepared(&format!(
            "DO $$ BEGIN
               IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{APP_ROLE}') THEN
                 CREATE ROLE {APP_ROLE} NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE;
               END IF;
             EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
             END $$;
             DO $$ BEGIN
               IF NOT pg_has_role('{login}', '{APP_ROLE}', 'MEMBER') THEN
                 EXECUTE format('GRANT {APP_ROLE} TO %I', '{login}');
               END IF;
             END $$;
             GRANT USAGE ON SCHEMA public TO {APP_ROLE};"
        ))
        .await?;
    Ok(())
}

/// Lets [`APP_ROLE`] read which steps were done, to tell whether it is ready.
///
/// # Errors
/// As PostgreSQL answers.
pub async fn let_app_see_steps(connection: &impl ConnectionTrait) -> Result<(), DbErr> {
    connection
        .execute_unprepared(&format!(
            "DO $$ BEGIN
               IF NOT has_table_privilege('{APP_ROLE}', 'seaql_migrations', 'SELECT') THEN
                 GRANT SELECT ON seaql_migrations TO {APP_ROLE};
               END IF;
             END $$;"
        ))
        .await?;
    Ok(())
}

/// Isolates a table by tenant and, if it is append-only, makes its rows immutable.
pub async fn table(manager: &SchemaManager<'_>, name: &str, access: Access) -> Result<(), DbErr> {
    let connection = manager.get_connection();
    if manager.get_database_backend() == DbBackend::Postgres {
        let verbs = match access {
            Access::Mutable => "SELECT, INSERT, UPDATE, DELETE",
            Access::AppendOnly => "SELECT, INSERT",
        };
        connection
            .execute_unprepared(&format!(
                "ALTER TABLE {name} ENABLE ROW LEVEL SECURITY;
                 ALTER TABLE {name} FORCE ROW LEVEL SECURITY;
                 CREATE POLICY {name}_tenant ON {name}
                   USING (tenant_id = {TENANT}) WITH CHECK (tenant_id = {TENANT});
                 GRANT {verbs} ON {name} TO {APP_ROLE};"
            ))
            .await?;
    }
    if access == Access::AppendOnly {
        let triggers = match manager.get_database_backend() {
            DbBackend::Postgres => format!(
                "CREATE TRIGGER {name}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {name}
                   FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewrite();"
            ),
            _ => format!(
                "CREATE TRIGGER {name}_no_update BEFORE UPDATE ON {name}
                   BEGIN SELECT RAISE(ABORT, '{name} is append-only'); END;
                 CREATE TRIGGER {name}_no_delete BEFORE DELETE ON {name}
                   BEGIN SELECT RAISE(ABORT, '{name} is append-only'); END;"
            ),
        };
        connection.execute_unprepared(&triggers).await?;
    }
    Ok(())
}

/// Lets `store::directory` read a table before the tenant is known.
pub async fn directory(manager: &SchemaManager<'_>, name: &str) -> Result<(), DbErr> {
    if manager.get_database_backend() == DbBackend::Postgres {
        manager
            .get_connection()
            .execute_unprepared(&format!("CREATE POLICY {name}_directory ON {name} FOR SELECT USING ({IN_DIRECTORY});"))
            .await?;
    }
    Ok(())
}

/// Has the policies of all tables as [`table`] and [`directory`] make them now.
pub async fn renew_policies(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    if manager.get_database_backend() == DbBackend::Postgres {
        manager
            .get_connection()
            .execute_unprepared(&format!(
                "DO $$ DECLARE policy record; BEGIN
                   FOR policy IN SELECT tablename, policyname FROM pg_policies WHERE schemaname = 'public'
                     AND policyname = tablename || '_tenant' ORDER BY tablename LOOP
                     EXECUTE format($sql$ALTER POLICY %I ON public.%I USING (tenant_id = {TENANT})
                       WITH CHECK (tenant_id = {TENANT})$sql$, policy.policyname, policy.tablename);
                   END LOOP;
                   FOR policy IN SELECT tablename, policyname FROM pg_policies WHERE schemaname = 'public'
                     AND policyname = tablename || '_directory' ORDER BY tablename LOOP
                     EXECUTE format($sql$ALTER POLICY %I ON public.%I USING ({IN_DIRECTORY})$sql$,
                       policy.policyname, policy.tablename);
                   END LOOP;
                 END $$"
            ))
            .await?;
    }
    Ok(())
}

/// The function behind the append-only triggers of PostgreSQL.
pub async fn create_refuse_rewrite(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    if manager.get_database_backend() == DbBackend::Postgres {
        manager
            .get_connection()
            .execute_unprepared(
                "CREATE FUNCTION refuse_rewrite() RETURNS trigger LANGUAGE plpgsql AS $$
                 BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$;",
            )
            .await?;
    }
    Ok(())
}
