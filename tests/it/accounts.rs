//! People and programs: log-ins, sessions, users, API keys, and affiliates who apply.

use serde_json::{Value, json};
use tributary_entity::kinds::Role;

use crate::support::{
    Client, Programme, Terms, TestApp,
    app::PASSWORD,
    on_both,
    programme::{enroll, id, sale},
};

const TOKENS: &str = "accessToken refreshToken";

async fn login(app: &TestApp, email: &str, password: &str) -> Value {
    let input = json!({ "tenant": "home", "email": email, "password": password });
    app.anonymous().mutate("login", input, TOKENS).await
}

/// Logs in with success; the client, and the refresh token.
async fn session(app: &TestApp, email: &str, password: &str) -> (Client, String) {
    tokens(app, &login(app, email, password).await)
}

fn tokens(app: &TestApp, payload: &Value) -> (Client, String) {
    assert_eq!(payload["userErrors"], json!([]), "{payload}");
    let text = |name: &str| payload[name].as_str().expect("a token").to_owned();
    (Client::new(&app.url, Some(text("accessToken"))), text("refreshToken"))
}

async fn refresh(app: &TestApp, token: &str) -> Value {
    app.anonymous().mutate("refreshSession", json!({ "refreshToken": token }), TOKENS).await
}

fn code(payload: &Value) -> Option<&str> {
    payload["userErrors"][0]["code"].as_str()
}

/// Makes a user with a role who can log in; the id.
async fn user(client: &Client, email: &str, role: &str) -> String {
    let input = json!({ "email": email, "name": "Somebody", "password": PASSWORD, "roles": [role] });
    id(&client.done("createUser", input, "user { id }").await, "user")
}

async fn roles(client: &Client) -> (u16, Value) {
    let (status, body) = client.send("{ viewer { roles user { email } } }", json!({})).await;
    (status, body)
}

on_both! {
    async fn login_opens_a_session_of_the_user(app) {
        let (owner, _) = session(app, " OWNER@home.test ", PASSWORD).await;
        let (_, body) = roles(&owner).await;
        assert_eq!(body["data"]["viewer"], json!({ "roles": ["OWNER"], "user": { "email": "owner@home.test" } }));
    }

    async fn wrong_logins_are_answered_alike(app) {
        let wrong = login(app, "owner@home.test", "wrong horse battery").await;
        assert_eq!(code(&wrong), Some("INVALID_CREDENTIALS"));
        assert!(wrong["accessToken"].is_null() && wrong["refreshToken"].is_null());
        assert_eq!(login(app, "nobody@home.test", PASSWORD).await, wrong);
        for tenant in ["away", "nowhere", ""] {
            let input = json!({ "tenant": tenant, "email": "owner@home.test", "password": PASSWORD });
            assert_eq!(app.anonymous().mutate("login", input, TOKENS).await, wrong, "{tenant}");
        }
    }

    async fn guessing_a_password_is_limited(app) {
        for _ in 0..10 {
            assert_eq!(code(&login(app, "owner@home.test", "guessed password").await), Some("INVALID_CREDENTIALS"));
        }
        let document = crate::support::client::mutation("login", TOKENS);
        let input = json!({ "tenant": "Home ", "email": "Owner@home.test", "password": PASSWORD });
        let (_, body) = app.anonymous().send(&document, json!({ "input": input })).await;
        let extensions = &body["errors"][0]["extensions"];
        assert_eq!(extensions["code"], "RATE_LIMITED", "also with the right password: {body}");
        assert!(extensions["retryAfterMs"].as_u64().is_some_and(|millis| millis > 0 && millis <= 300_000), "{body}");
        let other = json!({ "tenant": "away", "email": "owner@away.test", "password": PASSWORD });
        app.anonymous().done("login", other, "").await;
    }

    async fn refresh_token_rotates_and_its_reuse_ends_the_session(app) {
        let (_, first) = session(app, "owner@home.test", PASSWORD).await;
        let (renewed, second) = tokens(app, &refresh(app, &first).await);
        assert_eq!(roles(&renewed).await.0, 200);
        assert_eq!(code(&refresh(app, &first).await), Some("INVALID_CREDENTIALS"), "used before");
        assert_eq!(code(&refresh(app, &second).await), Some("INVALID_CREDENTIALS"), "the session is ended");
        session(app, "owner@home.test", PASSWORD).await;
    }

    async fn refresh_token_used_twice_at_once_is_good_for_one(app) {
        let (_, token) = session(app, "owner@home.test", PASSWORD).await;
        let mut sent = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (client, input) = (app.anonymous(), json!({ "refreshToken": token }));
            sent.spawn(async move { client.mutate("refreshSession", input, TOKENS).await });
        }
        let answers = sent.join_all().await;
        let good: Vec<&Value> = answers.iter().filter(|answer| code(answer).is_none()).collect();
        assert_eq!(good.len(), 1, "{answers:?}");
        let (_, next) = tokens(app, good[0]);
        assert_eq!(code(&refresh(app, &next).await), Some("INVALID_CREDENTIALS"), "whose the others were, nobody knows");
    }

    async fn logout_ends_the_session_and_may_be_repeated(app) {
        let (_, token) = session(app, "owner@home.test", PASSWORD).await;
        for _ in 0..2 {
            let payload = app.anonymous().done("logout", json!({ "refreshToken": token }), "loggedOut").await;
            assert_eq!(payload["loggedOut"], true);
        }
        assert_eq!(code(&refresh(app, &token).await), Some("INVALID_CREDENTIALS"));
    }

    async fn access_token_ends_and_refresh_goes_on(app) {
        let (owner, token) = session(app, "owner@home.test", PASSWORD).await;
        app.clock.advance(chrono::TimeDelta::seconds(901));
        let (status, body) = roles(&owner).await;
        assert_eq!((status, &body["errors"][0]["extensions"]["code"]), (401, &json!("TOKEN_EXPIRED")));
        let (owner, _) = tokens(app, &refresh(app, &token).await);
        assert_eq!(roles(&owner).await.0, 200);
    }

    async fn disabled_user_can_neither_log_in_nor_refresh(app) {
        let owner = app.owner();
        let id = user(&owner, "ann@home.test", "ANALYST").await;
        let (_, token) = session(app, "ann@home.test", PASSWORD).await;
        owner.done("disableUser", json!({ "id": id }), "").await;
        assert_eq!(code(&refresh(app, &token).await), Some("INVALID_CREDENTIALS"));
        assert_eq!(code(&login(app, "ann@home.test", PASSWORD).await), Some("INVALID_CREDENTIALS"));
        owner.done("enableUser", json!({ "id": id }), "").await;
        session(app, "ann@home.test", PASSWORD).await;
    }

    async fn changed_password_ends_all_sessions(app) {
        let (owner, token) = session(app, "owner@home.test", PASSWORD).await;
        let change = |current: &str, new: &str| json!({ "currentPassword": current, "newPassword": new });
        assert_eq!(owner.refusal("changePassword", change("wrong", "a new password")).await, "INVALID_CREDENTIALS");
        assert_eq!(owner.refusal("changePassword", change(PASSWORD, "short")).await, "WEAK_PASSWORD");
        owner.done("changePassword", change(PASSWORD, "a new password"), "").await;
        assert_eq!(code(&refresh(app, &token).await), Some("INVALID_CREDENTIALS"));
        assert_eq!(code(&login(app, "owner@home.test", PASSWORD).await), Some("INVALID_CREDENTIALS"));
        session(app, "owner@home.test", "a new password").await;
    }

    async fn last_owner_stays(app) {
        let owner = app.owner();
        let users = owner.data("{ users(first: 10) { edges { node { id roles } } } }", json!({})).await;
        let first = users["users"]["edges"][0]["node"]["id"].clone();
        let demote = json!({ "id": first, "roles": ["ADMIN"] });
        assert_eq!(owner.refusal("disableUser", json!({ "id": first })).await, "INVALID_TRANSITION");
        assert_eq!(owner.refusal("setUserRoles", demote.clone()).await, "INVALID_TRANSITION");
        let second = user(&owner, "second@home.test", "OWNER").await;
        owner.done("setUserRoles", demote, "").await;
        assert_eq!(owner.refusal("disableUser", json!({ "id": second })).await, "INVALID_TRANSITION");
    }

    async fn two_owners_who_disable_each_other_leave_one(app) {
        let owner = app.owner();
        let users = owner.data("{ users(first: 10) { edges { node { id } } } }", json!({})).await;
        let first = users["users"]["edges"][0]["node"]["id"].clone();
        let second = json!(user(&owner, "second@home.test", "OWNER").await);
        let disable = |id: &Value| {
            let (client, input) = (app.owner(), json!({ "id": id }));
            async move { client.mutate("disableUser", input, "user { status }").await }
        };
        let (one, two) = tokio::join!(disable(&first), disable(&second));
        let refused = [&one, &two].into_iter().filter(|payload| code(payload) == Some("INVALID_TRANSITION")).count();
        assert_eq!(refused, 1, "{one} {two}");
    }

    async fn only_owners_manage_owners(app) {
        let owner = app.owner();
        let second = user(&owner, "second@home.test", "OWNER").await;
        let admin = app.role(Role::Admin);
        let make = json!({ "email": "x@home.test", "name": "X", "password": PASSWORD, "roles": ["OWNER"] });
        for (name, input) in [
            ("createUser", make),
            ("disableUser", json!({ "id": second })),
            ("setUserRoles", json!({ "id": second, "roles": ["ADMIN"] })),
        ] {
            let document = crate::support::client::mutation(name, "");
            assert_eq!(admin.error_code(&document, json!({ "input": input })).await, "FORBIDDEN", "{name}");
        }
    }

    async fn user_s_address_is_unique_in_any_case(app) {
        let owner = app.owner();
        user(&owner, "ann@home.test", "ANALYST").await;
        let input = json!({ "email": "ANN@home.test", "name": "Ann", "password": PASSWORD, "roles": ["ADMIN"] });
        assert_eq!(owner.refusal("createUser", input).await, "ALREADY_EXISTS");
        let input = json!({ "email": "bob@home.test", "name": "Bob", "password": "short", "roles": [] });
        let payload = owner.mutate("createUser", input, "user { id }").await;
        let codes: Vec<&Value> =
            payload["userErrors"].as_array().expect("errors").iter().map(|error| &error["code"]).collect();
        assert_eq!(codes, ["WEAK_PASSWORD", "REQUIRED"]);
    }

    async fn api_key_opens_its_scopes_and_nothing_else(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let input = json!({ "name": "shop", "scopes": ["RECORD_CLICKS", "RECORD_CONVERSIONS"], "idempotencyKey": "k" });
        let selection = "replayed secret apiKey { id hint scopes revokedAt }";
        let made = owner.done("createApiKey", input.clone(), selection).await;
        let secret = made["secret"].as_str().expect("a secret");
        assert!(secret.ends_with(made["apiKey"]["hint"].as_str().expect("a hint")));
        let again = owner.done("createApiKey", input, selection).await;
        assert_eq!((&again["replayed"], &again["secret"]), (&json!(true), &Value::Null), "told once");

        let shop = Client::new(&app.url, Some(secret.to_owned()));
        let click = programme.click(&shop).await;
        shop.done("recordConversion", sale(&click, "1", "1.00"), "conversion { id }").await;
        for query in ["{ conversions(first: 1) { totalCount } }", "{ trialBalance { balanced } }",
            "{ apiKeys(first: 1) { totalCount } }", "{ users(first: 1) { totalCount } }"] {
            assert_eq!(shop.error_code(query, json!({})).await, "FORBIDDEN", "{query}");
        }
        let document = crate::support::client::mutation("createApiKey", "");
        let input = json!({ "input": { "name": "x", "scopes": ["READ"] } });
        assert_eq!(shop.error_code(&document, input).await, "FORBIDDEN");
        let history = "SELECT COUNT(*) FROM conversion_history WHERE actor LIKE 'key:key_%'";
        assert_eq!(app.auditor.number(history).await, 1, "history names the key");
    }

    async fn revoked_api_key_is_refused_at_once(app) {
        let owner = app.owner();
        let made = owner.done("createApiKey", json!({ "name": "shop", "scopes": ["READ"] }), "secret apiKey { id }").await;
        let shop = Client::new(&app.url, made["secret"].as_str().map(str::to_owned));
        assert_eq!(roles(&shop).await.0, 200);
        let revoke = json!({ "id": made["apiKey"]["id"] });
        assert_eq!(app.stranger().refusal("revokeApiKey", revoke.clone()).await, "NOT_FOUND");
        for _ in 0..2 {
            owner.done("revokeApiKey", revoke.clone(), "").await;
            assert_eq!(roles(&shop).await.0, 401);
        }
    }

    async fn api_key_ends_at_its_time(app) {
        let owner = app.owner();
        let expires_at = tributary::ambient::Clock::now(&app.clock) + chrono::TimeDelta::hours(1);
        let input = json!({ "name": "shop", "scopes": ["READ"], "expiresAt": expires_at });
        let made = owner.done("createApiKey", input, "secret").await;
        let shop = Client::new(&app.url, made["secret"].as_str().map(str::to_owned));
        assert_eq!(roles(&shop).await.0, 200);
        app.clock.advance(chrono::TimeDelta::hours(1));
        assert_eq!(roles(&shop).await.1["errors"][0]["extensions"]["code"], "TOKEN_EXPIRED");
        let past = json!({ "name": "shop", "scopes": ["READ"], "expiresAt": expires_at });
        assert_eq!(owner.refusal("createApiKey", past).await, "OUT_OF_RANGE");
    }

    async fn applicant_logs_in_once_approved_and_sees_own_rows_only(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let application = json!({ "tenant": "home", "name": "Ada", "email": "Ada@x.example", "password": PASSWORD });
        let made = app.anonymous().done("applyAffiliate", application.clone(), "affiliate { id status }").await;
        assert_eq!(made["affiliate"]["status"], "PENDING");
        assert_eq!(app.anonymous().refusal("applyAffiliate", application).await, "ALREADY_EXISTS");
        assert_eq!(code(&login(app, "ada@x.example", PASSWORD).await), Some("INVALID_CREDENTIALS"));
        let ada_id = id(&made, "affiliate");
        owner.done("approveAffiliate", json!({ "id": ada_id }), "").await;

        let (ada, token) = session(app, "ada@x.example", PASSWORD).await;
        let (_, link) = enroll(&owner, &programme.campaign, &ada_id).await;
        for link in [&link, &programme.link] {
            let click = id(&owner.done("recordClick", json!({ "linkId": link }), "click { id }").await, "click");
            owner.done("recordConversion", sale(&click, link, "1.00"), "").await;
        }
        let query = "{ affiliates(first: 9) { edges { node { id } } } links(first: 9) { edges { node { id } } } \
            clicks(first: 9) { totalCount } conversions(first: 9) { totalCount edges { node { orderId } } } \
            commissions(first: 9) { totalCount } enrollments(first: 9) { totalCount } }";
        assert_eq!(ada.data(query, json!({})).await, json!({
            "affiliates": { "edges": [{ "node": { "id": ada_id } }] }, "links": { "edges": [{ "node": { "id": link } }] },
            "clicks": { "totalCount": 1 }, "enrollments": { "totalCount": 1 }, "commissions": { "totalCount": 1 },
            "conversions": { "totalCount": 1, "edges": [{ "node": { "orderId": link } }] },
        }));
        let foreign = json!({ "id": programme.link });
        assert_eq!(ada.data("query($id: ID!) { link(id: $id) { id } }", foreign.clone()).await["link"], Value::Null);
        assert_eq!(ada.refusal("disableLink", foreign).await, "NOT_FOUND");

        owner.done("suspendAffiliate", json!({ "id": ada_id }), "").await;
        assert_eq!(code(&refresh(app, &token).await), Some("INVALID_CREDENTIALS"));
        assert_eq!(code(&login(app, "ada@x.example", PASSWORD).await), Some("INVALID_CREDENTIALS"));
    }

    async fn weak_password_of_an_applicant_stores_nothing(app) {
        let application = json!({ "tenant": "home", "name": "Ada", "email": "ada@x.example", "password": "short" });
        assert_eq!(app.anonymous().refusal("applyAffiliate", application).await, "WEAK_PASSWORD");
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM affiliate").await, 0);
    }
}
