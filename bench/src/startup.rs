//! Starts: from the start of the process until `/readyz` says that the node takes work; with nothing there yet, so that every
//! table is made, and on a database with conversions in it.

use std::time::{Duration, Instant};

use clap::Args;

use crate::{
    BenchError,
    all::{Scaled, scaled},
    api::Api,
    calls::{self, Seen},
    figures::Figure,
    server::{Database, Server},
};

#[derive(Args)]
pub struct Options {
    /// Starts of each kind.
    #[arg(long, default_value_t = 10)]
    times: usize,
    /// Conversions in the databases that are not empty.
    #[arg(long, default_value_t = 100_000)]
    conversions: usize,
}

impl Scaled for Options {
    fn scale(&mut self, scale: f64) {
        self.conversions = scaled(self.conversions, scale);
    }
}

/// Starts nodes on both databases, empty and not.
///
/// # Errors
/// When a server does not start or refuses.
pub async fn run(options: &Options) -> Result<Vec<Figure>, BenchError> {
    println!("{} starts each, until ready", options.times);
    println!("{:<40}{:>10}{:>12}", "", "p50 ms", "longest ms");
    let postgres = Database::postgres().await?;
    let mut figures = Vec::new();
    for (name, server) in [("embedded", None), ("PostgreSQL", Some(&postgres))] {
        let mut took = Vec::new();
        for _ in 0..options.times {
            let database = fresh(server).await?;
            let began = Instant::now();
            let node = Server::without_tenant(&database).await?;
            node.ready().await?;
            took.push(began.elapsed());
        }
        figures.extend(told(&format!("{name}, empty"), &took)?);
        let database = fresh(server).await?;
        let mut node = Server::tributary(&database).await?;
        let api = Api::new(&node.url, &node.token);
        api.record_sales(&api.click().await?, options.conversions).await?;
        took.clear();
        for _ in 0..options.times {
            node.stop().await?;
            let began = Instant::now();
            node.start().await?;
            node.ready().await?;
            took.push(began.elapsed());
        }
        figures.extend(told(&format!("{name}, {} conversions", options.conversions), &took)?);
    }
    Ok(figures)
}

/// A database with nothing in it: on a server, or embedded.
async fn fresh(server: Option<&Database>) -> Result<Database, BenchError> {
    match server {
        Some(server) => server.another().await,
        None => Ok(Database::embedded()),
    }
}

fn told(what: &str, took: &[Duration]) -> Result<[Figure; 2], BenchError> {
    let micros = took.iter().map(|took| u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
    let seen = Seen { calls: took.len(), per_second: 0.0, latency: calls::histogram(micros)?, until: 0 };
    println!("{what:<40}{:>10.1}{:>12.1}", seen.at(0.5), seen.at(1.0));
    let figure = |name: &str, quantile| Figure::new("startup", format!("{what}: {name}"), seen.at(quantile), "ms");
    Ok([figure("p50", 0.5), figure("longest", 1.0)])
}
