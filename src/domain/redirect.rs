//! Redirects: whom a campaign takes, and where a click leads.

use tributary_entity::{
    affiliate, campaign, enrollment,
    ids::ClickId,
    kinds::{ClickInvalidReason, Device},
    link,
};

use super::{
    campaign as settings,
    click::{self, LinkFacts, Visit},
    click_query::ClickQuery,
    destination::{self, Template, Values},
};

/// All that the redirect of a link needs to know.
#[derive(Clone, Debug)]
pub struct Route {
    pub facts: LinkFacts,
    /// None for one that cannot be read.
    destination: Option<Template>,
    fallback: Option<Template>,
    deep_link_hosts: Vec<String>,
    /// None takes all.
    countries: Option<Vec<String>>,
    /// None takes all.
    devices: Option<Vec<Device>>,
    /// Why nobody's click counts.
    closed: Option<ClickInvalidReason>,
}

/// Where a click leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the destination, or where the deep link wants it.
    Destination { location: String, deep_link: DeepLink },
    /// Where the campaign sends those whom it does not take.
    Fallback(String),
    /// There is nowhere to go.
    Nowhere,
}

/// What became of a deep link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeepLink {
    /// None was asked for.
    Absent,
    Followed,
    /// It leads where the campaign allows none to lead, and was ignored.
    Refused,
}

impl Route {
    /// The route of a link.
    pub fn new(
        link: &link::Model,
        campaign: &campaign::Model,
        affiliate: &affiliate::Model,
        enrollment: Option<&enrollment::Model>,
    ) -> Self {
        let destination = link.destination_url.as_ref().unwrap_or(&campaign.destination_url);
        Self {
            facts: LinkFacts::new(link, campaign),
            destination: Template::compile(destination),
            fallback: campaign.fallback_url.as_deref().and_then(Template::compile),
            deep_link_hosts: settings::deep_link_hosts(campaign).unwrap_or_default(),
            countries: settings::countries(campaign),
            devices: settings::devices(campaign),
            closed: click::invalid_reason(link, campaign, affiliate, enrollment),
        }
    }

    /// Why a visitor is not taken. What is not known of a visitor speaks against nobody: a country can only be told with
    /// a database of addresses, and never of all of them.
    pub fn refusal(&self, visit: &Visit) -> Option<ClickInvalidReason> {
        fn excludes<T: PartialEq>(taken: Option<&Vec<T>>, value: Option<&T>) -> bool {
            taken.is_some_and(|taken| value.is_some_and(|value| !taken.contains(value)))
        }
        if self.closed.is_some() {
            self.closed
        } else if excludes(self.countries.as_ref(), visit.country.as_ref()) {
            Some(ClickInvalidReason::CountryNotAllowed)
        } else if excludes(self.devices.as_ref(), visit.device.as_ref()) {
            Some(ClickInvalidReason::DeviceNotAllowed)
        } else {
            None
        }
    }

    /// Whether there is a place for those who are not taken.
    pub const fn has_fallback(&self) -> bool {
        self.fallback.is_some()
    }

    /// Where a click leads.
    pub fn way(&self, click_id: ClickId, query: &ClickQuery, visit: &Visit, is_taken: bool) -> Way {
        let values = Values {
            click_id,
            campaign_id: self.facts.campaign_id,
            affiliate_id: self.facts.affiliate_id,
            link_id: self.facts.link_id,
            source: query.source.as_deref(),
            labels: &query.labels,
            country: visit.country.as_deref(),
            device: visit.device,
        };
        let nowhere_or = |template: &Option<Template>, way: fn(String) -> Way| {
            template.as_ref().map_or(Way::Nowhere, |template| way(template.expand(&values)))
        };
        if !is_taken {
            return nowhere_or(&self.fallback, Way::Fallback);
        }
        let Some(to) = &query.to else {
            return nowhere_or(&self.destination, |location| Way::Destination {
                location,
                deep_link: DeepLink::Absent,
            });
        };
        match destination::deep_link(&self.deep_link_hosts, to, click_id) {
            Some(location) => Way::Destination { location, deep_link: DeepLink::Followed },
            None => {
                nowhere_or(&self.destination, |location| Way::Destination { location, deep_link: DeepLink::Refused })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use tributary_entity::ids::{AffiliateId, CampaignId, LinkId};

    use super::*;

    fn route() -> Route {
        Route {
            facts: LinkFacts {
                link_id: LinkId::default(),
                campaign_id: CampaignId::default(),
                affiliate_id: AffiliateId::default(),
                currency: "EUR".parse().expect("a currency"),
                window: TimeDelta::days(30),
            },
            destination: Template::compile("https://shop.example/?c={click_id}"),
            fallback: Template::compile("https://other.example/?c={click_id}"),
            deep_link_hosts: vec!["shop.example".to_owned()],
            countries: Some(vec!["DE".to_owned(), "AT".to_owned()]),
            devices: Some(vec![Device::Mobile]),
            closed: None,
        }
    }

    fn visit(country: Option<&str>, device: Option<Device>) -> Visit {
        Visit { country: country.map(str::to_owned), device, ..Visit::default() }
    }

    #[test]
    fn visitors_are_taken_by_country_and_device_where_those_are_known() {
        use ClickInvalidReason::{CountryNotAllowed, DeviceNotAllowed, LinkDisabled};
        for (country, device, expected) in [
            (Some("DE"), Some(Device::Mobile), None),
            (None, None, None),
            (Some("FR"), Some(Device::Mobile), Some(CountryNotAllowed)),
            (Some("AT"), Some(Device::Desktop), Some(DeviceNotAllowed)),
            (Some("FR"), Some(Device::Desktop), Some(CountryNotAllowed)),
            (None, Some(Device::Other), Some(DeviceNotAllowed)),
        ] {
            assert_eq!(route().refusal(&visit(country, device)), expected, "{country:?} {device:?}");
        }
        let closed = Route { closed: Some(LinkDisabled), ..route() };
        assert_eq!(closed.refusal(&visit(Some("FR"), None)), Some(LinkDisabled));
        let open = Route { countries: None, devices: None, ..route() };
        assert_eq!(open.refusal(&visit(Some("FR"), Some(Device::Other))), None);
    }

    #[test]
    fn ways_are_destination_deep_link_fallback_and_nowhere() {
        let id = ClickId::default();
        let way = |route: &Route, to: Option<&str>, taken| {
            let query = ClickQuery { to: to.map(str::to_owned), ..ClickQuery::default() };
            route.way(id, &query, &Visit::default(), taken)
        };
        let home = format!("https://shop.example/?c={id}");
        let to_home = |deep_link| Way::Destination { location: home.clone(), deep_link };
        let deep = Way::Destination {
            location: format!("https://shop.example/a?clickId={id}"),
            deep_link: DeepLink::Followed,
        };
        assert_eq!(way(&route(), None, true), to_home(DeepLink::Absent));
        assert_eq!(way(&route(), Some("https://shop.example/a"), true), deep);
        assert_eq!(way(&route(), Some("https://evil.example/"), true), to_home(DeepLink::Refused));
        let fallback = Way::Fallback(format!("https://other.example/?c={id}"));
        assert_eq!(way(&route(), Some("https://shop.example/a"), false), fallback);
        assert_eq!(way(&Route { fallback: None, ..route() }, None, false), Way::Nowhere);
        assert_eq!(way(&Route { destination: None, ..route() }, None, true), Way::Nowhere);
    }
}
