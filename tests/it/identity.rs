//! Tokens of identity providers: whom they let in, for which tenant and with which roles, and everything that must not.

use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use tributary::{
    ambient::Clock,
    config::{Settings, identity::IdentityProvider},
    services::{access::Verdict, tenants},
};
use tributary_entity::kinds::TenantStatus;

use crate::support::{
    Backend, Client, Programme, Terms, TestApp, app,
    issuer::{Issuer, Mood, SigningKey},
    programme::{enroll, id, merge, sale},
};

const WHO: &str = "{ viewer { roles tenant { slug } user { id } apiKeyId externalIdentity { provider subject } } }";

/// A node that takes the tokens of an issuer, whose key is `main`.
struct House<'a> {
    app: &'a TestApp,
    issuer: &'a Issuer,
    main: &'a SigningKey,
}

impl House<'_> {
    fn now(&self) -> i64 {
        self.app.clock.now().timestamp()
    }

    /// Good claims, with some replaced; null takes one away.
    fn claims(&self, other: Value) -> Value {
        let mut claims = self.issuer.claims(self.now());
        merge(&mut claims, other);
        let kept = claims.as_object().expect("an object").iter().filter(|(_, value)| !value.is_null());
        Value::Object(kept.map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    fn token(&self, other: Value) -> String {
        self.main.sign(&self.claims(other))
    }

    fn client(&self, token: &str) -> Client {
        Client::new(&self.app.url, Some(token.to_owned()))
    }

    async fn send(&self, token: &str) -> (u16, Value) {
        self.client(token).send(WHO, json!({})).await
    }

    async fn status(&self, token: &str) -> u16 {
        self.send(token).await.0
    }

    async fn assert_refused(&self, token: &str, what: &str) {
        let (status, body) = self.send(token).await;
        assert_eq!(
            (status, &body["errors"][0]["extensions"]["code"]),
            (401, &json!("UNAUTHENTICATED")),
            "{what}: {body}"
        );
    }
}

async fn run(backend: Backend, change: impl FnOnce(&mut IdentityProvider), body: impl AsyncFnOnce(House<'_>)) {
    let main = SigningKey::new("main", Algorithm::EdDSA);
    let issuer = Issuer::start(&[&main]).await;
    let mut provider = issuer.settings();
    change(&mut provider);
    let settings = |settings: &mut Settings| settings.identity_providers = vec![provider];
    app::run_with(backend, settings, async |app| body(House { app, issuer: &issuer, main: &main }).await).await;
}

async fn is_let_in(backend: Backend) {
    run(
        backend,
        |_| {},
        async |house| {
            let keys = [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA]
                .map(|algorithm| SigningKey::new(&format!("{algorithm:?}"), algorithm));
            house.issuer.publish(&keys.each_ref());
            for key in &keys {
                let viewer =
                    house.client(&key.sign(&house.claims(json!({})))).data(WHO, json!({})).await["viewer"].take();
                assert_eq!(
                    viewer,
                    json!({
                        "roles": ["ANALYST"], "tenant": { "slug": "home" }, "user": null, "apiKeyId": null,
                        "externalIdentity": { "provider": "idp", "subject": "auth0|4711" },
                    }),
                    "{:?}",
                    key.algorithm
                );
            }
            let token =
                keys[0].sign(&house.claims(json!({ "realm": { "groups": ["money", "nobody", 7, "readers"] } })));
            let (_, body) = house.send(&token).await;
            assert_eq!(
                body["data"]["viewer"]["roles"],
                json!(["FINANCE", "ANALYST"]),
                "what is not mapped gives nothing"
            );
            assert_eq!(
                house.client(&token).error_code("{ users(first: 1) { totalCount } }", json!({})).await,
                "FORBIDDEN"
            );
            assert_eq!(
                house
                    .client(&token)
                    .error_code(
                        "mutation($i: ChangePasswordInput!) { changePassword(input: $i) { replayed } }",
                        json!({ "i": { "currentPassword": "x", "newPassword": "correct horse battery" } }),
                    )
                    .await,
                "FORBIDDEN",
                "it has none here"
            );
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_of_a_provider_lets_in_sqlite() {
    is_let_in(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_of_a_provider_lets_in_postgres() {
    is_let_in(Backend::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_claim_must_be_there_and_right() {
    let change = |settings: &mut IdentityProvider| {
        settings.required_claims.insert("email_verified".to_owned(), json!(true));
    };
    run(Backend::Sqlite, change, async |house| {
        let good = |other: Value| {
            let mut claims = json!({ "email_verified": true });
            merge(&mut claims, other);
            house.token(claims)
        };
        let now = house.now();
        for other in [
            json!({}),
            json!({ "aud": ["other", "tributary-test"] }),
            json!({ "nbf": null }),
            json!({ "nbf": now + 20 }),
            json!({ "exp": now - 20 }),
            json!({ "exp": now as f64 + 60.5 }),
            json!({ "realm": { "groups": "readers" } }),
            json!({ "sub": "s".repeat(255) }),
            json!({ "affiliate": null }),
        ] {
            assert_eq!(house.status(&good(other.clone())).await, 200, "{other}");
        }
        for other in [
            json!({ "iss": "https://other.example" }),
            json!({ "iss": format!("{}/", house.issuer.url) }),
            json!({ "iss": [house.issuer.url] }),
            json!({ "iss": null }),
            json!({ "aud": "tributary" }),
            json!({ "aud": ["other"] }),
            json!({ "aud": null }),
            json!({ "sub": null }),
            json!({ "sub": "" }),
            json!({ "sub": 4711 }),
            json!({ "sub": "a\nb" }),
            json!({ "sub": "s".repeat(256) }),
            json!({ "exp": null }),
            json!({ "exp": "soon" }),
            json!({ "exp": i64::MAX }),
            json!({ "nbf": now + 90 }),
            json!({ "nbf": "soon" }),
            json!({ "realm": null }),
            json!({ "realm": { "groups": [] } }),
            json!({ "realm": { "groups": ["OWNER", "ANALYST"] } }),
            json!({ "realm": { "groups": { "readers": true } } }),
            json!({ "affiliate": "aff_00000000000000000000000001" }),
            json!({ "affiliate": "nobody" }),
            json!({ "email_verified": false }),
            json!({ "email_verified": "true" }),
            json!({ "email_verified": null }),
        ] {
            house.assert_refused(&good(other.clone()), &other.to_string()).await;
        }
        let (status, body) = house.send(&good(json!({ "exp": now - 60 }))).await;
        assert_eq!((status, &body["errors"][0]["extensions"]["code"]), (401, &json!("TOKEN_EXPIRED")));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_providers_own_signatures_count() {
    run(
        Backend::Sqlite,
        |settings| {
            settings.algorithms.retain(|algorithm| *algorithm != tributary::config::identity::SigningAlgorithm::Ps256)
        },
        async |house| {
            let rsa = SigningKey::new("rsa", Algorithm::RS256);
            let pss = SigningKey { algorithm: Algorithm::PS256, ..rsa.clone() };
            let nameless = SigningKey::new("ec", Algorithm::ES256);
            let thief = SigningKey::new("main", Algorithm::EdDSA);
            house.issuer.publish(&[house.main, &rsa, &nameless]);
            let claims = house.claims(json!({}));
            assert_eq!(house.status(&rsa.sign(&claims)).await, 200, "the ground that the rest stands on");
            let without_kid = |key: &SigningKey| key.sign_as(&Header { kid: None, ..key.header() }, &claims);
            assert_eq!(house.status(&without_kid(&nameless)).await, 200, "the only key of its kind needs no name");

            house.assert_refused(&thief.sign(&claims), "another key under a known id").await;
            house.assert_refused(&pss.sign(&claims), "an algorithm that is not listed").await;
            let crossed = Header { kid: Some("main".to_owned()), ..rsa.header() };
            house.assert_refused(&rsa.sign_as(&crossed, &claims), "a key of another kind").await;

            // The public key as a shared secret, in each form that a verifier might take it.
            let public = rsa.public();
            let modulus = public["n"].as_str().expect("a modulus");
            let raw = BASE64URL_NOPAD.decode(modulus.as_bytes()).expect("base64");
            for secret in [modulus.as_bytes(), &raw, public.to_string().as_bytes()] {
                let confused =
                    SigningKey { algorithm: Algorithm::HS256, key: EncodingKey::from_secret(secret), ..rsa.clone() };
                house.assert_refused(&confused.sign(&claims), "HS256 by the public key").await;
            }

            let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
            for alg in ["none", "None", "NONE", ""] {
                let unsigned = format!("{}.{}.", part(&json!({ "alg": alg, "kid": "main" })), part(&claims));
                house.assert_refused(&unsigned, alg).await;
            }
            let good = house.main.sign(&claims);
            let (message, signature) = good.rsplit_once('.').expect("three parts");
            house.assert_refused(&format!("{message}."), "no signature").await;
            house.assert_refused(message, "two parts").await;
            let (header, _) = message.split_once('.').expect("two parts");
            let owner = part(&house.claims(json!({ "realm": { "groups": ["owners"] } })));
            house.assert_refused(&format!("{header}.{owner}.{signature}"), "other claims under the signature").await;
            house.assert_refused(&house.token(json!({ "pad": "x".repeat(8_192) })), "huge").await;

            // Our own secret signs nothing of theirs.
            let ours = EncodingKey::from_secret(&tributary::auth::tokens::derive_key(app::SECRET, "jwt"));
            let ours = SigningKey { algorithm: Algorithm::HS256, key: ours, ..rsa.clone() };
            house.assert_refused(&ours.sign(&claims), "our secret, their issuer").await;
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_that_carry_keys_or_other_uses_are_refused() {
    run(
        Backend::Sqlite,
        |_| {},
        async |house| {
            let thief = SigningKey::new("thief", Algorithm::EdDSA);
            let claims = house.claims(json!({}));
            let signed = |key: &SigningKey, change: &dyn Fn(&mut Header)| {
                let mut header = key.header();
                change(&mut header);
                key.sign_as(&header, &claims)
            };
            for typ in [None, Some("JWT"), Some("at+jwt"), Some("application/at+jwt")] {
                let token = signed(house.main, &|header| header.typ = typ.map(str::to_owned));
                assert_eq!(house.status(&token).await, 200, "{typ:?}");
            }
            for typ in ["logout+jwt", "dpop+jwt", "secevent+jwt"] {
                house.assert_refused(&signed(house.main, &|header| header.typ = Some(typ.to_owned())), typ).await;
            }
            let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(thief.public()).expect("a key");
            let keys = format!("{}/keys", house.issuer.url);
            for key in [&thief, house.main] {
                house.assert_refused(&signed(key, &|header| header.jwk = Some(jwk.clone())), "jwk").await;
                house.assert_refused(&signed(key, &|header| header.jku = Some(keys.clone())), "jku").await;
                house.assert_refused(&signed(key, &|header| header.x5u = Some(keys.clone())), "x5u").await;
                house.assert_refused(&signed(key, &|header| header.x5c = Some(vec!["MA==".to_owned()])), "x5c").await;
                house.assert_refused(&signed(key, &|header| header.crit = Some(vec!["exp".to_owned()])), "crit").await;
            }
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn provider_speaks_for_its_tenants_alone() {
    let change = |settings: &mut IdentityProvider| settings.tenant_claim = Some("org".to_owned());
    run(Backend::Sqlite, change, async |house| {
        let (home, away) = (house.app.home.to_string(), house.app.away.to_string());
        for org in ["home", &home] {
            let viewer = house.client(&house.token(json!({ "org": org }))).data(WHO, json!({})).await;
            assert_eq!(viewer["viewer"]["tenant"]["slug"], "home");
        }
        for org in
            [json!("away"), json!(away), json!("nowhere"), json!(["home"]), json!("HOME"), json!(""), Value::Null]
        {
            let token = house.token(json!({ "org": org, "realm": { "groups": ["owners"] } }));
            house.assert_refused(&token, &org.to_string()).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn provider_of_several_tenants_names_one_and_may_be_ahead_of_them() {
    let change = |settings: &mut IdentityProvider| {
        settings.tenant_claim = Some("org".to_owned());
        settings.tenants = ["later", "away", "home"].map(str::to_owned).to_vec();
    };
    run(Backend::Sqlite, change, async |house| {
        for (org, slug) in [("home", "home"), ("away", "away"), (&*house.app.away.to_string(), "away")] {
            let viewer = house.client(&house.token(json!({ "org": org }))).data(WHO, json!({})).await;
            assert_eq!(viewer["viewer"]["tenant"]["slug"], slug);
        }
        house.assert_refused(&house.token(json!({ "org": "later" })), "not made yet").await;
        house.app.new_tenant("later").await;
        assert_eq!(house.status(&house.token(json!({ "org": "later" }))).await, 200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn affiliate_from_outside_sees_its_own_rows() {
    run(
        Backend::Sqlite,
        |_| {},
        async |house| {
            let owner = house.app.owner();
            let programme = Programme::build(&owner, &Terms::default()).await;
            let (_, other) =
                enroll(&owner, &programme.campaign, &crate::support::programme::new_affiliate(&owner).await).await;
            for link in [&other, &programme.link] {
                let click = id(&owner.done("recordClick", json!({ "linkId": link }), "click { id }").await, "click");
                owner.done("recordConversion", sale(&click, link, "1.00"), "").await;
            }
            let token = |groups: Value, affiliate: Value| {
                house.token(json!({ "realm": { "groups": groups }, "affiliate": affiliate }))
            };
            let own = token(json!(["partners"]), json!(programme.affiliate));
            let query = "{ viewer { roles } conversions(first: 9) { edges { node { orderId } } } }";
            assert_eq!(
                house.client(&own).data(query, json!({})).await,
                json!({
                    "viewer": { "roles": ["AFFILIATE"] },
                    "conversions": { "edges": [{ "node": { "orderId": programme.link } }] },
                })
            );
            for (groups, affiliate, what) in [
                (json!(["partners"]), Value::Null, "no affiliate"),
                (json!(["partners", "owners"]), json!(programme.affiliate), "another role beside"),
                (json!(["partners", "owners"]), Value::Null, "another role, no affiliate"),
                (json!(["owners"]), json!(programme.affiliate), "an affiliate with another role"),
                (json!(["partners"]), json!("aff_00000000000000000000000001"), "an affiliate that is not there"),
                (json!(["partners"]), json!(programme.campaign), "no affiliate's id"),
            ] {
                house.assert_refused(&token(groups, affiliate), what).await;
            }
            owner.done("suspendAffiliate", json!({ "id": programme.affiliate }), "").await;
            house.assert_refused(&own, "suspended").await;
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_names_who_acted() {
    run(
        Backend::Sqlite,
        |_| {},
        async |house| {
            let programme = Programme::build(&house.app.owner(), &Terms::default()).await;
            let outside = house.client(&house.token(json!({ "realm": { "groups": ["owners"] } })));
            let click = programme.click(&outside).await;
            outside.done("recordConversion", sale(&click, "1", "1.00"), "").await;
            let history = "SELECT COUNT(*) FROM conversion_history WHERE actor = 'ext:idp:auth0|4711'";
            assert_eq!(house.app.auditor.number(history).await, 1);
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn suspended_tenant_ends_viewers_from_outside() {
    run(
        Backend::Sqlite,
        |_| {},
        async |house| {
            let token = house.token(json!({}));
            let access = &house.app.services.access;
            let viewer = access.authenticate(Some(&format!("Bearer {token}"))).await.expect("good").expect("somebody");
            let mut standing = access.watch(&viewer);
            assert!(timeout(Duration::ZERO, standing.changed()).await.is_err());
            tenants::set_status(&house.app.services, "home", TenantStatus::Suspended).await.expect("suspended");
            let verdict = timeout(Duration::from_secs(2), standing.changed()).await;
            assert!(matches!(verdict, Ok(Verdict::Revoked)), "{verdict:?}");
            house.assert_refused(&token, "suspended").await;
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_fetched_once_for_all_and_made_up_ids_do_not_hammer() {
    run(
        Backend::Sqlite,
        |_| {},
        async |house| {
            assert_eq!(house.issuer.fetches(), 0, "nobody asked");
            let tokens: Vec<String> = (0..20).map(|n| house.token(json!({ "jti": n.to_string() }))).collect();
            let sent = futures_util::future::join_all(tokens.iter().map(|token| house.status(token))).await;
            assert!(sent.iter().all(|status| *status == 200), "{sent:?}");
            assert_eq!(house.issuer.fetches(), 1);

            let next = SigningKey::new("next", Algorithm::ES256);
            house.issuer.publish(&[house.main, &next]);
            let tokens: Vec<String> =
                (0..20).map(|n| next.sign(&house.claims(json!({ "jti": n.to_string() })))).collect();
            let sent = futures_util::future::join_all(tokens.iter().map(|token| house.status(token))).await;
            assert!(sent.iter().all(|status| *status == 200), "a new key needs no restart: {sent:?}");
            assert_eq!(house.issuer.fetches(), 2);

            for n in 0..20 {
                let made_up = SigningKey { kid: format!("made-up-{n}"), ..house.main.clone() };
                house.assert_refused(&made_up.sign(&house.claims(json!({}))), "a made-up id").await;
            }
            assert_eq!(house.issuer.fetches(), 2);
            assert_eq!(house.status(&house.token(json!({ "jti": "last" }))).await, 200);
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_found_by_discovery() {
    run(
        Backend::Sqlite,
        |settings| settings.jwks_url = None,
        async |house| {
            assert_eq!(house.status(&house.token(json!({}))).await, 200);
            assert_eq!(house.issuer.fetches(), 1);
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn provider_that_fails_is_unavailable_and_comes_back() {
    for mood in [Mood::Down, Mood::Garbage, Mood::Huge, Mood::Redirect] {
        run(
            Backend::Sqlite,
            |_| {},
            async |house| {
                house.issuer.behave(mood);
                let token = house.token(json!({}));
                let (status, body) = house.send(&token).await;
                let code = &body["errors"][0]["extensions"]["code"];
                assert_eq!((status, code), (503, &json!("UNAVAILABLE")), "{mood:?}");
                house.issuer.behave(Mood::Well);
                while house.status(&token).await != 200 {}
                house.issuer.behave(mood);
                assert_eq!(
                    house.status(&house.token(json!({ "jti": "kept" }))).await,
                    200,
                    "{mood:?}: the keys are kept"
                );
            },
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_provider_is_given_up_and_holds_up_nobody_else() {
    run(
        Backend::Sqlite,
        |_| {},
        async |house| {
            house.issuer.behave(Mood::Slow);
            let token = house.token(json!({}));
            let began = Instant::now();
            let others = async {
                let owner = house.app.owner();
                for _ in 0..20 {
                    assert_eq!(owner.send(WHO, json!({})).await.0, 200);
                }
                began.elapsed()
            };
            let (status, others) = tokio::join!(house.status(&token), others);
            assert_eq!(status, 503);
            assert!(others < began.elapsed(), "the others did not wait");
            assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
        },
    )
    .await;
}
