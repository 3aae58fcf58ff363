//! PayPal Payouts: a batch of one item, so that each payout stands for itself.
//!
//! After <https://developer.paypal.com/api/payments.payouts-batch/v1>, `/api/payouts/customize`,
//! `/api/webhooks/v1/verify-webhook-signature-post`, `/docs/transaction-search` and
//! `/payouts/settlement-transaction-details`.
//!
//! # Decisions
//! - The payout's id is the batch's `sender_batch_id`. PayPal cannot be asked for one; it refuses to take one again for 30
//!   days, and tells the batch that has it. So the look-up of a batch that we do not know is to ask for it again. That this is
//!   refused for another reason does not say that there is no batch: PayPal may look at the balance before it looks at ids.
//!   After those days nobody can tell, and a person has to.
//! - Of an address that PayPal sends only the batch's id is read: we call none that it chooses.

use async_trait::async_trait;
use chrono::{DateTime, SecondsFormat, TimeDelta};
use reqwest::{Method, header};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::RawValue};
use tributary_entity::{
    Instant,
    ids::PayoutId,
    money::{Currency, Money},
};

use super::{
    About, Booked, Call, CallError, Found, Notice, NoticeError, Processor, Transaction,
    http::{Answer, Http, asked, encoded, send},
};
use crate::domain::{
    payout_destination::Account,
    processor::{Fee, Order, Progress, Report, Unit},
};

/// How long PayPal remembers a `sender_batch_id`, less a day.
const MEMORY: TimeDelta = TimeDelta::days(29);
const PAGE_SIZE: &str = "500";
/// The currencies of PayPal balances; those without decimals there.
const CURRENCIES: &[&str] = &[
    "AUD", "BRL", "CAD", "CHF", "CZK", "DKK", "EUR", "GBP", "HKD", "HUF", "ILS", "JPY", "MXN", "MYR", "NOK", "NZD",
    "PHP", "PLN", "SEK", "SGD", "THB", "TWD", "USD",
];
const WHOLE: &[&str] = &["HUF", "JPY", "TWD"];

pub(super) fn unit(currency: Currency) -> Option<Unit> {
    let code = currency.code();
    let exponent = if WHOLE.contains(&code) { 0 } else { currency.exponent() };
    CURRENCIES.contains(&code).then_some(Unit { exponent, minimum_minor: 1 })
}

/// As PayPal writes amounts: whole where the currency has no decimals there.
fn written(money: Money) -> String {
    let decimal = money.decimal();
    if WHOLE.contains(&money.currency.code()) {
        decimal.split('.').next().unwrap_or_default().to_owned()
    } else {
        decimal
    }
}

pub(super) struct Paypal {
    pub http: Http,
    pub url: String,
    pub client_id: String,
    pub client_secret: String,
    pub webhook_id: String,
}

#[derive(Deserialize)]
struct Token {
    access_token: String,
}

#[derive(Deserialize)]
struct Batch {
    batch_header: BatchHeader,
    #[serde(default)]
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct BatchHeader {
    payout_batch_id: String,
    batch_status: String,
}

#[derive(Deserialize)]
struct Amount {
    #[serde(alias = "currency_code")]
    currency: String,
    value: String,
}

#[derive(Deserialize)]
struct Item {
    payout_item_id: String,
    transaction_id: Option<String>,
    transaction_status: Option<String>,
    payout_item_fee: Option<Amount>,
    payout_item: Option<Asked>,
    payout_batch_id: Option<String>,
    sender_batch_id: Option<String>,
    errors: Option<ItemError>,
}

/// An item as it was asked for.
#[derive(Deserialize)]
struct Asked {
    amount: Amount,
}

#[derive(Deserialize)]
struct ItemError {
    message: Option<String>,
    name: Option<String>,
}

#[derive(Deserialize)]
struct Event<'a> {
    id: String,
    event_type: String,
    #[serde(borrow)]
    resource: &'a RawValue,
}

#[derive(Serialize)]
struct Question<'a> {
    auth_algo: &'a str,
    cert_url: &'a str,
    transmission_id: &'a str,
    transmission_sig: &'a str,
    transmission_time: &'a str,
    webhook_id: &'a str,
    webhook_event: &'a RawValue,
}

#[derive(Deserialize)]
struct Verification {
    verification_status: String,
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    transaction_details: Vec<Detail>,
    #[serde(default)]
    total_pages: u32,
}

#[derive(Deserialize)]
struct Detail {
    transaction_info: Info,
}

#[derive(Deserialize)]
struct Info {
    transaction_id: String,
    paypal_reference_id: Option<String>,
    transaction_event_code: String,
    transaction_initiation_date: String,
    transaction_amount: Amount,
    fee_amount: Option<Amount>,
}

impl Amount {
    /// Its size, whichever way it goes.
    fn money(&self) -> Option<Money> {
        let currency: Currency = self.currency.parse().ok()?;
        let text = self.value.trim_start_matches('-');
        // Amounts of whole currencies come with zeros behind the point, too.
        let text = if currency.exponent() == 0 { text.split('.').next().unwrap_or(text) } else { text };
        Money::parse(text, currency).ok()
    }
}

impl Item {
    fn report(&self, batch_id: &str) -> Report {
        let progress = match self.transaction_status.as_deref().unwrap_or_default() {
            "SUCCESS" => Progress::Paid,
            "FAILED" | "BLOCKED" | "DENIED" => Progress::Failed,
            "CANCELED" => Progress::Cancelled,
            "RETURNED" | "REFUNDED" | "REVERSED" => Progress::Returned,
            // NEW, PENDING, ONHOLD; UNCLAIMED, which is returned after 30 days.
            _ => Progress::InTransit,
        };
        let fee = self.payout_item_fee.as_ref().and_then(Amount::money).filter(|_| progress == Progress::Paid);
        let reason = self.errors.as_ref().and_then(|error| error.message.clone().or_else(|| error.name.clone()));
        Report {
            progress,
            external_id: batch_id.to_owned(),
            reference: self.transaction_id.clone().unwrap_or_else(|| self.payout_item_id.clone()),
            return_reference: None,
            reason,
            amount: self.payout_item.as_ref().and_then(|asked| asked.amount.money()),
            fee: fee.map(|amount| Fee { transaction: format!("{}:fee", self.payout_item_id), amount }),
        }
    }
}

impl Batch {
    fn report(&self) -> Report {
        let id = &self.batch_header.payout_batch_id;
        let ended = match self.batch_header.batch_status.as_str() {
            "DENIED" => Some(Progress::Failed),
            "CANCELED" => Some(Progress::Cancelled),
            _ => None,
        };
        match (ended, self.items.first()) {
            (None, Some(item)) => item.report(id),
            (ended, _) => Report {
                progress: ended.unwrap_or(Progress::InTransit),
                external_id: id.clone(),
                reference: id.clone(),
                return_reference: None,
                reason: ended.map(|_| format!("the batch is {}", self.batch_header.batch_status)),
                amount: None,
                fee: None,
            },
        }
    }
}

impl Info {
    fn read(&self) -> Option<Transaction> {
        let (kind, reference) = match self.transaction_event_code.as_str() {
            "T0001" => (Booked::Payment, self.transaction_id.clone()),
            // The reversal and the refund of a payout.
            "T1114" | "T1115" => (Booked::Return, self.paypal_reference_id.clone()?),
            _ => return None,
        };
        let date = &self.transaction_initiation_date;
        // As they write offsets, `+0000`, and as RFC 3339 does.
        let at = DateTime::parse_from_rfc3339(date).or_else(|_| DateTime::parse_from_str(date, "%Y-%m-%dT%H:%M:%S%z"));
        Some(Transaction {
            kind,
            payout_id: None,
            reference,
            amount: self.transaction_amount.money()?,
            fee: self.fee_amount.as_ref().and_then(Amount::money),
            at: at.ok()?.to_utc(),
        })
    }
}

impl Paypal {
    async fn token(&self) -> Result<String, CallError> {
        let request = self
            .http
            .request(Method::POST, format!("{}/v1/oauth2/token", self.url))
            .basic_auth(&self.client_id, Some(&self.client_secret))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body("grant_type=client_credentials");
        // Without a token nothing was asked for yet.
        let answer = send(request).await.and_then(|answer| answer.read::<Token>());
        answer.map(|token| token.access_token).map_err(|error| CallError::NotDone(format!("no access token: {error}")))
    }

    async fn get(&self, token: &str, path: &str) -> Result<Answer, CallError> {
        send(self.http.request(Method::GET, format!("{}{path}", self.url)).bearer_auth(token)).await
    }

    async fn batch(&self, token: &str, id: &str) -> Result<Report, CallError> {
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(CallError::Unknown("the batch has no id that can be asked for".to_owned()));
        }
        asked(self.get(token, &format!("/v1/payments/payouts/{id}")).await?.read::<Batch>()).map(|batch| batch.report())
    }

    async fn verify(&self, call: &Call) -> Result<(), NoticeError> {
        let header = |name: &str| call.header(name).ok_or(NoticeError::Signature("a header of it is missing"));
        let event: &RawValue =
            serde_json::from_slice(&call.body).map_err(|error| NoticeError::Unreadable(error.to_string()))?;
        let question = Question {
            auth_algo: header("paypal-auth-algo")?,
            cert_url: header("paypal-cert-url")?,
            transmission_id: header("paypal-transmission-id")?,
            transmission_sig: header("paypal-transmission-sig")?,
            transmission_time: header("paypal-transmission-time")?,
            webhook_id: &self.webhook_id,
            webhook_event: event,
        };
        let unavailable = |error: CallError| NoticeError::Unavailable(error.to_string());
        let token = self.token().await.map_err(unavailable)?;
        let url = format!("{}/v1/notifications/verify-webhook-signature", self.url);
        let answer = send(self.http.request(Method::POST, url).bearer_auth(token).json(&question)).await;
        match answer.and_then(|answer| answer.read::<Verification>()) {
            Ok(verification) if verification.verification_status == "SUCCESS" => Ok(()),
            Ok(_) | Err(CallError::Refused(_)) => Err(NoticeError::Signature("PayPal does not know it")),
            Err(error) => Err(unavailable(error)),
        }
    }
}

/// The batch that already has a `sender_batch_id`, of an error that links it.
fn duplicate(value: &Value) -> Option<&str> {
    match value {
        Value::Object(fields) => fields.iter().find_map(|(name, value)| match value.as_str() {
            Some(address) if name == "href" => {
                address.split_once("/v1/payments/payouts/").map(|(_, id)| id.split(['?', '/']).next().unwrap_or(id))
            }
            _ => duplicate(value),
        }),
        Value::Array(items) => items.iter().find_map(duplicate),
        _ => None,
    }
}

#[async_trait]
impl Processor for Paypal {
    async fn submit(&self, order: &Order) -> Result<Report, CallError> {
        let Account::Paypal { email } = &order.account else {
            return Err(CallError::Refused("the destination is no PayPal address".to_owned()));
        };
        let reference = order.payout_id.to_string();
        let body = json!({
            "sender_batch_header": { "sender_batch_id": reference, "recipient_type": "EMAIL" },
            "items": [{
                "recipient_type": "EMAIL",
                "receiver": email,
                "sender_item_id": reference,
                "amount": { "value": written(order.amount), "currency": order.amount.currency },
            }],
        });
        let token = self.token().await?;
        let request = self
            .http
            .request(Method::POST, format!("{}/v1/payments/payouts", self.url))
            .bearer_auth(&token)
            .header("paypal-request-id", &reference)
            .json(&body);
        let answer = send(request).await?;
        if answer.status.is_client_error() {
            let error: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            if let Some(id) = duplicate(&error) {
                return self.batch(&token, id).await;
            }
            // It may be the refusal of an id that was used, however it is written.
            let says_so = String::from_utf8_lossy(&answer.body).to_ascii_lowercase().contains("sender_batch_id");
            return Err(match answer.refusal() {
                CallError::Refused(words) if says_so => CallError::Unknown(words),
                error => error,
            });
        }
        answer.read::<Batch>().map(|batch| batch.report())
    }

    async fn find(&self, order: &Order) -> Result<Found, CallError> {
        match (&order.external_id, order.handed_at) {
            (Some(id), _) => {
                let token = self.token().await?;
                self.batch(&token, id).await.map(Found::Known)
            }
            (None, Some(handed_at)) if order.at - handed_at > MEMORY => {
                Ok(Found::CannotTell("PayPal remembers no payout for longer than 30 days by our reference".to_owned()))
            }
            (None, _) => Ok(Found::NotAsked),
        }
    }

    async fn notice(&self, call: &Call) -> Result<Notice, NoticeError> {
        self.verify(call).await?;
        let unreadable = |error: serde_json::Error| NoticeError::Unreadable(error.to_string());
        let event: Event<'_> = serde_json::from_slice(&call.body).map_err(unreadable)?;
        let about = if event.event_type.starts_with("PAYMENT.PAYOUTS-ITEM.") {
            let item: Item = serde_json::from_str(event.resource.get()).map_err(unreadable)?;
            let payout_id: Option<PayoutId> = item.sender_batch_id.as_deref().and_then(|id| id.parse().ok());
            item.payout_batch_id.as_deref().map(|batch_id| About { payout_id, report: item.report(batch_id) })
        } else {
            None
        };
        Ok(Notice { event_id: event.id, event_type: event.event_type, about })
    }

    async fn transactions(&self, from: Instant, to: Instant) -> Result<Vec<Transaction>, CallError> {
        let token = self.token().await?;
        let [from, to] = [from, to].map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true));
        let mut found = Vec::new();
        for page in 1.. {
            let number = page.to_string();
            let query = encoded(&[
                ("start_date", &from),
                ("end_date", &to),
                ("fields", "transaction_info"),
                ("page_size", PAGE_SIZE),
                ("page", &number),
            ]);
            let report: Page = asked(self.get(&token, &format!("/v1/reporting/transactions?{query}")).await?.read())?;
            found.extend(report.transaction_details.iter().filter_map(|detail| detail.transaction_info.read()));
            if page >= report.total_pages {
                break;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicate_is_read_wherever_the_error_links_it() {
        let error = json!({ "name": "USER_BUSINESS_ERROR", "details": [{ "field": "SENDER_BATCH_ID",
            "link": [{ "href": "https://elsewhere.example/v1/payments/payouts/5UXD2E8A7EBQJ?x=1", "rel": "self" }] }] });
        assert_eq!(duplicate(&error), Some("5UXD2E8A7EBQJ"));
        assert_eq!(duplicate(&json!({ "links": [{ "href": "https://developer.paypal.com/docs" }] })), None);
    }

    #[test]
    fn amounts_are_written_and_read_as_paypal_does() {
        let money = |minor, code: &str| Money::new(minor, code.parse().expect("known"));
        assert_eq!(written(money(1_234, "EUR")), "12.34");
        assert_eq!(written(money(1_200, "HUF")), "12");
        let read = |value: &str, code: &str| {
            Amount { currency: code.to_owned(), value: value.to_owned() }.money().map(|money| money.amount_minor)
        };
        assert_eq!((read("-12.34", "EUR"), read("500.00", "JPY"), read("x", "EUR")), (Some(1_234), Some(500), None));
    }

    #[test]
    fn book_lines_are_told_by_their_code() {
        let line = |code: &str| {
            let info = json!({ "transaction_id": "T1", "paypal_reference_id": "T0", "transaction_event_code": code,
                "transaction_initiation_date": "2026-11-26T10:00:00+0000",
                "transaction_amount": { "currency_code": "EUR", "value": "-5.00" } });
            serde_json::from_value::<Info>(info).expect("a line").read().map(|line| (line.kind, line.reference))
        };
        assert_eq!(line("T0001"), Some((Booked::Payment, "T1".to_owned())));
        assert_eq!(line("T1114"), Some((Booked::Return, "T0".to_owned())));
        assert_eq!(line("T1503"), None);
    }
}
