//! Campaigns: what their settings may be and how their status moves.

use serde::{Serialize, de::DeserializeOwned};
use tributary_entity::{
    campaign,
    kinds::{ApprovalMode, AttributionModel, CampaignStatus, Device, TouchSource},
    money::Currency,
};

use super::{
    attribution,
    change::Change,
    countries, destination,
    problem::{Problem, ProblemCode},
    text, transition,
};

/// 30 days.
pub const DEFAULT_WINDOW_SECS: i64 = 30 * 86_400;
/// 7 days.
pub const DEFAULT_HALF_LIFE_SECS: i64 = 7 * 86_400;
/// A year.
pub const WINDOW_MAX_SECS: i64 = 366 * 86_400;
/// A year: the slowest decay.
pub const HALF_LIFE_MAX_SECS: i64 = 366 * 86_400;
/// 30 days.
pub const CLICK_WAIT_MAX_SECS: i64 = 30 * 86_400;
/// A year.
pub const HOLD_MAX_SECS: i64 = 366 * 86_400;
/// 30 days: the return period of most shops.
pub const DEFAULT_HOLD_SECS: i64 = 30 * 86_400;

/// A new campaign as a caller describes it.
#[derive(Clone, Debug, Serialize)]
pub struct NewCampaign {
    pub name: String,
    pub currency: Currency,
    pub destination_url: String,
    pub attribution_model: AttributionModel,
    pub attribution_window_secs: i64,
    pub attribution_half_life_secs: i64,
    pub attribution_min_secs: i64,
    pub attribution_sources: Vec<TouchSource>,
    pub click_wait_secs: i64,
    pub approval: ApprovalMode,
    pub hold_secs: i64,
    pub is_public: bool,
    pub redirects: Redirects,
}

/// Whom a campaign's links take, and where they lead those whom they do not; an absent list takes all, or allows nothing.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Redirects {
    pub deep_link_hosts: Option<Vec<String>>,
    pub fallback_url: Option<String>,
    pub countries: Option<Vec<String>>,
    pub devices: Option<Vec<Device>>,
}

/// Changes to a campaign; none leaves a setting as it is.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CampaignChange {
    pub name: Option<String>,
    pub destination_url: Option<String>,
    pub attribution_model: Option<AttributionModel>,
    pub attribution_window_secs: Option<i64>,
    pub attribution_half_life_secs: Option<i64>,
    pub attribution_min_secs: Option<i64>,
    pub attribution_sources: Option<Vec<TouchSource>>,
    pub click_wait_secs: Option<i64>,
    pub approval: Option<ApprovalMode>,
    pub hold_secs: Option<i64>,
    pub is_public: Option<bool>,
    pub redirects: RedirectsChange,
}

/// Changes to whom a campaign's links take.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RedirectsChange {
    pub deep_link_hosts: Change<Vec<String>>,
    pub fallback_url: Change<String>,
    pub countries: Change<Vec<String>>,
    pub devices: Change<Vec<Device>>,
}

/// Which campaigns a list holds.
#[derive(Clone, Debug, Default)]
pub struct CampaignFilter {
    pub statuses: Option<Vec<CampaignStatus>>,
    /// Part of the name, in any case.
    pub name_contains: Option<String>,
}

impl NewCampaign {
    /// Checks every field.
    ///
    /// # Errors
    /// All problems at once.
    pub fn check(mut self) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut keep = |slot: &mut String, checked: Result<String, Problem>| match checked {
            Ok(text) => *slot = text,
            Err(problem) => problems.push(problem),
        };
        let (name, url) = (self.name.clone(), self.destination_url.clone());
        keep(&mut self.name, text::required(&["name"], &name, text::NAME_MAX));
        keep(&mut self.destination_url, destination::check(&["destinationUrl"], &url));
        problems.extend(window("attributionWindowSeconds", self.attribution_window_secs));
        problems.extend(half_life("attributionHalfLifeSeconds", self.attribution_half_life_secs));
        problems.extend(minimum("attributionMinimumSeconds", self.attribution_min_secs));
        problems.extend(sources(&self.attribution_sources));
        problems.extend(click_wait(self.click_wait_secs));
        problems.extend(hold(self.hold_secs));
        match self.redirects.check() {
            Ok(redirects) => self.redirects = redirects,
            Err(more) => problems.extend(more),
        }
        if problems.is_empty() { Ok(self) } else { Err(problems) }
    }
}

impl CampaignChange {
    /// The campaign with the changes applied.
    ///
    /// # Errors
    /// All problems at once.
    pub fn apply(&self, mut campaign: campaign::Model) -> Result<campaign::Model, Vec<Problem>> {
        let mut problems = Vec::new();
        if let Some(name) = &self.name {
            match text::required(&["name"], name, text::NAME_MAX) {
                Ok(name) => campaign.name = name,
                Err(problem) => problems.push(problem),
            }
        }
        if let Some(url) = &self.destination_url {
            match destination::check(&["destinationUrl"], url) {
                Ok(url) => campaign.destination_url = url,
                Err(problem) => problems.push(problem),
            }
        }
        problems.extend(self.apply_attribution(&mut campaign));
        if let Some(secs) = self.hold_secs {
            problems.extend(hold(secs));
            campaign.hold_secs = secs;
        }
        campaign.approval = self.approval.unwrap_or(campaign.approval);
        campaign.is_public = self.is_public.unwrap_or(campaign.is_public);
        problems.extend(self.redirects.apply(&mut campaign));
        if problems.is_empty() { Ok(campaign) } else { Err(problems) }
    }

    fn apply_attribution(&self, campaign: &mut campaign::Model) -> Vec<Problem> {
        let mut problems = Vec::new();
        campaign.attribution_model = self.attribution_model.unwrap_or(campaign.attribution_model);
        if let Some(secs) = self.attribution_window_secs {
            problems.extend(window("attributionWindowSeconds", secs));
            campaign.attribution_window_secs = secs;
        }
        if let Some(secs) = self.attribution_half_life_secs {
            problems.extend(half_life("attributionHalfLifeSeconds", secs));
            campaign.attribution_half_life_secs = secs;
        }
        if let Some(secs) = self.attribution_min_secs {
            problems.extend(minimum("attributionMinimumSeconds", secs));
            campaign.attribution_min_secs = secs;
        }
        if let Some(list) = &self.attribution_sources {
            problems.extend(sources(list));
            campaign.attribution_sources = attribution::sources_text(list);
        }
        if let Some(secs) = self.click_wait_secs {
            problems.extend(click_wait(secs));
            campaign.click_wait_secs = secs;
        }
        problems
    }
}

/// A window of attribution, also one that is only tried.
pub(super) fn window(field: &str, secs: i64) -> Option<Problem> {
    range(field, secs, 1, WINDOW_MAX_SECS)
}

/// A half-life, also one that is only tried.
pub(super) fn half_life(field: &str, secs: i64) -> Option<Problem> {
    range(field, secs, 1, HALF_LIFE_MAX_SECS)
}

/// A minimum time, also one that is only tried.
pub(super) fn minimum(field: &str, secs: i64) -> Option<Problem> {
    range(field, secs, 0, WINDOW_MAX_SECS)
}

fn click_wait(secs: i64) -> Option<Problem> {
    range("clickWaitSeconds", secs, 0, CLICK_WAIT_MAX_SECS)
}

fn sources(list: &[TouchSource]) -> Option<Problem> {
    const FIELD: &str = "attributionSources";
    if list.is_empty() {
        return Some(Problem::new(ProblemCode::Required, &[FIELD], "name at least one"));
    }
    let is_repeated = (1..list.len()).any(|end| list[..end].contains(&list[end]));
    is_repeated.then(|| Problem::new(ProblemCode::AlreadyExists, &[FIELD], "name each once"))
}

impl Redirects {
    fn check(&self) -> Result<Self, Vec<Problem>> {
        let hosts = self.deep_link_hosts.as_deref().map(own_hosts).transpose();
        let url = self.fallback_url.as_deref().map(own_fallback).transpose();
        let countries = self.countries.as_deref().map(own_countries).transpose();
        match (hosts, url, countries) {
            (Ok(deep_link_hosts), Ok(fallback_url), Ok(countries)) => Ok(Self {
                deep_link_hosts: deep_link_hosts.flatten(),
                fallback_url: fallback_url.flatten(),
                countries: countries.flatten(),
                devices: self.devices.as_deref().and_then(own_devices),
            }),
            (hosts, url, countries) => Err(hosts.err().into_iter().chain(url.err()).chain(countries.err()).collect()),
        }
    }

    /// The columns `deep_link_hosts`, `countries` and `devices`.
    pub fn columns(&self) -> [Option<String>; 3] {
        [json(self.deep_link_hosts.as_ref()), json(self.countries.as_ref()), json(self.devices.as_ref())]
    }
}

impl RedirectsChange {
    fn apply(&self, campaign: &mut campaign::Model) -> Vec<Problem> {
        let hosts = self.deep_link_hosts.check(|hosts| own_hosts(hosts));
        let url = self.fallback_url.check(|url| own_fallback(url));
        let countries = self.countries.check(|countries| own_countries(countries));
        let devices = self.devices.check(|devices| Ok::<_, Problem>(own_devices(devices)));
        match (hosts, url, countries, devices) {
            (Ok(hosts), Ok(url), Ok(countries), Ok(devices)) => {
                hosts.map(|hosts| to_json(&hosts)).apply(&mut campaign.deep_link_hosts);
                url.apply(&mut campaign.fallback_url);
                countries.map(|countries| to_json(&countries)).apply(&mut campaign.countries);
                devices.map(|devices| to_json(&devices)).apply(&mut campaign.devices);
                Vec::new()
            }
            (hosts, url, countries, devices) => {
                let errors = hosts.err().into_iter().chain(url.err()).chain(countries.err()).chain(devices.err());
                errors.collect()
            }
        }
    }
}

// An empty list is no list: a campaign that takes nobody is paused.

fn own_hosts(hosts: &[String]) -> Result<Option<Vec<String>>, Problem> {
    let hosts = distinct(destination::hosts(&["deepLinkHosts"], hosts)?);
    Ok((!hosts.is_empty()).then_some(hosts))
}

fn own_fallback(url: &str) -> Result<Option<String>, Problem> {
    destination::check(&["fallbackUrl"], url).map(Some)
}

fn own_countries(countries: &[String]) -> Result<Option<Vec<String>>, Problem> {
    let known = countries.iter().map(|text| {
        countries::parse(text).map(str::to_owned).ok_or_else(|| {
            let message = format!("`{text}` is no country; write a code of ISO 3166-1, such as `DE`");
            Problem::new(ProblemCode::InvalidText, &["countries"], message)
        })
    });
    let known = distinct(known.collect::<Result<_, _>>()?);
    Ok((!known.is_empty()).then_some(known))
}

fn own_devices(devices: &[Device]) -> Option<Vec<Device>> {
    (!devices.is_empty()).then(|| distinct(devices.to_vec()))
}

/// In order, each once.
fn distinct<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort_unstable();
    list.dedup();
    list
}

fn json<T: Serialize>(list: Option<&T>) -> Option<String> {
    list.map(to_json)
}

fn to_json(list: &impl Serialize) -> String {
    serde_json::to_string(list).expect("a list of texts serializes")
}

/// Hosts that deep links may lead to; none allows none.
pub fn deep_link_hosts(campaign: &campaign::Model) -> Option<Vec<String>> {
    listed(campaign.deep_link_hosts.as_deref())
}

/// Countries that are taken; none means all.
pub fn countries(campaign: &campaign::Model) -> Option<Vec<String>> {
    listed(campaign.countries.as_deref())
}

/// Devices that are taken; none means all.
pub fn devices(campaign: &campaign::Model) -> Option<Vec<Device>> {
    listed(campaign.devices.as_deref())
}

/// A column that holds a list, as [`to_json`] wrote it.
fn listed<T: DeserializeOwned>(json: Option<&str>) -> Option<Vec<T>> {
    serde_json::from_str(json?).ok()
}

fn hold(secs: i64) -> Option<Problem> {
    range("holdSeconds", secs, 0, HOLD_MAX_SECS)
}

fn range(field: &str, value: i64, min: i64, max: i64) -> Option<Problem> {
    (!(min..=max).contains(&value))
        .then(|| Problem::new(ProblemCode::OutOfRange, &[field], format!("from {min} to {max}")))
}

/// The moves of a campaign's status; anything else is refused.
const TRANSITIONS: &[(CampaignStatus, CampaignStatus)] = &[
    (CampaignStatus::Draft, CampaignStatus::Active),
    (CampaignStatus::Paused, CampaignStatus::Active),
    (CampaignStatus::Active, CampaignStatus::Paused),
    (CampaignStatus::Draft, CampaignStatus::Archived),
    (CampaignStatus::Active, CampaignStatus::Archived),
    (CampaignStatus::Paused, CampaignStatus::Archived),
];

/// Moves a status.
///
/// # Errors
/// `INVALID_TRANSITION`.
pub fn transition(from: CampaignStatus, to: CampaignStatus) -> Result<CampaignStatus, Problem> {
    transition::step(TRANSITIONS, "a campaign", from, to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archived_is_final() {
        for to in CampaignStatus::ALL {
            assert!(transition(CampaignStatus::Archived, *to).is_err(), "{to}");
        }
        assert_eq!(transition(CampaignStatus::Draft, CampaignStatus::Active), Ok(CampaignStatus::Active));
        assert!(transition(CampaignStatus::Active, CampaignStatus::Active).is_err());
    }
}
