//! A double of the processors: speaks the HTTP APIs of Stripe, PayPal and Wise as their public documentation says, keeps
//! books of its own in a file, fsynced line by line, and fails in every way a processor can.
//!
//! Money is in its books when it has left and when it is back; what we believe is held against them, item by item.

mod paypal;
pub mod story;
mod stripe;
mod wise;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs::File,
    io::Write,
    path::PathBuf,
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use axum::{
    Router,
    extract::{Request, State as Shares},
    http::{Method, StatusCode},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
use rsa::{pkcs1::EncodeRsaPrivateKey, pkcs8::EncodePublicKey, rand_core::OsRng};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::Notify, task::JoinHandle};
use tributary::{
    ambient::{Clock, ShiftedClock},
    config::Settings,
};
use tributary_entity::ids::PayoutId;

/// With which Wise signs: one for all tests, as they are slow to make.
static WISE_KEY: LazyLock<rsa::RsaPrivateKey> =
    LazyLock::new(|| rsa::RsaPrivateKey::new(&mut OsRng, 2_048).expect("a key"));

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Stripe,
    Paypal,
    Wise,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Stripe, Self::Paypal, Self::Wise];

    /// As the API calls it.
    pub fn method(self) -> &'static str {
        match self {
            Self::Stripe => "STRIPE",
            Self::Paypal => "PAYPAL",
            Self::Wise => "WISE",
        }
    }

    /// The input of `setProcessor`.
    pub fn credentials(self) -> Value {
        match self {
            Self::Stripe => {
                json!({ "account": { "stripe": { "secretKey": stripe::KEY, "webhookSecret": stripe::WEBHOOK_SECRET } } })
            }
            Self::Paypal => json!({ "account": { "paypal": {
                "clientId": paypal::CLIENT, "clientSecret": paypal::SECRET, "webhookId": paypal::WEBHOOK } } }),
            Self::Wise => json!({ "account": { "wise": { "apiToken": wise::TOKEN, "profileId": wise::PROFILE } } }),
        }
    }

    /// An affiliate's account there.
    pub fn destination(self) -> Value {
        match self {
            Self::Stripe => json!({ "stripe": { "accountId": "acct_1032D82eZvKYlo2C" } }),
            Self::Paypal => json!({ "paypal": { "email": "ada@shop.example" } }),
            Self::Wise => json!({ "wise": { "recipientId": "148562983" } }),
        }
    }

    /// What it takes for a payment, in minor units.
    pub fn fee(self) -> i64 {
        match self {
            Self::Stripe => 0,
            Self::Paypal => 25,
            Self::Wise => 41,
        }
    }

    /// Whether a payment is paid as soon as it is taken in.
    pub fn is_instant(self) -> bool {
        self == Self::Stripe
    }
}

/// What becomes of the next payment that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// 500, and nothing was done.
    FailsBefore,
    /// It is taken in, and answered 500.
    FailsAfter,
    /// It is taken in, and never answered.
    Hangs,
    /// It is taken in, and answered when [`Double::release`] says so.
    Holds,
    /// 429, and nothing was done.
    Busy,
    /// It is refused for good.
    Refused,
    /// It is taken in, and answered 500; asked for again, it is refused before anybody looks whether it is known, once.
    LostThenRefused,
}

impl Fate {
    fn accepts(self) -> bool {
        !matches!(self, Self::FailsBefore | Self::Busy | Self::Refused)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Wise: made, not funded.
    Waiting,
    Pending,
    Paid,
    Failed,
    Returned,
}

/// A payment as the processor has it.
#[derive(Clone, Debug)]
pub struct Payment {
    pub kind: Kind,
    /// Our reference, as it came.
    pub key: String,
    pub number: u64,
    pub amount_minor: i64,
    pub currency: String,
    /// What it takes for it.
    pub fee_minor: i64,
    pub state: State,
    pub created: i64,
    /// When it was paid, whatever became of it later.
    pub paid: Option<i64>,
    pub moved: i64,
}

impl Payment {
    /// The payment's name.
    pub fn reference(&self) -> String {
        match self.kind {
            Kind::Stripe => format!("tr_{}", self.number),
            Kind::Paypal => format!("TXN{}", self.number),
            Kind::Wise => self.number.to_string(),
        }
    }

    fn decimal(&self) -> String {
        decimal(self.amount_minor)
    }
}

fn decimal(minor: i64) -> String {
    format!("{}.{:02}", minor / 100, minor % 100)
}

/// A call to a tenant's address, signed.
#[derive(Clone, Debug)]
pub struct Notice {
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

struct Books {
    payments: BTreeMap<(Kind, String), Payment>,
    fates: VecDeque<Fate>,
    /// Of the fundings of transfers at Wise.
    fundings: VecDeque<Fate>,
    /// Of the cancellations there.
    cancellations: VecDeque<Fate>,
    /// How many questions about quotes there are not answered.
    hidden_quotes: usize,
    /// Of questions: look-ups, and whether a call was signed.
    questions: VecDeque<Fate>,
    /// What is refused when it is asked for again.
    refused_next: BTreeSet<(Kind, String)>,
    file: File,
    /// Quotes of Wise.
    quotes: BTreeMap<String, i64>,
    numbers: u64,
    /// Requests that ask to pay, by our reference.
    asked: BTreeMap<String, usize>,
}

struct Shared {
    books: Mutex<Books>,
    clock: OnceLock<ShiftedClock>,
    /// Somebody waits for an answer, perhaps one that never comes.
    hanging: Notify,
    /// An answer that is held back is given.
    released: Notify,
    /// Every call is answered 503.
    is_down: AtomicBool,
    path: PathBuf,
}

/// The running double.
pub struct Double {
    pub url: String,
    shared: Arc<Shared>,
    served: JoinHandle<()>,
    folder: TempDir,
}

impl Drop for Double {
    fn drop(&mut self) {
        self.served.abort();
    }
}

impl Double {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("books.jsonl");
        let books = Books {
            payments: BTreeMap::new(),
            fates: VecDeque::new(),
            fundings: VecDeque::new(),
            cancellations: VecDeque::new(),
            hidden_quotes: 0,
            questions: VecDeque::new(),
            refused_next: BTreeSet::new(),
            file: File::create(&path).expect("a file"),
            quotes: BTreeMap::new(),
            numbers: 1_000,
            asked: BTreeMap::new(),
        };
        let shared = Arc::new(Shared {
            books: Mutex::new(books),
            clock: OnceLock::new(),
            hanging: Notify::new(),
            released: Notify::new(),
            is_down: AtomicBool::new(false),
            path,
        });
        let pem = WISE_KEY.to_public_key().to_public_key_pem(rsa::pkcs8::LineEnding::LF).expect("encodes");
        std::fs::write(folder.path().join("wise.pem"), pem).expect("written");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let router = Router::new()
            .nest("/stripe", stripe::router())
            .nest("/paypal", paypal::router())
            .nest("/wise", wise::router())
            .layer(from_fn_with_state(Arc::clone(&shared), answer_as_fated))
            .with_state(Arc::clone(&shared));
        let served = tokio::spawn(async move { axum::serve(listener, router).await.expect("serves") });
        Self { url, shared, served, folder }
    }

    /// Points a node at it; calls are given up soon.
    pub fn settings(&self, settings: &mut Settings) {
        settings.stripe_url = format!("{}/stripe", self.url);
        settings.paypal_url = format!("{}/paypal", self.url);
        settings.wise_url = format!("{}/wise", self.url);
        settings.wise_public_key = Some(self.folder.path().join("wise.pem"));
        settings.processor_timeout_secs = 2;
    }

    /// The same, for a process.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("TRIBUTARY_STRIPE_URL", format!("{}/stripe", self.url)),
            ("TRIBUTARY_PAYPAL_URL", format!("{}/paypal", self.url)),
            ("TRIBUTARY_WISE_URL", format!("{}/wise", self.url)),
            ("TRIBUTARY_WISE_PUBLIC_KEY", self.folder.path().join("wise.pem").display().to_string()),
            ("TRIBUTARY_PROCESSOR_TIMEOUT_SECS", "60".to_owned()),
        ]
    }

    /// Tells it the time.
    pub fn follow(&self, clock: &ShiftedClock) {
        let _ = self.shared.clock.set(clock.clone());
    }

    /// What becomes of the next payments.
    pub fn fates(&self, fates: &[Fate]) {
        self.shared.books().fates.extend(fates);
    }

    /// What becomes of the next fundings of transfers at Wise.
    pub fn fundings(&self, fates: &[Fate]) {
        self.shared.books().fundings.extend(fates);
    }

    /// What becomes of the next cancellations of transfers at Wise.
    pub fn cancellations(&self, fates: &[Fate]) {
        self.shared.books().cancellations.extend(fates);
    }

    /// Answers the next questions about quotes of Wise by 500.
    pub fn hide_quotes(&self, count: usize) {
        self.shared.books().hidden_quotes = count;
    }

    /// How the next questions are answered, which change nothing: look-ups, and whether a call was signed.
    pub fn questions(&self, fates: &[Fate]) {
        self.shared.books().questions.extend(fates);
    }

    /// Gives the answer that is held back.
    pub fn release(&self) {
        self.shared.released.notify_one();
    }

    /// Whether it answers nobody.
    pub fn is_down(&self, is_down: bool) {
        self.shared.is_down.store(is_down, Relaxed);
    }

    /// Waits until somebody waits for an answer that is held back, or never comes.
    pub async fn hanging(&self) {
        self.shared.hanging.notified().await;
    }

    /// The payment of a payout.
    pub fn payment(&self, kind: Kind, payout: &str) -> Option<Payment> {
        self.shared.books().payments.get(&(kind, key(kind, payout))).cloned()
    }

    /// How many payments there are.
    pub fn payments(&self) -> usize {
        self.shared.books().payments.len()
    }

    /// How often a payout was asked for.
    pub fn asked(&self, kind: Kind, payout: &str) -> usize {
        self.shared.books().asked.get(&key(kind, payout)).copied().unwrap_or(0)
    }

    /// Moves a payment on, by the processor's own doing.
    pub fn set(&self, kind: Kind, payout: &str, state: State) {
        let now = self.shared.now();
        self.shared.books().set(&(kind, key(kind, payout)), state, now);
    }

    /// Changes what it says of a payment, as by a mistake.
    pub fn alter(&self, kind: Kind, payout: &str, change: impl FnOnce(&mut Payment)) {
        change(self.shared.books().payments.get_mut(&(kind, key(kind, payout))).expect("a payment"));
    }

    /// Knows nothing of a payment any more.
    pub fn forget(&self, kind: Kind, payout: &str) {
        self.shared.books().payments.remove(&(kind, key(kind, payout))).expect("a payment");
    }

    /// Does what it was never asked for: a payment of another program with the same account.
    pub fn pay_somebody_else(&self, kind: Kind, amount_minor: i64) {
        let now = self.shared.now();
        let (mut books, key) = (self.shared.books(), format!("somebody else's {amount_minor}"));
        let state = if kind.is_instant() { State::Paid } else { State::Pending };
        books.accept(kind, &key, amount_minor, "EUR", state, now);
        if state == State::Pending {
            books.set(&(kind, key), State::Paid, now);
        }
    }

    /// What the processor would tell of a payment as it is now.
    pub fn notice(&self, kind: Kind, payout: &str) -> Notice {
        let payment = self.payment(kind, payout).expect("a payment");
        match kind {
            Kind::Stripe => stripe::notice(&payment, self.shared.now()),
            Kind::Paypal => paypal::notice(&payment),
            Kind::Wise => wise::notice(&payment),
        }
    }

    /// What has left and come back, as the file has it: by our reference, in order.
    pub fn books(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.shared.path).expect("readable");
        text.lines().map(|line| serde_json::from_str(line).expect("a line")).collect()
    }
}

impl Notice {
    /// Calls an address; the status and the body's `status`.
    pub async fn send(&self, url: &str) -> (u16, String) {
        tributary::app::choose_tls();
        let mut request = reqwest::Client::new().post(url).body(self.body.clone());
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let response = request.send().await.expect("an answer");
        let status = response.status().as_u16();
        let body: Value = response.json().await.expect("JSON");
        (status, body["status"].as_str().unwrap_or_default().to_owned())
    }
}

async fn answer_as_fated(Shares(shared): Shares<Arc<Shared>>, request: Request, next: Next) -> Response {
    if shared.is_down.load(Relaxed) {
        return error(503, "down for maintenance");
    }
    let is_question = request.method() == Method::GET || request.uri().path().ends_with(paypal::VERIFY);
    let fate = if is_question { shared.books().questions.pop_front() } else { None };
    match shared.answered(fate, ()).await {
        Ok(()) => next.run(request).await,
        Err(answer) => answer,
    }
}

/// Our reference as the processor has it.
fn key(kind: Kind, payout: &str) -> String {
    match kind {
        Kind::Wise => payout.parse::<PayoutId>().map_or_else(|_| payout.to_owned(), |id| id.uuid().to_string()),
        Kind::Stripe | Kind::Paypal => payout.to_owned(),
    }
}

impl Shared {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().expect("whole")
    }

    fn now(&self) -> i64 {
        self.clock.get().map_or_else(|| ShiftedClock::default().now().timestamp(), |clock| clock.now().timestamp())
    }

    /// Takes in a payment, once per reference, and answers as it is fated.
    async fn pay(
        &self,
        kind: Kind,
        key: &str,
        amount_minor: i64,
        currency: &str,
        state: State,
    ) -> Result<Payment, Response> {
        let (fate, payment) = {
            let now = self.now();
            let mut books = self.books();
            *books.asked.entry(key.to_owned()).or_default() += 1;
            let fate = books.fates.pop_front();
            let accepts = fate.is_none_or(Fate::accepts);
            if fate == Some(Fate::LostThenRefused) {
                books.refused_next.insert((kind, key.to_owned()));
            }
            (fate, accepts.then(|| books.accept(kind, key, amount_minor, currency, state, now)))
        };
        self.answered(fate, payment).await?.ok_or_else(|| error(500, "no payment"))
    }

    /// What an answer becomes by a fate.
    async fn answered<T>(&self, fate: Option<Fate>, answer: T) -> Result<T, Response> {
        match fate {
            Some(Fate::FailsBefore | Fate::FailsAfter | Fate::LostThenRefused) => Err(error(500, "an internal error")),
            Some(Fate::Busy) => Err(error(429, "too many requests")),
            Some(Fate::Refused) => Err(error(400, "this account cannot be paid")),
            Some(Fate::Hangs) => {
                self.hanging.notify_one();
                std::future::pending().await
            }
            Some(Fate::Holds) => {
                self.hanging.notify_one();
                self.released.notified().await;
                Ok(answer)
            }
            None => Ok(answer),
        }
    }
}

impl Books {
    fn next(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn accept(&mut self, kind: Kind, key: &str, amount_minor: i64, currency: &str, state: State, now: i64) -> Payment {
        if let Some(payment) = self.payments.get(&(kind, key.to_owned())) {
            return payment.clone();
        }
        let number = self.next();
        let (key, currency) = (key.to_owned(), currency.to_uppercase());
        let paid = (state == State::Paid).then_some(now);
        let (fee_minor, created, moved) = (kind.fee(), now, now);
        let payment =
            Payment { kind, key: key.clone(), number, amount_minor, currency, fee_minor, state, created, paid, moved };
        self.payments.insert((kind, key), payment.clone());
        if state == State::Paid {
            self.write(&payment, "payment", amount_minor);
        }
        payment
    }

    fn set(&mut self, id: &(Kind, String), state: State, now: i64) {
        let payment = self.payments.get_mut(id).expect("a payment");
        let before = std::mem::replace(&mut payment.state, state);
        payment.moved = now;
        if state == State::Paid {
            payment.paid = Some(now);
        }
        let payment = payment.clone();
        match (before, state) {
            (State::Pending, State::Paid) => {
                self.write(&payment, "payment", payment.amount_minor);
                if payment.fee_minor > 0 {
                    self.write(&payment, "fee", payment.fee_minor);
                }
            }
            (State::Paid, State::Failed | State::Returned) => self.write(&payment, "return", payment.amount_minor),
            _ => {}
        }
    }

    fn write(&mut self, payment: &Payment, what: &str, amount_minor: i64) {
        let line = json!({ "what": what, "method": payment.kind.method(), "key": payment.key,
            "reference": payment.reference(), "amount": amount_minor, "currency": payment.currency, "at": payment.moved });
        writeln!(self.file, "{line}").expect("written");
        self.file.sync_all().expect("on disk");
    }
}

/// As of an account that has too little.
fn short_of_funds() -> Response {
    error(422, "the balance does not suffice")
}

fn error(status: u16, message: &str) -> Response {
    let body = json!({ "error": { "message": message }, "message": message, "name": "ERROR" });
    (StatusCode::from_u16(status).expect("a status"), axum::Json(body)).into_response()
}

fn sign_for_wise(body: &str) -> String {
    let der = WISE_KEY.to_pkcs1_der().expect("encodes");
    let key = jsonwebtoken::EncodingKey::from_rsa_der(der.as_bytes());
    let signature = jsonwebtoken::crypto::sign(body.as_bytes(), &key, jsonwebtoken::Algorithm::RS256).expect("signs");
    let raw = data_encoding::BASE64URL_NOPAD.decode(signature.as_bytes()).expect("base64");
    data_encoding::BASE64.encode(&raw)
}
