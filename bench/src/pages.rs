//! Pages of conversions as a dashboard lists them, each with its affiliate and campaign: the newest ones, and pages from deep
//! in the list by cursor. Beside `pgbench` that selects the same rows by the same index in one statement, and beside a bare
//! server that answers the same bytes.
//!
//! PostgreSQL only, as a superuser: see [`crate::seed`].

use std::{sync::Arc, time::Duration};

use clap::Args;
use serde_json::{Value, json};

use crate::{
    BenchError,
    all::{Scaled, shortened},
    api::Api,
    calls::{Body, Calls, Seen},
    figures::{Demand, Figure},
    pgbench,
    process::Together,
    seed::{self, Seeded},
    server::{self, Database, Server},
    sql, table,
};

#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    seed: seed::Amounts,
    /// Connections, each with one request in flight.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

impl Scaled for Options {
    fn scale(&mut self, scale: f64) {
        self.seed.scale(scale);
        self.seconds = shortened(self.seconds, scale);
    }
}

const NAME: &str = "pages";
const PAGE: usize = 50;
/// Different deep pages that are asked for in turn.
const DEEP: usize = 200;
/// A list of a dashboard.
const DOCUMENT: &str = "query Conversions($first: Int!, $after: String) { conversions(first: $first, after: $after) { \
                        nodes { id orderId status occurredAt saleAmount { amount currency } \
                        commissionTotal { amount currency } affiliate { id name } campaign { id name } } \
                        pageInfo { hasNextPage endCursor } } }";

/// A page behind an order: its cursor, and that conversion's id in the database.
struct Place {
    number: usize,
    cursor: String,
    id: String,
}

/// Seeds, measures, and prints what was measured side by side.
///
/// # Errors
/// When a server does not start or refuses, or a page is not what was seeded.
pub async fn run(options: &Options) -> Result<Vec<Figure>, BenchError> {
    let database = Database::postgres().await?;
    let node = Server::tributary(&database).await?;
    let api = Api::new(&node.url, &node.token);
    let seeded = seed::seed(&api, &database, &options.seed).await?;
    let places = Arc::new(places(&api, &seeded).await?);
    check(&api, &seeded, &places).await?;
    let bench = Bench { node: &node, bare: server::floor().await?, database: database.process(), seeded, options };
    println!("{} connections, {} s each; processor time in us per page", options.connections, options.seconds);
    println!("{}", table::rate_head(&format!("{:<8}{:<10}", "page", "server"), "pages/s"));
    let mut figures = bench.measure("first", body(None), &first_page(&bench.seeded)).await?;
    // A page must not be the slower for its place.
    figures.extend(bench.measure("deep", body(Some(Arc::clone(&places))), &deep_page(&bench.seeded, &places)).await?);
    Ok(figures)
}

struct Bench<'a> {
    node: &'a Server,
    bare: Server,
    database: Option<u32>,
    seeded: Seeded,
    options: &'a Options,
}

impl Bench<'_> {
    async fn measure(&self, page: &'static str, body: Body, script: &str) -> Result<Vec<Figure>, BenchError> {
        let Options { connections, seconds, .. } = *self.options;
        let time = Duration::from_secs(seconds);
        let selects = pgbench::run(&self.seeded.url, script, connections, time).await?;
        print(page, "pgbench", &selects, None, &selects);
        self.teach_bare(&body(0)).await?;
        let calls = |server: &Server, duration| Calls {
            address: server.address().to_owned(),
            token: server.token.clone(),
            connections,
            duration,
            rate: None,
            from: 0,
            body: Arc::clone(&body),
            holds: "\"hasNextPage\":true",
        };
        let bare = calls(&self.bare, time).drive().await?;
        print(page, "bare", &bare, None, &selects);
        // What the first ones set up for all is not theirs.
        calls(self.node, Duration::from_secs(1)).drive().await?;
        let together = Together { server: self.node.pid(), database: self.database };
        let before = together.used()?;
        let ours = calls(self.node, time).drive().await?;
        print(page, "tributary", &ours, Some(together.each(before, ours.calls)?), &selects);
        let what = |what: &str| format!("{page} page of {PAGE}, {connections} connections: {what}");
        let floor = |of: fn(&Seen) -> f64| Some(of(&selects));
        Ok(vec![
            Figure::new(NAME, what("rate, of pgbench's"), ours.per_second, "pages/s")
                .beside(floor(|seen| seen.per_second))
                .demand(Demand::AtLeast(3_000.0)),
            Figure::new(NAME, what("rate, of a bare server's"), ours.per_second, "pages/s")
                .beside(Some(bare.per_second)),
            Figure::new(NAME, what("p50"), ours.at(0.5), "ms").beside(floor(|seen| seen.at(0.5))),
            Figure::new(NAME, what("p99"), ours.at(0.99), "ms").beside(floor(|seen| seen.at(0.99))),
        ])
    }

    /// Has the bare server answer a query as the node does.
    async fn teach_bare(&self, query: &str) -> Result<(), BenchError> {
        let http = reqwest::Client::new();
        let asked = http.post(format!("{}/graphql", self.node.url)).bearer_auth(&self.node.token);
        let answer = asked.header("content-type", "application/json").body(query.to_owned()).send().await?;
        let bytes = answer.error_for_status()?.bytes().await?;
        http.put(format!("{}/answer", self.bare.url)).body(bytes).send().await?.error_for_status()?;
        Ok(())
    }
}

fn print(page: &str, name: &str, seen: &Seen, cost: Option<[f64; 3]>, floor: &Seen) {
    println!("{}", table::rate(&format!("{page:<8}{name:<10}"), seen, cost, floor));
}

/// Places in the older half of the list, each far enough from its end for a whole page and more.
async fn places(api: &Api, seeded: &Seeded) -> Result<Vec<Place>, BenchError> {
    let mut places = Vec::new();
    for number in depths(seeded.last) {
        let query = "query($ids: [String!]) { result: conversions(first: 1, filter: { orderIds: $ids }) \
                     { edges { cursor } } }";
        let order = seed::order(number);
        let found = api.send(query, json!({ "ids": [order] })).await?;
        let cursor = found["edges"][0]["cursor"].as_str();
        let cursor = cursor.ok_or_else(|| BenchError::Failed(format!("{order} has no cursor: {found}")))?.to_owned();
        let row = format!(
            "SELECT id::text AS id FROM conversion WHERE tenant_id = '{}' AND order_id = '{order}'",
            seeded.tenant
        );
        let id = sql::one(&seeded.database, &row).await?.try_get("", "id")?;
        places.push(Place { number, cursor, id });
    }
    match places.is_empty() {
        true => Err(BenchError::Failed("deep pages take some hundred conversions at the least".to_owned())),
        false => Ok(places),
    }
}

/// Numbers of conversions in the older half, in no order, with more than a page of older ones.
fn depths(last: usize) -> Vec<usize> {
    let (from, until) = (2 * PAGE, last / 2);
    let wide = until.saturating_sub(from);
    (0..DEEP.min(wide)).map(|step| from + step * 7_919 % wide).collect()
}

/// Pages are what was seeded, in order.
async fn check(api: &Api, seeded: &Seeded, places: &[Place]) -> Result<(), BenchError> {
    for place in places.iter().take(5) {
        let query = DOCUMENT.replacen("conversions(", "result: conversions(", 1);
        let page = api.send(&query, json!({ "first": PAGE, "after": place.cursor })).await?;
        let nodes = page["nodes"].as_array().map_or(&[][..], Vec::as_slice);
        let is_whole = |node: &Value| node["affiliate"]["id"].is_string() && node["campaign"]["id"].is_string();
        let wanted = (place.number - PAGE..place.number).rev().map(seed::order);
        let found = nodes.iter().map(|node| node["orderId"].as_str().unwrap_or_default());
        if !found.eq(wanted) || !nodes.iter().all(is_whole) {
            return Err(BenchError::Failed(format!("behind {} is: {page}", seed::order(place.number))));
        }
    }
    let stored = api.conversions().await?;
    if stored != seeded.last + seeded.links.len() {
        return Err(BenchError::Failed(format!("{stored} conversions are counted")));
    }
    Ok(())
}

/// The newest page, or those behind places in turn.
fn body(places: Option<Arc<Vec<Place>>>) -> Body {
    Arc::new(move |number| {
        let after = places.as_ref().map(|places| &places[number % places.len()].cursor);
        json!({ "query": DOCUMENT, "variables": { "first": PAGE, "after": after } }).to_string()
    })
}

/// The rows of the newest page, and one more, which tells whether another follows.
fn first_page(seeded: &Seeded) -> String {
    select(seeded, "")
}

fn deep_page(seeded: &Seeded, places: &[Place]) -> String {
    let ids: Vec<String> = places.iter().map(|place| format!("'{}'", place.id)).collect();
    let places = format!("\\set place random(1, {})\n", ids.len());
    places + &select(seeded, &format!("AND c.id < (ARRAY[{}]::uuid[])[:place::int]", ids.join(",")))
}

fn select(seeded: &Seeded, condition: &str) -> String {
    format!(
        "SELECT c.*, a.name AS affiliate, g.name AS campaign FROM (SELECT * FROM conversion c \
         WHERE c.tenant_id = '{0}' {condition} ORDER BY c.id DESC LIMIT {1}) c \
         LEFT JOIN affiliate a ON a.tenant_id = '{0}' AND a.id = c.affiliate_id \
         LEFT JOIN campaign g ON g.tenant_id = '{0}' AND g.id = c.campaign_id ORDER BY c.id DESC;\n",
        seeded.tenant,
        PAGE + 1
    )
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn depths_differ_and_leave_room_for_a_page() {
        for last in [1_000, 50_000, 1_000_000] {
            let depths = depths(last);
            assert_eq!(depths.len(), DEEP);
            assert_eq!(depths.iter().collect::<HashSet<_>>().len(), DEEP);
            assert!(depths.iter().all(|number| *number > PAGE && *number < last));
        }
        assert!(depths(100).is_empty());
    }
}
