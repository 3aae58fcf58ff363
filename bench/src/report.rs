//! The report by day and affiliate, from hourly totals: how long it takes, beside the bare SQL over the same totals; and that
//! it is what the conversions and commissions themselves sum up to, before and after more of them came by the API.
//!
//! PostgreSQL only, as a superuser: see [`crate::seed`].

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use clap::Args;
use serde_json::{Value, json};
use tributary_entity::ids::AffiliateId;
use uuid::Uuid;

use crate::{
    BenchError,
    all::{Scaled, shortened},
    api::Api,
    calls::{Body, Calls, Seen},
    figures::{Demand, Figure},
    pgbench,
    process::Together,
    seed::{self, Seeded},
    server::{Database, Server},
    sql, table,
};

#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    seed: seed::Amounts,
    /// Connections, each with one request in flight; one measurement each.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 4])]
    connections: Vec<usize>,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

impl Scaled for Options {
    fn scale(&mut self, scale: f64) {
        self.seed.scale(scale);
        self.seconds = shortened(self.seconds, scale);
    }
}

const NAME: &str = "report";
const DOCUMENT: &str = "query Report($input: ReportInput!) { report(input: $input) { period affiliate { id name } currency \
                        conversions saleAmount { amount } commission { amount } } }";
/// Conversions that come by the API while the report stands.
const MORE: usize = 1_000;

/// Seeds, compares, measures, compares again.
///
/// # Errors
/// When a server does not start or refuses, or the report is not what the facts sum up to.
pub async fn run(options: &Options) -> Result<Vec<Figure>, BenchError> {
    let database = Database::postgres().await?;
    let node = Server::tributary(&database).await?;
    let api = Api::new(&node.url, &node.token);
    let seeded = seed::seed(&api, &database, &options.seed).await?;
    let period = Period::of(&seeded).await?;
    let rows = compare(&api, &seeded, &period).await?;
    println!("{rows} rows of a report over {} conversions, {} s each", seeded.last, options.seconds);
    println!("{}", table::rate_head(&format!("{:<10}{:>12}", "", "connections"), "reports/s"));
    let mut figures = Vec::new();
    for connections in &options.connections {
        figures.extend(measure(&node, &database, &seeded, &period, *connections, options.seconds).await?);
    }
    record_more(&api, &seeded, &period).await?;
    compare(&api, &seeded, &period).await?;
    println!("equal to the sums of conversions and commissions, and again after {MORE} more came in");
    Ok(figures)
}

async fn measure(
    node: &Server,
    database: &Database,
    seeded: &Seeded,
    period: &Period,
    connections: usize,
    seconds: u64,
) -> Result<Vec<Figure>, BenchError> {
    let time = Duration::from_secs(seconds);
    let bare = pgbench::run(&seeded.url, &period.totals(seeded.tenant), connections, time).await?;
    print("SQL", connections, &bare, None, &bare);
    let calls = |duration| Calls {
        address: node.address().to_owned(),
        token: node.token.clone(),
        connections,
        duration,
        rate: None,
        from: 0,
        body: body(period),
        holds: "\"period\":",
    };
    // What the first ones set up for all is not theirs.
    calls(Duration::from_secs(1)).drive().await?;
    let together = Together { server: node.pid(), database: database.process() };
    let before = together.used()?;
    let ours = calls(time).drive().await?;
    print("tributary", connections, &ours, Some(together.each(before, ours.calls)?), &bare);
    let what = |what: &str| format!("by day and affiliate, {connections} connections: {what}");
    let p99 = Figure::new(NAME, what("p99"), ours.at(0.99), "ms").beside(Some(bare.at(0.99)));
    Ok(vec![
        Figure::new(NAME, what("p50"), ours.at(0.5), "ms").beside(Some(bare.at(0.5))),
        // Of one who asks; of several, the machine's cores would be part of it.
        if connections == 1 { p99.demand(Demand::AtMost(20.0)) } else { p99 },
    ])
}

fn print(name: &str, connections: usize, seen: &Seen, cost: Option<[f64; 3]>, floor: &Seen) {
    println!("{}", table::rate(&format!("{name:<10}{connections:>12}"), seen, cost, floor));
}

/// From the first conversion to the end of today, in whole days.
struct Period {
    from: DateTime<Utc>,
    until: DateTime<Utc>,
}

impl Period {
    async fn of(seeded: &Seeded) -> Result<Self, BenchError> {
        let sql = format!(
            "SELECT date_trunc('day', MIN(occurred_at), 'UTC') AS first, \
             date_trunc('day', MAX(occurred_at), 'UTC') AS last FROM conversion WHERE tenant_id = '{}'",
            seeded.tenant
        );
        let row = sql::one(&seeded.database, &sql).await?;
        let last: DateTime<Utc> = row.try_get("", "last")?;
        Ok(Self { from: row.try_get("", "first")?, until: last + TimeDelta::days(2) })
    }

    fn input(&self) -> Value {
        json!({ "from": text(self.from), "until": text(self.until), "groupBy": ["DAY", "AFFILIATE"] })
    }

    /// The report's rows by one statement over the totals.
    fn totals(&self, tenant: Uuid) -> String {
        format!(
            "SELECT date_trunc('day', bucket_at, 'UTC') AS day, affiliate_id, currency, \
             SUM(clicks_gross)::bigint, SUM(clicks_unique)::bigint, SUM(clicks_invalid)::bigint, \
             SUM(conversions)::bigint, SUM(sale_minor)::bigint, SUM(commission_minor)::bigint \
             FROM rollup_hourly WHERE tenant_id = '{tenant}' AND bucket_at >= to_timestamp({}) \
             AND bucket_at < to_timestamp({}) GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;\n",
            self.from.timestamp(),
            self.until.timestamp()
        )
    }

    /// The same of the facts themselves.
    fn facts(&self, tenant: Uuid) -> String {
        let within = format!(
            "v.tenant_id = '{tenant}' AND v.occurred_at >= to_timestamp({}) AND v.occurred_at < to_timestamp({}) \
             AND v.status <> 'REJECTED' AND v.held_until IS NULL AND v.campaign_id IS NOT NULL \
             AND v.affiliate_id IS NOT NULL",
            self.from.timestamp(),
            self.until.timestamp()
        );
        format!(
            "SELECT to_char(day AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS day, affiliate_id, currency, \
             SUM(conversions)::bigint AS conversions, SUM(sale)::bigint AS sale, SUM(commission)::bigint AS commission \
             FROM (SELECT date_trunc('day', v.occurred_at, 'UTC') AS day, v.affiliate_id, v.sale_currency AS currency, \
             CASE v.status WHEN 'REVERSED' THEN 0 ELSE 1 END AS conversions, \
             v.sale_minor + v.sale_adjusted_minor - v.refunded_minor AS sale, 0 AS commission \
             FROM conversion v WHERE {within} \
             UNION ALL SELECT date_trunc('day', v.occurred_at, 'UTC'), c.affiliate_id, c.currency, 0, 0, \
             c.amount_minor + c.adjusted_minor - c.reversed_minor FROM commission c \
             JOIN conversion v ON v.tenant_id = c.tenant_id AND v.id = c.conversion_id \
             WHERE c.tenant_id = '{tenant}' AND {within}) facts GROUP BY 1, 2, 3"
        )
    }
}

fn text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn body(period: &Period) -> Body {
    let body = json!({ "query": DOCUMENT, "variables": { "input": period.input() } }).to_string();
    Arc::new(move |_| body.clone())
}

/// Day, affiliate and currency; conversions, sales and commissions in minor units.
type Sums = BTreeMap<[String; 3], [i64; 3]>;

/// Compares the report with the facts. Answers how many rows it has.
async fn compare(api: &Api, seeded: &Seeded, period: &Period) -> Result<usize, BenchError> {
    let query = DOCUMENT.replacen("{ report(", "{ result: report(", 1);
    let reported = reported(&api.send(&query, json!({ "input": period.input() })).await?)?;
    let mut summed = Sums::new();
    for row in sql::all(&seeded.database, &period.facts(seeded.tenant)).await? {
        let affiliate: Uuid = row.try_get("", "affiliate_id")?;
        let key = [
            row.try_get("", "day")?,
            AffiliateId::from_uuid(affiliate).to_string(),
            row.try_get::<String>("", "currency")?,
        ];
        let sums = [row.try_get("", "conversions")?, row.try_get("", "sale")?, row.try_get("", "commission")?];
        summed.insert(key, sums);
    }
    if reported == summed && !summed.is_empty() {
        return Ok(summed.len());
    }
    let differ = summed.iter().find(|(key, sums)| reported.get(*key) != Some(*sums));
    Err(BenchError::Failed(format!(
        "the report has {} rows, the facts {}; {differ:?} is reported as {:?}",
        reported.len(),
        summed.len(),
        differ.and_then(|(key, _)| reported.get(key))
    )))
}

/// What an answer says, in the form of sums.
fn reported(rows: &Value) -> Result<Sums, BenchError> {
    let refused = |row: &Value| BenchError::Failed(format!("no row of a report: {row}"));
    let mut sums = Sums::new();
    for row in rows.as_array().ok_or_else(|| refused(rows))? {
        let told = || {
            let key = [row["period"].as_str()?.get(..10)?, row["affiliate"]["id"].as_str()?, row["currency"].as_str()?];
            let values = [
                row["conversions"].as_i64()?,
                minor(row["saleAmount"]["amount"].as_str()?)?,
                minor(row["commission"]["amount"].as_str()?)?,
            ];
            Some((key.map(str::to_owned), values))
        };
        let (key, values) = told().ok_or_else(|| refused(row))?;
        // Of a day with clicks alone the facts have no row.
        if values == [0; 3] {
            continue;
        }
        if sums.insert(key, values).is_some() {
            return Err(BenchError::Failed(format!("a row is there twice: {row}")));
        }
    }
    Ok(sums)
}

/// An amount of a currency with cents, in cents.
fn minor(amount: &str) -> Option<i64> {
    let (whole, cents) = amount.split_once('.')?;
    (cents.len() == 2).then(|| format!("{whole}{cents}").parse().ok())?
}

/// Records clicks and conversions all over the period, of each of the affiliates.
async fn record_more(api: &Api, seeded: &Seeded, period: &Period) -> Result<(), BenchError> {
    // None in the future: the period goes on to the end of tomorrow.
    let seconds = (period.until - period.from - TimeDelta::days(2)).num_seconds();
    let at = |number: usize| {
        period.from + TimeDelta::seconds(seconds * i64::try_from(number).unwrap_or_default() / MORE as i64)
    };
    let click = |number: usize| {
        let link = &seeded.links[number % seeded.links.len()];
        json!({ "linkId": link.id, "occurredAt": text(at(number) - TimeDelta::minutes(1)) })
    };
    let clicks = api.record_clicks((0..MORE).map(click).collect()).await?;
    let sale = |(number, click): (usize, &String)| {
        json!({
            "clickId": click, "goal": "sale", "orderId": format!("more-{number}"), "occurredAt": text(at(number)),
            "saleAmount": { "amount": format!("{}.{:02}", 10 + number % 90, number % 100), "currency": "EUR" },
        })
    };
    api.record_conversions(clicks.iter().enumerate().map(sale).collect()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_in_cents() {
        assert_eq!(minor("1234.50"), Some(123_450));
        assert_eq!(minor("-0.05"), Some(-5));
        for unreadable in ["12", "1.5", "1.234", "", "."] {
            assert_eq!(minor(unreadable), None, "{unreadable}");
        }
    }

    #[test]
    fn answers_become_sums_of_which_none_is_there_twice() {
        let row = json!({
            "period": "2026-11-01T00:00:00Z", "affiliate": { "id": "aff_1", "name": "Load" }, "currency": "EUR",
            "conversions": 3, "saleAmount": { "amount": "30.00" }, "commission": { "amount": "3.00" },
        });
        let sums = reported(&json!([row])).expect("a report");
        let key = ["2026-11-01", "aff_1", "EUR"].map(str::to_owned);
        assert_eq!(sums, Sums::from([(key, [3, 3_000, 300])]));
        assert!(reported(&json!([row, row])).is_err());
        assert!(reported(&json!([{ "period": null }])).is_err());
    }
}
