//! The parameters of a GraphQL request, of the types that the specification gives them: from a body, from an address,
//! from a message on a socket.

use async_graphql::{Extensions, Request, Variables};
use axum::{
    extract::Query,
    http::{StatusCode, Uri},
};
use serde::{Deserialize, de::DeserializeOwned};

use super::errors::Rejection;

/// A request as JSON has it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Parameters {
    query: Option<String>,
    operation_name: Option<String>,
    /// An object or null.
    #[serde(default)]
    variables: Variables,
    extensions: Option<Extensions>,
}

impl Parameters {
    /// Reads the one request of a body.
    pub fn of_body(body: &[u8]) -> Result<Self, Rejection> {
        match body.trim_ascii_start().first() {
            Some(b'[') => Err(Rejection::new(
                StatusCode::BAD_REQUEST,
                "BATCH_NOT_SUPPORTED",
                "one request at a time: send them beside each other on one connection",
            )),
            _ => object(body).map_err(|why| Rejection::bad_request(format!("not a GraphQL request: {why}"))),
        }
    }

    /// Reads the parameters of an address; those that are objects are JSON.
    pub fn of_uri(uri: &Uri) -> Result<Self, Rejection> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Encoded {
            query: Option<String>,
            operation_name: Option<String>,
            variables: Option<String>,
            extensions: Option<String>,
        }
        fn json<T: DeserializeOwned + Default>(name: &str, text: Option<String>) -> Result<T, Rejection> {
            let parsed = text.filter(|text| !text.is_empty()).map(|text| serde_json::from_str::<Option<T>>(&text));
            let parsed = parsed.transpose().map_err(|why| Rejection::bad_request(format!("`{name}`: {why}")))?;
            Ok(parsed.flatten().unwrap_or_default())
        }
        let Query(encoded) =
            Query::<Encoded>::try_from_uri(uri).map_err(|why| Rejection::bad_request(why.body_text()))?;
        Ok(Self {
            query: encoded.query,
            operation_name: encoded.operation_name.filter(|name| !name.is_empty()),
            variables: json("variables", encoded.variables)?,
            extensions: json("extensions", encoded.extensions)?,
        })
    }

    /// The request; a reason when it asks for nothing. A document that is known already may be named in `extensions`
    /// instead.
    pub fn into_request(self) -> Result<Request, &'static str> {
        let extensions = self.extensions.unwrap_or_default();
        let query = match self.query {
            Some(query) if !query.is_empty() => query,
            _ if extensions.contains_key("persistedQuery") => String::new(),
            _ => return Err("the parameter `query` is needed"),
        };
        let mut request = Request::new(query).variables(self.variables);
        request.operation_name = self.operation_name;
        request.extensions = extensions;
        Ok(request)
    }
}

/// Reads a JSON object. Not an array: serde would take one for a struct's members in order.
pub(super) fn object<'de, T: Deserialize<'de>>(json: &'de [u8]) -> Result<T, String> {
    if json.trim_ascii_start().first() != Some(&b'{') {
        return Err("a JSON object is needed".to_owned());
    }
    serde_json::from_slice(json).map_err(|error| error.to_string())
}
