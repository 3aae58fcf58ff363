//! The database's own catalogue: every key of every table begins with the tenant.

use std::collections::BTreeMap;

use crate::support::{database::Auditor, on_both, surface::World};

/// Keys that do not begin with the tenant, each for a reason.
const REVIEWED: &[&str] = &[
    // It is how a tenant is found: log-in by slug.
    "tenant_slug_key",
];
/// Rows that come and stay as they are.
pub(super) const APPEND_ONLY: &[&str] = &[
    "account",
    "attribution_adjustment",
    "attribution_decision",
    "attribution_touch",
    "bonus_grant",
    "click",
    "click_rate_version",
    "commission_rule_version",
    "conversion_change",
    "conversion_change_line",
    "conversion_history",
    "conversion_run_refusal",
    "entry",
    "event",
    "fx_conversion",
    "fx_rate",
    "journal",
    "payout_file",
    "payout_file_content",
    "ledger_block",
    "override_plan_version",
    "payout_history",
    "payout_notice",
    "payout_skip",
    "revenue_carried",
    "revenue_deal_version",
    "revenue_qualification",
    "revenue_settlement",
    "tier_adjustment",
];
/// Kept by the migration tool, not ours; `row_security` shows that the application can read it and no more.
pub(super) const MIGRATIONS: &str = "seaql_migrations";

on_both! {
    async fn key_of_every_table_begins_with_the_tenant(app) {
        let tables = tables(&app.auditor).await;
        assert!(tables.len() >= 20, "{tables:?}");
        let keys = keys(&app.auditor, &tables).await;
        for table in &tables {
            assert!(keys.keys().any(|key| *key == format!("{table} primary")), "{table} has a primary key");
        }
        assert!(keys.keys().filter(|key| key.contains("foreign")).count() > 20, "foreign keys are found: {keys:?}");
        assert!(keys.keys().filter(|key| key.contains("unique")).count() >= 10, "unique indexes are found: {keys:?}");
        let wrong: Vec<_> = keys
            .iter()
            .filter(|(key, column)| {
                *column != "tenant_id" && !REVIEWED.iter().any(|name| key.ends_with(&format!(" {name}")))
            })
            .collect();
        assert!(wrong.is_empty(), "keys that do not begin with tenant_id: {wrong:?}");
    }

    async fn history_is_not_rewritten_even_by_the_owner_of_the_tables(app) {
        World::seed(app, &app.owner()).await;
        for table in APPEND_ONLY {
            for sql in [format!("UPDATE {table} SET tenant_id = tenant_id"), format!("DELETE FROM {table}")] {
                let answer = app.auditor.run(&sql).await;
                let refused = answer.as_ref().is_err_and(|error| error.to_string().contains("is append-only"));
                assert!(refused, "{sql}: {answer:?}");
            }
        }
    }
}

/// All tables but that of the migrations, and but the months of clicks, on which nobody has a right: see
/// `row_security`.
pub(crate) async fn tables(auditor: &Auditor) -> Vec<String> {
    let sql = if auditor.is_postgres() {
        "SELECT c.relname::text AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg_toast%' \
         AND c.relkind NOT IN ('i', 'I', 'S', 't') AND NOT c.relispartition AND c.relname <> 'seaql_migrations' ORDER BY 1"
    } else {
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' \
         AND name <> 'seaql_migrations' ORDER BY 1"
    };
    texts(auditor, sql).await
}

/// The first column of every result row.
pub(crate) async fn texts(auditor: &Auditor, sql: &str) -> Vec<String> {
    let rows = auditor.rows(sql).await;
    rows.iter().map(|row| row.try_get_by_index(0).unwrap_or_else(|error| panic!("{sql}: {error}"))).collect()
}

/// The first column of every primary, unique and foreign key; both ends of a foreign key.
async fn keys(auditor: &Auditor, tables: &[String]) -> BTreeMap<String, String> {
    let mut keys = BTreeMap::new();
    let mut add = |rows: Vec<sea_orm::QueryResult>| {
        for row in rows {
            let text = |name: &str| row.try_get::<String>("", name).expect("a text");
            keys.insert(text("key"), text("first_column"));
        }
    };
    if auditor.is_postgres() {
        add(auditor
            .rows(
                "SELECT c.relname || CASE WHEN x.indisprimary THEN ' primary' ELSE ' unique ' || i.relname END AS key, \
                 a.attname::text AS first_column \
                 FROM pg_index x JOIN pg_class c ON c.oid = x.indrelid JOIN pg_class i ON i.oid = x.indexrelid \
                 JOIN pg_namespace n ON n.oid = c.relnamespace \
                 JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = x.indkey[0] \
                 WHERE x.indisunique AND n.nspname = 'public' AND c.relname <> 'seaql_migrations'",
            )
            .await);
        for (end, relation, column) in [("", "conrelid", "conkey"), ("target of ", "confrelid", "confkey")] {
            add(auditor
                .rows(&format!(
                    "SELECT r.relname || ' {end}foreign ' || k.conname AS key, a.attname::text AS first_column \
                     FROM pg_constraint k JOIN pg_class r ON r.oid = k.conrelid \
                     JOIN pg_attribute a ON a.attrelid = k.{relation} AND a.attnum = k.{column}[1] WHERE k.contype = 'f'"
                ))
                .await);
        }
        return keys;
    }
    for table in tables {
        add(auditor
            .rows(&format!(
                "SELECT '{table} primary' AS key, name AS first_column FROM pragma_table_info('{table}') WHERE pk = 1"
            ))
            .await);
        add(auditor
            .rows(&format!(
                "SELECT '{table} unique ' || l.name AS key, i.name AS first_column FROM pragma_index_list('{table}') l, \
                 pragma_index_info(l.name) i WHERE l.\"unique\" = 1 AND i.seqno = 0"
            ))
            .await);
        add(auditor
            .rows(&format!(
                "SELECT '{table} foreign ' || id AS key, \"from\" AS first_column \
                 FROM pragma_foreign_key_list('{table}') WHERE seq = 0"
            ))
            .await);
    }
    keys
}
