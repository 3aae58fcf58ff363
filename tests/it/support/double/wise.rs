//! Wise: quotes, transfers, their funding from the balance, signed events.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, Query, State as Shares},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use chrono::DateTime;
use serde_json::{Value, json};

use super::{Fate, Kind, Notice, Payment, Shared, State, decimal, error, short_of_funds, sign_for_wise};

pub const TOKEN: &str = "wise-token-00000000000000000000";
pub const PROFILE: &str = "12345";

type Pairs = std::collections::HashMap<String, String>;

pub fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/v3/profiles/{profile}/quotes", post(quote))
        .route("/v3/profiles/{profile}/quotes/{id}", get(show_quote))
        .route("/v3/profiles/{profile}/transfers/{id}/payments", post(fund))
        .route("/v1/transfers", post(create).get(list))
        .route("/v1/transfers/{id}", get(show))
        .route("/v1/transfers/{id}/cancel", put(cancel))
}

fn is_known(headers: &HeaderMap) -> bool {
    headers.get("authorization").is_some_and(|value| value == &format!("Bearer {TOKEN}"))
}

/// The quote of a transfer has its number in it.
fn quote_id(number: u64) -> String {
    uuid::Uuid::from_u128(u128::from(number)).to_string()
}

/// What a quote costs, as a JSON number.
fn quoted(id: &str, fee_minor: i64) -> Value {
    let fee: Value = serde_json::from_str(&decimal(fee_minor)).expect("a number");
    json!({ "id": id, "sourceCurrency": "EUR", "targetCurrency": "EUR", "paymentOptions": [
        { "payIn": "BANK_TRANSFER", "fee": { "total": 0.77 } },
        { "payIn": "BALANCE", "fee": { "total": fee } },
    ] })
}

async fn quote(Shares(shared): Shares<Arc<Shared>>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    if !is_known(&headers) {
        return error(401, "Unauthorized");
    }
    let digits = body["targetAmount"].to_string();
    let (whole, cents) = digits.split_once('.').unwrap_or((&digits, "0"));
    let minor = whole.parse::<i64>().expect("a number") * 100 + format!("{cents:0<2}").parse::<i64>().expect("cents");
    let mut books = shared.books();
    // A quote does not say for what it is: any that follows.
    if let Some(refused) = books.refused_next.iter().find(|(kind, _)| *kind == Kind::Wise).cloned() {
        books.refused_next.remove(&refused);
        return short_of_funds();
    }
    let id = quote_id(books.next());
    books.quotes.insert(id.clone(), minor);
    Json(quoted(&id, Kind::Wise.fee())).into_response()
}

async fn show_quote(Shares(shared): Shares<Arc<Shared>>, Path((_, id)): Path<(String, String)>) -> Response {
    let mut books = shared.books();
    if books.hidden_quotes > 0 {
        books.hidden_quotes -= 1;
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let mut all = books.payments.values();
    let found = all.find(|payment| payment.kind == Kind::Wise && quote_id(payment.number) == id);
    Json(quoted(&id, found.map_or(Kind::Wise.fee(), |payment| payment.fee_minor))).into_response()
}

fn transfer(payment: &Payment) -> Value {
    let created =
        DateTime::from_timestamp(payment.created, 0).expect("in range").format("%Y-%m-%d %H:%M:%S").to_string();
    json!({
        "id": payment.number, "targetAccount": 148_562_983, "quoteUuid": quote_id(payment.number), "status": status(payment),
        "customerTransactionId": payment.key, "created": created, "sourceCurrency": "EUR", "targetCurrency": payment.currency,
        // As they write it: a number with a fraction.
        "targetValue": serde_json::from_str::<Value>(&payment.decimal()).expect("a number"),
    })
}

fn status(payment: &Payment) -> &'static str {
    match payment.state {
        State::Waiting => "incoming_payment_waiting",
        State::Pending => "processing",
        State::Paid => "outgoing_payment_sent",
        State::Failed => "cancelled",
        State::Returned => "funds_refunded",
    }
}

async fn create(Shares(shared): Shares<Arc<Shared>>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    if !is_known(&headers) {
        return error(401, "Unauthorized");
    }
    let key = body["customerTransactionId"].as_str().expect("an id");
    let minor = shared.books().quotes[body["quoteUuid"].as_str().expect("a quote")];
    match shared.pay(Kind::Wise, key, minor, "EUR", State::Waiting).await {
        Ok(payment) => Json(transfer(&payment)).into_response(),
        Err(answer) => answer,
    }
}

async fn fund(Shares(shared): Shares<Arc<Shared>>, Path((_, id)): Path<(String, u64)>) -> Response {
    let fate = shared.books().fundings.pop_front();
    let paid = |status: &str, code: Value| {
        (StatusCode::CREATED, Json(json!({ "type": "BALANCE", "status": status, "errorCode": code }))).into_response()
    };
    if fate == Some(Fate::Refused) {
        return paid("REJECTED", json!("balance.payment-option-unavailable"));
    }
    if fate.is_none_or(Fate::accepts) && !take_funds(&shared, id) {
        return error(422, "the transfer is funded, or there is none");
    }
    match shared.answered(fate, ()).await {
        Ok(()) => paid("COMPLETED", Value::Null),
        Err(answer) => answer,
    }
}

/// Pays for a transfer that waits for it.
fn take_funds(shared: &Shared, id: u64) -> bool {
    let now = shared.now();
    let mut books = shared.books();
    let found = books.payments.values().find(|payment| payment.kind == Kind::Wise && payment.number == id).cloned();
    match found {
        Some(payment) if payment.state == State::Waiting => {
            books.set(&(Kind::Wise, payment.key), State::Pending, now);
            true
        }
        _ => false,
    }
}

async fn list(Shares(shared): Shares<Arc<Shared>>, headers: HeaderMap, Query(query): Query<Pairs>) -> Response {
    if !is_known(&headers) {
        return error(401, "Unauthorized");
    }
    let bound = |name: &str| DateTime::parse_from_rfc3339(&query[name]).expect("a date").timestamp();
    let (from, to) = (bound("createdDateStart"), bound("createdDateEnd"));
    let offset: usize = query["offset"].parse().expect("a number");
    let books = shared.books();
    let all = books.payments.values().filter(|payment| payment.kind == Kind::Wise);
    let found: Vec<Value> =
        all.filter(|payment| (from..to).contains(&payment.created)).skip(offset).map(transfer).collect();
    Json(found).into_response()
}

async fn show(Shares(shared): Shares<Arc<Shared>>, Path(id): Path<u64>) -> Response {
    let books = shared.books();
    match books.payments.values().find(|payment| payment.kind == Kind::Wise && payment.number == id) {
        Some(payment) => Json(transfer(payment)).into_response(),
        None => error(404, "no such transfer"),
    }
}

async fn cancel(Shares(shared): Shares<Arc<Shared>>, Path(id): Path<u64>) -> Response {
    let now = shared.now();
    let (fate, answer) = {
        let mut books = shared.books();
        let fate = books.cancellations.pop_front();
        let found = books.payments.values().find(|payment| payment.kind == Kind::Wise && payment.number == id);
        let name = (Kind::Wise, found.expect("a transfer").key.clone());
        if fate.is_none_or(Fate::accepts) {
            books.set(&name, State::Failed, now);
        }
        (fate, transfer(&books.payments[&name]))
    };
    match shared.answered(fate, answer).await {
        Ok(transfer) => Json(transfer).into_response(),
        Err(answer) => answer,
    }
}

pub fn notice(payment: &Payment) -> Notice {
    let body = json!({
        "data": { "resource": { "type": "transfer", "id": payment.number, "profile_id": 12_345, "account_id": 1 },
            "current_state": status(payment), "previous_state": "incoming_payment_waiting",
            "occurred_at": DateTime::from_timestamp(payment.moved, 0).expect("in range").to_rfc3339() },
        "subscription_id": "01234567-89ab-cdef-0123-456789abcdef", "event_type": "transfers#state-change",
        "schema_version": "2.0.0", "sent_at": "2026-11-26T10:00:00Z",
    })
    .to_string();
    let headers =
        vec![("x-signature-sha256", sign_for_wise(&body)), ("x-delivery-id", uuid::Uuid::new_v4().to_string())];
    Notice { headers, body }
}
