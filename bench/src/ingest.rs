//! Conversions by mutation, each with its attribution, commission, journal, totals, event and idempotency key, beside
//! `pgbench` that writes the same rows in the same tables of the same server: one in a transaction, and many.
//!
//! The floor is measured first, so that the tables are the smaller for it.

use std::{sync::Arc, time::Duration};

use clap::Args;
use sea_orm::Database;
use serde_json::{Value, json};

use crate::{
    BenchError,
    all::{Scaled, shortened},
    api::Api,
    calls::{Body, Calls, Seen},
    figures::{Demand, Figure},
    pgbench::Sample,
    process::Together,
    server::{self, Server},
    table,
};

#[derive(Args)]
pub struct Options {
    /// Connections, each with one request in flight; one measurement each.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 64, 256])]
    connections: Vec<usize>,
    /// Conversions of a batch mutation and of a multi-row transaction.
    #[arg(long, default_value_t = 1_000)]
    batch: usize,
    /// Connections that send batches, of which each has one in flight.
    #[arg(long, default_value_t = 2)]
    batch_connections: usize,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// On an embedded database, which has no floor, instead of a PostgreSQL of the benchmark's own.
    #[arg(long)]
    embedded: bool,
}

impl Scaled for Options {
    fn scale(&mut self, scale: f64) {
        self.seconds = shortened(self.seconds, scale);
    }
}

impl Options {
    /// The same on an embedded database.
    pub fn on_embedded(self) -> Self {
        Self { embedded: true, ..self }
    }
}

const NAME: &str = "ingest";

/// Affiliates among whom the conversions are spread.
const AFFILIATES: usize = 20;
const CLICKS_OF_EACH: usize = 50;
const SAMPLE: &str = "the sample";

/// Measures both, and prints them side by side.
///
/// # Errors
/// When a server does not start or refuses, or when not all that was answered is stored.
pub async fn run(options: &Options) -> Result<Vec<Figure>, BenchError> {
    let database = if options.embedded { server::Database::embedded() } else { server::Database::postgres().await? };
    let node = Server::tributary(&database).await?;
    let api = Api::new(&node.url, &node.token);
    let clicks = Arc::new(clicks(&api).await?);
    let sample = api.sell(&clicks[0], SAMPLE).await?;
    let floor = match &database.url {
        Some(url) => {
            let connection = Database::connect(url).await?;
            Some(Floor { url: url.clone(), sample: Sample::read(&connection, &sample, SAMPLE).await? })
        }
        None => None,
    };
    let together = Together { server: node.pid(), database: database.process() };
    let bench = Bench { node: &node, together, floor, clicks, options };
    println!("{} s each; processor time in us per conversion", options.seconds);
    println!(
        "{:<10}{:>12}{:>9}{:>15}{:>8}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>11}",
        "",
        "connections",
        "batch",
        "conversions/s",
        "ratio",
        "server",
        "database",
        "client",
        "p50 ms",
        "p99 ms",
        "p999 ms",
        "p50 ratio"
    );
    let mut next = 0;
    let mut answered = 1;
    let mut written = 0;
    let mut figures = Vec::new();
    for (connections, batch) in
        options.connections.iter().map(|count| (*count, 1)).chain([(options.batch_connections, options.batch)])
    {
        let measured = bench.measure(connections, batch, next).await?;
        next = measured.until;
        answered += measured.recorded;
        written += measured.written;
        figures.extend(measured.figures);
    }
    let stored = api.conversions().await?;
    println!("{answered} conversions answered, {written} written by pgbench, {stored} stored");
    if stored != answered + written {
        return Err(BenchError::Failed("what was answered is not what is stored".to_owned()));
    }
    Ok(figures)
}

struct Floor {
    url: String,
    sample: Sample,
}

struct Bench<'a> {
    node: &'a Server,
    together: Together,
    floor: Option<Floor>,
    clicks: Arc<Vec<String>>,
    options: &'a Options,
}

struct Measured {
    figures: Vec<Figure>,
    /// The next free number of an order.
    until: usize,
    /// Conversions that were answered.
    recorded: usize,
    /// Those that the floor wrote, of the same tenant.
    written: usize,
}

impl Bench<'_> {
    /// One line of the floor and one of ours.
    async fn measure(&self, connections: usize, batch: usize, next: usize) -> Result<Measured, BenchError> {
        let time = Duration::from_secs(self.options.seconds);
        let floor = match &self.floor {
            Some(Floor { url, sample }) if batch == 1 => Some(sample.run_single(url, connections, time).await?),
            Some(Floor { url, sample }) => Some(sample.run_multiple(url, batch, connections, time).await?),
            None => None,
        };
        if let Some(floor) = &floor {
            print("pgbench", connections, batch, floor, None, floor);
        }
        let calls = |from: usize, duration: Duration| Calls {
            address: self.node.address().to_owned(),
            token: self.node.token.clone(),
            connections,
            duration,
            rate: None,
            from,
            body: if batch == 1 { single(&self.clicks) } else { several(&self.clicks, batch) },
            holds: "\"userErrors\":[]",
        };
        // What the first ones set up for all is not theirs.
        let warm = calls(next, Duration::from_secs(1)).drive().await?;
        let before = self.together.used()?;
        let seen = calls(warm.until, time).drive().await?;
        let cost = self.together.each(before, seen.calls * batch)?;
        print("tributary", connections, batch, &seen, Some(cost), floor.as_ref().unwrap_or(&seen));
        Ok(Measured {
            figures: figures(connections, batch, &seen, floor.as_ref()),
            until: seen.until,
            recorded: (warm.calls + seen.calls) * batch,
            written: floor.map_or(0, |floor| floor.calls * batch),
        })
    }
}

fn figures(connections: usize, batch: usize, seen: &Seen, floor: Option<&Seen>) -> Vec<Figure> {
    let embedded = if floor.is_none() { "embedded, " } else { "" };
    let of = if batch == 1 { "single".to_owned() } else { format!("batches of {batch}") };
    let what = |what: &str| format!("{embedded}{of}, {connections} connections: {what}");
    let per_second = |seen: &Seen| seen.per_second * batch as f64;
    let rate = Figure::new(NAME, what("rate"), per_second(seen), "conversions/s").beside(floor.map(per_second));
    let p50 = Figure::new(NAME, what("p50"), seen.at(0.5), "ms").beside(floor.map(|floor| floor.at(0.5)));
    let p99 = Figure::new(NAME, what("p99"), seen.at(0.99), "ms").beside(floor.map(|floor| floor.at(0.99)));
    let rate = match (connections, floor) {
        (_, Some(_)) if batch > 1 => rate.demand(Demand::RatioAtLeast(0.8)),
        (64..=256, Some(_)) => rate.demand(Demand::RatioAtLeast(2.0)),
        // The embedded database, which has no floor.
        (64, None) if batch == 1 => rate.demand(Demand::AtLeast(10_000.0)),
        _ => rate,
    };
    let p50 = if connections == 1 && batch == 1 { p50.demand(Demand::RatioAtMost(1.5)) } else { p50 };
    vec![rate, p50, p99]
}

fn print(name: &str, connections: usize, batch: usize, seen: &Seen, cost: Option<[f64; 3]>, floor: &Seen) {
    let cost = table::cost(cost);
    println!(
        "{name:<10}{connections:>12}{batch:>9}{:>15.0}{:>8.2}{cost}{:>9.2}{:>9.2}{:>9.2}{:>11.2}",
        seen.per_second * batch as f64,
        seen.per_second / floor.per_second,
        seen.at(0.5),
        seen.at(0.99),
        seen.at(0.999),
        seen.at(0.5) / floor.at(0.5),
    );
}

/// Clicks of several affiliates of one campaign.
///
/// # Errors
/// When the server refuses.
pub async fn clicks(api: &Api) -> Result<Vec<String>, BenchError> {
    let links = api.links(AFFILIATES).await?;
    let items = links.iter().flat_map(|link| (0..CLICKS_OF_EACH).map(|_| json!({ "linkId": link.id })));
    api.record_clicks(items.collect()).await
}

fn item(clicks: &[String], number: usize) -> Value {
    let order = format!("order-{number}");
    json!({
        "idempotencyKey": order, "clickId": clicks[number * 7 % clicks.len()], "goal": "sale", "orderId": order,
        "saleAmount": { "amount": "49.00", "currency": "EUR" },
    })
}

/// Mutations of one conversion each.
pub fn single(clicks: &Arc<Vec<String>>) -> Body {
    let clicks = Arc::clone(clicks);
    let query = "mutation($input: RecordConversionInput!) { recordConversion(input: $input) { conversion { id status } \
                 userErrors { code } } }";
    Arc::new(move |number| json!({ "query": query, "variables": { "input": item(&clicks, number) } }).to_string())
}

/// Mutations of so many conversions each.
pub fn several(clicks: &Arc<Vec<String>>, count: usize) -> Body {
    let clicks = Arc::clone(clicks);
    let query = "mutation($input: RecordConversionsInput!) { recordConversions(input: $input) { items { conversion { id } \
                 userErrors { code } } userErrors { code } } }";
    Arc::new(move |number| {
        // Apart from the orders of single ones.
        let items: Vec<Value> = (0..count).map(|place| item(&clicks, 1_000_000_000 + number * count + place)).collect();
        json!({ "query": query, "variables": { "input": { "items": items } } }).to_string()
    })
}
