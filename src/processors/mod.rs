//! Processors: who makes payouts for tenants. One trait, a file per processor that speaks its public HTTP API, one client
//! for all of them.
//!
//! Nothing here knows the database, decides what becomes of a payout, or is called inside a transaction.
//!
//! # Decisions
//! - Where a processor is, the operator's settings say, never a tenant: whoever holds a tenant's account must not make
//!   this server call addresses of their choice.
//! - The idempotency key is the payout's id, at every try. What a call ended with is told in three kinds, as only they
//!   lead to different steps: see [`CallError`].
//!
//! # Adding one
//! A `PayoutMethod`, its `Credentials`, its `Account`; a file here with the trait and its units; arms in
//! [`Processors::open`] and [`unit`].

mod http;
mod paypal;
mod stripe;
mod wise;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::TimeDelta;
use tributary_entity::{
    Instant,
    ids::PayoutId,
    kinds::PayoutMethod,
    money::{Currency, Money},
};

use crate::domain::processor::{Credentials, Order, Report, Unit};

/// Why a processor was not asked with success.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The call may have been taken in: no answer in time, a lost connection, a fault of theirs, an answer that cannot be
    /// read. What became of it has to be asked for.
    #[error("unknown outcome: {0}")]
    Unknown(String),
    /// The processor judged the payment and refused it: it is not and will not be made under this key.
    #[error("refused: {0}")]
    Refused(String),
    /// Certainly nothing was done, and the same may succeed later: no connection, too many calls, credentials that are not
    /// accepted.
    #[error("not done: {0}")]
    NotDone(String),
}

/// What a processor knows of a payment that it may have been asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Known(Report),
    /// It has it under this name, and waits for the rest of what makes it a payment: to ask to pay goes on with it.
    Begun(String),
    /// It was asked, and knows none of this reference: to ask to pay under the same key makes no second one.
    Nothing,
    /// It cannot be asked by our reference. To ask to pay under the same key makes no second one, and finds the first; but
    /// that it refuses says nothing of an earlier call.
    NotAsked,
    /// It cannot be asked any more: its memory of keys is shorter than this is old.
    CannotTell(String),
}

/// A call that came to a processor's address.
#[derive(Clone, Debug)]
pub struct Call {
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub received_at: Instant,
}

impl Call {
    /// The first value of a header.
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// Why a call is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoticeError {
    /// Not signed, signed by another, or too old.
    #[error("the signature does not fit: {0}")]
    Signature(&'static str),
    #[error("the body cannot be read: {0}")]
    Unreadable(String),
    /// Who has to be asked about it does not answer; the same call may be good later.
    #[error("it cannot be judged now: {0}")]
    Unavailable(String),
}

/// A verified call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The processor's name of the event, the same when it is told again.
    pub event_id: String,
    pub event_type: String,
    /// What it says of a payment; none when it is about something else.
    pub about: Option<About>,
}

/// Which payment, and what of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Our reference, where the processor says it.
    pub payout_id: Option<PayoutId>,
    pub report: Report,
}

/// What a line of a processor's books is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Booked {
    /// Money went out, or is on its way.
    Payment,
    /// It came back, or never arrived.
    Return,
}

/// A line of a processor's books about a payout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    pub kind: Booked,
    pub payout_id: Option<PayoutId>,
    /// The payment's name, as [`Report::reference`].
    pub reference: String,
    /// Never negative.
    pub amount: Money,
    /// Charged for the payment; none where the line does not say.
    pub fee: Option<Money>,
    pub at: Instant,
}

/// One tenant's account at one processor.
#[async_trait]
pub trait Processor: Send + Sync {
    /// Asks for a payment, or goes on with one that was [`Found::Begun`], whose name the order has.
    ///
    /// # Errors
    /// [`CallError`].
    async fn submit(&self, order: &Order) -> Result<Report, CallError>;

    /// Asks what became of a payment that may have been asked for, by our reference.
    ///
    /// # Errors
    /// [`CallError`]; never `Refused`.
    async fn find(&self, order: &Order) -> Result<Found, CallError>;

    /// Verifies a call and reads it.
    ///
    /// # Errors
    /// [`NoticeError`].
    async fn notice(&self, call: &Call) -> Result<Notice, NoticeError>;

    /// How long after its day a line may turn from a payment into a return; not at all where returns are lines with days of
    /// their own.
    fn changes_within(&self) -> TimeDelta {
        TimeDelta::zero()
    }

    /// The lines of its books in `[from, to)`.
    ///
    /// # Errors
    /// [`CallError`]; never `Refused`.
    async fn transactions(&self, from: Instant, to: Instant) -> Result<Vec<Transaction>, CallError>;
}

/// How payouts of a currency can be cut at a processor; none for a currency that it does not pay, and for methods that are
/// no processor's.
pub fn unit(method: PayoutMethod, currency: Currency) -> Option<Unit> {
    match method {
        PayoutMethod::Stripe => stripe::unit(currency),
        PayoutMethod::Paypal => paypal::unit(currency),
        PayoutMethod::Wise => wise::unit(currency),
        PayoutMethod::Manual | PayoutMethod::Sepa | PayoutMethod::Ach => None,
    }
}

/// Whether payouts of a method are made by a processor over HTTP.
pub const fn is_processor(method: PayoutMethod) -> bool {
    matches!(method, PayoutMethod::Stripe | PayoutMethod::Paypal | PayoutMethod::Wise)
}

/// Whether a method's processor can be asked about a payment of which nothing is known but our reference.
pub const fn knows_references(method: PayoutMethod) -> bool {
    matches!(method, PayoutMethod::Stripe | PayoutMethod::Wise)
}

/// Where processors are, as the operator's settings say.
#[derive(Clone, Debug)]
pub struct Endpoints {
    pub stripe: String,
    pub paypal: String,
    pub wise: String,
    /// With which Wise signs its calls, in PEM; without it they are all refused.
    pub wise_public_key: Option<String>,
    /// Of one call, from connecting to the last byte.
    pub patience: Duration,
}

/// All processors; cheap to clone.
#[derive(Clone)]
pub struct Processors {
    endpoints: Arc<Endpoints>,
    http: http::Http,
}

impl Processors {
    /// # Errors
    /// When no TLS can be had.
    pub fn new(endpoints: Endpoints) -> Result<Self, reqwest::Error> {
        Ok(Self { http: http::Http::new(endpoints.patience)?, endpoints: Arc::new(endpoints) })
    }

    /// A tenant's account at a processor.
    pub fn open(&self, credentials: Credentials) -> Box<dyn Processor> {
        let http = self.http.clone();
        let at = |url: &str| url.trim_end_matches('/').to_owned();
        match credentials {
            Credentials::Stripe { secret_key, webhook_secret } => {
                Box::new(stripe::Stripe { http, url: at(&self.endpoints.stripe), secret_key, webhook_secret })
            }
            Credentials::Paypal { client_id, client_secret, webhook_id } => {
                Box::new(paypal::Paypal { http, url: at(&self.endpoints.paypal), client_id, client_secret, webhook_id })
            }
            Credentials::Wise { api_token, profile_id } => Box::new(wise::Wise {
                http,
                url: at(&self.endpoints.wise),
                api_token,
                profile_id,
                public_key: self.endpoints.wise_public_key.clone(),
            }),
        }
    }
}
