//! Requests that name their document by its hash: automatic persisted queries, and trusted documents.
//!
//! Both come in `extensions.persistedQuery.sha256Hash`, so that they work the same over every transport. Apollo's
//! protocol: a hash alone asks for what was kept, a hash with the text keeps it, once the guard has let it pass.

use async_graphql::{Request, ServerError, Value};

use super::{error::refused, execution::Caller};
use crate::{
    auth::Actor,
    services::documents::{DocumentHash, Documents},
};

/// A document to keep when it has passed.
pub(super) struct ToKeep(DocumentHash);

/// Puts the text of a request's document into it.
///
/// # Errors
/// `PERSISTED_QUERY_NOT_FOUND`, `DOCUMENT_NOT_TRUSTED`, or `BAD_REQUEST` where hash and text do not agree or neither is
/// there.
pub(super) async fn resolve(
    documents: &Documents,
    caller: &Caller,
    request: &mut Request,
) -> Result<Option<ToKeep>, ServerError> {
    let named = hash_in(request)?;
    if documents.trusts_some_only() && !is_operator(caller) {
        let by_text = || documents.trusted(DocumentHash::of(&request.query).as_str());
        let text = named.and_then(|id| documents.trusted(&id)).or_else(by_text);
        let untrusted = || refused("DOCUMENT_NOT_TRUSTED", "only documents on the operator's list are executed here");
        request.query = text.ok_or_else(untrusted)?.as_ref().to_owned();
        return Ok(None);
    }
    let Some(named) = named else {
        return if request.query.is_empty() {
            Err(refused("BAD_REQUEST", "the member `query` is needed"))
        } else {
            Ok(None)
        };
    };
    if request.query.is_empty()
        && let Some(text) = documents.trusted(&named)
    {
        request.query = text.as_ref().to_owned();
        return Ok(None);
    }
    let hash = DocumentHash::parse(&named).ok_or_else(|| refused("BAD_REQUEST", "`sha256Hash` is no SHA-256 hash"))?;
    if request.query.is_empty() {
        let tenant = caller.viewer.as_ref().map(|viewer| viewer.scope.tenant_id());
        let text = documents.find(tenant, &hash).await;
        // Apollo's clients know this message, too.
        let missing = || refused("PERSISTED_QUERY_NOT_FOUND", "PersistedQueryNotFound");
        request.query = text.ok_or_else(missing)?.as_ref().to_owned();
        Ok(None)
    } else if DocumentHash::of(&request.query) == hash {
        Ok(Some(ToKeep(hash)))
    } else {
        Err(refused("BAD_REQUEST", "the provided sha does not match the query"))
    }
}

/// Keeps a document that has passed.
pub(super) async fn keep(documents: &Documents, caller: &Caller, document: Option<ToKeep>, text: &str) {
    if let Some(ToKeep(hash)) = document {
        documents.keep(caller.viewer.as_ref().map(|viewer| viewer.scope.tenant_id()), hash, text).await;
    }
}

/// Whoever holds the signing secret is trusted with any document.
pub(super) fn is_operator(caller: &Caller) -> bool {
    caller.viewer.as_ref().is_some_and(|viewer| viewer.actor == Actor::Operator)
}

/// What the request names its document by.
fn hash_in(request: &Request) -> Result<Option<String>, ServerError> {
    let Some(persisted) = request.extensions.get("persistedQuery") else { return Ok(None) };
    let malformed = || refused("BAD_REQUEST", "`persistedQuery` has `version: 1` and a `sha256Hash`");
    let Value::Object(persisted) = persisted else { return Err(malformed()) };
    let is_known = persisted.get("version").is_none_or(|version| *version == Value::from(1));
    match persisted.get("sha256Hash") {
        Some(Value::String(hash)) if is_known => Ok(Some(hash.clone())),
        _ => Err(malformed()),
    }
}
