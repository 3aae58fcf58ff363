//! Projections are what journals and facts say: wiped, they are made again as they were; and facts that cannot be made
//! again are held against others.

use std::sync::atomic::Ordering;

use chrono::TimeDelta;
use rand::RngExt as _;
use serde_json::json;
use tributary::{domain::tenancy::TenantScope, services::audit};
use tributary_entity::Instant;

use super::{
    at_once::{self, Crowd},
    markets::Market,
    stage::{Rows, dump, everything},
    steps,
};
use crate::{
    story_overrides::found,
    support::{Backend, TestApp, app, double::Double, programme::merge, seeded},
};

/// Steps of the program before.
const STEPS: usize = 700;

/// What is wiped, what of it is made again, and of which rows: one that is not there is one of zeros. How often a balance
/// was changed is nothing that anybody could tell later.
const WIPED: [(&str, &[&str], &str); 9] = [
    ("UPDATE commission SET adjusted_minor = 0, reversed_minor = 0 WHERE status <> 'REJECTED'", &[], "1 = 1"),
    ("UPDATE conversion SET sale_adjusted_minor = 0, refunded_minor = 0, commission_minor = 0", &[], "1 = 1"),
    ("DELETE FROM balance", &["account_id", "amount_minor"], "amount_minor <> 0"),
    ("DELETE FROM earning", &[], "unapproved_minor <> 0"),
    (
        "DELETE FROM rollup_hourly",
        &[],
        "clicks_gross <> 0 OR clicks_unique <> 0 OR clicks_invalid <> 0 OR conversions <> 0 OR sale_minor <> 0 \
         OR commission_minor <> 0",
    ),
    ("DELETE FROM click_invalid_hourly", &[], "clicks <> 0"),
    // Clicks count from when their cap was made, which no row tells to the click.
    ("DELETE FROM cap_usage WHERE cap_id IN (SELECT id FROM cap WHERE metric <> 'CLICKS')", &[], "used <> 0"),
    ("DELETE FROM tier_state", &[], "conversions <> 0 OR sale_minor <> 0"),
    ("UPDATE tenant_counter SET event_seq = 0, journal_seq = 0", &[], "1 = 1"),
];

/// The table that a statement wipes.
fn table(sql: &str) -> &str {
    let words: Vec<&str> = sql.split(' ').collect();
    if words[0] == "UPDATE" { words[1] } else { words[2] }
}

async fn made_again(app: &TestApp, double: &Double) {
    let seed = seeded().random();
    let crowd = Crowd::set(app, double).await;
    // A processor charges for one payout, whatever the seed.
    assert!(crowd.stage.bonus(Market::euro(), 2, 100_000, false).await);
    crowd.pay(Market::euro()).await;
    crowd.rest().await;
    let mut crawler = crowd.stage.click(0);
    merge(
        &mut crawler,
        json!({ "userAgent": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)" }),
    );
    crowd.stage.owner.done("recordClick", crawler, "").await;
    for steps in steps::generated(steps::all(), seed, STEPS).chunks(20) {
        crowd.act(steps.to_vec()).await;
    }
    // A run makes a commission, whatever the seed: the customers of each came by everybody's links before.
    crowd.stage.sell(Market::euro(), 0, 10_000).await;
    crowd.credit("FIRST_CLICK").await;
    crowd.rest().await;
    crowd.go_on(TimeDelta::days(1)).await;
    // Every node knows of the caps since yesterday.
    crowd.stage.owner.done("recordClick", crowd.stage.click(0), "").await;
    crowd.rest().await;
    let mut tables = everything(app).await;
    for rows in &mut tables {
        if let Some((_, columns, which)) = WIPED.iter().find(|(sql, ..)| table(sql) == rows.table) {
            *rows = Rows { table: rows.table.clone(), columns: columns.to_vec(), which };
        }
    }
    let before = dump(app, &tables).await;
    for (sql, ..) in WIPED {
        let rows = app.auditor.number(&format!("SELECT COUNT(*) FROM {}", table(sql))).await;
        assert!(rows > 0, "there is something in {}", table(sql));
        app.auditor.run(sql).await.expect("is wiped");
    }
    for tenant in [app.home, app.away] {
        let scope = TenantScope::tenant(tenant);
        let rebuilt = audit::rebuild(&app.services.db, &scope, Instant::default(), false).await.expect("is rebuilt");
        for (name, _) in rebuilt {
            assert!(WIPED.iter().any(|(sql, ..)| table(sql) == name), "{name} is wiped");
        }
    }
    let after = dump(app, &tables).await;
    let differing: Vec<&String> =
        before.iter().zip(&after).filter(|(before, after)| before != after).map(|((table, _), _)| table).collect();
    assert_eq!(differing, [""; 0], "what is made again is what was");
}

/// What cannot be made again, and what `verify` says when it is changed.
const CHANGED: [(&str, &str); 7] = [
    ("UPDATE payout_transfer SET fee_minor = fee_minor + 1 WHERE fee_minor IS NOT NULL", "PROCESSOR_FEE"),
    ("UPDATE bonus_rule SET amount_minor = amount_minor + 1", "BONUS_GRANT"),
    ("UPDATE click_accrual SET accrued_micros = accrued_micros + 1000000000000", "CLICK_ACCRUAL"),
    ("UPDATE click_rate_accrual SET clicks = clicks + 1", "CLICK_RATE_ACCRUAL"),
    (
        "UPDATE cap_usage SET used = 0 WHERE cap_id IN (SELECT id FROM cap WHERE metric = 'CLICKS')",
        "CAP_CLICKS_MISSING",
    ),
    (
        "UPDATE cap_usage SET used = used + 1000000 WHERE cap_id IN (SELECT id FROM cap WHERE metric = 'CLICKS')",
        "CAP_CLICKS",
    ),
    (
        "UPDATE commission SET amount_minor = amount_minor + 1 WHERE EXISTS (SELECT 1 FROM attribution_adjustment x \
         WHERE x.conversion_id = commission.conversion_id AND x.recorded_at = commission.created_at)",
        "COMMISSION_OF_RUN",
    ),
];

async fn changes_are_found(app: &TestApp) {
    assert_eq!(found(app).await, [""; 0]);
    app.check_invariants.store(false, Ordering::Relaxed);
    for (sql, check) in CHANGED {
        app.auditor.run(sql).await.expect("is changed");
        let found = found(app).await;
        assert!(found.contains(&check), "{check} is among {found:?}");
    }
}

async fn projections_are_made_again(backend: Backend) {
    let double = Double::start().await;
    app::run_with(
        backend,
        |settings| at_once::settings(settings, &double),
        async |app| {
            double.follow(&app.clock);
            made_again(app, &double).await;
            changes_are_found(app).await;
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wiped_projections_are_made_again_sqlite() {
    projections_are_made_again(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wiped_projections_are_made_again_postgres() {
    projections_are_made_again(Backend::Postgres).await;
}
