//! Redirects: a visitor comes by a tracking link, is taken note of, and goes on.
//!
//! [`cache`] knows the links, kept true by [`following`]; [`crate::domain::redirect`] decides where a click leads; the
//! lanes record it ([`clicks::track`]).
//!
//! # Decisions
//! - The click is durable before the visitor is sent on. Should that fail altogether, she is sent on all the same: she
//!   came to buy. The click is logged and counted as untracked.
//! - Who is no visitor (HEAD, prefetching, programs) is led where a visitor is, and recorded as an invalid click without
//!   a visitor: never unique, never a touch, no cookie.

mod cache;
mod following;

use std::net::IpAddr;

use tributary_entity::{
    event,
    ids::{ClickId, TenantId},
    kinds::ClickInvalidReason,
};

pub use cache::Key;

use self::cache::Routes;
use super::{Services, clicks, feed::Feeds, visitors::Sender};
use crate::{
    ambient,
    domain::{
        click::NewClick,
        click_query::ClickQuery,
        cookie::{Token, VisitorKey},
        redirect::{DeepLink, Route, Way},
        tenancy::TenantScope,
    },
    store::database::Db,
};

/// The name of the visitor's cookie.
pub use crate::domain::cookie::NAME as COOKIE;

/// What redirects stand on; cheap to clone.
#[derive(Clone)]
pub struct Redirects {
    routes: Routes,
    visitors: VisitorKey,
}

/// What leads to a link, as an address says it.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    Code(&'a str),
    /// Campaign and affiliate stand in the query.
    Query,
}

/// Why a request is not a visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ahead {
    /// By HEAD.
    Head,
    /// By a browser that fetches what may be asked for next.
    Prefetch,
}

/// A request for a redirect.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    pub target: Target<'a>,
    /// Behind the `?`.
    pub query: &'a str,
    pub address: IpAddr,
    pub user_agent: Option<&'a str>,
    pub referrer: Option<&'a str>,
    /// The value of [`COOKIE`].
    pub cookie: Option<&'a [u8]>,
    /// Whether the visitor came by https.
    pub secure: bool,
    pub ahead: Option<Ahead>,
}

/// Where a request is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Departure {
    To {
        location: String,
        /// For a visitor without one.
        set_cookie: Option<String>,
        is_fallback: bool,
        /// Whether a deep link was asked for that the campaign does not allow.
        deep_link_refused: bool,
    },
    /// The link leads nowhere for this visitor, now.
    Closed,
    /// There is no such link.
    Unknown,
    /// The link is not known here, and the database cannot be asked.
    Unavailable,
}

impl Redirects {
    pub fn new(db: Db, feeds: Feeds, secret: &str, entries: u64) -> Self {
        Self { routes: Routes::new(db, feeds, entries), visitors: VisitorKey::new(secret) }
    }

    /// Takes note of what was just committed on this node: whoever changed a link sees it hold at once, here.
    pub fn heed(&self, tenant_id: TenantId, events: &[event::Model]) {
        self.routes.heed(tenant_id, events);
    }
}

/// Sends a visitor on, and records the click.
pub async fn follow(services: &Services, arrival: &Arrival<'_>) -> Departure {
    let query = ClickQuery::read(arrival.query);
    let key = match arrival.target {
        Target::Code(code) => Key::code(code),
        Target::Query => query.campaign_id.zip(query.affiliate_id).map(|(campaign, by)| Key::Pair(campaign, by)),
    };
    let Some(key) = key else { return Departure::Unknown };
    let known = match services.redirects.routes.get(key).await {
        Ok(Some(known)) => known,
        Ok(None) => return Departure::Unknown,
        Err(error) => {
            // Its metric counts these; in an outage they are as many as visitors.
            tracing::debug!(%error, "a link cannot be read");
            return Departure::Unavailable;
        }
    };
    match &known.route {
        Some(route) => send_on(services, &known.scope, route, query, arrival).await,
        None => Departure::Closed,
    }
}

async fn send_on(
    services: &Services,
    scope: &TenantScope,
    route: &Route,
    query: ClickQuery,
    arrival: &Arrival<'_>,
) -> Departure {
    let sender = Sender { address: arrival.address, user_agent: arrival.user_agent, referrer: arrival.referrer };
    let visitor = services.visitors.describe(scope, &sender);
    let machine = match arrival.ahead {
        Some(Ahead::Head) => Some(ClickInvalidReason::Head),
        Some(Ahead::Prefetch) => Some(ClickInvalidReason::Prefetch),
        None => visitor.is_crawler.then_some(ClickInvalidReason::Bot),
    };
    let facts = route.facts;
    // Without another place to go visitors go on, and what they do is recorded as over the cap.
    let over_cap = || {
        let is_over = route.has_fallback() && services.caps.is_exhausted(scope, facts.campaign_id, facts.affiliate_id);
        is_over.then_some(ClickInvalidReason::OverCap)
    };
    let refusal = route.refusal(&visitor.visit).or_else(over_cap);
    let id = ClickId::from_uuid(ambient::new_uuid());
    let way = route.way(id, &query, &visitor.visit, refusal.is_none());
    let (visitor_id, set_cookie) = match machine {
        Some(_) => (None, None),
        None => mark(&services.redirects, scope, arrival),
    };
    let click = NewClick {
        id: Some(id),
        link_id: facts.link_id,
        facts: Some(facts),
        occurred_at: Some(services.now()),
        visitor_id,
        is_new_visitor: set_cookie.is_some(),
        source: query.source,
        labels: query.labels,
        visit: visitor.visit,
        invalid_reason: machine.or(refusal),
    };
    if let Err(error) = clicks::track(services, scope, click).await {
        metrics::counter!("tributary_redirects_untracked_total").increment(1);
        tracing::error!(%error, tenant.id = %scope.tenant_id(), click.id = %id, link.id = %facts.link_id, "a click is lost");
    }
    match way {
        Way::Destination { location, deep_link } => Departure::To {
            location,
            set_cookie,
            is_fallback: false,
            deep_link_refused: deep_link == DeepLink::Refused,
        },
        Way::Fallback(location) => Departure::To { location, set_cookie, is_fallback: true, deep_link_refused: false },
        Way::Nowhere => Departure::Closed,
    }
}

/// The tenant's id for a visitor, and the cookie for one who brought none.
fn mark(redirects: &Redirects, scope: &TenantScope, arrival: &Arrival<'_>) -> (Option<String>, Option<String>) {
    match arrival.cookie.and_then(Token::parse) {
        Some(token) => (Some(redirects.visitors.visitor_id(scope, &token)), None),
        None => {
            let token = Token::new(ambient::random_bytes());
            (Some(redirects.visitors.visitor_id(scope, &token)), Some(token.set_cookie(arrival.secure)))
        }
    }
}

impl Departure {
    /// As metrics name it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::To { is_fallback: true, .. } => "fallback",
            Self::To { deep_link_refused: true, .. } => "deep_link_refused",
            Self::To { .. } => "destination",
            Self::Closed => "closed",
            Self::Unknown => "unknown",
            Self::Unavailable => "unavailable",
        }
    }
}
