//! Requests that name their document by its hash, over every transport: automatic persisted queries, trusted documents.

use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tributary::config::Settings;

use crate::support::{Backend, Client, TestApp, app, on_both, socket::Socket};

const QUERY: &str = "{ viewer { roles } }";

fn hash(text: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(text.as_bytes()))
}

/// The `extensions` of a request for a hash.
fn named(hash: &str) -> Value {
    json!({ "persistedQuery": { "version": 1, "sha256Hash": hash } })
}

fn code(body: &Value) -> &str {
    body["errors"][0]["extensions"]["code"].as_str().unwrap_or("none")
}

/// By POST: the hash alone, or with the text.
async fn ask(client: &Client, hash: &str, text: Option<&str>) -> Value {
    let mut request = json!({ "extensions": named(hash) });
    if let Some(text) = text {
        request["query"] = json!(text);
    }
    client.ask(&request).await.1
}

async fn get(client: &Client, hash: &str, text: Option<&str>) -> Value {
    let mut url = reqwest::Url::parse(&format!("{}/graphql", client.url)).expect("an address");
    url.query_pairs_mut().append_pair("extensions", &named(hash).to_string());
    if let Some(text) = text {
        url.query_pairs_mut().append_pair("query", text);
    }
    let request = reqwest::Client::new().get(url).bearer_auth(client.token.as_deref().expect("a token"));
    request.send().await.expect("an answer").json().await.expect("JSON")
}

/// On a socket: the data, or the code.
async fn over_socket(client: &Client, payload: Value) -> Value {
    let mut socket = Socket::connect(&client.url).await;
    let token = client.token.as_deref().expect("a token");
    socket.send(json!({ "type": "connection_init", "payload": { "token": token } })).await;
    assert_eq!(socket.message().await["type"], "connection_ack");
    socket.send(json!({ "id": "1", "type": "subscribe", "payload": payload })).await;
    socket.message().await["payload"].take()
}

on_both! {
    async fn document_is_kept_by_its_hash(app) {
        let owner = app.owner();
        let hash = hash(QUERY);
        let missing = ask(&owner, &hash, None).await;
        assert_eq!((code(&missing), &missing["errors"][0]["message"]), ("PERSISTED_QUERY_NOT_FOUND", &json!("PersistedQueryNotFound")));
        assert!(ask(&owner, &hash, Some(QUERY)).await["data"]["viewer"].is_object());
        assert!(ask(&owner, &hash, None).await["data"]["viewer"].is_object());
        assert!(ask(&owner, &hash.to_uppercase(), None).await["data"]["viewer"].is_object());
        assert!(get(&owner, &hash, None).await["data"]["viewer"].is_object(), "by GET");
        let answer = over_socket(&owner, json!({ "extensions": named(&hash) })).await;
        assert!(answer["data"]["viewer"].is_object(), "on a socket: {answer}");
    }

    async fn document_can_be_kept_by_get_and_on_a_socket(app) {
        let owner = app.owner();
        let [one, two] = ["{ viewer { roles } __typename }", "{ __typename viewer { roles } }"];
        assert!(get(&owner, &hash(one), Some(one)).await["data"]["viewer"].is_object());
        assert!(ask(&owner, &hash(one), None).await["data"]["viewer"].is_object());
        over_socket(&owner, json!({ "query": two, "extensions": named(&hash(two)) })).await;
        assert!(ask(&owner, &hash(two), None).await["data"]["viewer"].is_object());
    }

    async fn documents_of_others_are_not_found(app) {
        let (owner, hash) = (app.owner(), hash(QUERY));
        assert!(ask(&owner, &hash, Some(QUERY)).await["data"].is_object());
        assert_eq!(code(&ask(&app.stranger(), &hash, None).await), "PERSISTED_QUERY_NOT_FOUND");
        assert_eq!(code(&ask(&app.anonymous(), &hash, None).await), "PERSISTED_QUERY_NOT_FOUND");
        assert_eq!(code(&ask(&app.anonymous(), &hash, Some(QUERY)).await), "UNAUTHENTICATED");
        assert_eq!(code(&ask(&app.anonymous(), &hash, None).await), "UNAUTHENTICATED", "found, and executed");
    }

    async fn hash_and_text_have_to_agree(app) {
        let owner = app.owner();
        assert_eq!(code(&ask(&owner, &hash("{ __typename }"), Some(QUERY)).await), "BAD_REQUEST");
        assert_eq!(code(&ask(&owner, &hash("{ __typename }"), None).await), "PERSISTED_QUERY_NOT_FOUND");
        for extensions in [
            json!({ "persistedQuery": 1 }), json!({ "persistedQuery": { "version": 1 } }), named("abc"),
            json!({ "persistedQuery": { "version": 2, "sha256Hash": hash(QUERY) } }),
        ] {
            let (_, body) = owner.ask(&json!({ "query": QUERY, "extensions": extensions })).await;
            assert_eq!(code(&body), "BAD_REQUEST", "{extensions}: {body}");
        }
    }

    async fn refused_documents_are_not_kept(app) {
        let owner = app.owner();
        for text in ["{".to_owned(), "{ viewer { roles } }".repeat(5_000)] {
            assert_ne!(code(&ask(&owner, &hash(&text), Some(&text)).await), "none");
            assert_eq!(code(&ask(&owner, &hash(&text), None).await), "PERSISTED_QUERY_NOT_FOUND");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn document_that_one_node_keeps_another_finds() {
    use tributary::{
        redis_client::RedisClient,
        services::documents::{DocumentHash, Documents},
    };
    let url = crate::support::database::new_redis().await;
    let node = || Documents::new(Some(RedisClient::new(&url).expect("an address")), None);
    let tenant = Some(tributary_entity::ids::TenantId::from_uuid(uuid::Uuid::new_v4()));
    let hash = DocumentHash::of(QUERY);
    node().keep(tenant, hash.clone(), QUERY).await;
    assert_eq!(node().find(tenant, &hash).await.as_deref(), Some(QUERY));
    assert_eq!(node().find(None, &hash).await, None);
}

/// Runs a body with one trusted document, under a name of its own and thus under its hash.
async fn with_trusted(body: impl AsyncFnOnce(&TestApp, Client)) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("documents.json");
    std::fs::write(&file, json!({ "relay-id-1": QUERY }).to_string()).expect("written");
    let set = |settings: &mut Settings| settings.trusted_documents = Some(file);
    app::run_with(Backend::Sqlite, set, async |app| {
        let key = app.owner().done("createApiKey", json!({ "name": "shop", "scopes": ["READ"] }), "secret").await;
        let key = Client::new(&app.url, Some(key["secret"].as_str().expect("a key").to_owned()));
        body(app, key).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_trusted_documents_are_executed() {
    with_trusted(async |app, key| {
        for id in ["relay-id-1", &hash(QUERY)] {
            assert!(ask(&key, id, None).await["data"]["viewer"].is_object(), "{id}");
            assert!(get(&key, id, None).await["data"]["viewer"].is_object(), "{id}");
            assert!(over_socket(&key, json!({ "extensions": named(id) })).await["data"]["viewer"].is_object(), "{id}");
        }
        assert!(key.data(QUERY, json!({})).await["viewer"].is_object(), "the same text");
        let other = "{ __typename }";
        assert_eq!(key.error_code(other, json!({})).await, "DOCUMENT_NOT_TRUSTED");
        assert_eq!(
            code(&ask(&key, &hash(other), Some(other)).await),
            "DOCUMENT_NOT_TRUSTED",
            "nothing is kept for clients"
        );
        assert_eq!(code(&ask(&key, &hash(other), None).await), "DOCUMENT_NOT_TRUSTED");
        let answer = over_socket(&key, json!({ "query": other })).await;
        assert_eq!(answer[0]["extensions"]["code"], "DOCUMENT_NOT_TRUSTED", "{answer}");
        assert_eq!(app.anonymous().error_code(other, json!({})).await, "DOCUMENT_NOT_TRUSTED");
        assert_eq!(app.owner().data(other, json!({})).await["__typename"], "Query", "operators may");
    })
    .await;
}
