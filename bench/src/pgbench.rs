//! The floor of what is asked of the database: `pgbench`.
//!
//! That of ingest writes the rows of a conversion into the tables in which one is stored, with all of their
//! indexes, foreign keys and checks, by prepared statements, and decides nothing.
//!
//! The rows are those of a conversion that the program has recorded, with ids of their own.

use std::{fmt::Write as _, path::PathBuf, process::Stdio, time::Duration};

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};
use tempfile::TempDir;
use tokio::process::Command;
use tributary_entity::ids::ConversionId;
use uuid::Uuid;

use crate::{
    BenchError,
    calls::{self, Seen},
};

/// Tables of a conversion, in the order of their foreign keys, and which of their rows are its own.
const TABLES: [(&str, &str); 9] = [
    ("idempotency", "result_id = $1"),
    ("conversion", "id = $1"),
    ("conversion_history", "conversion_id = $1"),
    ("attribution_decision", "conversion_id = $1"),
    ("attribution_touch", "conversion_id = $1"),
    ("commission", "conversion_id = $1"),
    ("journal", "conversion_id = $1"),
    ("event", "subject_id = $1"),
    ("entry", "journal_id = (SELECT id FROM journal WHERE conversion_id = $1)"),
];

/// A row's table, and its columns as texts.
type Row = (&'static str, Vec<(String, Option<String>)>);

/// The rows of one conversion.
pub struct Sample {
    rows: Vec<Row>,
    conversion: Uuid,
    order: String,
    tenant: Uuid,
}

impl Sample {
    /// Reads them.
    ///
    /// # Errors
    /// When the database refuses, or a table has none.
    pub async fn read(database: &DatabaseConnection, conversion: &str, order: &str) -> Result<Self, BenchError> {
        let id: ConversionId =
            conversion.parse().map_err(|_| BenchError::Failed(format!("{conversion} is no conversion")))?;
        let conversion = id.uuid();
        let mut rows = Vec::new();
        let mut tenant = None;
        for (table, condition) in TABLES {
            let sql = format!(
                "SELECT to_jsonb(t)::text AS row FROM {table} t WHERE {condition} AND tenant_id = \
                 (SELECT tenant_id FROM conversion WHERE id = $1)"
            );
            let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, [conversion.into()]);
            let found = database.query_all_raw(statement).await?;
            if found.is_empty() {
                return Err(BenchError::Failed(format!("a conversion has no row in {table}")));
            }
            for row in found {
                let row: String = row.try_get("", "row")?;
                let row: serde_json::Value =
                    serde_json::from_str(&row).map_err(|error| BenchError::Failed(error.to_string()))?;
                let columns = row.as_object().ok_or_else(|| BenchError::Failed(format!("{table}: no row")))?;
                let text = |value: &serde_json::Value| match value {
                    serde_json::Value::Null => None,
                    serde_json::Value::String(text) => Some(text.clone()),
                    other => Some(other.to_string()),
                };
                tenant = columns["tenant_id"].as_str().and_then(|id| id.parse().ok()).or(tenant);
                rows.push((table, columns.iter().map(|(name, value)| (name.clone(), text(value))).collect()));
            }
        }
        let tenant = tenant.ok_or_else(|| BenchError::Failed("a conversion without a tenant".to_owned()))?;
        Ok(Self { rows, conversion, order: order.to_owned(), tenant })
    }

    /// A transaction of one conversion, as pgbench reads it.
    fn single(&self) -> String {
        // No two transactions of all clients have the same number, and numbers grow, as our ids do.
        let mut script = String::from("\\set i :i + 1\n\\set n (:start + :i) * 1024 + :client_id\nBEGIN;\n");
        self.counters(&mut script, "1", "\\gset\n");
        for (table, columns) in &self.rows {
            let (names, values) = self.values(table, columns, ":n::bigint", ":event_seq", ":journal_seq");
            let _ = writeln!(script, "INSERT INTO {table} ({names}) VALUES ({values});");
        }
        self.totals(&mut script, "1");
        script + "COMMIT;\n"
    }

    /// As [`Sample::single`], of so many conversions, each table's rows in one statement.
    fn multiple(&self, count: usize) -> String {
        let mut script = String::from("\\set i :i + 1\n\\set n (:start + :i) * 1024 + :client_id\nBEGIN;\n");
        self.counters(&mut script, &count.to_string(), "\\gset\n");
        for (table, columns) in &self.rows {
            let (names, values) = self.values(
                table,
                columns,
                "(:n::bigint * 1024 + k)",
                &format!(":event_seq - {count} + k"),
                &format!(":journal_seq - {count} + k"),
            );
            let _ =
                writeln!(script, "INSERT INTO {table} ({names}) SELECT {values} FROM generate_series(1, {count}) k;");
        }
        self.totals(&mut script, &count.to_string());
        script + "COMMIT;\n"
    }

    fn counters(&self, script: &mut String, count: &str, end: &str) {
        let _ = write!(
            script,
            "UPDATE tenant_counter SET event_seq = event_seq + {count}, journal_seq = journal_seq + {count} \
             WHERE tenant_id = '{}' RETURNING event_seq, journal_seq {end}",
            self.tenant
        );
    }

    /// What conversions add to: balances, the hour's totals.
    fn totals(&self, script: &mut String, count: &str) {
        let column = |table: &str, name: &str| {
            let mut rows = self.rows.iter().filter(|(of, _)| *of == table);
            let found = rows.find_map(|(_, columns)| columns.iter().find(|(column, _)| column == name)?.1.clone());
            found.unwrap_or_default()
        };
        let entries = self.rows.iter().filter(|(table, _)| *table == "entry");
        let mut accounts: Vec<&str> = entries
            .flat_map(|(_, columns)| columns.iter().filter(|(name, _)| name == "account_id"))
            .filter_map(|(_, id)| id.as_deref())
            .collect();
        accounts.sort_unstable();
        for account in accounts {
            let _ = writeln!(
                script,
                "INSERT INTO balance (tenant_id, account_id, amount_minor, version) VALUES ('{}', '{account}', {count}, 1) \
                 ON CONFLICT (tenant_id, account_id) DO UPDATE \
                 SET amount_minor = balance.amount_minor + excluded.amount_minor, version = balance.version + 1;",
                self.tenant
            );
        }
        let _ = writeln!(
            script,
            "INSERT INTO rollup_hourly (tenant_id, bucket_at, campaign_id, affiliate_id, currency, clicks_gross, \
             clicks_unique, clicks_invalid, conversions, sale_minor, commission_minor) VALUES ('{}', \
             date_trunc('hour', now()), '{}', '{}', 'EUR', 0, 0, 0, {count}, {count}, {count}) \
             ON CONFLICT (tenant_id, bucket_at, campaign_id, affiliate_id, currency) DO UPDATE SET \
             conversions = rollup_hourly.conversions + excluded.conversions, \
             sale_minor = rollup_hourly.sale_minor + excluded.sale_minor, \
             commission_minor = rollup_hourly.commission_minor + excluded.commission_minor;",
            self.tenant,
            column("conversion", "campaign_id"),
            column("conversion", "affiliate_id"),
        );
        let _ = writeln!(
            script,
            "INSERT INTO outbox (tenant_id, id, kind, dedup_key, due_at, attempts, created_at) VALUES ('{}', \
             gen_random_uuid(), 'RELEASE_HOLDS', extract(epoch from date_trunc('second', now()))::text, \
             now() + interval '30 days', 0, now()) ON CONFLICT (tenant_id, kind, dedup_key) DO UPDATE \
             SET leased_until = NULL;",
            self.tenant
        );
    }

    /// Names and values of a row's columns, with ids made of a number.
    fn values(
        &self,
        table: &str,
        columns: &[(String, Option<String>)],
        number: &str,
        event: &str,
        journal: &str,
    ) -> (String, String) {
        let conversion = self.conversion.to_string();
        let id = format!("lpad(to_hex({number}), 32, '0')::uuid");
        let of_column = |(name, value): &(String, Option<String>)| match (table, name.as_str(), value) {
            (_, _, None) => "NULL".to_owned(),
            ("event", "seq", _) => event.to_owned(),
            ("entry", "seq", _) => journal.to_owned(),
            ("entry", "journal_id", _) | ("commission" | "journal", "id", _) => id.clone(),
            (_, _, Some(value)) if *value == conversion => id.clone(),
            ("idempotency", "key", _) | (_, "order_id" | "unique_order_id" | "business_key", _) => {
                format!("to_hex({number}) || '{}'", self.order)
            }
            (_, _, Some(value)) => literal(value),
        };
        let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
        let values: Vec<String> = columns.iter().map(of_column).collect();
        (names.join(", "), values.join(", "))
    }

    /// Runs pgbench with single conversions. Its numbers begin where no other run's are.
    ///
    /// # Errors
    /// When it is not to be found, or fails.
    pub async fn run_single(&self, url: &str, clients: usize, time: Duration) -> Result<Seen, BenchError> {
        run(url, &self.single(), clients, time).await
    }

    /// As [`Sample::run_single`], with transactions of so many conversions; a call is a transaction.
    ///
    /// # Errors
    /// As [`Sample::run_single`].
    pub async fn run_multiple(
        &self,
        url: &str,
        count: usize,
        clients: usize,
        time: Duration,
    ) -> Result<Seen, BenchError> {
        run(url, &self.multiple(count), clients, time).await
    }
}

/// A text in quotes, as a literal of a script. Pgbench takes what follows a colon for a variable, also inside them.
fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', r"\\").replace('\'', "''").replace(':', r"\x3a"))
}

/// Runs a script for a time, over and over.
///
/// # Errors
/// When pgbench is not to be found, or fails.
pub async fn run(url: &str, script: &str, clients: usize, time: Duration) -> Result<Seen, BenchError> {
    let folder = TempDir::new()?;
    let file = folder.path().join("script.sql");
    std::fs::write(&file, script)?;
    // Above it there is room for two million transactions, a thousand clients and a thousand rows of each.
    let start = (Uuid::new_v4().as_u128() & 0x3f_ffff) << 21;
    let output = Command::new(program())
        .args(["--no-vacuum", "--protocol=prepared", "--log", "--log-prefix=transactions"])
        .arg(format!("--client={clients}"))
        .arg("--jobs=2")
        .arg(format!("--time={}", time.as_secs().max(1)))
        .arg("--define=i=0")
        .arg(format!("--define=start={start}"))
        .arg("--file")
        .arg(&file)
        .arg(url)
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .output()
        .await?;
    let said = String::from_utf8_lossy(&output.stdout);
    let number = |line: &str| line.split_whitespace().find_map(|word| word.parse::<f64>().ok());
    let per_second = said.lines().find_map(|line| number(line.strip_prefix("tps = ")?));
    let Some(per_second) = per_second.filter(|_| output.status.success()) else {
        return Err(BenchError::Failed(format!("pgbench: {said}{}", String::from_utf8_lossy(&output.stderr))));
    };
    let mut took = Vec::new();
    for entry in std::fs::read_dir(folder.path())? {
        let path = entry?.path();
        if path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("transactions")) {
            // Client, transaction, microseconds.
            let text = std::fs::read_to_string(path)?;
            took.extend(text.lines().filter_map(|line| line.split(' ').nth(2)?.parse::<u32>().ok()));
        }
    }
    let calls = took.len();
    Ok(Seen { calls, per_second, latency: calls::histogram(took.into_iter())?, until: 0 })
}

/// On the path, or where Debian keeps it.
fn program() -> PathBuf {
    let folders = std::env::var_os("TRIBUTARY_TEST_POSTGRES_BIN").map(PathBuf::from);
    folders.map(|folder| folder.join("pgbench")).filter(|path| path.exists()).unwrap_or_else(|| "pgbench".into())
}
