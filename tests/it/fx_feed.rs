//! The feed of exchange rates, against a server that answers what it is told to.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use chrono::{NaiveDate, TimeDelta};
use serde_json::json;
use tokio::net::TcpListener;
use tributary::{ambient::Clock, domain::fx_rate::file::FILE_MAX_BYTES, jobs::fx_rates};

use crate::support::{Backend, Client, Programme, Terms, TestApp, app, programme};

/// An answer: status, media type, body.
#[derive(Clone)]
struct Answer(StatusCode, &'static str, Vec<u8>);

/// What it answers next, and how often it was asked. Without an answer it fails.
#[derive(Default)]
struct Told {
    answers: VecDeque<Answer>,
    asked: usize,
}

type Shared = Arc<Mutex<Told>>;

async fn answer(State(told): State<Shared>) -> Response {
    let mut told = told.lock().expect("whole");
    told.asked += 1;
    match told.answers.pop_front() {
        Some(Answer(status, media_type, body)) => (status, [(header::CONTENT_TYPE, media_type)], body).into_response(),
        None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Fetches a document. Answers how many rates were added, in all tenants.
async fn fetch(app: &TestApp, told: &Shared, status: StatusCode, media_type: &'static str, body: &str) -> u64 {
    fetch_bytes(app, told, Answer(status, media_type, body.as_bytes().to_vec())).await
}

async fn fetch_bytes(app: &TestApp, told: &Shared, answer: Answer) -> u64 {
    told.lock().expect("whole").answers.push_back(answer);
    let added = fx_rates::feed(&app.services).await.expect("the database answers");
    assert!(told.lock().expect("whole").answers.is_empty(), "the feed was asked");
    added
}

fn xml(day: NaiveDate, rates: &str) -> String {
    format!("<?xml version=\"1.0\"?>\n<Envelope><Cube><Cube time=\"{day}\">{rates}</Cube></Cube></Envelope>")
}

/// What one unit of `from` is worth in `to`, and how it is known.
async fn quoted(client: &Client, from: &str, to: &str) -> Option<(String, String)> {
    let query = "query($from: CurrencyCode!, $to: CurrencyCode!) { fxQuote(from: $from, to: $to) { rate source } }";
    let quote = client.data(query, json!({ "from": from, "to": to })).await["fxQuote"].take();
    let text = |name: &str| quote[name].as_str().map(str::to_owned);
    text("rate").zip(text("source"))
}

/// A sale in dollars; how the conversion stands.
async fn sold(client: &Client, programme: &Programme, order: &str) -> (String, String) {
    let click = programme.click(client).await;
    let mut input = programme::sale(&click, order, "49.00");
    programme::merge(&mut input, json!({ "saleAmount": { "amount": "49.00", "currency": "USD" } }));
    let done = client.mutate("recordConversion", input, "conversion { id status }").await;
    let text = |name: &str| done["conversion"][name].as_str().expect("text").to_owned();
    (text("id"), text("status"))
}

async fn status(client: &Client, id: &str) -> String {
    let query = "query($id: ID!) { conversion(by: { id: $id }) { status } }";
    client.data(query, json!({ "id": id })).await["conversion"]["status"].as_str().expect("text").to_owned()
}

async fn on(backend: Backend, body: impl AsyncFnOnce(&TestApp, &Shared)) {
    let told = Shared::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/eurofxref-daily", listener.local_addr().expect("bound"));
    let router = Router::new().route("/eurofxref-daily", get(answer)).with_state(Arc::clone(&told));
    let served = tokio::spawn(async move { axum::serve(listener, router).await.expect("serves") });
    app::run_with(
        backend,
        |settings| settings.fx_feed_url = Some(url),
        async |app| {
            // The node's own turn, which comes once an hour, is over: what is asked for from here on is the test's.
            while told.lock().expect("whole").asked == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            body(app, &told).await;
        },
    )
    .await;
    served.abort();
}

macro_rules! with_feed {
    ($(async fn $name:ident($app:ident, $told:ident) $body:block)*) => {$(
        mod $name {
            use super::*;

            async fn body($app: &TestApp, $told: &Shared) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                on(Backend::Sqlite, body).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                on(Backend::Postgres, body).await;
            }
        }
    )*};
}

const DOLLAR: &str = "<Cube currency=\"USD\" rate=\"1.25\"/>";

with_feed! {
    async fn fetched_rates_reach_every_tenant_once_and_release_what_waited(app, told) {
        let (owner, stranger) = (app.owner(), app.stranger());
        let programme = Programme::build(&owner, &Terms { hold_seconds: 0, ..Terms::default() }).await;
        let (held, before) = sold(&owner, &programme, "1").await;
        assert_eq!(before, "HELD");
        let today = app.clock.now().date_naive();
        let document = xml(today, &format!("{DOLLAR}<Cube currency=\"JPY\" rate=\"160\"/>"));
        assert_eq!(fetch(app, told, StatusCode::OK, "text/xml", &document).await, 4, "two rates, two tenants");
        for client in [&owner, &stranger] {
            assert_eq!(quoted(client, "USD", "JPY").await, Some(("128".to_owned(), "ECB".to_owned())));
        }
        app.run_jobs().await;
        assert_eq!(status(&owner, &held).await, "APPROVED");
        // The same again, as it comes each hour; and the same in other words.
        assert_eq!(fetch(app, told, StatusCode::OK, "text/xml", &document).await, 0);
        let table = format!("Date, USD, JPY, \n{}, 1.25, 160, \n", today.format("%d %B %Y"));
        assert_eq!(fetch(app, told, StatusCode::OK, "text/csv", &table).await, 0);
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM fx_rate").await, 4);
        // A tenant that came later is given what the others have.
        app.new_tenant("late").await;
        assert_eq!(fetch(app, told, StatusCode::OK, "text/xml", &document).await, 2);
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM fx_rate").await, 6);
    }

    async fn document_is_xml_or_a_table_by_its_type_or_its_beginning(app, told) {
        let owner = app.owner();
        let days: Vec<NaiveDate> =
            (0..4).map(|ago| (app.clock.now() - TimeDelta::days(ago)).date_naive()).collect();
        let history = format!("Date,USD,JPY,\n{},1.25,N/A,\n", days[3]);
        assert_eq!(fetch(app, told, StatusCode::OK, "text/csv; charset=utf-8", &history).await, 2);
        assert_eq!(quoted(&owner, "EUR", "USD").await, Some(("1.25".to_owned(), "ECB".to_owned())));
        let table = format!("date,base,quote,rate\n{},USD,KES,129.25\n", days[2]);
        assert_eq!(fetch(app, told, StatusCode::OK, "application/octet-stream", &table).await, 2);
        assert_eq!(quoted(&owner, "USD", "KES").await, Some(("129.25".to_owned(), "FILE".to_owned())));
        let document = xml(days[1], "<Cube currency=\"USD\" rate=\"1.5\"/>");
        assert_eq!(fetch(app, told, StatusCode::OK, "text/plain", &document).await, 2);
        assert_eq!(quoted(&owner, "EUR", "USD").await, Some(("1.5".to_owned(), "ECB".to_owned())));
        // What it is said to be is what it is read as.
        let document = xml(days[0], "<Cube currency=\"USD\" rate=\"1.6\"/>");
        assert_eq!(fetch(app, told, StatusCode::OK, "text/csv", &document).await, 0);
        assert_eq!(fetch(app, told, StatusCode::OK, "application/xml", &document).await, 2);
    }

    async fn feed_that_fails_changes_nothing_and_is_asked_again(app, told) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms { hold_seconds: 0, ..Terms::default() }).await;
        let (held, _) = sold(&owner, &programme, "1").await;
        let today = app.clock.now().date_naive();
        let good = xml(today, DOLLAR);
        let oversized = format!("{good}{}", " ".repeat(FILE_MAX_BYTES));
        let half = &good[..good.len() - "\"/></Cube></Cube></Envelope>".len()];
        let bad_line = format!("date,base,quote,rate\n{today},EUR,USD,1.25\n{today},EUR,JPY,many\n");
        let tomorrow_but_one = xml(today + TimeDelta::days(2), DOLLAR);
        for (status, media_type, body) in [
            (StatusCode::INTERNAL_SERVER_ERROR, "text/xml", good.as_str()),
            (StatusCode::NOT_FOUND, "text/html", "<html></html>"),
            (StatusCode::FOUND, "text/xml", good.as_str()),
            (StatusCode::OK, "text/xml", oversized.as_str()),
            (StatusCode::OK, "text/xml", half),
            (StatusCode::OK, "text/xml", ""),
            (StatusCode::OK, "text/html", "<html><body>maintenance</body></html>"),
            (StatusCode::OK, "text/csv", bad_line.as_str()),
            (StatusCode::OK, "text/xml", tomorrow_but_one.as_str()),
        ] {
            assert_eq!(fetch(app, told, status, media_type, body).await, 0, "{status} {media_type}");
        }
        let no_text = Answer(StatusCode::OK, "text/xml", [good.as_bytes(), &[0xff]].concat());
        assert_eq!(fetch_bytes(app, told, no_text).await, 0);
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM fx_rate").await, 0);
        app.run_jobs().await;
        assert_eq!(status(&owner, &held).await, "HELD");
        assert_eq!(fetch(app, told, StatusCode::OK, "text/xml", &good).await, 2);
        app.run_jobs().await;
        assert_eq!(status(&owner, &held).await, "APPROVED");
    }
}
