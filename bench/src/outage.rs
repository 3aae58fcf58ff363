//! Faults under a steady stream of visitors: PostgreSQL is killed and stays away, the node is killed. Everybody who was
//! redirected must be found in the store, once.

use std::{collections::HashSet, time::Duration};

use clap::Args;
use tokio::time::{Instant, sleep};

use crate::{
    BenchError,
    all::{Scaled, shortened},
    api::Api,
    figures::{Demand, Figure},
    load::{Load, Seen},
    server::{Database, Server},
};

#[derive(Args)]
pub struct Options {
    /// Visitors a second.
    #[arg(long, default_value_t = 10_000)]
    rate: u32,
    /// Connections, each with one request in flight.
    #[arg(long, default_value_t = 256)]
    connections: usize,
    /// Seconds of load before the first fault, and after the last.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Seconds that PostgreSQL is away after it was killed; 0: it is left alone.
    #[arg(long, default_value_t = 30)]
    kill_postgres: u64,
    /// Also kill the node, as soon as PostgreSQL is back.
    #[arg(long)]
    kill_node: bool,
}

impl Scaled for Options {
    fn scale(&mut self, scale: f64) {
        self.seconds = shortened(self.seconds, scale);
        self.kill_postgres = shortened(self.kill_postgres, scale);
    }
}

/// How long the clicks that waited on disk may take into the store.
const REPLAY: Duration = Duration::from_secs(600);

/// Runs the faults, and compares what was answered with what is stored.
///
/// # Errors
/// When a server does not start, or when a click is lost or doubled.
pub async fn run(options: &Options) -> Result<Vec<Figure>, BenchError> {
    let mut database = Database::postgres().await?;
    let mut node = Server::tributary(&database).await?;
    let api = Api::new(&node.url, &node.token);
    let link = api.link().await?;
    let pause = Duration::from_secs(options.seconds);
    let away = Duration::from_secs(options.kill_postgres);
    let load = Load {
        address: node.address().to_owned(),
        path: link.path.clone(),
        connections: options.connections,
        duration: 2 * pause + away,
        rate: Some(f64::from(options.rate)),
        returning: false,
    };
    let began = Instant::now();
    let driving = tokio::spawn(async move { load.drive().await });
    sleep(pause).await;
    let (mut killed, mut back) = (Instant::now(), Instant::now());
    if !away.is_zero() {
        let postgres = database.postgres.as_mut();
        let postgres = postgres.ok_or_else(|| BenchError::Failed("this PostgreSQL is not ours to kill".to_owned()))?;
        killed = Instant::now();
        postgres.kill().await?;
        sleep(away).await;
        postgres.start_again().await?;
        back = Instant::now();
    }
    if options.kill_node {
        // While most of the outage's clicks are on its disk alone.
        node.kill_and_start().await?;
    }
    let seen = driving.await.map_err(|error| BenchError::Failed(error.to_string()))??;
    let ended = Instant::now();
    println!("{} visitors a second, {} connections", options.rate, options.connections);
    for (name, from, until) in
        [("before", began, killed), ("away", killed, back), ("after", back, ended + Duration::from_secs(1))]
    {
        print(name, &seen, from, until)?;
    }
    let latency = seen.latency(killed, back)?;
    let mut figures = compare(&api, &link.id, &seen).await?;
    if !away.is_zero() {
        let p99 = latency.value_at_quantile(0.99) as f64 / 1_000.0;
        let what = format!("{} visitors/s while PostgreSQL is away: p99", options.rate);
        figures.push(Figure::new("outage", what, p99, "ms"));
    }
    Ok(figures)
}

fn print(name: &str, seen: &Seen, from: Instant, until: Instant) -> Result<(), BenchError> {
    let latency = seen.latency(from, until)?;
    let seconds = (until - from).as_secs_f64();
    let at = |quantile| latency.value_at_quantile(quantile) as f64 / 1_000.0;
    println!(
        "{name:<8}{:>8.1} s{:>10} redirected{:>10.0}/s   p50 {:.2} ms, p99 {:.2} ms, longest {:.2} ms",
        seconds,
        latency.len(),
        latency.len() as f64 / seconds.max(0.001),
        at(0.5),
        at(0.99),
        at(1.0),
    );
    Ok(())
}

/// Waits for the spool, reads every click of the link and compares.
async fn compare(api: &Api, link: &str, seen: &Seen) -> Result<Vec<Figure>, BenchError> {
    let answered: HashSet<&[u8]> = seen.answered.iter().map(|answered| &answered.click[..]).collect();
    let began = Instant::now();
    while api.clicks(link).await? < answered.len() && began.elapsed() < REPLAY {
        sleep(Duration::from_millis(500)).await;
    }
    let replayed = began.elapsed().as_secs_f64();
    println!("all in the store {replayed:.1} s after the last visitor");
    let ids = api.click_ids(link).await?;
    let stored: HashSet<&[u8]> = ids.iter().filter_map(|id| Some(id.strip_prefix("clk_")?.as_bytes())).collect();
    let counted = api.counted().await?;
    let lost = answered.difference(&stored).count();
    println!(
        "{} redirected ({} different ids), {} refused, {} unanswered; {} stored ({} different), {counted} counted; {lost} lost",
        seen.answered.len(),
        answered.len(),
        seen.refusals,
        seen.unanswered,
        ids.len(),
        stored.len(),
    );
    seen.refused.iter().for_each(|answer| println!("refused: {answer}"));
    let once = answered.len() == seen.answered.len() && stored.len() == ids.len() && counted == ids.len();
    // Of those whose connection broke, some were recorded.
    if lost == 0 && once && stored.len() <= answered.len() + seen.unanswered {
        Ok(vec![
            Figure::new("outage", "clicks lost", lost as f64, "clicks").demand(Demand::AtMost(0.0)),
            Figure::new("outage", "all in the store after the last visitor", replayed, "s"),
        ])
    } else {
        Err(BenchError::Failed("what was answered is not what is stored".to_owned()))
    }
}
