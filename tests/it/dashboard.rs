//! Dashboards: what is told, put together, is what `report` answers; at a pace, and of one's own rows.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use chrono::{DurationRound, TimeDelta};
use rand::{RngExt, rngs::StdRng};
use serde_json::{Value, json};
use tokio::time::timeout;
use tributary::ambient::Clock;

use crate::support::{
    Client, Programme, Terms, TestApp, on_both,
    programme::{enroll, id, merge, new_affiliate, sale},
    seeded,
    socket::Socket,
};

const VALUES: &str = "key period campaign { id } affiliate { id } currency clicksGross clicks clicksInvalid conversions \
    saleAmount { amount } commission { amount } cr epc aov";
/// How long nothing must come for a dashboard to count as quiet.
const SILENCE: Duration = Duration::from_millis(1_500);

/// A client's dashboard: the rows by their keys.
struct Board {
    socket: Socket,
    rows: BTreeMap<String, Value>,
    span: (Value, Value),
    messages: usize,
    snapshots: usize,
}

impl Board {
    /// Subscribes and reads the snapshot.
    async fn open(client: &Client, input: &Value, min_interval: i32) -> Self {
        let mut board = Self {
            socket: watch(client, input, json!({ "minInterval": min_interval })).await,
            rows: BTreeMap::new(),
            span: (Value::Null, Value::Null),
            messages: 0,
            snapshots: 0,
        };
        board.read().await;
        assert_eq!(board.snapshots, 1, "a snapshot comes first");
        board
    }

    /// Takes a message in, as a client does that goes by the documentation.
    async fn read(&mut self) {
        let update = self.socket.next().await["dashboard"].take();
        self.messages += 1;
        if update["isSnapshot"] == true {
            self.snapshots += 1;
            self.rows.clear();
            self.span = (update["from"].clone(), update["until"].clone());
        }
        let is_empty = |list: &Value| list.as_array().expect("a list").is_empty();
        let tells = update["isSnapshot"] == true || !is_empty(&update["rows"]) || !is_empty(&update["removed"]);
        assert!(tells, "nothing is told when nothing changed");
        for row in update["rows"].as_array().expect("a list") {
            let key = row["key"].as_str().expect("a key").to_owned();
            assert_ne!(self.rows.insert(key, row.clone()).as_ref(), Some(row), "a row that did not change");
        }
        for key in update["removed"].as_array().expect("a list") {
            assert!(self.rows.remove(key.as_str().expect("a key")).is_some(), "{key} was not shown");
        }
        assert_eq!((&update["from"], &update["until"]), (&self.span.0, &self.span.1));
    }

    /// Reads until the rows are those; fails when nothing more comes in time.
    async fn read_until(&mut self, expected: &BTreeMap<String, Value>) {
        while self.rows != *expected {
            let read = timeout(Duration::from_secs(20), self.read()).await;
            assert!(read.is_ok(), "stays at {:#?}\nbut expected {expected:#?}", self.rows);
        }
    }

    async fn is_silent(&mut self) -> bool {
        timeout(SILENCE, self.read()).await.is_err()
    }
}

async fn watch(client: &Client, input: &Value, more: Value) -> Socket {
    let query = format!(
        "subscription($input: DashboardInput!, $minInterval: Int! = 1000, $after: Cursor) {{ \
         dashboard(input: $input, minInterval: $minInterval, after: $after) {{ \
         cursor isSnapshot from until rows {{ {VALUES} }} removed }} }}"
    );
    let mut variables = json!({ "input": input });
    merge(&mut variables, more);
    client.subscribe(&query, variables).await
}

/// What `report` answers for a dashboard, by key; the best `limit` of each currency.
async fn report(client: &Client, input: &Value, span: &(Value, Value)) -> BTreeMap<String, Value> {
    let query = format!("query($input: ReportInput!) {{ report(input: $input) {{ {VALUES} }} }}");
    let mut asked = json!({ "from": span.0, "until": span.1 });
    for name in ["groupBy", "campaignIds", "affiliateIds"] {
        if let Some(value) = input.get(name) {
            asked[name] = value.clone();
        }
    }
    let mut rows = client.data(&query, json!({ "input": asked })).await["report"].take();
    let mut rows: Vec<Value> = std::mem::take(rows.as_array_mut().expect("rows"));
    let rank = |row: &Value| -> i64 {
        let cents =
            |amount: &Value| amount["amount"].as_str().expect("an amount").replace('.', "").parse().expect("digits");
        match input["orderBy"].as_str() {
            Some("CLICKS") => row["clicks"].as_i64().expect("a number"),
            Some("SALE_AMOUNT") => cents(&row["saleAmount"]),
            Some("COMMISSION") => cents(&row["commission"]),
            _ => row["conversions"].as_i64().expect("a number"),
        }
    };
    // The report is in the order of its keys, and the sort keeps it among equals.
    rows.sort_by_key(|row| std::cmp::Reverse(rank(row)));
    let limit = input["limit"].as_u64().unwrap_or(100);
    let mut taken: BTreeMap<String, u64> = BTreeMap::new();
    rows.retain(|row| {
        let taken = taken.entry(row["currency"].to_string()).or_default();
        *taken += 1;
        *taken <= limit
    });
    rows.into_iter().map(|row| (row["key"].as_str().expect("a key").to_owned(), row)).collect()
}

/// Two campaigns of different currencies with two affiliates each: who clicks where.
struct Shop {
    campaigns: Vec<String>,
    affiliates: Vec<String>,
    links: Vec<String>,
}

impl Shop {
    async fn build(client: &Client) -> Self {
        let mut shop = Self { campaigns: Vec::new(), affiliates: Vec::new(), links: Vec::new() };
        for currency in ["EUR", "USD"] {
            let programme = Programme::build(client, &Terms { currency, ..Terms::manual() }).await;
            let second = new_affiliate(client).await;
            let (_, link) = enroll(client, &programme.campaign, &second).await;
            shop.campaigns.push(programme.campaign);
            shop.affiliates.extend([programme.affiliate, second]);
            shop.links.extend([programme.link, link]);
        }
        shop
    }

    /// Clicks, conversions and rejections at random, some of them hours ago.
    async fn trade(&self, app: &TestApp, client: &Client, rng: &mut StdRng, rounds: usize) {
        let mut open: Vec<String> = Vec::new();
        for _ in 0..rounds {
            let at = app.clock.now() - TimeDelta::minutes(rng.random_range(0..180));
            let which = rng.random_range(0..self.links.len());
            let input = json!({ "linkId": self.links[which], "occurredAt": at, "visitorId": rng.random_range(0..5).to_string() });
            let click = id(&client.done("recordClick", input, "click { id }").await, "click");
            if rng.random_bool(0.6) {
                let amount = format!("{}.{:02}", rng.random_range(0..200), rng.random_range(0..100));
                let mut input = sale(&click, &uuid::Uuid::new_v4().to_string(), &amount);
                let currency = if which < 2 { "EUR" } else { "USD" };
                let paid = json!({ "amount": amount, "currency": currency });
                merge(&mut input, json!({ "occurredAt": at, "saleAmount": paid }));
                let payload = client.done("recordConversion", input, "conversion { id }").await;
                open.push(id(&payload, "conversion"));
            }
            if open.len() > 3 && rng.random_bool(0.4) {
                let rejected = open.swap_remove(rng.random_range(0..open.len()));
                client.done("rejectConversions", json!({ "ids": [rejected], "reason": "TEST" }), "").await;
            }
        }
    }
}

async fn record(client: &Client, click: &str) {
    client.done("recordConversion", sale(click, &uuid::Uuid::new_v4().to_string(), "10.00"), "").await;
}

fn today(more: Value) -> Value {
    let mut input = json!({ "period": { "lastDays": 1 } });
    merge(&mut input, more);
    input
}

on_both! {
    async fn what_is_told_adds_up_to_the_report(app) {
        let mut rng = seeded();
        let owner = app.owner();
        let shop = Shop::build(&owner).await;
        let hour = app.clock.now().duration_trunc(TimeDelta::hours(1)).expect("in range");
        let between = json!({ "between": { "from": hour - TimeDelta::hours(2), "until": hour } });
        let inputs = [
            json!({ "period": { "lastHours": 4 } }),
            json!({ "period": { "lastHours": 2 }, "groupBy": ["CAMPAIGN"], "orderBy": "COMMISSION" }),
            json!({ "period": { "lastDays": 2 }, "groupBy": ["AFFILIATE", "CAMPAIGN"], "orderBy": "CLICKS", "limit": 1 }),
            json!({ "period": { "lastDays": 2 }, "groupBy": ["DAY"], "orderBy": "SALE_AMOUNT" }),
            json!({ "period": { "lastHours": 24 }, "groupBy": ["HOUR", "AFFILIATE"], "limit": 2 }),
            json!({ "period": between, "groupBy": ["AFFILIATE"] }),
            json!({ "period": { "lastDays": 1 }, "groupBy": ["CAMPAIGN"], "campaignIds": [shop.campaigns[0]] }),
            json!({ "period": { "lastDays": 3 }, "affiliateIds": [shop.affiliates[1], shop.affiliates[2]] }),
            json!({ "period": { "lastDays": 3 }, "affiliateIds": [] }),
        ];
        let mut boards = Vec::new();
        for input in &inputs {
            boards.push((input, Board::open(&owner, input, 100).await));
        }
        for rounds in [1, 25] {
            shop.trade(app, &owner, &mut rng, rounds).await;
            for (input, board) in &mut boards {
                // Asked anew each time: over the hour, a period moves on.
                while board.rows != report(&owner, input, &board.span).await {
                    board.read().await;
                }
            }
        }
        let shown: usize = boards.iter().map(|(_, board)| board.rows.len()).sum();
        assert!(shown > 8, "{shown} rows");
        // Who comes later begins with the same.
        for (input, board) in &boards {
            let late = Board::open(&owner, input, 60_000).await;
            assert!(late.span != board.span || late.rows == board.rows, "{input}");
        }
    }

    async fn clicks_alone_are_told(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let mut board = Board::open(&owner, &today(json!({ "groupBy": ["CAMPAIGN"] })), 100).await;
        assert!(board.rows.is_empty());
        for clicks in 1..=3 {
            programme.click(&owner).await;
            board.read().await;
            let row = board.rows.values().next().expect("a row");
            assert_eq!((&row["clicks"], &row["campaign"]["id"]), (&json!(clicks), &json!(programme.campaign)));
            assert_eq!((board.rows.len(), board.snapshots), (1, 1));
        }
    }

    async fn burst_is_told_in_few_messages(app) {
        const INTERVAL: i32 = 500;
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        let input = today(json!({}));
        let mut board = Board::open(&owner, &input, INTERVAL).await;
        let begin = Instant::now();
        let writers = (0..4).map(|_| {
            let (owner, click) = (owner.clone(), click.clone());
            async move {
                for _ in 0..40 {
                    record(&owner, &click).await;
                }
            }
        });
        futures_util::future::join_all(writers).await;
        let expected = report(&owner, &input, &board.span).await;
        board.read_until(&expected).await;
        let intervals = begin.elapsed().as_millis() / u128::from(INTERVAL.unsigned_abs());
        // One for each interval that began, and the snapshot.
        assert!(board.messages as u128 <= intervals + 2, "{} messages in {intervals} intervals", board.messages);
        assert_eq!(expected.values().next().expect("totals")["conversions"], 160);
        assert!(board.is_silent().await, "nothing is told when nothing changes");
        // Nor when something changes that is not shown.
        owner.done("updateCampaign", json!({ "id": programme.campaign, "name": "Boots" }), "").await;
        assert!(board.is_silent().await);
        record(&owner, &click).await;
        board.read().await;
        assert_eq!(board.rows.values().next().expect("totals")["conversions"], 161);
    }

    async fn rows_that_leave_the_best_are_told_as_removed(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let second = new_affiliate(&owner).await;
        let (_, link) = enroll(&owner, &programme.campaign, &second).await;
        let first_click = programme.click(&owner).await;
        let second_click = Programme { link, ..programme.clone() }.click(&owner).await;
        record(&owner, &first_click).await;
        let input = today(json!({ "groupBy": ["AFFILIATE"], "limit": 1 }));
        let mut board = Board::open(&owner, &input, 100).await;
        let leader = |board: &Board| {
            let ids: BTreeSet<_> = board.rows.values().map(|row| row["affiliate"]["id"].to_string()).collect();
            assert_eq!(ids.len(), 1, "one is the best");
            ids
        };
        assert_eq!(leader(&board), BTreeSet::from([json!(programme.affiliate).to_string()]));
        record(&owner, &second_click).await;
        record(&owner, &second_click).await;
        let expected = report(&owner, &input, &board.span).await;
        board.read_until(&expected).await;
        assert_eq!(leader(&board), BTreeSet::from([json!(second).to_string()]));
        assert_eq!(board.snapshots, 1);
    }

    async fn period_that_moves_on_begins_anew(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        record(&owner, &click).await;
        let mut day = Board::open(&owner, &today(json!({ "groupBy": ["CAMPAIGN"] })), 100).await;
        let mut days = Board::open(&owner, &json!({ "period": { "lastDays": 3 } }), 100).await;
        let (yesterday, rows) = (day.span.clone(), days.rows.clone());
        assert_eq!((day.rows.len(), rows.len()), (1, 1));
        app.clock.advance(TimeDelta::days(1));
        day.read().await;
        assert_eq!((day.snapshots, day.rows.len()), (2, 0), "nothing happened today");
        assert_eq!(day.span.0, yesterday.1, "today begins where yesterday ends");
        days.read().await;
        assert_eq!((days.snapshots, &days.rows), (2, &rows), "yesterday is among three days");
        // And goes on from there.
        let click = programme.click(&owner).await;
        record(&owner, &click).await;
        let expected = report(&owner, &today(json!({ "groupBy": ["CAMPAIGN"] })), &day.span).await;
        day.read_until(&expected).await;
        assert_eq!(day.snapshots, 2);
    }

    async fn ring_and_tenant_bound_what_is_seen(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let second = new_affiliate(&owner).await;
        let (_, link) = enroll(&owner, &programme.campaign, &second).await;
        let own_click = programme.click(&owner).await;
        let other_click = Programme { link, ..programme.clone() }.click(&owner).await;
        let input = today(json!({ "groupBy": ["AFFILIATE"] }));
        let affiliate = app.affiliate(&programme.affiliate);
        let mut own = Board::open(&affiliate, &input, 100).await;
        let mut sly = Board::open(&affiliate, &today(json!({ "affiliateIds": [second] })), 100).await;
        let mut strange = Board::open(&app.stranger(), &input, 100).await;
        let mut whole = Board::open(&owner, &input, 100).await;
        for (number, click) in [&other_click, &own_click, &other_click].into_iter().enumerate() {
            record(&owner, click).await;
            let expected = report(&owner, &input, &whole.span).await;
            whole.read_until(&expected).await;
            assert_eq!(expected.len(), 2, "{number}");
        }
        let expected = report(&affiliate, &input, &own.span).await;
        own.read_until(&expected).await;
        assert_eq!(own.rows.len(), 1);
        assert_eq!(own.rows.values().next().expect("a row")["conversions"], 1);
        for board in [&mut own, &mut sly, &mut strange] {
            assert!(board.is_silent().await);
        }
        assert!(sly.rows.is_empty() && strange.rows.is_empty());
    }

    async fn bounds_are_kept(app) {
        let owner = app.owner();
        for (more, field) in [
            (json!({ "minInterval": 99 }), json!(["minInterval"])),
            (json!({ "minInterval": 60_001 }), json!(["minInterval"])),
            (json!({ "minInterval": -1 }), json!(["minInterval"])),
            (json!({ "input": today(json!({ "limit": 0 })) }), json!(["input", "limit"])),
            (json!({ "input": today(json!({ "limit": 101 })) }), json!(["input", "limit"])),
            (json!({ "input": today(json!({ "limit": -1 })) }), json!(["input", "limit"])),
            (json!({ "input": { "period": { "lastDays": 0 } } }), json!(["input", "period", "lastDays"])),
            (json!({ "input": { "period": { "lastHours": 745 } } }), json!(["input", "period", "lastHours"])),
            (
                json!({ "input": { "period": { "between": { "from": "2026-01-01T00:30:00Z", "until": "2026-01-02T00:00:00Z" } } } }),
                json!(["input", "period", "between", "from"]),
            ),
        ] {
            let mut socket = watch(&owner, &today(json!({})), more.clone()).await;
            let message = socket.message().await;
            let errors = if message["type"] == "error" { &message["payload"] } else { &message["payload"]["errors"] };
            assert_eq!(errors[0]["extensions"]["code"], "OUT_OF_RANGE", "{more}: {message}");
            assert_eq!(errors[0]["extensions"]["field"], field, "{more}");
        }
        for min_interval in [100, 60_000] {
            Board::open(&owner, &today(json!({})), min_interval).await;
        }
        assert_eq!(watch(&app.anonymous(), &today(json!({})), json!({})).await.error_code().await, "UNAUTHENTICATED");
    }

    async fn resumed_dashboard_begins_with_a_snapshot(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        record(&owner, &click).await;
        let input = today(json!({}));
        let cursor = watch(&owner, &input, json!({})).await.next().await["dashboard"]["cursor"].take();
        let again = watch(&owner, &input, json!({ "after": cursor })).await.next().await["dashboard"].take();
        assert_eq!((&again["isSnapshot"], again["rows"].as_array().map(Vec::len)), (&json!(true), Some(1)));
        for (client, input) in [
            (&owner, today(json!({ "limit": 7 }))),
            (&app.stranger(), input.clone()),
            (&app.affiliate(&programme.affiliate), input.clone()),
        ] {
            let mut socket = watch(client, &input, json!({ "after": cursor })).await;
            assert_eq!(socket.error_code().await, "CURSOR_INVALID");
        }
        app.auditor.run("UPDATE tenant SET epoch = tenant_id").await.expect("updates");
        let mut socket = watch(&owner, &today(json!({})), json!({ "after": cursor, "minInterval": 100 })).await;
        assert_eq!(socket.error_code().await, "CURSOR_EXPIRED");
    }
}
