//! What operators see: the log, to standard error, so that a command's output stays its own; and metrics.
//!
//! # Adding a metric
//! Call the `metrics` macros with a name that begins with `tributary_`, and explain the name here: a test demands it.
//! No label whose values grow with the customers (tenant, user, document): each value is a series for ever.

use std::{io::IsTerminal, sync::LazyLock, thread, time::Duration};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use opentelemetry_otlp::ExporterBuildError;
use tracing::{
    Metadata, Subscriber, error,
    level_filters::LevelFilter,
    span::{Attributes, Id, Record},
    subscriber::Interest,
};
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, layer::Context, prelude::*};

use crate::{
    config::{LogFormat, Settings},
    trace,
};

/// Starts logging; `RUST_LOG` chooses what, `info` and above by default. Traces are exported whatever it says.
///
/// # Errors
/// When the collector's address cannot be used.
pub fn start(settings: &Settings) -> Result<(), ExporterBuildError> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn,sea_orm=warn"));
    let log: Box<dyn Layer<Registry> + Send + Sync> = match settings.log_format {
        // Colours are for people: a log file gets none.
        LogFormat::Text => fmt::layer().with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr).boxed(),
        LogFormat::Json => fmt::layer().json().with_writer(std::io::stderr).boxed(),
    };
    let exporter = trace::exporter(settings)?;
    let wanted = Wanted { by_the_log: filter, with_traces: exporter.is_some() };
    let mut layers = vec![log];
    layers.extend(exporter.map(Layer::boxed));
    // In the log, where the request's id is; and there once.
    std::panic::set_hook(Box::new(|panic| error!(%panic, "panicked")));
    // Starting twice (tests) keeps the first.
    let _ = tracing_subscriber::registry().with(layers).with(wanted).try_init();
    Ok(())
}

/// What is told at all: what the log's filter lets pass, and all of our spans where traces are exported. One filter for all
/// layers: with one of the log's own, lines are lost after a library asks whether it would be heard and then says nothing.
struct Wanted {
    by_the_log: EnvFilter,
    with_traces: bool,
}

impl Wanted {
    fn is_traced(&self, metadata: &Metadata<'_>) -> bool {
        self.with_traces && metadata.is_span() && trace::is_exported(metadata)
    }
}

impl<S: Subscriber> Layer<S> for Wanted {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        match self.is_traced(metadata) {
            true => Interest::always(),
            false => Layer::<S>::register_callsite(&self.by_the_log, metadata),
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, context: Context<'_, S>) -> bool {
        self.is_traced(metadata) || Layer::<S>::enabled(&self.by_the_log, metadata, context)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let hint = Layer::<S>::max_level_hint(&self.by_the_log);
        if self.with_traces { hint.map(|hint| hint.max(LevelFilter::DEBUG)) } else { hint }
    }

    // By the fields and the time of spans, where `RUST_LOG` names some.
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        self.by_the_log.on_new_span(attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        self.by_the_log.on_record(id, values, context);
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        self.by_the_log.on_enter(id, context);
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        self.by_the_log.on_exit(id, context);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        self.by_the_log.on_close(id, context);
    }
}

/// How often samples of histograms are folded, so that they do not pile up where nobody asks for them.
const FOLD: Duration = Duration::from_secs(5);

/// Of events on their way to a client.
const LAG_SECONDS: &[f64] = &[0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

/// Of redirects.
const REDIRECT_SECONDS: &[f64] = &[0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 1.0];

/// Of batches and their commits.
const BATCH_SECONDS: &[f64] = &[0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];
const BATCH_ITEMS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1_000.0, 2_000.0];
/// From a second to a month.
const LATENESS_SECONDS: &[f64] = &[1.0, 10.0, 60.0, 300.0, 3_600.0, 21_600.0, 86_400.0, 604_800.0, 2_592_000.0];

const COUNTERS: &[(&str, &str)] = &[
    (
        "tributary_ingest_items_total",
        "Clicks and conversions by what became of them: recorded, invalid (clicks), held, rejected, duplicate, replayed (a \
         key used before), refused (wrong input), unavailable (the database is away), failed.",
    ),
    ("tributary_ingest_missing_fields_total", "Recorded conversions without a click, an order or a customer."),
    ("tributary_errors_total", "Errors of answers by their code."),
    ("tributary_user_errors_total", "Refusals in the payloads of mutations by their code."),
    (
        "tributary_replica_queries_total",
        "Queries that the replica of the database was asked, by outcome: answered, again (by the primary).",
    ),
    ("tributary_spool_clicks_total", "Clicks kept on this node's disk because the database did not take them in time."),
    ("tributary_spool_refused_total", "Clicks that neither the database nor the spool took."),
    ("tributary_spool_replayed_total", "Clicks of the spool that are in the database now."),
    ("tributary_feed_events_total", "Events that the followers of the log went through."),
    ("tributary_feed_events_handed_total", "Events handed to groups whose filter wants them, each group counted."),
    ("tributary_feed_overflows_total", "Times a group fell behind the follower and read the log itself."),
    ("tributary_feed_restarts_total", "Followers that panicked and began again."),
    ("tributary_live_executions_total", "Answers made by executing a shared document, once per event and group."),
    (
        "tributary_live_deliveries_total",
        "Answers for subscribers: shared ones, each subscriber counted, and those read from the log.",
    ),
    ("tributary_live_conflated_total", "Values of state fields replaced by newer ones before they were sent."),
    ("tributary_live_overflows_total", "Times a subscriber fell behind its group and read the log itself."),
    (
        "tributary_redirects_total",
        "Requests for tracking links, by outcome: destination, deep_link_refused, fallback, closed, unknown, unavailable.",
    ),
    ("tributary_redirects_untracked_total", "Visitors who were sent on although their click could not be recorded."),
    ("tributary_live_closings_total", "Subscriptions that ended, by reason: left, too_slow, expired, failed."),
];

const GAUGES: &[(&str, &str)] = &[
    ("tributary_ingest_waiting_items", "Items in the lanes of all tenants that are not answered yet."),
    (
        "tributary_database_connections",
        "Connections to the database, by pool (write and read, or shared and replica) and state (open, idle).",
    ),
    ("tributary_replica_lag_seconds", "How old the state is that the replica of the database has for certain."),
    ("tributary_spool_bytes", "Bytes of clicks that wait on this node's disk."),
    ("tributary_live_groups", "Documents that are executed for at least one subscriber."),
    ("tributary_live_subscribers", "Open subscriptions."),
];

/// Name, explanation, unit and bounds of buckets.
type Distribution = (&'static str, &'static str, metrics::Unit, &'static [f64]);

const HISTOGRAMS: &[Distribution] = &[
    (
        "tributary_live_lag_seconds",
        "From an event's recording to its answer for a group's subscribers.",
        metrics::Unit::Seconds,
        LAG_SECONDS,
    ),
    (
        "tributary_redirect_seconds",
        "From a request for a tracking link to its answer, with the click's recording.",
        metrics::Unit::Seconds,
        REDIRECT_SECONDS,
    ),
    (
        "tributary_ingest_batch_items",
        "Clicks and conversions that a lane recorded together.",
        metrics::Unit::Count,
        BATCH_ITEMS,
    ),
    (
        "tributary_ingest_batch_seconds",
        "From the beginning of a batch to its answers, with all tries.",
        metrics::Unit::Seconds,
        BATCH_SECONDS,
    ),
    (
        "tributary_ingest_commit_seconds",
        "What COMMIT took of a batch's transaction.",
        metrics::Unit::Seconds,
        BATCH_SECONDS,
    ),
    (
        "tributary_ingest_lateness_seconds",
        "From when a conversion happened to its recording.",
        metrics::Unit::Seconds,
        LATENESS_SECONDS,
    ),
];

/// The process's metrics: there is one recorder for all nodes of a process (tests).
static METRICS: LazyLock<PrometheusHandle> = LazyLock::new(|| {
    let with_buckets = HISTOGRAMS.iter().try_fold(PrometheusBuilder::new(), |builder, (name, .., buckets)| {
        builder.set_buckets_for_metric(Matcher::Full((*name).to_owned()), buckets)
    });
    let recorder = with_buckets.expect("there are buckets").build_recorder();
    let handle = recorder.handle();
    // Fails where somebody else records already: then ours stays empty.
    if metrics::set_global_recorder(recorder).is_ok() {
        explain();
        let handle = handle.clone();
        thread::spawn(move || {
            loop {
                thread::sleep(FOLD);
                handle.run_upkeep();
            }
        });
    }
    handle
});

fn explain() {
    for (name, help) in COUNTERS {
        metrics::describe_counter!(*name, *help);
    }
    for (name, help) in GAUGES {
        metrics::describe_gauge!(*name, *help);
    }
    for (name, help, unit, _) in HISTOGRAMS {
        metrics::describe_histogram!(*name, *unit, *help);
    }
}

/// Begins to record metrics. What was counted before is lost.
pub fn start_metrics() {
    LazyLock::force(&METRICS);
}

/// All metrics, in Prometheus's text format.
pub fn render_metrics() -> String {
    METRICS.render()
}
