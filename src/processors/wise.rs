//! Wise: a quote, a transfer to a recipient, and its funding from the balance in the same currency.
//!
//! After <https://docs.wise.com/api-reference/transfer>, `/api-reference/quote`, `/guides/product/send-money`, and
//! `/api-docs/features/webhooks-notifications/event-handling`.
//!
//! # Decisions
//! - The payout's UUID is the transfer's `customerTransactionId`: a transfer that is asked for again is the same one. It is
//!   funded only while it waits for that, which its status tells.
//! - A notice names the transfer and no reference of ours, and may be late: what became of the transfer is asked for.
//! - Transfers are listed by the day on which they were made, as they are now, and without their fees: one that comes back
//!   weeks later is found by looking at old days again, and what was paid on a day is asked for by itself.
//! - A transfer that waits for its funds is funded, and not asked for again: a quote that is refused meanwhile would leave it
//!   there, for somebody to fund.
//! - A transfer that was refused its funds is cancelled before the payout fails: it must not be funded later by hand.

use async_trait::async_trait;
use chrono::{DateTime, SecondsFormat, TimeDelta};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use reqwest::{Method, RequestBuilder};
use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};
use tributary_entity::{
    Instant,
    ids::PayoutId,
    money::{Currency, Money},
};
use uuid::Uuid;

use super::{
    About, Booked, Call, CallError, Found, Notice, NoticeError, Processor, Transaction,
    http::{Http, asked, encoded, send},
};
use crate::domain::{
    payout_destination::Account,
    processor::{Fee, Order, Progress, Report, Unit},
};

/// Currencies of which Wise pays whole units only.
const WHOLE: &[&str] = &["CLP", "HUF", "IDR", "JPY", "KRW", "TWD", "UGX", "VND"];
const PAGE: usize = 100;
/// Within which banks send back what they cannot book, and Wise refunds it.
const REFUNDS: TimeDelta = TimeDelta::weeks(8);
/// What a look-up by date allows for clocks that differ.
const SLACK: TimeDelta = TimeDelta::days(1);
/// The state in which a transfer waits for its funds.
const WAITS: &str = "incoming_payment_waiting";

pub(super) fn unit(currency: Currency) -> Option<Unit> {
    let exponent = if WHOLE.contains(&currency.code()) { 0 } else { currency.exponent().min(2) };
    Some(Unit { exponent, minimum_minor: 1 })
}

pub(super) struct Wise {
    pub http: Http,
    pub url: String,
    pub api_token: String,
    pub profile_id: String,
    /// In PEM.
    pub public_key: Option<String>,
}

#[derive(Deserialize)]
struct Transfer {
    id: u64,
    status: String,
    #[serde(rename = "customerTransactionId")]
    customer_transaction_id: Option<String>,
    #[serde(rename = "quoteUuid")]
    quote_uuid: Option<Uuid>,
    #[serde(rename = "targetCurrency")]
    target_currency: Option<String>,
    #[serde(rename = "targetValue")]
    target_value: Option<Box<RawValue>>,
    created: Option<String>,
}

#[derive(Deserialize)]
struct Quote {
    id: Uuid,
    #[serde(rename = "sourceCurrency")]
    source_currency: Option<String>,
    #[serde(rename = "paymentOptions", default)]
    payment_options: Vec<PaymentOption>,
}

#[derive(Deserialize)]
struct PaymentOption {
    #[serde(rename = "payIn")]
    pay_in: String,
    fee: Option<QuoteFee>,
}

#[derive(Deserialize)]
struct QuoteFee {
    total: Box<RawValue>,
}

#[derive(Deserialize)]
struct Payment {
    status: String,
    #[serde(rename = "errorCode")]
    error_code: Option<String>,
}

#[derive(Deserialize)]
struct Event {
    event_type: String,
    data: EventData,
}

#[derive(Deserialize)]
struct EventData {
    resource: Resource,
    #[serde(default)]
    current_state: String,
    #[serde(default)]
    occurred_at: String,
}

#[derive(Deserialize)]
struct Resource {
    id: u64,
    r#type: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NewQuote<'a> {
    source_currency: &'a str,
    target_currency: &'a str,
    /// A number, written digit by digit.
    target_amount: Box<RawValue>,
    pay_out: &'static str,
    preferred_pay_in: &'static str,
}

/// A JSON number as money, through its digits.
fn money(number: &RawValue, currency: &str) -> Option<Money> {
    let currency: Currency = currency.parse().ok()?;
    let text = number.get().trim_matches('"');
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    // Zeros behind the currency's digits mean nothing here.
    let fraction = fraction.trim_end_matches('0');
    let text = if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") };
    Money::parse(&text, currency).ok()
}

impl Transfer {
    fn progress(&self) -> Progress {
        match self.status.as_str() {
            "outgoing_payment_sent" => Progress::Paid,
            "cancelled" => Progress::Cancelled,
            "funds_refunded" => Progress::Returned,
            // processing, funds_converted; bounced_back, which is refunded next.
            _ => Progress::InTransit,
        }
    }

    fn payout_id(&self) -> Option<PayoutId> {
        let id = self.customer_transaction_id.as_deref()?;
        Uuid::try_parse(id).ok().map(PayoutId::from_uuid)
    }

    fn amount(&self) -> Option<Money> {
        money(self.target_value.as_deref()?, self.target_currency.as_deref()?)
    }
}

impl Quote {
    /// What paying from the balance costs.
    fn fee(&self) -> Option<Money> {
        let option = self.payment_options.iter().find(|option| option.pay_in == "BALANCE")?;
        money(&option.fee.as_ref()?.total, self.source_currency.as_deref()?)
    }
}

impl Wise {
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.api_token)
    }

    async fn transfer(&self, id: u64) -> Result<Transfer, CallError> {
        asked(send(self.request(Method::GET, &format!("/v1/transfers/{id}"))).await?.read())
    }

    /// What is known of a transfer. Its fee is looked up once it was paid, whatever became of it since: that may be the first
    /// that is heard of it. Without an answer to that nothing is known yet, as a payout that is PAID is not asked for again.
    async fn report(&self, transfer: &Transfer) -> Result<Report, CallError> {
        let progress = transfer.progress();
        let fee = match transfer.quote_uuid {
            Some(id) if matches!(progress, Progress::Paid | Progress::Returned) => self.fee(id).await?,
            _ => None,
        };
        let id = transfer.id.to_string();
        Ok(Report {
            progress,
            reference: id.clone(),
            return_reference: None,
            reason: matches!(progress, Progress::Cancelled | Progress::Returned)
                .then(|| format!("the transfer is {}", transfer.status)),
            amount: transfer.amount(),
            fee: fee.filter(|fee| fee.amount_minor > 0).map(|amount| Fee { transaction: format!("{id}:fee"), amount }),
            external_id: id,
        })
    }

    /// None where there is no such quote any more: the comparison of the books finds what it cost.
    async fn fee(&self, quote: Uuid) -> Result<Option<Money>, CallError> {
        let path = format!("/v3/profiles/{}/quotes/{quote}", self.profile_id);
        match send(self.request(Method::GET, &path)).await?.read::<Quote>() {
            Ok(quote) => Ok(quote.fee()),
            Err(CallError::Refused(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn quote(&self, amount: Money) -> Result<Quote, CallError> {
        let code = amount.currency.code();
        let quote = NewQuote {
            source_currency: code,
            target_currency: code,
            target_amount: RawValue::from_string(amount.decimal())
                .map_err(|_| CallError::Refused("the amount is no number".to_owned()))?,
            pay_out: "BANK_TRANSFER",
            preferred_pay_in: "BALANCE",
        };
        let path = format!("/v3/profiles/{}/quotes", self.profile_id);
        let answer = send(self.request(Method::POST, &path).json(&quote)).await;
        // A quote binds nobody: whatever went wrong, nothing was asked for yet.
        answer.and_then(|answer| answer.read()).map_err(|error| match error {
            CallError::Unknown(words) => CallError::NotDone(words),
            error => error,
        })
    }

    async fn fund(&self, transfer: &Transfer) -> Result<(), CallError> {
        let path = format!("/v3/profiles/{}/transfers/{}/payments", self.profile_id, transfer.id);
        let answer = send(self.request(Method::POST, &path).json(&json!({ "type": "BALANCE" }))).await?;
        let payment: Payment = answer.read().map_err(|error| match error {
            // The transfer is there and can be funded later.
            CallError::Refused(words) => CallError::NotDone(words),
            error => error,
        })?;
        if payment.status != "REJECTED" {
            return Ok(());
        }
        let why = payment.error_code.unwrap_or_else(|| "rejected".to_owned());
        let cancelled = send(self.request(Method::PUT, &format!("/v1/transfers/{}/cancel", transfer.id))).await?;
        match asked(cancelled.read::<Transfer>())?.progress() {
            Progress::Cancelled => Err(CallError::Refused(format!("not funded: {why}"))),
            _ => Err(CallError::Unknown(format!("not funded: {why}; and not cancelled"))),
        }
    }

    /// Makes a transfer, or finds the one that has the reference.
    async fn create(&self, order: &Order, recipient_id: &str) -> Result<Transfer, CallError> {
        let quote = self.quote(order.amount).await?;
        let recipient = recipient_id.parse::<u64>().map_or_else(|_| json!(recipient_id), |number| json!(number));
        let reference = order.payout_id.uuid();
        let body = json!({
            "targetAccount": recipient,
            "quoteUuid": quote.id,
            "customerTransactionId": reference,
            "details": { "reference": "Commission" },
        });
        send(self.request(Method::POST, "/v1/transfers").json(&body)).await?.read()
    }

    /// Transfers that were created in a period.
    async fn created(&self, from: Instant, to: Instant) -> Result<Vec<Transfer>, CallError> {
        let [from, to] = [from, to].map(|at| at.to_rfc3339_opts(SecondsFormat::Millis, true));
        let (limit, mut found) = (PAGE.to_string(), Vec::new());
        loop {
            let offset = found.len().to_string();
            let query = encoded(&[
                ("profile", &self.profile_id),
                ("createdDateStart", &from),
                ("createdDateEnd", &to),
                ("limit", &limit),
                ("offset", &offset),
            ]);
            let page: Vec<Transfer> =
                asked(send(self.request(Method::GET, &format!("/v1/transfers?{query}"))).await?.read())?;
            let is_last = page.len() < PAGE;
            found.extend(page);
            if is_last {
                return Ok(found);
            }
        }
    }

    fn verify(&self, call: &Call) -> Result<(), NoticeError> {
        let key = self.public_key.as_deref().ok_or(NoticeError::Signature("the operator has set no key for it"))?;
        let key = DecodingKey::from_rsa_pem(key.as_bytes())
            .map_err(|_| NoticeError::Signature("the operator's key cannot be read"))?;
        let signature = call.header("x-signature-sha256").ok_or(NoticeError::Signature("there is none"))?;
        let signature =
            BASE64.decode(signature.as_bytes()).map_err(|_| NoticeError::Signature("it is not in base64"))?;
        // RSASSA-PKCS1-v1_5 over SHA-256, as in a token, but over the body alone.
        let fits = crypto::verify(&BASE64URL_NOPAD.encode(&signature), &call.body, &key, Algorithm::RS256);
        if fits.unwrap_or(false) { Ok(()) } else { Err(NoticeError::Signature("another key signed it")) }
    }
}

#[async_trait]
impl Processor for Wise {
    async fn submit(&self, order: &Order) -> Result<Report, CallError> {
        let Account::Wise { recipient_id } = &order.account else {
            return Err(CallError::Refused("the destination is no recipient".to_owned()));
        };
        let transfer = match number(order) {
            Some(id) => self.transfer(id).await?,
            None => self.create(order, recipient_id).await?,
        };
        if transfer.payout_id() != Some(order.payout_id) {
            return Err(CallError::Unknown("answered another transfer".to_owned()));
        }
        if transfer.status != WAITS {
            return self.report(&transfer).await;
        }
        self.fund(&transfer).await?;
        self.report(&Transfer { status: "processing".to_owned(), ..transfer }).await
    }

    async fn find(&self, order: &Order) -> Result<Found, CallError> {
        let transfer = match number(order) {
            Some(id) => Some(self.transfer(id).await?),
            None => {
                let from = order.handed_at.unwrap_or(order.at) - SLACK;
                let transfers = self.created(from, order.at + SLACK).await?;
                transfers.into_iter().find(|transfer| transfer.payout_id() == Some(order.payout_id))
            }
        };
        Ok(match transfer {
            Some(transfer) if transfer.status == WAITS => Found::Begun(transfer.id.to_string()),
            Some(transfer) => Found::Known(self.report(&transfer).await?),
            None => Found::Nothing,
        })
    }

    async fn notice(&self, call: &Call) -> Result<Notice, NoticeError> {
        self.verify(call)?;
        let event: Event =
            serde_json::from_slice(&call.body).map_err(|error| NoticeError::Unreadable(error.to_string()))?;
        let (resource, state) = (&event.data.resource, &event.data.current_state);
        // Deliveries have names, and events have none: what happened to which, when.
        let event_id = format!("{}:{}:{state}:{}", event.event_type, resource.id, event.data.occurred_at);
        let is_test = call.header("x-test-notification").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let about = if resource.r#type == "transfer" && !is_test {
            let unavailable = |error: CallError| NoticeError::Unavailable(error.to_string());
            let transfer = self.transfer(resource.id).await.map_err(unavailable)?;
            // What waits for its funds, nothing has happened to.
            let report = self.report(&transfer).await.map_err(unavailable)?;
            (transfer.status != WAITS).then(|| About { payout_id: transfer.payout_id(), report })
        } else {
            None
        };
        Ok(Notice { event_id, event_type: event.event_type, about })
    }

    fn changes_within(&self) -> TimeDelta {
        REFUNDS
    }

    async fn transactions(&self, from: Instant, to: Instant) -> Result<Vec<Transaction>, CallError> {
        let mut found = Vec::new();
        for transfer in self.created(from, to).await? {
            let at = transfer.created.as_deref().and_then(read_date).unwrap_or(from);
            let Some(amount) = transfer.amount() else { continue };
            let line = |kind| Transaction {
                kind,
                payout_id: transfer.payout_id(),
                reference: transfer.id.to_string(),
                amount,
                fee: None,
                at,
            };
            match transfer.progress() {
                Progress::Paid => found.push(line(Booked::Payment)),
                Progress::Returned => found.push(line(Booked::Return)),
                Progress::InTransit | Progress::Failed | Progress::Cancelled => {}
            }
        }
        Ok(found)
    }
}

/// A transfer's number, where it is known.
fn number(order: &Order) -> Option<u64> {
    order.external_id.as_deref()?.parse().ok()
}

/// As they write dates, `2026-11-26 10:00:00`, and as RFC 3339 does.
fn read_date(text: &str) -> Option<Instant> {
    let plain = chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").map(|date| date.and_utc());
    plain.or_else(|_| DateTime::parse_from_rfc3339(text).map(|date| date.to_utc())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_by_their_digits() {
        let read = |text: &str, code: &str| {
            let number = RawValue::from_string(text.to_owned()).expect("JSON");
            money(&number, code).map(|money| money.amount_minor)
        };
        assert_eq!(
            (read("12.34", "EUR"), read("12.3", "EUR"), read("12", "EUR")),
            (Some(1_234), Some(1_230), Some(1_200))
        );
        assert_eq!((read("500.0", "JPY"), read("0.30", "USD"), read("12.345", "EUR")), (Some(500), Some(30), None));
    }

    #[test]
    fn dates_are_read_in_both_forms() {
        assert_eq!(read_date("2026-11-26 10:00:00"), read_date("2026-11-26T10:00:00.000Z"));
        assert!(read_date("2026-11-26 10:00:00").is_some());
    }
}
