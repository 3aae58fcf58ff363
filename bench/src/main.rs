//! The benchmark: private servers, load over real sockets, one table with the floor beside it.
//!
//! Every figure is a ratio of two measurements of one run on one machine: absolute numbers tell of the machine.
//!
//! # Adding a measurement
//! A file with options that can be scaled and a function that drives a [`server::Server`], answers [`figures::Figure`]s, and
//! fails where something is wrong, not slow; a subcommand here; a line in [`all::run`].

mod all;
mod api;
mod attribution;
mod calls;
mod fanout;
mod figures;
mod floor;
mod hop;
mod idle;
mod ingest;
mod load;
mod neighbours;
mod outage;
mod pages;
mod payouts;
mod pgbench;
#[expect(dead_code, reason = "the tests do more to it")]
#[path = "../../tests/it/support/postgres.rs"]
mod postgres;
mod process;
mod redirect;
mod redis;
mod report;
mod results;
mod resume;
mod seed;
mod server;
mod socket;
mod sql;
mod startup;
mod table;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::{all::Outcome, results::Setting};

/// Measures a release build of `tributary` that lies beside this program.
#[derive(Parser)]
#[command(version, about)]
struct Options {
    #[command(subcommand)]
    command: Command,
    /// Also write the figures here, as JSON, with the machine and the programs that they are of.
    #[arg(long, global = true)]
    json: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Every measurement below, each at the same part of its default size; one table at the end.
    All(all::Options),
    /// Attribution previews and a run over stored clicks: seconds and peak memory.
    Attribution(attribution::Options),
    /// Live deliveries: processor time for each, latency, loss; beside a bare WebSocket broadcast.
    Fanout(fanout::Options),
    /// From node to node: how late a conversion is seen at another node, beside bare Redis.
    Hop(hop::Options),
    /// Memory of sockets that wait, each with one subscription.
    Idle(idle::Options),
    /// Conversions by mutation, single and in batches, beside pgbench with the same rows.
    Ingest(ingest::Options),
    /// How long one tenant's conversions take alone, and beside another tenant's full load.
    Neighbours(neighbours::Options),
    /// Redirects while the database is killed and comes back, and a node is: whether any click is lost.
    Outage(outage::Options),
    /// Pages of conversions with affiliate and campaign, new ones and old ones, beside pgbench and a bare server.
    Pages(pages::Options),
    /// Payout batches of very many affiliates: time, memory, and that each is paid once.
    Payouts(payouts::Options),
    /// Redirects with their clicks stored: throughput and latency, beside a bare 302.
    Redirect(redirect::Options),
    /// The report by day and affiliate, beside SQL over the same totals; and that it equals the facts.
    Report(report::Options),
    /// Subscribers who come back by cursor: how long until they have all that they missed, once.
    Resume(resume::Options),
    /// From the start of a process until the node is ready, on empty databases and on others.
    Startup(startup::Options),
    /// The bare server itself; started by the others.
    #[command(hide = true)]
    Floor,
}

/// Why a measurement did not come about.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Http(#[from] reqwest::Error),
    #[error("{0}")]
    Socket(Box<tokio_tungstenite::tungstenite::Error>),
    #[error("{0}")]
    Failed(String),
}

impl From<tokio_tungstenite::tungstenite::Error> for BenchError {
    fn from(error: tokio_tungstenite::tungstenite::Error) -> Self {
        Self::Socket(Box::new(error))
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode, BenchError> {
    // The first one stands.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let Options { command, json } = Options::parse();
    let scale = match &command {
        // A server, not a measurement.
        Command::Floor => return floor::serve().await.map(|()| ExitCode::SUCCESS),
        Command::All(options) => Some(options.scale),
        _ => None,
    };
    let setting = Setting::now(scale);
    let outcome = measure(command).await;
    if !outcome.figures.is_empty() {
        print!("\n{}", figures::table(&outcome.figures));
    }
    if scale.is_some_and(|scale| scale < 1.0) {
        println!("what is demanded is of the whole size (`--scale 1`)");
    }
    if let Some(path) = json {
        setting.write(&outcome, &path)?;
    }
    for (name, error) in &outcome.failed {
        eprintln!("{name} failed: {error}");
    }
    Ok(if outcome.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn measure(command: Command) -> Outcome {
    match command {
        Command::All(options) => all::run(&options).await,
        Command::Attribution(options) => Outcome::of("attribution", attribution::run(&options).await),
        Command::Fanout(options) => Outcome::of("fanout", fanout::run(&options).await),
        Command::Hop(options) => Outcome::of("hop", hop::run(&options).await),
        Command::Idle(options) => Outcome::of("idle", idle::run(&options).await),
        Command::Ingest(options) => Outcome::of("ingest", ingest::run(&options).await),
        Command::Neighbours(options) => Outcome::of("neighbours", neighbours::run(&options).await),
        Command::Outage(options) => Outcome::of("outage", outage::run(&options).await),
        Command::Pages(options) => Outcome::of("pages", pages::run(&options).await),
        Command::Payouts(options) => Outcome::of("payouts", payouts::run(&options).await),
        Command::Redirect(options) => Outcome::of("redirect", redirect::run(&options).await),
        Command::Report(options) => Outcome::of("report", report::run(&options).await),
        Command::Resume(options) => Outcome::of("resume", resume::run(&options).await),
        Command::Startup(options) => Outcome::of("startup", startup::run(&options).await),
        Command::Floor => Outcome::default(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn commands_are_well_formed_and_each_can_write_json() {
        Options::command().debug_assert();
        for name in Options::command().get_subcommands().map(|command| command.get_name().to_owned()) {
            let options = Options::try_parse_from(["tributary-bench", &name, "--json", "results.json"]);
            assert!(options.is_ok_and(|options| options.json.is_some()), "{name}");
        }
    }
}
