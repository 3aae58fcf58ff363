//! Requests that take too long: the caller is told, the database stops working on them, and what an ingest lane took is
//! recorded all the same.

use serde_json::json;
use tributary::config::Settings;

use crate::support::{Backend, Programme, Terms, TestApp, app, programme::sale};

fn hasty(settings: &mut Settings) {
    settings.request_timeout_secs = 1;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statement_of_a_request_that_was_given_up_ends() {
    app::run_with(Backend::Postgres, hasty, async |app| {
        let owner = app.owner();
        let lock = app.auditor.begin().await;
        sea_orm::ConnectionTrait::execute_unprepared(&lock, "LOCK TABLE campaign IN ACCESS EXCLUSIVE MODE")
            .await
            .expect("locked");
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                       AND application_name = 'tributary' AND wait_event_type = 'Lock'";
        // More than there are connections: what is given up must not hold them.
        for _ in 0..2 * app.settings.database_connections {
            let (status, body) = owner.send("{ campaigns(first: 1) { nodes { id } } }", json!({})).await;
            let told = &body["errors"][0]["extensions"];
            assert!((status, &told["code"]) == (200, &json!("TIMEOUT")) && told["retryAfterMs"].is_u64(), "{body}");
        }
        app.until(waiting, 0).await;
        lock.rollback().await.expect("unlocked");
        owner.data("{ campaigns(first: 1) { nodes { id } } }", json!({})).await;
    })
    .await;
}

async fn lane_goes_on(app: &TestApp) {
    let owner = app.owner();
    let programme = Programme::build(&owner, &Terms::default()).await;
    let mut input = sale(&programme.click(&owner).await, "o-1", "10.00");
    input["idempotencyKey"] = json!("key-1");
    let query = "mutation($input: RecordConversionInput!) { \
                 recordConversion(input: $input) { replayed conversion { id } userErrors { code } } }";
    let blocking = app.auditor.block().await;
    assert_eq!(owner.error_code(query, json!({ "input": input })).await, "TIMEOUT");
    blocking.rollback().await.expect("unblocked");
    app.until("SELECT count(*) FROM conversion", 1).await;
    let again = owner.data(query, json!({ "input": input })).await;
    assert_eq!(again["recordConversion"]["replayed"], true, "the key tells what became of it: {again}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mutation_that_a_lane_took_is_recorded_though_its_caller_was_sent_away() {
    app::run_with(Backend::Sqlite, hasty, lane_goes_on).await;
    app::run_with(Backend::Postgres, hasty, lane_goes_on).await;
}
