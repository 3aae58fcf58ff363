//! A visitor who clicks: what a tracking link answers, not followed.

use std::time::{Duration, Instant};

use reqwest::{Method, header::HeaderMap, redirect::Policy};
use serde_json::{Value, json};
use url::Url;

use super::Client;

/// As a person's browser calls itself.
const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0";

/// Asks for tracking links of a node.
#[derive(Clone)]
pub struct Visitor {
    http: reqwest::Client,
    url: String,
}

/// A tracking link's answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Visitor {
    pub fn new(url: &str) -> Self {
        tributary::app::choose_tls();
        let http = reqwest::Client::builder().user_agent(BROWSER).redirect(Policy::none()).build();
        Self { http: http.expect("a client"), url: url.to_owned() }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[]).await
    }

    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(Method::GET, path, headers).await
    }

    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request).await.expect("an answer")
    }

    /// None when the connection breaks, or there is none to be had.
    pub async fn try_get(&self, path: &str) -> Option<Answer> {
        answer(self.http.get(format!("{}{path}", self.url))).await.ok()
    }

    /// Clicks until the answer is as wanted; how long that took.
    pub async fn until(&self, path: &str, within: Duration, wanted: impl Fn(&Answer) -> bool) -> Duration {
        let began = Instant::now();
        loop {
            let answer = self.get(path).await;
            if wanted(&answer) {
                return began.elapsed();
            }
            assert!(began.elapsed() < within, "not within {within:?}: {answer:?}");
        }
    }
}

async fn answer(request: reqwest::RequestBuilder) -> reqwest::Result<Answer> {
    let response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Ok(Answer { status, headers, text: response.text().await? })
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("ASCII"))
    }

    /// Where it leads.
    pub fn location(&self) -> Url {
        assert_eq!(self.status, 302, "{self:?}");
        self.header("location").expect("a location").parse().expect("an address")
    }

    /// A parameter of where it leads.
    pub fn parameter(&self, name: &str) -> String {
        let location = self.location();
        let found = location.query_pairs().find(|(found, _)| found == name);
        found.unwrap_or_else(|| panic!("{name} in {location}")).1.into_owned()
    }

    /// The click's id, where the template gives it no other place.
    pub fn click(&self) -> String {
        self.parameter("clickId")
    }

    /// The cookie as browsers send it back.
    pub fn cookie(&self) -> Option<&str> {
        self.header("set-cookie")?.split(';').next()
    }
}

/// The path of a link.
pub async fn path(client: &Client, link: &str) -> String {
    let answer = client.data("query($id: ID!) { link(id: $id) { code } }", json!({ "id": link })).await;
    format!("/c/{}", answer["link"]["code"].as_str().expect("a code"))
}

/// A click as the API tells of it.
pub async fn click(client: &Client, id: &str) -> Value {
    let selection = "isUnique invalidReason source visitorId occurredAt referrerHost labels { name value } \
        link { id } campaign { id } affiliate { id }";
    let mut answer =
        client.data(&format!("query($id: ID!) {{ click(id: $id) {{ {selection} }} }}"), json!({ "id": id })).await;
    answer["click"].take()
}
