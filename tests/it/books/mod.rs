//! The books against references: a random program of events gives the same balances in ours, in a plain model and in an
//! independent ledger; and whatever happens at once, what the ledger promises holds.
//!
//! `TRIBUTARY_TEST_SEED` repeats a run.

mod model;

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use chrono::TimeDelta;
use model::{Account, Model, PEOPLE, Step};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use tributary::{
    ambient::Clock,
    domain::{
        ledger::{AccountKey, Code, Journal, Line},
        tenancy::TenantScope,
    },
    services::ledger,
    store::error::StoreError,
};
use tributary_entity::{ids::AffiliateId, kinds::JournalKind, money::Currency};

use crate::{
    isolation,
    support::{
        Backend, Client, Programme, Terms, TestApp, on_both, on_both_tuned,
        programme::{enroll, id, merge, new_affiliate, sale},
        seeded,
    },
};

/// Steps of the program that is held against the references, and after how many of them it is.
const PROGRAM: usize = 400;
const COMPARED_EVERY: usize = 50;
/// Generated steps of the run in which several act at once.
const STEPS_AT_ONCE: usize = 10_000;
const WORKERS: u64 = 6;

fn money(cents: i64) -> Value {
    json!({ "amount": format!("{}.{:02}", cents / 100, cents % 100), "currency": "EUR" })
}

/// A campaign with manual approval and a hold of an hour, and its affiliates with a click each.
struct Stage<'a> {
    app: &'a TestApp,
    owner: Client,
    people: Vec<(String, String)>,
}

impl<'a> Stage<'a> {
    async fn set(app: &'a TestApp) -> Self {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms { hold_seconds: 3_600, ..Terms::manual() }).await;
        let mut people = Vec::new();
        for _ in 0..PEOPLE {
            let affiliate = new_affiliate(&owner).await;
            let (_, link) = enroll(&owner, &programme.campaign, &affiliate).await;
            let click = owner.done("recordClick", json!({ "linkId": link }), "click { id }").await;
            people.push((affiliate, id(&click, "click")));
        }
        Self { app, owner, people }
    }

    fn sale(&self, who: usize, commission: i64) -> Value {
        let order = uuid::Uuid::new_v4().to_string();
        let mut input = sale(&self.people[who].1, &order, "0");
        merge(&mut input, json!({ "saleAmount": money(commission * 10) }));
        input
    }

    /// Posts what a reversal of a released commission does; false when somebody was faster.
    async fn claw(&self, who: usize, amount: i64) -> bool {
        let affiliate: AffiliateId = self.people[who].0.parse().expect("an id");
        let eur: Currency = "EUR".parse().expect("known");
        let mut tx = self.app.services.db.begin(&TenantScope::tenant(self.app.home)).await.expect("begins");
        let owners = [(affiliate, eur)].into();
        let posted = async {
            let (_, available) = ledger::standing(&tx, &owners).await?;
            let covered = amount.min(available.get(&(affiliate, eur)).copied().unwrap_or(0));
            let line = |account, amount_minor| Line { account, amount_minor };
            let lines = vec![
                line(AccountKey::of_affiliate(Code::AffiliateAvailable, affiliate, eur), covered),
                line(AccountKey::of_affiliate(Code::AffiliateReceivable, affiliate, eur), amount - covered),
                line(AccountKey::of_tenant(Code::CommissionExpense, eur), -amount),
            ];
            let key = uuid::Uuid::new_v4().to_string();
            let journal = Journal::new(JournalKind::Reversal, key, None, lines).expect("balances").expect("lines");
            ledger::post(&mut tx, &[journal], self.app.clock.now()).await?;
            tx.commit().await.map(drop)
        };
        match posted.await {
            Ok(()) => true,
            Err(StoreError::Conflict(_) | StoreError::Constraint(_)) => false,
            Err(error) => panic!("{error:?}"),
        }
    }

    /// The ids, affiliates and amounts of the payouts of a batch for everybody.
    async fn pay(&self) -> Vec<(String, usize, i64)> {
        const BATCH: &str =
            "payoutBatch { id payouts(first: 100) { edges { node { id status affiliate { id } gross { amount } } } } }";
        let drafted = self.owner.done("createPayoutBatch", json!({ "currency": "EUR" }), BATCH).await;
        let batch = json!({ "id": drafted["payoutBatch"]["id"] });
        if drafted["payoutBatch"]["payouts"]["edges"] == json!([]) {
            return Vec::new();
        }
        self.owner.mutate("approvePayoutBatch", batch.clone(), "").await;
        let submitted = self.owner.mutate("submitPayoutBatch", batch, BATCH).await;
        let edges = submitted["payoutBatch"]["payouts"]["edges"].as_array().cloned().unwrap_or_default();
        let nodes = edges.iter().map(|edge| &edge["node"]).filter(|node| node["status"] == "SUBMITTED");
        nodes
            .map(|node| {
                let text = |value: &Value| value.as_str().expect("a text").to_owned();
                let affiliate = text(&node["affiliate"]["id"]);
                let who = self.people.iter().position(|(id, _)| *id == affiliate).expect("one of them");
                (text(&node["id"]), who, text(&node["gross"]["amount"]).replace('.', "").parse().expect("cents"))
            })
            .collect()
    }

    async fn mark(&self, name: &str, payout: &str) -> bool {
        let mut input = json!({ "id": payout });
        let more = match name {
            "markPayoutPaid" => json!({ "reference": "r" }),
            "markPayoutFailed" => json!({ "reason": "closed" }),
            _ => json!({ "reference": "b", "reason": "closed" }),
        };
        merge(&mut input, more);
        self.owner.mutate(name, input, "").await["userErrors"] == json!([])
    }

    async fn write_off(&self, who: usize, amount: i64) -> bool {
        let input = json!({ "affiliateId": self.people[who].0, "amount": money(amount), "reason": "gone" });
        self.owner.mutate("writeOffDebt", input, "").await["userErrors"] == json!([])
    }

    async fn deposit(&self, amount: i64) {
        let reference = uuid::Uuid::new_v4().to_string();
        let input = json!({ "processor": "MANUAL", "amount": money(amount), "reference": reference });
        self.owner.done("recordDeposit", input, "journal { id }").await;
    }

    /// What the database says.
    async fn balances(&self) -> BTreeMap<Account, i64> {
        let sql = "SELECT a.code AS code, a.affiliate_id AS affiliate_id, CAST(SUM(e.amount_minor) AS bigint) AS amount \
            FROM entry e JOIN account a ON a.tenant_id = e.tenant_id AND a.id = e.account_id GROUP BY a.code, a.affiliate_id";
        let rows = self.app.auditor.rows(sql).await;
        rows.iter()
            .map(|row| {
                let affiliate: Option<AffiliateId> = row.try_get("", "affiliate_id").expect("an id");
                let who = affiliate
                    .map(|id| self.people.iter().position(|(known, _)| *known == id.to_string()).expect("one of them"));
                let (code, amount): (i32, i64) =
                    (row.try_get("", "code").expect("a code"), row.try_get("", "amount").expect("an amount"));
                ((code, who), amount)
            })
            .filter(|(_, amount)| *amount != 0)
            .collect()
    }
}

/// What a program has made so far.
#[derive(Default)]
struct Made {
    /// Waiting for a review.
    pending: Vec<(String, usize, i64)>,
    /// In the hold period.
    held: Vec<(usize, i64)>,
    submitted: Vec<(String, usize, i64)>,
    paid: Vec<(String, usize, i64)>,
}

/// Takes one of what there is.
fn take<T>(from: &mut Vec<T>, index: &proptest::sample::Index) -> Option<T> {
    (!from.is_empty()).then(|| from.swap_remove(index.index(from.len())))
}

/// Does a step in all books.
async fn act(stage: &Stage<'_>, model: &mut Model, made: &mut Made, step: &Step) {
    match step {
        Step::Sell { who, commission } => {
            let sold = stage.owner.done("recordConversion", stage.sale(*who, *commission), "conversion { id }").await;
            made.pending.push((id(&sold, "conversion"), *who, *commission));
        }
        Step::Approve(index) => {
            let Some((conversion, who, commission)) = take(&mut made.pending, index) else { return };
            stage.owner.done("approveConversions", json!({ "ids": [conversion] }), "").await;
            model.approve(who, commission);
            made.held.push((who, commission));
        }
        Step::Reject(index) => {
            let Some((conversion, ..)) = take(&mut made.pending, index) else { return };
            stage.owner.done("rejectConversions", json!({ "ids": [conversion] }), "").await;
        }
        Step::Release => {
            stage.app.clock.advance(TimeDelta::hours(2));
            stage.app.release_holds().await;
            for (who, commission) in made.held.drain(..) {
                model.release(who, commission);
            }
        }
        Step::Pay => {
            for (payout, who, gross) in stage.pay().await {
                assert_eq!(gross, model.available(who), "all that is available");
                model.pay(who, gross);
                made.submitted.push((payout, who, gross));
            }
        }
        Step::Settle(index) => {
            let Some(payout) = take(&mut made.submitted, index) else { return };
            assert!(stage.mark("markPayoutPaid", &payout.0).await);
            model.settle(payout.2);
            made.paid.push(payout);
        }
        Step::Fail(index) => {
            let Some((payout, who, gross)) = take(&mut made.submitted, index) else { return };
            assert!(stage.mark("markPayoutFailed", &payout).await);
            model.fail(who, gross);
        }
        Step::Return(index) => {
            let Some((payout, who, gross)) = take(&mut made.paid, index) else { return };
            assert!(stage.mark("markPayoutReturned", &payout).await);
            model.give_back(who, gross);
            assert!(!stage.mark("markPayoutReturned", &payout).await, "it comes back once");
        }
        Step::Deposit { amount } => {
            stage.deposit(*amount).await;
            model.deposit(*amount);
        }
        Step::Claw { who, amount } => {
            assert!(stage.claw(*who, *amount).await);
            model.claw(*who, *amount);
        }
        Step::WriteOff { who, amount } => {
            let before = dump(stage.app).await;
            let is_done = stage.write_off(*who, *amount).await;
            assert_eq!(is_done, model.write_off(*who, *amount), "written off as far as it is owed");
            if !is_done {
                assert_eq!(dump(stage.app).await, before, "a refused operation changes nothing");
            }
        }
    }
}

/// Everything that the tables hold, but work in the background and the seal, which come by the clock.
async fn dump(app: &TestApp) -> Vec<(String, Option<String>)> {
    let mut dump = Vec::new();
    for table in isolation::catalogue::tables(&app.auditor).await {
        if ["outbox", "ledger_block", "address_key"].contains(&table.as_str()) {
            continue;
        }
        let sql = if app.backend == Backend::Postgres {
            format!("SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) AS rows FROM {table} t")
        } else {
            let columns = isolation::catalogue::texts(
                &app.auditor,
                &format!("SELECT name FROM pragma_table_info('{table}') ORDER BY cid"),
            )
            .await;
            let columns: Vec<String> = columns.iter().map(|column| format!("quote({column})")).collect();
            format!(
                "SELECT group_concat(row, '|') AS rows FROM (SELECT {} AS row FROM {table} ORDER BY 1)",
                columns.join(" || ")
            )
        };
        let rows: Option<String> = app.auditor.rows(&sql).await[0].try_get("", "rows").expect("a text");
        dump.push((table, rows));
    }
    dump
}

on_both! {
    async fn random_program_gives_the_same_balances_in_three_ledgers(app) {
        let seed = seeded().random();
        println!("steps from {seed}");
        let stage = Stage::set(app).await;
        let (mut model, mut made) = (Model::new(), Made::default());
        let mut done = Vec::new();
        for (number, step) in model::steps(seed).take(PROGRAM).enumerate() {
            act(&stage, &mut model, &mut made, &step).await;
            done.push(step);
            if number % COMPARED_EVERY == 0 {
                let last = &done[done.len().saturating_sub(COMPARED_EVERY)..];
                assert_eq!(stage.balances().await, model.balances(), "after step {number}, behind {last:?}");
            }
        }
        assert_eq!(stage.balances().await, model.balances());
        model.audit();
    }
}

/// What several know of each other's doings.
#[derive(Default)]
struct Known {
    pending: tokio::sync::Mutex<Vec<String>>,
    payouts: tokio::sync::Mutex<Vec<String>>,
    steps: AtomicUsize,
}

/// Some of what is known, which others may choose as well.
async fn some(of: &tokio::sync::Mutex<Vec<String>>, rng: &mut StdRng, most: usize) -> Vec<String> {
    let known = of.lock().await;
    let count = rng.random_range(0..=most.min(known.len()));
    (0..count).map(|_| known[rng.random_range(0..known.len())].clone()).collect()
}

/// Steps of one of several who act at once. Refusals are good answers here.
async fn worker(stage: &Stage<'_>, known: &Known, mut rng: StdRng) {
    while known.steps.load(Ordering::Relaxed) < STEPS_AT_ONCE {
        let who = rng.random_range(0..PEOPLE);
        let amount = rng.random_range(1..4_000);
        let steps = match rng.random_range(0..20) {
            0..8 => {
                let sales: Vec<Value> =
                    (0..25).map(|_| stage.sale(rng.random_range(0..PEOPLE), rng.random_range(1..500))).collect();
                let input = json!({ "items": sales });
                let sold = stage.owner.mutate("recordConversions", input, "items { conversion { id } }").await;
                let ids = sold["items"].as_array().expect("items").iter();
                let ids = ids.map(|item| item["conversion"]["id"].as_str().expect("recorded").to_owned());
                known.pending.lock().await.extend(ids);
                25
            }
            8..13 => {
                let ids = some(&known.pending, &mut rng, 30).await;
                let name = if rng.random_bool(0.8) { "approveConversions" } else { "rejectConversions" };
                if !ids.is_empty() {
                    let document = format!(
                        "mutation($ids: [ID!]!) {{ {name}(input: {{ ids: $ids }}) {{ userErrors {{ code }} }} }}"
                    );
                    let (_, body) = stage.owner.send(&document, json!({ "ids": ids })).await;
                    assert_ne!(body["errors"][0]["extensions"]["code"], "INTERNAL", "{name}: {body}");
                }
                ids.len().max(1)
            }
            13 => {
                stage.app.clock.advance(TimeDelta::minutes(40));
                // Others may be first with some.
                let scope = TenantScope::tenant(stage.app.home);
                let released = tributary::services::holds::release_due(&stage.app.services, &scope).await;
                assert!(
                    released.as_ref().is_ok_and(|_| true)
                        || released.as_ref().is_err_and(tributary::services::ServiceError::is_transient),
                    "{released:?}"
                );
                1
            }
            14 => {
                let payouts = stage.pay().await;
                known.payouts.lock().await.extend(payouts.into_iter().map(|(payout, ..)| payout));
                3
            }
            15 | 16 => {
                for payout in some(&known.payouts, &mut rng, 1).await {
                    let names = ["markPayoutPaid", "markPayoutFailed", "markPayoutReturned"];
                    stage.mark(names[rng.random_range(0..3)], &payout).await;
                }
                1
            }
            17 => {
                stage.deposit(amount).await;
                1
            }
            18 => {
                stage.claw(who, amount).await;
                1
            }
            _ => {
                stage.write_off(who, amount).await;
                1
            }
        };
        known.steps.fetch_add(steps, Ordering::Relaxed);
    }
}

on_both_tuned! { |tuning| tuning.settings.ledger_seal_secs = 1 =>
    // What must hold at every prefix and at the end is checked when the body returns, by `verify`.
    async fn ledger_holds_what_it_promises_whatever_happens_at_once(app) {
        let mut rng = seeded();
        let stage = Stage::set(app).await;
        let known = Known::default();
        let workers = (0..WORKERS).map(|_| worker(&stage, &known, StdRng::seed_from_u64(rng.random())));
        futures_util::future::join_all(workers).await;
        assert!(known.steps.load(Ordering::Relaxed) >= STEPS_AT_ONCE);
        app.clock.advance(TimeDelta::hours(2));
        app.release_holds().await;
        app.seal().await;
        assert!(app.auditor.number("SELECT COUNT(*) FROM journal").await > 1_000);
    }
}
