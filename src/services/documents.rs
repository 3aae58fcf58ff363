//! Documents by their hash: those that clients had kept for them (automatic persisted queries), and those that the
//! operator trusts.
//!
//! # Decisions
//! - What a tenant's clients keep only they find: the tenant's id is in the key. Callers without a credential share a
//!   small space of their own, in which they can crowd out only each other.
//! - The cache is bounded by bytes, of all tenants together. Redis, where there is one, keeps a day's; without an answer
//!   of Redis a document is not found, and the client sends it again.

use std::{collections::HashMap, path::Path, sync::Arc};

use data_encoding::HEXLOWER;
use moka::sync::Cache;
use redis::AsyncCommands;
use sha2::{Digest, Sha256};
use tributary_entity::ids::TenantId;

use crate::redis_client::RedisClient;

/// What a node keeps of tenants' documents, and of all others'.
const CACHE_BYTES: u64 = 32 * 1024 * 1024;
const ANONYMOUS_CACHE_BYTES: u64 = 256 * 1024;
/// How long Redis keeps a document that is not used.
const SHARED_SECS: u64 = 86_400;

/// SHA-256 of a document, in lower-case hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DocumentHash(String);

impl DocumentHash {
    pub fn of(document: &str) -> Self {
        Self(HEXLOWER.encode(&Sha256::digest(document.as_bytes())))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// None for what is no hash.
    pub fn parse(text: &str) -> Option<Self> {
        let is_hash = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hash.then(|| Self(text.to_ascii_lowercase()))
    }
}

type Key = (Option<TenantId>, DocumentHash);

/// The documents of a node; cheap to clone.
#[derive(Clone)]
pub struct Documents {
    tenants: Cache<Key, Arc<str>>,
    anonymous: Cache<Key, Arc<str>>,
    shared: Option<Arc<RedisClient>>,
    trusted: Option<Arc<HashMap<String, Arc<str>>>>,
}

/// Why trusted documents cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    #[error("{0}")]
    File(#[from] std::io::Error),
    #[error("not a JSON object of hashes and documents: {0}")]
    Format(#[from] serde_json::Error),
}

impl Documents {
    /// With Redis and with trusted documents, where there are some.
    pub fn new(shared: Option<RedisClient>, trusted: Option<HashMap<String, Arc<str>>>) -> Self {
        let cache = |bytes| {
            let weight = |_: &Key, document: &Arc<str>| u32::try_from(document.len() + 256).unwrap_or(u32::MAX);
            Cache::builder().max_capacity(bytes).weigher(weight).build()
        };
        Self {
            tenants: cache(CACHE_BYTES),
            anonymous: cache(ANONYMOUS_CACHE_BYTES),
            shared: shared.map(Arc::new),
            trusted: trusted.map(Arc::new),
        }
    }

    /// Whether only trusted documents run.
    pub const fn trusts_some_only(&self) -> bool {
        self.trusted.is_some()
    }

    /// A trusted document by the name that the list has it under, whatever kind of hash that is.
    pub fn trusted(&self, id: &str) -> Option<Arc<str>> {
        self.trusted.as_ref()?.get(id).cloned()
    }

    /// What a tenant's clients had kept under a hash.
    pub async fn find(&self, tenant: Option<TenantId>, hash: &DocumentHash) -> Option<Arc<str>> {
        let key = (tenant, hash.clone());
        let cache = self.cache(tenant);
        if let Some(document) = cache.get(&key) {
            return Some(document);
        }
        let document: Option<String> = self
            .shared
            .as_ref()?
            .ask(async |connection| connection.get_ex(shared_key(&key), redis::Expiry::EX(SHARED_SECS)).await)
            .await?;
        // Whoever can write to Redis must not choose what a hash stands for.
        let document: Arc<str> = document.filter(|document| DocumentHash::of(document) == *hash)?.into();
        cache.insert(key, Arc::clone(&document));
        Some(document)
    }

    /// Keeps a document for a tenant's clients.
    pub async fn keep(&self, tenant: Option<TenantId>, hash: DocumentHash, document: &str) {
        let key = (tenant, hash);
        let cache = self.cache(tenant);
        if cache.contains_key(&key) {
            return;
        }
        if let Some(shared) = &self.shared {
            shared
                .ask(async |connection| connection.set_ex::<_, _, ()>(shared_key(&key), document, SHARED_SECS).await)
                .await;
        }
        cache.insert(key, document.into());
    }

    const fn cache(&self, tenant: Option<TenantId>) -> &Cache<Key, Arc<str>> {
        if tenant.is_some() { &self.tenants } else { &self.anonymous }
    }
}

fn shared_key((tenant, hash): &Key) -> String {
    match tenant {
        Some(tenant) => format!("tributary:document:{tenant}:{}", hash.0),
        None => format!("tributary:document:anonymous:{}", hash.0),
    }
}

/// Reads a list of trusted documents, as relay-compiler and graphql-codegen's client preset write it: one JSON object of
/// hashes and documents. Each is also found under the SHA-256 of its text.
///
/// # Errors
/// [`TrustError`].
pub fn read_trusted(path: &Path) -> Result<HashMap<String, Arc<str>>, TrustError> {
    let listed: HashMap<String, Arc<str>> = serde_json::from_slice(&std::fs::read(path)?)?;
    let by_text: Vec<_> =
        listed.values().map(|document| (DocumentHash::of(document).0, Arc::clone(document))).collect();
    Ok(listed.into_iter().chain(by_text).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn documents_are_their_tenant_s() {
        let documents = Documents::new(None, None);
        let hash = DocumentHash::of("{ a }");
        let (home, away) =
            (TenantId::from_uuid(uuid::Uuid::from_u128(1)), TenantId::from_uuid(uuid::Uuid::from_u128(2)));
        documents.keep(Some(home), hash.clone(), "{ a }").await;
        assert_eq!(documents.find(Some(home), &hash).await.as_deref(), Some("{ a }"));
        assert_eq!(documents.find(Some(away), &hash).await, None);
        assert_eq!(documents.find(None, &hash).await, None);
    }

    #[tokio::test]
    async fn cache_is_bounded_by_bytes() {
        let documents = Documents::new(None, None);
        for number in 0..100 {
            let document = format!("{{ a }} # {number} {}", "x".repeat(60_000));
            documents.keep(None, DocumentHash::of(&document), &document).await;
        }
        documents.anonymous.run_pending_tasks();
        assert!(documents.anonymous.weighted_size() <= ANONYMOUS_CACHE_BYTES);
        assert_eq!(documents.tenants.entry_count(), 0);
    }

    #[test]
    fn only_hashes_are_taken_for_hashes() {
        let hash = DocumentHash::of("{ a }");
        assert_eq!(DocumentHash::parse(&hash.0.to_uppercase()), Some(hash));
        for text in ["", "abc", &"g".repeat(64), &"a".repeat(65)] {
            assert_eq!(DocumentHash::parse(text), None, "{text}");
        }
    }
}
