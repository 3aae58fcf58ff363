//! A node and a double beside it: what tests of processors begin with.

use serde_json::{Value, json};

use super::{Double, Kind};
use crate::{
    payouts::{earn, payouts, quick, submit},
    support::{Backend, Client, Programme, TestApp, app, database::Auditor},
};

/// Runs a body on a node whose processors are a double.
pub async fn run(backend: Backend, body: impl AsyncFnOnce(&TestApp, &Double)) {
    let double = Double::start().await;
    let change = |settings: &mut tributary::config::Settings| double.settings(settings);
    app::run_with(backend, change, async |app| {
        double.follow(&app.clock);
        body(app, &double).await;
    })
    .await;
}

/// Tests on both databases, with a double.
macro_rules! with_double {
    ($($(#[$meta:meta])* async fn $name:ident($app:ident, $double:ident) $body:block)*) => {$(
        $(#[$meta])*
        mod $name {
            use super::*;

            async fn body($app: &crate::support::TestApp, $double: &crate::support::double::Double) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                let backend = crate::support::Backend::Sqlite;
                crate::support::double::story::run(backend, async |app, double| body(app, double).await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                let backend = crate::support::Backend::Postgres;
                crate::support::double::story::run(backend, async |app, double| body(app, double).await).await;
            }
        }
    )*};
}
pub(crate) use with_double;

/// Sets up a processor; the address at this node that it is to call.
pub async fn set_up(app: &TestApp, kind: Kind) -> String {
    format!("{}{}", app.url, set_up_by(&app.owner(), kind).await)
}

/// Sets up a processor; the path that it is to call, at any node.
pub async fn set_up_by(owner: &Client, kind: Kind) -> String {
    let payload = owner.done("setProcessor", kind.credentials(), "webhookUrl").await;
    let url = payload["webhookUrl"].as_str().expect("an address");
    let (_, path) = url.split_once("/processors/").expect("a path");
    format!("/processors/{path}")
}

/// A programme whose affiliate is paid through a processor, and has earned 10.00.
pub async fn earner(app: &TestApp, client: &Client, kind: Kind) -> Programme {
    let programme = paid_through(client, kind).await;
    earn(app, client, &programme, "100.00").await;
    programme
}

/// A programme whose affiliate is paid through a processor.
pub async fn paid_through(client: &Client, kind: Kind) -> Programme {
    let programme = quick(client).await;
    let destination = json!({
        "affiliateId": programme.affiliate, "currency": "EUR", "holder": "Ada Ltd", "account": kind.destination(),
    });
    client.done("setPayoutDestination", destination, "").await;
    programme
}

/// Drafts a batch of one affiliate.
pub async fn drafted(client: &Client, programme: &Programme) -> Value {
    let input = json!({ "currency": "EUR", "affiliateIds": [programme.affiliate] });
    let selection = "payoutBatch { id payouts(first: 100) { edges { node { id } } } }";
    client.done("createPayoutBatch", input, selection).await["payoutBatch"].take()
}

/// Drafts, approves and submits an affiliate's payout; its id.
pub async fn submitted(client: &Client, programme: &Programme) -> String {
    let batch = drafted(client, programme).await;
    submit(client, &batch).await;
    payouts(&batch).remove(0)
}

pub async fn payout(client: &Client, id: &str) -> Value {
    let query = "query($id: ID!) { payout(id: $id) { status reference reason gross { amount } method \
        transfer { calls externalId trouble fee { amount } } history { toStatus } } }";
    client.data(query, json!({ "id": id })).await["payout"].take()
}

/// The states that a payout went through.
pub async fn states(client: &Client, id: &str) -> Vec<String> {
    let payout = payout(client, id).await;
    let steps = payout["history"].as_array().expect("steps").iter();
    steps.map(|step| step["toStatus"].as_str().expect("a status").to_owned()).collect()
}

/// Waits until so many payouts are in a state.
pub async fn until(app: &TestApp, status: &str, count: i64) {
    app.until(&format!("SELECT COUNT(*) FROM payout WHERE status = '{status}'"), count).await;
}

/// What the affiliate has available.
pub async fn available(client: &Client, affiliate: &str) -> String {
    let query = "query($id: ID!) { earnings(affiliateId: $id) { balances { available { amount } } } }";
    let data = client.data(query, json!({ "id": affiliate })).await;
    data["earnings"]["balances"][0]["available"]["amount"].as_str().expect("an amount").to_owned()
}

/// Holds the double's books against our cash at processors, item by item.
pub async fn books_agree(app: &TestApp, double: &Double) {
    same_books(&app.auditor, double).await;
}

/// As [`books_agree`], past a node's process.
pub async fn same_books(auditor: &Auditor, double: &Double) {
    let sql = "SELECT a.processor AS method, a.currency AS currency, j.business_key AS key, e.amount_minor AS amount \
        FROM entry e JOIN journal j ON j.tenant_id = e.tenant_id AND j.id = e.journal_id \
        JOIN account a ON a.tenant_id = e.tenant_id AND a.id = e.account_id \
         WHERE a.code = 1000 AND a.processor IN ('STRIPE', 'PAYPAL', 'WISE')";
    let rows = auditor.rows(sql).await;
    let mut ours: Vec<(String, String, i64, String)> = rows
        .iter()
        .map(|row| {
            let key: String = row.try_get("", "key").expect("a key");
            let what = if key.contains(":settle") {
                "payment"
            } else if key.contains(":return:") {
                "return"
            } else {
                "fee"
            };
            let method: String = row.try_get("", "method").expect("a processor");
            let subject = if what == "fee" {
                // `PAYPAL:ITEM1001:fee`, `WISE:1003:fee`: by the number that all names of a payment have.
                key.chars().filter(char::is_ascii_digit).collect()
            } else {
                key.split(':').next().expect("an id").to_owned()
            };
            let amount: i64 = row.try_get("", "amount").expect("a number");
            let currency: String = row.try_get("", "currency").expect("a code");
            (format!("{method} {what}"), subject, amount.abs(), currency)
        })
        .collect();
    let mut theirs: Vec<(String, String, i64, String)> = double
        .books()
        .iter()
        .map(|line| {
            let (what, key) = (line["what"].as_str().expect("a text"), line["key"].as_str().expect("a key"));
            let subject = if what == "fee" {
                line["reference"].as_str().expect("a name").chars().filter(char::is_ascii_digit).collect()
            } else if let Ok(id) = uuid::Uuid::try_parse(key) {
                tributary_entity::ids::PayoutId::from_uuid(id).to_string()
            } else {
                key.to_owned()
            };
            let method = line["method"].as_str().expect("a method");
            let currency = line["currency"].as_str().expect("a code").to_owned();
            (format!("{method} {what}"), subject, line["amount"].as_i64().expect("a number"), currency)
        })
        .collect();
    ours.sort();
    theirs.sort();
    assert_eq!(ours, theirs);
}
