//! Attribution: which clicks are credited with a conversion, and with how much.
//!
//! Clicks are facts and never change; a decision is a row of its own that names model, window and touches with shares,
//! so that any other model can be tried on the same clicks later.

use tributary_entity::{
    Instant, attribution_decision, campaign,
    ids::{AffiliateId, ClickId, CouponId},
    kinds::AttributionModel,
};

/// The whole, in shares.
pub const WHOLE_MILLIONTHS: i32 = 1_000_000;

/// Where touches are looked for unless a campaign says otherwise, as a campaign's row holds it.
pub const DEFAULT_SOURCES: &str = "CLICK_ID,COUPON,HISTORY";

/// How touches are credited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    pub model: AttributionModel,
    /// A touch counts when `0 <= conversion - touch <= window`.
    pub window_secs: i64,
    /// A conversion that comes sooner after its last touch is refused.
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
    age >= chrono::TimeDelta::zero() && age <= chrono::TimeDelta::seconds(window_secs)
}

/// Credits the touches inside the window by the model. None when no touch is inside.
///
/// The order of `touches` does not matter: the same model and touches give the same shares, always.
pub fn attribute(rules: &Rules, touches: &[Touch], conversion_at: Instant) -> Option<Vec<Share>> {
    let inside = touches.iter().filter(|touch| in_window(touch.occurred_at, conversion_at, rules.window_secs));
    match rules.model {
        AttributionModel::LastClick => {
            // Ids are time-ordered: of two clicks in the same microsecond the one recorded later is the last.
            let last = inside.max_by_key(|touch| (touch.occurred_at, touch.means))?;
            Some(vec![Share { touch: *last, millionths: WHOLE_MILLIONTHS }])
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use uuid::Uuid;

    use super::*;

    fn touch(number: u128, seconds_before: i64, conversion_at: Instant) -> Touch {
        Touch {
            means: Means::Click(ClickId::from_uuid(Uuid::from_u128(number))),
            affiliate_id: AffiliateId::from_uuid(Uuid::from_u128(number)),
            occurred_at: conversion_at - TimeDelta::seconds(seconds_before),
        }
    }

    fn rules(window_secs: i64) -> Rules {
        Rules { model: AttributionModel::LastClick, window_secs, min_secs: 0, half_life_secs: 1 }
    }

    #[test]
    fn window_is_inclusive_at_both_ends_and_ends_there() {
        let at = Instant::from_timestamp(1_000_000, 0).expect("in range");
        let day = 86_400;
        assert!(in_window(at, at, day));
        assert!(in_window(at - TimeDelta::seconds(day), at, day));
        assert!(!in_window(at - TimeDelta::seconds(day) - TimeDelta::milliseconds(1), at, day));
        assert!(!in_window(at + TimeDelta::microseconds(1), at, day));
    }

    #[test]
    fn last_click_takes_all_whatever_the_order_of_storage() {
        let at = Instant::from_timestamp(1_000_000, 0).expect("in range");
        let mut touches = vec![touch(1, 300, at), touch(2, 10, at), touch(3, 100, at), touch(4, -1, at)];
        for _ in 0..touches.len() {
            touches.rotate_left(1);
            let shares = attribute(&rules(200), &touches, at).expect("one inside");
            assert_eq!(shares.len(), 1);
            assert_eq!(shares[0].touch, touch(2, 10, at));
            assert_eq!(shares[0].millionths, WHOLE_MILLIONTHS);
        }
        assert_eq!(attribute(&rules(5), &touches, at), None);
    }
}
