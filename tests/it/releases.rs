//! Two releases beside each other: a node starts on a schema that is newer than it, works while it changes, and changes it
//! itself without holding up the others.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use rand::RngExt;
use sea_orm::ConnectionTrait;
use serde_json::json;
use tokio::{sync::watch, time::sleep};
use tributary::store::database::{Db, Location};
use tributary_migration::{Migrator, MigratorTrait, protect::create_app_role};

use crate::support::{
    Backend, Programme, Terms, Watcher, Watching, app, database,
    database::Auditor,
    node::Node,
    seeded,
    world::World,
    writer::{self, Writer, Writing},
};

/// What the next release does to the schema, as far as a release may.
const NEXT: [&str; 4] = [
    "ALTER TABLE conversion ADD COLUMN of_next_release text",
    "ALTER TABLE event ADD COLUMN of_next_release bigint NOT NULL DEFAULT 0",
    "CREATE TABLE next_release (id bigint PRIMARY KEY, what text)",
    "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m29991231_1_next_release', 0)",
];

/// Migrates as the next release would: each statement gives way to those who write.
async fn migrate(auditor: &Auditor) {
    for statement in NEXT {
        let began = Instant::now();
        while let Err(error) = auditor.run(statement).await {
            assert!(began.elapsed() < Duration::from_secs(30), "{statement}: {error}");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn old_and_new(backend: Backend) {
    let mut rng = seeded();
    let world = World::new(backend).await;
    let mut node = Node::start(&world.data).await;
    let owner = world.owner(&node);
    let programme = Programme::build(&owner, &Terms::default()).await;
    let click = programme.click(&owner).await;
    let watcher = Watcher::begin(&owner, &click).await;
    let (set_nodes, nodes) = watch::channel(vec![owner]);
    let watching = Watching::begin(watcher, &nodes);
    let writing = Writing::begin(4, &Writer::new(&click), &nodes, &mut rng);
    sleep(Duration::from_millis(rng.random_range(200..600))).await;
    migrate(&world.auditor).await;
    sleep(Duration::from_millis(rng.random_range(200..600))).await;
    node.stop().await;
    node = Node::start(&world.data).await;
    set_nodes.send(vec![world.owner(&node)]).expect("somebody writes");
    sleep(Duration::from_millis(500)).await;
    writer::assert_agree(&world.auditor, &world.owner(&node), writing.end().await).await;
    watching.assert_saw_everything(&world.auditor).await;
    node.stop().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schema_of_the_next_release_comes_under_load_and_the_node_starts_again_sqlite() {
    old_and_new(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schema_of_the_next_release_comes_under_load_and_the_node_starts_again_postgres() {
    old_and_new(Backend::Postgres).await;
}

/// Newer steps are there and one of ours is not: that is no schema of ours.
async fn another_history(backend: Backend) {
    let world = World::new(backend).await;
    migrate(&world.auditor).await;
    let ours = Migrator::migrations().pop().expect("a step").name().to_owned();
    world.auditor.run(&format!("DELETE FROM seaql_migrations WHERE version = '{ours}'")).await.expect("forgotten");
    let output = world.data.command().arg("serve").output().await.expect("the command runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("'m29991231_1_next_release' is missing"), "{said}");
    let again = format!("INSERT INTO seaql_migrations (version, applied_at) VALUES ('{ours}', 0)");
    world.auditor.run(&again).await.expect("remembered");
    world.finish().await;
}

#[tokio::test]
async fn schema_of_another_history_is_refused_sqlite() {
    another_history(Backend::Sqlite).await;
}

#[tokio::test]
async fn schema_of_another_history_is_refused_postgres() {
    another_history(Backend::Postgres).await;
}

/// A transaction has written to every table and lies open, so no table can be changed. Whoever else writes waits no longer
/// than a migration waits, and when the transaction ends, the migration is done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migration_gives_way_to_who_writes() {
    /// Of all steps; among those after them are some that change tables of those before.
    const STEPS: u32 = 20;
    let url = database::empty_postgres().await;
    let auditor = Auditor::postgres(&url).await;
    let old = sea_orm::Database::connect(&url).await.expect("connects");
    create_app_role(&old, "postgres".to_owned()).await.expect("a role");
    Migrator::up(&old, Some(STEPS)).await.expect("migrates");
    let tables: Vec<String> = auditor
        .rows("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'seaql_migrations'")
        .await
        .iter()
        .map(|row| row.try_get_by_index(0).expect("a name"))
        .collect();
    let write = |table: &str| format!("LOCK TABLE {table} IN ROW EXCLUSIVE MODE");
    let open = auditor.begin().await;
    for table in &tables {
        open.execute_unprepared(&write(table)).await.expect("locked");
    }
    let location = Location::Postgres { url: &url, admin_url: None, connections: 2, replica: None };
    let is_done = Cell::new(false);
    let migrating = async {
        let opened = Db::open(&location).await;
        is_done.set(true);
        opened
    };
    let writing = async {
        let (began, mut longest) = (Instant::now(), Duration::ZERO);
        while began.elapsed() < Duration::from_secs(8) {
            for table in &tables {
                let waited = Instant::now();
                let other = auditor.begin().await;
                other.execute_unprepared(&write(table)).await.expect("locked");
                other.commit().await.expect("commits");
                longest = longest.max(waited.elapsed());
            }
            assert!(!is_done.get(), "nothing keeps the migration from being done");
        }
        open.rollback().await.expect("ends");
        longest
    };
    let (opened, longest) = tokio::join!(migrating, writing);
    println!("{longest:?} at most");
    assert!(longest > Duration::from_millis(500), "no migration was waited for: {longest:?}");
    assert!(longest < Duration::from_secs(4), "{longest:?}");
    opened.expect("migrates").close().await.expect("closes");
    old.close().await.expect("closes");
    auditor.close().await;
}

/// What statements answer changes under connections that have prepared them: callers may be told to come back, and are
/// served again at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_from_before_a_migration_are_prepared_anew() {
    app::run_with(
        Backend::Postgres,
        |_| {},
        async |app| {
            let owner = app.owner();
            Programme::build(&owner, &Terms::default()).await;
            const QUERY: &str = "{ campaigns(first: 1) { nodes { name } } }";
            let ask = async || {
                let asked = (0..20).map(|_| owner.send(QUERY, json!({})));
                futures_util::future::join_all(asked).await.into_iter().map(|(_, body)| body).collect::<Vec<_>>()
            };
            assert!(ask().await.iter().all(|body| body.get("errors").is_none()));
            app.auditor.run("ALTER TABLE campaign ALTER COLUMN name TYPE varchar(500)").await.expect("changed");
            let began = Instant::now();
            loop {
                let answers = ask().await;
                for error in answers.iter().filter_map(|body| body["errors"].get(0)) {
                    assert_eq!(error["extensions"]["code"], "UNAVAILABLE", "{error}");
                }
                if answers.iter().all(|body| body.get("errors").is_none()) {
                    break;
                }
                assert!(began.elapsed() < Duration::from_secs(5), "it does not heal");
            }
        },
    )
    .await;
}
