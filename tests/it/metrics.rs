//! What operators are told: that it is there, what it means, and to whom.

use std::collections::BTreeSet;

use tributary::config::{Mode, Settings};

use crate::support::{Backend, Programme, Tap, Terms, TestApp, Visitor, app, visitor};

const TOKEN: &str = "a token for the scraper";

async fn scrape(app: &TestApp, token: Option<&str>) -> (u16, String) {
    let mut request = reqwest::Client::new().get(format!("{}/metrics", app.url));
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let response = request.send().await.expect("an answer");
    (response.status().as_u16(), response.text().await.expect("text"))
}

/// The statuses for nobody, for a wrong token and for the right one.
async fn statuses(mode: Mode, token: Option<&str>) -> [u16; 3] {
    let change = |settings: &mut Settings| {
        settings.mode = Some(mode);
        settings.metrics_token = token.map(str::to_owned);
    };
    let app = TestApp::start_with(Backend::Sqlite, change).await;
    let mut statuses = [0; 3];
    for (status, sent) in statuses.iter_mut().zip([None, Some("another token of some"), Some(TOKEN)]) {
        *status = scrape(&app, sent).await.0;
    }
    app.finish().await;
    statuses
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_are_the_operators_alone() {
    assert_eq!(statuses(Mode::Development, None).await, [200, 200, 200]);
    assert_eq!(statuses(Mode::Production, None).await, [404, 404, 404]);
    assert_eq!(statuses(Mode::Development, Some(TOKEN)).await, [401, 401, 200]);
    assert_eq!(statuses(Mode::Production, Some(TOKEN)).await, [401, 401, 200]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_metric_is_explained() {
    app::run(Backend::Sqlite, async |app| {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        let mut tap = Tap::conversions(app, &owner).await;
        tap.prime(&owner, &click).await;
        owner.send("{ nothing }", serde_json::json!({})).await;
        owner
            .send(
                "mutation { recordClick(input: { linkId: \"none\" }) { userErrors { code } } }",
                serde_json::json!({}),
            )
            .await;
        Visitor::new(&app.url).get(&visitor::path(&owner, &programme.link).await).await.click();
        let (_, text) = scrape(app, None).await;
        let explained: BTreeSet<&str> =
            text.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next()).collect();
        let typed: BTreeSet<&str> =
            text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
        assert_eq!(typed.difference(&explained).collect::<Vec<_>>(), [&""; 0]);
        for name in [
            "feed_events_handed_total",
            "live_groups",
            "live_subscribers",
            "live_deliveries_total",
            "live_lag_seconds",
            "redirects_total",
            "redirect_seconds",
            "ingest_items_total",
            "ingest_waiting_items",
            "ingest_batch_items",
            "ingest_batch_seconds",
            "ingest_commit_seconds",
            "ingest_lateness_seconds",
            "ingest_missing_fields_total",
            "errors_total",
            "user_errors_total",
            "database_connections",
        ] {
            assert!(typed.contains(format!("tributary_{name}").as_str()), "{name} in {text}");
        }
    })
    .await;
}
