//! Row-level security of PostgreSQL: even a query that forgot its tenant, or names another one, sees and changes
//! nothing of another tenant. Tried on every table, as the role that the application runs as.

use std::collections::BTreeSet;

use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, Statement};
use tributary_entity::ids::TenantId;

use super::catalogue::{APPEND_ONLY, MIGRATIONS, tables, texts};
use crate::support::{
    Backend, Client, Programme, Terms, TestApp,
    app::{self, PASSWORD},
    programme::{self, sale},
    surface::World,
};

/// What may be read before the tenant is known, by `store::directory` alone.
const DIRECTORY: &[&str] = &["api_key", "link", "outbox", "postback_endpoint", "processor", "tenant"];
const ROLE: &str = "tributary_app";

/// A connection as the application has them.
struct Role(DatabaseConnection);

impl Role {
    async fn connect(app: &TestApp) -> Self {
        let url = app.settings.database_url.as_deref().expect("on PostgreSQL");
        let mut options = ConnectOptions::new(url);
        // One connection: the role and the tenant are the session's.
        options.max_connections(1).min_connections(1).sqlx_logging(false);
        let connection = Database::connect(options).await.expect("connects");
        connection.execute_unprepared(&format!("SET ROLE {ROLE}")).await.expect("takes the role");
        Self(connection)
    }

    /// The tenant that later statements are for; none with an empty text.
    async fn set(&self, setting: &str, value: &str) {
        self.0.execute_unprepared(&format!("SET app.{setting} = '{value}'")).await.expect("is set");
    }

    async fn count(&self, what: &str) -> i64 {
        let statement = Statement::from_string(self.0.get_database_backend(), format!("SELECT COUNT(*) FROM {what}"));
        let row = self.0.query_one_raw(statement).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        row.expect("a row").try_get_by_index(0).expect("a number")
    }

    /// How many rows a statement changes.
    async fn changed(&self, sql: &str) -> u64 {
        self.0.execute_unprepared(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}")).rows_affected()
    }

    /// The message with which a statement fails.
    async fn refusal(&self, sql: &str) -> String {
        match self.0.execute_unprepared(sql).await {
            Err(error) => error.to_string(),
            Ok(_) => panic!("is not refused: {sql}"),
        }
    }
}

/// Rows of two tenants in every table.
async fn seed(app: &TestApp) {
    for (client, slug) in [(app.owner(), "home"), (app.stranger(), "away")] {
        World::seed(app, &client).await;
        let login = serde_json::json!({ "tenant": slug, "email": format!("owner@{slug}.test"), "password": PASSWORD });
        app.anonymous().done("login", login, "").await;
        let goal = serde_json::json!({ "idempotencyKey": "again", "name": "Boots", "email": "boots@partner.example" });
        client.done("createAffiliate", goal, "").await;
        // Work that is not due.
        let programme = Programme::build(&client, &Terms::default()).await;
        let cap = serde_json::json!({
            "campaignId": programme.campaign, "metric": "CONVERSIONS", "period": "DAY", "amount": { "count": 1 },
        });
        client.done("createCap", cap, "").await;
        // A visitor with an address, and one who does not count.
        let visitor = serde_json::json!({ "userAgent": "curl/8.10.1", "ipAddress": "192.0.2.1" });
        programme.click_with(&client, visitor).await;
        let click = programme.click(&client).await;
        client.done("recordConversion", sale(&click, &click, "1.00"), "").await;
        share(app, &client).await;
    }
}

/// A conversion of a known customer that two affiliates share.
async fn share(app: &TestApp, client: &Client) {
    let programme = Programme::build(client, &Terms::default()).await;
    app.auditor.run("UPDATE campaign SET attribution_model = 'LINEAR'").await.expect("a known column");
    let affiliate = programme::new_affiliate(client).await;
    let (_, link) = programme::enroll(client, &programme.campaign, &affiliate).await;
    let clicked = serde_json::json!({ "visitorId": "v" });
    programme.click_with(client, clicked.clone()).await;
    let last = Programme { link, ..programme }.click_with(client, clicked).await;
    let mut shared = sale(&last, &last, "1.00");
    programme::merge(&mut shared, serde_json::json!({ "customerId": "ada" }));
    client.done("recordConversion", shared, "").await;
}

/// Tables whose rows change and never go: clicks name their links without a foreign key.
const KEPT: &[&str] = &["link"];

/// The other columns of a table, to copy a row under another tenant.
async fn columns(app: &TestApp, table: &str) -> String {
    let sql = format!(
        "SELECT string_agg(quote_ident(column_name), ', ') FROM information_schema.columns \
         WHERE table_name = '{table}' AND column_name <> 'tenant_id'"
    );
    texts(&app.auditor, &sql).await.remove(0)
}

async fn body(app: &TestApp) {
    seed(app).await;
    let role = Role::connect(app).await;
    let (home, away): (TenantId, TenantId) = (app.home, app.away);
    let (home, away) = (home.uuid(), away.uuid());
    for table in tables(&app.auditor).await {
        role.set("tenant", "").await;
        assert_eq!(role.count(&table).await, 0, "{table} without a tenant");

        role.set("tenant", &home.to_string()).await;
        assert!(role.count(&table).await > 0, "{table} has rows of this tenant: give it one in `seed`");
        role.set("tenant", &away.to_string()).await;
        assert!(role.count(&table).await > 0, "{table} has rows of the other tenant: give it one in `seed`");

        role.set("tenant", &home.to_string()).await;
        let others = format!("{table} WHERE tenant_id <> '{home}'");
        assert_eq!(role.count(&others).await, 0, "{table} shows rows of another tenant");

        let rest = columns(app, &table).await;
        let insert =
            format!("INSERT INTO {table} (tenant_id, {rest}) SELECT '{away}'::uuid, {rest} FROM {table} LIMIT 1");
        let refusal = role.refusal(&insert).await;
        assert!(refusal.contains("row-level security"), "{table} takes a row for another tenant: {refusal}");

        let give_away = format!("UPDATE {table} SET tenant_id = '{away}'");
        let refusal = role.refusal(&give_away).await;
        if APPEND_ONLY.contains(&table.as_str()) {
            assert!(refusal.contains("permission denied"), "{table} is append-only: {refusal}");
            let refusal = role.refusal(&format!("DELETE FROM {table}")).await;
            assert!(refusal.contains("permission denied"), "{table} is append-only: {refusal}");
        } else {
            assert!(refusal.contains("row-level security"), "{table} gives a row to another tenant: {refusal}");
            // Also while the directory's tables are open for reading.
            for directory in ["on", ""] {
                role.set("directory", directory).await;
                let update = format!("UPDATE {table} SET tenant_id = tenant_id WHERE tenant_id = '{away}'");
                assert_eq!(role.changed(&update).await, 0, "{table}: rows of another tenant can be changed");
                let delete = format!("DELETE FROM {table} WHERE tenant_id = '{away}'");
                if KEPT.contains(&table.as_str()) {
                    assert!(role.refusal(&delete).await.contains("permission denied"), "{table}: rows stay");
                    continue;
                }
                assert_eq!(role.changed(&delete).await, 0, "{table}: rows of another tenant can be deleted");
            }
        }
        assert!(role.refusal(&format!("TRUNCATE {table}")).await.contains("permission denied"), "{table}: TRUNCATE");

        role.set("directory", "on").await;
        let open = role.count(&others).await > 0;
        assert_eq!(open, DIRECTORY.contains(&table.as_str()), "{table}: whether the directory may read it");
        role.set("directory", "").await;
    }
    for sql in [
        format!("UPDATE {MIGRATIONS} SET version = version"),
        format!("DELETE FROM {MIGRATIONS}"),
        "ALTER TABLE tenant DISABLE ROW LEVEL SECURITY".to_owned(),
        "ALTER TABLE tenant NO FORCE ROW LEVEL SECURITY".to_owned(),
        "DROP POLICY tenant_tenant ON tenant".to_owned(),
        "DROP TABLE tenant".to_owned(),
        "CREATE TABLE mine (id integer)".to_owned(),
        "ALTER TABLE event DISABLE TRIGGER ALL".to_owned(),
        "CREATE OR REPLACE FUNCTION refuse_rewrite() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"
            .to_owned(),
        "SET session_replication_role = replica".to_owned(),
    ] {
        let refusal = role.refusal(&sql).await;
        assert!(refusal.contains("permission denied") || refusal.contains("must be owner"), "{sql}: {refusal}");
    }
    role.0.close().await.expect("closes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn application_role_is_held_to_one_tenant_in_every_table() {
    app::run(Backend::Postgres, async |app| body(app).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_security_and_grants_are_as_reviewed_on_every_table() {
    app::run(Backend::Postgres, async |app| {
        let none = async |what: &str, sql: &str| {
            assert_eq!(texts(&app.auditor, sql).await, Vec::<String>::new(), "{what}");
        };
        none(
            "tables without row-level security, or not forced",
            "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND c.relname <> 'seaql_migrations' \
             AND NOT (c.relrowsecurity AND (c.relforcerowsecurity OR c.relispartition))",
        )
        .await;
        none(
            "views and other ways around a policy",
            "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = 'public' AND c.relkind NOT IN ('r', 'i', 'p', 'I')",
        )
        .await;
        none(
            "functions that run with their owner's rights",
            "SELECT p.proname::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace \
             WHERE n.nspname = 'public' AND p.prosecdef \
             AND p.proname NOT IN ('click_make_partitions', 'click_drop_partitions', 'click_partition', 'analyze_grown')",
        )
        .await;
        none(
            "rights on the function behind them, and search paths that a caller could turn",
            "SELECT p.proname::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace \
             WHERE n.nspname = 'public' AND p.prosecdef AND (NOT 'search_path=pg_catalog, public, pg_temp' = ANY (p.proconfig) \
             OR (p.proname = 'click_partition' AND has_function_privilege('tributary_app', p.oid, 'EXECUTE')))",
        )
        .await;
        none(
            "partitions that the application's role can reach past their table",
            "SELECT oid::regclass::text FROM pg_class WHERE relispartition AND relkind = 'r' \
             AND has_table_privilege('tributary_app', oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')",
        )
        .await;
        none(
            "privileges of the application's role that go past its own rows",
            "SELECT rolname::text FROM pg_roles WHERE rolname = 'tributary_app' AND (rolsuper OR rolbypassrls \
             OR rolcreaterole OR rolcreatedb OR rolreplication OR rolcanlogin)",
        )
        .await;
        none(
            "roles that the application's role could become",
            "SELECT rolname::text FROM pg_roles WHERE rolname <> 'tributary_app' \
             AND pg_has_role('tributary_app', oid, 'MEMBER')",
        )
        .await;
        none(
            "things that the application's role owns",
            "SELECT relname::text FROM pg_class WHERE pg_get_userbyid(relowner) = 'tributary_app'",
        )
        .await;
        none(
            "the schema, where the application's role may create",
            "SELECT 'public' WHERE has_schema_privilege('tributary_app', 'public', 'CREATE')",
        )
        .await;
        none(
            "grants on single columns",
            "SELECT table_name::text FROM information_schema.column_privileges c WHERE grantee IN ('tributary_app', 'PUBLIC') \
             AND table_schema = 'public' AND NOT EXISTS (SELECT 1 FROM information_schema.table_privileges t \
             WHERE t.grantee = c.grantee AND t.table_name = c.table_name AND t.privilege_type = c.privilege_type)",
        )
        .await;
        let grants = texts(
            &app.auditor,
            "SELECT table_name || ' ' || string_agg(privilege_type, ' ' ORDER BY privilege_type) \
             FROM information_schema.table_privileges WHERE grantee IN ('tributary_app', 'PUBLIC') \
             AND table_schema = 'public' GROUP BY table_name",
        )
        .await;
        let tables = tables(&app.auditor).await;
        let expected = tables.iter().map(|table| match table.as_str() {
            name if APPEND_ONLY.contains(&name) => format!("{table} INSERT SELECT"),
            name if KEPT.contains(&name) => format!("{table} INSERT SELECT UPDATE"),
            _ => format!("{table} DELETE INSERT SELECT UPDATE"),
        });
        // Which steps were done is nobody's: a node reads it to tell whether it is ready.
        let expected = expected.chain([format!("{MIGRATIONS} SELECT")]);
        assert_eq!(BTreeSet::from_iter(grants), expected.collect(), "the grants of every table");
        let policies = texts(
            &app.auditor,
            "SELECT tablename || ' ' || policyname || ' ' || cmd FROM pg_policies WHERE schemaname = 'public'",
        )
        .await;
        let of_tenants = tables.iter().map(|table| format!("{table} {table}_tenant ALL"));
        let of_directory = DIRECTORY.iter().map(|table| format!("{table} {table}_directory SELECT"));
        assert_eq!(BTreeSet::from_iter(policies), of_tenants.chain(of_directory).collect(), "the policies of every table");
        let triggers = texts(
            &app.auditor,
            "SELECT event_object_table::text FROM information_schema.triggers GROUP BY event_object_table \
             HAVING string_agg(event_manipulation, ' ' ORDER BY event_manipulation) = 'DELETE UPDATE'",
        )
        .await;
        let partitions = "SELECT relname::text FROM pg_class WHERE relispartition AND relkind = 'r'";
        let partitions = texts(&app.auditor, partitions).await;
        assert!(partitions.len() >= 5, "this month, three more, and the default: {partitions:?}");
        let append_only = APPEND_ONLY.iter().map(|&table| table.to_owned()).chain(partitions);
        assert_eq!(BTreeSet::from_iter(triggers), append_only.collect(), "append-only also for the owner");
    })
    .await;
}
