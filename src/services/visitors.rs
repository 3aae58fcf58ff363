//! Visitors: what a request tells of who sent it, as far as it may be kept.

use std::net::IpAddr;

use crate::domain::{click::Visit, tenancy::TenantScope};

/// What a request says of its sender.
#[derive(Clone, Copy, Debug)]
pub struct Sender<'a> {
    pub address: IpAddr,
    pub user_agent: Option<&'a str>,
    pub referrer: Option<&'a str>,
}

/// Who came.
#[derive(Clone, Debug, Default)]
pub struct Visitor {
    pub visit: Visit,
    /// A program, not a person: it is redirected and not billed.
    pub is_crawler: bool,
}

/// Knows visitors by what they send; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Visitors;

impl Visitors {
    /// What may be kept of a tenant's visitor. Never waits for the database.
    pub fn describe(&self, _scope: &TenantScope, sender: &Sender<'_>) -> Visitor {
        let referrer_host = sender.referrer.and_then(|referrer| url::Url::parse(referrer).ok()).and_then(|url| {
            let host = url.host_str()?;
            (host.len() <= 255).then(|| host.to_ascii_lowercase())
        });
        Visitor { visit: Visit { referrer_host, ..Visit::default() }, is_crawler: false }
    }
}
