//! PayPal: access tokens, payout batches, the verification of webhooks, the transaction report.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, Query, State as Shares},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use chrono::DateTime;
use data_encoding::{BASE64, HEXLOWER};
use serde_json::{Value, json, value::RawValue};
use sha2::{Digest, Sha256};

use super::{Kind, Notice, Payment, Shared, State, decimal, error, short_of_funds};

pub const CLIENT: &str = "paypal-client-0000000000000000";
pub const SECRET: &str = "paypal-secret-0000000000000000";
pub const WEBHOOK: &str = "8PT597110X687430L";
const TOKEN: &str = "A21AAdouble";
pub const VERIFY: &str = "/v1/notifications/verify-webhook-signature";

type Pairs = std::collections::HashMap<String, String>;

pub fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/v1/oauth2/token", post(token))
        .route("/v1/payments/payouts", post(create))
        .route("/v1/payments/payouts/{id}", get(show))
        .route(VERIFY, post(verify))
        .route("/v1/reporting/transactions", get(report))
}

fn is_known(headers: &HeaderMap) -> bool {
    headers.get("authorization").is_some_and(|value| value == &format!("Bearer {TOKEN}"))
}

async fn token(headers: HeaderMap) -> Response {
    let basic = format!("Basic {}", BASE64.encode(format!("{CLIENT}:{SECRET}").as_bytes()));
    if headers.get("authorization").is_some_and(|value| value == &basic) {
        Json(json!({ "access_token": TOKEN, "token_type": "Bearer", "expires_in": 31_668 })).into_response()
    } else {
        error(401, "Client Authentication failed")
    }
}

fn batch_id(payment: &Payment) -> String {
    format!("BATCH{}", payment.number)
}

fn item(payment: &Payment) -> Value {
    let status = match payment.state {
        State::Waiting | State::Pending => "PENDING",
        State::Paid => "SUCCESS",
        State::Failed => "FAILED",
        State::Returned => "RETURNED",
    };
    let mut item = json!({
        "payout_item_id": format!("ITEM{}", payment.number), "payout_batch_id": batch_id(payment),
        "sender_batch_id": payment.key, "transaction_status": status, "transaction_id": payment.reference(),
        "payout_item_fee": { "currency": payment.currency, "value": decimal(payment.fee_minor) },
        "payout_item": { "sender_item_id": payment.key, "receiver": "ada@shop.example",
            "amount": { "currency": payment.currency, "value": payment.decimal() } },
    });
    if payment.state == State::Failed {
        item["errors"] = json!({ "name": "RECEIVER_UNREGISTERED", "message": "the receiver is not registered" });
    }
    item
}

fn batch(payment: &Payment, with_items: bool) -> Value {
    let status = if payment.state == State::Pending { "PENDING" } else { "SUCCESS" };
    let mut batch = json!({ "batch_header": { "payout_batch_id": batch_id(payment), "batch_status": status,
        "sender_batch_header": { "sender_batch_id": payment.key } } });
    if with_items {
        batch["items"] = json!([item(payment)]);
    }
    batch
}

async fn create(Shares(shared): Shares<Arc<Shared>>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    if !is_known(&headers) {
        return error(401, "Authentication failed");
    }
    let key = body["sender_batch_header"]["sender_batch_id"].as_str().expect("an id").to_owned();
    if shared.books().refused_next.remove(&(Kind::Paypal, key.clone())) {
        return short_of_funds();
    }
    let known = shared.books().payments.get(&(Kind::Paypal, key.clone())).cloned();
    if let Some(payment) = known {
        *shared.books().asked.entry(key).or_default() += 1;
        let link = format!("https://api-m.paypal.example/v1/payments/payouts/{}", batch_id(&payment));
        let body = json!({ "name": "USER_BUSINESS_ERROR", "message": "User business error.", "details": [{
            "field": "SENDER_BATCH_ID", "location": "body",
            "issue": "Batch with given sender_batch_id already exists",
            "link": [{ "href": link, "rel": "self", "method": "GET" }],
        }] });
        return (StatusCode::BAD_REQUEST, Json(body)).into_response();
    }
    let amount = &body["items"][0]["amount"];
    let minor: i64 = amount["value"].as_str().expect("a text").replace('.', "").parse().expect("two decimals");
    let currency = amount["currency"].as_str().expect("a code");
    match shared.pay(Kind::Paypal, &key, minor, currency, State::Pending).await {
        Ok(payment) => (StatusCode::CREATED, Json(batch(&payment, false))).into_response(),
        Err(answer) => answer,
    }
}

async fn show(Shares(shared): Shares<Arc<Shared>>, headers: HeaderMap, Path(id): Path<String>) -> Response {
    if !is_known(&headers) {
        return error(401, "Authentication failed");
    }
    let books = shared.books();
    match books.payments.values().find(|payment| payment.kind == Kind::Paypal && batch_id(payment) == id) {
        Some(payment) => Json(batch(payment, true)).into_response(),
        None => error(404, "no such batch"),
    }
}

fn signature(transmission: &str, event: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(format!("{transmission}|{WEBHOOK}|{event}")))
}

async fn verify(headers: HeaderMap, body: String) -> Response {
    #[derive(serde::Deserialize)]
    struct Verify<'a> {
        transmission_id: String,
        transmission_sig: String,
        webhook_id: String,
        #[serde(borrow)]
        webhook_event: &'a RawValue,
    }
    if !is_known(&headers) {
        return error(401, "Authentication failed");
    }
    let question: Verify<'_> = serde_json::from_str(&body).expect("as documented");
    let good = question.webhook_id == WEBHOOK
        && question.transmission_sig == signature(&question.transmission_id, question.webhook_event.get());
    Json(json!({ "verification_status": if good { "SUCCESS" } else { "FAILURE" } })).into_response()
}

async fn report(Shares(shared): Shares<Arc<Shared>>, headers: HeaderMap, Query(query): Query<Pairs>) -> Response {
    if !is_known(&headers) {
        return error(401, "Authentication failed");
    }
    let bound = |name: &str| DateTime::parse_from_rfc3339(&query[name]).expect("a date").timestamp();
    let (from, to) = (bound("start_date"), bound("end_date"));
    let books = shared.books();
    let mut lines = Vec::new();
    for payment in books.payments.values().filter(|payment| payment.kind == Kind::Paypal) {
        let line = |id: String, code: &str, sign: &str, at: i64| {
            let date = DateTime::from_timestamp(at, 0).expect("in range").format("%Y-%m-%dT%H:%M:%S+0000").to_string();
            (
                at,
                json!({ "transaction_info": {
                "transaction_id": id, "paypal_reference_id": payment.reference(), "transaction_event_code": code,
                "transaction_initiation_date": date,
                "transaction_amount": { "currency_code": payment.currency, "value": format!("{sign}{}", payment.decimal()) },
                "fee_amount": { "currency_code": payment.currency, "value": format!("-{}", decimal(payment.fee_minor)) },
            } }),
            )
        };
        let Some(paid) = payment.paid else { continue };
        lines.push(line(payment.reference(), "T0001", "-", paid));
        if matches!(payment.state, State::Failed | State::Returned) {
            lines.push(line(format!("R{}", payment.reference()), "T1114", "", payment.moved));
        }
    }
    let lines: Vec<Value> = lines.into_iter().filter(|(at, _)| (from..to).contains(at)).map(|(_, line)| line).collect();
    Json(json!({ "transaction_details": lines, "total_pages": 1 })).into_response()
}

pub fn notice(payment: &Payment) -> Notice {
    let item = item(payment);
    let status = item["transaction_status"].as_str().expect("a status");
    let name = if status == "SUCCESS" { "SUCCEEDED" } else { status };
    let transmission = format!("T-{}-{status}", payment.number);
    let body = json!({
        "id": format!("WH-{}-{status}", payment.number), "event_version": "1.0", "resource_type": "payouts_item",
        "event_type": format!("PAYMENT.PAYOUTS-ITEM.{name}"), "resource": item,
    })
    .to_string();
    let headers = vec![
        ("paypal-auth-algo", "SHA256withRSA".to_owned()),
        ("paypal-cert-url", "https://api.paypal.example/cert".to_owned()),
        ("paypal-transmission-id", transmission.clone()),
        ("paypal-transmission-sig", signature(&transmission, &body)),
        ("paypal-transmission-time", "2026-11-26T10:00:00Z".to_owned()),
    ];
    Notice { headers, body }
}
