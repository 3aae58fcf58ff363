//! Stripe Connect: a transfer to a connected account, which has the money at once.
//!
//! After <https://docs.stripe.com/api/transfers>, `/api/idempotent_requests`, `/api/balance_transactions`,
//! `/webhooks#verify-manually` and `/currencies`.
//!
//! # Decisions
//! - The payout's id is the transfer group as well as the idempotency key: keys are forgotten after a day, and a group can
//!   be looked up for ever.
//! - A transfer that is reversed whole has come back; one that is reversed in part stays paid, and the part is found by the
//!   comparison of the books.

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta};
use data_encoding::HEXLOWER_PERMISSIVE;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::{Method, RequestBuilder, header};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use sha2::Sha256;
use tributary_entity::{
    Instant,
    money::{Currency, Money},
};

use super::{
    About, Booked, Call, CallError, Found, Notice, NoticeError, Processor, Transaction,
    http::{Http, asked, encoded, send},
};
use crate::domain::{
    payout_destination::Account,
    processor::{Order, Progress, Report, Unit},
};

/// The version of the API that this file reads.
const VERSION: &str = "2024-06-20";
/// How old a signature may be, and how far ahead its clock.
const TOLERANCE: TimeDelta = TimeDelta::minutes(5);
const PAGE: &str = "100";

/// Amounts are integers of 10^-n: n where it is not ISO 4217's.
const WIRE_EXPONENTS: &[(&str, u8)] = &[("MGA", 0), ("ISK", 2), ("UGX", 2)];
/// Decimals of which fewer are paid than written: the last of three is a zero, those of two are two zeros.
const PAID_EXPONENTS: &[(&str, u8)] =
    &[("BHD", 2), ("JOD", 2), ("KWD", 2), ("OMR", 2), ("TND", 2), ("HUF", 0), ("TWD", 0), ("MGA", 0)];

fn listed(list: &[(&str, u8)], currency: Currency) -> Option<u8> {
    list.iter().find(|(code, _)| *code == currency.code()).map(|(_, exponent)| *exponent)
}

pub(super) fn unit(currency: Currency) -> Option<Unit> {
    let exponent = listed(PAID_EXPONENTS, currency).unwrap_or_else(|| currency.exponent());
    Some(Unit { exponent, minimum_minor: 1 })
}

/// An amount as Stripe counts it.
fn to_wire(money: Money) -> Option<i64> {
    let (ours, theirs) = (money.currency.exponent(), wire_exponent(money.currency));
    let step = 10_i64.checked_pow(u32::from(ours.abs_diff(theirs)))?;
    if theirs >= ours { money.amount_minor.checked_mul(step) } else { Some(money.amount_minor / step) }
}

fn from_wire(amount: i64, currency: Currency) -> Option<Money> {
    let (ours, theirs) = (currency.exponent(), wire_exponent(currency));
    let step = 10_i64.checked_pow(u32::from(ours.abs_diff(theirs)))?;
    let amount_minor = if theirs >= ours { amount / step } else { amount.checked_mul(step)? };
    Some(Money::new(amount_minor, currency))
}

/// A currency as they write it, in small letters.
fn read(code: &str) -> Option<Currency> {
    code.to_ascii_uppercase().parse().ok()
}

fn wire_exponent(currency: Currency) -> u8 {
    listed(WIRE_EXPONENTS, currency).unwrap_or_else(|| currency.exponent())
}

pub(super) struct Stripe {
    pub http: Http,
    pub url: String,
    pub secret_key: String,
    pub webhook_secret: String,
}

#[derive(Deserialize)]
struct Transfer {
    id: String,
    #[serde(default)]
    reversed: bool,
    transfer_group: Option<String>,
    amount: Option<i64>,
    currency: Option<String>,
    #[serde(default)]
    reversals: Option<List<Reversal>>,
}

#[derive(Deserialize)]
struct Reversal {
    id: String,
}

#[derive(Deserialize)]
struct List<T> {
    data: Vec<T>,
    #[serde(default)]
    has_more: bool,
}

#[derive(Deserialize)]
struct Event<'a> {
    id: String,
    r#type: String,
    #[serde(borrow)]
    data: EventData<'a>,
}

#[derive(Deserialize)]
struct EventData<'a> {
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct BalanceTransaction {
    id: String,
    amount: i64,
    #[serde(default)]
    fee: i64,
    currency: String,
    created: i64,
    r#type: String,
    /// The transfer, or its reversal, expanded.
    source: Option<Value>,
}

impl Transfer {
    fn report(&self) -> Report {
        let reversal = self.reversals.as_ref().and_then(|list| list.data.first()).map(|reversal| reversal.id.clone());
        Report {
            progress: if self.reversed { Progress::Returned } else { Progress::Paid },
            external_id: self.id.clone(),
            reference: self.id.clone(),
            return_reference: reversal,
            reason: self.reversed.then(|| "the transfer was reversed".to_owned()),
            amount: self.amount.zip(self.currency.as_deref()).and_then(|(amount, code)| from_wire(amount, read(code)?)),
            // Transfers cost nothing; what an account pays otherwise is no payout's.
            fee: None,
        }
    }
}

impl BalanceTransaction {
    fn read(self) -> Option<Transaction> {
        let kind = match self.r#type.as_str() {
            "transfer" => Booked::Payment,
            "transfer_refund" | "transfer_cancel" | "transfer_failure" => Booked::Return,
            _ => return None,
        };
        let currency = read(&self.currency)?;
        let source = self.source.unwrap_or_default();
        let text = |name: &str| source[name].as_str().map(str::to_owned);
        // A reversal names its transfer; where nothing is expanded, the source is the id itself.
        let transfer = text("transfer").or_else(|| text("id")).or_else(|| source.as_str().map(str::to_owned));
        Some(Transaction {
            kind,
            payout_id: text("transfer_group").and_then(|group| group.parse().ok()),
            reference: transfer.unwrap_or(self.id),
            amount: from_wire(self.amount.checked_abs()?, currency)?,
            fee: from_wire(self.fee, currency),
            at: DateTime::from_timestamp(self.created, 0)?,
        })
    }
}

impl Stripe {
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.url))
            .bearer_auth(&self.secret_key)
            .header("stripe-version", VERSION)
    }

    async fn list<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        pairs: &[(&str, &str)],
    ) -> Result<List<T>, CallError> {
        asked(send(self.request(Method::GET, &format!("{path}?{}", encoded(pairs)))).await?.read())
    }
}

#[async_trait]
impl Processor for Stripe {
    async fn submit(&self, order: &Order) -> Result<Report, CallError> {
        let Account::Stripe { account_id } = &order.account else {
            return Err(CallError::Refused("the destination is no connected account".to_owned()));
        };
        let amount =
            to_wire(order.amount).ok_or_else(|| CallError::Refused("the amount is out of range".to_owned()))?;
        let (amount, group) = (amount.to_string(), order.payout_id.to_string());
        let form = encoded(&[
            ("amount", &amount),
            ("currency", &order.amount.currency.code().to_ascii_lowercase()),
            ("destination", account_id),
            ("transfer_group", &group),
            ("metadata[payout_id]", &group),
        ]);
        let request = self
            .request(Method::POST, "/v1/transfers")
            .header("idempotency-key", &group)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form);
        let answer = send(request).await?;
        let error: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if error["error"]["type"] == "idempotency_error" {
            // The key was used, for something.
            return Err(CallError::Unknown("the key was used with other parameters".to_owned()));
        }
        answer.read::<Transfer>().map(|transfer| transfer.report())
    }

    async fn find(&self, order: &Order) -> Result<Found, CallError> {
        let group = order.payout_id.to_string();
        let list = self.list::<Transfer>("/v1/transfers", &[("transfer_group", &group), ("limit", "10")]).await?;
        let known = list.data.iter().find(|transfer| transfer.transfer_group.as_deref() == Some(&group));
        Ok(known.map_or(Found::Nothing, |transfer| Found::Known(transfer.report())))
    }

    async fn notice(&self, call: &Call) -> Result<Notice, NoticeError> {
        verify(call, &self.webhook_secret)?;
        let unreadable = |error: serde_json::Error| NoticeError::Unreadable(error.to_string());
        let event: Event<'_> = serde_json::from_slice(&call.body).map_err(unreadable)?;
        let about = if event.r#type.starts_with("transfer.") {
            let transfer: Transfer = serde_json::from_str(event.data.object.get()).map_err(unreadable)?;
            let payout_id = transfer.transfer_group.as_deref().and_then(|group| group.parse().ok());
            Some(About { payout_id, report: transfer.report() })
        } else {
            None
        };
        Ok(Notice { event_id: event.id, event_type: event.r#type, about })
    }

    async fn transactions(&self, from: Instant, to: Instant) -> Result<Vec<Transaction>, CallError> {
        let (from, to) = (from.timestamp().to_string(), to.timestamp().to_string());
        let mut found = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let mut pairs =
                vec![("created[gte]", &*from), ("created[lt]", &*to), ("limit", PAGE), ("expand[]", "data.source")];
            pairs.extend(after.as_deref().map(|after| ("starting_after", after)));
            let page = self.list::<BalanceTransaction>("/v1/balance_transactions", &pairs).await?;
            let last = page.data.last().map(|last| last.id.clone());
            found.extend(page.data.into_iter().filter_map(BalanceTransaction::read));
            if !page.has_more || last.is_none() {
                return Ok(found);
            }
            after = last;
        }
    }
}

/// `Stripe-Signature: t=<seconds>,v1=<hex>`: HMAC-SHA256 over `<seconds>.<body>`.
fn verify(call: &Call, secret: &str) -> Result<(), NoticeError> {
    let header = call.header("stripe-signature").ok_or(NoticeError::Signature("there is none"))?;
    let parts = || header.split(',').filter_map(|part| part.trim().split_once('='));
    let time = parts().find(|(name, _)| *name == "t").map(|(_, time)| time);
    let time = time.ok_or(NoticeError::Signature("it has no time"))?;
    let at = time.parse().ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    let at = at.ok_or(NoticeError::Signature("it has no time"))?;
    if (call.received_at - at).abs() > TOLERANCE {
        return Err(NoticeError::Signature("it is too old, or the clocks differ"));
    }
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(secret.as_bytes())
        .map_err(|_| NoticeError::Signature("there is no secret"))?;
    mac.update(time.as_bytes());
    mac.update(b".");
    mac.update(&call.body);
    // There are several while the secret is rolled.
    let fits = parts().filter(|(name, _)| *name == "v1").any(|(_, signature)| {
        HEXLOWER_PERMISSIVE
            .decode(signature.as_bytes())
            .is_ok_and(|signature| mac.clone().verify_slice(&signature).is_ok())
    });
    if fits { Ok(()) } else { Err(NoticeError::Signature("another secret signed it")) }
}

#[cfg(test)]
mod tests {
    use tributary_entity::ids::PayoutId;

    use super::*;

    fn signed(secret: &str, at: i64, body: &str) -> Call {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(secret.as_bytes()).expect("any length");
        mac.update(format!("{at}.{body}").as_bytes());
        let signature = data_encoding::HEXLOWER.encode(&mac.finalize().into_bytes());
        Call {
            headers: vec![("stripe-signature".to_owned(), format!("t={at},v0=ff,v1={signature}"))],
            body: body.as_bytes().to_vec(),
            received_at: DateTime::from_timestamp(1_800_000_000, 0).expect("in range"),
        }
    }

    #[test]
    fn signature_is_of_the_secret_the_time_and_the_body() {
        assert_eq!(verify(&signed("whsec_a", 1_800_000_000, "{}"), "whsec_a"), Ok(()));
        assert!(verify(&signed("whsec_a", 1_800_000_000, "{}"), "whsec_b").is_err());
        assert!(verify(&signed("whsec_a", 1_799_999_000, "{}"), "whsec_a").is_err());
        let mut call = signed("whsec_a", 1_800_000_000, "{}");
        call.body = b"{ }".to_vec();
        assert!(verify(&call, "whsec_a").is_err());
        call.headers.clear();
        assert!(verify(&call, "whsec_a").is_err());
    }

    #[test]
    fn amounts_are_as_stripe_counts() {
        for (code, minor, wire) in [
            ("USD", 1_234, 1_234),
            ("JPY", 1_234, 1_234),
            ("KWD", 1_230, 1_230),
            ("ISK", 5, 500),
            ("UGX", 7, 700),
            ("MGA", 300, 3),
        ] {
            let money = Money::new(minor, code.parse().expect("known"));
            assert_eq!(to_wire(money), Some(wire), "{code}");
            assert_eq!(from_wire(wire, money.currency), Some(money), "{code}");
        }
    }

    #[test]
    fn book_lines_name_their_transfer() {
        let line = |json: Value| serde_json::from_value::<BalanceTransaction>(json).expect("a line").read();
        let payout = PayoutId::from_uuid(uuid::Uuid::from_u128(7));
        let payment =
            line(serde_json::json!({ "id": "txn_1", "amount": -1_000, "fee": 0, "currency": "eur", "created": 1,
            "type": "transfer", "source": { "id": "tr_1", "transfer_group": payout.to_string() } }));
        let payment = payment.expect("a payment");
        assert_eq!((payment.kind, payment.payout_id), (Booked::Payment, Some(payout)));
        assert_eq!((payment.reference.as_str(), payment.amount.amount_minor), ("tr_1", 1_000));
        let back = line(serde_json::json!({ "id": "txn_2", "amount": 1_000, "currency": "eur", "created": 1,
            "type": "transfer_refund", "source": { "id": "trr_1", "transfer": "tr_1" } }));
        assert_eq!(back.map(|back| (back.kind, back.reference)), Some((Booked::Return, "tr_1".to_owned())));
        assert!(
            line(serde_json::json!({ "id": "txn_3", "amount": 5, "currency": "eur", "created": 1, "type": "charge" }))
                .is_none()
        );
    }
}
