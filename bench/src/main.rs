//! The benchmark: private servers, load over real sockets, one table with the floor beside it.
//!
//! Every figure is a ratio of two measurements of one run on one machine: absolute numbers tell of the machine.
//!
//! # Adding a measurement
//! A file with a function that drives a [`server::Server`], a subcommand here, a line in the table.

mod api;
mod attribution;
mod calls;
mod fanout;
mod floor;
mod idle;
mod ingest;
mod load;
mod outage;
mod payouts;
mod pgbench;
#[expect(dead_code, reason = "the tests do more to it")]
#[path = "../../tests/it/support/postgres.rs"]
mod postgres;
mod process;
mod redirect;
mod server;
mod socket;
mod table;

use clap::{Parser, Subcommand};

/// Measures a release build of `tributary` that lies beside this program.
#[derive(Parser)]
#[command(version, about)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Attribution previews and a run over stored clicks: seconds and peak memory.
    Attribution(attribution::Options),
    /// Live deliveries: processor time for each, latency, loss; beside a bare WebSocket broadcast.
    Fanout(fanout::Options),
    /// Memory of sockets that wait, each with one subscription.
    Idle(idle::Options),
    /// Conversions by mutation, single and in batches, beside pgbench with the same rows.
    Ingest(ingest::Options),
    /// Redirects with their clicks stored: throughput and latency, beside a bare 302.
    Redirect(redirect::Options),
    /// Redirects while the database is killed and comes back, and a node is: whether any click is lost.
    Outage(outage::Options),
    /// Payout batches of very many affiliates: time, memory, and that each is paid once.
    Payouts(payouts::Options),
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
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The first one stands.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match Options::parse().command {
        Command::Attribution(options) => attribution::run(&options).await?,
        Command::Fanout(options) => fanout::run(&options).await?,
        Command::Idle(options) => idle::run(&options).await?,
        Command::Ingest(options) => ingest::run(&options).await?,
        Command::Payouts(options) => payouts::run(&options).await?,
        Command::Redirect(options) => redirect::run(&options).await?,
        Command::Outage(options) => outage::run(&options).await?,
        Command::Floor => floor::serve().await?,
    }
    Ok(())
}
