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
use model::{Account, DOLLAR, Deal, EURO, Model, PEOPLE, Place, Step};
use proptest::sample::Index;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use tributary::{ambient::Clock, domain::tenancy::TenantScope};
use tributary_entity::ids::AffiliateId;

use crate::{
    isolation,
    support::{
        Backend, Client, Programme, Terms, TestApp,
        client::mutation,
        on_both, on_both_tuned,
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

fn money(cents: i64, currency: &str) -> Value {
    json!({ "amount": format!("{}.{:02}", cents / 100, cents % 100), "currency": currency })
}

/// A campaign with manual approval and a hold of an hour, its affiliates with a click each, and a rate for dollars.
struct Stage<'a> {
    app: &'a TestApp,
    owner: Client,
    people: Vec<(String, String)>,
}

impl<'a> Stage<'a> {
    async fn set(app: &'a TestApp) -> Self {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms { hold_seconds: 3_600, ..Terms::manual() }).await;
        let rate = json!({ "base": EURO, "quote": DOLLAR, "rate": "1.25", "validOn": app.clock.now().date_naive() });
        owner.done("setFxRate", rate, "").await;
        let mut people = Vec::new();
        for _ in 0..PEOPLE {
            let affiliate = new_affiliate(&owner).await;
            let (_, link) = enroll(&owner, &programme.campaign, &affiliate).await;
            let click = owner.done("recordClick", json!({ "linkId": link }), "click { id }").await;
            people.push((affiliate, id(&click, "click")));
        }
        Self { app, owner, people }
    }

    fn sale(&self, who: usize, amount: i64) -> Value {
        let order = uuid::Uuid::new_v4().to_string();
        let mut input = sale(&self.people[who].1, &order, "0");
        merge(&mut input, json!({ "saleAmount": money(amount, EURO) }));
        input
    }

    /// Whether it is done; refusals are answers here, and so is that somebody was faster, but nothing else.
    async fn attempt(&self, name: &str, input: Value, selection: &str) -> Option<Value> {
        let (_, mut body) = self.owner.send(&mutation(name, selection), json!({ "input": input })).await;
        let code = &body["errors"][0]["extensions"]["code"];
        assert!(code.is_null() || code == "CONFLICT" || code == "UNAVAILABLE", "{name}: {body}");
        let payload = body["data"]["result"].take();
        (payload["userErrors"] == json!([])).then_some(payload)
    }

    async fn review(&self, ids: &[String], is_approved: bool) -> bool {
        let done = if is_approved {
            self.attempt("approveConversions", json!({ "ids": ids }), "").await
        } else {
            self.attempt("rejectConversions", json!({ "ids": ids, "reason": "FRAUD" }), "").await
        };
        done.is_some()
    }

    /// The refund's id.
    async fn refund(&self, conversion: &str, amount: Option<i64>) -> Option<String> {
        let amount = amount.map(|amount| money(amount, EURO));
        let input = json!({ "id": conversion, "amount": amount });
        self.attempt("refundConversion", input, "conversionChange { id }").await.map(|one| id(&one, "conversionChange"))
    }

    async fn undo(&self, change: &str) -> bool {
        self.attempt("undoReversal", json!({ "id": change }), "").await.is_some()
    }

    async fn adjust(&self, conversion: &str, amount: i64) -> bool {
        let input = json!({ "id": conversion, "saleAmount": money(amount, EURO) });
        self.attempt("adjustConversion", input, "").await.is_some()
    }

    async fn convert(&self, who: usize, amount: i64, is_back: bool) -> bool {
        let (from, to) = if is_back { (DOLLAR, EURO) } else { (EURO, DOLLAR) };
        let input = json!({ "affiliateId": self.people[who].0, "from": money(amount, from), "to": to });
        self.attempt("convertBalance", input, "").await.is_some()
    }

    /// The ids, affiliates and amounts of the payouts of a batch for everybody.
    async fn pay(&self) -> Vec<(String, usize, i64)> {
        const BATCH: &str =
            "payoutBatch { id payouts(first: 100) { edges { node { id status affiliate { id } gross { amount } } } } }";
        let Some(drafted) = self.attempt("createPayoutBatch", json!({ "currency": EURO }), BATCH).await else {
            return Vec::new();
        };
        let batch = json!({ "id": drafted["payoutBatch"]["id"] });
        if drafted["payoutBatch"]["payouts"]["edges"] == json!([]) {
            return Vec::new();
        }
        self.attempt("approvePayoutBatch", batch.clone(), "").await;
        let Some(submitted) = self.attempt("submitPayoutBatch", batch, BATCH).await else { return Vec::new() };
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
        self.attempt(name, input, "").await.is_some()
    }

    async fn write_off(&self, who: usize, amount: i64) -> bool {
        let input = json!({ "affiliateId": self.people[who].0, "amount": money(amount, EURO), "reason": "gone" });
        self.attempt("writeOffDebt", input, "").await.is_some()
    }

    async fn deposit(&self, amount: i64) -> bool {
        let reference = uuid::Uuid::new_v4().to_string();
        let input = json!({ "processor": "MANUAL", "amount": money(amount, EURO), "reference": reference });
        self.attempt("recordDeposit", input, "").await.is_some()
    }

    /// What the database says.
    async fn balances(&self) -> BTreeMap<Account, i64> {
        let sql = "SELECT a.code AS code, a.affiliate_id AS affiliate_id, a.currency AS currency, \
            CAST(SUM(e.amount_minor) AS bigint) AS amount FROM entry e \
            JOIN account a ON a.tenant_id = e.tenant_id AND a.id = e.account_id \
            GROUP BY a.code, a.affiliate_id, a.currency";
        let rows = self.app.auditor.rows(sql).await;
        rows.iter()
            .map(|row| {
                let affiliate: Option<AffiliateId> = row.try_get("", "affiliate_id").expect("an id");
                let who = affiliate
                    .map(|id| self.people.iter().position(|(known, _)| *known == id.to_string()).expect("one of them"));
                let (code, amount): (i32, i64) =
                    (row.try_get("", "code").expect("a code"), row.try_get("", "amount").expect("an amount"));
                let currency: String = row.try_get("", "currency").expect("a currency");
                ((code, who, if currency == EURO { EURO } else { DOLLAR }), amount)
            })
            .filter(|(_, amount)| *amount != 0)
            .collect()
    }
}

/// What a program has made so far, by the model's numbers.
#[derive(Default)]
struct Made {
    conversions: Vec<String>,
    /// Of each conversion.
    refunds: Vec<Vec<String>>,
    submitted: Vec<(String, usize, i64)>,
    paid: Vec<(String, usize, i64)>,
}

/// Takes one of what there is.
fn take<T>(from: &mut Vec<T>, index: &Index) -> Option<T> {
    (!from.is_empty()).then(|| from.swap_remove(index.index(from.len())))
}

/// One of the conversions of which something is true.
fn choose(model: &Model, index: &Index, is_meant: impl Fn(&Deal) -> bool) -> Option<usize> {
    let meant: Vec<usize> = (0..model.deals.len()).filter(|number| is_meant(&model.deals[*number])).collect();
    (!meant.is_empty()).then(|| meant[index.index(meant.len())])
}

/// Does a step in all books.
async fn act(stage: &Stage<'_>, model: &mut Model, made: &mut Made, step: &Step) {
    match step {
        Step::Sell { who, sale } => {
            let sold = stage.owner.done("recordConversion", stage.sale(*who, *sale), "conversion { id }").await;
            made.conversions.push(id(&sold, "conversion"));
            made.refunds.push(Vec::new());
            model.sell(*who, *sale);
        }
        Step::Release => {
            stage.app.clock.advance(TimeDelta::hours(2));
            stage.app.release_holds().await;
            model.release();
        }
        Step::Deposit { amount } => {
            assert!(stage.deposit(*amount).await);
            model.deposit(*amount);
        }
        Step::Convert { who, part, is_back } => {
            let available = model.available(*who, if *is_back { DOLLAR } else { EURO });
            let amount = (available * part / 1_000_000).max(1);
            refused_or(stage, stage.convert(*who, amount, *is_back), model.convert(*who, amount, *is_back)).await;
        }
        Step::WriteOff { who, amount } => {
            refused_or(stage, stage.write_off(*who, *amount), model.write_off(*who, *amount)).await;
        }
        Step::Approve(_) | Step::Reject(_) | Step::Refund(..) | Step::Undo(_) | Step::Adjust(..) => {
            act_on_one(stage, model, made, step).await;
        }
        Step::Pay | Step::Settle(_) | Step::Fail(_) | Step::Return(_) => pay(stage, model, made, step).await,
    }
}

/// A step that is done where the model does it too, and changes nothing where that refuses it.
async fn refused_or(stage: &Stage<'_>, step: impl Future<Output = bool>, is_expected: bool) {
    let before = if is_expected { Vec::new() } else { dump(stage.app).await };
    assert_eq!(step.await, is_expected);
    if !is_expected {
        assert_eq!(dump(stage.app).await, before, "a refused operation changes nothing");
    }
}

/// A step with one conversion.
async fn act_on_one(stage: &Stage<'_>, model: &mut Model, made: &mut Made, step: &Step) {
    match step {
        Step::Approve(index) | Step::Reject(index) => {
            let Some(deal) = choose(model, index, |deal| deal.place == Place::Waiting && deal.is_live()) else {
                return;
            };
            let ids = [made.conversions[deal].clone()];
            assert!(stage.review(&ids, matches!(step, Step::Approve(_))).await);
            match step {
                Step::Approve(_) => model.approve(deal),
                _ => model.reject(deal),
            }
        }
        Step::Refund(index, part) => {
            let Some(deal) = choose(model, index, Deal::is_live) else { return };
            let left = model.deals[deal].sale - model.deals[deal].refunded;
            let amount = (left * part / 1_000_000).max(1);
            let change = stage.refund(&made.conversions[deal], (*part < 1_000_000).then_some(amount)).await;
            made.refunds[deal].push(change.expect("is refunded"));
            model.refund(deal, amount);
        }
        Step::Undo(index) => {
            let can_be = |deal: &Deal| deal.place != Place::Rejected && deal.refunds.iter().any(Option::is_some);
            let Some(deal) = choose(model, index, can_be) else { return };
            let live: Vec<usize> =
                (0..made.refunds[deal].len()).filter(|refund| model.deals[deal].refunds[*refund].is_some()).collect();
            let refund = live[index.index(live.len())];
            assert!(stage.undo(&made.refunds[deal][refund]).await);
            model.undo(deal, refund);
            // The hold of what is given back may be over: the node releases it in its next second, if this does not.
            stage.app.release_holds().await;
            model.release_due();
        }
        Step::Adjust(index, sale) => {
            let Some(deal) = choose(model, index, Deal::is_live) else { return };
            refused_or(stage, stage.adjust(&made.conversions[deal], *sale), model.adjust(deal, *sale)).await;
        }
        _ => unreachable!("not of one conversion"),
    }
}

/// A step with payouts.
async fn pay(stage: &Stage<'_>, model: &mut Model, made: &mut Made, step: &Step) {
    match step {
        Step::Pay => {
            for (payout, who, gross) in stage.pay().await {
                assert_eq!(gross, model.available(who, EURO), "all that is available");
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
        _ => unreachable!("not of payouts"),
    }
}

/// Everything that the tables hold, but work in the background and the seal, which come by the clock.
pub async fn dump(app: &TestApp) -> Vec<(String, Option<String>)> {
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
    conversions: tokio::sync::Mutex<Vec<String>>,
    refunds: tokio::sync::Mutex<Vec<String>>,
    payouts: tokio::sync::Mutex<Vec<String>>,
    steps: AtomicUsize,
}

/// Some of what is known, which others may choose as well; the newer the likelier.
async fn some(of: &tokio::sync::Mutex<Vec<String>>, rng: &mut StdRng, most: usize) -> Vec<String> {
    let known = of.lock().await;
    let newest = known.len().saturating_sub(300);
    let count = rng.random_range(0..=most.min(known.len()));
    (0..count).map(|_| known[rng.random_range(newest..known.len())].clone()).collect()
}

/// Steps of one of several who act at once. Refusals are good answers here.
async fn worker(stage: &Stage<'_>, known: &Known, mut rng: StdRng) {
    while known.steps.load(Ordering::Relaxed) < STEPS_AT_ONCE {
        let who = rng.random_range(0..PEOPLE);
        let amount = rng.random_range(1..4_000);
        let steps = match rng.random_range(0..24) {
            0..5 => {
                let sales: Vec<Value> =
                    (0..12).map(|_| stage.sale(rng.random_range(0..PEOPLE), rng.random_range(1..5_000))).collect();
                let input = json!({ "items": sales });
                let sold = stage.owner.mutate("recordConversions", input, "items { conversion { id } }").await;
                let ids = sold["items"].as_array().expect("items").iter();
                let ids = ids.map(|item| item["conversion"]["id"].as_str().expect("recorded").to_owned());
                known.conversions.lock().await.extend(ids);
                12
            }
            5..11 => {
                let ids = some(&known.conversions, &mut rng, 15).await;
                if !ids.is_empty() {
                    stage.review(&ids, rng.random_bool(0.8)).await;
                }
                ids.len()
            }
            11 => {
                stage.app.clock.advance(TimeDelta::minutes(40));
                // Others may be first with some.
                let scope = TenantScope::tenant(stage.app.home);
                let released = tributary::services::holds::release_due(&stage.app.services, &scope).await;
                let is_well = released.as_ref().map_or_else(tributary::services::ServiceError::is_transient, |_| true);
                assert!(is_well, "{released:?}");
                1
            }
            12 => {
                let payouts = stage.pay().await;
                known.payouts.lock().await.extend(payouts.into_iter().map(|(payout, ..)| payout));
                3
            }
            13 | 14 => {
                for payout in some(&known.payouts, &mut rng, 4).await {
                    let names = ["markPayoutPaid", "markPayoutFailed", "markPayoutReturned"];
                    stage.mark(names[rng.random_range(0..3)], &payout).await;
                }
                1
            }
            15 => stage.deposit(amount).await.into(),
            16..19 => {
                let amount = rng.random_bool(0.6).then_some(amount);
                let conversions = some(&known.conversions, &mut rng, 6).await;
                for conversion in &conversions {
                    known.refunds.lock().await.extend(stage.refund(conversion, amount).await);
                }
                conversions.len()
            }
            19 => {
                let refunds = some(&known.refunds, &mut rng, 4).await;
                for refund in &refunds {
                    stage.undo(refund).await;
                }
                refunds.len()
            }
            20 => {
                let conversions = some(&known.conversions, &mut rng, 6).await;
                for conversion in &conversions {
                    stage.adjust(conversion, amount).await;
                }
                conversions.len()
            }
            21 | 22 => {
                stage.convert(who, amount, rng.random_bool(0.5)).await;
                1
            }
            _ => {
                stage.write_off(who, amount / 20 + 1).await;
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
        let count = async |kind: &str| app.auditor.number(&format!("SELECT COUNT(*) FROM journal WHERE kind = '{kind}'")).await;
        for kind in ["WRITE_OFF", "PAYOUT_RETURNED", "PAYOUT_FAILED", "PAYOUT_SETTLED", "DEPOSIT"] {
            println!("{} of {kind}", count(kind).await);
        }
        for kind in ["REVERSAL", "ADJUSTMENT", "FX_CONVERSION", "PAYOUT_INITIATED", "HOLD_RELEASED"] {
            let posted = count(kind).await;
            println!("{posted} of {kind}");
            assert!(posted > 0, "{kind}");
        }
    }
}
