//! Clicks: what is taken in, and whether it counts.

use std::collections::BTreeMap;

use chrono::{Datelike, Months, NaiveTime, TimeDelta};
use serde::{Deserialize, Serialize};
use tributary_entity::{
    Instant, affiliate, campaign, enrollment,
    ids::{AffiliateId, CampaignId, ClickId, LinkId},
    kinds::{AffiliateStatus, CampaignStatus, ClickInvalidReason, Device, EnrollmentStatus, LinkStatus},
    link,
    money::Currency,
};
use uuid::Uuid;

use super::{instant, problem::Problem, text};

/// Labels by name, such as `sub1`.
pub type Labels = BTreeMap<String, String>;

/// What is known of the visitor and of where the click came from; nothing that names a person.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Visit {
    /// ISO 3166-1 alpha-2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<Device>,
    /// Family name, such as `Android`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub os: Option<String>,
    /// Family name, such as `Firefox`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub browser: Option<String>,
    /// The host of the page that held the link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub referrer_host: Option<String>,
    /// /24 or /48.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address_prefix: Option<String>,
    /// Keyed hash of the address, in hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address_hash: Option<String>,
}

impl Visit {
    fn is_blank(&self) -> bool {
        *self == Self::default()
    }
}

/// What a click takes from its link and the link's campaign: all that is to be known of them once it is decided whether it
/// counts.
#[derive(Clone, Copy, Debug)]
pub struct LinkFacts {
    pub link_id: LinkId,
    pub campaign_id: CampaignId,
    pub affiliate_id: AffiliateId,
    /// The campaign's.
    pub currency: Currency,
    /// For how long a visitor is the same one.
    pub window: TimeDelta,
}

impl LinkFacts {
    pub fn new(link: &link::Model, campaign: &campaign::Model) -> Self {
        Self {
            link_id: link.id,
            campaign_id: link.campaign_id,
            affiliate_id: link.affiliate_id,
            currency: campaign.currency,
            window: TimeDelta::seconds(campaign.attribution_window_secs),
        }
    }
}

/// A click as its sender describes it, checked; or as the redirect saw it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewClick {
    /// Given away already, by the redirect; none lets the lane choose one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<ClickId>,
    pub link_id: LinkId,
    /// By which the redirect has decided about it, so that the link is not read again. Not kept: who reads the click later
    /// reads the link as well.
    #[serde(skip)]
    pub facts: Option<LinkFacts>,
    /// None means now.
    pub occurred_at: Option<Instant>,
    pub visitor_id: Option<String>,
    /// The redirect has made the visitor's id for this click: there is no earlier one. Not kept: who reads it later looks.
    #[serde(skip)]
    pub is_new_visitor: bool,
    pub source: Option<String>,
    /// `sub1`..`sub10`.
    pub labels: Labels,
    #[serde(default, skip_serializing_if = "Visit::is_blank")]
    pub visit: Visit,
    /// Why the redirect knows already that it does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invalid_reason: Option<ClickInvalidReason>,
}

/// Which clicks a list holds.
#[derive(Clone, Debug, Default)]
pub struct ClickFilter {
    pub campaign_ids: Option<Vec<CampaignId>>,
    pub affiliate_ids: Option<Vec<AffiliateId>>,
    pub link_ids: Option<Vec<LinkId>>,
    pub occurred_from: Option<Instant>,
    pub occurred_before: Option<Instant>,
    /// Only valid, or only invalid, ones.
    pub valid: Option<bool>,
}

impl NewClick {
    /// Checks texts and time.
    ///
    /// # Errors
    /// The first problem.
    pub fn check(mut self, now: Instant) -> Result<Self, Problem> {
        self.occurred_at = instant::occurred_at(self.occurred_at, now)?;
        self.visitor_id = text::optional(&["visitorId"], self.visitor_id.as_deref(), text::REFERENCE_MAX)?;
        self.source = text::optional(&["source"], self.source.as_deref(), text::REFERENCE_MAX)?;
        self.labels = labels(self.labels)?;
        Ok(self)
    }
}

/// When the oldest month begins that is kept, with `months` before the current one.
pub fn kept_from(now: Instant, months: u32) -> Option<Instant> {
    let month = now.date_naive().with_day(1)?.checked_sub_months(Months::new(months))?;
    Some(month.and_time(NaiveTime::MIN).and_utc())
}

/// The first id of the oldest month that is kept, with `months` before the current one.
pub fn oldest_kept(now: Instant, months: u32) -> Option<ClickId> {
    let millis = kept_from(now, months)?.timestamp_millis();
    // A UUIDv7 begins with its time.
    Some(ClickId::from_uuid(Uuid::from_u128(u128::try_from(millis).ok()? << 80)))
}

/// Checks labels; empty ones are left out.
///
/// # Errors
/// `INVALID_TEXT` at the label.
pub fn labels(labels: Labels) -> Result<Labels, Problem> {
    labels
        .into_iter()
        .filter_map(|(name, value)| {
            let checked = text::optional(&["labels", &name], Some(&value), text::REFERENCE_MAX);
            checked.transpose().map(|value| value.map(|value| (name, value)))
        })
        .collect()
}

/// Labels as the database keeps them: JSON, or nothing.
pub fn labels_json(labels: &Labels) -> Option<String> {
    (!labels.is_empty()).then(|| serde_json::to_string(labels).expect("a map of strings serializes"))
}

/// Why a click does not count, if it does not.
pub fn invalid_reason(
    link: &link::Model,
    campaign: &campaign::Model,
    affiliate: &affiliate::Model,
    enrollment: Option<&enrollment::Model>,
) -> Option<ClickInvalidReason> {
    if link.status != LinkStatus::Active {
        Some(ClickInvalidReason::LinkDisabled)
    } else if campaign.status != CampaignStatus::Active {
        Some(ClickInvalidReason::CampaignNotActive)
    } else if affiliate.status != AffiliateStatus::Active {
        Some(ClickInvalidReason::AffiliateNotActive)
    } else if enrollment.is_none_or(|enrollment| enrollment.status != EnrollmentStatus::Approved) {
        Some(ClickInvalidReason::EnrollmentNotApproved)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    #[test]
    fn oldest_kept_click_begins_its_month() {
        let at = |text: &str| DateTime::parse_from_rfc3339(text).expect("a time").to_utc();
        for (now, months, oldest) in [
            ("2026-11-20T21:00:00Z", 1, "2026-10-01T00:00:00Z"),
            ("2026-03-31T23:59:59Z", 1, "2026-02-01T00:00:00Z"),
            ("2026-01-01T00:00:00Z", 25, "2023-12-01T00:00:00Z"),
        ] {
            let id = oldest_kept(at(now), months).expect("in range");
            assert_eq!(
                id.uuid().as_u128() >> 80,
                u128::try_from(at(oldest).timestamp_millis()).expect("later than 1970")
            );
        }
        assert_eq!(oldest_kept(at("1970-02-01T00:00:00Z"), 3), None);
    }
}
