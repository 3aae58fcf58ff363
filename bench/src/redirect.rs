//! Redirects: how many a node answers with the click stored, and how fast, beside a bare 302.
//!
//! Throughput is measured in a closed loop; latency in an open one at half of that rate, from the moment at which a click
//! was due, so that a server that stalls cannot hide it. Every answered click is counted in the store afterwards.

use std::{collections::HashSet, sync::Arc, time::Duration};

use clap::Args;
use hdrhistogram::Histogram;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::{
    BenchError,
    api::Api,
    process,
    server::{self, Server},
};

#[derive(Args)]
pub struct Options {
    /// Connections, each with one request in flight.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

/// Measures both servers, and prints them side by side.
///
/// # Errors
/// When a server does not start or refuses, or when an answered click is not in the store.
pub async fn run(options: &Options) -> Result<(), BenchError> {
    let floor = server::floor().await?;
    let node = server::tributary().await?;
    let api = Api::new(&node.url, &node.token);
    let link = api.link().await?;
    println!(
        "{:<12}{:>13}{:>8}{:>12}{:>9}{:>9}{:>9}",
        "server", "redirects/s", "ratio", "us/redirect", "p50 ms", "p99 ms", "p999 ms"
    );
    let bare = measure(&floor, "/c/0000000000", options).await?;
    bare.print("bare 302", &bare);
    let ours = measure(&node, &link.path, options).await?;
    ours.print("tributary", &bare);
    let answered: HashSet<&str> = ours.clicks.iter().map(String::as_str).collect();
    let stored = api.clicks(&link.id).await?;
    println!("{} clicks answered, {} of them different, {stored} stored", ours.clicks.len(), answered.len());
    if stored != answered.len() || stored != ours.clicks.len() {
        return Err(BenchError::Failed("what was answered is not what is stored".to_owned()));
    }
    Ok(())
}

/// What one server did.
struct Measured {
    per_second: f64,
    cpu_micros: f64,
    /// Microseconds.
    latency: Histogram<u64>,
    clicks: Vec<String>,
}

impl Measured {
    fn print(&self, name: &str, floor: &Self) {
        let at = |quantile| self.latency.value_at_quantile(quantile) as f64 / 1_000.0;
        println!(
            "{name:<12}{:>13.0}{:>8.2}{:>12.1}{:>9.2}{:>9.2}{:>9.2}",
            self.per_second,
            self.per_second / floor.per_second,
            self.cpu_micros,
            at(0.5),
            at(0.99),
            at(0.999),
        );
    }
}

async fn measure(server: &Server, path: &str, options: &Options) -> Result<Measured, BenchError> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {}\r\nuser-agent: Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 \
         Firefox/143.0\r\n\r\n",
        server.url.trim_start_matches("http://"),
    );
    let request: Arc<str> = request.into();
    let seconds = Duration::from_secs(options.seconds);
    // What the first clicks set up for all is not theirs.
    let (mut clicks, _) = drive(server, &request, options.connections, Duration::from_secs(1), None).await?;
    let (began, cpu) = (Instant::now(), process::cpu(server.pid)?);
    let (closed, _) = drive(server, &request, options.connections, seconds, None).await?;
    let per_second = closed.len() as f64 / began.elapsed().as_secs_f64();
    let used = process::cpu(server.pid)?.saturating_sub(cpu);
    let cpu_micros = used.as_secs_f64() * 1e6 / closed.len().max(1) as f64;
    let every = Duration::from_secs_f64(options.connections as f64 / (per_second / 2.0));
    let (open, latency) = drive(server, &request, options.connections, seconds, Some(every)).await?;
    clicks.extend(closed);
    clicks.extend(open);
    Ok(Measured { per_second, cpu_micros, latency, clicks })
}

/// Asks over many connections for a while; each as soon as it was answered, or `every` so often. Answers what the
/// locations named, and how long it took from when it was due.
async fn drive(
    server: &Server,
    request: &Arc<str>,
    connections: usize,
    seconds: Duration,
    every: Option<Duration>,
) -> Result<(Vec<String>, Histogram<u64>), BenchError> {
    let address = server.url.trim_start_matches("http://").to_owned();
    let end = Instant::now() + seconds;
    let mut tasks = JoinSet::new();
    for number in 0..connections {
        let (address, request) = (address.clone(), Arc::clone(request));
        // The first ones are spread over the interval.
        let first = Instant::now() + every.unwrap_or_default().mul_f64(number as f64 / connections as f64);
        tasks.spawn(async move { ask(&address, &request, first, every, end).await });
    }
    let mut clicks = Vec::new();
    let mut latency = Histogram::new(3).map_err(|error| BenchError::Failed(error.to_string()))?;
    while let Some(asked) = tasks.join_next().await {
        let (own, micros) = asked.map_err(|error| BenchError::Failed(error.to_string()))??;
        clicks.extend(own);
        micros.into_iter().for_each(|micros| latency.saturating_record(micros));
    }
    Ok((clicks, latency))
}

async fn ask(
    address: &str,
    request: &str,
    first: Instant,
    every: Option<Duration>,
    end: Instant,
) -> Result<(Vec<String>, Vec<u64>), BenchError> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut clicks, mut micros) = (Vec::new(), Vec::new());
    let mut buffer = vec![0; 4_096];
    let mut due = first;
    loop {
        if every.is_some() {
            sleep_until(due).await;
        } else {
            due = Instant::now();
        }
        if due >= end {
            return Ok((clicks, micros));
        }
        stream.write_all(request.as_bytes()).await?;
        let mut filled = 0;
        let head = loop {
            let count = stream.read(&mut buffer[filled..]).await?;
            filled += count;
            let text = std::str::from_utf8(&buffer[..filled]).unwrap_or_default();
            if text.ends_with("\r\n\r\n") {
                break text;
            }
            if count == 0 || filled == buffer.len() {
                return Err(BenchError::Failed(format!("no answer: {text}")));
            }
        };
        let location = head.lines().find_map(|line| line.strip_prefix("location: "));
        let (true, Some(location)) = (head.starts_with("HTTP/1.1 302"), location) else {
            return Err(BenchError::Failed(head.to_owned()));
        };
        clicks.push(location.rsplit('=').next().unwrap_or_default().to_owned());
        micros.push(u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX));
        due += every.unwrap_or_default();
    }
}
