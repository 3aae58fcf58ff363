//! What a socket costs that waits.

use std::time::Duration;

use clap::Args;
use tokio::time::sleep;

use crate::{
    BenchError,
    all::{Scaled, scaled},
    figures::Figure,
    process,
    server::{Database, Server},
    socket::Socket,
};

#[derive(Args)]
pub struct Options {
    /// Sockets, each with one subscription.
    #[arg(long, default_value_t = 10_000)]
    sockets: usize,
}

impl Scaled for Options {
    fn scale(&mut self, scale: f64) {
        self.sockets = scaled(self.sockets, scale);
    }
}

/// Opens the sockets, lets them settle, and prints the growth of the server's memory.
///
/// # Errors
/// When a socket is refused.
pub async fn run(options: &Options) -> Result<Vec<Figure>, BenchError> {
    let server = Server::tributary(&Database::of_environment()).await?;
    // What the first sockets set up for all is not theirs.
    let _warm = open(&server, 100, 1).await?;
    sleep(Duration::from_secs(1)).await;
    let before = process::resident(server.pid())?;
    let held = open(&server, options.sockets, 1).await?;
    sleep(Duration::from_secs(2)).await;
    let cpu = process::cpu(server.pid())?;
    let watched = Duration::from_secs(5);
    sleep(watched).await;
    let idle = process::cpu(server.pid())?.saturating_sub(cpu);
    let after = process::resident(server.pid())?;
    let each = after.saturating_sub(before) as f64 / 1024.0 / options.sockets as f64;
    let busy = 100.0 * idle.as_secs_f64() / watched.as_secs_f64();
    println!(
        "{} idle sockets: {each:.1} kiB each ({:.0} MiB resident), {busy:.1} % of one core",
        held.len(),
        after as f64 / 1024.0 / 1024.0,
    );
    let what = |what: &str| format!("{} sockets: {what}", options.sockets);
    Ok(vec![
        Figure::new("idle", what("memory of one"), each, "kiB"),
        Figure::new("idle", what("processor time"), busy, "% of a core"),
    ])
}

/// Opens sockets, a few at a time, each with a task that keeps it.
async fn open(server: &Server, count: usize, documents: usize) -> Result<Vec<tokio::task::AbortHandle>, BenchError> {
    let mut held = Vec::with_capacity(count);
    for number in 0..count {
        let socket = Socket::open(server, number % documents).await?;
        held.push(tokio::spawn(socket.hold()).abort_handle());
    }
    Ok(held)
}
