//! Campaigns: what their settings may be and how their status moves.

use serde::Serialize;
use tributary_entity::{
    campaign,
    kinds::{ApprovalMode, AttributionModel, CampaignStatus, TouchSource},
    money::Currency,
};

use super::{
    attribution, link,
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
        keep(&mut self.destination_url, link::destination(&["destinationUrl"], &url));
        problems.extend(window("attributionWindowSeconds", self.attribution_window_secs));
        problems.extend(half_life("attributionHalfLifeSeconds", self.attribution_half_life_secs));
        problems.extend(minimum("attributionMinimumSeconds", self.attribution_min_secs));
        problems.extend(sources(&self.attribution_sources));
        problems.extend(click_wait(self.click_wait_secs));
        problems.extend(hold(self.hold_secs));
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
            match link::destination(&["destinationUrl"], url) {
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
