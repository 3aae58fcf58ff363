//! Documents that want to hurt: each is refused with its code, by HTTP and on a socket, and the node stays small and
//! well.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    Backend, Client, TestApp, app,
    node::{self, Node},
    on_both,
    socket::Socket,
};

/// Fragments that spread the next one several times, in fields of their own or side by side.
fn bomb(width: usize, depth: usize, in_fields: bool) -> String {
    let mut text = "{ viewer { ...F0 } }".to_owned();
    for level in 0..depth {
        let spreads = (0..width).map(|field| match in_fields {
            true => format!("f{field}: x {{ ...F{} }} ", level + 1),
            false => format!("...F{} ", level + 1),
        });
        text += &format!("fragment F{level} on Viewer {{ {} }} ", spreads.collect::<String>());
    }
    text + &format!("fragment F{depth} on Viewer {{ roles }}")
}

/// A document with its variables, and the code that it is refused with.
struct Case {
    name: &'static str,
    query: String,
    variables: Value,
    code: &'static str,
}

fn cases() -> Vec<Case> {
    let case = |name, query: String, code| Case { name, query, variables: json!({}), code };
    let with = |name, query: &str, variables: Value, code| Case { name, query: query.to_owned(), variables, code };
    let many = |times, part: &dyn Fn(usize) -> String| (0..times).map(part).collect::<String>();
    let nested = |open: &str, close: &str, times| open.repeat(times) + &close.repeat(times);
    let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
    let pages = "campaigns(first: 100) { nodes { enrollments(first: 100) { nodes { campaign { \
                 enrollments(first: 100) { nodes { id } } } } } } }";
    let usual = "QUERY_TOO_COMPLEX";
    vec![
        case("bomb of width 2 and depth 20", bomb(2, 20, true), usual),
        case("bomb of width 10 and depth 6", bomb(10, 6, true), usual),
        case("bomb of width 30 and depth 5", bomb(30, 5, true), usual),
        case("flat bomb of width 2 and depth 20", bomb(2, 20, false), usual),
        case("flat bomb of width 30 and depth 5", bomb(30, 5, false), usual),
        case("flat bomb of 725 bytes", bomb(2, 17, false)[..].to_owned(), usual),
        case("flat bomb of 1,042 bytes", bomb(2, 24, false)[..].to_owned(), usual),
        case("thousand aliases", format!("{{ {} }}", many(1_000, &|n| format!("a{n}: viewer {{ roles }} "))), usual),
        case("thousand directives", format!("{{ viewer {} {{ roles }} }}", "@skip(if: false) ".repeat(1_000)), usual),
        case("deep fields", format!("{{ viewer {} }}", nested("{ a", "}", 5_000)), usual),
        case("deep literal", format!("{{ node(id: {}) {{ id }} }}", nested("[", "]", 20_000)), usual),
        case("long literal", format!("{{ nodes(ids: [{}]) {{ id }} }}", "1,".repeat(15_000)), usual),
        case("many operations", many(100, &|n| format!("query Q{n} {{ viewer {{ roles }} }} ")), usual),
        case("same field again and again", format!("{{ viewer {{ {} }} }}", "roles ".repeat(10_000)), usual),
        case("long comment", format!("# {}\n{{ viewer {{ roles }} }}", "x".repeat(62_000) + &"#".repeat(4_000)), usual),
        case("unclosed brackets", "{a(b:[".repeat(5_000), usual),
        case(
            "bomb of an introspection",
            "{ __schema { types { fields { type { fields { type { fields { name } } } } } } } }".to_owned(),
            usual,
        ),
        case(
            "fragment that spreads itself",
            "{ ...A } fragment A on Query { ...A }".to_owned(),
            "GRAPHQL_VALIDATION_FAILED",
        ),
        case(
            "ring of fragments",
            "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }".to_owned(),
            "GRAPHQL_VALIDATION_FAILED",
        ),
        case("garbage", "\u{0}\u{1f4a3}{{{".to_owned(), "GRAPHQL_VALIDATION_FAILED"),
        case(
            "unknown fields",
            format!("{{ viewer {{ {} }} }}", many(500, &|n| format!("x{n} "))),
            "GRAPHQL_VALIDATION_FAILED",
        ),
        case(
            "two subscriptions in one",
            "subscription { a: conversions { cursor } b: conversions { cursor } }".to_owned(),
            "GRAPHQL_VALIDATION_FAILED",
        ),
        case("pages of pages", format!("{{ {pages} }}"), "COST_EXCEEDED"),
        with("deep variable", "query($v: ID!) { node(id: $v) { id } }", json!({ "v": deep }), usual),
        with(
            "long variable, copied",
            &format!("query($v: [ID!]!) {{ {} }}", many(40, &|n| format!("a{n}: nodes(ids: $v) {{ id }} "))),
            json!({ "v": vec!["x"; 5_000] }),
            usual,
        ),
    ]
}

/// A refused document has so many errors at most, and what they say is short.
fn is_small(body: &Value) -> bool {
    body.to_string().len() < 20_000
}

on_both! {
    async fn hostile_documents_are_refused_by_http(app) {
        let owner = app.owner();
        for Case { name, query, variables, code } in cases() {
            let (_, body) = owner.send(&query, variables).await;
            assert_eq!(body["errors"][0]["extensions"]["code"], code, "{name}: {body}");
            assert!(is_small(&body) && body["data"].is_null(), "{name}: {body}");
            if code == "QUERY_TOO_COMPLEX" {
                let told = &body["errors"][0]["extensions"];
                assert!(told["limit"].is_string() && told["actual"].as_u64() > told["allowed"].as_u64(), "{name}: {told}");
            }
        }
        assert!(owner.data("{ viewer { roles } }", json!({})).await["viewer"].is_object());
    }

    async fn hostile_documents_are_refused_on_sockets(app) {
        let token = app.owner().token;
        for Case { name, query, variables, code } in cases() {
            // What is larger, the socket itself refuses.
            if query.len() + variables.to_string().len() > 60_000 {
                continue;
            }
            let mut socket = Socket::open(&app.url, token.as_deref(), &query, variables).await;
            assert_eq!(socket.error_code().await, code, "{name}");
            socket.send(json!({ "id": "2", "type": "subscribe", "payload": { "query": "{ viewer { roles } }" } })).await;
            assert!(socket.next().await["viewer"].is_object(), "{name}: the socket is of use");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_stays_small_under_hostile_documents() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = Node::start(&node::folder(folder.path())).await;
    let client = Client::new(&node.url, None);
    for _ in 0..20 {
        let asked = cases().into_iter().map(async |case| client.send(&case.query, case.variables).await);
        for (_, body) in futures_util::future::join_all(asked).await {
            assert!(body["errors"][0]["extensions"]["code"].is_string(), "{body}");
        }
    }
    let peak = node.peak_memory_kb();
    assert!(peak.is_none_or(|peak| peak < 200 * 1_024), "{peak:?} kB");
    node.stop().await;
}

/// What production does not tell, and whom.
async fn production(app: &TestApp) {
    let key = app.owner().done("createApiKey", json!({ "name": "shop", "scopes": ["READ"] }), "secret").await;
    let key = Client::new(&app.url, Some(key["secret"].as_str().expect("a key").to_owned()));
    let schema = include_str!("support/introspection.graphql");
    for client in [&key, &app.anonymous()] {
        assert_eq!(client.error_code(schema, json!({})).await, "INTROSPECTION_DISABLED");
        assert_eq!(client.error_code("{ __type(name: \"ID\") { name } }", json!({})).await, "INTROSPECTION_DISABLED");
        assert_eq!(
            client.error_code("{ ...F } fragment F on Query { __schema { queryType { name } } }", json!({})).await,
            "INTROSPECTION_DISABLED"
        );
        assert_eq!(client.data("{ __typename }", json!({})).await["__typename"], "Query");
        let (_, body) = client.send("{ campaing { id } campaigns(frist: 1) { nodes { id } } }", json!({})).await;
        assert!(body["errors"].is_array() && !body.to_string().contains("Did you mean"), "{body}");
    }
    let told = app.owner().data(schema, json!({})).await;
    assert!(told["__schema"]["types"].as_array().is_some_and(|types| types.len() > 50), "an operator is told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn production_tells_strangers_nothing_of_the_schema() {
    let set = |settings: &mut tributary::config::Settings| settings.mode = Some(tributary::config::Mode::Production);
    app::run_with(Backend::Sqlite, set, production).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn development_helps() {
    let set = |settings: &mut tributary::config::Settings| settings.mode = Some(tributary::config::Mode::Development);
    app::run_with(Backend::Sqlite, set, async |app| {
        let anonymous = app.anonymous();
        let schema = anonymous.data(include_str!("support/introspection.graphql"), json!({})).await;
        assert_eq!(schema["__schema"]["queryType"]["name"], "Query");
        let (_, body) = anonymous.send("{ campaing { id } }", json!({})).await;
        assert!(body.to_string().contains("Did you mean"), "{body}");
        // Hostile or not, an answer comes.
        let waited = tokio::time::timeout(Duration::from_secs(30), anonymous.send("{", json!({}))).await;
        assert!(waited.is_ok());
    })
    .await;
}
