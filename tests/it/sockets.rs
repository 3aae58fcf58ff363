//! Open sockets over time: credentials that end and are renewed, caps, age, clients that do not read, nodes that end.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tributary_entity::kinds::Role;

use crate::support::{
    Backend, TestApp,
    app::{PASSWORD, Tuning},
    node::Node,
    on_both, on_both_tuned,
    programme::new_affiliate,
    socket::Socket,
    world::World,
};

const VIEWER: &str = "{ viewer { roles } }";
const LIVE: &str = "subscription { conversions { cursor } }";

fn bearer(token: &str) -> Value {
    json!({ "Authorization": format!("Bearer {token}") })
}

/// How a greeting with a token ends: `connection_ack`, or the code of the close.
async fn greeting(app: &TestApp, token: Option<&str>) -> Result<Socket, (u16, String)> {
    let mut socket = Socket::connect(&app.url).await;
    let payload = token.map_or(json!({}), bearer);
    socket.send(json!({ "type": "connection_init", "payload": payload })).await;
    acknowledged(&mut socket).await?;
    Ok(socket)
}

/// Waits for `connection_ack`; otherwise the code and reason of the close.
async fn acknowledged(socket: &mut Socket) -> Result<(), (u16, String)> {
    let message = socket.message_or_close().await.map_err(|closed| closed.expect("closed with a code"))?;
    assert_eq!(message["type"], "connection_ack");
    Ok(())
}

/// Connects until there is room.
async fn room(app: &TestApp, token: &str) -> Socket {
    let connecting = async {
        loop {
            match greeting(app, Some(token)).await {
                Ok(socket) => return socket,
                Err((1013, _)) => sleep(Duration::from_millis(20)).await,
                Err(other) => panic!("{other:?}"),
            }
        }
    };
    timeout(Duration::from_secs(15), connecting).await.expect("room within 15 s")
}

on_both! {
    async fn socket_ends_with_its_token(app) {
        let token = app.token(app.home, Role::Owner, None, 600);
        let mut idle = Socket::greeted(&app.url, Some(&token)).await;
        let mut live = Socket::open(&app.url, Some(&token), LIVE, json!({})).await;
        app.clock.advance(TimeDelta::seconds(590));
        assert_eq!(idle.ping(Value::Null).await, json!({ "type": "pong" }));
        app.clock.advance(TimeDelta::seconds(11));
        for socket in [&mut idle, &mut live] {
            assert_eq!(socket.closed().await, Some((4403, "token expired".to_owned())));
        }
    }

    async fn renewed_token_carries_the_socket_on(app) {
        let first = app.token(app.home, Role::Owner, None, 600);
        let mut socket = Socket::open(&app.url, Some(&first), LIVE, json!({})).await;
        let second = app.token(app.home, Role::Owner, None, 3_600);
        let pong = socket.ping(bearer(&second)).await;
        let expires_at = pong["payload"]["expiresAt"].as_str().expect("an instant").parse::<chrono::DateTime<chrono::Utc>>();
        let left = expires_at.expect("RFC 3339") - tributary::ambient::Clock::now(&app.clock);
        assert!((3_590..=3_600).contains(&left.num_seconds()), "{pong}");
        app.clock.advance(TimeDelta::seconds(700));
        assert_eq!(socket.ping(json!({ "token": app.token(app.home, Role::Owner, None, 7_200) })).await["payload"].get("error"), None);
        app.clock.advance(TimeDelta::seconds(3_600));
        socket.start("2", VIEWER).await;
        assert_eq!(socket.next().await["viewer"]["roles"], json!(["OWNER"]));
        app.clock.advance(TimeDelta::seconds(3_600));
        assert_eq!(socket.closed().await, Some((4403, "token expired".to_owned())));
    }

    async fn refused_renewal_leaves_what_was(app) {
        let affiliate = new_affiliate(&app.owner()).await.parse().expect("an id");
        let expired = app.token(app.home, Role::Owner, None, 1);
        app.clock.advance(TimeDelta::seconds(2));
        let token = app.token(app.home, Role::Owner, None, 600);
        let mut socket = Socket::open(&app.url, Some(&token), LIVE, json!({})).await;
        for (token, code) in [
            (app.token(app.away, Role::Owner, None, 3_600), "FORBIDDEN"),
            (app.token(app.home, Role::Affiliate, Some(affiliate), 3_600), "FORBIDDEN"),
            (expired, "TOKEN_EXPIRED"),
            ("nonsense".to_owned(), "UNAUTHENTICATED"),
        ] {
            assert_eq!(socket.ping(bearer(&token)).await["payload"]["error"]["code"], code);
        }
        socket.start("2", "{ tenant { slug } }").await;
        assert_eq!(socket.next().await["tenant"]["slug"], "home");
        app.clock.advance(TimeDelta::seconds(601));
        assert_eq!(socket.closed().await, Some((4403, "token expired".to_owned())));
    }

    async fn renewal_with_other_roles_changes_what_the_socket_may(app) {
        let mut socket = Socket::greeted(&app.url, app.owner().token.as_deref()).await;
        socket.start("live", LIVE).await;
        let analyst = app.token(app.home, Role::Analyst, None, 600);
        assert!(socket.ping(bearer(&analyst)).await["payload"]["expiresAt"].is_string());
        socket.start("1", "{ viewer { roles } users(first: 1) { totalCount } }").await;
        assert_eq!(socket.error_code().await, "FORBIDDEN");
    }

    async fn socket_without_a_credential_cannot_be_renewed(app) {
        let mut socket = Socket::greeted(&app.url, None).await;
        let pong = socket.ping(bearer(&app.owner().token.expect("a token"))).await;
        assert_eq!(pong["payload"]["error"]["code"], "UNAUTHENTICATED");
    }
}

fn narrow(tuning: &mut Tuning) {
    tuning.settings.sockets_per_user = 2;
    tuning.settings.sockets_per_tenant = 3;
    tuning.settings.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
}

on_both_tuned! { narrow =>
    async fn sockets_of_a_user_and_of_a_tenant_are_bounded(app) {
        let owner = app.owner().token.expect("a token");
        let user = new_user(app).await;
        let held = [greeting(app, Some(&owner)).await, greeting(app, Some(&owner)).await];
        assert!(held.iter().all(Result::is_ok));
        let (code, reason) = greeting(app, Some(&owner)).await.err().expect("refused");
        assert_eq!((code, reason.as_str()), (1013, "too many connections of this user"));
        let other = greeting(app, Some(&user)).await.expect("another user has room");
        let (code, reason) = greeting(app, Some(&user)).await.err().expect("refused");
        assert_eq!((code, reason.as_str()), (1013, "too many connections of this tenant"));
        // Another tenant is not touched, and what is given back can be taken again.
        let _away = greeting(app, app.stranger().token.as_deref()).await.expect("another tenant has room");
        drop(held);
        let _again = [room(app, &owner).await, room(app, &user).await];
        drop(other);
    }

    async fn sockets_without_a_credential_are_bounded_by_address(app) {
        let from = async |address: &str| {
            let mut socket = Socket::attempt(&app.url, &[("x-forwarded-for", address)]).await.expect("a socket");
            socket.send(json!({ "type": "connection_init" })).await;
            acknowledged(&mut socket).await.map(|()| socket)
        };
        let _held = [from("192.0.2.1").await.expect("room"), from("192.0.2.1").await.expect("room")];
        let refused = from("203.0.113.5, 192.0.2.1").await.err().expect("refused");
        assert_eq!(refused.0, 1013);
        from("192.0.2.2").await.expect("another address has room");
    }
}

/// The token of somebody who is not the operator.
async fn new_user(app: &TestApp) -> String {
    let login = json!({ "tenant": "home", "email": "owner@home.test", "password": PASSWORD });
    let payload = app.anonymous().done("login", login, "accessToken").await;
    payload["accessToken"].as_str().expect("a token").to_owned()
}

fn short_lived(tuning: &mut Tuning) {
    tuning.settings.connection_max_secs = 1;
}

on_both_tuned! { short_lived =>
    async fn old_socket_is_sent_away_to_come_back(app) {
        let token = app.owner().token;
        let mut socket = Socket::open(&app.url, token.as_deref(), LIVE, json!({})).await;
        let (code, reason) = socket.closed().await.expect("a code");
        assert_eq!((code, reason.as_str()), (1012, "this connection is old; connect again"));
        Socket::greeted(&app.url, token.as_deref()).await;
    }

    async fn subscription_that_begins_when_its_socket_has_to_leave_does_not_keep_it(app) {
        let token = app.owner().token;
        let mut socket = Socket::greeted(&app.url, token.as_deref()).await;
        let lock = app.auditor.begin().await;
        // Readers of the embedded database wait for nobody: there it begins before.
        if app.auditor.is_postgres() {
            let tables = "LOCK TABLE tenant, tenant_counter IN ACCESS EXCLUSIVE MODE";
            lock.execute_unprepared(tables).await.expect("locks");
        }
        socket.start("1", LIVE).await;
        sleep(Duration::from_millis(1_500)).await;
        lock.rollback().await.expect("unlocks");
        let closed = timeout(Duration::from_secs(5), socket.closed()).await.expect("it is sent away at once");
        assert_eq!(closed.expect("a code").0, 1012);
    }
}

fn impatient(tuning: &mut Tuning) {
    tuning.pace.stall = Duration::from_millis(500);
    tuning.settings.sockets_per_user = 2;
}

on_both_tuned! { impatient =>
    async fn client_that_does_not_read_is_let_go_and_others_are_not(app) {
        const LARGE: &str = "{ __schema { types { name description fields { name description args { name description } } } } }";
        let token = app.owner().token.expect("a token");
        let mut stalled = Socket::connect_narrow(&app.url).await;
        stalled.greet(Some(&token)).await;
        let mut other = Socket::greeted(&app.url, Some(&token)).await;
        // Until nothing more is taken from it: what it is answered is stuck, and it is no longer read.
        let flooding = async {
            for number in 0.. {
                let payload = json!({ "query": LARGE });
                let message = json!({ "id": number.to_string(), "type": "subscribe", "payload": payload });
                if !stalled.say(Message::text(message.to_string())).await {
                    return;
                }
                let began = Instant::now();
                other.start("1", VIEWER).await;
                assert_eq!(other.next().await["viewer"]["roles"], json!(["OWNER"]));
                assert_eq!(other.message().await["type"], "complete");
                assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
            }
        };
        timeout(Duration::from_secs(30), flooding).await.expect("the node hangs up");
        room(app, &token).await;
    }
}

/// Waits until a node says that it ends.
async fn until_draining(url: &str) {
    loop {
        let response = reqwest::get(format!("{url}/readyz")).await.expect("an answer");
        if response.status() == 503 {
            let body: Value = response.json().await.expect("JSON");
            assert_eq!((&body["ready"], &body["redirects"]), (&json!(false), &json!(false)), "{body}");
            assert_eq!((&body["missing"], &body["parts"]["node"]["state"]), (&json!(["node"]), &json!("draining")));
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

async fn node_that_ends_says_so_first(backend: Backend) {
    let world = World::new(backend).await;
    let node = Node::start_with(&world.data, &[("TRIBUTARY_DRAIN_NOTICE_SECS", "2")]).await;
    let url = node.url.clone();
    let owner = world.owner(&node);
    let mut idle = Socket::greeted(&url, owner.token.as_deref()).await;
    let mut live = owner.subscribe(LIVE, json!({})).await;

    let stopping = tokio::spawn(node.stop());
    timeout(Duration::from_secs(10), until_draining(&url)).await.expect("it says that it ends");
    // It still works, but takes nothing that would stay.
    assert_eq!(owner.data(VIEWER, json!({})).await["viewer"]["roles"], json!(["OWNER"]));
    assert_eq!(idle.ping(Value::Null).await, json!({ "type": "pong" }));
    let (status, body) = Socket::attempt(&url, &[]).await.err().expect("refused");
    assert_eq!((status, &body["errors"][0]["extensions"]["code"]), (503, &json!("DRAINING")));
    for socket in [&mut idle, &mut live] {
        assert_eq!(socket.closed().await, Some((1012, "the node ends; connect again".to_owned())));
    }
    stopping.await.expect("the node ends well");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_that_ends_says_so_first_sqlite() {
    node_that_ends_says_so_first(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_that_ends_says_so_first_postgres() {
    node_that_ends_says_so_first(Backend::Postgres).await;
}

async fn node_that_ends_answers_what_its_sockets_asked(backend: Backend) {
    // As many as are surely done in the ten seconds that a node takes to end, also where nothing is optimised.
    const LOG_INS: usize = 2;
    let world = World::new(backend).await;
    let node = Node::start(&world.data).await;
    let mut socket = Socket::greeted(&node.url, Some(&world.token)).await;
    socket.start("live", LIVE).await;
    // A password takes a node a while.
    let document = format!(
        "mutation {{ login(input: {{ tenant: \"home\", email: \"owner@home.test\", password: \"{PASSWORD}\" }}) {{ \
         accessToken userErrors {{ code }} }} }}"
    );
    for number in 0..LOG_INS {
        socket.start(&number.to_string(), &document).await;
    }
    socket.send(json!({ "type": "ping" })).await;
    let mut answers = 0;
    let mut count = |message: &Value| {
        if message["type"] == "next" {
            assert!(message["payload"]["data"]["login"]["accessToken"].is_string(), "{message}");
            answers += 1;
        }
    };
    // With the answer to the last word all that was said before is begun.
    loop {
        let message = socket.message().await;
        count(&message);
        if message["type"] == "pong" {
            break;
        }
    }
    let stopping = tokio::spawn(node.stop());
    let end = loop {
        match socket.message_or_close().await {
            Ok(message) => count(&message),
            Err(end) => break end,
        }
    };
    assert_eq!((answers, end.map(|(code, _)| code)), (LOG_INS, Some(1012)));
    stopping.await.expect("the node ends well");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_that_ends_answers_what_its_sockets_asked_sqlite() {
    node_that_ends_answers_what_its_sockets_asked(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_that_ends_answers_what_its_sockets_asked_postgres() {
    node_that_ends_answers_what_its_sockets_asked(Backend::Postgres).await;
}
