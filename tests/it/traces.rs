//! Traces: the caller's goes on through operation, lane and transaction, to a collector and in the log; a collector
//! that is away is nobody's trouble.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value as Any},
    trace::v1::Span,
};
use prost::Message;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    time::{sleep, timeout},
};

use crate::support::{Backend, Client, Programme, Terms, node::Node, programme::sale, world::World};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
const KEY: &str = "the collector's key";

/// Who spans are sent to.
struct Collector {
    url: String,
    spans: Spans,
}

/// Spans, each with the name of the service that it is of.
type Spans = Arc<Mutex<Vec<(String, Span)>>>;

impl Collector {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let spans = Spans::default();
        let router = Router::new().route("/v1/traces", post(collect)).with_state(Arc::clone(&spans));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, spans }
    }

    /// Settings of a node that sends its spans here, soon.
    fn settings(&self) -> [(&'static str, &str); 4] {
        [
            ("TRIBUTARY_OTLP_ENDPOINT", &self.url),
            ("TRIBUTARY_OTLP_SERVICE_NAME", "tributary-test"),
            ("OTEL_BSP_SCHEDULE_DELAY", "50"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-collector-key=the%20collector's%20key"),
        ]
    }

    fn spans(&self) -> Vec<Span> {
        let spans = self.spans.lock().expect("nobody panics with the spans");
        spans
            .iter()
            .map(|(service, span)| {
                assert_eq!(service, "tributary-test");
                span.clone()
            })
            .collect()
    }

    /// Waits for a span of a trace whose name begins so.
    async fn span(&self, trace: &str, name: &str) -> Span {
        let found = async {
            loop {
                let is_it = |span: &Span| hex(&span.trace_id) == trace && span.name.starts_with(name);
                if let Some(span) = self.spans().into_iter().find(is_it) {
                    return span;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        let found = timeout(Duration::from_secs(20), found).await;
        found.unwrap_or_else(|_| {
            let names: Vec<(String, String)> =
                self.spans().iter().map(|span| (hex(&span.trace_id), span.name.clone())).collect();
            panic!("no `{name}` in {trace}: {names:?}")
        })
    }
}

async fn collect(State(spans): State<Spans>, headers: HeaderMap, body: Bytes) {
    assert_eq!(headers["content-type"], "application/x-protobuf");
    assert_eq!(headers["x-collector-key"], KEY);
    let request = ExportTraceServiceRequest::decode(body).expect("spans");
    for of_resource in request.resource_spans {
        let attributes = of_resource.resource.expect("a resource").attributes;
        let service = text(&attributes, "service.name").expect("a name");
        let of_scopes = of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
        spans.lock().expect("nobody panics with the spans").extend(of_scopes.map(|span| (service.clone(), span)));
    }
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

/// An attribute as text.
fn text(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == name)?;
    match found.value.clone()?.value? {
        Any::StringValue(text) => Some(text),
        Any::IntValue(number) => Some(number.to_string()),
        Any::BoolValue(truth) => Some(truth.to_string()),
        other => panic!("{other:?}"),
    }
}

fn attribute(span: &Span, name: &str) -> String {
    text(&span.attributes, name).unwrap_or_else(|| panic!("{name} in {span:?}"))
}

/// Sends a document with headers; the answer's request id and its body.
async fn send(owner: &Client, headers: &[(&str, &str)], query: &str, variables: Value) -> (String, Value) {
    let mut request = reqwest::Client::new().post(format!("{}/graphql", owner.url));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.bearer_auth(owner.token.as_deref().expect("a token"));
    let response = request.json(&json!({ "query": query, "variables": variables })).send().await.expect("an answer");
    let id = response.headers()["x-request-id"].to_str().expect("text").to_owned();
    (id, response.json().await.expect("JSON"))
}

/// `traceparent` of the caller, who wants the trace recorded or not.
fn parent(flags: &str) -> String {
    format!("00-{TRACE}-{CALLER}-{flags}")
}

fn campaign(name: &str) -> Value {
    json!({ "name": name, "currency": "EUR", "destinationUrl": "https://shop.example/" })
}

const CREATE: &str = "mutation Make($input: CreateCampaignInput!) { createCampaign(input: $input) { campaign { id } userErrors { code } } }";

async fn callers_trace_goes_on(backend: Backend) {
    let world = World::new(backend).await;
    let collector = Collector::start().await;
    let mut settings = collector.settings().to_vec();
    settings.push(("RUST_LOG", "info,tributary::http=debug"));
    let node = Node::start_with(&world.data, &settings).await;
    let owner = world.owner(&node);
    let headers = [("traceparent", &*parent("01")), ("x-request-id", "order-7")];
    let (id, body) = send(&owner, &headers, CREATE, json!({ "input": campaign("Traced") })).await;
    assert!(id == "order-7" && body["data"]["createCampaign"]["userErrors"] == json!([]), "{body}");

    let request = collector.span(TRACE, "POST /graphql").await;
    assert_eq!(hex(&request.parent_span_id), CALLER);
    // That of a server.
    assert_eq!(request.kind, 2);
    for (name, value) in [
        ("request.id", "order-7"),
        ("http.request.method", "POST"),
        ("http.route", "/graphql"),
        ("http.response.status_code", "200"),
    ] {
        assert_eq!(attribute(&request, name), value);
    }
    let operation = collector.span(TRACE, "mutation Make").await;
    assert_eq!(operation.parent_span_id, request.span_id);
    let tenant = attribute(&operation, "tenant.id");
    assert!(tenant.starts_with("ten_"), "{tenant}");
    let transaction = collector.span(TRACE, "transaction services/campaigns").await;
    assert_eq!(transaction.parent_span_id, operation.span_id);
    assert_eq!(attribute(&transaction, "tenant.id"), tenant);
    assert_eq!(attribute(&transaction, "db.committed"), "true");
    let system = if backend == Backend::Postgres { "postgresql" } else { "sqlite" };
    assert_eq!(attribute(&transaction, "db.system.name"), system);
    let statements: u32 = attribute(&transaction, "db.statements").parse().expect("a number");
    assert!((2..20).contains(&statements), "{statements}");

    // The log says the same of it.
    let line = said_of(&node, "order-7").await;
    assert_eq!(line["spans"][0]["trace.id"], TRACE, "{line}");
    assert_eq!(line["spans"][0]["http.route"], "/graphql", "{line}");

    let conversion = recorded_by_a_lane(&owner, &collector, &transaction).await;
    // A caller who does not want its trace recorded.
    let ids = [("traceparent", &*parent("00").replace(TRACE, &"b".repeat(32))), ("x-request-id", "not-wanted")];
    send(&owner, &ids, "query Unseen { viewer { roles } }", json!({})).await;
    assert_eq!(said_of(&node, "not-wanted").await["spans"][0]["trace.id"], "b".repeat(32));
    // What begins here has an id of its own, the same in the log and at the collector; what is left is sent at the end.
    let (id, _) = send(&owner, &[], "query Own { viewer { roles } }", json!({})).await;
    let line = said_of(&node, &id).await;
    let own = line["spans"][0]["trace.id"].as_str().expect("an id").to_owned();
    node.stop().await;
    let seen = collector.span(&own, "POST /graphql").await;
    assert!(seen.parent_span_id.is_empty() && attribute(&seen, "request.id") == id);
    let names: Vec<String> = collector.spans().into_iter().map(|span| span.name).collect();
    assert!(!names.iter().any(|name| name.contains("Unseen")), "{names:?}");
    assert!(conversion.starts_with("cnv_"), "{conversion}");
    world.finish().await;
}

/// Records a conversion, which is written by its lane: in a batch that is part of its request.
async fn recorded_by_a_lane(owner: &Client, collector: &Collector, other: &Span) -> String {
    let programme = Programme::build(owner, &Terms::default()).await;
    let click = programme.click(owner).await;
    let trace = "c".repeat(32);
    let query =
        "mutation Sale($input: RecordConversionInput!) { recordConversion(input: $input) { conversion { id } } }";
    let variables = json!({ "input": sale(&click, "1", "100.00") });
    let headers = [("traceparent", &*parent("01").replace(TRACE, &trace))];
    let (_, body) = send(owner, &headers, query, variables).await;
    let operation = collector.span(&trace, "mutation Sale").await;
    let batch = collector.span(&trace, "batch").await;
    assert_eq!(batch.parent_span_id, operation.span_id);
    assert_eq!(attribute(&batch, "ingest.items"), "1");
    let transaction = collector.span(&trace, "transaction services/ingest/batch").await;
    assert_eq!(transaction.parent_span_id, batch.span_id);
    assert_eq!(attribute(&transaction, "tenant.id"), attribute(other, "tenant.id"));
    body["data"]["recordConversion"]["conversion"]["id"].as_str().unwrap_or_else(|| panic!("{body}")).to_owned()
}

/// Waits for a line of a node's log that is of a request.
async fn said_of(node: &Node, request: &str) -> Value {
    let found = async {
        loop {
            let is_of = |line: &Value| line["spans"][0]["request.id"] == request;
            if let Some(line) = node.log().into_iter().find(is_of) {
                return line;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(10), found).await.unwrap_or_else(|_| panic!("{request} in {:?}", node.log()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_trace_goes_on_sqlite() {
    callers_trace_goes_on(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_trace_goes_on_postgres() {
    callers_trace_goes_on(Backend::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_in_the_background_is_a_trace_of_its_own() {
    let world = World::new(Backend::Sqlite).await;
    let collector = Collector::start().await;
    let node = Node::start_with(&world.data, &collector.settings()).await;
    let owner = world.owner(&node);
    // What waited for a rate is looked for.
    let rate = json!({ "base": "EUR", "quote": "USD", "rate": "1.1", "validOn": "2026-01-05" });
    owner.done("setFxRate", rate, "fxRate { id }").await;
    let job = timeout(Duration::from_secs(30), async {
        loop {
            let is_job = |span: &Span| span.name.starts_with("job ");
            if let Some(job) = collector.spans().into_iter().find(is_job) {
                return job;
            }
            sleep(Duration::from_millis(50)).await;
        }
    });
    let job = job.await.expect("a job is done");
    assert!(job.parent_span_id.is_empty() && attribute(&job, "tenant.id").starts_with("ten_"), "{job:?}");
    let inside = collector.span(&hex(&job.trace_id), "transaction ").await;
    assert_eq!(inside.parent_span_id, job.span_id);
    node.stop().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_on_a_socket_are_of_its_trace() {
    let world = World::new(Backend::Sqlite).await;
    let collector = Collector::start().await;
    let node = Node::start_with(&world.data, &collector.settings()).await;
    let owner = world.owner(&node);
    let mut socket = owner.subscribe("subscription Live { conversions { cursor } }", json!({})).await;
    let found = timeout(Duration::from_secs(20), async {
        loop {
            let spans = collector.spans();
            if let Some(operation) = spans.iter().find(|span| span.name == "subscription Live") {
                let by_id = |id: &[u8]| spans.iter().find(|span| span.span_id == id);
                if let Some(on_socket) = by_id(&operation.parent_span_id)
                    && let Some(request) = by_id(&on_socket.parent_span_id)
                {
                    return [request.clone(), on_socket.clone(), operation.clone()];
                }
            }
            sleep(Duration::from_millis(50)).await;
        }
    });
    let [request, on_socket, operation] = found.await.expect("three spans");
    assert_eq!(request.name, "GET /graphql");
    assert_eq!(on_socket.name, "WebSocket /graphql");
    assert_eq!(attribute(&on_socket, "request.id"), attribute(&request, "request.id"));
    assert_eq!(operation.trace_id, request.trace_id);
    socket.ping(Value::Null).await;
    node.stop().await;
    world.finish().await;
}

/// Nobody at the address, and somebody who takes a connection and never answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn collector_that_is_away_harms_nobody() {
    let world = World::new(Backend::Sqlite).await;
    let mute = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mute = (format!("http://{}", mute.local_addr().expect("bound")), mute);
    for endpoint in ["http://127.0.0.1:1", &mute.0] {
        let settings = [("TRIBUTARY_OTLP_ENDPOINT", endpoint), ("OTEL_BSP_SCHEDULE_DELAY", "50")];
        let node = Node::start_with(&world.data, &settings).await;
        let owner = world.owner(&node);
        let began = Instant::now();
        for number in 0..20 {
            owner.done("createCampaign", campaign(&format!("{endpoint} {number}")), "campaign { id }").await;
        }
        assert!(began.elapsed() < Duration::from_secs(5), "{endpoint}: {:?}", began.elapsed());
        let began = Instant::now();
        node.stop().await;
        assert!(began.elapsed() < Duration::from_secs(15), "{endpoint}: {:?}", began.elapsed());
    }
    world.finish().await;
}

/// Without a collector every line has the ids all the same, and a socket's lines those of its request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_has_ids_without_a_collector() {
    let world = World::new(Backend::Sqlite).await;
    let node = Node::start_with(&world.data, &[("RUST_LOG", "info,tributary::http=debug")]).await;
    let owner = world.owner(&node);
    let headers = [("traceparent", &*parent("01"))];
    let (id, _) = send(&owner, &headers, "{ viewer { roles } }", json!({})).await;
    assert_eq!(said_of(&node, &id).await["spans"][0]["trace.id"], TRACE);
    // What is no parent is none.
    let headers = [("traceparent", "00-00000000000000000000000000000000-00f067aa0ba902b7-01")];
    let (id, _) = send(&owner, &headers, "{ viewer { roles } }", json!({})).await;
    let line = said_of(&node, &id).await;
    let own = line["spans"][0]["trace.id"].as_str().expect("an id");
    assert!(own.len() == 32 && own != "0".repeat(32), "{line}");
    // Nothing but the leading span, as nobody exports the others.
    assert_eq!(line["spans"].as_array().map(Vec::len), Some(1), "{line}");
    node.stop().await;
    world.finish().await;
}
