//! Identity providers: who else may issue access tokens, for which tenants, and what their claims mean here.
//!
//! # Decisions
//! - A provider speaks for the tenants that are listed, never for all: one tenant's provider must not make tokens of
//!   another. More than one tenant needs a claim that says which.
//! - Roles come from a table of the provider's own values. What is not in the table gives nothing.
//! - No algorithm with a shared secret can be named: with one, whoever can verify could also sign.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use reqwest::Url;
use serde::{Deserialize, Serialize};
use tributary_entity::kinds::Role;

/// A provider of OpenID Connect or of JWT access tokens.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityProvider {
    /// Short and never changed: it stands in audit columns before the subject.
    pub name: String,
    /// `iss` of its tokens, exactly.
    pub issuer: String,
    /// `aud` that its tokens must name, exactly.
    pub audience: String,
    /// Where its keys are; none: by discovery, below the issuer.
    #[serde(default)]
    pub jwks_url: Option<String>,
    /// What its tokens may be signed with.
    #[serde(default = "default_algorithms")]
    pub algorithms: Vec<SigningAlgorithm>,
    /// Slugs of the tenants that it may speak for.
    pub tenants: Vec<String>,
    /// The claim that holds the tenant's slug or id; none where there is one tenant.
    #[serde(default)]
    pub tenant_claim: Option<String>,
    /// The claim that holds one of the values of `roles`, or a list of them. A name, or a JSON pointer
    /// (`/realm_access/roles`).
    pub roles_claim: String,
    /// Our role for each of the provider's values.
    pub roles: BTreeMap<String, Role>,
    /// The claim that holds the affiliate's id, for the role AFFILIATE.
    #[serde(default)]
    pub affiliate_claim: Option<String>,
    /// Claims that must have exactly these values.
    #[serde(default)]
    pub required_claims: BTreeMap<String, serde_json::Value>,
}

/// Signatures that a key set verifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
pub enum SigningAlgorithm {
    #[serde(rename = "RS256")]
    Rs256,
    #[serde(rename = "PS256")]
    Ps256,
    #[serde(rename = "ES256")]
    Es256,
    #[serde(rename = "ES384")]
    Es384,
    #[serde(rename = "EdDSA")]
    EdDsa,
}

fn default_algorithms() -> Vec<SigningAlgorithm> {
    vec![SigningAlgorithm::Rs256, SigningAlgorithm::Es256, SigningAlgorithm::EdDsa]
}

/// Refuses a list that cannot work, or that would open more than it says.
pub(super) fn validate(providers: &[IdentityProvider], own_issuer: &str, development: bool) -> Result<(), String> {
    let (mut names, mut issuers) = (BTreeSet::new(), BTreeSet::from([own_issuer]));
    for provider in providers {
        let name = &provider.name;
        provider.validate(development).map_err(|why| format!("`{name}`: {why}"))?;
        if !names.insert(name.as_str()) {
            return Err(format!("`{name}`: another provider has this name"));
        }
        if !issuers.insert(provider.issuer.as_str()) {
            return Err(format!("`{name}`: issuer: another provider, or TRIBUTARY_ISSUER, has this one"));
        }
    }
    Ok(())
}

impl IdentityProvider {
    fn validate(&self, development: bool) -> Result<(), String> {
        let plain = |text: &str, longest| {
            (1..=longest).contains(&text.len())
                && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        };
        let require = |holds: bool, why: &str| if holds { Ok(()) } else { Err(why.to_owned()) };
        require(plain(&self.name, 32), "name: 1 to 32 lower-case letters, digits and hyphens")?;
        let url = "must be an https address (http only on loopback or in development)";
        require(may_fetch(&self.issuer, development), &format!("issuer: {url}"))?;
        let jwks = self.jwks_url.as_deref().is_none_or(|address| may_fetch(address, development));
        require(jwks, &format!("jwks_url: {url}"))?;
        require(!self.audience.is_empty(), "audience: must not be empty")?;
        require(!self.algorithms.is_empty(), "algorithms: name at least one")?;
        require(!self.tenants.is_empty(), "tenants: name at least one")?;
        require(self.tenants.iter().all(|slug| plain(slug, 40)), "tenants: slugs of tenants")?;
        require(
            self.tenants.len() == 1 || self.tenant_claim.is_some(),
            "tenant_claim: needed where there is more than one tenant",
        )?;
        require(!self.roles.is_empty(), "roles: map at least one value")?;
        require(
            self.roles.values().any(|role| *role == Role::Affiliate) == self.affiliate_claim.is_some(),
            "affiliate_claim: goes with a value in roles that means AFFILIATE",
        )?;
        let mut claims = [&self.tenant_claim, &self.affiliate_claim].into_iter().flatten().chain([&self.roles_claim]);
        require(claims.all(|claim| !claim.is_empty()), "names of claims must not be empty")
    }
}

/// Whether keys may be fetched from an address: by https; by http only from this machine, or in development.
pub fn may_fetch(address: &str, development: bool) -> bool {
    let Ok(url) = Url::parse(address) else {
        return false;
    };
    let is_loopback = url.host_str().is_some_and(|host| {
        let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
    });
    match url.scheme() {
        "https" => url.has_host(),
        "http" => is_loopback || development,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provider() -> IdentityProvider {
        IdentityProvider {
            name: "okta".to_owned(),
            issuer: "https://id.example".to_owned(),
            audience: "tributary".to_owned(),
            jwks_url: None,
            algorithms: default_algorithms(),
            tenants: vec!["acme".to_owned()],
            tenant_claim: None,
            roles_claim: "groups".to_owned(),
            roles: BTreeMap::from([("admins".to_owned(), Role::Admin)]),
            affiliate_claim: None,
            required_claims: BTreeMap::new(),
        }
    }

    fn refusal(provider: IdentityProvider) -> String {
        validate(&[provider], "tributary", false).expect_err("refused")
    }

    #[test]
    fn plain_provider_is_taken() {
        assert_eq!(validate(&[provider()], "tributary", false), Ok(()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let text = |text: &str| text.to_owned();
        for (wrong, word) in [
            (IdentityProvider { name: text("Okta"), ..provider() }, "name"),
            (IdentityProvider { issuer: text("id.example"), ..provider() }, "issuer"),
            (IdentityProvider { issuer: text("http://id.example"), ..provider() }, "issuer"),
            (IdentityProvider { jwks_url: Some(text("file:///etc/keys")), ..provider() }, "jwks_url"),
            (IdentityProvider { audience: text(""), ..provider() }, "audience"),
            (IdentityProvider { algorithms: vec![], ..provider() }, "algorithms"),
            (IdentityProvider { tenants: vec![], ..provider() }, "tenants"),
            (IdentityProvider { tenants: vec![text("*")], ..provider() }, "tenants"),
            (IdentityProvider { tenants: vec![text("a"), text("b")], ..provider() }, "tenant_claim"),
            (IdentityProvider { roles: BTreeMap::new(), ..provider() }, "roles"),
            (IdentityProvider { affiliate_claim: Some(text("aff")), ..provider() }, "affiliate_claim"),
            (IdentityProvider { roles: [(text("x"), Role::Affiliate)].into(), ..provider() }, "affiliate_claim"),
        ] {
            let why = refusal(wrong);
            assert!(why.contains(&format!(": {word}: ")), "{why}");
        }
    }

    #[test]
    fn names_and_issuers_are_each_somebodys_own() {
        let other = IdentityProvider { name: "other".to_owned(), ..provider() };
        assert!(validate(&[provider(), other], "tributary", false).is_err());
        let twin = IdentityProvider { issuer: "https://other.example".to_owned(), ..provider() };
        assert!(validate(&[provider(), twin], "tributary", false).is_err());
        assert!(validate(&[provider()], "https://id.example", false).is_err(), "our own");
    }

    #[test]
    fn shared_secrets_cannot_be_named() {
        for algorithm in ["HS256", "none", "RS1"] {
            assert!(serde_json::from_str::<SigningAlgorithm>(&format!("\"{algorithm}\"")).is_err(), "{algorithm}");
        }
    }

    #[test]
    fn plain_http_is_for_this_machine_and_for_development() {
        for address in ["http://127.0.0.1:1/keys", "http://[::1]/keys", "http://localhost/keys", "https://id.example"] {
            assert!(may_fetch(address, false), "{address}");
        }
        for address in ["http://id.example", "http://127.0.0.1.example", "http://10.0.0.1", "ftp://localhost", ""] {
            assert!(!may_fetch(address, false), "{address}");
        }
        assert!(may_fetch("http://id.example", true) && !may_fetch("ftp://id.example", true));
    }
}
