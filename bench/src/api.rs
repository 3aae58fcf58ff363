//! The little of the API that a load needs: a programme that converts, conversions, a subscription.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::BenchError;

/// Items of one call: the most that the API takes.
pub const BATCH: usize = 1_000;

/// A tracking link.
pub struct Link {
    pub id: String,
    /// Of its address.
    pub path: String,
}

/// A client of one server.
#[derive(Clone)]
pub struct Api {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Api {
    pub fn new(url: &str, token: &str) -> Self {
        Self { http: reqwest::Client::new(), url: format!("{url}/graphql"), token: token.to_owned() }
    }

    /// Asks, and answers what the field named `result` is.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn send(&self, query: &str, variables: Value) -> Result<Value, BenchError> {
        let body = json!({ "query": query, "variables": variables });
        let response = self.http.post(&self.url).bearer_auth(&self.token).json(&body).send().await?;
        let mut answer: Value = response.json().await?;
        if answer.get("errors").is_some() {
            return Err(BenchError::Failed(format!("{query}: {answer}")));
        }
        Ok(answer["data"]["result"].take())
    }

    /// Calls a mutation. Answers the id of its object.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn make(&self, name: &str, object: &str, input: Value) -> Result<String, BenchError> {
        let input_type = match name {
            "activateCampaign" => "CampaignStatusInput".to_owned(),
            _ => format!("{}{}Input", name[..1].to_uppercase(), &name[1..]),
        };
        let query = format!(
            "mutation($input: {input_type}!) {{ result: {name}(input: $input) {{ {object} {{ id }} \
             userErrors {{ code field message }} }} }}"
        );
        let payload = self.send(&query, json!({ "input": input })).await?;
        let id = payload[object]["id"].as_str().map(str::to_owned);
        id.ok_or_else(|| BenchError::Failed(format!("{name}: {payload}")))
    }

    /// A click on a link of a programme of its own. Answers its id.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn click(&self) -> Result<String, BenchError> {
        let link = self.link().await?.id;
        self.make("recordClick", "click", json!({ "linkId": link })).await
    }

    /// A link of a programme of its own.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn link(&self) -> Result<Link, BenchError> {
        self.links(1).await?.pop().ok_or_else(|| BenchError::Failed("no link".to_owned()))
    }

    /// A campaign with a goal, a rule, and so many affiliates with a link each.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn links(&self, count: usize) -> Result<Vec<Link>, BenchError> {
        let campaign =
            json!({ "name": "Load", "currency": "EUR", "destinationUrl": "https://shop.example/", "approval": "AUTO" });
        let campaign = self.make("createCampaign", "campaign", campaign).await?;
        let goal = json!({ "campaignId": campaign, "code": "sale", "name": "Sale", "oncePerClick": false });
        self.make("createGoal", "goal", goal).await?;
        let rule = json!({ "campaignId": campaign, "name": "Standard", "terms": { "percent": "10" } });
        self.make("createCommissionRule", "commissionRule", rule).await?;
        self.make("activateCampaign", "campaign", json!({ "id": campaign })).await?;
        let mut links = Vec::with_capacity(count);
        for _ in 0..count {
            links.push(self.link_of(&campaign).await?);
        }
        Ok(links)
    }

    /// An affiliate of a campaign with a link.
    async fn link_of(&self, campaign: &str) -> Result<Link, BenchError> {
        let affiliate = json!({ "name": "Load", "email": format!("load-{}@partner.example", Uuid::new_v4()) });
        let affiliate = self.make("createAffiliate", "affiliate", affiliate).await?;
        let pair = json!({ "campaignId": campaign, "affiliateId": affiliate });
        self.make("createEnrollment", "enrollment", pair.clone()).await?;
        let id = self.make("createLink", "link", pair).await?;
        let found = self.send("query($id: ID!) { result: link(id: $id) { code } }", json!({ "id": id })).await?;
        let code = found["code"].as_str().ok_or_else(|| BenchError::Failed(format!("no code: {found}")))?;
        Ok(Link { path: format!("/c/{code}"), id })
    }

    /// Records clicks. Answers their ids, in order.
    ///
    /// # Errors
    /// When the server refuses one of them.
    pub async fn record_clicks(&self, items: Vec<Value>) -> Result<Vec<String>, BenchError> {
        self.record_all("recordClicks", "RecordClicksInput", "click", items).await
    }

    /// Records conversions.
    ///
    /// # Errors
    /// When the server refuses one of them.
    pub async fn record_conversions(&self, items: Vec<Value>) -> Result<(), BenchError> {
        self.record_all("recordConversions", "RecordConversionsInput", "conversion", items).await.map(drop)
    }

    /// Records so many sales by one click, in batches; their orders are `order-0` and so on.
    ///
    /// # Errors
    /// When the server refuses one of them.
    pub async fn record_sales(&self, click: &str, count: usize) -> Result<(), BenchError> {
        let sale = |number: usize| {
            json!({
                "clickId": click, "goal": "sale", "orderId": format!("order-{number}"),
                "saleAmount": { "amount": "49.00", "currency": "EUR" },
            })
        };
        for first in (0..count).step_by(BATCH) {
            self.record_conversions((first..count.min(first + BATCH)).map(sale).collect()).await?;
        }
        Ok(())
    }

    async fn record_all(
        &self,
        name: &str,
        input: &str,
        object: &str,
        items: Vec<Value>,
    ) -> Result<Vec<String>, BenchError> {
        let query = format!(
            "mutation($input: {input}!) {{ result: {name}(input: $input) {{ items {{ {object} {{ id }} \
             userErrors {{ code field message }} }} userErrors {{ code field message }} }} }}"
        );
        let answer = self.send(&query, json!({ "input": { "items": items } })).await?;
        let refused = || BenchError::Failed(format!("{name}: {answer}"));
        let answers = answer["items"].as_array().ok_or_else(refused)?;
        answers.iter().map(|one| one[object]["id"].as_str().map(str::to_owned).ok_or_else(refused)).collect()
    }

    /// What another attribution would come to.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn preview(&self, trial: &Value) -> Result<Value, BenchError> {
        let query = "query($input: AttributionPreviewInput!) { result: attributionPreview(input: $input) { conversions \
                     changed affiliateCount totals { currency } } }";
        self.send(query, json!({ "input": trial })).await
    }

    /// Asks for an attribution run. Answers its id.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn apply(&self, trial: &Value) -> Result<String, BenchError> {
        let mut input = trial.clone();
        input["reason"] = json!("benchmark");
        self.make("applyAttribution", "attributionRun", input).await
    }

    /// How a run stands.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn attribution_run(&self, id: &str) -> Result<Value, BenchError> {
        let query = "query($id: ID!) { result: attributionRun(id: $id) { status conversionsSeen conversionsChanged } }";
        self.send(query, json!({ "id": id })).await
    }

    /// Debits and credits of the ledger by account code, and whether they balance.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn trial_balance(&self) -> Result<Value, BenchError> {
        let query = "{ result: trialBalance { balanced lines { code currency debit { amount } credit { amount } } } }";
        self.send(query, json!({})).await
    }

    /// How many clicks of a link are stored.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn clicks(&self, link: &str) -> Result<usize, BenchError> {
        let query = "query($ids: [ID!]) { result: clicks(first: 1, filter: { linkIds: $ids }) { totalCount } }";
        count(&self.send(query, json!({ "ids": [link] })).await?["totalCount"])
    }

    /// How many conversions are stored.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn conversions(&self) -> Result<usize, BenchError> {
        count(&self.send("{ result: conversions(first: 1) { totalCount } }", json!({})).await?["totalCount"])
    }

    /// The ids of all stored clicks of a link.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn click_ids(&self, link: &str) -> Result<Vec<String>, BenchError> {
        let query = "query($ids: [ID!], $after: String) { result: clicks(first: 100, after: $after, filter: { linkIds: $ids }) \
                     { nodes { id } pageInfo { hasNextPage endCursor } } }";
        let mut ids = Vec::new();
        let mut after = Value::Null;
        loop {
            let mut page = self.send(query, json!({ "ids": [link], "after": after })).await?;
            let nodes = page["nodes"].as_array().map_or(&[][..], Vec::as_slice);
            ids.extend(nodes.iter().filter_map(|node| node["id"].as_str().map(str::to_owned)));
            if page["pageInfo"]["hasNextPage"] != true {
                return Ok(ids);
            }
            after = page["pageInfo"]["endCursor"].take();
        }
    }

    /// How many clicks the tenant's totals count.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn counted(&self) -> Result<usize, BenchError> {
        let query = "{ result: report(input: { from: \"2020-01-01T00:00:00Z\", until: \"2030-01-01T00:00:00Z\" }) \
                     { clicksGross } }";
        count(&self.send(query, json!({})).await?[0]["clicksGross"])
    }

    /// Records one sale with an order id.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn record(&self, click: &str, order: &str) -> Result<(), BenchError> {
        self.sell(click, order).await.map(drop)
    }

    /// As [`Api::record`]. Answers the conversion's id.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn sell(&self, click: &str, order: &str) -> Result<String, BenchError> {
        let input = json!({
            "idempotencyKey": order, "clickId": click, "goal": "sale", "orderId": order,
            "saleAmount": { "amount": "49.00", "currency": "EUR" },
        });
        self.make("recordConversion", "conversion", input).await
    }
}

fn count(value: &Value) -> Result<usize, BenchError> {
    let count = value.as_u64().and_then(|count| usize::try_from(count).ok());
    count.ok_or_else(|| BenchError::Failed(format!("no count: {value}")))
}

/// What a subscriber selects of an event.
const EVENT: &str =
    "{ cursor type conversion { id orderId status affiliate { name } commissionTotal { amount currency } } }";

/// What a subscriber asks for: in different text for each number, answered the same for all.
pub fn subscription(number: usize) -> Value {
    json!({ "query": format!("subscription Live{number} {{ conversions {EVENT} }}") })
}

/// The same, of one who comes back with the cursor of what it saw last.
pub fn resumption(cursor: &Value) -> Value {
    let query = format!("subscription Resumed($after: Cursor) {{ conversions(after: $after) {EVENT} }}");
    json!({ "query": query, "variables": { "after": cursor } })
}

/// A frame as [`subscription`] delivers it, for the floor: the same bytes, but for the order's number.
pub fn sample_frame(order: &str) -> String {
    json!({
        "id": "1", "type": "next", "payload": { "data": { "conversions": {
            "cursor": "AZqhM0nNfVKqXHsmdxcW2xEAAAAAAAAAKmFhYWFhYWFhYWFhYWFhYWE", "type": "RECORDED", "conversion": {
                "id": "cnv_01kah6t2k2fbdrfnzqmmrv3q6h", "orderId": order, "status": "APPROVED",
                "affiliate": { "name": "Load" }, "commissionTotal": { "amount": "4.90", "currency": "EUR" },
            },
        } } },
    })
    .to_string()
}
