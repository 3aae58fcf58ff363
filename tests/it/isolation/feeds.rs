//! Subscriptions tell a viewer of its own events, and take none but its own cursors.

use std::{collections::BTreeSet, time::Duration};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{
    Client, Programme, Terms, on_both,
    programme::{enroll, new_affiliate, sale},
    socket::Socket,
};

/// How long nothing must come for a stream to count as told to its end; the log is looked at every second.
const SILENCE: Duration = Duration::from_millis(1_500);
/// How long a first event is waited for before another is made.
const FIRST: Duration = Duration::from_millis(300);

const CONVERSIONS: &str = "subscription($after: Cursor, $filter: ConversionFilterInput) { \
    conversions(after: $after, filter: $filter) { cursor conversion { id affiliate { id name } \
    click { id affiliate { id } } commissions { affiliate { id } } \
    attribution { touches { affiliate { id } click { id } } } } } }";
const EARNINGS: &str = "subscription($id: ID!, $after: Cursor) { \
    earnings(affiliateId: $id, after: $after) { cursor balances { pending { amount } } } }";

/// The conversions of a test in their order: by which link, with which id.
#[derive(Default)]
struct Made(Vec<(String, String)>);

impl Made {
    /// A sale by a click on a link.
    async fn convert(&mut self, client: &Client, link: &str) -> String {
        let click = client.done("recordClick", json!({ "linkId": link }), "click { id }").await;
        let click = click["click"]["id"].as_str().expect("an id");
        let payload = client.done("recordConversion", sale(click, click, "5.00"), "conversion { id }").await;
        let id = payload["conversion"]["id"].as_str().expect("an id").to_owned();
        self.0.push((link.to_owned(), id.clone()));
        id
    }

    /// Converts until a new subscription tells of it; that first event.
    async fn first_event(&mut self, owner: &Client, link: &str, viewer: &Client, filter: &Value) -> Value {
        let mut socket = viewer.subscribe(CONVERSIONS, json!({ "filter": filter })).await;
        loop {
            self.convert(owner, link).await;
            if let Ok(message) = timeout(FIRST, socket.next()).await {
                return message["conversions"].clone();
            }
        }
    }

    /// By these links, after the conversion of an event.
    fn after(&self, event: &Value, links: &[&str]) -> Vec<&str> {
        let mut ids = self.0.iter().filter(|(link, _)| links.contains(&link.as_str())).map(|(_, id)| id.as_str());
        let id = event["conversion"]["id"].as_str().expect("an id");
        assert!(ids.any(|made| made == id), "a viewer's first event is its own");
        ids.collect()
    }
}

/// Everything that a stream says until it falls silent.
async fn heard(socket: &mut Socket) -> Vec<Value> {
    let mut events = Vec::new();
    while let Ok(mut message) = timeout(SILENCE, socket.message()).await {
        assert!(message["type"] == "next" && message["payload"].get("errors").is_none(), "{message}");
        events.push(message["payload"]["data"]["conversions"].take());
    }
    events
}

fn conversions(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["conversion"]["id"].as_str().expect("an id")).collect()
}

/// All ids of affiliates in an answer.
fn affiliates(answer: &Value) -> BTreeSet<String> {
    match answer {
        Value::String(text) if text.starts_with("aff_") => BTreeSet::from([text.clone()]),
        Value::Array(items) => items.iter().flat_map(affiliates).collect(),
        Value::Object(fields) => fields.values().flat_map(affiliates).collect(),
        _ => BTreeSet::new(),
    }
}

on_both! {
    async fn viewer_hears_of_its_own_conversions_only(app) {
        let (owner, stranger) = (app.owner(), app.stranger());
        let programme = Programme::build(&owner, &Terms::default()).await;
        let bob = new_affiliate(&owner).await;
        let (_, of_bob) = enroll(&owner, &programme.campaign, &bob).await;
        let away = Programme::build(&stranger, &Terms::default()).await;
        let (of_ada, of_away) = (programme.link.as_str(), away.link.as_str());
        let viewers: [(Client, &Client, Vec<&str>, Vec<&String>); 4] = [
            (app.affiliate(&programme.affiliate), &owner, vec![of_ada], vec![&programme.affiliate]),
            (app.affiliate(&bob), &owner, vec![&of_bob], vec![&bob]),
            (app.owner(), &owner, vec![of_ada, &of_bob], vec![&programme.affiliate, &bob]),
            (app.stranger(), &stranger, vec![of_away], vec![&away.affiliate]),
        ];
        let mut made = Made::default();
        let mut live = Vec::new();
        for (viewer, seller, links, _) in &viewers {
            let first = made.first_event(seller, links[0], viewer, &Value::Null).await;
            live.push((viewer.subscribe(CONVERSIONS, json!({ "after": first["cursor"] })).await, first));
        }
        for _ in 0..3 {
            made.convert(&owner, of_ada).await;
            made.convert(&owner, &of_bob).await;
            made.convert(&stranger, of_away).await;
        }
        let told = live.iter_mut().zip(&viewers).map(async |((socket, first), (viewer, _, _, _))| {
            let mut again = viewer.subscribe(CONVERSIONS, json!({ "after": first["cursor"] })).await;
            (heard(socket).await, heard(&mut again).await, &*first)
        });
        for ((events, from_log, first), (_, _, links, people)) in join_all(told).await.into_iter().zip(&viewers) {
            assert_eq!(conversions(&events), made.after(first, links), "live");
            assert_eq!(from_log, events, "from the log");
            assert!(affiliates(&Value::from(events)).iter().all(|id| people.contains(&id)), "names others");
        }
    }

    async fn filter_by_what_is_anothers_hears_nothing(app) {
        let (owner, stranger) = (app.owner(), app.stranger());
        let programme = Programme::build(&owner, &Terms::default()).await;
        let away = Programme::build(&stranger, &Terms::default()).await;
        let mut sockets = Vec::new();
        for filter in [json!({ "campaignIds": [away.campaign] }), json!({ "affiliateIds": [away.affiliate] })] {
            sockets.push(owner.subscribe(CONVERSIONS, json!({ "filter": filter })).await);
        }
        let mut made = Made::default();
        // Later than those above, so they are in place when this one hears something.
        made.first_event(&owner, &programme.link, &owner, &Value::Null).await;
        made.convert(&stranger, &away.link).await;
        made.convert(&owner, &programme.link).await;
        for events in join_all(sockets.iter_mut().map(heard)).await {
            assert_eq!(events, Vec::<Value>::new());
        }
    }

    async fn cursor_of_another_stream_is_refused(app) {
        let (owner, stranger) = (app.owner(), app.stranger());
        let programme = Programme::build(&owner, &Terms::default()).await;
        let ada = &programme.affiliate;
        let filter = json!({ "campaignIds": [programme.campaign] });
        let of_earnings = owner.subscribe(EARNINGS, json!({ "id": ada })).await.next().await["earnings"]["cursor"].take();
        let mut made = Made::default();
        let cursor = made.first_event(&owner, &programme.link, &owner, &filter).await["cursor"].take();

        // Good where it came from.
        let mut again = owner.subscribe(CONVERSIONS, json!({ "after": cursor, "filter": filter })).await;
        let next = made.convert(&owner, &programme.link).await;
        assert_eq!(again.next().await["conversions"]["conversion"]["id"], next);
        let mut again = owner.subscribe(EARNINGS, json!({ "id": ada, "after": of_earnings })).await;
        again.next().await;

        let affiliate = app.affiliate(ada);
        let other = json!({ "statuses": ["APPROVED"], "campaignIds": [programme.campaign] });
        let text = cursor.as_str().expect("a text");
        let changed: Vec<String> = (0..text.len())
            .map(|index| {
                let letter = if &text[index..=index] == "A" { "B" } else { "A" };
                format!("{}{letter}{}", &text[..index], &text[index + 1..])
            })
            .collect();
        let conversions = |after: &Value, filter: &Value| json!({ "after": after, "filter": filter });
        let mut cases = vec![
            ("another tenant's", &stranger, CONVERSIONS, conversions(&cursor, &filter)),
            ("the whole tenant's, as an affiliate", &affiliate, CONVERSIONS, conversions(&cursor, &filter)),
            ("another filter's", &owner, CONVERSIONS, conversions(&cursor, &other)),
            ("a filter's, without one", &owner, CONVERSIONS, conversions(&cursor, &Value::Null)),
            ("another field's", &owner, EARNINGS, json!({ "id": ada, "after": cursor })),
            ("that of earnings", &owner, CONVERSIONS, conversions(&of_earnings, &filter)),
            ("that of the whole tenant", &affiliate, EARNINGS, json!({ "id": ada, "after": of_earnings })),
            ("no cursor", &owner, CONVERSIONS, conversions(&json!("nonsense"), &filter)),
            ("nothing", &owner, CONVERSIONS, conversions(&json!(""), &filter)),
        ];
        cases.extend(changed.iter().map(|text| ("forged", &owner, CONVERSIONS, conversions(&json!(text), &filter))));
        for (what, viewer, query, variables) in cases {
            let mut socket = viewer.subscribe(query, variables.clone()).await;
            assert_eq!(socket.error_code().await, "CURSOR_INVALID", "{what}: {variables}");
        }
    }
}
