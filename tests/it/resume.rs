//! Going on by cursor: whatever happens to the connection, the union of what was seen is the log, once, in order.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use tributary::{domain::tenancy::TenantScope, services::tenants};

use crate::support::{
    Client, Programme, Terms, Watcher,
    database::Auditor,
    log, on_both,
    programme::{id, sale},
    seeded,
};

const ALL: &str = "subscription($after: Cursor) { conversions(after: $after) { cursor type conversion { id } } }";

async fn record(client: &Client, click: &str, order: &str) -> String {
    id(&client.done("recordConversion", sale(click, order, "1.00"), "conversion { id }").await, "conversion")
}

async fn record_many(client: &Client, click: &str, prefix: &str, count: usize) -> String {
    let items: Vec<Value> = (0..count).map(|number| sale(click, &format!("{prefix}-{number}"), "1.00")).collect();
    let payload = client.done("recordConversions", json!({ "items": items }), "items { conversion { id } }").await;
    let answers = payload["items"].as_array().expect("a list");
    assert_eq!(answers.len(), count);
    id(&answers[count - 1], "conversion")
}

/// Records conversions one by one and in batches; the id of the last.
async fn record_mixed(client: &Client, click: &str, name: &str, count: usize, mut rng: StdRng) -> String {
    let mut left = count;
    let mut last = String::new();
    while left > 0 {
        let size = if rng.random_bool(0.7) { 1 } else { rng.random_range(1..=40).min(left) };
        last = if size == 1 {
            record(client, click, &format!("{name}-{left}")).await
        } else {
            record_many(client, click, &format!("{name}-{left}"), size).await
        };
        left -= size;
    }
    last
}

on_both! {
    async fn union_over_disconnects_is_the_log(app) {
        let mut rng = seeded();
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        let mut watcher = Watcher::begin(&owner, &click).await;
        let writer = {
            let (owner, click, rng) = (owner.clone(), click.clone(), StdRng::seed_from_u64(rng.random()));
            tokio::spawn(async move { record_mixed(&owner, &click, "w", 600, rng).await })
        };
        let mut disconnects = 0;
        // Until the log's end was seen and the writer is done.
        while !writer.is_finished() || watcher.seen != log::since_first_of(&app.auditor, &watcher.seen).await {
            assert!(watcher.connect(&owner).await);
            for _ in 0..rng.random_range(0..30) {
                if !watcher.read_within(Duration::from_millis(300)).await {
                    break;
                }
            }
            watcher.disconnect();
            disconnects += 1;
        }
        writer.await.expect("the writer writes");
        println!("{} events over {disconnects} connections", watcher.seen.len());
        log::assert_saw_everything(&app.auditor, &watcher.seen).await;
        assert!(watcher.seen.len() > 600);
    }

    async fn thousands_of_missed_events_are_read_in_order(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        let mut watcher = Watcher::begin(&owner, &click).await;
        watcher.disconnect();
        let mut last = String::new();
        for (prefix, count) in [("a", 1_000), ("b", 1_000), ("c", 333)] {
            last = record_many(&owner, &click, prefix, count).await;
        }
        assert!(watcher.connect(&owner).await);
        watcher.read_until(&last).await;
        log::assert_saw_everything(&app.auditor, &watcher.seen).await;
        assert!(watcher.seen.len() > 2_333);
        // And then live.
        let live = record(&owner, &click, "live").await;
        watcher.read_until(&live).await;
        log::assert_saw_everything(&app.auditor, &watcher.seen).await;
    }

    async fn joining_under_load_leaves_no_gap(app) {
        let rng = seeded();
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        let writer = {
            let (owner, click) = (owner.clone(), click.clone());
            tokio::spawn(async move { record_mixed(&owner, &click, "w", 800, rng).await })
        };
        let mut joined = Vec::new();
        // One after the other: each joins somewhere among the commits.
        while !writer.is_finished() && joined.len() < 8 {
            let mut watcher = Watcher::new(Value::Null);
            assert!(watcher.connect(&owner).await);
            if watcher.read_within(Duration::from_secs(2)).await {
                joined.push(watcher);
            }
        }
        assert!(!joined.is_empty(), "nobody joined in time");
        let last = writer.await.expect("the writer writes");
        for watcher in &mut joined {
            watcher.read_until(&last).await;
            log::assert_saw_everything(&app.auditor, &watcher.seen).await;
        }
    }

    async fn only_own_cursors_are_taken(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        let watcher = Watcher::begin(&owner, &click).await;
        let cursor = watcher.cursor.clone().expect("a cursor");
        let mut refused = vec![
            String::new(),
            "x".to_owned(),
            cursor[1..].to_owned(),
            cursor[..cursor.len() - 1].to_owned(),
            format!("{cursor}A"),
        ];
        for index in [0, 10, 30, cursor.len() - 1] {
            let mut bytes = cursor.clone().into_bytes();
            bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
            refused.push(String::from_utf8(bytes).expect("ASCII"));
        }
        // Of another stream.
        let earnings = "query($id: ID!) { earnings(affiliateId: $id) { cursor } }";
        let earnings = owner.data(earnings, json!({ "id": programme.affiliate })).await;
        refused.push(earnings["earnings"]["cursor"].as_str().expect("a cursor").to_owned());
        for cursor in refused {
            let mut socket = owner.subscribe(ALL, json!({ "after": cursor })).await;
            assert_eq!(socket.error_code().await, "CURSOR_INVALID", "{cursor}");
        }
        // Right, but of another filter, tenant or ring.
        let filtered = "subscription($after: Cursor) { conversions(after: $after, filter: { goals: [\"sale\"] }) \
            { cursor } }";
        let others = [
            (owner.clone(), filtered),
            (app.stranger(), ALL),
            (app.affiliate(&programme.affiliate), ALL),
        ];
        for (client, query) in others {
            let mut socket = client.subscribe(query, json!({ "after": cursor })).await;
            assert_eq!(socket.error_code().await, "CURSOR_INVALID");
        }
    }

    async fn cursor_of_another_history_has_expired(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        let watcher = Watcher::begin(&owner, &click).await;
        let earnings = "query($id: ID!) { earnings(affiliateId: $id) { cursor } }";
        let earnings = owner.data(earnings, json!({ "id": programme.affiliate })).await["earnings"]["cursor"].clone();
        // What an operator does after restoring an older backup.
        tenants::begin_history(&app.services, &TenantScope::tenant(app.home)).await.expect("begins");
        let mut socket = owner.subscribe(ALL, json!({ "after": watcher.cursor })).await;
        assert_eq!(socket.error_code().await, "CURSOR_EXPIRED");
        let query = "subscription($id: ID!, $after: Cursor) { earnings(affiliateId: $id, after: $after) { cursor } }";
        let variables = json!({ "id": programme.affiliate, "after": earnings });
        assert_eq!(owner.subscribe(query, variables).await.error_code().await, "CURSOR_EXPIRED");
        // A new start works.
        Watcher::begin(&owner, &click).await;
    }

    async fn unreadable_event_is_passed_over(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        let mut watcher = Watcher::begin(&owner, &click).await;
        // One behind the connected subscriber's back, heard of by the poll; then one in the way of a reader of the log.
        spoil(&app.auditor).await;
        let live = record(&owner, &click, "live").await;
        watcher.read_until(&live).await;
        watcher.disconnect();
        record(&owner, &click, "before").await;
        spoil(&app.auditor).await;
        let after = record(&owner, &click, "after").await;
        assert!(watcher.connect(&owner).await);
        watcher.read_until(&after).await;
        let mut expected = log::since_first_of(&app.auditor, &watcher.seen).await;
        assert_eq!(expected.iter().filter(|(kind, _)| kind == SPOILT).count(), 2);
        expected.retain(|(kind, _)| kind != SPOILT);
        log::assert_same(&watcher.seen, &expected);
    }

    async fn locked_database_delays_and_loses_nothing(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        let mut watcher = Watcher::begin(&owner, &click).await;
        let last = record(&owner, &click, "before").await;
        watcher.read_until(&last).await;
        // In PostgreSQL not even reading the log is possible then.
        let lock = app.auditor.begin().await;
        let statement = if app.auditor.is_postgres() {
            "LOCK TABLE event IN ACCESS EXCLUSIVE MODE"
        } else {
            "UPDATE tenant SET name = name"
        };
        lock.execute_unprepared(statement).await.expect("locks");
        let writing = {
            let (owner, click) = (owner.clone(), click.clone());
            tokio::spawn(async move { record(&owner, &click, "during").await })
        };
        let mut late = Watcher::behind(&watcher);
        let joining = { let owner = owner.clone(); tokio::spawn(async move { assert!(late.connect(&owner).await); late }) };
        assert!(!watcher.read_within(Duration::from_millis(1_500)).await, "nothing can have been committed");
        assert!(!writing.is_finished());
        lock.rollback().await.expect("unlocks");
        let during = writing.await.expect("answered");
        watcher.read_until(&during).await;
        let mut late = joining.await.expect("joins");
        late.read_until(&during).await;
        log::assert_saw_everything(&app.auditor, &watcher.seen).await;
        assert_eq!(late.seen.len(), 1);
    }
}

/// The type of an event that only `log` can read.
const SPOILT: &str = "REJECTED";

/// Appends an event that no version could have written, in the place of the next.
async fn spoil(auditor: &Auditor) {
    let tx = auditor.begin().await;
    for statement in [
        "UPDATE tenant_counter SET event_seq = event_seq + 1 \
         WHERE tenant_id = (SELECT tenant_id FROM event ORDER BY seq DESC LIMIT 1)",
        "INSERT INTO event (tenant_id, seq, kind, subject_id, campaign_id, affiliate_id, payload, recorded_at) \
         SELECT tenant_id, seq + 1, 'CONVERSION_REJECTED', subject_id, campaign_id, affiliate_id, \
         '{\"conversion\":{\"id\":\"?\"}}', recorded_at FROM event ORDER BY seq DESC LIMIT 1",
    ] {
        tx.execute_unprepared(statement).await.expect("appends");
    }
    tx.commit().await.expect("commits");
}
