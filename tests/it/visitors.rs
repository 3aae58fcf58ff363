//! What is kept of visitors, and what is not: no address, no user agent; hashes that live as long as their keys.

use std::net::IpAddr;

use chrono::TimeDelta;
use serde_json::json;
use tributary::{
    app::{App, Leaves, SecretSource},
    config::Settings,
    domain::{click::Visit, tenancy::TenantScope},
    jobs,
    services::visitors::Sender,
};
use tributary_entity::{ids::TenantId, kinds::Device};

use crate::{
    isolation::catalogue,
    support::{Programme, Terms, TestApp, app::Tuning, database::Auditor, on_both, on_both_tuned},
};

const PHONE: &str = "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) \
    Chrome/140.0.0.0 Mobile Safari/537.36";
const ADDRESS: &str = "81.2.69.160";

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// What is told of a visitor of a tenant.
fn visit(app: &TestApp, tenant: TenantId, from: &str) -> Visit {
    let sender = Sender { address: address(from), user_agent: Some(PHONE), referrer: None };
    app.services.visitors.describe(&TenantScope::tenant(tenant), &sender).visit
}

/// The hash of an address, when the key has come.
async fn hash(app: &TestApp, tenant: TenantId, from: &str) -> String {
    app.services.visitors.prepare(&TenantScope::tenant(tenant)).await;
    visit(app, tenant, from).address_hash.expect("the key is there")
}

/// The tables that hold a text in any column.
async fn tables_with(auditor: &Auditor, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for table in catalogue::tables(auditor).await {
        let holds = if auditor.is_postgres() {
            format!("t::text LIKE '%{text}%'")
        } else {
            let columns = catalogue::texts(auditor, &format!("SELECT name FROM pragma_table_info('{table}')")).await;
            let columns: Vec<String> = columns.iter().map(|name| format!("t.{name} LIKE '%{text}%'")).collect();
            columns.join(" OR ")
        };
        if auditor.number(&format!("SELECT COUNT(*) FROM {table} t WHERE {holds}")).await > 0 {
            found.push(table);
        }
    }
    found
}

/// A node that knows the country of an address.
pub fn with_countries(tuning: &mut Tuning) {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/visitors/GeoIP2-Country-Test.mmdb");
    tuning.settings.geoip_database = Some(file.into());
}

on_both_tuned! { with_countries =>
    async fn click_tells_of_its_visitor_and_keeps_neither_address_nor_user_agent(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let told = json!({
            "userAgent": PHONE, "ipAddress": ADDRESS, "referrer": "https://blog.example/secret-path?q=secret-query",
            "idempotencyKey": "k",
        });
        programme.click_with(&owner, told).await;
        let kept = app.auditor.number(
            "SELECT COUNT(*) FROM click WHERE country = 'GB' AND device = 'MOBILE' AND os = 'Android' \
             AND browser = 'Chrome Mobile' AND referrer_host = 'blog.example' AND address_prefix = '81.2.69.0/24' \
             AND length(address_hash) = 32 AND invalid_reason IS NULL",
        );
        assert_eq!(kept.await, 1);
        for secret in [ADDRESS, "Pixel 9", "secret-path", "secret-query"] {
            assert_eq!(tables_with(&app.auditor, secret).await, Vec::<String>::new(), "{secret}");
        }
        assert_eq!(tables_with(&app.auditor, "81.2.69.0/24").await, ["click"], "the search finds what is there");
    }

    async fn visitor_is_described_without_the_database(app) {
        hash(app, app.home, ADDRESS).await;
        let blocked = app.auditor.block().await;
        let sender = Sender {
            address: address("::ffff:81.2.69.160"),
            user_agent: Some(PHONE),
            referrer: Some("https://blog.example/"),
        };
        let told = app.services.visitors.describe(&TenantScope::tenant(app.home), &sender);
        drop(blocked);
        assert!(!told.is_crawler);
        let Visit { country, device, os, browser, referrer_host, address_prefix, address_hash } = told.visit;
        assert_eq!((country.as_deref(), device, os.as_deref()), (Some("GB"), Some(Device::Mobile), Some("Android")));
        assert_eq!((browser.as_deref(), referrer_host.as_deref()), (Some("Chrome Mobile"), Some("blog.example")));
        assert_eq!((address_prefix.as_deref(), address_hash.is_some()), (Some("81.2.69.0/24"), true));
    }
}

on_both! {
    async fn hash_is_the_same_on_every_node_and_another_for_another_tenant_and_day(app) {
        let here = hash(app, app.home, ADDRESS).await;
        assert_eq!(here, hash(app, app.home, "::ffff:81.2.69.160").await, "an IPv4 address in IPv6");
        assert_ne!(here, hash(app, app.home, "81.2.69.161").await, "its neighbour");
        assert_ne!(here, hash(app, app.away, ADDRESS).await, "another tenant");
        let node = app.another_node().await;
        let scope = TenantScope::tenant(app.home);
        node.services.visitors.prepare(&scope).await;
        let sender = Sender { address: address(ADDRESS), user_agent: None, referrer: None };
        let there = node.services.visitors.describe(&scope, &sender);
        assert_eq!(there.visit.address_hash.as_ref(), Some(&here), "another node");
        assert!(there.is_crawler, "a request without a user agent is a program's");
        node.stop().await;
        app.clock.advance(TimeDelta::days(1));
        let tomorrow = visit(app, app.home, ADDRESS).address_hash.expect("tomorrow's key was made ahead");
        assert_ne!(here, tomorrow, "another day");
    }

    async fn keys_are_made_ahead_for_every_tenant_and_destroyed_after_the_window(app) {
        jobs::visitors::prepare_keys(&app.services).await.expect("keys are made");
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM address_key").await, 4, "today and tomorrow of two tenants");
        for tenant in [app.home, app.away] {
            assert!(visit(app, tenant, ADDRESS).address_hash.is_some());
        }
        app.clock.advance(TimeDelta::days(30));
        jobs::retention::run(&app.services).await.expect("runs");
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM address_key").await, 4, "30 days are the window");
        app.clock.advance(TimeDelta::days(1));
        jobs::retention::run(&app.services).await.expect("runs");
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM address_key").await, 2);
        app.clock.advance(TimeDelta::days(1));
        jobs::retention::run(&app.services).await.expect("runs");
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM address_key").await, 0);
    }

    async fn visitor_of_a_tenant_without_a_key_yet_has_no_hash_and_the_next_one_has(app) {
        let tenant = app.new_tenant("third").await;
        assert_eq!(visit(app, tenant, ADDRESS).address_hash, None);
        let comes = async {
            while visit(app, tenant, ADDRESS).address_hash.is_none() {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(30), comes).await.expect("the key comes");
        assert_eq!(visit(app, tenant, ADDRESS).address_prefix.as_deref(), Some("81.2.69.0/24"));
    }

    async fn click_with_a_visitor_is_replayed_on_another_day_and_a_conflict_with_another_visitor(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let input = |agent: &str, from: &str| json!({
            "linkId": programme.link, "idempotencyKey": "k", "userAgent": agent, "ipAddress": from,
        });
        let first = owner.done("recordClick", input(PHONE, ADDRESS), "replayed click { id }").await;
        app.clock.advance(TimeDelta::days(1));
        let again = owner.done("recordClick", input(PHONE, ADDRESS), "replayed click { id }").await;
        assert_eq!((&first["click"], &again["replayed"]), (&again["click"], &json!(true)));
        assert_eq!(owner.refusal("recordClick", input("curl/8", ADDRESS)).await, "IDEMPOTENCY_CONFLICT");
        assert_eq!(owner.refusal("recordClick", input(PHONE, "192.0.2.1")).await, "IDEMPOTENCY_CONFLICT");
    }

    async fn address_that_is_none_is_refused(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        for text in ["", "localhost", "81.2.69", "81.2.69.160:80", "300.1.1.1"] {
            let input = json!({ "linkId": programme.link, "ipAddress": text });
            assert_eq!(owner.refusal("recordClick", input).await, "INVALID_TEXT", "{text}");
        }
    }
}

#[tokio::test]
async fn country_database_that_cannot_be_used_ends_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("countries.mmdb");
    let start = async || {
        let settings =
            Settings { data_dir: folder.path().to_owned(), geoip_database: Some(file.clone()), ..Settings::default() };
        let started = App::open(settings, SecretSource::Settings, Leaves::default()).await;
        started.err().expect("does not start").to_string()
    };
    let missing = start().await;
    assert!(missing.starts_with("TRIBUTARY_GEOIP_DATABASE, ") && missing.contains("cannot be read"), "{missing}");
    std::fs::write(&file, "no database").expect("writes");
    let bad = start().await;
    assert!(bad.contains("countries.mmdb: it is no country database in MaxMind's format"), "{bad}");
}
