//! From node to node: how long after its answer at one node a conversion is seen by who subscribed at another, beside bare
//! Redis: from publishing as many bytes to receiving them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Args;
use futures_util::StreamExt;
use hdrhistogram::Histogram;
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use crate::{
    BenchError,
    all::{Scaled, shortened},
    api,
    calls::histogram,
    fanout::{Source, collect, send},
    figures::{Demand, Figure},
    redis::Redis,
    server::{Database, Server},
    socket::{Latency, Log, Socket},
};

#[derive(Args)]
pub struct Options {
    /// Subscribers at the other node.
    #[arg(long, default_value_t = 100)]
    sockets: usize,
    /// Events a second.
    #[arg(long, default_value_t = 50)]
    rate: usize,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

impl Scaled for Options {
    fn scale(&mut self, scale: f64) {
        self.seconds = shortened(self.seconds, scale);
    }
}

const NAME: &str = "hop";
/// Orders before the measured ones: they wake every path once.
const WARM_UP: usize = 20;

/// Measures bare Redis, then two nodes on it.
///
/// # Errors
/// When a server does not start or refuses.
pub async fn run(options: &Options) -> Result<Vec<Figure>, BenchError> {
    let redis = Redis::start().await?;
    let floor = publish(&redis, options).await?;
    let database = Database::postgres().await?.with_redis(redis.url());
    let here = Server::tributary(&database).await?;
    let mut there = Server::without_tenant(&database).await?;
    there.token.clone_from(&here.token);
    let measured = options.rate * usize::try_from(options.seconds).unwrap_or(usize::MAX);
    let last = WARM_UP + measured - 1;
    let log = Log::new(last + 1);
    let mut readers = JoinSet::new();
    for _ in 0..options.sockets {
        readers.spawn(Socket::open(&there, 0).await?.read(Arc::clone(&log), WARM_UP, last));
    }
    let source = Source::of(&here).await?;
    // The node subscribes when its first socket does.
    sleep(Duration::from_secs(1)).await;
    for order in 0..WARM_UP {
        source.send(order).await?;
    }
    send(&source, &log, options.rate, WARM_UP..=last).await?;
    let seen = collect(readers).await;
    let received: usize = seen.iter().map(|seen| seen.received).sum();
    let doubled: usize = seen.iter().map(|seen| seen.doubled).sum();
    let lost = (measured * options.sockets + doubled).saturating_sub(received);
    let latency = Latency::of(&seen)?;
    let millis = |histogram: &Histogram<u64>, quantile| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
    println!("{} sockets at the other node, {} events/s", options.sockets, options.rate);
    println!("{:<12}{:>9}{:>9}{:>9}{:>9}", "", "p50 ms", "p99 ms", "lost", "doubled");
    println!("{:<12}{:>9.2}{:>9.2}", "redis", millis(&floor, 0.5), millis(&floor, 0.99));
    let (p50, p99) = (millis(&latency.from_answer, 0.5), millis(&latency.from_answer, 0.99));
    println!("{:<12}{p50:>9.2}{p99:>9.2}{lost:>9}{doubled:>9}", "tributary");
    let what = |what: &str| format!("{} sockets at another node, {} events/s: {what}", options.sockets, options.rate);
    Ok(vec![
        Figure::new(NAME, what("p50 from the answer"), p50, "ms").beside(Some(millis(&floor, 0.5))),
        Figure::new(NAME, what("p99 from the answer"), p99, "ms").beside(Some(millis(&floor, 0.99))),
        Figure::new(NAME, what("lost"), lost as f64, "deliveries").demand(Demand::AtMost(0.0)),
        Figure::new(NAME, what("doubled"), doubled as f64, "deliveries").demand(Demand::AtMost(0.0)),
    ])
}

/// Microseconds from publishing to receiving, over two connections.
async fn publish(redis: &Redis, options: &Options) -> Result<Histogram<u64>, BenchError> {
    let client = ::redis::Client::open(redis.url())?;
    let mut publisher = client.get_multiplexed_async_connection().await?;
    let mut subscriber = client.get_async_pubsub().await?;
    subscriber.subscribe(NAME).await?;
    let mut messages = subscriber.into_on_message();
    let mut ticks = interval(Duration::from_secs_f64(1.0 / options.rate as f64));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut micros = Vec::new();
    let end = Instant::now() + Duration::from_secs(options.seconds);
    while Instant::now() < end {
        ticks.tick().await;
        let message = api::sample_frame(&format!("order-{}", micros.len()));
        let sent = Instant::now();
        let mut command = ::redis::cmd("PUBLISH");
        command.arg(NAME).arg(message);
        let (published, received) = tokio::join!(
            command.query_async::<()>(&mut publisher),
            timeout(Duration::from_secs(5), async { (messages.next().await, Instant::now()) }),
        );
        published?;
        let (Some(_), at) = received.map_err(|_| BenchError::Failed("a message is lost".to_owned()))? else {
            return Err(BenchError::Failed("the subscription ended".to_owned()));
        };
        micros.push(u32::try_from((at - sent).as_micros()).unwrap_or(u32::MAX));
    }
    histogram(micros.into_iter())
}

impl From<::redis::RedisError> for BenchError {
    fn from(error: ::redis::RedisError) -> Self {
        Self::Failed(error.to_string())
    }
}
