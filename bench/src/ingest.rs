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
    api::Api,
    calls::{Body, Calls, Seen},
    pgbench::Sample,
    process,
    server::{self, Server},
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

/// Affiliates among whom the conversions are spread.
const AFFILIATES: usize = 20;
const CLICKS_OF_EACH: usize = 50;
const SAMPLE: &str = "the sample";

/// Measures both, and prints them side by side.
///
/// # Errors
/// When a server does not start or refuses, or when not all that was answered is stored.
pub async fn run(options: &Options) -> Result<(), BenchError> {
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
    let bench = Bench { node: &node, database: database.process(), floor, clicks, options };
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
    for (connections, batch) in
        options.connections.iter().map(|count| (*count, 1)).chain([(options.batch_connections, options.batch)])
    {
        (next, answered) = bench.measure(connections, batch, next, answered).await?;
    }
    let stored = stored(&api).await?;
    println!("{answered} conversions answered, {stored} stored");
    if stored != answered {
        return Err(BenchError::Failed("what was answered is not what is stored".to_owned()));
    }
    Ok(())
}

struct Floor {
    url: String,
    sample: Sample,
}

struct Bench<'a> {
    node: &'a Server,
    database: Option<u32>,
    floor: Option<Floor>,
    clicks: Arc<Vec<String>>,
    options: &'a Options,
}

impl Bench<'_> {
    /// One line of the floor and one of ours. Answers the next free number of an order, and how many are recorded.
    async fn measure(
        &self,
        connections: usize,
        batch: usize,
        next: usize,
        answered: usize,
    ) -> Result<(usize, usize), BenchError> {
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
            address: self.node.url.trim_start_matches("http://").to_owned(),
            token: self.node.token.clone(),
            connections,
            duration,
            from,
            body: if batch == 1 { single(&self.clicks) } else { several(&self.clicks, batch) },
            holds: "\"userErrors\":[]",
        };
        // What the first ones set up for all is not theirs.
        let warm = calls(next, Duration::from_secs(1)).drive().await?;
        let before = self.used()?;
        let seen = calls(warm.until, time).drive().await?;
        let after = self.used()?;
        let cost = |part: usize| {
            after[part].saturating_sub(before[part]).as_secs_f64() * 1e6 / (seen.calls * batch).max(1) as f64
        };
        print(
            "tributary",
            connections,
            batch,
            &seen,
            Some([cost(0), cost(1), cost(2)]),
            floor.as_ref().unwrap_or(&seen),
        );
        Ok((seen.until, answered + (warm.calls + seen.calls) * batch))
    }

    /// Processor time of node, database and this client.
    fn used(&self) -> Result<[Duration; 3], BenchError> {
        let of_database = self.database.map_or(Ok(Duration::ZERO), process::cpu_of_family)?;
        Ok([process::cpu(self.node.pid())?, of_database, process::cpu(std::process::id())?])
    }
}

fn print(name: &str, connections: usize, batch: usize, seen: &Seen, cost: Option<[f64; 3]>, floor: &Seen) {
    let cost = cost.map_or_else(
        || format!("{:>9}{:>9}{:>9}", "", "", ""),
        |[server, database, client]| format!("{server:>9.0}{database:>9.0}{client:>9.0}"),
    );
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
async fn clicks(api: &Api) -> Result<Vec<String>, BenchError> {
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

fn single(clicks: &Arc<Vec<String>>) -> Body {
    let clicks = Arc::clone(clicks);
    let query = "mutation($input: RecordConversionInput!) { recordConversion(input: $input) { conversion { id status } \
                 userErrors { code } } }";
    Arc::new(move |number| json!({ "query": query, "variables": { "input": item(&clicks, number) } }).to_string())
}

fn several(clicks: &Arc<Vec<String>>, count: usize) -> Body {
    let clicks = Arc::clone(clicks);
    let query = "mutation($input: RecordConversionsInput!) { recordConversions(input: $input) { items { conversion { id } \
                 userErrors { code } } userErrors { code } } }";
    Arc::new(move |number| {
        // Apart from the orders of single ones.
        let items: Vec<Value> = (0..count).map(|place| item(&clicks, 1_000_000_000 + number * count + place)).collect();
        json!({ "query": query, "variables": { "input": { "items": items } } }).to_string()
    })
}

/// How many conversions are stored.
async fn stored(api: &Api) -> Result<usize, BenchError> {
    let found = api.send("{ result: conversions(first: 1) { totalCount } }", json!({})).await?;
    let count = found["totalCount"].as_u64().and_then(|count| usize::try_from(count).ok());
    count.ok_or_else(|| BenchError::Failed(format!("no count: {found}")))
}
