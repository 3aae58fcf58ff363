//! The seal on the ledger: whoever owns the database and changes what was posted is found, and what he did is named.

use chrono::TimeDelta;
use serde_json::json;
use tributary::{
    ambient::Clock,
    domain::{
        audit::Difference,
        ledger_chain::{Checkpoint, SealKey},
        tenancy::TenantScope,
    },
    services::{
        Parts, Services,
        audit::{self, Terms},
        ledger_blocks,
    },
};

use crate::{
    support::{
        Backend, Programme, Terms as Pay, TestApp,
        app::SECRET,
        on_both_tuned,
        programme::{id, sale},
    },
    tiers,
};

/// Five approved sales, of which two are released, all sealed in two blocks; behind them one more that is not.
async fn sealed(app: &TestApp) {
    let owner = app.owner();
    let programme = Programme::build(&owner, &Pay { hold_seconds: 3_600, ..Pay::default() }).await;
    let sell = async |order: &str| {
        owner.done("recordConversion", sale(&programme.click(&owner).await, order, "49.00"), "").await;
    };
    sell("1").await;
    sell("2").await;
    app.seal().await;
    app.clock.advance(TimeDelta::hours(2));
    app.release_holds().await;
    for order in ["3", "4", "5"] {
        sell(order).await;
    }
    app.seal().await;
    sell("6").await;
    assert!(found(app).await.is_empty());
    // What follows breaks the ledger.
    app.check_invariants.store(false, std::sync::atomic::Ordering::Relaxed);
}

fn home(app: &TestApp) -> TenantScope {
    TenantScope::tenant(app.home)
}

async fn found_with(app: &TestApp, checkpoint: Option<Checkpoint>) -> Vec<Difference> {
    let terms = Terms { trusted: vec![SealKey::new(SECRET).public()], checkpoint, ..Terms::default() };
    audit::verify(&app.services.db, &home(app), &terms).await.expect("is audited").differences
}

async fn found(app: &TestApp) -> Vec<Difference> {
    found_with(app, None).await
}

/// Demands a difference of a check about a subject, and of what it says.
fn names(differences: &[Difference], check: &str, subject: &str, what: &str) {
    let is_named =
        |one: &&Difference| one.check == check && one.subject.starts_with(subject) && one.found.contains(what);
    assert!(differences.iter().any(|one| is_named(&one)), "{check} {subject}: {what} in {differences:#?}");
}

const TABLES: [&str; 9] = [
    "entry",
    "journal",
    "ledger_block",
    "account",
    "fx_conversion",
    "conversion_change_line",
    "revenue_settlement",
    "revenue_carried",
    "revenue_qualification",
];

/// Does something as the owner of the tables, past the triggers.
pub(crate) async fn tamper(app: &TestApp, sql: &str) {
    if app.backend == Backend::Postgres {
        for table in TABLES {
            app.auditor.run(&format!("ALTER TABLE {table} DISABLE TRIGGER ALL")).await.expect("is off");
        }
    } else {
        for table in TABLES {
            for verb in ["update", "delete"] {
                app.auditor.run(&format!("DROP TRIGGER IF EXISTS {table}_no_{verb}")).await.expect("is off");
            }
        }
    }
    // SQLite checks foreign keys by connection.
    let off = if app.backend == Backend::Sqlite { "PRAGMA foreign_keys = OFF; " } else { "" };
    app.auditor.run(&format!("{off}{sql}")).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

on_both_tuned! { |tuning| tuning.settings.ledger_seal_secs = 86_400 =>
    async fn sealed_ledger_is_verified_and_hashes_follow_each_other(app) {
        sealed(app).await;
        let blocks = app.auditor.number("SELECT COUNT(*) FROM ledger_block").await;
        assert_eq!(blocks, 2);
        assert_eq!(app.auditor.number("SELECT MAX(last_seq) FROM ledger_block").await, 7);
        assert_eq!(app.auditor.number("SELECT COUNT(DISTINCT seq) FROM entry").await, 8);
        let broken = "SELECT COUNT(*) FROM ledger_block b JOIN ledger_block a ON a.tenant_id = b.tenant_id \
            AND a.number = b.number - 1 WHERE b.previous_hash <> a.hash OR b.first_seq <> a.last_seq + 1";
        assert_eq!(app.auditor.number(broken).await, 0);
    }

    async fn flipped_byte_is_found(app) {
        sealed(app).await;
        tamper(app, "UPDATE entry SET amount_minor = CASE WHEN amount_minor > 0 THEN amount_minor + 1 ELSE amount_minor - 1 END WHERE seq = 2").await;
        names(&found(app).await, "JOURNAL_ALTERED", "journal 2", "something else");
    }

    async fn flipped_byte_of_a_head_or_an_account_is_found(app) {
        sealed(app).await;
        tamper(app, "UPDATE journal SET business_key = 'x' WHERE id IN (SELECT journal_id FROM entry WHERE seq = 3)").await;
        names(&found(app).await, "JOURNAL_ALTERED", "journal 3", "something else");
        tamper(app, "UPDATE account SET code = 5010 WHERE code = 5000").await;
        names(&found(app).await, "JOURNAL_ALTERED", "journal 1", "something else");
    }

    async fn deleted_last_row_is_found(app) {
        sealed(app).await;
        // The last of all, not sealed yet.
        tamper(app, "DELETE FROM entry WHERE seq = 8").await;
        names(&found(app).await, "JOURNAL_MISSING", "journal 8", "none");
        names(&found(app).await, "JOURNAL_EMPTY", "journal ", "none");
        // The last that is sealed, one line and all.
        tamper(app, "DELETE FROM entry WHERE seq = 7 AND line = 1").await;
        names(&found(app).await, "JOURNAL_ALTERED", "journal 7", "something else");
        names(&found(app).await, "JOURNAL_BALANCE", "journal 7", "EUR");
        tamper(app, "DELETE FROM entry WHERE seq = 7").await;
        names(&found(app).await, "JOURNAL_ALTERED", "journal 7", "nothing");
    }

    async fn deleted_last_row_is_found_also_when_the_counter_is_set_back(app) {
        sealed(app).await;
        tamper(app, "DELETE FROM entry WHERE seq = 8; UPDATE tenant_counter SET journal_seq = 7 WHERE journal_seq = 8").await;
        names(&found(app).await, "PROJECTION", "balance", "amount_minor");
        names(&found(app).await, "JOURNAL_EMPTY", "journal ", "none");
    }

    async fn swapped_rows_are_found(app) {
        sealed(app).await;
        tamper(app, "UPDATE entry SET seq = -seq WHERE seq IN (5, 6); \
            UPDATE entry SET seq = CASE seq WHEN -5 THEN 6 ELSE 5 END WHERE seq < 0").await;
        let differences = found(app).await;
        names(&differences, "JOURNAL_ALTERED", "journal 5", "what was sealed as journal 6");
        names(&differences, "JOURNAL_ALTERED", "journal 6", "what was sealed as journal 5");
    }

    async fn inserted_row_is_found(app) {
        sealed(app).await;
        // Two lines that balance, in a journal that is sealed.
        for line in [2, 3] {
            let amount = if line == 2 { 100 } else { -100 };
            tamper(app, &format!("INSERT INTO entry (tenant_id, journal_id, line, seq, account_id, amount_minor, currency) \
                SELECT tenant_id, journal_id, {line}, seq, account_id, {amount}, currency FROM entry WHERE seq = 2 AND line = 0")).await;
        }
        names(&found(app).await, "JOURNAL_ALTERED", "journal 2", "something else");
    }

    async fn row_inserted_behind_the_last_is_found(app) {
        sealed(app).await;
        tamper(app, "INSERT INTO entry (tenant_id, journal_id, line, seq, account_id, amount_minor, currency) \
            SELECT tenant_id, journal_id, line + 10, 9, account_id, amount_minor, currency FROM entry WHERE seq = 8").await;
        let differences = found(app).await;
        names(&differences, "COUNTER", "journals", "journals up to 9");
        names(&differences, "PROJECTION", "balance", "amount_minor");
    }

    async fn rewritten_chain_is_found(app) {
        sealed(app).await;
        tamper(app, "UPDATE entry SET amount_minor = amount_minor * 2 WHERE seq <= 8; \
            UPDATE balance SET amount_minor = amount_minor * 2; DELETE FROM ledger_block").await;
        // Everything anew, with another secret.
        let forger = Services::new(Parts { seal: SealKey::new("the forger's own secret, long enough").into(), ..(*app.services).clone() });
        ledger_blocks::seal_due(&forger, &home(app)).await.expect("seals");
        let differences = found(app).await;
        names(&differences, "SEAL", "block 1", "another key");
        // With the installation's public key written over it, the signature does not fit.
        let key = data_encoding::HEXLOWER.encode(&SealKey::new(SECRET).public());
        let key = if app.backend == Backend::Postgres { format!("'\\x{key}'") } else { format!("x'{key}'") };
        tamper(app, &format!("UPDATE ledger_block SET public_key = {key}")).await;
        names(&found(app).await, "SEAL", "block 1", "a wrong signature");
    }

    async fn removed_or_changed_block_is_found(app) {
        sealed(app).await;
        tamper(app, "DELETE FROM ledger_block WHERE number = 1").await;
        names(&found(app).await, "BLOCK_MISSING", "block 2", "block 2 from journal 3");
        names(&found(app).await, "CHAIN_BROKEN", "block 2", "");
        tamper(app, "UPDATE ledger_block SET entries = entries + 1").await;
        names(&found(app).await, "BLOCK_ALTERED", "block 2", "");
    }

    async fn ledger_that_was_cut_off_is_found_by_a_checkpoint_that_was_kept(app) {
        sealed(app).await;
        let kept = ledger_blocks::newest_checkpoint(&app.services, &home(app)).await.expect("reads").expect("a checkpoint");
        assert!(kept.is_signed());
        assert_eq!((kept.block, kept.journals), (2, 7));
        assert!(found_with(app, Some(kept.clone())).await.is_empty());
        let text = serde_json::to_string(&kept).expect("JSON");
        assert_eq!(serde_json::from_str::<Checkpoint>(&text).expect("JSON"), kept);
        tamper(app, "DELETE FROM ledger_block WHERE number = 2").await;
        assert!(found(app).await.is_empty(), "a chain that ends earlier is a chain");
        names(&found_with(app, Some(kept.clone())).await, "CHECKPOINT", "checkpoint of block 2", "no such block");
        let forged = Checkpoint { journals: 6, ..kept };
        names(&found_with(app, Some(forged)).await, "CHECKPOINT", "checkpoint of block 2", "another");
    }

    async fn two_nodes_seal_each_journal_once(app) {
        sealed(app).await;
        app.check_invariants.store(true, std::sync::atomic::Ordering::Relaxed);
        let scope = home(app);
        let seal = || ledger_blocks::seal_due(&app.services, &scope);
        let (a, b, c) = tokio::join!(seal(), seal(), seal());
        let made = [a, b, c].map(|blocks| blocks.expect("seals")).iter().sum::<u64>();
        assert_eq!(made, 1);
        assert_eq!(app.auditor.number("SELECT CAST(SUM(last_seq - first_seq + 1) AS bigint) FROM ledger_block").await, 8);
    }

    async fn projections_are_restored_where_they_differ_and_nowhere_else(app) {
        sealed(app).await;
        app.check_invariants.store(true, std::sync::atomic::Ordering::Relaxed);
        let rebuild = async |check| {
            let restored = audit::rebuild(&app.services.db, &home(app), tributary_entity::Instant::default(), check).await;
            restored.expect("is rebuilt").into_iter().filter(|(_, rows)| *rows > 0).collect::<Vec<_>>()
        };
        assert_eq!(rebuild(false).await, []);
        let versions = "SELECT CAST(SUM(version) AS bigint) FROM balance";
        let before = app.auditor.number(versions).await;
        for sql in [
            "UPDATE balance SET amount_minor = amount_minor + 1 WHERE amount_minor > 0",
            "UPDATE rollup_hourly SET sale_minor = sale_minor + 1, clicks_gross = 0",
            "UPDATE tenant_counter SET event_seq = 1, journal_seq = 1 WHERE journal_seq > 1",
        ] {
            tamper(app, sql).await;
        }
        let differing = [("balance", 2), ("rollup_hourly", 2), ("tenant_counter", 1)];
        let told = rebuild(true).await;
        assert_eq!(told.iter().map(|(table, _)| *table).collect::<Vec<_>>(), differing.map(|(table, _)| table));
        assert!(!found(app).await.is_empty(), "nothing is written by a check");
        assert_eq!(rebuild(false).await, told);
        assert!(found(app).await.is_empty());
        assert_eq!(rebuild(false).await, []);
        assert_eq!(app.auditor.number(versions).await, before + 2);
    }

    async fn what_tiers_counted_is_verified_and_restored(app) {
        let owner = app.owner();
        let programme = tiers::of_sales(&owner, "WHOLE").await;
        let sold = tiers::sell(&owner, &programme, &["150.00"; 3]).await;
        tiers::rerate(app).await;
        owner.done("refundConversion", json!({ "id": sold[0] }), "").await;
        tiers::rerate(app).await;
        for sql in ["UPDATE tier_state SET conversions = 9", "UPDATE tier_state SET sale_minor = 1", "DELETE FROM tier_state"] {
            assert_eq!(found(app).await, []);
            tamper(app, sql).await;
            names(&found(app).await, "PROJECTION", "tier_state", "");
            audit::rebuild(&app.services.db, &home(app), tributary_entity::Instant::default(), false).await.expect("is rebuilt");
        }
        assert_eq!(found(app).await, []);
        app.check_invariants.store(false, std::sync::atomic::Ordering::Relaxed);
        tamper(app, "UPDATE tier_share SET is_counted = TRUE, sale_minor = 15000").await;
        names(&found(app).await, "TIER_SHARE", "conversion", "counted by a tier");
    }

    async fn what_refunds_and_conversions_of_balances_made_is_verified_and_restored(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Pay { hold_seconds: 3_600, ..Pay::default() }).await;
        let sell = async |order: &str| {
            let input = sale(&programme.click(&owner).await, order, "49.00");
            id(&owner.done("recordConversion", input, "conversion { id }").await, "conversion")
        };
        let (first, second) = (sell("1").await, sell("2").await);
        let part = json!({ "id": first, "amount": { "amount": "10.00", "currency": "EUR" } });
        owner.done("refundConversion", part, "").await;
        let more = json!({ "id": second, "saleAmount": { "amount": "59.00", "currency": "EUR" } });
        owner.done("adjustConversion", more, "").await;
        app.clock.advance(TimeDelta::hours(2));
        app.release_holds().await;
        let rate = json!({ "base": "EUR", "quote": "USD", "rate": "1.25", "validOn": app.clock.now().date_naive() });
        owner.done("setFxRate", rate, "").await;
        let dollars = json!({ "affiliateId": programme.affiliate, "from": { "amount": "4.00", "currency": "EUR" }, "to": "USD" });
        owner.done("convertBalance", dollars, "").await;
        let restored = [
            ("UPDATE commission SET reversed_minor = reversed_minor + 1 WHERE reversed_minor > 0", "commission"),
            ("UPDATE commission SET adjusted_minor = adjusted_minor + 1 WHERE adjusted_minor > 0", "commission"),
            ("UPDATE conversion SET refunded_minor = 0 WHERE refunded_minor > 0", "conversion"),
            ("UPDATE conversion SET sale_adjusted_minor = 0 WHERE sale_adjusted_minor > 0", "conversion"),
            ("UPDATE rollup_hourly SET commission_minor = 0 WHERE commission_minor > 0", "rollup_hourly"),
        ];
        for (sql, table) in restored {
            assert_eq!(found(app).await, []);
            tamper(app, sql).await;
            names(&found(app).await, "PROJECTION", table, "");
            let rebuilt = audit::rebuild(&app.services.db, &home(app), tributary_entity::Instant::default(), false).await;
            let rows: Vec<(&str, u64)> = rebuilt.expect("is rebuilt").into_iter().filter(|(_, rows)| *rows > 0).collect();
            assert_eq!(rows, [(table, 1)], "{sql}");
        }
        // What was done is not what is in the ledger.
        assert_eq!(found(app).await, []);
        app.check_invariants.store(false, std::sync::atomic::Ordering::Relaxed);
        let broken = [
            ("UPDATE fx_conversion SET to_minor = to_minor + 1", "EXCHANGED", "affiliate"),
            ("UPDATE fx_conversion SET from_minor = from_minor + 1", "FX_POSITION", "FX position EUR"),
            ("DELETE FROM conversion_change_line WHERE amount_minor < 0", "REVERSALS", "journal"),
            ("DELETE FROM conversion_change_line", "ADJUSTMENTS", "journal"),
        ];
        for (sql, check, subject) in broken {
            tamper(app, sql).await;
            names(&found(app).await, check, subject, "");
        }
    }
}
