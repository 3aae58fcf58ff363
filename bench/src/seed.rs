//! Very many conversions, or clicks: some are recorded through the API, one by each link, and multiplied in PostgreSQL, spread over
//! days, with their history, commissions and hourly totals. What neither lists nor reports read (decisions, journals, events)
//! is not multiplied.
//!
//! As a superuser: the foreign keys of copies are those of rows that were checked, and are not checked again.

use std::time::Instant;

use clap::Args;
use sea_orm::{ConnectionTrait, DatabaseConnection};
use serde_json::json;
use tributary_entity::ids::ClickId;
use uuid::Uuid;

use crate::{
    BenchError,
    all::{Scaled, scaled},
    api::{Api, Link},
    server, sql,
};

/// How much there is to be.
#[derive(Args)]
pub struct Amounts {
    /// Conversions of the tenant.
    #[arg(long, default_value_t = 1_000_000)]
    pub conversions: usize,
    /// Days over which they are spread, until now.
    #[arg(long, default_value_t = 30)]
    pub days: usize,
    /// Affiliates who made them.
    #[arg(long, default_value_t = 50)]
    pub affiliates: usize,
    /// Campaigns, each with its part of the affiliates.
    #[arg(long, default_value_t = 5)]
    pub campaigns: usize,
}

impl Scaled for Amounts {
    fn scale(&mut self, scale: f64) {
        self.conversions = scaled(self.conversions, scale);
    }
}

/// What a tenant has now.
pub struct Seeded {
    pub database: DatabaseConnection,
    pub url: String,
    pub tenant: Uuid,
    /// One of each affiliate, by which one more conversion came than the copies.
    pub links: Vec<Link>,
    /// The number of the last copy's order; from 1 they were recorded in this order.
    pub last: usize,
}

/// The order of a copy.
pub fn order(number: usize) -> String {
    format!("seed-{number}")
}

/// Copies of one statement.
const CHUNK: usize = 200_000;

/// The conversions that are multiplied, one of each affiliate.
fn of_links(tenant: Uuid) -> String {
    format!(
        "(SELECT t.*, ROW_NUMBER() OVER (ORDER BY t.id) - 1 AS place FROM conversion t \
         WHERE t.tenant_id = '{tenant}' AND t.order_id LIKE 'original-%')"
    )
}

/// Seeds the API's tenant, and says how long that took.
///
/// # Errors
/// When the server or the database refuses.
pub async fn seed(api: &Api, database: &server::Database, options: &Amounts) -> Result<Seeded, BenchError> {
    let began = Instant::now();
    let (links, click) = originals(api, options).await?;
    let (database, url) = sql::connect(database).await?;
    let tenant = sql::tenant_of(&database, &click).await?;
    let until = "SELECT EXTRACT(EPOCH FROM date_trunc('hour', now()))::bigint - 3600 AS until";
    let until: i64 = sql::one(&database, until).await?.try_get("", "until")?;
    let originals = of_links(tenant);
    let last = options.conversions.max(1);
    for first in (1..=last).step_by(CHUNK) {
        let new = numbers(first, last.min(first + CHUNK - 1), last, until, options.days);
        let from = format!("{new} JOIN {originals} one ON one.place = new.k % {}", links.len());
        copy(&database, "conversion", &from, CONVERSION).await?;
    }
    let copies = |table: &str| {
        format!(
            "conversion c JOIN {originals} t ON t.tenant_id = c.tenant_id AND t.affiliate_id = c.affiliate_id \
             JOIN {table} one ON one.tenant_id = t.tenant_id AND one.conversion_id = t.id \
             WHERE c.tenant_id = '{tenant}' AND c.order_id LIKE 'seed-%'"
        )
    };
    copy(&database, "conversion_history", &copies("conversion_history"), HISTORY).await?;
    copy(&database, "commission", &copies("commission"), COMMISSION).await?;
    database.execute_unprepared(&totals(tenant)).await?;
    // So that what is measured is not the database's first look at new rows.
    database.execute_unprepared("VACUUM (ANALYZE)").await?;
    println!(
        "{last} conversions of {} affiliates over {} days seeded in {:.0} s",
        links.len(),
        options.days,
        began.elapsed().as_secs_f64()
    );
    Ok(Seeded { database, url, tenant, links, last })
}

/// Records one conversion by each link. Answers the links, and one of their clicks.
async fn originals(api: &Api, options: &Amounts) -> Result<(Vec<Link>, String), BenchError> {
    let campaigns = options.campaigns.clamp(1, options.affiliates.max(1));
    let mut links = Vec::new();
    for campaign in 0..campaigns {
        // The first ones take what does not go into equal parts.
        let affiliates = (options.affiliates.max(1) + campaigns - 1 - campaign) / campaigns;
        links.extend(api.links(affiliates).await?);
    }
    let clicks = api.record_clicks(links.iter().map(|link| json!({ "linkId": link.id })).collect()).await?;
    let sale = |(number, click): (usize, &String)| {
        json!({
            "clickId": click, "goal": "sale", "orderId": format!("original-{number}"),
            "saleAmount": { "amount": "49.00", "currency": "EUR" },
        })
    };
    api.record_conversions(clicks.iter().enumerate().map(sale).collect()).await?;
    let click = clicks.into_iter().next().ok_or_else(|| BenchError::Failed("no click".to_owned()))?;
    Ok((links, click))
}

/// Columns of copies that differ from what is copied, `one`.
type Columns = &'static [(&'static str, &'static str)];

/// As the program makes them, in the order of time.
const ID: &str = "(lpad(to_hex((EXTRACT(EPOCH FROM new.at) * 1000)::bigint), 12, '0') || '70008' \
     || lpad(to_hex(new.k), 15, '0'))::uuid";

const CONVERSION: Columns = &[
    ("id", ID),
    ("order_id", "'seed-' || new.k"),
    ("unique_order_id", "'seed-' || new.k"),
    ("unique_click_id", "NULL"),
    ("sale_minor", "new.sale"),
    ("commission_minor", "new.sale / 10"),
    ("occurred_at", "new.at"),
    ("recorded_at", "new.at"),
    ("updated_at", "new.at"),
    ("approved_at", "new.at"),
    ("payable_at", "new.at + (one.payable_at - one.approved_at)"),
];

const HISTORY: Columns = &[("conversion_id", "c.id"), ("recorded_at", "c.recorded_at")];

const COMMISSION: Columns = &[
    ("id", "c.id"),
    ("conversion_id", "c.id"),
    ("amount_minor", "c.commission_minor"),
    ("payable_at", "c.payable_at"),
    ("created_at", "c.recorded_at"),
];

/// Columns of copied clicks: of other visitors, at other times.
const CLICK: Columns = &[
    ("id", ID),
    ("occurred_at", "new.at"),
    ("recorded_at", "new.at"),
    ("visitor_id", "'seed-' || new.k"),
    ("is_unique", "true"),
];

/// Copies one of the tenant's clicks many times, each of another visitor, over the days until now; and says how long that
/// took.
///
/// # Errors
/// When the database is not PostgreSQL, or refuses.
pub async fn clicks(database: &server::Database, click: &str, count: usize, days: usize) -> Result<(), BenchError> {
    let began = Instant::now();
    let (database, _) = sql::connect(database).await?;
    let id: ClickId = click.parse().map_err(|_| BenchError::Failed(format!("{click} is no click")))?;
    let until = "SELECT EXTRACT(EPOCH FROM date_trunc('hour', now()))::bigint - 3600 AS until";
    let until: i64 = sql::one(&database, until).await?.try_get("", "until")?;
    for days in (0..=days).step_by(25).chain([days]) {
        database
            .execute_unprepared(&format!(
                "SELECT click_partition(date_trunc('month', now() - interval '{days} days', 'UTC'))"
            ))
            .await?;
    }
    for first in (1..=count).step_by(CHUNK) {
        let new = numbers(first, count.min(first + CHUNK - 1), count, until, days);
        let from = format!("{new} CROSS JOIN (SELECT * FROM click WHERE id = '{}') one", id.uuid());
        copy(&database, "click", &from, CLICK).await?;
    }
    database.execute_unprepared("VACUUM (ANALYZE)").await?;
    println!("{count} clicks over {days} days seeded in {:.0} s", began.elapsed().as_secs_f64());
    Ok(())
}

/// Numbers of so many, `new.k`, each with the time and the amount of its conversion.
fn numbers(first: usize, last: usize, of: usize, until: i64, days: usize) -> String {
    let apart = days.max(1) as f64 * 86_400.0 / of as f64;
    format!(
        "(SELECT k, date_trunc('milliseconds', to_timestamp({until} - ({of} - k) * {apart:.9}::float8)) AS at, \
         1000 + k * 37 % 2000 * 10 AS sale FROM generate_series({first}::bigint, {last}::bigint) k) new"
    )
}

/// Copies rows of a table, `one` in `from`, with other values in some columns.
async fn copy(database: &DatabaseConnection, table: &str, from: &str, columns: Columns) -> Result<(), BenchError> {
    let found = sql::all(
        database,
        &format!(
            "SELECT column_name::text AS name FROM information_schema.columns \
             WHERE table_schema = current_schema() AND table_name = '{table}' AND is_generated = 'NEVER'"
        ),
    )
    .await?;
    let names = found.iter().map(|row| row.try_get("", "name")).collect::<Result<Vec<String>, _>>()?;
    // Without statistics of the new rows, a nested loop would look for the originals once for each copy.
    let sql = format!(
        "BEGIN; SET LOCAL session_replication_role = replica; SET LOCAL enable_nestloop = off; {}; COMMIT",
        insert(table, &names, from, columns)
    );
    database.execute_unprepared(&sql).await?;
    Ok(())
}

fn insert(table: &str, names: &[String], from: &str, columns: Columns) -> String {
    let value = |name: &String| {
        let other = columns.iter().find(|(column, _)| column == name);
        other.map_or_else(|| format!("one.{name}"), |(_, value)| (*value).to_owned())
    };
    let values: Vec<String> = names.iter().map(value).collect();
    format!("INSERT INTO {table} ({}) SELECT {} FROM {from}", names.join(", "), values.join(", "))
}

/// The hourly totals of the copies.
fn totals(tenant: Uuid) -> String {
    format!(
        "INSERT INTO rollup_hourly (tenant_id, bucket_at, campaign_id, affiliate_id, currency, clicks_gross, clicks_unique, \
         clicks_invalid, conversions, sale_minor, commission_minor) \
         SELECT tenant_id, date_trunc('hour', occurred_at, 'UTC'), campaign_id, affiliate_id, sale_currency, 0, 0, 0, \
         COUNT(*), SUM(sale_minor)::bigint, SUM(commission_minor)::bigint FROM conversion \
         WHERE tenant_id = '{tenant}' AND order_id LIKE 'seed-%' GROUP BY 1, 2, 3, 4, 5"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_differ_in_the_columns_that_are_named() {
        let names = ["tenant_id", "conversion_id", "version", "recorded_at"].map(str::to_owned);
        let sql = insert("conversion_history", &names, "somewhere", HISTORY);
        assert_eq!(
            sql,
            "INSERT INTO conversion_history (tenant_id, conversion_id, version, recorded_at) \
             SELECT one.tenant_id, c.id, one.version, c.recorded_at FROM somewhere"
        );
    }
}
