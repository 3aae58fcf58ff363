//! Sends sales through the public ingest path: each a click and a conversion, with keys made from the order.
//!
//! # Decisions
//! - Clicks go one batch after the other, because whether a visitor is new depends on what came before; conversions of
//!   earlier batches travel meanwhile.

use std::collections::HashSet;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::json;
use tributary_entity::Instant;

use super::{
    client::{Client, ClientError},
    figures::usd,
    plan::{Plan, REVIEWED, Sale},
    programme::Programme,
    progress::Progress,
};

/// Items of one call: the most that the API takes.
const BATCH: usize = 1_000;
/// Batches whose conversions are in flight.
const AT_ONCE: usize = 3;
/// Nodes of one page: the most that the API gives.
const PAGE: usize = 100;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ClickInput<'a> {
    idempotency_key: String,
    link_id: &'a str,
    occurred_at: Instant,
    visitor_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConversionInput<'a> {
    idempotency_key: String,
    click_id: &'a str,
    goal: &'static str,
    order_id: String,
    customer_id: String,
    sale_amount: MoneyInput,
    occurred_at: Instant,
    labels: Labels,
}

#[derive(Serialize)]
struct MoneyInput {
    amount: String,
    currency: &'static str,
}

#[derive(Serialize)]
struct Labels {
    /// How many CDs.
    adv1: String,
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

fn click_input<'a>(sale: &Sale, programme: &'a Programme) -> Result<ClickInput<'a>, ClientError> {
    Ok(ClickInput {
        idempotency_key: format!("demo-click-{}", sale.order.number),
        link_id: programme.link(sale.campaign, sale.affiliate)?,
        occurred_at: sale.clicked_at,
        visitor_id: format!("customer-{}", sale.order.customer),
    })
}

fn conversion_input<'a>(sale: &Sale, click_id: &'a str) -> ConversionInput<'a> {
    ConversionInput {
        idempotency_key: format!("demo-order-{}", sale.order.number),
        click_id,
        goal: "sale",
        order_id: sale.order_id(),
        customer_id: format!("customer-{}", sale.order.customer),
        sale_amount: MoneyInput { amount: usd(sale.order.cents), currency: "USD" },
        occurred_at: sale.converted_at,
        labels: Labels { adv1: sale.order.discs.to_string() },
    }
}

/// Sends sales in batches. Answers how many were sent, and of how many the API said that it had them already.
///
/// With `only_missing`, batches that the API has in full are passed over.
///
/// # Errors
/// [`ClientError`].
pub async fn load(
    client: &Client,
    programme: &Programme,
    sales: &[Sale],
    only_missing: bool,
    progress: &Progress,
) -> Result<(usize, usize), ClientError> {
    let clicked = stream::iter(sales.chunks(BATCH).map(Ok)).and_then(async |batch: &[Sale]| {
        if only_missing && count_orders(client, batch).await? == batch.len() {
            return Ok((batch, None));
        }
        Ok((batch, Some(record_clicks(client, programme, batch).await?)))
    });
    let recorded = clicked.map(|clicked: Result<_, ClientError>| async move {
        let (batch, clicks) = clicked?;
        let known = match clicks {
            Some(clicks) => record_conversions(client, batch, &clicks).await?,
            None => return Ok((batch.len(), 0, 0)),
        };
        Ok::<_, ClientError>((batch.len(), batch.len(), known))
    });
    recorded
        .buffer_unordered(AT_ONCE)
        .try_fold((0, 0), async |(sent, replayed), (done, more_sent, more_replayed)| {
            progress.add(done);
            Ok((sent + more_sent, replayed + more_replayed))
        })
        .await
}

async fn record_clicks(client: &Client, programme: &Programme, batch: &[Sale]) -> Result<Vec<Id>, ClientError> {
    let inputs = batch.iter().map(|sale| click_input(sale, programme)).collect::<Result<Vec<_>, _>>()?;
    let document = "mutation($input: RecordClicksInput!) { answer: recordClicks(input: $input) { items { object: click { id } replayed userErrors { code field message } } userErrors { code field message } } }";
    let answers = client.mutate_batch(document, &inputs).await?;
    Ok(answers.into_iter().map(|(click, _)| click).collect())
}

/// Answers of how many the API said that it had them already.
async fn record_conversions(client: &Client, batch: &[Sale], clicks: &[Id]) -> Result<usize, ClientError> {
    let inputs: Vec<_> = batch.iter().zip(clicks).map(|(sale, click)| conversion_input(sale, &click.id)).collect();
    let document = "mutation($input: RecordConversionsInput!) { answer: recordConversions(input: $input) { items { object: conversion { id } replayed userErrors { code field message } } userErrors { code field message } } }";
    let answers = client.mutate_batch::<IgnoredAny>(document, &inputs).await?;
    Ok(answers.iter().filter(|(_, replayed)| *replayed).count())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Count {
    total_count: usize,
}

/// How many of these sales the API has.
async fn count_orders(client: &Client, sales: &[Sale]) -> Result<usize, ClientError> {
    let document = "query($orderIds: [String!]!) { answer: conversions(filter: { orderIds: $orderIds }, first: 1) { totalCount } }";
    let order_ids: Vec<String> = sales.iter().map(Sale::order_id).collect();
    let count: Count = client.query(document, json!({ "orderIds": order_ids })).await?;
    Ok(count.total_count)
}

/// How many conversions the API has in the plan's period.
///
/// # Errors
/// [`ClientError`].
pub async fn count(client: &Client, plan: &Plan) -> Result<usize, ClientError> {
    let Some((from, before)) = plan.period() else { return Ok(0) };
    let document = "query($from: DateTime!, $before: DateTime!) { answer: conversions(filter: { occurredFrom: $from, occurredBefore: $before }, first: 1) { totalCount } }";
    let count: Count = client.query(document, json!({ "from": from, "before": before })).await?;
    Ok(count.total_count)
}

#[derive(Deserialize)]
struct Orders {
    nodes: Vec<OrderNode>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OrderNode {
    order_id: Option<String>,
}

/// The order ids of those of these sales that the API has.
///
/// # Errors
/// [`ClientError`].
pub async fn known(client: &Client, sales: &[Sale]) -> Result<HashSet<String>, ClientError> {
    let document = "query($orderIds: [String!]!) { answer: conversions(filter: { orderIds: $orderIds }, first: 100) { nodes { orderId } } }";
    let mut known = HashSet::new();
    for page in sales.chunks(PAGE) {
        let order_ids: Vec<String> = page.iter().map(Sale::order_id).collect();
        let orders: Orders = client.query(document, json!({ "orderIds": order_ids })).await?;
        known.extend(orders.nodes.into_iter().filter_map(|node| node.order_id));
    }
    Ok(known)
}

/// What the API answers for a sale that is sent alone.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recorded {
    pub status: String,
    pub commission_total: Amount,
}

#[derive(Deserialize)]
pub struct Amount {
    pub amount: String,
}

/// Sends one sale.
///
/// # Errors
/// [`ClientError`].
pub async fn record(client: &Client, programme: &Programme, sale: &Sale) -> Result<Recorded, ClientError> {
    let document = "mutation($input: RecordClickInput!) { answer: recordClick(input: $input) { object: click { id } replayed userErrors { code field message } } }";
    let (Id { id }, _) = client.mutate(document, click_input(sale, programme)?).await?;
    let document = "mutation($input: RecordConversionInput!) { answer: recordConversion(input: $input) { object: conversion { status commissionTotal { amount } } replayed userErrors { code field message } } }";
    Ok(client.mutate(document, conversion_input(sale, &id)).await?.0)
}

/// Records a click that no order belongs to, for the example. Answers its id.
///
/// # Errors
/// [`ClientError`].
pub async fn example_click(client: &Client, programme: &Programme, key: &str) -> Result<String, ClientError> {
    let input = json!({ "idempotencyKey": key, "linkId": programme.link(0, 1)?, "visitorId": "you" });
    let document = "mutation($input: RecordClickInput!) { answer: recordClick(input: $input) { object: click { id } replayed userErrors { code field message } } }";
    let (Id { id }, _) = client.mutate(document, input).await?;
    Ok(id)
}

/// What became of a review.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reviewed {
    items: Vec<ReviewedItem>,
}

#[derive(Deserialize)]
struct ReviewedItem {
    id: String,
    conversion: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Waiting {
    nodes: Vec<Id>,
    page_info: PageInfo,
}

/// Where a connection goes on.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PageInfo {
    pub has_next_page: bool,
    pub end_cursor: Option<String>,
}

/// Approves the reviewed campaign's history but for its end. Answers how many were approved.
///
/// # Errors
/// [`ClientError`].
pub async fn approve(client: &Client, programme: &Programme, plan: &Plan) -> Result<usize, ClientError> {
    let Some(before) = plan.approved_before() else { return Ok(0) };
    let waiting = "query($campaign: ID!, $before: DateTime!, $after: String) { answer: conversions(filter: { campaignIds: [$campaign], statuses: [PENDING], occurredBefore: $before }, first: 100, after: $after) { nodes { id } pageInfo { hasNextPage endCursor } } }";
    let campaign = &programme.campaign_ids[REVIEWED];
    let mut approved = 0;
    let mut ids: Vec<String> = Vec::with_capacity(BATCH);
    let mut after = None;
    loop {
        let variables = json!({ "campaign": campaign, "before": before, "after": after });
        let page: Waiting = client.query(waiting, variables).await?;
        ids.extend(page.nodes.into_iter().map(|node| node.id));
        let is_last = !page.page_info.has_next_page;
        if (is_last && !ids.is_empty()) || ids.len() + PAGE > BATCH {
            approved += approve_batch(client, &ids).await?;
            ids.clear();
        }
        if is_last {
            return Ok(approved);
        }
        after = page.page_info.end_cursor;
    }
}

async fn approve_batch(client: &Client, ids: &[String]) -> Result<usize, ClientError> {
    let document = "mutation($input: ApproveConversionsInput!) { answer: approveConversions(input: $input) { items { id conversion { id } } } }";
    let key = ids.first().map(|id| format!("demo-approve-{id}"));
    let input = json!({ "input": { "idempotencyKey": key, "ids": ids, "note": "demo" } });
    let reviewed: Reviewed = client.query(document, input).await?;
    match reviewed.items.iter().find(|item| item.conversion.is_none()) {
        Some(refused) => Err(ClientError::Refused(format!("{} could not be approved", refused.id))),
        None => Ok(reviewed.items.len()),
    }
}
