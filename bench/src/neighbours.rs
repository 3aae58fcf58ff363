//! Neighbours: one tenant records as much as the node takes, another one a conversion now and then. How long the second one
//! waits alone and beside the first.
//!
//! The second one's calls are due by the clock, and latency counts from then; they are driven on a thread of their own, so
//! that what is measured is not this client's own queue behind the first one's answers.

use std::{sync::Arc, time::Duration};

use clap::Args;
use tokio::{runtime, task::spawn_blocking, time::sleep};

use crate::{
    BenchError,
    all::{Scaled, shortened},
    api::Api,
    calls::{Body, Calls, Seen},
    figures::{Demand, Figure},
    ingest::{clicks, several, single},
    server::{Database, Server},
};

#[derive(Args)]
pub struct Options {
    /// Conversions a second of the second tenant.
    #[arg(long, default_value_t = 50.0)]
    rate: f64,
    /// Connections of the first tenant, each with one request in flight.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// How many of them send batches.
    #[arg(long, default_value_t = 2)]
    batch_connections: usize,
    /// Conversions of a batch.
    #[arg(long, default_value_t = 1_000)]
    batch: usize,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// On an embedded database, instead of a PostgreSQL of the benchmark's own.
    #[arg(long)]
    embedded: bool,
}

impl Scaled for Options {
    fn scale(&mut self, scale: f64) {
        self.seconds = shortened(self.seconds, scale);
    }
}

const NAME: &str = "neighbours";
/// Connections of the second tenant: more than its calls need at a time.
const QUIET: usize = 8;
/// How long the first one is at it before the second one is measured, and longer than it.
const SETTLE: Duration = Duration::from_secs(2);

/// Measures the second tenant alone, then beside the first.
///
/// # Errors
/// When a server does not start or refuses, or when not all that was answered is stored.
pub async fn run(options: &Options) -> Result<Vec<Figure>, BenchError> {
    let database = if options.embedded { Database::embedded() } else { Database::postgres().await? };
    let node = Server::tributary(&database).await?;
    let loud = Tenant::new(&node, node.token.clone()).await?;
    let quiet = Tenant::new(&node, node.tenant().await?).await?;
    let time = Duration::from_secs(options.seconds);
    let calls = |from: usize, duration: Duration| Calls {
        rate: Some(options.rate),
        from,
        ..quiet.calls(&node, QUIET, duration, single(&quiet.clicks))
    };
    // What the first ones set up for all is not theirs.
    let warm = apart(calls(0, SETTLE)).await?;
    let alone = apart(calls(warm.until, time)).await?;
    println!("{} conversions/s of one tenant, {} s each", options.rate, options.seconds);
    println!("{:<10}{:>9}{:>9}{:>9}{:>9}   of the other tenant", "", "calls", "p50 ms", "p99 ms", "p999 ms");
    print("alone", &alone, "");
    let load = loud.load(&node, options, 2 * SETTLE + time);
    let measured = async {
        sleep(SETTLE).await;
        apart(calls(alone.until, time)).await
    };
    let (load, beside) = tokio::join!(load, measured);
    let (load, beside) = (load?, beside?);
    print("beside", &beside, &format!("{:.0} conversions/s", load.per_second));
    let stored = (loud.api.conversions().await?, quiet.api.conversions().await?);
    let answered = (load.recorded, warm.calls + alone.calls + beside.calls);
    if stored != answered {
        return Err(BenchError::Failed(format!("answered are {answered:?} conversions, stored {stored:?}")));
    }
    let what = |what: &str| format!("{}/s beside {} connections: {what}", options.rate, options.connections);
    Ok(vec![
        Figure::new(NAME, what("p50, of that alone"), beside.at(0.5), "ms").beside(Some(alone.at(0.5))),
        Figure::new(NAME, what("p99, of that alone"), beside.at(0.99), "ms")
            .beside(Some(alone.at(0.99)))
            .demand(Demand::RatioAtMost(1.2)),
        Figure::new(NAME, what("the other's load"), load.per_second, "conversions/s"),
    ])
}

fn print(name: &str, seen: &Seen, other: &str) {
    let line = format!(
        "{name:<10}{:>9}{:>9.2}{:>9.2}{:>9.2}   {other}",
        seen.calls,
        seen.at(0.5),
        seen.at(0.99),
        seen.at(0.999)
    );
    println!("{}", line.trim_end());
}

/// Drives calls on a thread of their own.
async fn apart(calls: Calls) -> Result<Seen, BenchError> {
    let driving = spawn_blocking(move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(calls.drive())
    });
    driving.await.map_err(|error| BenchError::Failed(error.to_string()))?
}

/// One of the two.
struct Tenant {
    api: Api,
    token: String,
    clicks: Arc<Vec<String>>,
}

/// What the first one recorded.
struct Load {
    recorded: usize,
    per_second: f64,
}

impl Tenant {
    async fn new(node: &Server, token: String) -> Result<Self, BenchError> {
        let api = Api::new(&node.url, &token);
        let clicks = Arc::new(clicks(&api).await?);
        Ok(Self { api, token, clicks })
    }

    fn calls(&self, node: &Server, connections: usize, duration: Duration, body: Body) -> Calls {
        Calls {
            address: node.address().to_owned(),
            token: self.token.clone(),
            connections,
            duration,
            rate: None,
            from: 0,
            body,
            holds: "\"userErrors\":[]",
        }
    }

    /// Single conversions and batches, as many as the node takes.
    async fn load(&self, node: &Server, options: &Options, duration: Duration) -> Result<Load, BenchError> {
        let batches = options.batch_connections.min(options.connections);
        let one_by_one = self.calls(node, options.connections - batches, duration, single(&self.clicks));
        let in_batches = self.calls(node, batches, duration, several(&self.clicks, options.batch));
        let (one_by_one, in_batches) = tokio::try_join!(one_by_one.drive(), in_batches.drive())?;
        Ok(Load {
            recorded: one_by_one.calls + in_batches.calls * options.batch,
            per_second: one_by_one.per_second + in_batches.per_second * options.batch as f64,
        })
    }
}
