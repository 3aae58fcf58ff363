//! Attribution: which touches are credited with a conversion, and with how much.
//!
//! Clicks are facts and never change; a decision is a row of its own that names model, window and touches with shares,
//! so that any other model can be tried on the same clicks later. The same rules and touches give the same shares,
//! always: on every machine, in whatever order they were stored.
//!
//! # Decisions
//! - Of the touches inside the window the newest [`TOUCHES_MAX`] are considered: a decision that is stored and answered
//!   whole must have an end. FIRST_CLICK then credits the first of those.
//! - The same click or coupon found twice is one touch. Touches in the same microsecond are in the order of their ids,
//!   which is that of their recording; a coupon comes after clicks.
//! - A touch whose share is less than it takes for a millionth is none of the decision's touches.

mod decay;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;
mod weights;

use std::collections::HashMap;

use chrono::TimeDelta;
use tributary_entity::{
    Instant, attribution_decision, campaign,
    ids::{AffiliateId, ClickId, CouponId},
    kinds::{AttributionModel, TouchSource},
};

use super::apportion::apportion;

/// The whole, in shares.
pub const WHOLE_MILLIONTHS: i32 = 1_000_000;

/// The most touches of a decision: the newest inside the window.
pub const TOUCHES_MAX: usize = 100;

/// Where touches are looked for unless a campaign says otherwise.
pub const DEFAULT_SOURCES: &[TouchSource] = &[TouchSource::ClickId, TouchSource::Coupon, TouchSource::History];

/// Sources as a campaign's row holds them.
pub fn sources_text(sources: &[TouchSource]) -> String {
    sources.iter().map(|source| source.as_str()).collect::<Vec<_>>().join(",")
}

/// The sources that a campaign's row holds, in order; what another version wrote there is passed over.
pub fn sources(text: &str) -> Vec<TouchSource> {
    text.split(',').filter_map(|name| name.parse().ok()).collect()
}

/// How touches are credited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    pub model: AttributionModel,
    /// A touch counts when `0 <= conversion - touch <= window`.
    pub window_secs: i64,
    /// A conversion that comes sooner after its last click is refused.
    pub min_secs: i64,
    /// In which a touch loses half its weight, under TIME_DECAY.
    pub half_life_secs: i64,
}

impl Rules {
    /// A campaign's, as they stand.
    pub const fn of(campaign: &campaign::Model) -> Self {
        Self {
            model: campaign.attribution_model,
            window_secs: campaign.attribution_window_secs,
            min_secs: campaign.attribution_min_secs,
            half_life_secs: campaign.attribution_half_life_secs,
        }
    }

    /// Those of an earlier decision.
    pub const fn of_decision(decision: &attribution_decision::Model) -> Self {
        Self {
            model: decision.model,
            window_secs: decision.window_secs,
            min_secs: decision.min_secs,
            half_life_secs: decision.half_life_secs,
        }
    }
}

/// What a touch was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Means {
    Click(ClickId),
    Coupon(CouponId),
}

/// A touch that may be credited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touch {
    pub means: Means,
    pub affiliate_id: AffiliateId,
    /// Of a coupon: when it was used, with the conversion.
    pub occurred_at: Instant,
}

impl Touch {
    /// Its place among touches: by time, then by id.
    pub const fn place(&self) -> (Instant, Means) {
        (self.occurred_at, self.means)
    }
}

/// A credited touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    pub touch: Touch,
    /// All shares of a decision sum to [`WHOLE_MILLIONTHS`].
    pub millionths: i32,
}

/// Whether a click counts for a conversion: `0 <= conversion - click <= window`, both ends inclusive, to the microsecond.
pub fn in_window(click_at: Instant, conversion_at: Instant, window_secs: i64) -> bool {
    let age = conversion_at - click_at;
    age >= TimeDelta::zero() && age <= TimeDelta::seconds(window_secs)
}

/// Whether a conversion comes sooner after its last click inside the window than the rules allow. Coupons are used with
/// the conversion and never come too fast.
pub fn is_too_fast(rules: &Rules, touches: &[Touch], conversion_at: Instant) -> bool {
    let clicks = touches.iter().filter(|touch| matches!(touch.means, Means::Click(_)));
    let last =
        clicks.map(|touch| touch.occurred_at).filter(|at| in_window(*at, conversion_at, rules.window_secs)).max();
    last.is_some_and(|last| conversion_at - last < TimeDelta::seconds(rules.min_secs))
}

/// Credits the touches inside the window by the model, in the order of their time. None when no touch is inside, or when
/// the conversion [is too fast](is_too_fast).
pub fn attribute(rules: &Rules, touches: &[Touch], conversion_at: Instant) -> Option<Vec<Share>> {
    let touches = considered(rules, touches, conversion_at);
    if touches.is_empty() || is_too_fast(rules, &touches, conversion_at) {
        return None;
    }
    let ages: Vec<u64> = touches.iter().map(|touch| age_micros(touch, conversion_at)).collect();
    let weights = weights::of(rules, &ages);
    let sum: i128 = weights.iter().sum();
    let numerators: Vec<i128> = weights.iter().map(|weight| weight * i128::from(WHOLE_MILLIONTHS)).collect();
    let shares = touches.into_iter().zip(apportion(WHOLE_MILLIONTHS.into(), &numerators, sum));
    let shares = shares.map(|(touch, millionths)| Share {
        touch,
        millionths: i32::try_from(millionths).expect("no part is more than the whole"),
    });
    Some(shares.filter(|share| share.millionths > 0).collect())
}

/// The touches that a decision looks at: each once, inside the window, the newest [`TOUCHES_MAX`], in their order.
fn considered(rules: &Rules, touches: &[Touch], conversion_at: Instant) -> Vec<Touch> {
    let inside = touches.iter().filter(|touch| in_window(touch.occurred_at, conversion_at, rules.window_secs));
    let mut touches: Vec<Touch> = inside.copied().collect();
    touches.sort_unstable_by_key(|touch| (touch.means, touch.occurred_at, touch.affiliate_id));
    touches.dedup_by_key(|touch| touch.means);
    touches.sort_unstable_by_key(Touch::place);
    touches.split_off(touches.len().saturating_sub(TOUCHES_MAX))
}

/// Both databases keep microseconds.
fn age_micros(touch: &Touch, conversion_at: Instant) -> u64 {
    let micros = (conversion_at - touch.occurred_at).num_microseconds();
    micros.and_then(|micros| u64::try_from(micros).ok()).expect("an age inside a window")
}

/// What each affiliate is credited with, all its touches summed: one line per affiliate, in the order of their first
/// credited touch.
pub fn credits(shares: &[Share]) -> Vec<(AffiliateId, i32)> {
    let mut shares: Vec<&Share> = shares.iter().collect();
    shares.sort_unstable_by_key(|share| share.touch.place());
    let mut lines: Vec<(AffiliateId, i32)> = Vec::new();
    let mut line_of: HashMap<AffiliateId, usize> = HashMap::new();
    for Share { touch, millionths } in shares {
        let line = *line_of.entry(touch.affiliate_id).or_insert_with(|| {
            lines.push((touch.affiliate_id, 0));
            lines.len() - 1
        });
        lines[line].1 += millionths;
    }
    lines
}
