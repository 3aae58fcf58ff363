//! Redirects: how many a node answers with the click stored, and how fast, beside a bare 302.
//!
//! Throughput is measured in a closed loop; latency in an open one at half of that rate, from the moment at which a click
//! was due, so that a server that stalls cannot hide it. Every answered click is looked up in the store afterwards. Of a
//! new visitor nothing is looked up before; one who returns costs a search for his earlier clicks.

use std::{collections::HashSet, time::Duration};

use clap::Args;
use hdrhistogram::Histogram;
use tokio::time::{Instant, sleep};

use crate::{
    BenchError,
    all::{Scaled, scaled, shortened},
    api::Api,
    figures::{Demand, Figure},
    load::{Answered, Load},
    process::Together,
    seed,
    server::{self, Database, Server},
};

#[derive(Args)]
pub struct Options {
    /// Connections, each with one request in flight.
    #[arg(long, default_value_t = 256)]
    connections: usize,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Clicks of other visitors that are in the store before; PostgreSQL's alone.
    #[arg(long, default_value_t = 10_000_000)]
    clicks: usize,
    /// Days over which those are spread, until now.
    #[arg(long, default_value_t = 30)]
    days: usize,
    /// On an embedded database, instead of a PostgreSQL of the benchmark's own.
    #[arg(long)]
    embedded: bool,
}

impl Scaled for Options {
    fn scale(&mut self, scale: f64) {
        self.seconds = shortened(self.seconds, scale);
        self.clicks = scaled(self.clicks, scale);
    }
}

/// Measures both servers, ours with visitors of both kinds, and prints them side by side.
///
/// # Errors
/// When a server does not start or refuses, or when an answered click is not in the store.
pub async fn run(options: &Options) -> Result<Vec<Figure>, BenchError> {
    let floor = server::floor().await?;
    let database = if options.embedded { Database::embedded() } else { Database::postgres().await? };
    let node = Server::tributary(&database).await?;
    let api = Api::new(&node.url, &node.token);
    if options.clicks > 0 && !options.embedded {
        seed::clicks(&database, &api.click().await?, options.clicks, options.days).await?;
    }
    let link = api.link().await?;
    println!("{} connections, {} s each; processor time in us per redirect", options.connections, options.seconds);
    println!(
        "{:<14}{:>13}{:>8}{:>9}{:>9}{:>9}{:>12}{:>9}{:>9}{:>9}",
        "server", "redirects/s", "ratio", "server", "database", "client", "half of it", "p50 ms", "p99 ms", "p999 ms"
    );
    let bare = measure(&floor, None, "/c/0000000000", false, options).await?;
    bare.print("bare 302", &bare);
    let mut answered = Vec::new();
    let mut figures = Vec::new();
    for (name, returning) in [("new visitors", false), ("returning", true)] {
        let ours = measure(&node, database.process(), &link.path, returning, options).await?;
        ours.print(name, &bare);
        figures.extend(ours.figures(name, &bare, options.connections));
        answered.extend(ours.answered);
    }
    let different: HashSet<&[u8]> = answered.iter().map(|answered| &answered.click[..]).collect();
    let stored = stored(&api, &link.id, answered.len()).await?;
    println!("{} clicks answered, {} of them different, {stored} stored", answered.len(), different.len());
    if stored != different.len() || stored != answered.len() {
        return Err(BenchError::Failed("what was answered is not what is stored".to_owned()));
    }
    Ok(figures)
}

/// How many clicks are stored once all are, or none has been added for a while: what the database took too long for waits in
/// the node's spool, as durable as it would be there.
async fn stored(api: &Api, link: &str, expected: usize) -> Result<usize, BenchError> {
    let (mut stored, mut patience) = (api.clicks(link).await?, 10);
    while stored < expected && patience > 0 {
        sleep(Duration::from_secs(1)).await;
        let before = std::mem::replace(&mut stored, api.clicks(link).await?);
        patience = if stored > before { 10 } else { patience - 1 };
    }
    Ok(stored)
}

/// What one server did.
struct Measured {
    per_second: f64,
    /// Microseconds of processor time for each redirect: of the server, its database, and the client.
    cost: [f64; 3],
    /// Of the open loop, in redirects a second.
    held: f64,
    /// Microseconds.
    latency: Histogram<u64>,
    answered: Vec<Answered>,
}

impl Measured {
    fn figures(&self, name: &str, floor: &Self, connections: usize) -> Vec<Figure> {
        let what = |what: &str| format!("{name}, {connections} connections: {what}");
        let p99 = |measured: &Self| measured.latency.value_at_quantile(0.99) as f64 / 1_000.0;
        vec![
            Figure::new("redirect", what("rate"), self.per_second, "redirects/s")
                .beside(Some(floor.per_second))
                .demand(Demand::RatioAtLeast(0.35)),
            Figure::new("redirect", what("p99 at half of it"), p99(self), "ms")
                .beside(Some(p99(floor)))
                .demand(Demand::AtMost(15.0)),
        ]
    }

    fn print(&self, name: &str, floor: &Self) {
        let at = |quantile| self.latency.value_at_quantile(quantile) as f64 / 1_000.0;
        let [server, database, client] = self.cost;
        println!(
            "{name:<14}{:>13.0}{:>8.2}{server:>9.1}{database:>9.1}{client:>9.1}{:>12.0}{:>9.2}{:>9.2}{:>9.2}",
            self.per_second,
            self.per_second / floor.per_second,
            self.held,
            at(0.5),
            at(0.99),
            at(0.999),
        );
    }
}

async fn measure(
    server: &Server,
    database: Option<u32>,
    path: &str,
    returning: bool,
    options: &Options,
) -> Result<Measured, BenchError> {
    let duration = Duration::from_secs(options.seconds);
    let address = server.address().to_owned();
    let load = |seconds, rate| Load {
        address: address.clone(),
        path: path.to_owned(),
        connections: options.connections,
        duration: seconds,
        rate,
        returning,
    };
    // What the first clicks set up for all is not theirs.
    let mut answered = whole(&load(Duration::from_secs(2), None)).await?;
    let together = Together { server: server.pid(), database };
    let (began, before) = (Instant::now(), together.used()?);
    let closed = whole(&load(duration, None)).await?;
    let per_second = closed.len() as f64 / began.elapsed().as_secs_f64();
    let cost = together.each(before, closed.len())?;
    let began = Instant::now();
    let open = load(duration, Some(per_second / 2.0)).drive().await?;
    let latency = open.latency(began, Instant::now())?;
    let held = open.answered.len() as f64 / began.elapsed().as_secs_f64();
    answered.extend(closed);
    answered.extend(open.answered);
    Ok(Measured { per_second, cost, held, latency, answered })
}

/// Asks in a time in which nothing may fail.
async fn whole(load: &Load) -> Result<Vec<Answered>, BenchError> {
    let seen = load.drive().await?;
    match (seen.refusals, seen.unanswered) {
        (0, 0) => Ok(seen.answered),
        (refused, unanswered) => {
            let first = seen.refused.first().map_or("", String::as_str);
            Err(BenchError::Failed(format!("{refused} refused, {unanswered} unanswered: {first}")))
        }
    }
}
