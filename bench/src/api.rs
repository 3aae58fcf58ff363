//! The little of the API that a load needs: a programme that converts, conversions, a subscription.

use serde_json::{Value, json};

use crate::BenchError;

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

    /// A campaign with a goal, a rule, an affiliate and a link.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn link(&self) -> Result<Link, BenchError> {
        let campaign =
            json!({ "name": "Load", "currency": "EUR", "destinationUrl": "https://shop.example/", "approval": "AUTO" });
        let campaign = self.make("createCampaign", "campaign", campaign).await?;
        let goal = json!({ "campaignId": campaign, "code": "sale", "name": "Sale", "oncePerClick": false });
        self.make("createGoal", "goal", goal).await?;
        let rule = json!({ "campaignId": campaign, "name": "Standard", "terms": { "percent": "10" } });
        self.make("createCommissionRule", "commissionRule", rule).await?;
        self.make("activateCampaign", "campaign", json!({ "id": campaign })).await?;
        let affiliate = json!({ "name": "Load", "email": "load@partner.example" });
        let affiliate = self.make("createAffiliate", "affiliate", affiliate).await?;
        let pair = json!({ "campaignId": campaign, "affiliateId": affiliate });
        self.make("createEnrollment", "enrollment", pair.clone()).await?;
        let id = self.make("createLink", "link", pair).await?;
        let found = self.send("query($id: ID!) { result: link(id: $id) { code } }", json!({ "id": id })).await?;
        let code = found["code"].as_str().ok_or_else(|| BenchError::Failed(format!("no code: {found}")))?;
        Ok(Link { path: format!("/c/{code}"), id })
    }

    /// How many clicks of a link are stored.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn clicks(&self, link: &str) -> Result<usize, BenchError> {
        let query = "query($ids: [ID!]) { result: clicks(first: 1, filter: { linkIds: $ids }) { totalCount } }";
        let found = self.send(query, json!({ "ids": [link] })).await?;
        let count = found["totalCount"].as_u64().and_then(|count| usize::try_from(count).ok());
        count.ok_or_else(|| BenchError::Failed(format!("no count: {found}")))
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

/// The document of a subscriber: different text for each number, the same answer for all.
pub fn subscription(number: usize) -> String {
    format!(
        "subscription Live{number} {{ conversions {{ cursor type conversion {{ id orderId status \
         affiliate {{ name }} commissionTotal {{ amount currency }} }} }} }}"
    )
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
