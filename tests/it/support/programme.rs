//! A campaign that is ready to convert, built through the API.

use serde_json::{Value, json};

use super::Client;

/// How a programme pays and approves.
#[derive(Clone, Debug)]
pub struct Terms {
    pub approval: &'static str,
    pub hold_seconds: i64,
    /// The `terms` of the rule.
    pub rule: Value,
    pub currency: &'static str,
    pub once_per_click: bool,
    pub window_seconds: i64,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            approval: "AUTO",
            hold_seconds: 86_400,
            rule: json!({ "percent": "10" }),
            currency: "EUR",
            once_per_click: false,
            window_seconds: 30 * 86_400,
        }
    }
}

impl Terms {
    /// Conversions wait for a review.
    pub fn manual() -> Self {
        Self { approval: "MANUAL", ..Self::default() }
    }
}

/// The ids of a campaign with goal `sale`, a rule, one affiliate, enrolled, with a link.
#[derive(Clone, Debug)]
pub struct Programme {
    pub campaign: String,
    pub goal: String,
    pub rule: String,
    pub affiliate: String,
    pub enrollment: String,
    pub link: String,
}

impl Programme {
    /// Builds one as a client who may manage campaigns.
    pub async fn build(client: &Client, terms: &Terms) -> Self {
        let input = json!({
            "name": "Shoes", "currency": terms.currency, "destinationUrl": "https://shop.example/",
            "approval": terms.approval, "holdSeconds": terms.hold_seconds,
            "attributionWindowSeconds": terms.window_seconds,
        });
        let campaign = id(&client.done("createCampaign", input, "campaign { id }").await, "campaign");
        let input = json!({
            "campaignId": campaign, "code": "sale", "name": "Sale", "oncePerClick": terms.once_per_click,
        });
        let goal = id(&client.done("createGoal", input, "goal { id }").await, "goal");
        let input = json!({ "campaignId": campaign, "name": "Standard", "terms": terms.rule });
        let rule = id(&client.done("createCommissionRule", input, "commissionRule { id }").await, "commissionRule");
        client.done("activateCampaign", json!({ "id": campaign }), "campaign { id }").await;
        let affiliate = new_affiliate(client).await;
        let (enrollment, link) = enroll(client, &campaign, &affiliate).await;
        Self { campaign, goal, rule, affiliate, enrollment, link }
    }

    /// A click on the programme's link; its id.
    pub async fn click(&self, client: &Client) -> String {
        self.click_with(client, json!({})).await
    }

    /// A click with more in its input.
    pub async fn click_with(&self, client: &Client, more: Value) -> String {
        let mut input = json!({ "linkId": self.link });
        merge(&mut input, more);
        id(&client.done("recordClick", input, "click { id }").await, "click")
    }
}

/// An active affiliate with a name of its own.
pub async fn new_affiliate(client: &Client) -> String {
    let name = uuid::Uuid::new_v4().simple().to_string();
    let input = json!({ "name": name, "email": format!("{name}@partner.example") });
    id(&client.done("createAffiliate", input, "affiliate { id }").await, "affiliate")
}

/// Enrolls an affiliate and makes a link; their ids.
pub async fn enroll(client: &Client, campaign: &str, affiliate: &str) -> (String, String) {
    let pair = json!({ "campaignId": campaign, "affiliateId": affiliate });
    let enrollment = id(&client.done("createEnrollment", pair.clone(), "enrollment { id }").await, "enrollment");
    let link = id(&client.done("createLink", pair, "link { id }").await, "link");
    (enrollment, link)
}

/// The id of a payload's object.
pub fn id(payload: &Value, object: &str) -> String {
    payload[object]["id"].as_str().unwrap_or_else(|| panic!("{object} with an id, not {payload}")).to_owned()
}

/// Adds the fields of `more` to an object.
pub fn merge(into: &mut Value, more: Value) {
    let (Value::Object(into), Value::Object(more)) = (into, more) else { panic!("two objects") };
    into.extend(more);
}

/// The input of a sale.
pub fn sale(click: &str, order: &str, amount: &str) -> Value {
    json!({
        "idempotencyKey": format!("key-{order}"), "clickId": click, "goal": "sale", "orderId": order,
        "saleAmount": { "amount": amount, "currency": "EUR" },
    })
}
