//! A subscriber without a socket: what a transport gets from the API, read only when the test reads.

use std::time::Duration;

use async_graphql::{Request, Variables};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::time::timeout;
use tributary::{
    auth::Viewer,
    graphql::{
        execution::{Caller, Refusal, RefusalKind},
        live::{Delivery, Ended, Subscriber},
    },
};

use super::{Client, TestApp, log::Seen, programme::sale};

/// All conversions, as [`Tap::read_until`] understands them.
pub const CONVERSIONS: &str = "subscription($after: Cursor, $filter: ConversionFilterInput) { \
    conversions(after: $after, filter: $filter) { type conversion { id } } }";

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a subscription may take to begin before another sale is recorded for it to see.
const TRY: Duration = Duration::from_millis(200);

/// A subscription, and what it has told.
pub struct Tap {
    subscriber: Subscriber,
    pub seen: Vec<Seen>,
    pub cursor: Option<String>,
}

impl Tap {
    /// Subscribes as somebody.
    ///
    /// # Errors
    /// As the API.
    pub async fn open(app: &TestApp, viewer: Option<Viewer>, query: &str, variables: Value) -> Result<Self, Refusal> {
        Self::behind(app, viewer, query, variables, None).await
    }

    /// As `open`, behind a cursor that the transport kept.
    ///
    /// # Errors
    /// As the API.
    pub async fn behind(
        app: &TestApp,
        viewer: Option<Viewer>,
        query: &str,
        variables: Value,
        cursor: Option<String>,
    ) -> Result<Self, Refusal> {
        let request = Request::new(query).variables(Variables::from_json(variables));
        let caller = Caller { viewer, client: "127.0.0.1".to_owned(), may_lag: false };
        let admitted = app.api.admit(request, caller).await?;
        let subscriber = app.api.subscribe(admitted, cursor.clone()).await?;
        Ok(Self { subscriber, seen: Vec::new(), cursor })
    }

    /// All conversions, as a client that must be let in.
    pub async fn conversions(app: &TestApp, client: &Client) -> Self {
        Self::open(app, Some(viewer(app, client).await), CONVERSIONS, json!({})).await.expect("let in")
    }

    /// Goes on as somebody else.
    ///
    /// # Errors
    /// As the API.
    pub async fn continue_as(self, viewer: Viewer) -> Result<Self, Refusal> {
        Ok(Self { subscriber: self.subscriber.continue_as(viewer).await?, ..self })
    }

    /// What comes next; none at the end.
    pub async fn next(&mut self) -> Option<Result<Delivery, Ended>> {
        let item = timeout(PATIENCE, self.subscriber.next()).await.expect("something in time");
        if let Some(Ok(delivery)) = &item {
            self.note(delivery);
        }
        item
    }

    /// The next answer.
    pub async fn delivery(&mut self) -> Delivery {
        self.next().await.expect("not the end").expect("an answer")
    }

    /// The next answer, if one comes within a time.
    pub async fn delivery_within(&mut self, time: Duration) -> Option<Delivery> {
        timeout(time, self.delivery()).await.ok()
    }

    /// The code of the error that comes next, behind which the subscription ends.
    pub async fn last_error(&mut self) -> String {
        let answer = json_of(&self.delivery().await);
        let code = answer["errors"][0]["extensions"]["code"].as_str().unwrap_or_else(|| panic!("a code in {answer}"));
        assert!(self.next().await.is_none(), "an error of the source is its last answer");
        code.to_owned()
    }

    /// Reads until an event of a conversion.
    pub async fn read_until(&mut self, conversion: &str) {
        while self.seen.last().is_none_or(|(_, id)| id != conversion) {
            self.delivery().await;
        }
    }

    /// Records sales until one is told of, and takes all that is told of them.
    pub async fn prime(&mut self, client: &Client, click: &str) {
        let mut told = false;
        while !told {
            let order = uuid::Uuid::new_v4().to_string();
            let payload = client.done("recordConversion", sale(click, &order, "1.00"), "conversion { id }").await;
            let id = super::programme::id(&payload, "conversion");
            told = timeout(TRY, self.read_until(&id)).await.is_ok();
        }
    }

    fn note(&mut self, delivery: &Delivery) {
        if let Some(cursor) = &delivery.cursor {
            self.cursor = Some(cursor.to_string());
        }
        let answer = json_of(delivery);
        let event = &answer["data"]["conversions"];
        if let (Some(kind), Some(id)) = (event["type"].as_str(), event["conversion"]["id"].as_str()) {
            self.seen.push((kind.to_owned(), id.to_owned()));
        }
    }
}

/// An answer as its client reads it.
pub fn json_of(delivery: &Delivery) -> Value {
    serde_json::from_slice(&delivery.payload).expect("JSON")
}

/// Who a client is.
pub async fn viewer(app: &TestApp, client: &Client) -> Viewer {
    let authorization = format!("Bearer {}", client.token.as_deref().expect("a token"));
    app.services.access.authenticate(Some(&authorization)).await.expect("valid").expect("somebody")
}

/// The family and the code of a refusal.
pub fn refusal(opened: Result<Tap, Refusal>) -> (RefusalKind, String) {
    let Err(refusal) = opened else { panic!("refused, not let in") };
    let code = refusal.errors[0].extensions.as_ref().and_then(|more| more.get("code").cloned());
    (refusal.kind, code.map_or_else(String::new, |code| code.to_string().replace('"', "")))
}
