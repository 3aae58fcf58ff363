//! Subscriptions over multipart as Apollo's clients speak it.

use std::time::Duration;

use chrono::TimeDelta;
use reqwest::{RequestBuilder, header};
use serde_json::{Value, json};
use tributary_entity::kinds::Role;

use crate::support::{
    Backend, Programme, Terms,
    app::Tuning,
    node::Node,
    on_both, on_both_tuned,
    programme::sale,
    stream::{Parts, open},
    world::World,
};

const ACCEPT: &str = "multipart/mixed;boundary=\"graphql\";subscriptionSpec=1.0,application/json";
const LIVE: &str = "subscription { conversions { cursor } }";

fn post(url: &str, token: Option<&str>, document: &str) -> RequestBuilder {
    tributary::app::choose_tls();
    let request = reqwest::Client::new().post(format!("{url}/graphql")).json(&json!({ "query": document }));
    let request = request.header(header::ACCEPT, ACCEPT);
    token.into_iter().fold(request, RequestBuilder::bearer_auth)
}

async fn stream(request: RequestBuilder) -> Parts {
    let mut parts = Parts::of(open(request, "multipart/mixed").await, "\r\n--graphql");
    assert_eq!(parts.content_type, "multipart/mixed;boundary=\"graphql\";subscriptionSpec=1.0");
    assert_eq!(parts.part().await.as_deref(), Some(""), "it begins with a boundary");
    assert_eq!(json_of(parts.part().await), json!({}));
    parts
}

/// The body of a part.
fn json_of(part: Option<String>) -> Value {
    let part = part.expect("a part");
    let (head, body) = part.split_once("\r\n\r\n").expect("a head and a body");
    assert_eq!(head, "\r\ncontent-type: application/json");
    serde_json::from_str(body).expect("JSON")
}

/// The next part that is no heartbeat.
async fn next(parts: &mut Parts) -> Value {
    loop {
        let body = json_of(parts.part().await);
        if body != json!({}) {
            return body;
        }
    }
}

async fn is_at_end(parts: &mut Parts) -> bool {
    parts.part().await.is_none() && parts.rest() == "--\r\n"
}

on_both! {
    async fn subscription_is_streamed(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        let mut parts = stream(post(&app.url, owner.token.as_deref(), LIVE)).await;
        let recording = async {
            loop {
                let order = uuid::Uuid::new_v4().to_string();
                owner.done("recordConversion", sale(&click, &order, "1.00"), "").await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            () = recording => {}
            body = next(&mut parts) => {
                assert!(body["payload"]["data"]["conversions"]["cursor"].is_string(), "{body}");
            }
        }
    }

    async fn queries_and_refusals_are_answered_whole(app) {
        for (document, status) in [("{ viewer { roles } }", 200), ("{ nope }", 200), ("subscription {", 200)] {
            let response = post(&app.url, app.owner().token.as_deref(), document).send().await.expect("an answer");
            assert_eq!(response.status(), status);
            assert_eq!(response.headers()["content-type"], "application/json; charset=utf-8", "{document}");
        }
    }

    async fn stream_ends_with_its_token(app) {
        let token = app.token(app.home, Role::Owner, None, 600);
        let mut parts = stream(post(&app.url, Some(&token), LIVE)).await;
        app.clock.advance(TimeDelta::seconds(601));
        let body = next(&mut parts).await;
        assert_eq!((&body["payload"], &body["errors"][0]["extensions"]["code"]), (&Value::Null, &json!("TOKEN_EXPIRED")));
        assert!(is_at_end(&mut parts).await);
    }
}

fn hurried(tuning: &mut Tuning) {
    tuning.pace.heartbeat = Duration::from_millis(50);
}

on_both_tuned! { hurried =>
    async fn stream_says_that_it_lives(app) {
        let mut parts = stream(post(&app.url, app.owner().token.as_deref(), LIVE)).await;
        for _ in 0..5 {
            assert_eq!(json_of(parts.part().await), json!({}));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_of_a_node_that_ends_says_why_and_closes() {
    let world = World::new(Backend::Sqlite).await;
    let node = Node::start(&world.data).await;
    let mut parts = stream(post(&node.url, Some(&world.token), LIVE)).await;
    let stopping = tokio::spawn(node.stop());
    let body = next(&mut parts).await;
    assert_eq!((&body["payload"], &body["errors"][0]["extensions"]["code"]), (&Value::Null, &json!("DRAINING")));
    assert!(is_at_end(&mut parts).await);
    stopping.await.expect("the node ends well");
    world.finish().await;
}
