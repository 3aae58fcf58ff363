//! Clicks while the database is slow or away: visitors are sent on, no click is lost, none counts twice.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::time::timeout;
use tributary::{
    domain::{
        click::{Labels, NewClick, Visit},
        tenancy::TenantScope,
    },
    services::{Parts, Services, clicks},
};
use tributary_entity::ids::ClickId;

use crate::support::{Backend, Programme, Terms, TestApp, Visitor, node::Node, on_both, visitor::path, world::World};

const CLICKS: &str = "SELECT COUNT(*) FROM click";
/// How long an outage of the database may hold visitors up, in all, on a machine that is busy.
const SENT_ON: Duration = Duration::from_secs(20);

/// The ids that visitors were sent on with, all at once.
async fn burst(visitor: &Visitor, path: &str, count: usize) -> Vec<String> {
    let sent = join_all((0..count).map(|_| visitor.get(path)));
    let answers = timeout(SENT_ON, sent).await.expect("visitors are sent on");
    answers.iter().map(|answer| answer.click()).collect()
}

/// A click of the redirect.
fn new_click(programme: &Programme, id: ClickId) -> NewClick {
    NewClick {
        id: Some(id),
        link_id: programme.link.parse().expect("a link's id"),
        facts: None,
        occurred_at: None,
        visitor_id: None,
        is_new_visitor: false,
        source: None,
        labels: Labels::new(),
        visit: Visit::default(),
        invalid_reason: None,
    }
}

fn new_id() -> ClickId {
    ClickId::from_uuid(tributary::ambient::new_uuid())
}

async fn track(app: &TestApp, click: &NewClick) {
    let scope = TenantScope::tenant(app.home);
    clicks::track(&app.services, &scope, click.clone()).await.expect("the click is kept");
}

on_both! {
    async fn clicks_while_the_database_stands_still_are_recorded_once_when_it_goes_on(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let path = path(&owner, &programme.link).await;
        let visitor = Visitor::new(&app.url);
        let mut ids = burst(&visitor, &path, 20).await;
        let block = app.auditor.block_clicks().await;
        for _ in 0..3 {
            ids.extend(burst(&visitor, &path, 20).await);
        }
        assert!(!app.services.spool.is_empty(), "they wait on disk");
        block.rollback().await.expect("lets go");
        ids.extend(burst(&visitor, &path, 20).await);
        app.until(CLICKS, i64::try_from(ids.len()).expect("few")).await;
        for id in &ids {
            let click = owner.data("query($id: ID!) { click(id: $id) { id } }", json!({ "id": id })).await;
            assert_eq!(click["click"]["id"], **id);
        }
        timeout(Duration::from_secs(30), async {
            while !app.services.spool.is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
        .expect("the spool runs empty");
        assert_eq!(app.auditor.number("SELECT CAST(SUM(clicks_gross) AS bigint) FROM rollup_hourly").await, 100);
    }

    async fn click_that_comes_twice_counts_once(app) {
        let programme = Programme::build(&app.owner(), &Terms::default()).await;
        let click = new_click(&programme, new_id());
        for _ in 0..3 {
            track(app, &click).await;
        }
        join_all((0..10).map(|_| track(app, &click))).await;
        let other = new_click(&programme, new_id());
        join_all([&click, &other, &other].map(|click| track(app, click))).await;
        assert_eq!(app.auditor.number(CLICKS).await, 2);
        assert_eq!(app.auditor.number("SELECT CAST(SUM(clicks_gross) AS bigint) FROM rollup_hourly").await, 2);
    }

    async fn same_id_in_two_tenants_is_two_clicks_and_a_foreign_link_is_refused(app) {
        let ours = Programme::build(&app.owner(), &Terms::default()).await;
        let theirs = Programme::build(&app.stranger(), &Terms::default()).await;
        let id = new_id();
        track(app, &new_click(&ours, id)).await;
        let away = TenantScope::tenant(app.away);
        clicks::track(&app.services, &away, new_click(&theirs, id)).await.expect("theirs");
        assert_eq!(app.auditor.number(CLICKS).await, 2);
        clicks::track(&app.services, &away, new_click(&ours, new_id())).await.expect_err("not their link");
        assert!(app.services.spool.is_empty());
    }

    async fn second_node_on_a_spool_is_refused(app) {
        let second = tributary::spool::Spool::new(app.settings.spool_folder(), 1 << 20);
        assert!(second.open().is_err());
    }

    async fn old_clicks_go_and_what_names_them_still_answers(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        // As of three months ago.
        let now = tributary::ambient::new_uuid().as_u128();
        let old = ClickId::from_uuid(uuid::Uuid::from_u128(now - ((92_u128 * 86_400_000) << 80)));
        track(app, &new_click(&programme, old)).await;
        let kept = programme.click(&owner).await;
        let sale = crate::support::programme::sale(&old.to_string(), "o-1", "10.00");
        let selection = "conversion { id status click { id } attribution { touches { click { id } } } }";
        let before = owner.done("recordConversion", sale, selection).await;
        assert_eq!(before["conversion"]["click"]["id"], old.to_string());

        let settings = tributary::config::Settings { click_retention_months: 2, ..(*app.services.settings).clone() };
        let services = Services::new(Parts { settings: settings.into(), ..(*app.services).clone() });
        if app.auditor.is_postgres() {
            let month = "SELECT click_partition(date_trunc('month', now() - interval '92 days', 'UTC'))";
            app.auditor.rows(month).await;
        }
        tributary::jobs::retention::run(&services).await.expect("runs");
        assert_eq!(app.auditor.number(CLICKS).await, 1);
        let query = "query($id: ID!) { conversion(by: { id: $id }) { status click { id } attribution { touches { click { id } } } } }";
        let after = owner.data(query, json!({ "id": before["conversion"]["id"] })).await;
        assert_eq!(after["conversion"]["status"], "APPROVED");
        assert!(after["conversion"]["click"].is_null());
        assert!(after["conversion"]["attribution"]["touches"][0]["click"].is_null());
        let click = owner.data("query($id: ID!) { click(id: $id) { id } }", json!({ "id": kept })).await;
        assert_eq!(click["click"]["id"], kept);
        let refused = app.auditor.run("DELETE FROM click").await;
        assert!(refused.is_err_and(|error| error.to_string().contains("is append-only")), "others stay");
        // Totals tell of clicks that are gone.
        app.check_invariants.store(false, std::sync::atomic::Ordering::Relaxed);
    }
}

async fn kill_while_the_database_is_away(backend: Backend) {
    let world = World::new(backend).await;
    let node = Node::start(&world.data).await;
    let owner = world.owner(&node);
    let programme = Programme::build(&owner, &Terms::default()).await;
    let path = path(&owner, &programme.link).await;
    let visitor = Visitor::new(&node.url);
    let mut ids = burst(&visitor, &path, 30).await;
    let block = world.auditor.block_clicks().await;
    for _ in 0..3 {
        ids.extend(burst(&visitor, &path, 30).await);
    }
    node.kill().await;
    block.rollback().await.expect("lets go");
    let node = Node::start(&world.data).await;
    let owner = world.owner(&node);
    ids.extend(burst(&Visitor::new(&node.url), &path, 30).await);
    let arrived = async {
        while world.auditor.number(CLICKS).await < 150 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(60), arrived).await.expect("every click is recorded");
    for id in &ids {
        let click = owner.data("query($id: ID!) { click(id: $id) { id } }", json!({ "id": id })).await;
        assert_eq!(click["click"]["id"], **id);
    }
    node.stop().await;
    assert_eq!(world.auditor.number(CLICKS).await, 150);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_while_the_database_is_away_sqlite() {
    kill_while_the_database_is_away(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_while_the_database_is_away_postgres() {
    kill_while_the_database_is_away(Backend::Postgres).await;
}
