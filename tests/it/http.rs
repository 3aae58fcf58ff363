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
};
use tributary_entity::kinds::Role;

use crate::support::{Client, TestApp, app::SECRET, on_both};

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
        ] {
            let response = send(app, Method::POST, media_type, body.clone()).await;
            let expected = (415, "UNSUPPORTED_MEDIA_TYPE".to_owned());
            assert_eq!(status_and_code(response).await, expected, "{media_type:?}");
        }
        for media_type in ["application/json", "application/json; charset=utf-8", "Application/JSON"] {
            assert_eq!(send(app, Method::POST, Some(media_type), body.clone()).await.status(), 200, "{media_type}");
        }
    }

    async fn body_that_is_no_request_is_refused(app) {
        let request = json!({ "query": VIEWER });
        for body in [
            String::new(), "{".to_owned(), "null".to_owned(), "1".to_owned(), "\"x\"".to_owned(), "{}".to_owned(),
            json!([request]).to_string(), json!([request, request]).to_string(), "[]".to_owned(),
            json!({ "query": 1 }).to_string(), json!({ "query": VIEWER, "variables": 1 }).to_string(),
        ] {
            let response = send(app, Method::POST, Some("application/json"), body.clone()).await;
            assert_eq!(status_and_code(response).await, (400, "BAD_REQUEST".to_owned()), "{body}");
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

    async fn other_methods_are_not_allowed(app) {
        for method in [Method::PUT, Method::PATCH, Method::DELETE] {
            let response = send(app, method.clone(), Some("application/json"), "{}").await;
            assert_eq!(response.status(), 405, "{method}");
        }
    }

    async fn answer_s_status_and_type_follow_the_accept_header(app) {
        let ask = async |accept: &str, query: &str| {
            let request = reqwest::Client::new().post(format!("{}/graphql", app.url)).json(&json!({ "query": query }));
            let request = request.bearer_auth(app.owner().token.expect("a token")).header(header::ACCEPT, accept);
            let response = request.send().await.expect("an answer");
            let media_type = response.headers()[header::CONTENT_TYPE].to_str().expect("text").to_owned();
            (response.status().as_u16(), media_type)
        };
        let modern = "application/graphql-response+json";
        assert_eq!(ask(modern, VIEWER).await, (200, modern.to_owned()));
        assert_eq!(ask(modern, "{ nope }").await, (400, modern.to_owned()));
        assert_eq!(ask(modern, "{").await, (400, modern.to_owned()));
        assert_eq!(ask("application/json", "{ nope }").await, (200, "application/json".to_owned()));
        assert_eq!(ask("*/*", VIEWER).await, (200, "application/json".to_owned()));
    }
}
