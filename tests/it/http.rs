//! The HTTP edge: who is let in, and which requests are no GraphQL at all.

use data_encoding::BASE64URL_NOPAD;
use reqwest::{Method, Response, header};
use serde_json::{Value, json};
use tributary::{
    ambient::Clock,
    auth::{
        Tokens,
        tokens::{Grant, Subject},
    },
    config::Mode,
};
use tributary_entity::kinds::Role;

use crate::support::{
    Backend, Client, Programme, Terms, TestApp,
    app::{SECRET, Tuning},
    node::Node,
    on_both, on_both_tuned,
    world::World,
};

const VIEWER: &str = "{ viewer { roles } }";

/// A request to `/graphql` with a body of a media type.
async fn send(app: &TestApp, method: Method, media_type: Option<&str>, body: impl Into<reqwest::Body>) -> Response {
    let mut request = reqwest::Client::new().request(method, format!("{}/graphql", app.url));
    request = request.bearer_auth(app.owner().token.expect("a token")).body(body);
    if let Some(media_type) = media_type {
        request = request.header(header::CONTENT_TYPE, media_type);
    }
    request.send().await.expect("an answer")
}

async fn status_and_code(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let media_type = response.headers().get(header::CONTENT_TYPE).cloned();
    assert!(media_type.is_some_and(|value| value.to_str().is_ok_and(|text| text.contains("json"))), "errors are JSON");
    let body: Value = response.json().await.expect("JSON");
    let error = &body["errors"][0]["extensions"];
    assert!(error["requestId"].is_string(), "{body}");
    (status, error["code"].as_str().unwrap_or_default().to_owned())
}

/// Status and code for a bearer token.
async fn with_token(app: &TestApp, token: &str) -> (u16, String) {
    let (status, body) = Client::new(&app.url, Some(token.to_owned())).send(VIEWER, json!({})).await;
    let code = body["errors"][0]["extensions"]["code"].as_str().unwrap_or("none").to_owned();
    assert!(code == "none" || body["data"].is_null(), "{body}");
    (status, code)
}

fn encode(json: &Value) -> String {
    BASE64URL_NOPAD.encode(json.to_string().as_bytes())
}

on_both! {
    async fn token_that_ended_is_told_so(app) {
        let token = app.token(app.home, Role::Owner, None, 60);
        assert_eq!(with_token(app, &token).await, (200, "none".to_owned()));
        app.clock.advance(chrono::TimeDelta::seconds(61));
        assert_eq!(with_token(app, &token).await, (401, "TOKEN_EXPIRED".to_owned()));
    }

    async fn token_that_is_not_ours_is_refused(app) {
        let good = app.token(app.home, Role::Owner, None, 600);
        let parts: Vec<&str> = good.split('.').collect();
        let grant = Grant {
            subject: Subject::Operator, tenant_id: app.home, session_id: None, roles: vec![Role::Owner], affiliate_id: None,
        };
        let issue = |secret: &str, issuer: &str| Tokens::new(secret, issuer).issue(&grant, app.clock.now(), 600).0;
        assert_eq!(with_token(app, &issue(SECRET, "tributary")).await, (200, "none".to_owned()));
        let none = encode(&json!({ "alg": "none", "typ": "JWT" }));
        for (what, token) in [
            ("garbage", "garbage".to_owned()),
            ("dots", "a.b.c".to_owned()),
            ("another secret", issue("another secret of thirty-two characters", "tributary")),
            ("another issuer", issue(SECRET, "someone")),
            ("alg none, unsigned", format!("{none}.{}.", parts[1])),
            ("alg none, signed", format!("{none}.{}.{}", parts[1], parts[2])),
            ("signature cut off", format!("{}.{}.", parts[0], parts[1])),
            ("signature of another", format!("{}.{}.{}", parts[0], parts[1], &parts[2][..parts[2].len() - 2])),
            ("claims of another", format!("{}.{}.{}", parts[0], encode(&json!({ "sub": "operator" })), parts[2])),
            ("huge", format!("{good}{}", "x".repeat(20_000))),
            ("an API key that is none", "trb_live_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaa".to_owned()),
        ] {
            assert_eq!(with_token(app, &token).await, (401, "UNAUTHENTICATED".to_owned()), "{what}");
        }
    }

    async fn other_authorization_schemes_are_refused(app) {
        let token = app.owner().token.expect("a token");
        for value in [format!("Basic {token}"), token.clone(), "Bearer".to_owned(), "Bearer ".to_owned()] {
            let request = reqwest::Client::new().post(format!("{}/graphql", app.url)).json(&json!({ "query": VIEWER }));
            let response = request.header(header::AUTHORIZATION, &value).send().await.expect("an answer");
            assert_eq!(status_and_code(response).await, (401, "UNAUTHENTICATED".to_owned()), "{value}");
        }
    }

    async fn request_without_a_token_is_executed_and_refused_field_by_field(app) {
        let (status, body) = app.anonymous().send(VIEWER, json!({})).await;
        assert_eq!((status, &body["errors"][0]["extensions"]["code"]), (200, &json!("UNAUTHENTICATED")));
    }

    async fn body_of_another_media_type_is_refused(app) {
        let body = json!({ "query": VIEWER }).to_string();
        for media_type in [
            None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("multipart/form-data; boundary=x"),
            Some("application/graphql"), Some("application/jsonx"), Some("text/plain; a=application/json"),
            Some("application/json; charset=iso-8859-1"),
        ] {
            let response = send(app, Method::POST, media_type, body.clone()).await;
            let expected = (415, "UNSUPPORTED_MEDIA_TYPE".to_owned());
            assert_eq!(status_and_code(response).await, expected, "{media_type:?}");
        }
        for media_type in ["application/json", "application/json; charset=utf-8", "Application/JSON;charset=\"UTF-8\""] {
            assert_eq!(send(app, Method::POST, Some(media_type), body.clone()).await.status(), 200, "{media_type}");
        }
    }

    async fn body_that_is_no_request_is_refused(app) {
        let request = json!({ "query": VIEWER });
        for body in [
            String::new(), "{".to_owned(), "null".to_owned(), "1".to_owned(), "\"x\"".to_owned(), "{}".to_owned(),
            json!({ "query": "" }).to_string(), json!({ "query": null }).to_string(), json!({ "query": 1 }).to_string(),
            json!({ "query": VIEWER, "variables": 1 }).to_string(), json!({ "query": VIEWER, "variables": [] }).to_string(),
            json!({ "query": VIEWER, "variables": "{}" }).to_string(),
            json!({ "query": VIEWER, "operationName": 1 }).to_string(),
            json!({ "query": VIEWER, "extensions": [] }).to_string(), format!("{request} {request}"),
        ] {
            let response = send(app, Method::POST, Some("application/json"), body.clone()).await;
            assert_eq!(status_and_code(response).await, (400, "BAD_REQUEST".to_owned()), "{body}");
        }
    }

    async fn request_without_a_needed_variable_is_refused_whole(app) {
        let query = "query($id: ID!) { node(id: $id) { id } viewer { roles } }";
        for variables in [json!({}), json!({ "id": null })] {
            let (_, body) = app.owner().send(query, variables).await;
            assert_eq!(body["errors"][0]["extensions"]["code"], "GRAPHQL_VALIDATION_FAILED", "{body}");
            assert_eq!(body.get("data"), None, "{body}");
        }
    }

    async fn batches_are_refused_in_words(app) {
        let request = json!({ "query": VIEWER });
        for body in [json!([]), json!([request]), json!([request, request])] {
            let response = send(app, Method::POST, Some("application/json"), format!(" {body}")).await;
            assert_eq!(status_and_code(response).await, (400, "BATCH_NOT_SUPPORTED".to_owned()), "{body}");
        }
    }

    async fn null_stands_for_a_parameter_that_is_not_there(app) {
        let body = json!({ "query": VIEWER, "variables": null, "operationName": null, "extensions": null, "more": 1 });
        assert_eq!(send(app, Method::POST, Some("application/json"), body.to_string()).await.status(), 200);
    }

    async fn parameters_of_an_address_are_held_to_their_types(app) {
        let get = async |pairs: &[(&str, &str)]| {
            let mut url = reqwest::Url::parse(&format!("{}/graphql", app.url)).expect("an address");
            url.query_pairs_mut().extend_pairs(pairs);
            let request = reqwest::Client::new().get(url).bearer_auth(app.owner().token.expect("a token"));
            request.send().await.expect("an answer")
        };
        let named = "query($name: String!) { __type(name: $name) { name } }";
        let variables = json!({ "name": "Money" }).to_string();
        let answer: Value = get(&[("query", named), ("variables", &variables)]).await.json().await.expect("JSON");
        assert_eq!(answer["data"]["__type"]["name"], "Money");
        assert_eq!(get(&[("query", VIEWER), ("variables", "null"), ("operationName", ""), ("extensions", "")]).await.status(), 200);
        for pairs in [
            &[][..], &[("query", "")], &[("variables", "{}")], &[("query", VIEWER), ("query", VIEWER)],
            &[("query", VIEWER), ("variables", "{")], &[("query", VIEWER), ("variables", "[]")],
            &[("query", VIEWER), ("variables", "1")], &[("query", VIEWER), ("extensions", "\"x\"")],
        ] {
            assert_eq!(status_and_code(get(pairs).await).await, (400, "BAD_REQUEST".to_owned()), "{pairs:?}");
        }
    }

    async fn body_past_the_limit_is_refused(app) {
        let padding = "x".repeat(9 * 1024 * 1024);
        let body = json!({ "query": VIEWER, "variables": { "x": padding } }).to_string();
        let response = send(app, Method::POST, Some("application/json"), body).await;
        assert_eq!(status_and_code(response).await, (413, "PAYLOAD_TOO_LARGE".to_owned()));
    }

    async fn full_batch_with_every_label_is_below_the_limit(app) {
        let owner = app.owner();
        let labels: Value = (1..=10).map(|number| (format!("adv{number}"), json!("é".repeat(255)))).collect();
        let items: Vec<Value> = (0..1_000).map(|number| json!({
            "clickId": "clk_00000000000000000000000001", "goal": "sale", "orderId": number.to_string(), "labels": labels,
            "customerId": "é".repeat(255), "idempotencyKey": number.to_string(),
        })).collect();
        let payload = owner.done("recordConversions", json!({ "items": items }), "items { conversion { reason } }").await;
        assert_eq!(payload["items"][999]["conversion"]["reason"], "UNKNOWN_CLICK");
    }

    async fn mutation_by_get_is_refused_and_query_is_answered(app) {
        let get = async |query: &str, operation: Option<&str>| {
            let mut url = reqwest::Url::parse(&format!("{}/graphql", app.url)).expect("an address");
            url.query_pairs_mut().append_pair("query", query);
            if let Some(name) = operation {
                url.query_pairs_mut().append_pair("operationName", name);
            }
            let request = reqwest::Client::new().get(url).bearer_auth(app.owner().token.expect("a token"));
            request.send().await.expect("an answer")
        };
        assert_eq!(get(VIEWER, None).await.status(), 200);
        let pause = "mutation M { pauseCampaign(input: { id: \"cmp_00000000000000000000000001\" }) { replayed } }";
        let both = format!("query Q {VIEWER} {pause}");
        for (document, operation) in
            [(pause, None), (both.as_str(), Some("M")), ("subscription { conversions { cursor } }", None)]
        {
            let response = get(document, operation).await;
            assert_eq!(response.headers().get(header::ALLOW).map(|value| value.as_bytes()), Some(&b"POST"[..]));
            assert_eq!(status_and_code(response).await, (405, "METHOD_NOT_ALLOWED".to_owned()), "{document}");
        }
        assert_eq!(get(&both, Some("Q")).await.status(), 200);
    }

    async fn other_methods_and_addresses_are_refused_in_json(app) {
        for method in [Method::PUT, Method::PATCH, Method::DELETE] {
            let response = send(app, method.clone(), Some("application/json"), "{}").await;
            assert_eq!(response.headers()[header::ALLOW], "GET,HEAD,POST");
            assert_eq!(status_and_code(response).await, (405, "METHOD_NOT_ALLOWED".to_owned()), "{method}");
        }
        let response = reqwest::get(format!("{}/nothing", app.url)).await.expect("an answer");
        assert_eq!(status_and_code(response).await, (404, "NOT_FOUND".to_owned()));
    }

    async fn answer_s_status_and_type_follow_the_accept_header(app) {
        let ask = async |accept: &str, query: &str| {
            let request = reqwest::Client::new().post(format!("{}/graphql", app.url)).json(&json!({ "query": query }));
            let request = request.bearer_auth(app.owner().token.expect("a token")).header(header::ACCEPT, accept);
            let response = request.send().await.expect("an answer");
            let media_type = response.headers()[header::CONTENT_TYPE].to_str().expect("text").to_owned();
            let body: Value = response.json().await.map_err(|_| media_type.clone()).expect("JSON");
            (body.get("data").is_some(), media_type)
        };
        let status = async |accept: &str, query: &str| {
            let request = reqwest::Client::new().post(format!("{}/graphql", app.url)).json(&json!({ "query": query }));
            let request = request.bearer_auth(app.owner().token.expect("a token")).header(header::ACCEPT, accept);
            request.send().await.expect("an answer").status().as_u16()
        };
        let modern = "application/graphql-response+json";
        for (accept, query, expected, has_data, media_type) in [
            (modern, VIEWER, 200, true, modern),
            (modern, "{ nope }", 400, false, modern),
            (modern, "{", 400, false, modern),
            ("application/json", "{ nope }", 200, false, "application/json"),
            ("*/*", VIEWER, 200, true, "application/json"),
            ("application/graphql-response+json, application/json;q=0.9", "{ nope }", 400, false, modern),
            ("application/graphql-response+json;q=0.1, application/json", "{ nope }", 200, false, "application/json"),
            ("application/json, text/event-stream, multipart/mixed", VIEWER, 200, true, "application/json"),
        ] {
            assert_eq!(status(accept, query).await, expected, "{accept} {query}");
            let expected = (has_data, format!("{media_type}; charset=utf-8"));
            assert_eq!(ask(accept, query).await, expected, "{accept} {query}");
        }
    }

    async fn answer_in_no_type_that_is_taken_is_refused(app) {
        let ask = async |accept: &str, query: &str| {
            let request = reqwest::Client::new().post(format!("{}/graphql", app.url)).json(&json!({ "query": query }));
            let request = request.bearer_auth(app.owner().token.expect("a token")).header(header::ACCEPT, accept);
            status_and_code(request.send().await.expect("an answer")).await
        };
        let live = "subscription { conversions { cursor } }";
        for (accept, query) in [
            ("text/html", VIEWER), ("application/json;q=0", VIEWER), ("multipart/mixed", VIEWER),
            ("application/json", live), ("*/*", live), ("multipart/mixed, application/json", live),
        ] {
            assert_eq!(ask(accept, query).await, (406, "NOT_ACCEPTABLE".to_owned()), "{accept} {query}");
        }
    }

    async fn errors_name_their_request(app) {
        let ask = async |query: &str, token: Option<&str>| {
            let request = reqwest::Client::new().post(format!("{}/graphql", app.url)).json(&json!({ "query": query }));
            let request = request.header("x-request-id", "my-own.id_1").bearer_auth(token.unwrap_or_default());
            let response = request.send().await.expect("an answer");
            assert_eq!(response.headers()["x-request-id"], "my-own.id_1");
            response.json::<Value>().await.expect("JSON")["errors"][0]["extensions"]["requestId"].take()
        };
        let token = app.owner().token;
        assert_eq!(ask("{ nope }", token.as_deref()).await, "my-own.id_1");
        assert_eq!(ask("{ node(id: \"x\") { id } }", token.as_deref()).await, "my-own.id_1");
        assert_eq!(ask(VIEWER, Some("nonsense")).await, "my-own.id_1");
    }

    async fn answers_are_for_their_asker_alone_and_nothing_else(app) {
        for path in ["/graphql", "/graphql?query={__typename}", "/healthz", "/nothing"] {
            let response = reqwest::get(format!("{}{path}", app.url)).await.expect("an answer");
            for (name, value) in [
                ("cache-control", "no-store"), ("x-content-type-options", "nosniff"), ("x-frame-options", "DENY"),
                ("referrer-policy", "no-referrer"),
                ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
            ] {
                assert_eq!(response.headers()[name], value, "{path}");
            }
            assert!(!response.headers().contains_key("strict-transport-security"), "no TLS is known of");
        }
    }

    async fn large_answers_are_compressed_for_who_takes_it(app) {
        let query = json!({ "query": "{ __schema { types { name } } }" });
        let ask = async |coding: &str| {
            let request = reqwest::Client::new().post(format!("{}/graphql", app.url)).json(&query);
            request.header(header::ACCEPT_ENCODING, coding).send().await.expect("an answer")
        };
        assert_eq!(ask("gzip").await.headers()[header::CONTENT_ENCODING], "gzip");
        assert!(!ask("identity").await.headers().contains_key(header::CONTENT_ENCODING));
    }
}

fn in_development(tuning: &mut Tuning) {
    tuning.settings.mode = Some(Mode::Development);
}

on_both_tuned! { in_development =>
    async fn pages_of_known_origins_are_let_in(app) {
        let preflight = async |origin: &str| {
            let request = reqwest::Client::new().request(Method::OPTIONS, format!("{}/graphql", app.url));
            let request = request.header(header::ORIGIN, origin).header("access-control-request-method", "POST");
            let request = request.header("access-control-request-headers", "authorization,content-type,x-mine");
            request.send().await.expect("an answer")
        };
        for origin in [app.url.as_str(), "http://localhost:5173"] {
            let response = preflight(origin).await;
            let header = |name: &str| response.headers().get(name).map(|value| value.to_str().expect("text"));
            assert_eq!(response.status(), 200);
            assert_eq!(header("access-control-allow-origin"), Some(origin));
            assert_eq!(header("access-control-allow-headers"), Some("authorization,content-type,x-mine"));
            assert_eq!(header("access-control-max-age"), Some("7200"));
            assert_eq!(header("access-control-allow-credentials"), None, "tokens travel in headers");
        }
        assert!(!preflight("https://evil.test").await.headers().contains_key("access-control-allow-origin"));
        let request = reqwest::Client::new().post(format!("{}/graphql", app.url)).json(&json!({ "query": VIEWER }));
        let response = request.header(header::ORIGIN, "http://localhost:5173").send().await.expect("an answer");
        assert_eq!(response.headers()["access-control-allow-origin"], "http://localhost:5173");
        assert_eq!(response.headers()["access-control-expose-headers"], "x-request-id,retry-after");
        let vary: Vec<&str> = response.headers().get_all(header::VARY).iter().map(|value| value.to_str().expect("text")).collect();
        for name in ["origin", "accept", "authorization", "accept-encoding"] {
            assert!(vary.iter().any(|value| value.contains(name)), "{name} in {vary:?}");
        }
    }

    async fn people_are_shown_a_page(app) {
        let page = reqwest::Client::new().get(format!("{}/graphql", app.url)).header(header::ACCEPT, "text/html");
        let page = page.send().await.expect("an answer");
        let policy = page.headers()["content-security-policy"].to_str().expect("text").to_owned();
        assert!(policy.contains("https://esm.sh") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(page.text().await.expect("a page").contains("GraphiQL"));
    }
}

fn public(tuning: &mut Tuning) {
    tuning.settings.mode = Some(Mode::Production);
    tuning.settings.public_url = Some("https://api.example.test".to_owned());
}

on_both_tuned! { public =>
    async fn public_node_shows_no_page_and_asks_for_tls(app) {
        let request = reqwest::Client::new().get(format!("{}/graphql", app.url)).header(header::ACCEPT, "text/html, */*;q=0.8");
        let response = request.send().await.expect("an answer");
        assert_eq!(response.headers()["strict-transport-security"], "max-age=31536000");
        assert_eq!(status_and_code(response).await, (400, "BAD_REQUEST".to_owned()));
    }
}

/// The most memory that a node held, in bytes.
fn peak(node: &Node) -> u64 {
    node.peak_memory_kb().expect("a peak") * 1_024
}

/// The same, once it does not grow any more by itself.
async fn settled(node: &Node) -> u64 {
    let (mut last, mut still) = (peak(node), 0);
    while still < 10 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        let now = peak(node);
        still = if now == last { still + 1 } else { 0 };
        last = now;
    }
    last
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_body_is_refused_before_it_is_taken_in() {
    const SIZE: usize = 30 * 1_024 * 1_024;
    let world = World::new(Backend::Sqlite).await;
    let node = Node::start(&world.data).await;
    // What a node makes itself ready with, in the background, is not the bodies'.
    let owner = world.owner(&node);
    let programme = Programme::build(&owner, &Terms::default()).await;
    programme.click_with(&owner, json!({ "userAgent": "Mozilla/5.0 Firefox/143.0" })).await;
    let before = settled(&node).await;
    let send = async |body: reqwest::Body| {
        let request = reqwest::Client::new().post(format!("{}/graphql", node.url)).body(body);
        let response = request.header(header::CONTENT_TYPE, "application/json").send().await.expect("an answer");
        assert_eq!(status_and_code(response).await, (413, "PAYLOAD_TOO_LARGE".to_owned()));
    };
    // Its length is said.
    for _ in 0..10 {
        send(vec![b' '; SIZE].into()).await;
    }
    let grown = peak(&node) - before;
    assert!(grown < 4 * 1_024 * 1_024, "{grown} bytes for bodies that say their length");
    // It is only found: what was read until then is held, twice for a moment as it grows, and by the allocator for
    // some seconds, but no whole body is.
    const LONG: usize = 60 * 1_024 * 1_024;
    let chunks = || futures_util::stream::iter((0..LONG / 65_536).map(|_| Ok::<_, std::io::Error>(vec![b' '; 65_536])));
    for _ in 0..3 {
        send(reqwest::Body::wrap_stream(chunks())).await;
    }
    let grown = peak(&node) - before;
    assert!(grown < LONG as u64, "{grown} bytes for bodies of unknown length");
    node.stop().await;
    world.finish().await;
}
