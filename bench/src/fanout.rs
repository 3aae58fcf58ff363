//! Live deliveries: many sockets, a steady stream of events, every delivery counted.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use clap::Args;
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use crate::{
    BenchError,
    all::{Scaled, scaled},
    api::{self, Api},
    figures::{Demand, Figure},
    process,
    server::{self, Database, Server},
    socket::{Latency, Log, Seen, Socket},
    table::{self, FanoutLine},
};

#[derive(Args)]
pub struct Options {
    /// Subscribers, each on a socket of its own, and events a second; one measurement each.
    #[arg(long, value_delimiter = ',', value_parser = load, default_values = ["1000x50", "5000x50", "10000x10"])]
    loads: Vec<Load>,
    /// Seconds of load.
    #[arg(long, default_value_t = 10)]
    secs: usize,
    /// Numbers of different documents to measure, each on a server of its own.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 100])]
    documents: Vec<usize>,
}

impl Scaled for Options {
    fn scale(&mut self, scale: f64) {
        for load in &mut self.loads {
            load.sockets = scaled(load.sockets, scale);
        }
    }
}

/// So many sockets, and so many events a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Load {
    sockets: usize,
    rate: usize,
}

fn load(text: &str) -> Result<Load, String> {
    let numbers = text.split_once('x').and_then(|(sockets, rate)| Some((sockets.parse().ok()?, rate.parse().ok()?)));
    match numbers {
        Some((sockets, rate)) if sockets > 0 && rate > 0 => Ok(Load { sockets, rate }),
        _ => Err("sockets and events a second, such as 5000x50".to_owned()),
    }
}

/// Orders before the measured ones: they wake every path once.
const WARM_UP: usize = 20;
/// Deliveries a second from which on a broadcast has the processors to itself.
const IN_FULL: usize = 150_000;

/// Measures the floor, then `tributary` with each number of documents, and prints the table.
///
/// # Errors
/// When a server does not do its part.
pub async fn run(options: &Options) -> Result<Vec<Figure>, BenchError> {
    let mut figures = Vec::new();
    for load in &options.loads {
        let floor = server::floor().await?;
        let mut lines = vec![measure("broadcast", &floor, *load, options.secs, 1).await?];
        drop(floor);
        for documents in &options.documents {
            let server = Server::tributary(&Database::of_environment()).await?;
            lines.push(measure("tributary", &server, *load, options.secs, *documents).await?);
        }
        println!("{} events/s", load.rate);
        print!("{}", table::fanout(&lines));
        figures.extend(lines[1..].iter().flat_map(|line| of_line(line, &lines[0], *load)));
    }
    Ok(figures)
}

fn of_line(line: &FanoutLine, floor: &FanoutLine, Load { sockets, rate }: Load) -> Vec<Figure> {
    let documents =
        if line.documents == 1 { "one document".to_owned() } else { format!("{} documents", line.documents) };
    let what = |what: &str| format!("{sockets} sockets, {rate} events/s, {documents}: {what}");
    let figure = |name: &str, value, unit| Figure::new("fanout", what(name), value, unit);
    // Where a broadcast has time to spare, it is the time itself that counts.
    let latest = if sockets * rate > IN_FULL { Demand::RatioAtMost(3.0) } else { Demand::AtMost(150.0) };
    vec![
        figure("processor time of a delivery", line.cpu_micros_per_delivery, "us")
            .beside(Some(floor.cpu_micros_per_delivery))
            .demand(Demand::RatioAtMost(if line.documents == 1 { 1.2 } else { 1.6 })),
        figure("rate", line.deliveries_per_second, "deliveries/s").beside(Some(floor.deliveries_per_second)),
        figure("p99 from the answer", line.from_answer_p99_ms, "ms")
            .beside(Some(floor.from_answer_p99_ms))
            .demand(latest),
        figure("p99 from sending", line.from_send_p99_ms, "ms").beside(Some(floor.from_send_p99_ms)),
        figure("lost", line.lost as f64, "deliveries").demand(Demand::AtMost(0.0)),
        figure("doubled", line.doubled as f64, "deliveries").demand(Demand::AtMost(0.0)),
    ]
}

/// Where events come from: a conversion, or a frame handed to the floor.
#[derive(Clone)]
pub enum Source {
    Conversions { api: Api, click: String },
    Frames { http: reqwest::Client, url: String },
}

impl Source {
    /// # Errors
    /// When the server refuses.
    pub async fn of(server: &Server) -> Result<Self, BenchError> {
        if server.token.is_empty() {
            return Ok(Self::Frames { http: reqwest::Client::new(), url: format!("{}/publish", server.url) });
        }
        let api = Api::new(&server.url, &server.token);
        let click = api.click().await?;
        Ok(Self::Conversions { api, click })
    }

    /// # Errors
    /// When the server refuses.
    pub async fn send(&self, order: usize) -> Result<(), BenchError> {
        let order = format!("order-{order}");
        match self {
            Self::Conversions { api, click } => api.record(click, &order).await,
            Self::Frames { http, url } => {
                http.post(url).body(api::sample_frame(&order)).send().await?.error_for_status()?;
                Ok(())
            }
        }
    }
}

async fn measure(
    name: &'static str,
    server: &Server,
    load: Load,
    secs: usize,
    documents: usize,
) -> Result<FanoutLine, BenchError> {
    let source = Source::of(server).await?;
    let measured = load.rate * secs;
    let last = WARM_UP + measured - 1;
    let log = Log::new(last + 1);
    let before = process::resident(server.pid())?;
    let mut readers = JoinSet::new();
    for number in 0..load.sockets {
        let socket = Socket::open(server, number % documents).await?;
        readers.spawn(socket.read(Arc::clone(&log), WARM_UP, last));
    }
    sleep(Duration::from_secs(1)).await;
    let open = process::resident(server.pid())?;
    for order in 0..WARM_UP {
        source.send(order).await?;
    }
    sleep(Duration::from_secs(1)).await;

    let cpu = process::cpu(server.pid())?;
    let start = Instant::now();
    send(&source, &log, load.rate, WARM_UP..=last).await?;
    let wanted = measured * load.sockets;
    let arrived = async {
        while log.received.load(Relaxed) < wanted {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let _ = timeout(Duration::from_secs(30), arrived).await;
    let elapsed = start.elapsed();
    let cpu = process::cpu(server.pid())?.saturating_sub(cpu);
    // Who has not seen the last order by now will not.
    let seen = collect(readers).await;
    let received: usize = seen.iter().map(|seen| seen.received).sum();
    let doubled: usize = seen.iter().map(|seen| seen.doubled).sum();
    let latency = Latency::of(&seen)?;
    let millis = |micros: u64| micros as f64 / 1_000.0;
    Ok(FanoutLine {
        server: name,
        sockets: load.sockets,
        documents,
        deliveries_per_second: received as f64 / elapsed.as_secs_f64(),
        // A reader that did not end by itself has missed something, and is not among these.
        lost: wanted + doubled - received.min(wanted + doubled),
        doubled,
        cpu_micros_per_delivery: cpu.as_secs_f64() * 1e6 / received.max(1) as f64,
        from_answer_p50_ms: millis(latency.from_answer.value_at_quantile(0.5)),
        from_answer_p99_ms: millis(latency.from_answer.value_at_quantile(0.99)),
        from_answer_p999_ms: millis(latency.from_answer.value_at_quantile(0.999)),
        from_send_p99_ms: millis(latency.from_send.value_at_quantile(0.99)),
        resident_mib: process::resident(server.pid())? as f64 / 1024.0 / 1024.0,
        kib_per_socket: open.saturating_sub(before) as f64 / 1024.0 / load.sockets as f64,
    })
}

/// Open loop: orders leave by the clock, whether or not the earlier ones are answered.
///
/// # Errors
/// When one is refused.
pub async fn send(
    source: &Source,
    log: &Arc<Log>,
    rate: usize,
    orders: std::ops::RangeInclusive<usize>,
) -> Result<(), BenchError> {
    let mut ticks = interval(Duration::from_secs_f64(1.0 / rate as f64));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut sending = JoinSet::new();
    for order in orders {
        ticks.tick().await;
        let (source, log) = (source.clone(), Arc::clone(log));
        sending.spawn(async move {
            log.send(order);
            let sent = source.send(order).await;
            log.answer(order);
            sent
        });
    }
    while let Some(sent) = sending.join_next().await {
        sent.map_err(|error| BenchError::Failed(error.to_string()))??;
    }
    Ok(())
}

/// What readers saw who ended by themselves, or soon will.
pub async fn collect(mut readers: JoinSet<Seen>) -> Vec<Seen> {
    let mut all = Vec::with_capacity(readers.len());
    let reading = async {
        while let Some(Ok(seen)) = readers.join_next().await {
            all.push(seen);
        }
    };
    let _ = timeout(Duration::from_secs(5), reading).await;
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_is_sockets_and_events() {
        assert_eq!(load("5000x50"), Ok(Load { sockets: 5_000, rate: 50 }));
        for refused in ["", "5000", "x50", "0x50", "5000x0", "5000*50"] {
            assert!(load(refused).is_err(), "{refused}");
        }
    }
}
