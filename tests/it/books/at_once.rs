//! A program that several do at once, in one tenant, while somebody does another one in a second tenant: whatever
//! happens, what the ledger promises holds, what is refused leaves nothing, and the second tenant's books are as if it
//! were alone.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use chrono::TimeDelta;
use proptest::sample::Index;
use rand::RngExt as _;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tributary::{ambient::Clock, jobs::outbox};

use super::{
    alone::Books,
    asked::{self, Asked, Outcome},
    markets::{EURO, Market, money},
    stage::{Shop, Stage, dump, everything},
    steps::{self, Step},
};
use crate::support::{
    Backend, TestApp, app,
    double::{Double, Kind, State, story},
    say, seeded,
};

/// Generated steps that are done at least, and how many are generated for that: not all find something to be done with.
const STEPS: usize = 10_000;
const GENERATED: usize = 12_500;
/// Steps of the second tenant.
const BESIDE: usize = 200;
const WORKERS: usize = 6;
/// Steps that a worker takes on at a time: of these, what can be sent in batches is.
const CHUNK: usize = 40;
/// After how many steps both tenants are audited.
const AUDITED_EVERY: usize = 1_000;
/// Of what is known, the newest are chosen from.
const NEWEST: usize = 300;

/// What several know of each other's doings.
#[derive(Default)]
struct Known {
    /// With the currency of their sales.
    conversions: Mutex<Vec<(String, &'static str)>>,
    refunds: Mutex<Vec<String>>,
    /// Payouts that people mark.
    payouts: Mutex<Vec<String>>,
    /// Payouts that processors make.
    transfers: Mutex<Vec<(Kind, String)>>,
}

/// One of the newest, which others may choose as well.
async fn one<T: Clone>(of: &Mutex<Vec<T>>, index: &Index) -> Option<T> {
    let known = of.lock().await;
    let newest = &known[known.len().saturating_sub(NEWEST)..];
    (!newest.is_empty()).then(|| newest[index.index(newest.len())].clone())
}

/// A stage with everything that the model does not know.
pub struct Crowd<'a> {
    pub stage: Stage<'a>,
    double: &'a Double,
    known: Known,
    tiered: Shop,
    /// Where processors call.
    urls: Vec<(Kind, String)>,
    done: AtomicUsize,
}

impl<'a> Crowd<'a> {
    pub async fn set(app: &'a TestApp, double: &'a Double) -> Self {
        let mut stage = Stage::set(app, app.home, app.owner(), 3_600).await;
        stage.asked = Some(Asked::default());
        let (owner, campaign) = (&stage.owner, &stage.shops[0].campaign);
        let step = |from: i64, percent: &str| json!({ "conversions": from, "terms": { "percent": percent } });
        let tiers = json!({ "basis": "CONVERSIONS", "period": "DAY", "mode": "WHOLE",
            "steps": [step(4, "6"), step(12, "8"), step(40, "9")] });
        let tiered = stage.open(EURO, json!({ "percent": "4" }), 3_600).await;
        owner.done("updateCommissionRule", json!({ "id": tiered.rule, "tiers": tiers }), "").await;
        let rate = json!({ "campaignId": campaign, "terms": { "perClick": "0.0125" } });
        owner.done("setClickRate", rate, "").await;
        let deal = json!({ "campaignId": campaign, "share": "30", "period": "WEEK", "carryover": { "kind": "FULL" },
            "deductions": [{ "name": "duty", "percent": "15" }] });
        owner.done("setRevenueDeal", deal, "").await;
        let bonus = json!({ "name": "A busy day", "threshold": { "conversions": 3 }, "period": "DAY",
            "amount": money(500, EURO), "holdSeconds": 3_600 });
        owner.done("createBonusRule", bonus, "").await;
        for (campaign, metric, count) in [(campaign, "CLICKS", 150), (&tiered.campaign, "CONVERSIONS", 120)] {
            let cap =
                json!({ "campaignId": campaign, "metric": metric, "period": "DAY", "amount": { "count": count } });
            owner.done("createCap", cap, "").await;
        }
        let mut urls = Vec::new();
        for (who, kind) in (1..).zip(Kind::ALL) {
            urls.push((kind, story::set_up(app, kind).await));
            let destination = json!({ "affiliateId": stage.people[who], "currency": EURO, "holder": "Ada Ltd",
                "account": kind.destination() });
            owner.done("setPayoutDestination", destination, "").await;
        }
        Self { stage, double, known: Known::default(), tiered, urls, done: AtomicUsize::new(0) }
    }

    /// Does steps, those that can be sent in batches first.
    pub async fn act(&self, steps: Vec<Step>) {
        let mut done = self.batches(&steps).await;
        for step in &steps {
            done += usize::from(self.single(step).await);
        }
        let before = self.done.fetch_add(done, Ordering::Relaxed);
        if before / AUDITED_EVERY != (before + done) / AUDITED_EVERY {
            self.stage.verify().await;
        }
    }

    /// Answers how many were sent.
    async fn batches(&self, steps: &[Step]) -> usize {
        let sale = |step: &Step| match step {
            Step::Sell { market, who, sale } => Some((self.stage.sale(market, *who, *sale), market.currency)),
            Step::SellTiered { who, sale } => Some((self.stage.sale_in(&self.tiered, EURO, *who, *sale), EURO)),
            _ => None,
        };
        let (sales, currencies): (Vec<Value>, Vec<&str>) = steps.iter().filter_map(sale).unzip();
        let click = |step: &Step| match step {
            Step::Click { who } => Some(self.stage.click(*who)),
            _ => None,
        };
        let clicks: Vec<Value> = steps.iter().filter_map(click).collect();
        let play = |step: &Step| match step {
            Step::Play { who, ggr } => Some(self.play(*who, *ggr)),
            _ => None,
        };
        let plays: Vec<Value> = steps.iter().filter_map(play).collect();
        let mut sent = 0;
        for (name, items, selection) in [
            ("recordConversions", sales, "items { conversion { id } userErrors { code } }"),
            ("recordClicks", clicks, "items { userErrors { code } }"),
            ("recordRevenue", plays, "items { userErrors { code } }"),
        ] {
            if items.is_empty() {
                continue;
            }
            sent += items.len();
            let answer = self.stage.attempt(name, json!({ "items": items }), selection).await;
            if name == "recordConversions"
                && let Some(answer) = answer
            {
                let items = answer["items"].as_array().expect("items").iter().zip(&currencies);
                let sold = items
                    .filter_map(|(item, currency)| Some((item["conversion"]["id"].as_str()?.to_owned(), *currency)));
                self.known.conversions.lock().await.extend(sold);
            }
        }
        sent + self.reviews(steps).await
    }

    async fn reviews(&self, steps: &[Step]) -> usize {
        let mut sent = 0;
        for name in ["approveConversions", "rejectConversions", "reopenConversions"] {
            let mut ids = Vec::new();
            for step in steps {
                let index = match (step, name) {
                    (Step::Approve(index), "approveConversions")
                    | (Step::Reject(index), "rejectConversions")
                    | (Step::Reopen(index), "reopenConversions") => index,
                    _ => continue,
                };
                ids.extend(one(&self.known.conversions, index).await.map(|(id, _)| id));
            }
            if !ids.is_empty() {
                sent += ids.len();
                self.stage.review(name, &ids).await;
            }
        }
        sent
    }

    fn play(&self, who: usize, ggr: i64) -> Value {
        let reference = uuid::Uuid::new_v4().to_string();
        let day = self.stage.app.clock.now().date_naive();
        json!({ "campaignId": self.stage.shops[0].campaign, "affiliateId": self.stage.people[who],
            "customerId": format!("customer-{}", reference.as_bytes()[0] % 5), "day": day, "reference": reference,
            "ggr": money(ggr, EURO) })
    }

    /// Does a step that is sent by itself; whether it was sent. Refusals are good answers here.
    async fn single(&self, step: &Step) -> bool {
        let Self { stage, known, .. } = self;
        match step {
            Step::Refund { deal, part, is_chargeback } => {
                let Some((conversion, currency)) = one(&known.conversions, deal).await else { return false };
                let amount = (*part < 600_000).then(|| money(part % 3_000 + 1, currency));
                known.refunds.lock().await.extend(stage.refund(&conversion, amount, *is_chargeback).await);
            }
            Step::Undo(index) | Step::Wrong(_, index) => {
                let Some(refund) = one(&known.refunds, index).await else { return false };
                stage.undo(&refund).await;
            }
            Step::Adjust(index, sale) => {
                let Some((conversion, currency)) = one(&known.conversions, index).await else { return false };
                stage.adjust(&conversion, money(*sale, currency)).await;
            }
            Step::Pay(market) => self.pay(market).await,
            Step::Settle(index) | Step::Fail(index) | Step::Return(index) => {
                let Some(payout) = one(&known.payouts, index).await else { return false };
                let name = match step {
                    Step::Settle(_) => "markPayoutPaid",
                    Step::Fail(_) => "markPayoutFailed",
                    _ => "markPayoutReturned",
                };
                stage.mark(name, &payout).await;
            }
            Step::Deposit { amount } => drop(stage.deposit(*amount).await),
            Step::Convert { who, part, is_back } => drop(stage.convert(*who, part / 200 + 1, *is_back).await),
            Step::WriteOff { market, who, amount } => drop(stage.write_off(market, *who, amount / 20 + 1).await),
            Step::Bonus { market, who, amount, is_held } => drop(stage.bonus(market, *who, *amount, *is_held).await),
            Step::Award { market, who, amount } => drop(stage.award(market, *who, *amount).await),
            Step::Release => self.go_on(TimeDelta::minutes(40)).await,
            Step::DayOver => {
                self.go_on(TimeDelta::days(1)).await;
                stage.set_rate().await;
            }
            Step::Credit(model) => self.credit(model).await,
            Step::Arrive { payment, is_lost } => {
                let Some((kind, id)) = one(&known.transfers, payment).await else { return false };
                return self.arrive(kind, &id, *is_lost).await;
            }
            Step::Fate(fate) => self.double.fates(&[*fate]),
            _ => return false,
        }
        true
    }

    pub async fn pay(&self, market: &Market) {
        for payout in self.stage.pay(market).await {
            let kind = Kind::ALL.into_iter().find(|kind| kind.method() == payout.method);
            match kind {
                Some(kind) => self.known.transfers.lock().await.push((kind, payout.id)),
                None => self.known.payouts.lock().await.push(payout.id),
            }
        }
    }

    /// Time passes; what is due is released by this one or by the node, which is at it as well.
    pub async fn go_on(&self, time: TimeDelta) {
        self.stage.app.clock.advance(time);
        let _ = tributary::services::holds::release_due(&self.stage.app.services, &self.stage.scope()).await;
    }

    pub async fn credit(&self, model: &str) {
        let now = self.stage.app.clock.now();
        let run = json!({ "from": now - TimeDelta::hours(2), "until": now + TimeDelta::hours(1), "model": model,
            "reason": "the contract says so" });
        self.stage.attempt("applyAttribution", run, "").await;
    }

    /// Moves a payment on at its processor, which tells the node.
    async fn arrive(&self, kind: Kind, id: &str, is_lost: bool) -> bool {
        let Some(payment) = self.double.payment(kind, id) else { return false };
        match (payment.state, is_lost) {
            (State::Pending, false) => self.double.set(kind, id, State::Paid),
            (State::Pending, true) => self.double.set(kind, id, State::Failed),
            (State::Paid, true) if kind == Kind::Paypal => self.double.set(kind, id, State::Failed),
            (State::Paid, true) => self.double.set(kind, id, State::Returned),
            _ => return false,
        }
        self.tell(kind, id).await;
        true
    }

    async fn tell(&self, kind: Kind, id: &str) -> u16 {
        let url = self.urls.iter().find(|(known, _)| *known == kind).map(|(_, url)| url);
        self.double.notice(kind, id).send(url.expect("is set up")).await.0
    }

    /// Waits until nothing is under way any more: what is at processors arrives, what is asked for is done, what is held
    /// is released.
    pub async fn rest(&self) {
        let app = self.stage.app;
        let open = "SELECT COUNT(*) FROM payout WHERE method IN ('STRIPE', 'PAYPAL', 'WISE') \
            AND status IN ('SUBMITTED', 'IN_TRANSIT', 'UNKNOWN')";
        for _ in 0..60 {
            app.clock.advance(TimeDelta::hours(2));
            for (kind, id) in self.known.transfers.lock().await.iter() {
                if self.double.payment(*kind, id).is_some_and(|payment| payment.state == State::Pending) {
                    self.double.set(*kind, id, State::Paid);
                }
            }
            outbox::call_processors(&app.services).await.expect("processors are called");
            while outbox::run_due(&app.services).await.is_ok_and(|done| done > 0) {}
            let work = "SELECT COUNT(*) FROM outbox WHERE kind IN ('APPLY_ATTRIBUTION', 'RERATE_TIER')";
            if app.auditor.number(open).await + app.auditor.number(work).await == 0 {
                break;
            }
        }
        assert_eq!(app.auditor.number(open).await, 0, "every payment comes to its end");
        // What came back when the node could not listen is told again.
        for (kind, id) in self.known.transfers.lock().await.iter() {
            if self.double.payment(*kind, id).is_some() {
                assert_eq!(self.tell(*kind, id).await, 200);
            }
        }
        self.stage.release().await;
        app.seal().await;
        // Which asks processors again. The node may be at it as well, and what failed waits for its lease to end.
        for round in 0..600 {
            outbox::call_processors(&app.services).await.expect("processors are called");
            let _ = outbox::run_due(&app.services).await;
            let due = format!("SELECT COUNT(*) FROM outbox WHERE due_at <= '{}'", app.clock.now().to_rfc3339());
            if app.auditor.number(&due).await == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            if round >= 10 {
                app.clock.advance(TimeDelta::minutes(1));
            }
        }
        panic!("work that is due is never done");
    }

    /// What is asked for of this one.
    fn asked(&self) -> &Asked {
        self.stage.asked.as_ref().expect("is noted")
    }

    /// Asks again for what was refused, at rest: it is judged by what is there now, and where it is refused, nothing
    /// changes. How often it is.
    async fn ask_again(&self) -> usize {
        let app = self.stage.app;
        let state = async || dump(app, &everything(app).await).await;
        let (mut before, mut refused) = (state().await, 0);
        for (name, input) in self.asked().refused().await {
            self.stage.attempt(&name, input, asked::selected(&name)).await;
            if self.asked().last().await != Some(Outcome::Refused) {
                self.rest().await;
                before = state().await;
                continue;
            }
            let after = state().await;
            let pairs = before.iter().zip(&after).filter(|(before, after)| before != after);
            let changed: Vec<&String> = pairs.map(|((table, _), _)| table).collect();
            assert_eq!(changed, [""; 0], "{name} is refused and changes nothing");
            refused += 1;
        }
        refused
    }
}

/// Kinds of journals and awards that the program comes by, whatever its seed.
const KINDS: [&str; 12] = [
    "REVERSAL",
    "ADJUSTMENT",
    "FX_CONVERSION",
    "PAYOUT_INITIATED",
    "PAYOUT_SETTLED",
    "PAYOUT_FAILED",
    "PAYOUT_RETURNED",
    "HOLD_RELEASED",
    "BONUS",
    "COMMISSION",
    "DEPOSIT",
    "PROCESSOR_FEE",
];

async fn promises_hold(app: &TestApp, double: &Double) {
    let mut rng = seeded();
    let (seed, beside) = (rng.random(), rng.random());
    let crowd = Crowd::set(app, double).await;
    let mut away = Stage::set(app, app.away, app.stranger(), 0).await;
    away.is_patient = true;
    let mut away = Books::new(away);
    let program = Mutex::new(steps::generated(steps::all(), seed, GENERATED).into_iter());
    let worker = async || loop {
        let steps: Vec<Step> = program.lock().await.by_ref().take(CHUNK).collect();
        if steps.is_empty() {
            return;
        }
        crowd.act(steps).await;
    };
    let second = async {
        for step in steps::generated(steps::modelled(), beside, BESIDE) {
            away.act(&step).await;
        }
    };
    let workers = futures_util::future::join_all((0..WORKERS).map(|_| worker()));
    tokio::join!(workers, second);
    let done = crowd.done.load(Ordering::Relaxed);
    assert!(done >= STEPS, "{done} steps found something to be done with");
    crowd.rest().await;
    away.compare().await;
    away.stage.verify().await;
    story::books_agree(app, double).await;
    let again = crowd.ask_again().await;
    assert!(again > 0, "something is refused again");
    let refused = crowd.asked().check(app).await;
    let mut counts = Vec::new();
    for kind in KINDS {
        let count = app.auditor.number(&format!("SELECT COUNT(*) FROM journal WHERE kind = '{kind}'")).await;
        assert!(count > 0, "{kind}");
        counts.push(format!("{count} {kind}"));
    }
    say(&format!("{done} steps at once, {refused} refused, {again} again: {}", counts.join(", ")));
}

/// Those of the double, and patience: how fast a machine is that does all of this at once is another question.
pub fn settings(settings: &mut tributary::config::Settings, double: &Double) {
    double.settings(settings);
    settings.request_timeout_secs = 300;
}

async fn ledger_holds_what_it_promises(backend: Backend) {
    let double = Double::start().await;
    let tune = |given: &mut tributary::config::Settings| {
        settings(given, &double);
        given.ledger_seal_secs = 1;
    };
    // What must hold at every prefix and at the end is checked when the body returns, by `verify`.
    app::run_with(backend, tune, async |app| {
        double.follow(&app.clock);
        promises_hold(app, &double).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ledger_holds_what_it_promises_whatever_happens_at_once_sqlite() {
    ledger_holds_what_it_promises(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ledger_holds_what_it_promises_whatever_happens_at_once_postgres() {
    ledger_holds_what_it_promises(Backend::Postgres).await;
}
