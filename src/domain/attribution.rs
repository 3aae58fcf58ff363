//! Attribution: which clicks are credited with a conversion, and with how much.
//!
//! Clicks are facts and never change; a decision is a row of its own that names model, window and touches with shares,
//! so that any other model can be tried on the same clicks later.

use tributary_entity::{
    Instant,
    ids::{AffiliateId, ClickId},
    kinds::AttributionModel,
};

/// The whole, in shares.
pub const WHOLE_MILLIONTHS: i32 = 1_000_000;

/// A click that may be credited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touch {
    pub click_id: ClickId,
    pub affiliate_id: AffiliateId,
    pub occurred_at: Instant,
}

/// A credited click.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    pub click_id: ClickId,
    pub affiliate_id: AffiliateId,
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
/// The order of `touches` does not matter: the same model and clicks give the same shares, always.
pub fn attribute(
    model: AttributionModel,
    touches: &[Touch],
    conversion_at: Instant,
    window_secs: i64,
) -> Option<Vec<Share>> {
    let inside = touches.iter().filter(|touch| in_window(touch.occurred_at, conversion_at, window_secs));
    match model {
        AttributionModel::LastClick => {
            // Ids are time-ordered: of two clicks in the same microsecond the one recorded later is the last.
            let last = inside.max_by_key(|touch| (touch.occurred_at, touch.click_id))?;
            Some(vec![Share { click_id: last.click_id, affiliate_id: last.affiliate_id, millionths: WHOLE_MILLIONTHS }])
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
            click_id: ClickId::from_uuid(Uuid::from_u128(number)),
            affiliate_id: AffiliateId::from_uuid(Uuid::from_u128(number)),
            occurred_at: conversion_at - TimeDelta::seconds(seconds_before),
        }
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
            let shares = attribute(AttributionModel::LastClick, &touches, at, 200).expect("one inside");
            assert_eq!(shares.len(), 1);
            assert_eq!(shares[0].click_id, touch(2, 0, at).click_id);
            assert_eq!(shares[0].millionths, WHOLE_MILLIONTHS);
        }
        assert_eq!(attribute(AttributionModel::LastClick, &touches, at, 5), None);
    }
}
