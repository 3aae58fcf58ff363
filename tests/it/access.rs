//! Revocation: what ends, or changes, reaches requests and connections on every node within two seconds, and nobody else.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use tributary::{
    ambient::Clock,
    auth::Viewer,
    services::{
        access::{Standing, Verdict},
        tenants,
    },
};
use tributary_entity::kinds::{Role, TenantStatus};

use crate::support::{
    Backend, Client, TestApp,
    app::{self, PASSWORD, Running},
    on_both,
    programme::{id, new_affiliate},
    socket::Socket,
    world::Redis,
};

/// The promise.
const WITHIN: Duration = Duration::from_secs(2);
const WHO: &str = "{ viewer { roles } }";

/// A credential, presented at a node, with a connection that stands on it.
struct Holder {
    client: Client,
    standing: Standing,
    /// Subscribed to what everybody here may watch, and nothing happens to.
    socket: Socket,
}

impl Holder {
    async fn at(node: &Running, credential: &str) -> Self {
        let client = Client::new(&node.url, Some(credential.to_owned()));
        assert_eq!(client.send(WHO, json!({})).await.0, 200);
        let access = &node.services.access;
        let viewer = access.authenticate(Some(&format!("Bearer {credential}"))).await;
        let viewer = viewer.expect("good").expect("somebody");
        let mut socket = Socket::greeted(&node.url, Some(credential)).await;
        socket.start("live", "subscription { conversions { cursor } }").await;
        Self { client, standing: access.watch(&viewer), socket }
    }

    /// Waits until a request is refused, then for the connection's verdict.
    async fn assert_revoked(&mut self, what: &str) {
        let began = Instant::now();
        loop {
            let (status, body) = self.client.send(WHO, json!({})).await;
            if status == 401 {
                assert_eq!(body["errors"][0]["extensions"]["code"], "UNAUTHENTICATED", "{what}");
                break;
            }
            assert!(began.elapsed() < WITHIN, "{what}: a request is still let in: {status} {body}");
        }
        let verdict = timeout(WITHIN.saturating_sub(began.elapsed()), self.standing.changed()).await;
        assert!(matches!(verdict, Ok(Verdict::Revoked)), "{what}: {verdict:?} after {:?}", began.elapsed());
        assert!(matches!(self.standing.changed().await, Verdict::Revoked), "{what}: once and for all");
        let closed = timeout(WITHIN.saturating_sub(began.elapsed()), self.socket.closed()).await;
        let revoked = Ok(Some((4403, "credential revoked".to_owned())));
        assert_eq!(closed, revoked, "{what}: after {:?}", began.elapsed());
    }

    async fn assert_undisturbed(&mut self, what: &str) {
        assert_eq!(self.client.send(WHO, json!({})).await.0, 200, "{what}");
        let verdict = timeout(Duration::ZERO, self.standing.changed()).await;
        assert!(verdict.is_err(), "{what}: {verdict:?}");
        assert_eq!(self.socket.ping(json!({})).await["type"], "pong", "{what}");
    }
}

/// Logs in; access and refresh token.
async fn login(app: &TestApp, tenant: &str, email: &str) -> (String, String) {
    let input = json!({ "tenant": tenant, "email": email, "password": PASSWORD });
    let tokens = app.anonymous().done("login", input, "accessToken refreshToken").await;
    let text = |name: &str| tokens[name].as_str().expect("a token").to_owned();
    (text("accessToken"), text("refreshToken"))
}

async fn user(app: &TestApp, email: &str, role: &str) -> String {
    let input = json!({ "email": email, "name": "Somebody", "password": PASSWORD, "roles": [role] });
    id(&app.owner().done("createUser", input, "user { id }").await, "user")
}

/// An API key: its id and its text.
async fn api_key(owner: &Client) -> (String, String) {
    let made = owner.done("createApiKey", json!({ "name": "shop", "scopes": ["READ"] }), "secret apiKey { id }").await;
    (id(&made, "apiKey"), made["secret"].as_str().expect("a secret").to_owned())
}

/// Who has an account with an affiliate: the affiliate's id.
async fn affiliate_user(app: &TestApp, email: &str) -> String {
    let affiliate = new_affiliate(&app.owner()).await;
    let input = json!({ "email": email, "name": "Ada", "password": PASSWORD, "roles": ["AFFILIATE"],
        "affiliateId": affiliate });
    app.owner().done("createUser", input, "").await;
    affiliate
}

/// Everybody whom a revocation of somebody else must not disturb.
async fn bystanders(app: &TestApp, node: &Running) -> Vec<(&'static str, Holder)> {
    let (key_id, key) = api_key(&app.stranger()).await;
    assert!(key_id.starts_with("key_"));
    vec![
        ("another user", Holder::at(node, &login(app, "home", "owner@home.test").await.0).await),
        ("another tenant's user", Holder::at(node, &login(app, "away", "owner@away.test").await.0).await),
        ("another tenant's key", Holder::at(node, &key).await),
        ("the operator", Holder::at(node, &app.token(app.home, Role::Owner, None, 3_600)).await),
    ]
}

/// All that can be revoked, one after the other, on one node while the holders are at another.
async fn everything_is_revoked(app: &TestApp, node: &Running) {
    let owner = app.owner();
    let mut others = bystanders(app, node).await;

    let ann = user(app, "ann@home.test", "ANALYST").await;
    let mut disabled = Holder::at(node, &login(app, "home", "ann@home.test").await.0).await;
    owner.done("disableUser", json!({ "id": ann }), "").await;
    disabled.assert_revoked("user disabled").await;

    let (key_id, key) = api_key(&owner).await;
    let mut revoked = Holder::at(node, &key).await;
    owner.done("revokeApiKey", json!({ "id": key_id }), "").await;
    revoked.assert_revoked("key revoked").await;

    user(app, "bob@home.test", "ANALYST").await;
    let (access, refresh) = login(app, "home", "bob@home.test").await;
    let mut logged_out = Holder::at(node, &access).await;
    let mut elsewhere = Holder::at(node, &login(app, "home", "bob@home.test").await.0).await;
    app.anonymous().done("logout", json!({ "refreshToken": refresh }), "").await;
    logged_out.assert_revoked("session logged out").await;
    elsewhere.assert_undisturbed("the same user's other session").await;

    let bob = Client::new(&app.url, elsewhere.client.token.clone());
    let change = json!({ "currentPassword": PASSWORD, "newPassword": "another horse battery" });
    bob.done("changePassword", change, "").await;
    elsewhere.assert_revoked("password changed").await;

    let affiliate = affiliate_user(app, "ada@x.example").await;
    let mut suspended = Holder::at(node, &login(app, "home", "ada@x.example").await.0).await;
    owner.done("suspendAffiliate", json!({ "id": affiliate }), "").await;
    suspended.assert_revoked("affiliate suspended").await;

    let (first, second) = reused(app).await;
    let mut stolen = Holder::at(node, &second).await;
    app.anonymous().mutate("refreshSession", json!({ "refreshToken": first }), "").await;
    stolen.assert_revoked("refresh token used twice").await;

    for (who, holder) in &mut others {
        holder.assert_undisturbed(who).await;
    }
}

/// A session that was refreshed: the used refresh token, and the new access token.
async fn reused(app: &TestApp) -> (String, String) {
    user(app, "eve@home.test", "ANALYST").await;
    let (_, refresh) = login(app, "home", "eve@home.test").await;
    let renewed = app.anonymous().done("refreshSession", json!({ "refreshToken": refresh }), "accessToken").await;
    (refresh, renewed["accessToken"].as_str().expect("a token").to_owned())
}

async fn roles_of(client: &Client) -> Value {
    client.data(WHO, json!({})).await["viewer"]["roles"].take()
}

on_both! {
    async fn revocation_reaches_another_node(app) {
        let node = app.another_node().await;
        everything_is_revoked(app, &node).await;
        node.stop().await;
    }

    async fn revocation_holds_at_once_where_it_was_made(app) {
        let owner = app.owner();
        let ann = user(app, "ann@home.test", "ANALYST").await;
        let (access, refresh) = login(app, "home", "ann@home.test").await;
        let ann_client = Client::new(&app.url, Some(access));
        assert_eq!(roles_of(&ann_client).await, json!(["ANALYST"]));
        owner.done("setUserRoles", json!({ "id": ann, "roles": ["FINANCE"] }), "").await;
        assert_eq!(roles_of(&ann_client).await, json!(["FINANCE"]), "with the same token");
        app.anonymous().done("logout", json!({ "refreshToken": refresh }), "").await;
        assert_eq!(ann_client.send(WHO, json!({})).await.0, 401);
    }

    async fn changed_roles_reach_another_node(app) {
        let node = app.another_node().await;
        let ann = user(app, "ann@home.test", "ADMIN").await;
        let mut holder = Holder::at(&node, &login(app, "home", "ann@home.test").await.0).await;
        holder.socket.start("money", "subscription { payouts { cursor } }").await;
        let mut same = node.services.access.watch(&viewer_of(&node, &holder).await);
        let began = Instant::now();
        app.owner().done("setUserRoles", json!({ "id": ann, "roles": ["ANALYST"] }), "").await;
        for standing in [&mut holder.standing, &mut same] {
            let verdict = timeout(WITHIN, standing.changed()).await.expect("a verdict");
            let Verdict::Changed(viewer) = verdict else { panic!("{verdict:?}") };
            assert_eq!(viewer.roles, [Role::Analyst]);
            assert!(viewer.may(tributary::auth::Permission::ReadCampaigns));
            assert!(!viewer.may(tributary::auth::Permission::ManageUsers));
            assert!(timeout(Duration::ZERO, standing.changed()).await.is_err(), "told once");
        }
        // What runs on the socket goes on, but for what is not permitted any more.
        let ended = timeout(WITHIN.saturating_sub(began.elapsed()), holder.socket.message()).await.expect("in time");
        assert_eq!((&ended["type"], &ended["id"]), (&json!("error"), &json!("money")), "{ended}");
        assert_eq!(ended["payload"][0]["extensions"]["code"], "FORBIDDEN");
        assert_eq!(holder.socket.ping(json!({})).await["type"], "pong");
        while roles_of(&holder.client).await != json!(["ANALYST"]) {
            assert!(began.elapsed() < WITHIN);
        }
        assert_eq!(holder.client.error_code("{ users(first: 1) { totalCount } }", json!({})).await, "FORBIDDEN");
        node.stop().await;
    }

    async fn suspended_tenant_lets_nobody_in_and_puts_everybody_out(app) {
        let node = app.another_node().await;
        let (_, key) = api_key(&app.owner()).await;
        let (access, refresh) = login(app, "home", "owner@home.test").await;
        let mut people = [Holder::at(&node, &access).await, Holder::at(&node, &key).await];
        let mut others = vec![
            ("another tenant", Holder::at(&node, &login(app, "away", "owner@away.test").await.0).await),
            ("the operator", Holder::at(&node, &app.token(app.home, Role::Owner, None, 3_600)).await),
        ];
        for _ in 0..2 {
            let set = tenants::set_status(&app.services, "home", TenantStatus::Suspended).await;
            assert_eq!(set.expect("suspended").status, TenantStatus::Suspended);
        }
        for holder in &mut people {
            holder.assert_revoked("tenant suspended").await;
        }
        for (who, holder) in &mut others {
            holder.assert_undisturbed(who).await;
        }
        let credentials = json!({ "tenant": "home", "email": "owner@home.test", "password": PASSWORD });
        assert_eq!(app.anonymous().refusal("login", credentials).await, "INVALID_CREDENTIALS");
        let events = "SELECT COUNT(*) FROM event WHERE kind = 'TENANT_CHANGED'";
        assert_eq!(app.auditor.number(events).await, 1, "the second time changed nothing");

        tenants::set_status(&app.services, "home", TenantStatus::Active).await.expect("resumed");
        let key = Client::new(&node.url, Some(key));
        let began = Instant::now();
        while key.send(WHO, json!({})).await.0 != 200 {
            assert!(began.elapsed() < WITHIN, "the key is good again");
        }
        // Sessions were locked out, not ended.
        app.anonymous().done("refreshSession", json!({ "refreshToken": refresh }), "").await;
        assert!(tenants::set_status(&app.services, "nowhere", TenantStatus::Active).await.is_err());
        node.stop().await;
    }

    async fn events_of_credentials_hold_no_secret_and_no_person(app) {
        let owner = app.owner();
        let ann = user(app, "ann@home.test", "ANALYST").await;
        let (key_id, secret) = api_key(&owner).await;
        let (_, refresh) = login(app, "home", "ann@home.test").await;
        app.anonymous().done("logout", json!({ "refreshToken": refresh }), "").await;
        for _ in 0..2 {
            owner.done("revokeApiKey", json!({ "id": key_id }), "").await;
        }
        owner.done("disableUser", json!({ "id": ann }), "").await;
        let rows = app.auditor.rows("SELECT kind, payload FROM event ORDER BY seq").await;
        let events: Vec<(String, String)> =
            rows.iter().map(|row| (row.try_get_by_index(0).expect("text"), row.try_get_by_index(1).expect("text"))).collect();
        let kinds: Vec<&str> = events.iter().map(|(kind, _)| kind.as_str()).collect();
        assert_eq!(kinds, ["USER_CHANGED", "API_KEY_CHANGED", "SESSION_ENDED", "API_KEY_CHANGED", "USER_CHANGED"]);
        let last: Value = serde_json::from_str(&events[4].1).expect("JSON");
        assert_eq!(last, json!({ "id": ann, "status": "DISABLED", "roles": ["ANALYST"] }));
        for (kind, payload) in &events {
            for word in ["ann@", "Somebody", "hash", &refresh, &secret, &secret[secret.len() - 4..]] {
                assert!(!payload.contains(word), "{kind}: {payload}");
            }
        }
    }

    async fn use_of_a_key_is_noted(app) {
        let (key_id, key) = api_key(&app.owner()).await;
        let client = Client::new(&app.url, Some(key));
        for _ in 0..3 {
            assert_eq!(client.send(WHO, json!({})).await.0, 200);
        }
        app.until("SELECT COUNT(*) FROM api_key WHERE last_used_at IS NOT NULL", 1).await;
        let read = "{ apiKeys(first: 9) { edges { node { id lastUsedAt } } } }";
        let last = async || {
            let keys = app.owner().data(read, json!({})).await;
            let node = &keys["apiKeys"]["edges"][0]["node"];
            assert_eq!(node["id"], key_id.as_str());
            node["lastUsedAt"].as_str().expect("a time").to_owned()
        };
        let first = last().await;
        app.clock.advance(TimeDelta::seconds(61));
        let now = app.clock.now();
        while last().await == first {
            assert_eq!(client.send(WHO, json!({})).await.0, 200);
        }
        assert!(last().await.parse::<tributary_entity::Instant>().expect("a time") >= now);
    }
}

async fn viewer_of(node: &Running, holder: &Holder) -> Viewer {
    let token = holder.client.token.as_deref().expect("a credential");
    let viewer = node.services.access.authenticate(Some(&format!("Bearer {token}"))).await;
    viewer.expect("good").expect("somebody")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revocation_reaches_another_node_while_redis_is_away() {
    let mut redis = Redis::absent().await;
    redis.start().await;
    let url = redis.url();
    app::run_with(
        Backend::Postgres,
        |settings| settings.redis_url = Some(url),
        async |app| {
            let node = app.another_node().await;
            // A connection of each tenant, so that the feeds are followed before Redis goes.
            let _others = bystanders(app, &node).await;
            redis.kill().await;
            everything_is_revoked(app, &node).await;
            node.stop().await;
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credential_that_cannot_be_looked_up_is_unavailable_not_wrong() {
    app::run(Backend::Postgres, async |app| {
        let (access, _) = login(app, "home", "owner@home.test").await;
        let owner = Client::new(&app.url, Some(access));
        assert_eq!(owner.send(WHO, json!({})).await.0, 200);
        let lock = app.auditor.begin().await;
        sea_orm::ConnectionTrait::execute_unprepared(&lock, "LOCK TABLE session IN ACCESS EXCLUSIVE MODE")
            .await
            .expect("locked");
        let (status, body) = loop {
            let answer = owner.send(WHO, json!({})).await;
            if answer.0 != 200 {
                break answer;
            }
        };
        assert_eq!((status, &body["errors"][0]["extensions"]["code"]), (503, &json!("UNAVAILABLE")));
        // All who wait are told together, not one after the other.
        let began = Instant::now();
        let all = futures_util::future::join_all((0..10).map(|_| owner.send(WHO, json!({})))).await;
        assert!(all.iter().all(|(status, _)| *status == 503));
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
        lock.rollback().await.expect("unlocked");
        assert_eq!(owner.send(WHO, json!({})).await.0, 200);
    })
    .await;
}
