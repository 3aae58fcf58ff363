//! Projections and what they must be, by the journals and facts they are made of: one definition for who compares and for
//! who restores.

use sea_orm::{ConnectionTrait, DbBackend};
use tributary_entity::Instant;

use crate::{
    domain::{
        audit::Difference,
        ledger::{Code, Side},
    },
    store::{dialect, error::StoreError, scope::Tx},
};

/// Sums of facts that can be made again: a table of them, or columns beside other facts.
pub struct Projection {
    table: &'static str,
    kind: Kind,
    /// Key columns behind `tenant_id`, and whether each is a UUID.
    keys: &'static [(&'static str, bool)],
    counters: &'static [&'static str],
    /// A column that grows by one with each change.
    version: Option<&'static str>,
    /// Which rows can be made again; the others are left as they are.
    rows: &'static str,
    /// A select of tenant, keys and counters, of the tenant `$1`. `$2` is the instant from which clicks are kept.
    expected: fn(DbBackend) -> String,
}

/// An adjustment `x` is of the commission `c`, where both are of one affiliate and conversion.
const SAME_BASE: &str = "COALESCE(x.base_affiliate_id, x.affiliate_id) = COALESCE(c.base_affiliate_id, c.affiliate_id)";

/// What is made again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Whole rows: one that is not there counts as zeros.
    Rows,
    /// Columns of rows that are facts otherwise.
    Columns,
}

/// All of them, those first of which others are made.
pub const ALL: &[Projection] = &[
    Projection {
        table: "commission",
        kind: Kind::Columns,
        keys: &[("id", true)],
        counters: &["adjusted_minor", "reversed_minor"],
        version: None,
        rows: "1 = 1",
        expected: commissions,
    },
    Projection {
        table: "conversion",
        kind: Kind::Columns,
        keys: &[("id", true)],
        counters: &["sale_adjusted_minor", "refunded_minor", "commission_minor"],
        version: None,
        rows: "1 = 1",
        expected: conversions,
    },
    Projection {
        table: "balance",
        kind: Kind::Rows,
        keys: &[("account_id", true)],
        counters: &["amount_minor"],
        version: Some("version"),
        rows: "1 = 1",
        expected: balances,
    },
    Projection {
        table: "earning",
        kind: Kind::Rows,
        keys: &[("affiliate_id", true), ("currency", false)],
        counters: &["unapproved_minor"],
        version: None,
        rows: "1 = 1",
        expected: earnings,
    },
    Projection {
        table: "rollup_hourly",
        kind: Kind::Rows,
        keys: &[("bucket_at", false), ("campaign_id", true), ("affiliate_id", true), ("currency", false)],
        counters: &["clicks_gross", "clicks_unique", "clicks_invalid", "conversions", "sale_minor", "commission_minor"],
        version: None,
        rows: "1 = 1",
        expected: rollups,
    },
    Projection {
        table: "click_invalid_hourly",
        kind: Kind::Rows,
        keys: &[("bucket_at", false), ("campaign_id", true), ("affiliate_id", true), ("reason", false)],
        counters: &["clicks"],
        version: None,
        rows: "bucket_at >= $2",
        expected: invalid_clicks,
    },
    // Caps of clicks count from when they were made, which no row tells to the click: see `CAP_CLICKS` of the facts.
    Projection {
        table: "cap_usage",
        kind: Kind::Rows,
        keys: &[("cap_id", true), ("period_start", false)],
        counters: &["used"],
        version: None,
        rows: "cap_id IN (SELECT id FROM cap WHERE cap.tenant_id = $1 AND cap.metric <> 'CLICKS')",
        expected: cap_usage,
    },
    Projection {
        table: "tier_state",
        kind: Kind::Rows,
        keys: &[("affiliate_id", true), ("rule_id", true), ("period", false), ("period_start", false)],
        counters: &["conversions", "sale_minor"],
        version: None,
        rows: "1 = 1",
        expected: tier_state,
    },
    // Only ever raised: a lower counter would give numbers out again that somebody has seen.
    Projection {
        table: "tenant_counter",
        kind: Kind::Rows,
        keys: &[],
        counters: &["event_seq", "journal_seq"],
        version: None,
        rows: "1 = 1",
        expected: counters,
    },
];

/// What runs, tiers and changes added to commissions and took of them. A run that made a commission is in its amount; what
/// was recorded before it was of another one, which it is now in the place of. What was refused is nobody's, and nothing is
/// taken back of it.
fn commissions(_: DbBackend) -> String {
    let recorded = |table: &str, column: &str, since: &str| {
        format!(
            "(SELECT {} FROM {table} x WHERE x.tenant_id = c.tenant_id AND x.conversion_id = c.conversion_id \
             AND x.affiliate_id = c.affiliate_id AND {SAME_BASE} AND x.recorded_at {since} c.created_at)",
            dialect::sum(&format!("x.{column}"))
        )
    };
    let changed =
        |amount: &str, kinds: &str| dialect::sum(&format!("CASE WHEN h.kind IN ({kinds}) THEN {amount} ELSE 0 END"));
    format!(
        "SELECT c.tenant_id, c.id, COALESCE(l.adjusted, 0) + {} + {} AS adjusted_minor, \
         CASE WHEN c.status = 'REJECTED' THEN c.reversed_minor ELSE COALESCE(l.reversed, 0) + {} END AS reversed_minor \
         FROM commission c LEFT JOIN (SELECT l.commission_id, {} AS adjusted, {} AS reversed \
         FROM conversion_change_line l JOIN conversion_change h ON h.tenant_id = l.tenant_id AND h.id = l.change_id \
         WHERE l.tenant_id = $1 GROUP BY l.commission_id) l ON l.commission_id = c.id WHERE c.tenant_id = $1",
        recorded("attribution_adjustment", "amount_minor", ">"),
        recorded("tier_adjustment", "amount_minor", ">="),
        recorded("tier_adjustment", "reversed_minor", ">="),
        changed("l.amount_minor", "'ADJUSTMENT'"),
        changed("-l.amount_minor", "'REVERSAL', 'UNDO'"),
    )
}

fn conversions(_: DbBackend) -> String {
    let of_changes = |amount: &str, kinds: &str| {
        format!(
            "SELECT conversion_id, {} AS amount FROM conversion_change \
             WHERE tenant_id = $1 AND kind IN ({kinds}) GROUP BY conversion_id",
            dialect::sum(amount)
        )
    };
    format!(
        "SELECT v.tenant_id, v.id, COALESCE(a.amount, 0) AS sale_adjusted_minor, \
         COALESCE(r.amount, 0) AS refunded_minor, COALESCE(c.amount, 0) AS commission_minor FROM conversion v \
         LEFT JOIN ({}) a ON a.conversion_id = v.id LEFT JOIN ({}) r ON r.conversion_id = v.id \
         LEFT JOIN (SELECT conversion_id, {} AS amount FROM commission WHERE tenant_id = $1 GROUP BY conversion_id) c \
         ON c.conversion_id = v.id WHERE v.tenant_id = $1",
        of_changes("sale_minor", "'ADJUSTMENT'"),
        of_changes("-sale_minor", "'REVERSAL', 'UNDO'"),
        dialect::sum(NET)
    )
}

/// What a commission is now.
const NET: &str = "amount_minor + adjusted_minor - reversed_minor";

fn balances(_: DbBackend) -> String {
    let guarded = || Code::ALL.iter().filter(|code| code.is_guarded());
    let numbers = |codes: &mut dyn Iterator<Item = &Code>| {
        codes.map(|code| code.number().to_string()).collect::<Vec<_>>().join(", ")
    };
    let debit = numbers(&mut guarded().filter(|code| code.side() == Side::Debit));
    let sum = dialect::sum(&format!("CASE WHEN a.code IN ({debit}) THEN e.amount_minor ELSE -e.amount_minor END"));
    format!(
        "SELECT e.tenant_id, e.account_id, {sum} AS amount_minor FROM entry e \
         JOIN account a ON a.tenant_id = e.tenant_id AND a.id = e.account_id \
         WHERE e.tenant_id = $1 AND a.code IN ({}) GROUP BY e.tenant_id, e.account_id",
        numbers(&mut guarded())
    )
}

fn earnings(_: DbBackend) -> String {
    format!(
        "SELECT tenant_id, affiliate_id, currency, {} AS unapproved_minor FROM commission \
         WHERE tenant_id = $1 AND status = 'UNAPPROVED' GROUP BY tenant_id, affiliate_id, currency",
        dialect::sum(NET)
    )
}

/// Clicks that are not kept any more stay counted as they are. What waits for its click counts when that has come.
fn rollups(backend: DbBackend) -> String {
    let sums = ["clicks_gross", "clicks_unique", "clicks_invalid", "conversions", "sale_minor", "commission_minor"]
        .map(|column| format!("{} AS {column}", dialect::sum(column)))
        .join(", ");
    format!(
        "SELECT tenant_id, bucket_at, campaign_id, affiliate_id, currency, {sums} FROM (\
         SELECT k.tenant_id, {hour_of_click} AS bucket_at, k.campaign_id, k.affiliate_id, g.currency, \
         1 AS clicks_gross, CASE WHEN k.is_unique AND k.invalid_reason IS NULL THEN 1 ELSE 0 END AS clicks_unique, \
         CASE WHEN k.invalid_reason IS NULL THEN 0 ELSE 1 END AS clicks_invalid, \
         0 AS conversions, 0 AS sale_minor, 0 AS commission_minor FROM click k \
         JOIN campaign g ON g.tenant_id = k.tenant_id AND g.id = k.campaign_id \
         WHERE k.tenant_id = $1 AND k.occurred_at >= $2 \
         UNION ALL SELECT tenant_id, bucket_at, campaign_id, affiliate_id, currency, \
         clicks_gross, clicks_unique, clicks_invalid, 0, 0, 0 FROM rollup_hourly \
         WHERE tenant_id = $1 AND bucket_at < $2 \
         UNION ALL SELECT v.tenant_id, {hour_of_conversion}, v.campaign_id, v.affiliate_id, v.sale_currency, \
         0, 0, 0, CASE WHEN v.status = 'REVERSED' THEN 0 ELSE 1 END, \
         v.sale_minor + v.sale_adjusted_minor - v.refunded_minor, 0 FROM conversion v \
         WHERE v.tenant_id = $1 AND v.status <> 'REJECTED' AND v.held_until IS NULL AND v.campaign_id IS NOT NULL AND v.affiliate_id IS NOT NULL \
         UNION ALL SELECT v.tenant_id, {hour_of_conversion}, v.campaign_id, c.affiliate_id, c.currency, \
         0, 0, 0, 0, 0, c.amount_minor + c.adjusted_minor - c.reversed_minor FROM commission c \
         JOIN conversion v ON v.tenant_id = c.tenant_id AND v.id = c.conversion_id \
         WHERE c.tenant_id = $1 AND v.status <> 'REJECTED' AND v.campaign_id IS NOT NULL AND v.affiliate_id IS NOT NULL\
         ) facts GROUP BY tenant_id, bucket_at, campaign_id, affiliate_id, currency",
        hour_of_click = dialect::hour(backend, "k.occurred_at"),
        hour_of_conversion = dialect::hour(backend, "v.occurred_at"),
    )
}

fn invalid_clicks(backend: DbBackend) -> String {
    let hour = dialect::hour(backend, "occurred_at");
    format!(
        "SELECT tenant_id, bucket_at, campaign_id, affiliate_id, reason, COUNT(*) AS clicks FROM (\
         SELECT tenant_id, {hour} AS bucket_at, campaign_id, affiliate_id, invalid_reason AS reason FROM click \
         WHERE tenant_id = $1 AND occurred_at >= $2 AND invalid_reason IS NOT NULL) facts \
         GROUP BY tenant_id, bucket_at, campaign_id, affiliate_id, reason"
    )
}

fn cap_usage(_: DbBackend) -> String {
    format!(
        "SELECT tenant_id, cap_id, period_start, {} AS used FROM cap_share WHERE tenant_id = $1 \
         GROUP BY tenant_id, cap_id, period_start",
        dialect::sum("amount")
    )
}

fn tier_state(_: DbBackend) -> String {
    format!(
        "SELECT tenant_id, affiliate_id, rule_id, period, period_start, \
         SUM(CASE WHEN is_counted THEN 1 ELSE 0 END) AS conversions, {} AS sale_minor FROM tier_share \
         WHERE tenant_id = $1 GROUP BY tenant_id, affiliate_id, rule_id, period, period_start",
        dialect::sum("sale_minor")
    )
}

fn counters(_: DbBackend) -> String {
    let at_least = |column: &str, number: &str| {
        format!("CASE WHEN {number} > c.{column} THEN {number} ELSE c.{column} END AS {column}")
    };
    let event = "COALESCE((SELECT MAX(seq) FROM event WHERE event.tenant_id = $1), 0)";
    let journal = "COALESCE((SELECT MAX(seq) FROM entry WHERE entry.tenant_id = $1), 0)";
    format!(
        "SELECT c.tenant_id, {}, {} FROM tenant_counter c WHERE c.tenant_id = $1",
        at_least("event_seq", event),
        at_least("journal_seq", journal)
    )
}

impl Projection {
    pub const fn table(&self) -> &'static str {
        self.table
    }

    /// The rows that differ: keys, `x_` the expected and `f_` the found counters. Both sides are summed by key, of which each
    /// has a row at most: SQLite would make a full join by looking at every pair of rows.
    fn differing(&self, backend: DbBackend) -> String {
        let keys: Vec<&str> = std::iter::once("tenant_id").chain(self.keys.iter().map(|(key, _)| *key)).collect();
        let keys = keys.join(", ");
        let of_counters = |of: &dyn Fn(&str) -> String| {
            self.counters.iter().map(|counter| of(counter)).collect::<Vec<_>>().join(", ")
        };
        let sums = of_counters(&|counter| {
            let (expected, found) = (dialect::sum(&format!("x_{counter}")), dialect::sum(&format!("f_{counter}")));
            format!("{expected} AS x_{counter}, {found} AS f_{counter}")
        });
        let expected = of_counters(&|counter| format!("{counter} AS x_{counter}, 0 AS f_{counter}"));
        let found = of_counters(&|counter| format!("0, {counter}"));
        let differs: Vec<String> =
            self.counters.iter().map(|counter| format!("SUM(x_{counter}) <> SUM(f_{counter})")).collect();
        format!(
            "SELECT {keys}, {sums} FROM (SELECT {keys}, {expected} FROM ({}) expected \
             UNION ALL SELECT {keys}, {found} FROM {} WHERE tenant_id = $1 AND {}) sides GROUP BY {keys} HAVING {}",
            (self.expected)(backend),
            self.table,
            self.rows,
            differs.join(" OR ")
        )
    }

    /// Where it is not what it must be. Clicks count from `clicks_from` on: earlier ones may be gone.
    ///
    /// # Errors
    /// As the database answers.
    pub async fn differences(&self, tx: &Tx, clicks_from: Instant) -> Result<Vec<Difference>, StoreError> {
        let key = |(key, is_id): &(&str, bool)| match is_id {
            true => dialect::id_text(tx.backend(), key),
            false => format!("CAST({key} AS text)"),
        };
        let row = |prefix: &str| {
            let counters: Vec<String> = self
                .counters
                .iter()
                .map(|counter| format!("'{counter} ' || CAST({prefix}_{counter} AS text)"))
                .collect();
            counters.join(" || ', ' || ")
        };
        let subject: Vec<String> =
            std::iter::once(format!("'{}'", self.table)).chain(self.keys.iter().map(key)).collect();
        let sql = format!(
            "SELECT {} AS subject, {} AS expected, {} AS found FROM ({}) differing",
            subject.join(" || ' ' || "),
            row("x"),
            row("f"),
            self.differing(tx.backend())
        );
        super::found(tx, "PROJECTION", &sql, clicks_from).await
    }

    /// Makes it what it must be. Answers how many rows differed; no other is written.
    ///
    /// # Errors
    /// As the database answers; `Conflict` when somebody changed it meanwhile.
    pub async fn restore(&self, tx: &mut Tx, clicks_from: Instant) -> Result<u64, StoreError> {
        let sql = match self.kind {
            Kind::Rows => self.upsert(tx.backend()),
            Kind::Columns => self.update(tx.backend()),
        };
        let values = super::values(tx, &sql, clicks_from);
        let statement = tx.statement(sql, values);
        Ok(tx.connection().execute_raw(statement).await?.rows_affected())
    }

    fn upsert(&self, backend: DbBackend) -> String {
        let key: Vec<&str> = std::iter::once("tenant_id").chain(self.keys.iter().map(|(key, _)| *key)).collect();
        let mut columns: Vec<&str> = key.iter().chain(self.counters).copied().collect();
        let mut values: Vec<String> = key.iter().map(|key| (*key).to_owned()).collect();
        values[0] = "$1".to_owned();
        values.extend(self.counters.iter().map(|counter| format!("x_{counter}")));
        let mut set: Vec<String> =
            self.counters.iter().map(|counter| format!("{counter} = excluded.{counter}")).collect();
        if let Some(version) = self.version {
            columns.push(version);
            values.push("1".to_owned());
            set.push(format!("{version} = {}.{version} + 1", self.table));
        }
        let key = key.join(", ");
        format!(
            "INSERT INTO {} ({}) SELECT {} FROM ({}) differing WHERE 1 = 1 ON CONFLICT ({key}) DO UPDATE SET {}",
            self.table,
            columns.join(", "),
            values.join(", "),
            self.differing(backend),
            set.join(", ")
        )
    }

    fn update(&self, backend: DbBackend) -> String {
        let Self { table, keys, counters, .. } = self;
        let set: Vec<String> = counters.iter().map(|counter| format!("{counter} = differing.x_{counter}")).collect();
        let on: Vec<String> = keys.iter().map(|(key, _)| format!("{table}.{key} = differing.{key}")).collect();
        format!(
            "UPDATE {table} SET {} FROM ({}) differing WHERE {table}.tenant_id = $1 AND {}",
            set.join(", "),
            self.differing(backend),
            on.join(" AND ")
        )
    }
}
