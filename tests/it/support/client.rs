//! A client of the API by identity.

use reqwest::header::{HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::socket::Socket;

/// Sends documents as somebody.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    pub url: String,
    pub token: Option<String>,
}

impl Client {
    pub fn new(url: &str, token: Option<String>) -> Self {
        tributary::app::choose_tls();
        Self { http: reqwest::Client::new(), url: url.to_owned(), token }
    }

    /// The same, with a header on each request.
    pub fn with_header(&self, name: &'static str, value: &'static str) -> Self {
        let headers =
            [(name, value)].map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let http = reqwest::Client::builder().default_headers(headers.into_iter().collect()).build();
        Self { http: http.expect("a client"), ..self.clone() }
    }

    /// The raw answer to a document: status and body.
    pub async fn send(&self, query: &str, variables: Value) -> (u16, Value) {
        self.try_send(query, variables).await.expect("an answer")
    }

    /// The raw answer to a request with whatever members.
    pub async fn ask(&self, request: &Value) -> (u16, Value) {
        let mut http = self.http.post(format!("{}/graphql", self.url)).json(request);
        if let Some(token) = &self.token {
            http = http.bearer_auth(token);
        }
        let response = http.send().await.expect("an answer");
        (response.status().as_u16(), response.json().await.expect("JSON"))
    }

    /// As `send`; a connection that breaks is an answer too.
    pub async fn try_send(&self, query: &str, variables: Value) -> Result<(u16, Value), reqwest::Error> {
        let mut request =
            self.http.post(format!("{}/graphql", self.url)).json(&json!({ "query": query, "variables": variables }));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        Ok((status, response.json().await?))
    }

    /// The data of a document that must not fail.
    pub async fn data(&self, query: &str, variables: Value) -> Value {
        let (status, mut body) = self.send(query, variables).await;
        assert!(body.get("errors").is_none() && status == 200, "{status} {body}\n{query}");
        body["data"].take()
    }

    /// The code of a document's first error.
    pub async fn error_code(&self, query: &str, variables: Value) -> String {
        let (_, body) = self.send(query, variables).await;
        body["errors"][0]["extensions"]["code"]
            .as_str()
            .unwrap_or_else(|| panic!("an error with a code, not {body}"))
            .to_owned()
    }

    /// A mutation by name with its one input; selects `selection` and `userErrors`. Answers the payload.
    pub async fn mutate(&self, name: &str, input: Value, selection: &str) -> Value {
        let (status, mut body) = self.send(&mutation(name, selection), json!({ "input": input })).await;
        assert!(body.get("errors").is_none() && status == 200, "{name}: {status} {body}");
        body["data"]["result"].take()
    }

    /// As `mutate`, for one that must not be refused.
    pub async fn done(&self, name: &str, input: Value, selection: &str) -> Value {
        let payload = self.mutate(name, input, selection).await;
        assert_eq!(payload["userErrors"], json!([]), "{name}");
        payload
    }

    /// The code of a mutation's first refusal.
    pub async fn refusal(&self, name: &str, input: Value) -> String {
        let payload = self.mutate(name, input, "").await;
        payload["userErrors"][0]["code"].as_str().unwrap_or_else(|| panic!("{name} refused, not {payload}")).to_owned()
    }

    /// Opens a WebSocket and subscribes.
    pub async fn subscribe(&self, query: &str, variables: Value) -> Socket {
        Socket::open(&self.url, self.token.as_deref(), query, variables).await
    }
}

/// The document of a mutation with one input.
pub fn mutation(name: &str, selection: &str) -> String {
    // State changes share their input types; all others are named after the mutation.
    let input = match name {
        "activateCampaign" | "pauseCampaign" | "archiveCampaign" => "CampaignStatusInput".to_owned(),
        "approveAffiliate" | "rejectAffiliate" | "suspendAffiliate" => "AffiliateStatusInput".to_owned(),
        "approveEnrollment" | "rejectEnrollment" | "suspendEnrollment" => "EnrollmentStatusInput".to_owned(),
        "disableLink" | "enableLink" => "LinkStatusInput".to_owned(),
        "disableCoupon" | "enableCoupon" => "CouponStatusInput".to_owned(),
        "disablePostbackEndpoint" | "enablePostbackEndpoint" => "PostbackEndpointStatusInput".to_owned(),
        "approvePayoutBatch" | "cancelPayoutBatch" | "submitPayoutBatch" => "PayoutBatchStatusInput".to_owned(),
        "archiveCap" => "CapStatusInput".to_owned(),
        "archiveGoal" => "GoalStatusInput".to_owned(),
        "archiveCommissionRule" => "CommissionRuleStatusInput".to_owned(),
        "refreshSession" | "logout" => "RefreshTokenInput".to_owned(),
        "disableUser" | "enableUser" => "UserStatusInput".to_owned(),
        _ => format!("{}{}Input", name[..1].to_uppercase(), &name[1..]),
    };
    format!(
        "mutation($input: {input}!) {{ result: {name}(input: $input) {{ {selection} \
         userErrors {{ code field message }} }} }}"
    )
}
