//! Attribution over stored clicks: how long a preview by each model and a run that changes every conversion take, and how
//! much memory they need at their peak.
//!
//! Every click is a touch of some conversion, and the clicks of one visitor lie far apart in the table, as they do when
//! visitors come back over days. The run is asked for twice: the second one must find nothing to do, and the ledger must
//! balance.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use clap::Args;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    BenchError,
    all::{Scaled, scaled},
    api::{Api, BATCH, Link},
    figures::Figure,
    process,
    server::{Database, Server},
};

#[derive(Args)]
pub struct Options {
    /// Clicks in the store.
    #[arg(long, default_value_t = 1_000_000)]
    clicks: usize,
    /// Conversions, each by a visitor of its own who clicked as often as the others.
    #[arg(long, default_value_t = 50_000)]
    conversions: usize,
    /// Affiliates among whom the clicks are spread.
    #[arg(long, default_value_t = 50)]
    affiliates: usize,
    /// The model of the run; the conversions are recorded under LAST_CLICK.
    #[arg(long, default_value = "FIRST_CLICK")]
    model: String,
}

impl Scaled for Options {
    fn scale(&mut self, scale: f64) {
        self.clicks = scaled(self.clicks, scale);
        self.conversions = scaled(self.conversions, scale);
    }
}

const MODELS: [&str; 5] = ["LAST_CLICK", "FIRST_CLICK", "LINEAR", "POSITION_BASED", "TIME_DECAY"];
/// Calls in flight while the data are sent.
const AT_ONCE: usize = 4;
/// The time before a conversion over which its visitor's clicks are spread: inside the usual window.
const SPREAD: TimeDelta = TimeDelta::days(20);

/// Seeds a server, measures, and checks what was posted.
///
/// # Errors
/// When the server does not start or refuses, and when a run repeats itself or the ledger does not balance.
pub async fn run(options: &Options) -> Result<Vec<Figure>, BenchError> {
    let node = Server::tributary(&Database::of_environment()).await?;
    let api = Api::new(&node.url, &node.token);
    let journeys = Journeys::new(options);
    let began = Instant::now();
    journeys.seed(&api, options.affiliates).await?;
    println!(
        "{} clicks and {} conversions sent in {:.0} s",
        journeys.visitors * journeys.clicks_each,
        journeys.visitors,
        began.elapsed().as_secs_f64()
    );
    println!("{:<28}{:>9}{:>10}{:>12}{:>10}", "", "seconds", "peak MiB", "conversions", "changed");
    let mut figures = Vec::new();
    for model in MODELS {
        let meter = Meter::begin(&node)?;
        let preview = api.preview(&journeys.trial(model)).await?;
        figures.extend(meter.end(&format!("preview {model}"), &preview["conversions"], &preview["changed"])?);
    }
    let (first, taken) = measure_run(&node, &api, &journeys.trial(&options.model), &options.model).await?;
    let posted = api.trial_balance().await?;
    let (second, again) = measure_run(&node, &api, &journeys.trial(&options.model), "again").await?;
    figures.extend(taken.into_iter().chain(again));
    let expected = journeys.visitors as u64;
    if first["conversionsSeen"] != expected || second["conversionsSeen"] != expected {
        return Err(BenchError::Failed(format!("{first}, {second}: not every conversion was looked at")));
    }
    if second["conversionsChanged"] != 0 || api.trial_balance().await? != posted || posted["balanced"] != true {
        return Err(BenchError::Failed(format!("the same again made a difference: {second}, {posted}")));
    }
    println!("applied twice, posted once; the ledger balances");
    Ok(figures)
}

/// Lets a run run. Answers how it ended, and what it took.
async fn measure_run(node: &Server, api: &Api, trial: &Value, name: &str) -> Result<(Value, [Figure; 2]), BenchError> {
    let meter = Meter::begin(node)?;
    let id = api.apply(trial).await?;
    loop {
        let run = api.attribution_run(&id).await?;
        match run["status"].as_str() {
            Some("DONE") => {
                let taken = meter.end(&format!("run {name}"), &run["conversionsSeen"], &run["conversionsChanged"])?;
                return Ok((run, taken));
            }
            Some("QUEUED" | "RUNNING") => sleep(Duration::from_millis(50)).await,
            _ => return Err(BenchError::Failed(format!("the run failed: {run}"))),
        }
    }
}

/// Time and peak memory since a moment.
struct Meter {
    pid: u32,
    began: Instant,
}

impl Meter {
    fn begin(node: &Server) -> Result<Self, BenchError> {
        process::forget_peak(node.pid())?;
        Ok(Self { pid: node.pid(), began: Instant::now() })
    }

    /// Prints what it was since then.
    fn end(&self, name: &str, conversions: &Value, changed: &Value) -> Result<[Figure; 2], BenchError> {
        let seconds = self.began.elapsed().as_secs_f64();
        let mib = process::peak(self.pid)? / (1 << 20);
        println!("{name:<28}{seconds:>9.1}{mib:>10}{:>12}{:>10}", conversions.to_string(), changed.to_string());
        let what = |what: &str| format!("{name}, {conversions} conversions: {what}");
        Ok([
            Figure::new("attribution", what("time"), seconds, "s"),
            Figure::new("attribution", what("peak memory"), mib as f64, "MiB"),
        ])
    }
}

/// The clicks and conversions of visitors, by their number.
struct Journeys {
    visitors: usize,
    clicks_each: usize,
    /// The last conversion.
    until: DateTime<Utc>,
}

impl Journeys {
    #[expect(clippy::disallowed_methods, reason = "what is seeded lies in the past of the server's own clock")]
    fn new(options: &Options) -> Self {
        let visitors = options.conversions.max(1);
        Self { visitors, clicks_each: (options.clicks / visitors).max(1), until: Utc::now() - TimeDelta::hours(1) }
    }

    /// Spread over ten days.
    fn converted_at(&self, visitor: usize) -> DateTime<Utc> {
        let spread = 10 * 86_400 * 1_000 / self.visitors;
        self.until - TimeDelta::milliseconds(i64::try_from(visitor * spread).unwrap_or_default())
    }

    fn clicked_at(&self, visitor: usize, round: usize) -> DateTime<Utc> {
        let part = (self.clicks_each - round) as f64 / self.clicks_each as f64;
        self.converted_at(visitor) - TimeDelta::seconds((SPREAD.num_seconds() as f64 * part) as i64)
    }

    /// All of them under another model.
    fn trial(&self, model: &str) -> Value {
        let (from, until) = (self.converted_at(self.visitors), self.until + TimeDelta::seconds(1));
        json!({ "model": model, "from": text(from), "until": text(until) })
    }

    /// Round by round, so that a visitor's clicks lie as far apart in the table as they do in time.
    async fn seed(&self, api: &Api, affiliates: usize) -> Result<(), BenchError> {
        let links = api.links(affiliates.max(1)).await?;
        let mut last_clicks = Vec::new();
        for round in 0..self.clicks_each {
            let batches = (0..self.visitors).step_by(BATCH).map(|first| self.click_batch(&links, first, round));
            let sent = stream::iter(batches).map(|items| api.record_clicks(items)).buffered(AT_ONCE);
            last_clicks = sent.try_concat().await?;
        }
        let batches = last_clicks.chunks(BATCH).enumerate();
        let batches = batches.map(|(number, clicks)| self.conversion_batch(number * BATCH, clicks));
        let sent = stream::iter(batches).map(|items| api.record_conversions(items)).buffered(AT_ONCE);
        sent.try_collect().await
    }

    fn click_batch(&self, links: &[Link], first: usize, round: usize) -> Vec<Value> {
        let visitors = first..(first + BATCH).min(self.visitors);
        let item = |visitor: usize| {
            let link = &links[(visitor * 7 + round * 13) % links.len()];
            json!({
                "linkId": link.id, "visitorId": format!("visitor-{visitor}"),
                "occurredAt": text(self.clicked_at(visitor, round)),
            })
        };
        visitors.map(item).collect()
    }

    fn conversion_batch(&self, first: usize, clicks: &[String]) -> Vec<Value> {
        let item = |(visitor, click): (usize, &String)| {
            let amount = format!("{}.{:02}", 10 + visitor % 90, visitor % 100);
            json!({
                "clickId": click, "goal": "sale", "orderId": format!("order-{visitor}"),
                "occurredAt": text(self.converted_at(visitor)), "saleAmount": { "amount": amount, "currency": "EUR" },
            })
        };
        (first..).zip(clicks).map(item).collect()
    }
}

fn text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}
