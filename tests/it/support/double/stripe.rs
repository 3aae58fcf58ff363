//! Stripe: transfers, their list by group, balance transactions, signed events.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Query, State as Shares},
    http::HeaderMap,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::{Kind, Notice, Payment, Shared, State, error, short_of_funds};

pub const KEY: &str = "sk_test_51Double0000000000000000";
pub const WEBHOOK_SECRET: &str = "whsec_double";

type Pairs = std::collections::HashMap<String, String>;

pub fn router() -> Router<Arc<Shared>> {
    Router::new().route("/v1/transfers", post(create).get(list)).route("/v1/balance_transactions", get(balance))
}

fn is_known(headers: &HeaderMap) -> bool {
    headers.get("authorization").is_some_and(|value| value == &format!("Bearer {KEY}"))
}

fn transfer(payment: &Payment) -> Value {
    let reversed = payment.state == State::Returned;
    let reversals: Vec<Value> =
        if reversed { vec![json!({ "id": format!("trr_{}", payment.number) })] } else { vec![] };
    json!({
        "id": payment.reference(), "object": "transfer", "amount": payment.amount_minor,
        "amount_reversed": if reversed { payment.amount_minor } else { 0 }, "reversed": reversed,
        "currency": payment.currency.to_lowercase(), "created": payment.created, "livemode": false,
        "destination": "acct_1032D82eZvKYlo2C", "transfer_group": payment.key,
        "metadata": { "payout_id": payment.key },
        "reversals": { "object": "list", "data": reversals, "has_more": false },
    })
}

async fn create(Shares(shared): Shares<Arc<Shared>>, headers: HeaderMap, body: String) -> Response {
    if !is_known(&headers) {
        return error(401, "Invalid API Key provided");
    }
    let form: Pairs = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok()).unwrap_or_default();
    if form.get("transfer_group").is_none_or(|group| group != key) || !form.contains_key("destination") {
        return error(400, "the key and the group differ, or there is no destination");
    }
    if shared.books().refused_next.remove(&(Kind::Stripe, key.to_owned())) {
        return short_of_funds();
    }
    let amount: i64 = form["amount"].parse().expect("a number");
    match shared.pay(Kind::Stripe, key, amount, &form["currency"], State::Paid).await {
        Ok(payment) => Json(transfer(&payment)).into_response(),
        Err(answer) => answer,
    }
}

async fn list(Shares(shared): Shares<Arc<Shared>>, headers: HeaderMap, Query(query): Query<Pairs>) -> Response {
    if !is_known(&headers) {
        return error(401, "Invalid API Key provided");
    }
    let books = shared.books();
    let found = books.payments.get(&(Kind::Stripe, query["transfer_group"].clone()));
    let data: Vec<Value> = found.map(transfer).into_iter().collect();
    Json(json!({ "object": "list", "data": data, "has_more": false })).into_response()
}

async fn balance(Shares(shared): Shares<Arc<Shared>>, Query(query): Query<Pairs>) -> Response {
    let bound = |name: &str| query[name].parse::<i64>().expect("a number");
    let (from, to) = (bound("created[gte]"), bound("created[lt]"));
    let books = shared.books();
    let mut lines = Vec::new();
    for payment in books.payments.values().filter(|payment| payment.kind == Kind::Stripe) {
        lines.push((payment.created, json!({
            "id": format!("txn_{}", payment.number), "amount": -payment.amount_minor, "fee": 0, "net": -payment.amount_minor,
            "currency": payment.currency.to_lowercase(), "created": payment.created, "type": "transfer",
            "source": transfer(payment),
        })));
        if payment.state == State::Returned {
            lines.push((
                payment.moved,
                json!({
                    "id": format!("txn_{}r", payment.number), "amount": payment.amount_minor, "fee": 0,
                    "net": payment.amount_minor, "currency": payment.currency.to_lowercase(), "created": payment.moved,
                    "type": "transfer_refund",
                    "source": { "id": format!("trr_{}", payment.number), "transfer": payment.reference() },
                }),
            ));
        }
    }
    lines.retain(|(at, _)| (from..to).contains(at));
    // Pages of two, so that they are followed.
    let after = query.get("starting_after");
    let start = after.map_or(0, |after| lines.iter().position(|(_, line)| line["id"] == **after).expect("a line") + 1);
    let page: Vec<Value> = lines.iter().skip(start).take(2).map(|(_, line)| line.clone()).collect();
    Json(json!({ "object": "list", "has_more": start + page.len() < lines.len(), "data": page })).into_response()
}

pub fn notice(payment: &Payment, now: i64) -> Notice {
    let name = if payment.state == State::Returned { "transfer.reversed" } else { "transfer.created" };
    let body = json!({
        "id": format!("evt_{}_{name}", payment.number), "object": "event", "type": name,
        "data": { "object": transfer(payment) },
    })
    .to_string();
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(WEBHOOK_SECRET.as_bytes()).expect("any length");
    mac.update(format!("{now}.{body}").as_bytes());
    let signature = HEXLOWER.encode(&mac.finalize().into_bytes());
    Notice { headers: vec![("stripe-signature", format!("t={now},v1={signature}"))], body }
}
