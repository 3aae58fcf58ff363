//! Routes that a node remembers: changed on every node within two seconds, and used while the database is away.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio::task::JoinSet;
use tributary::services::tenants;
use tributary_entity::kinds::TenantStatus;

use crate::support::{Backend, Programme, Terms, TestApp, Visitor, app, database, gate::Gate, on_both, visitor::path};

/// The promise.
const WITHIN: Duration = Duration::from_secs(2);

/// What is done at one node holds at the other.
async fn changes_reach_the_other_node(app: &TestApp) {
    let (owner, other) = (app.owner(), app.another_node().await);
    let programme = Programme::build(&owner, &Terms::default()).await;
    let path = path(&owner, &programme.link).await;
    let visitor = Visitor::new(&other.url);
    assert_eq!(visitor.get(&path).await.status, 302);
    let pair = [
        ("disableLink", "enableLink", &programme.link),
        ("pauseCampaign", "activateCampaign", &programme.campaign),
        ("suspendAffiliate", "approveAffiliate", &programme.affiliate),
        ("suspendEnrollment", "approveEnrollment", &programme.enrollment),
    ];
    for (close, open, id) in pair {
        owner.done(close, json!({ "id": id }), "").await;
        let took = visitor.until(&path, WITHIN, |answer| answer.status == 404).await;
        owner.done(open, json!({ "id": id }), "").await;
        visitor.until(&path, WITHIN, |answer| answer.status == 302).await;
        println!("{close}: {took:?}");
    }
    tenants::set_status(&app.services, "home", TenantStatus::Suspended).await.expect("suspended");
    visitor.until(&path, WITHIN, |answer| answer.status == 404).await;
    tenants::set_status(&app.services, "home", TenantStatus::Active).await.expect("resumed");
    visitor.until(&path, WITHIN, |answer| answer.status == 302).await;
    let url = json!({ "id": programme.campaign, "destinationUrl": "https://new.example/" });
    owner.done("updateCampaign", url, "").await;
    visitor.until(&path, WITHIN, |answer| answer.location().host_str() == Some("new.example")).await;
    other.stop().await;
}

on_both! {
    async fn change_holds_on_another_node_within_two_seconds(app) {
        changes_reach_the_other_node(app).await;
    }

    async fn flood_of_invented_codes_leaves_room_for_links(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let path = path(&owner, &programme.link).await;
        let visitor = Visitor::new(&app.url);
        let mut flood = JoinSet::new();
        for number in 0..500 {
            let visitor = visitor.clone();
            flood.spawn(async move { visitor.get(&format!("/c/{number:010}")).await.status });
        }
        assert_eq!(visitor.get(&path).await.status, 302);
        owner.data("{ viewer { roles } }", json!({})).await;
        assert!(flood.join_all().await.iter().all(|status| *status == 404));
    }

    async fn many_at_once_at_a_link_that_is_not_known_yet_are_all_sent_on(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let path = path(&owner, &programme.link).await;
        let visitor = Visitor::new(&app.url);
        let mut clicks = JoinSet::new();
        for _ in 0..100 {
            let (visitor, path) = (visitor.clone(), path.clone());
            clicks.spawn(async move { visitor.get(&path).await.status });
        }
        assert!(clicks.join_all().await.iter().all(|status| *status == 302));
        app.until("SELECT count(*) FROM click WHERE is_unique", 100).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn change_holds_on_another_node_without_redis() {
    app::run_with(Backend::Postgres, |settings| settings.redis_url = None, changes_reach_the_other_node).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redirects_go_on_while_the_database_is_away() {
    let server = database::postgres_url();
    let gate = Gate::before(&server).await;
    let behind = |settings: &mut tributary::config::Settings| {
        settings.database_url = settings.database_url.as_deref().map(|url| gate.through(url));
    };
    app::run_with(Backend::Postgres, behind, async |app| {
        let owner = app.owner();
        let [known, changed, unknown] = [
            Programme::build(&owner, &Terms::default()).await,
            Programme::build(&owner, &Terms::default()).await,
            Programme::build(&owner, &Terms::default()).await,
        ];
        let visitor = Visitor::new(&app.url);
        let paths =
            [path(&owner, &known.link).await, path(&owner, &changed.link).await, path(&owner, &unknown.link).await];
        for path in &paths[..2] {
            assert_eq!(visitor.get(path).await.status, 302);
        }
        // What is doubtful goes on being used, as well.
        owner.done("updateLink", json!({ "id": changed.link, "label": "new" }), "").await;
        gate.close();
        for path in &paths[..2] {
            for _ in 0..3 {
                let answer = visitor.get(path).await;
                assert_eq!(answer.location().host_str(), Some("shop.example"));
                assert!(answer.cookie().is_some());
            }
        }
        let answer = visitor.get(&paths[2]).await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
        assert_eq!(visitor.send(Method::HEAD, &paths[2], &[]).await.status, 503);
        gate.open();
        visitor.until(&paths[2], Duration::from_secs(30), |answer| answer.status == 302).await;
        owner.done("disableLink", json!({ "id": changed.link }), "").await;
        visitor.until(&paths[1], WITHIN, |answer| answer.status == 404).await;
    })
    .await;
}
