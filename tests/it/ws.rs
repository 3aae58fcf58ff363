//! graphql-transport-ws, message by message: what a socket answers, and the code that it is closed with when a client
//! does not keep to the protocol.

use std::time::Duration;

use reqwest::header;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};
use tributary::config::Mode;
use tributary_entity::kinds::Role;

use crate::support::{
    app::{PASSWORD, Tuning},
    on_both, on_both_tuned,
    socket::Socket,
};

const VIEWER: &str = "{ viewer { roles } }";
const LIVE: &str = "subscription { conversions { cursor } }";
/// How long nothing has to come for it to be nothing.
const QUIET: Duration = Duration::from_millis(300);

fn text(message: &Value) -> Message {
    Message::text(message.to_string())
}

fn subscribe(id: &str, payload: &Value) -> Message {
    text(&json!({ "id": id, "type": "subscribe", "payload": payload }))
}

/// What a client says after it is connected, and the end that it meets. The reason is found in the close frame's.
struct Case {
    says: Vec<Message>,
    code: u16,
    reason: &'static str,
}

fn case(says: impl IntoIterator<Item = Message>, code: u16, reason: &'static str) -> Case {
    Case { says: says.into_iter().collect(), code, reason }
}

/// Ends before a greeting is accepted.
fn ungreeted() -> Vec<Case> {
    let init = |payload: Value| text(&json!({ "type": "connection_init", "payload": payload }));
    vec![
        case([Message::text("nonsense")], 4400, "JSON object"),
        case([Message::text("{")], 4400, "EOF"),
        case([Message::text("[]")], 4400, "JSON object"),
        case([Message::text(r#"["ping"]"#)], 4400, "JSON object"),
        case([text(&json!("ping"))], 4400, "JSON object"),
        case([text(&json!({}))], 4400, "type"),
        case([text(&json!({ "type": 1 }))], 4400, "invalid type"),
        case([text(&json!({ "type": "connection_ack" }))], 4400, "connection_ack"),
        case([text(&json!({ "type": "start", "id": "1" }))], 4400, "start"),
        case([text(&json!({ "type": "ping", "payload": 1 }))], 4400, "JSON object"),
        case([Message::binary(b"{\"type\":\"ping\"}".to_vec())], 4400, "text"),
        case([init(json!("a token"))], 4400, "JSON object"),
        case([init(json!({ "token": "x".repeat(9_000) }))], 4400, "too large"),
        case([subscribe("1", &json!({ "query": VIEWER }))], 4401, "Unauthorized"),
        case([init(json!({ "token": "nonsense" }))], 4403, "invalid credential"),
        case([init(json!({ "Authorization": "Basic x" }))], 4403, "invalid credential"),
        case([Message::text(format!("\"{}\"", "x".repeat(70_000)))], 1009, "64 kB"),
        case([Message::Frame(Frame::message(vec![0xff, 0xfe], OpCode::Data(Data::Text), true))], 1007, "UTF-8"),
        case([Message::Frame(Frame::ping(vec![0; 200]))], 1002, ""),
    ]
}

/// Ends of a socket that is open.
fn greeted() -> Vec<Case> {
    let query = json!({ "query": VIEWER });
    let live = json!({ "query": LIVE });
    let without = |name: &str| {
        let mut message = json!({ "id": "1", "type": "subscribe", "payload": query });
        message.as_object_mut().expect("an object").remove(name);
        text(&message)
    };
    vec![
        case([text(&json!({ "type": "connection_init" }))], 4429, "Too many"),
        case([without("id")], 4400, "`id`"),
        case([without("payload")], 4400, "`payload`"),
        case([subscribe("", &query)], 4400, "`id`"),
        case([text(&json!({ "id": 1, "type": "subscribe", "payload": query }))], 4400, "invalid type"),
        case([subscribe("1", &Value::Null)], 4400, "`payload`"),
        case([subscribe("1", &json!([query]))], 4400, "JSON object"),
        case([subscribe("1", &json!({}))], 4400, "`query`"),
        case([subscribe("1", &json!({ "query": "" }))], 4400, "`query`"),
        case([subscribe("1", &json!({ "query": 1 }))], 4400, "invalid type"),
        case([subscribe("1", &json!({ "query": VIEWER, "variables": "x" }))], 4400, "invalid type"),
        case([subscribe("1", &json!({ "query": VIEWER, "variables": [] }))], 4400, "invalid type"),
        case([subscribe("1", &json!({ "query": VIEWER, "operationName": {} }))], 4400, "invalid type"),
        case([subscribe("1", &json!({ "query": VIEWER, "extensions": 1 }))], 4400, "invalid type"),
        case([text(&json!({ "type": "complete" }))], 4400, "`id`"),
        case([Message::binary(vec![1])], 4400, "text"),
        case([subscribe("a\"b", &live), subscribe("a\"b", &live)], 4409, "already exists"),
        case((0..51).map(|number| subscribe(&number.to_string(), &live)), 1013, "too many operations"),
        case([subscribe("1", &json!({ "query": "x".repeat(70_000) }))], 1009, "64 kB"),
    ]
}

async fn assert_ends(socket: &mut Socket, case: Case) {
    let said = format!("{:.200}", format!("{:?}", case.says));
    for message in case.says {
        // A large message may not be taken to its end.
        socket.say(message).await;
    }
    let (code, reason) = socket.closed().await.unwrap_or_else(|| panic!("{said} is closed with a code"));
    assert!(code == case.code && reason.contains(case.reason), "{said}: {code} {reason}");
}

on_both! {
    async fn client_that_breaks_the_protocol_is_told_how(app) {
        let token = app.owner().token;
        for case in ungreeted() {
            assert_ends(&mut Socket::connect(&app.url).await, case).await;
        }
        for case in greeted() {
            assert_ends(&mut Socket::greeted(&app.url, token.as_deref()).await, case).await;
        }
    }

    async fn credential_that_is_worth_nothing_is_refused(app) {
        let short = app.token(app.home, Role::Owner, None, 60);
        app.clock.advance(chrono::TimeDelta::seconds(61));
        let mut socket = Socket::connect(&app.url).await;
        socket.send(json!({ "type": "connection_init", "payload": { "token": short } })).await;
        assert_eq!(socket.closed().await, Some((4403, "token expired".to_owned())));
    }

    async fn credential_comes_in_the_greeting_or_with_the_upgrade(app) {
        let bearer = format!("Bearer {}", app.owner().token.expect("a token"));
        let token = app.owner().token.expect("a token");
        for payload in [json!({ "Authorization": bearer }), json!({ "authorization": bearer }), json!({ "token": token })] {
            let mut socket = Socket::connect(&app.url).await;
            socket.send(json!({ "type": "connection_init", "payload": payload })).await;
            assert_eq!(socket.message().await["type"], "connection_ack");
            socket.start("1", VIEWER).await;
            assert_eq!(socket.next().await["viewer"]["roles"], json!(["OWNER"]));
        }
        let mut socket = Socket::attempt(&app.url, &[("authorization", &bearer)]).await.expect("a socket");
        socket.greet(None).await;
        socket.start("1", VIEWER).await;
        assert_eq!(socket.next().await["viewer"]["roles"], json!(["OWNER"]));
    }

    async fn queries_and_mutations_are_answered_and_completed(app) {
        let mut socket = Socket::greeted(&app.url, app.owner().token.as_deref()).await;
        let login = format!(
            "mutation {{ login(input: {{ tenant: \"home\", email: \"owner@home.test\", password: \"{PASSWORD}\" }}) {{ \
             accessToken userErrors {{ code }} }} }}"
        );
        for (id, document, name) in [("q", VIEWER, "viewer"), ("m", login.as_str(), "login"), ("q", VIEWER, "viewer")] {
            socket.start(id, document).await;
            let answer = socket.message().await;
            assert_eq!((&answer["type"], &answer["id"]), (&json!("next"), &json!(id)));
            assert!(answer["payload"]["data"][name].is_object(), "{answer}");
            assert_eq!(socket.message().await, json!({ "id": id, "type": "complete" }));
        }
    }

    async fn variables_and_operation_name_are_used(app) {
        let mut socket = Socket::greeted(&app.url, app.owner().token.as_deref()).await;
        let query = "query A($name: String!) { __type(name: $name) { name } } query B { __typename }";
        let payload = json!({
            "query": query, "operationName": "A", "variables": { "name": "Money" }, "extensions": { "some": 1 },
        });
        socket.say(subscribe("1", &payload)).await;
        assert_eq!(socket.next().await["__type"]["name"], "Money");
    }

    async fn refused_document_is_one_error_and_its_id_is_free_again(app) {
        let mut socket = Socket::greeted(&app.url, app.owner().token.as_deref()).await;
        for (document, code) in [
            ("{", "GRAPHQL_VALIDATION_FAILED"),
            ("{ nope }", "GRAPHQL_VALIDATION_FAILED"),
            ("subscription { nope }", "GRAPHQL_VALIDATION_FAILED"),
            (
                "subscription { one: conversions { cursor } two: conversions { cursor } }",
                "GRAPHQL_VALIDATION_FAILED",
            ),
            ("subscription { conversions(after: \"x\") { cursor } }", "CURSOR_INVALID"),
        ] {
            socket.start("1", document).await;
            let error = socket.message().await;
            assert_eq!((&error["type"], &error["id"]), (&json!("error"), &json!("1")), "{document}: {error}");
            let extensions = &error["payload"][0]["extensions"];
            assert_eq!(extensions["code"], code, "{document}");
            assert!(extensions["requestId"].is_string(), "{document}");
        }
        assert!(socket.is_silent(QUIET).await, "nothing follows an error");
    }

    async fn completed_subscription_is_silent_and_its_id_is_free_again(app) {
        let mut socket = Socket::greeted(&app.url, app.owner().token.as_deref()).await;
        for _ in 0..3 {
            socket.start("1", LIVE).await;
            socket.send(json!({ "id": "1", "type": "complete" })).await;
        }
        socket.send(json!({ "id": "nobody's", "type": "complete" })).await;
        assert!(socket.is_silent(QUIET).await);
        socket.start("1", VIEWER).await;
        assert_eq!(socket.next().await["viewer"]["roles"], json!(["OWNER"]));
    }

    async fn plain_ping_gets_a_plain_pong(app) {
        let mut socket = Socket::connect(&app.url).await;
        assert_eq!(socket.ping(Value::Null).await, json!({ "type": "pong" }));
        socket.greet(app.owner().token.as_deref()).await;
        assert_eq!(socket.ping(json!({ "some": 1 })).await, json!({ "type": "pong" }));
        socket.send(json!({ "type": "pong", "payload": {} })).await;
        assert_eq!(socket.ping(Value::Null).await, json!({ "type": "pong" }));
    }

    async fn another_sub_protocol_is_refused(app) {
        for protocol in ["", "graphql-ws", "soap, wamp"] {
            let (status, body) =
                Socket::attempt(&app.url, &[("sec-websocket-protocol", protocol)]).await.err().expect("refused");
            assert_eq!((status, &body["errors"][0]["extensions"]["code"]), (400, &json!("BAD_REQUEST")), "{protocol}");
        }
        let both = [("sec-websocket-protocol", "graphql-ws, graphql-transport-ws")];
        Socket::attempt(&app.url, &both).await.expect("a socket").greet(None).await;
    }

    async fn upgrade_that_is_none_is_refused_in_json(app) {
        let request = reqwest::Client::new().get(format!("{}/graphql", app.url)).header(header::UPGRADE, "websocket");
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 400);
        let body: Value = response.json().await.expect("JSON");
        assert_eq!(body["errors"][0]["extensions"]["code"], "BAD_REQUEST");
    }
}

fn in_development(tuning: &mut Tuning) {
    tuning.settings.mode = Some(Mode::Development);
}

on_both_tuned! { in_development =>
    async fn pages_of_foreign_origins_may_not_connect(app) {
        let own = app.url.clone();
        for origin in ["", &own, "http://localhost:3000", "https://[::1]:8443", "http://127.0.0.1"] {
            Socket::attempt(&app.url, &[("origin", origin)]).await.expect("a socket");
        }
        for origin in ["https://evil.test", "null", "http://localhost.evil.test", "http://evil.test:80"] {
            let (status, body) = Socket::attempt(&app.url, &[("origin", origin)]).await.err().expect("refused");
            let code = &body["errors"][0]["extensions"]["code"];
            assert_eq!((status, code), (403, &json!("ORIGIN_NOT_ALLOWED")), "{origin}");
        }
    }
}

fn in_production(tuning: &mut Tuning) {
    tuning.settings.mode = Some(Mode::Production);
    tuning.settings.allowed_origins = vec!["https://app.example.test".to_owned()];
    tuning.settings.public_url = Some("https://api.example.test/".to_owned());
}

on_both_tuned! { in_production =>
    async fn origins_are_those_of_the_settings(app) {
        for origin in ["https://app.example.test", "https://api.example.test", &app.url] {
            Socket::attempt(&app.url, &[("origin", origin)]).await.expect("a socket");
        }
        for origin in ["http://localhost:3000", "http://app.example.test", "https://app.example.test.evil.test"] {
            let (status, _) = Socket::attempt(&app.url, &[("origin", origin)]).await.err().expect("refused");
            assert_eq!(status, 403, "{origin}");
        }
    }
}

fn impatient(tuning: &mut Tuning) {
    tuning.pace.greeting = Duration::from_millis(300);
    tuning.pace.ping = Duration::from_millis(200);
    tuning.settings.sockets_per_user = 1;
}

on_both_tuned! { impatient =>
    async fn socket_that_does_not_greet_in_time_is_closed(app) {
        let mut socket = Socket::connect(&app.url).await;
        let (code, _) = socket.closed().await.expect("a code");
        assert_eq!(code, 4408);
        // A word is no greeting.
        let mut socket = Socket::connect(&app.url).await;
        socket.send(json!({ "type": "ping" })).await;
        assert_eq!(socket.close_code().await, Some(4408));
    }

    async fn idle_client_that_only_answers_pings_stays(app) {
        let mut socket = Socket::greeted(&app.url, app.owner().token.as_deref()).await;
        assert!(socket.is_silent_after_pings(10).await, "ten pings are answered, and nothing else is said");
        socket.start("1", VIEWER).await;
        assert_eq!(socket.next().await["viewer"]["roles"], json!(["OWNER"]));
    }

    async fn client_that_answers_nothing_is_let_go(app) {
        // It is not read from, so that nobody answers for it.
        let _mute = Socket::greeted(&app.url, app.owner().token.as_deref()).await;
        let waiting = async {
            loop {
                let mut socket = Socket::connect(&app.url).await;
                socket.send(json!({ "type": "connection_init", "payload": { "token": app.owner().token } })).await;
                match socket.try_message().await {
                    Some(message) => return assert_eq!(message["type"], "connection_ack"),
                    // There is room for one.
                    None => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), waiting).await.expect("its place is free again");
    }
}
