//! Visitors: what a request tells of who sent it, as far as it may be kept.
//!
//! The address goes in and does not come out: what is kept is its network, and a hash under a key that lives for a day.
//! The user agent is read and forgotten.
//!
//! # Decisions
//! - Nothing here waits: user agents and countries are in memory, keys of hashes are made ahead (`addresses`). What is
//!   not known at the moment is left out.

mod addresses;
mod agents;
mod countries;
mod crawlers;

use std::{net::IpAddr, path::Path, sync::Arc};

pub use countries::CountryError;

use self::{addresses::Keys, agents::Agents, countries::Countries};
use super::ServiceError;
use crate::{
    ambient::Clock,
    domain::{click::Visit, tenancy::TenantScope},
    store::database::Db,
};

/// What a request says of its sender.
#[derive(Clone, Copy)]
pub struct Sender<'a> {
    pub address: IpAddr,
    pub user_agent: Option<&'a str>,
    pub referrer: Option<&'a str>,
}

/// What a tenant tells of a visitor whom it has redirected itself: some of what a request says.
#[derive(Clone, Default)]
pub struct Told {
    pub address: Option<IpAddr>,
    pub user_agent: Option<String>,
    pub referrer: Option<String>,
}

impl Told {
    /// Whether nothing is told.
    pub const fn is_blank(&self) -> bool {
        self.address.is_none() && self.user_agent.is_none() && self.referrer.is_none()
    }
}

/// Who came.
#[derive(Clone, Debug, Default)]
pub struct Visitor {
    pub visit: Visit,
    /// A program, not a person: it is redirected and not billed.
    pub is_crawler: bool,
}

/// Knows visitors by what they send; cheap to clone.
#[derive(Clone)]
pub struct Visitors {
    agents: Arc<Agents>,
    countries: Arc<Countries>,
    keys: Keys,
}

impl Visitors {
    /// Reads the country database that is configured.
    ///
    /// # Errors
    /// [`CountryError`] when it cannot be used.
    pub fn open(db: Db, clock: Arc<dyn Clock>, country_database: Option<&Path>) -> Result<Self, CountryError> {
        let countries = Arc::new(Countries::open(country_database)?);
        Ok(Self { agents: Arc::default(), countries, keys: Keys::new(db, clock) })
    }

    /// What may be kept of a tenant's visitor. Never waits for the database.
    pub fn describe(&self, scope: &TenantScope, sender: &Sender<'_>) -> Visitor {
        // A request without a user agent is a program's.
        let user_agent = Some(sender.user_agent.unwrap_or_default());
        self.describe_parts(scope, Some(sender.address), user_agent, sender.referrer)
    }

    /// As [`Visitors::describe`], of what a tenant tells. What it does not tell is not known: no user agent is not an
    /// empty one.
    pub fn describe_told(&self, scope: &TenantScope, told: &Told) -> Visitor {
        self.describe_parts(scope, told.address, told.user_agent.as_deref(), told.referrer.as_deref())
    }

    fn describe_parts(
        &self,
        scope: &TenantScope,
        address: Option<IpAddr>,
        user_agent: Option<&str>,
        referrer: Option<&str>,
    ) -> Visitor {
        let agent = user_agent.map(|user_agent| self.agents.describe(user_agent)).unwrap_or_default();
        let address = address.map(|address| address.to_canonical());
        let visit = Visit {
            country: address.and_then(|address| self.countries.of(address)),
            device: agent.device,
            os: agent.os.clone(),
            browser: agent.browser.clone(),
            referrer_host: referrer.and_then(referrer_host),
            address_prefix: address.map(addresses::prefix),
            address_hash: address.and_then(|address| self.keys.hash(scope, address)),
        };
        Visitor { visit, is_crawler: agent.is_crawler }
    }

    /// Waits until a tenant's addresses can be hashed; for callers who have the time. Without it the first visitors of a
    /// tenant that is new to this node may have no hash.
    pub async fn prepare(&self, scope: &TenantScope) {
        self.keys.prepare(scope).await;
    }

    /// Makes the keys of today and tomorrow of these tenants, and learns them. What cannot be had is logged.
    pub async fn prepare_all(&self, scopes: &[TenantScope]) {
        self.keys.prepare_all(scopes).await;
    }

    /// Destroys a tenant's keys from before a day, UTC: their hashes tell nothing any more.
    ///
    /// # Errors
    /// As the database answers.
    pub async fn destroy_keys(&self, scope: &TenantScope, before: chrono::NaiveDate) -> Result<u64, ServiceError> {
        self.keys.destroy(scope, before).await
    }

    /// Reads the country database anew if its file has changed; one that cannot be used is told and leaves the old one
    /// in place. Answers how many were read: 0 or 1.
    pub fn reload_countries(&self) -> u64 {
        u64::from(self.countries.reload())
    }

    /// Compiles what user agents are read by: the first visitor need not wait for it. Takes some 40 ms of a core.
    pub fn warm_up(&self) {
        self.agents.describe("");
        self.agents.warm_up();
    }
}

/// The host of the page that a visitor came from; nothing of its path.
fn referrer_host(referrer: &str) -> Option<String> {
    let url = url::Url::parse(referrer).ok()?;
    let host = url.host_str().filter(|_| matches!(url.scheme(), "http" | "https"))?;
    (host.len() <= 255).then(|| host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn referrer_is_kept_by_its_host_alone() {
        for (referrer, host) in [
            ("https://Blog.Example/path?secret=1#x", Some("blog.example")),
            ("http://user:password@blog.example:8080/", Some("blog.example")),
            ("https://münchen.example/", Some("xn--mnchen-3ya.example")),
            ("android-app://com.example.app/", None),
            ("javascript:alert(1)", None),
            ("blog.example", None),
            ("", None),
        ] {
            assert_eq!(referrer_host(referrer).as_deref(), host, "{referrer}");
        }
        assert_eq!(referrer_host(&format!("https://{}.example/", "a".repeat(300))), None);
    }
}
