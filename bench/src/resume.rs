//! Going on by cursor: how long a subscriber who comes back takes until it has every event that it missed, from connecting to
//! the last of them; each must come, and once. Beside `pgbench` that reads the same events from the log.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Args;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    BenchError,
    all::{Scaled, scaled},
    api::{self, Api},
    calls::{self, Seen},
    figures::{Demand, Figure},
    pgbench,
    server::{Database, Server},
    socket::Socket,
    sql,
};

#[derive(Args)]
pub struct Options {
    /// Events that were missed.
    #[arg(long, default_value_t = 1_000)]
    events: usize,
    /// How often a subscriber comes back.
    #[arg(long, default_value_t = 200)]
    times: usize,
    /// Subscribers who do so at once; one measurement each.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 20])]
    at_once: Vec<usize>,
    /// On an embedded database, which has no floor, instead of a PostgreSQL of the benchmark's own.
    #[arg(long)]
    embedded: bool,
}

impl Scaled for Options {
    fn scale(&mut self, scale: f64) {
        self.times = scaled(self.times, scale);
    }
}

const NAME: &str = "resume";
/// Seconds of the floor.
const FLOOR: Duration = Duration::from_secs(5);

/// Records what is missed, and comes back over and over.
///
/// # Errors
/// When a server does not start or refuses, or when an event is lost or doubled.
pub async fn run(options: &Options) -> Result<Vec<Figure>, BenchError> {
    let database = if options.embedded { Database::embedded() } else { Database::postgres().await? };
    let node = Arc::new(Server::tributary(&database).await?);
    let api = Api::new(&node.url, &node.token);
    let click = api.click().await?;
    let cursor = api.send("{ result: conversionCursor }", json!({})).await?;
    api.record_sales(&click, options.events).await?;
    let script = match options.embedded {
        true => None,
        false => Some(script(&database, &click, options.events).await?),
    };
    println!("{} events missed, {} times", options.events, options.times);
    println!("{:<10}{:>9}{:>9}{:>9}{:>9}{:>7}{:>9}", "", "at once", "p50 ms", "p99 ms", "longest", "lost", "doubled");
    let mut figures = Vec::new();
    for at_once in &options.at_once {
        let floor = match &script {
            Some((url, script)) => Some(pgbench::run(url, script, *at_once, FLOOR).await?),
            None => None,
        };
        if let Some(floor) = &floor {
            print("pgbench", *at_once, floor, "", "");
        }
        let came = come_back(&node, &cursor, options, *at_once).await?;
        print("tributary", *at_once, &came.seen, &came.lost.to_string(), &came.doubled.to_string());
        if came.lost + came.doubled > 0 {
            return Err(BenchError::Failed(format!("{} events lost, {} doubled", came.lost, came.doubled)));
        }
        figures.extend(came.figures(floor.as_ref(), options.events, *at_once));
    }
    Ok(figures)
}

fn print(name: &str, at_once: usize, seen: &Seen, lost: &str, doubled: &str) {
    let line = format!(
        "{name:<10}{at_once:>9}{:>9.2}{:>9.2}{:>9.2}{lost:>7}{doubled:>9}",
        seen.at(0.5),
        seen.at(0.99),
        seen.at(1.0)
    );
    println!("{}", line.trim_end());
}

/// Where the log is, and a select of as many of its newest events.
async fn script(database: &Database, click: &str, events: usize) -> Result<(String, String), BenchError> {
    let (connection, url) = sql::connect(database).await?;
    let tenant = sql::tenant_of(&connection, click).await?;
    let newest = format!("SELECT MAX(seq) AS seq FROM event WHERE tenant_id = '{tenant}'");
    let newest: i64 = sql::one(&connection, &newest).await?.try_get("", "seq")?;
    let after = newest - i64::try_from(events).unwrap_or_default();
    let script =
        format!("SELECT * FROM event WHERE tenant_id = '{tenant}' AND seq > {after} ORDER BY seq LIMIT {events};\n");
    Ok((url, script))
}

/// Every time together.
struct Came {
    seen: Seen,
    lost: usize,
    doubled: usize,
}

impl Came {
    fn figures(&self, floor: Option<&Seen>, events: usize, at_once: usize) -> Vec<Figure> {
        let what = |what: &str| format!("{events} events, {at_once} at once: {what}");
        let at = |quantile| {
            Figure::new(NAME, what(if quantile < 0.9 { "p50" } else { "p99" }), self.seen.at(quantile), "ms")
                .beside(floor.map(|floor| floor.at(quantile)))
        };
        let missed = (self.lost + self.doubled) as f64;
        vec![
            at(0.5),
            at(0.99),
            Figure::new(NAME, what("lost or doubled"), missed, "events").demand(Demand::AtMost(0.0)),
        ]
    }
}

/// So many at once, each as often as its part of the times.
async fn come_back(node: &Arc<Server>, cursor: &Value, options: &Options, at_once: usize) -> Result<Came, BenchError> {
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..at_once {
        let (node, payload, events) = (Arc::clone(node), api::resumption(cursor), options.events);
        let times = options.times.div_ceil(at_once);
        tasks.spawn(async move {
            let mut all = Vec::with_capacity(times);
            for _ in 0..times {
                let began = Instant::now();
                let caught = Socket::subscribe(&node, &payload).await?.catch_up(events).await;
                let micros = (caught.last - began).as_micros();
                all.push((u32::try_from(micros).unwrap_or(u32::MAX), caught.lost, caught.doubled));
            }
            Ok::<_, BenchError>(all)
        });
    }
    let mut all = Vec::new();
    while let Some(own) = tasks.join_next().await {
        all.extend(own.map_err(|error| BenchError::Failed(error.to_string()))??);
    }
    let seen = Seen {
        calls: all.len(),
        per_second: all.len() as f64 / began.elapsed().as_secs_f64(),
        latency: calls::histogram(all.iter().map(|(micros, ..)| *micros))?,
        until: 0,
    };
    let lost = all.iter().map(|(_, lost, _)| lost).sum();
    Ok(Came { seen, lost, doubled: all.iter().map(|(.., doubled)| doubled).sum() })
}
