//! Traces: which request or piece of work something belongs to, for the log and for whoever collects spans by OTLP.
//!
//! # Decisions
//! - The span that leads a trace here is at the level of errors, so that each line of the log carries its ids whatever
//!   level is logged. All below it are at debug, which nobody asks for while nothing is exported: they then cost a
//!   comparison each. None is of a row.
//! - Callers are believed (W3C Trace Context): their trace goes on, and is exported if and only if they say so. What
//!   begins here is exported by its share.
//! - The collector is never waited for: spans go to it from a thread of its own, from a queue that is bounded; past the
//!   bound they are dropped.

use std::{sync::OnceLock, time::Duration};

use axum::http::HeaderMap;
use opentelemetry::{
    Context, KeyValue, TraceId,
    propagation::TextMapPropagator,
    trace::{SpanContext, Status, TraceContextExt, TracerProvider},
};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{Sampler, SdkTracerProvider},
};
use tracing::{Level, Metadata, Span, field::DisplayValue, level_filters::LevelFilter};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{Layer, Registry, filter::FilterFn};

use crate::{ambient, config::Settings};

/// How long an export may take, and the last one when the process ends.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where spans go to, if anywhere.
static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

/// Whether spans are exported.
fn exports() -> bool {
    PROVIDER.get().is_some()
}

/// A layer of the log that exports spans, where the settings name a collector.
///
/// # Errors
/// When its address cannot be used.
pub fn exporter(settings: &Settings) -> Result<Option<impl Layer<Registry> + Send + Sync + use<>>, ExporterBuildError> {
    let Some(endpoint) = &settings.otlp_endpoint else { return Ok(None) };
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
        .with_timeout(PATIENCE)
        .build()?;
    let node = [
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", ambient::new_uuid().to_string()),
    ];
    let resource = Resource::builder().with_service_name(settings.otlp_service_name.clone()).with_attributes(node);
    let share = Sampler::TraceIdRatioBased(settings.otlp_sample_ratio);
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource.build())
        .with_sampler(Sampler::ParentBased(Box::new(share)))
        .build();
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("tributary"))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_level(false)
        .with_tracked_inactivity(false)
        .with_context_activation(false)
        .with_filter(FilterFn::new(is_exported).with_max_level_hint(LevelFilter::DEBUG));
    // Starting twice (tests) keeps the first.
    let _ = PROVIDER.set(provider);
    Ok(Some(layer))
}

/// Our spans, and what the log says within them. Not the exporter's own words: they would never end.
pub fn is_exported(metadata: &Metadata<'_>) -> bool {
    let finest = if metadata.is_span() { Level::DEBUG } else { Level::INFO };
    metadata.target().starts_with("tributary") && *metadata.level() <= finest
}

/// Sends what is not sent yet, for as long as an export may take.
pub async fn finish() {
    let Some(provider) = PROVIDER.get() else { return };
    let ended = tokio::task::spawn_blocking(|| provider.shutdown_with_timeout(PATIENCE)).await;
    if let Ok(Err(error)) = ended {
        tracing::warn!(%error, "the last spans were not exported");
    }
}

/// The trace that something belongs to, as it is seen from there.
#[derive(Clone, Debug)]
pub struct Trace {
    /// None where the exporter is to choose it.
    id: Option<TraceId>,
    /// The span that what follows is part of; kept where it is of use, for the exporter.
    parent: Option<SpanContext>,
}

impl Trace {
    /// One that begins here.
    pub fn begin() -> Self {
        let id = (!exports()).then(|| TraceId::from_bytes(*ambient::new_uuid().as_bytes()));
        Self { id, parent: None }
    }

    /// The caller's, if it names one.
    pub fn of_caller(headers: &HeaderMap) -> Self {
        let context = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
        let parent = context.span().span_context().clone();
        if parent.is_valid() { Self { id: Some(parent.trace_id()), parent: Some(parent) } } else { Self::begin() }
    }

    /// Its id, for the `trace.id` of the span that leads it here.
    pub fn id(&self) -> Option<DisplayValue<TraceId>> {
        self.id.map(tracing::field::display)
    }

    /// Makes a span lead the trace here, under a name for people. What follows is part of it.
    pub fn lead(&mut self, span: &Span, name: impl FnOnce() -> String) {
        if !exports() {
            return;
        }
        if let Some(parent) = self.parent.take() {
            // Fails for spans that nobody wants.
            let _ = span.set_parent(Context::new().with_remote_span_context(parent));
        }
        let context = span.context();
        let here = context.span().span_context().clone();
        if !here.is_valid() {
            return;
        }
        context.span().update_name(name());
        if self.id.is_none() {
            span.record("trace.id", tracing::field::display(here.trace_id()));
        }
        *self = Self { id: Some(here.trace_id()), parent: Some(here) };
    }
}

/// The kind of a span that answers somebody. For the exporter alone: lines of the log have no use for it.
pub fn server_kind() -> Option<&'static str> {
    exports().then_some("server")
}

/// Notes what a request was answered with.
pub fn answered(span: &Span, status: u16) {
    if !exports() {
        return;
    }
    span.set_attribute("http.response.status_code", i64::from(status));
    if status >= 500 {
        span.set_status(Status::error(""));
    }
}
