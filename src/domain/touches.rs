//! How a conversion finds its touches: the sources of its campaign are asked in their order, and the first that has a
//! touch decides.
//!
//! # Decisions
//! - A click or coupon that is named and does not count is no touch: the next source is asked. Only when none has any is the
//!   conversion refused, for the reason of the first source that had something to say.
//! - Whether an affiliate may be credited is asked later: a click that a sender names is not exchanged for an earlier one
//!   because its affiliate was suspended.

use tributary_entity::{
    Instant, campaign, click, coupon,
    ids::{AffiliateId, CampaignId, ClickId},
    kinds::{AttributionModel, ConversionReason, TouchSource},
};

use super::attribution::{self, Means, Rules, TOUCHES_MAX, Touch};

/// What an input named: nothing, something that is not there, or this.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Named<T> {
    #[default]
    Nothing,
    Unknown,
    Known(T),
}

impl<T> Named<T> {
    /// The same, borrowed.
    pub const fn as_ref(&self) -> Named<&T> {
        match self {
            Self::Nothing => Named::Nothing,
            Self::Unknown => Named::Unknown,
            Self::Known(value) => Named::Known(value),
        }
    }

    /// What is there.
    pub fn known(self) -> Option<T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Nothing | Self::Unknown => None,
        }
    }
}

/// A valid click of a visitor's or customer's past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PastClick {
    pub id: ClickId,
    pub campaign_id: CampaignId,
    pub affiliate_id: AffiliateId,
    pub occurred_at: Instant,
}

impl PastClick {
    const fn touch(&self) -> Touch {
        Touch { means: Means::Click(self.id), affiliate_id: self.affiliate_id, occurred_at: self.occurred_at }
    }
}

/// What is known of a conversion's past in its campaign.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traces<'a> {
    pub click: Named<&'a click::Model>,
    /// An active coupon of the campaign.
    pub coupon: Named<&'a coupon::Model>,
    /// The valid clicks of visitor and customer in the campaign, the conversion's own named click among them or not.
    pub history: &'a [PastClick],
}

/// How strictly touches are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scrutiny {
    /// By all rules.
    Full,
    /// A person has taken the conversion up again: what can be credited is.
    Waived,
}

/// The touches that one source had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub source: TouchSource,
    /// Never empty.
    pub touches: Vec<Touch>,
    /// The touch that the sender named: it stands or falls with the conversion.
    pub named: Option<Means>,
}

impl Found {
    /// The last click among them.
    pub fn last_click(&self) -> Option<ClickId> {
        let clicks = self.touches.iter().filter_map(|touch| match touch.means {
            Means::Click(id) => Some((touch.occurred_at, id)),
            Means::Coupon(_) => None,
        });
        clicks.max().map(|(_, id)| id)
    }
}

/// The sources of a campaign, in their order.
pub fn sources(campaign: &campaign::Model) -> impl Iterator<Item = TouchSource> {
    // What another version wrote there is passed over.
    campaign.attribution_sources.split(',').filter_map(|source| source.trim().parse().ok())
}

/// Finds the touches of a conversion.
///
/// # Errors
/// Why there are none.
pub fn find(
    campaign: &campaign::Model,
    traces: &Traces<'_>,
    conversion_at: Instant,
    scrutiny: Scrutiny,
) -> Result<Found, ConversionReason> {
    let mut refusal = None;
    for source in sources(campaign) {
        let touches = match source {
            TouchSource::ClickId => by_click(campaign, traces, conversion_at, scrutiny),
            TouchSource::Coupon => by_coupon(traces, conversion_at),
            TouchSource::History => by_history(campaign, traces, conversion_at, scrutiny),
        };
        match touches {
            Ok(touches) if touches.is_empty() => {}
            Ok(touches) => {
                let named = (source != TouchSource::History).then(|| touches[0].means);
                return Ok(Found { source, touches, named });
            }
            Err(reason) => refusal = refusal.or(Some(reason)),
        }
    }
    Err(refusal.unwrap_or(ConversionReason::NoTouch))
}

/// Whether the visitor's and customer's past would change what is found without it.
pub fn needs_history(
    campaign: &campaign::Model,
    traces: &Traces<'_>,
    conversion_at: Instant,
    scrutiny: Scrutiny,
) -> bool {
    let alone = find(campaign, &Traces { history: &[], ..*traces }, conversion_at, scrutiny);
    let found = alone.map(|found| found.source).ok();
    let before = |source: &TouchSource| Some(*source) != found;
    // It joins a named click where several touches are credited; else it is asked before what was found, or after nothing.
    (found == Some(TouchSource::ClickId) && campaign.attribution_model != AttributionModel::LastClick)
        || sources(campaign).take_while(before).any(|source| source == TouchSource::History)
}

/// Why a conversion without a campaign has no touches.
pub const fn refusal_without_campaign(traces: &Traces<'_>) -> ConversionReason {
    match (traces.click, traces.coupon) {
        (Named::Unknown, _) => ConversionReason::UnknownClick,
        (_, Named::Unknown) => ConversionReason::UnknownCoupon,
        _ => ConversionReason::NoTouch,
    }
}

/// The named click, first; behind it, under models that credit several, the others of the past.
fn by_click(
    campaign: &campaign::Model,
    traces: &Traces<'_>,
    conversion_at: Instant,
    scrutiny: Scrutiny,
) -> Result<Vec<Touch>, ConversionReason> {
    let click = match traces.click {
        Named::Nothing => return Ok(Vec::new()),
        Named::Unknown => return Err(ConversionReason::UnknownClick),
        Named::Known(click) => click,
    };
    if click.invalid_reason.is_some() && scrutiny == Scrutiny::Full {
        return Err(ConversionReason::InvalidClick);
    }
    let named =
        Touch { means: Means::Click(click.id), affiliate_id: click.affiliate_id, occurred_at: click.occurred_at };
    if !counts(campaign, &named, conversion_at, scrutiny) {
        return Err(ConversionReason::OutsideWindow);
    }
    let mut touches = vec![named];
    if campaign.attribution_model != AttributionModel::LastClick {
        let past = past(campaign, traces, conversion_at, scrutiny);
        touches.extend(past.into_iter().filter(|touch| touch.means != named.means).take(TOUCHES_MAX - 1));
    }
    Ok(touches)
}

fn by_coupon(traces: &Traces<'_>, conversion_at: Instant) -> Result<Vec<Touch>, ConversionReason> {
    match traces.coupon {
        Named::Nothing => Ok(Vec::new()),
        Named::Unknown => Err(ConversionReason::UnknownCoupon),
        Named::Known(coupon) => Ok(vec![Touch {
            means: Means::Coupon(coupon.id),
            affiliate_id: coupon.affiliate_id,
            occurred_at: conversion_at,
        }]),
    }
}

fn by_history(
    campaign: &campaign::Model,
    traces: &Traces<'_>,
    conversion_at: Instant,
    scrutiny: Scrutiny,
) -> Result<Vec<Touch>, ConversionReason> {
    let mut touches = past(campaign, traces, conversion_at, scrutiny);
    touches.truncate(TOUCHES_MAX);
    if touches.is_empty() && !traces.history.is_empty() {
        return Err(ConversionReason::OutsideWindow);
    }
    Ok(touches)
}

/// The past that counts, newest first.
fn past(campaign: &campaign::Model, traces: &Traces<'_>, conversion_at: Instant, scrutiny: Scrutiny) -> Vec<Touch> {
    let touches = traces.history.iter().map(PastClick::touch);
    let mut touches: Vec<Touch> = touches.filter(|touch| counts(campaign, touch, conversion_at, scrutiny)).collect();
    touches.sort_unstable_by_key(|touch| std::cmp::Reverse((touch.occurred_at, touch.means)));
    touches.dedup_by_key(|touch| touch.means);
    touches
}

/// Whether a touch is inside the window; of a conversion that was taken up again, whether it came before it at all.
fn counts(campaign: &campaign::Model, touch: &Touch, conversion_at: Instant, scrutiny: Scrutiny) -> bool {
    match scrutiny {
        Scrutiny::Full => attribution::in_window(touch.occurred_at, conversion_at, campaign.attribution_window_secs),
        Scrutiny::Waived => touch.occurred_at <= conversion_at,
    }
}

/// The rules by which found touches are credited: a campaign's; of a conversion that was taken up again, so wide that all
/// are inside, which the decision then says of itself.
pub fn rules(campaign: &campaign::Model, touches: &[Touch], conversion_at: Instant, scrutiny: Scrutiny) -> Rules {
    let rules = Rules::of(campaign);
    match scrutiny {
        Scrutiny::Full => rules,
        Scrutiny::Waived => {
            let oldest = touches.iter().map(|touch| (conversion_at - touch.occurred_at).num_seconds() + 1).max();
            Rules { window_secs: oldest.unwrap_or(0).max(rules.window_secs), min_secs: 0, ..rules }
        }
    }
}

#[cfg(test)]
mod tests;
