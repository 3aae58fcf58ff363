//! Server-sent events as graphql-sse has them: one operation is one request, answered as a stream.

use std::time::Duration;

use chrono::TimeDelta;
use reqwest::{Method, RequestBuilder, header};
use serde_json::{Value, json};
use tributary_entity::kinds::Role;

use crate::support::{
    Backend, Client, Programme, Terms, TestApp,
    app::Tuning,
    node::Node,
    on_both, on_both_tuned,
    programme::sale,
    stream::{Event, Parts, open},
    world::World,
};

const EVENTS: &str = "text/event-stream";
const VIEWER: &str = "{ viewer { roles } }";
const LIVE: &str = "subscription { conversions { cursor conversion { orderId } } }";

fn post(url: &str, token: Option<&str>, document: &str) -> RequestBuilder {
    tributary::app::choose_tls();
    let request = reqwest::Client::new().post(format!("{url}/graphql")).json(&json!({ "query": document }));
    let request = request.header(header::ACCEPT, EVENTS);
    token.into_iter().fold(request, RequestBuilder::bearer_auth)
}

async fn events(request: RequestBuilder) -> Parts {
    Parts::of(open(request, EVENTS).await, "\n\n")
}

async fn of_owner(app: &TestApp, document: &str) -> Parts {
    events(post(&app.url, app.owner().token.as_deref(), document)).await
}

/// Whether the stream says `complete`, and then ends.
async fn is_complete(parts: &mut Parts) -> bool {
    let complete = parts.event().await.is_some_and(|event| event.name == "complete" && event.data.is_empty());
    complete && parts.event().await.is_none()
}

/// Records sales until the stream shows one; then one more, which it shows too.
async fn assert_shows_sales(client: &Client, click: &str, parts: &mut Parts) {
    let recording = async {
        loop {
            let order = uuid::Uuid::new_v4().to_string();
            client.done("recordConversion", sale(click, &order, "1.00"), "").await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        () = recording => {}
        event = parts.event() => {
            let payload = event.expect("an event").payload();
            assert!(payload["data"]["conversions"]["cursor"].is_string(), "{payload}");
        }
    }
    client.done("recordConversion", sale(click, "last", "1.00"), "").await;
    loop {
        let payload = parts.event().await.expect("an event").payload();
        if payload["data"]["conversions"]["conversion"]["orderId"] == "last" {
            return;
        }
    }
}

on_both! {
    async fn queries_and_mutations_are_one_event(app) {
        let mut parts = of_owner(app, VIEWER).await;
        assert_eq!(parts.event().await.expect("an event").payload(), json!({ "data": { "viewer": { "roles": ["OWNER"] } } }));
        assert!(is_complete(&mut parts).await);
        let pause = "mutation { pauseCampaign(input: { id: \"cmp_00000000000000000000000001\" }) { userErrors { code } } }";
        let mut parts = of_owner(app, pause).await;
        let payload = parts.event().await.expect("an event").payload();
        assert!(payload["data"]["pauseCampaign"]["userErrors"][0]["code"].is_string(), "{payload}");
        assert!(is_complete(&mut parts).await);
    }

    async fn refused_document_is_an_event_with_errors(app) {
        for document in ["{", "{ nope }"] {
            let mut parts = of_owner(app, document).await;
            let payload = parts.event().await.expect("an event").payload();
            assert_eq!(payload["errors"][0]["extensions"]["code"], "GRAPHQL_VALIDATION_FAILED", "{payload}");
            assert!(payload.get("data").is_none() && is_complete(&mut parts).await);
        }
    }

    async fn subscription_is_streamed(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        let mut by_post = of_owner(app, LIVE).await;
        assert_shows_sales(&owner, &click, &mut by_post).await;
    }

    async fn stream_goes_on_behind_its_last_event(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        let mut parts = of_owner(app, LIVE).await;
        let sell = async |order: &str| drop(owner.done("recordConversion", sale(&click, order, "1.00"), "").await);
        sell("first").await;
        let mut last = parts.event().await.expect("an event");
        let cursor = |event: &Event| event.payload()["data"]["conversions"]["cursor"].as_str().expect("a cursor").to_owned();
        assert_eq!(last.id.as_deref(), Some(cursor(&last).as_str()), "an event's id is its cursor");
        drop(parts);
        for round in 0..3 {
            let orders = [format!("{round}-a"), format!("{round}-b")];
            for order in &orders {
                sell(order).await;
            }
            let id = last.id.clone().expect("an id");
            let request = post(&app.url, owner.token.as_deref(), LIVE).header("last-event-id", id);
            let mut parts = events(request).await;
            for order in &orders {
                last = parts.event().await.expect("an event");
                assert_eq!(last.payload()["data"]["conversions"]["conversion"]["orderId"], order.as_str());
            }
        }
        let request = post(&app.url, owner.token.as_deref(), LIVE).header("last-event-id", "nonsense");
        let mut parts = events(request).await;
        let payload = parts.event().await.expect("an event").payload();
        assert_eq!(payload["errors"][0]["extensions"]["code"], "CURSOR_INVALID", "{payload}");
        assert!(is_complete(&mut parts).await);
    }

    async fn subscription_comes_by_get_as_browsers_ask(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        let mut url = reqwest::Url::parse(&format!("{}/graphql", app.url)).expect("an address");
        url.query_pairs_mut().append_pair("query", LIVE);
        let request = reqwest::Client::new().get(url).bearer_auth(owner.token.as_deref().expect("a token"));
        let mut parts = events(request.header(header::ACCEPT, EVENTS)).await;
        assert_shows_sales(&owner, &click, &mut parts).await;
    }

    async fn mutation_does_not_come_by_get(app) {
        let mut url = reqwest::Url::parse(&format!("{}/graphql", app.url)).expect("an address");
        url.query_pairs_mut().append_pair("query", "mutation { __typename }");
        let request = reqwest::Client::new().request(Method::GET, url).header(header::ACCEPT, EVENTS);
        assert_eq!(request.send().await.expect("an answer").status(), 405);
    }

    async fn bad_credential_is_a_status(app) {
        let response = post(&app.url, Some("nonsense"), LIVE).send().await.expect("an answer");
        assert_eq!(response.status(), 401);
        let body: Value = response.json().await.expect("JSON");
        assert_eq!(body["errors"][0]["extensions"]["code"], "UNAUTHENTICATED");
    }

    async fn stream_is_neither_kept_nor_held_back(app) {
        let request = post(&app.url, app.owner().token.as_deref(), LIVE).header(header::ACCEPT_ENCODING, "gzip");
        let response = open(request, EVENTS).await;
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        assert_eq!((header("cache-control"), header("x-accel-buffering")), (Some("no-store"), Some("no")));
        assert_eq!(header("content-encoding"), None);
    }

    async fn stream_ends_with_its_token(app) {
        let token = app.token(app.home, Role::Owner, None, 600);
        let mut parts = events(post(&app.url, Some(&token), LIVE)).await;
        app.clock.advance(TimeDelta::seconds(601));
        let payload = parts.event().await.expect("an event").payload();
        assert_eq!(payload["errors"][0]["extensions"]["code"], "TOKEN_EXPIRED", "{payload}");
        assert!(is_complete(&mut parts).await);
    }
}

fn tuned(tuning: &mut Tuning) {
    tuning.pace.heartbeat = Duration::from_millis(50);
    tuning.settings.sockets_per_user = 1;
}

on_both_tuned! { tuned =>
    async fn stream_says_that_it_lives(app) {
        let mut parts = of_owner(app, LIVE).await;
        for _ in 0..5 {
            assert_eq!(parts.part().await.as_deref(), Some(":"));
        }
    }

    async fn streams_of_a_user_are_bounded_with_the_sockets(app) {
        let held = of_owner(app, LIVE).await;
        let response = post(&app.url, app.owner().token.as_deref(), LIVE).send().await.expect("an answer");
        assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (429, &header::HeaderValue::from_static("10")));
        let body: Value = response.json().await.expect("JSON");
        assert_eq!(body["errors"][0]["extensions"]["code"], "CONNECTION_LIMIT");
        of_owner(app, VIEWER).await.event().await.expect("what does not stay is not bounded");
        drop(held);
        let again = async {
            while post(&app.url, app.owner().token.as_deref(), LIVE).send().await.expect("an answer").status() != 200 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), again).await.expect("its place is free again");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_of_a_node_that_ends_is_one_to_come_back_to() {
    let world = World::new(Backend::Sqlite).await;
    let node = Node::start(&world.data).await;
    let mut parts = events(post(&node.url, Some(&world.token), LIVE)).await;
    assert_eq!(parts.part().await.as_deref(), Some(":"));
    let stopping = tokio::spawn(node.stop());
    assert_eq!(parts.event().await, None, "an end without `complete`");
    stopping.await.expect("the node ends well");
    world.finish().await;
}
