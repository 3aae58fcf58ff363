//! The worked vectors of the models, and what holds for all touches.

use chrono::TimeDelta;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

const DAY: i64 = 86_400;
const MODELS: &[AttributionModel] = AttributionModel::ALL;

fn at() -> Instant {
    Instant::from_timestamp(1_700_000_000, 0).expect("in range")
}

fn affiliate(number: u128) -> AffiliateId {
    AffiliateId::from_uuid(Uuid::from_u128(number))
}

fn click(number: u128, micros_before: i64) -> Touch {
    Touch {
        means: Means::Click(ClickId::from_uuid(Uuid::from_u128(number))),
        affiliate_id: affiliate(number),
        occurred_at: at() - TimeDelta::microseconds(micros_before),
    }
}

/// Clicks 1, 2, 3.. of affiliates of their own, these days before the conversion.
fn clicks(days_before: &[i64]) -> Vec<Touch> {
    (1..).zip(days_before).map(|(number, days)| click(number, days * DAY * 1_000_000)).collect()
}

const fn rules(model: AttributionModel) -> Rules {
    Rules { model, window_secs: 30 * DAY, min_secs: 0, half_life_secs: 7 * DAY }
}

fn millionths(model: AttributionModel, touches: &[Touch]) -> Vec<i32> {
    let shares = attribute(&rules(model), touches, at()).unwrap_or_default();
    shares.iter().map(|share| share.millionths).collect()
}

#[test]
fn window_is_inclusive_at_both_ends_and_ends_there() {
    assert!(in_window(at(), at(), DAY));
    assert!(in_window(at() - TimeDelta::seconds(DAY), at(), DAY));
    assert!(!in_window(at() - TimeDelta::seconds(DAY) - TimeDelta::milliseconds(1), at(), DAY));
    assert!(!in_window(at() - TimeDelta::seconds(DAY) - TimeDelta::microseconds(1), at(), DAY));
    assert!(!in_window(at() + TimeDelta::microseconds(1), at(), DAY));
}

#[test]
fn every_model_credits_nothing_outside_the_window() {
    let edge = 30 * DAY * 1_000_000;
    for model in MODELS {
        assert_eq!(millionths(*model, &[click(1, edge)]), [WHOLE_MILLIONTHS], "{model}");
        assert_eq!(millionths(*model, &[click(1, edge + 1_000)]), [0; 0], "{model}");
        assert_eq!(millionths(*model, &[click(1, -1)]), [0; 0], "{model}");
        // What is outside takes nothing from what is inside.
        assert_eq!(millionths(*model, &[click(1, edge + 1), click(2, 5), click(3, -1)]), [WHOLE_MILLIONTHS], "{model}");
    }
}

#[test]
fn models_divide_as_they_say() {
    use AttributionModel::*;
    let four = clicks(&[30, 9, 2, 1]);
    assert_eq!(millionths(Linear, &four), [250_000; 4]);
    assert_eq!(millionths(Linear, &four[..3]), [333_334, 333_333, 333_333]);
    assert_eq!(millionths(PositionBased, &four), [400_000, 100_000, 100_000, 400_000]);
    assert_eq!(millionths(PositionBased, &four[..3]), [400_000, 200_000, 400_000]);
    assert_eq!(millionths(PositionBased, &four[..2]), [500_000, 500_000]);
    assert_eq!(millionths(PositionBased, &four[..1]), [WHOLE_MILLIONTHS]);
    // "A click 8 days before gets half as much credit as a click 1 day before."
    assert_eq!(millionths(TimeDecay, &clicks(&[8, 1])), [333_333, 666_667]);
    // Time is continuous: half a half-life costs the root of a half.
    let root: Vec<i32> = millionths(TimeDecay, &[click(1, 7 * DAY * 500_000), click(2, 0)]);
    assert_eq!(root, [414_214, 585_786]);
}

#[test]
fn single_touch_models_name_the_first_and_the_last() {
    let touches = clicks(&[3, 9, 1]);
    for (model, wanted) in [(AttributionModel::LastClick, 3), (AttributionModel::FirstClick, 2)] {
        let shares = attribute(&rules(model), &touches, at()).expect("inside");
        assert_eq!(credits(&shares), [(affiliate(wanted), WHOLE_MILLIONTHS)], "{model}");
    }
}

/// The sale of 200.00 with touches 30, 24, 18, 12, 6 and 0 days before.
#[test]
fn time_decay_divides_a_sale_as_the_table_says() {
    let shares = millionths(AttributionModel::TimeDecay, &clicks(&[30, 24, 18, 12, 6, 0]));
    let cents: Vec<i64> = shares.iter().map(|share| (i64::from(*share) * 20_000 + 500_000) / 1_000_000).collect();
    assert_eq!(cents, [473, 856, 1_551, 2_810, 5_090, 9_220]);
}

/// Journeys A organic > social > paid 100; B paid > email 200; C social > organic > social > paid 150; D email 50.
#[test]
fn journeys_credit_channels_as_the_table_says() {
    const ORGANIC: u128 = 1;
    const SOCIAL: u128 = 2;
    const PAID: u128 = 3;
    const EMAIL: u128 = 4;
    let journeys: [(&[u128], i64); 4] = [
        (&[ORGANIC, SOCIAL, PAID], 100),
        (&[PAID, EMAIL], 200),
        (&[SOCIAL, ORGANIC, SOCIAL, PAID], 150),
        (&[EMAIL], 50),
    ];
    // Credits in ten-thousandths, as the table has four digits.
    let channels = |model| {
        let mut sums = [0_i64; 4];
        for (number, (channels, sale)) in (1..).zip(journeys) {
            let touches: Vec<Touch> = (0..)
                .zip(channels)
                .map(|(place, channel)| Touch {
                    affiliate_id: affiliate(*channel),
                    ..click(number * 100 + place, (100 - place as i64) * 1_000_000)
                })
                .collect();
            let shares = attribute(&rules(model), &touches, at()).expect("inside");
            for (channel, millionths) in credits(&shares) {
                sums[channel.uuid().as_u128() as usize - 1] += i64::from(millionths) * sale;
            }
        }
        sums.map(|sum| (sum + 50) / 100)
    };
    let table = [
        (AttributionModel::FirstClick, [1_000_000, 1_500_000, 2_000_000, 500_000]),
        (AttributionModel::LastClick, [0, 0, 2_500_000, 2_500_000]),
        (AttributionModel::Linear, [708_333, 1_083_333, 1_708_333, 1_500_000]),
        (AttributionModel::PositionBased, [550_000, 950_000, 2_000_000, 1_500_000]),
    ];
    for (model, wanted) in table {
        for (got, wanted) in channels(model).into_iter().zip(wanted) {
            // The thirds of a million parts are whole millionths.
            assert!((got - wanted).abs() <= 1, "{model}: {got}, not {wanted}");
        }
    }
}

#[test]
fn a_conversion_that_comes_too_fast_is_credited_to_nobody() {
    let rules = Rules { min_secs: 10, ..rules(AttributionModel::Linear) };
    let early = click(1, 60_000_000);
    assert!(attribute(&rules, &[early, click(2, 10_000_000)], at()).is_some());
    assert_eq!(attribute(&rules, &[early, click(2, 9_999_999)], at()), None);
    assert!(is_too_fast(&rules, &[early, click(2, 9_999_999)], at()));
    // A click after the conversion is none of its touches, and a coupon is used with it.
    assert!(!is_too_fast(&rules, &[early, click(2, -1)], at()));
    let coupon = Touch { means: Means::Coupon(CouponId::default()), ..click(3, 0) };
    assert_eq!(attribute(&rules, &[early, coupon], at()).map(|shares| shares.len()), Some(2));
}

#[test]
fn newest_hundred_touches_are_considered_each_once() {
    let many: Vec<Touch> = (1..=150).map(|number| click(number, (200 - number as i64) * 1_000)).collect();
    let doubled: Vec<Touch> = many.iter().chain(&many).copied().collect();
    let shares = attribute(&rules(AttributionModel::Linear), &doubled, at()).expect("inside");
    let credited: Vec<AffiliateId> = shares.iter().map(|share| share.touch.affiliate_id).collect();
    assert_eq!(credited, (51..=150).map(affiliate).collect::<Vec<_>>());
    let shares = attribute(&rules(AttributionModel::FirstClick), &doubled, at()).expect("inside");
    assert_eq!(shares[0].touch, many[50]);
}

#[test]
fn touches_of_one_microsecond_are_in_the_order_of_their_ids() {
    let coupon = Touch { means: Means::Coupon(CouponId::default()), ..click(9, 0) };
    let mut touches = vec![click(1, 0), click(2, 0), click(3, 0), coupon];
    for _ in 0..touches.len() {
        touches.rotate_left(1);
        for (model, wanted) in [(AttributionModel::LastClick, coupon), (AttributionModel::FirstClick, click(1, 0))] {
            let shares = attribute(&rules(model), &touches, at()).expect("inside");
            assert_eq!(shares[0].touch, wanted, "{model}");
        }
    }
    // What does not divide goes to the one recorded first.
    assert_eq!(millionths(AttributionModel::Linear, &touches[..3]), [333_334, 333_333, 333_333]);
}

#[test]
fn touches_that_are_many_half_lives_old_weigh_nothing_and_break_nothing() {
    let rules = Rules { half_life_secs: 1, ..rules(AttributionModel::TimeDecay) };
    let ages = |ages: &[i64]| -> Vec<Touch> { (1..).zip(ages).map(|(n, age)| click(n, age * 1_000_000)).collect() };
    let shares = |touches: &[Touch]| attribute(&rules, touches, at()).expect("inside");
    let one = shares(&ages(&[30 * DAY, 0]));
    assert_eq!((one.len(), one[0].millionths), (1, WHOLE_MILLIONTHS));
    // However old all of them are, their order of size is kept.
    let old = shares(&ages(&[30 * DAY, 30 * DAY - 1]));
    assert_eq!(old.iter().map(|share| share.millionths).collect::<Vec<_>>(), [333_333, 666_667]);
}

#[test]
fn touches_of_one_affiliate_are_one_credit() {
    let mut touches = clicks(&[5, 4, 3, 2]);
    touches[2].affiliate_id = affiliate(1);
    let shares = attribute(&rules(AttributionModel::Linear), &touches, at()).expect("inside");
    let wanted = [(affiliate(1), 500_000), (affiliate(2), 250_000), (affiliate(4), 250_000)];
    assert_eq!(credits(&shares), wanted);
    let mut reversed = shares;
    reversed.reverse();
    assert_eq!(credits(&reversed), wanted);
}

/// Touches around the window, some in the same microsecond.
fn journeys() -> impl Strategy<Value = Vec<reference::Touch>> {
    let micros = 1_000_000;
    let age =
        prop_oneof![-5 * micros..40 * DAY * micros, (0..40_i64).prop_map(move |days| days * DAY * micros), 0..3_i64,];
    prop::collection::vec((age, 1..1_000_u128), 1..130)
}

fn model() -> impl Strategy<Value = AttributionModel> {
    prop::sample::select(MODELS)
}

/// One touch per id, as ids are of one click.
fn touches_of(journey: &[reference::Touch]) -> (Vec<reference::Touch>, Vec<Touch>) {
    let mut ids = std::collections::HashSet::new();
    let journey: Vec<reference::Touch> = journey.iter().copied().filter(|(_, id)| ids.insert(*id)).collect();
    let touches = journey.iter().map(|(age, id)| click(*id, *age)).collect();
    (journey, touches)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn shares_sum_to_the_whole_whatever_the_order(
        journey in journeys(), model in model(), half_life in 1..60 * DAY, seed in any::<u64>(),
    ) {
        let (_, touches) = touches_of(&journey);
        let rules = Rules { half_life_secs: half_life, ..rules(model) };
        let shares = attribute(&rules, &touches, at());
        if let Some(shares) = &shares {
            prop_assert_eq!(shares.iter().map(|share| share.millionths).sum::<i32>(), WHOLE_MILLIONTHS);
            prop_assert_eq!(credits(shares).iter().map(|(_, credit)| credit).sum::<i32>(), WHOLE_MILLIONTHS);
            prop_assert!(shares.len() <= TOUCHES_MAX);
        }
        let mut shuffled = touches;
        shuffled.sort_by_key(|touch| (seed ^ touch.affiliate_id.uuid().as_u128() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        prop_assert_eq!(attribute(&rules, &shuffled, at()), shares);
    }

    #[test]
    fn engine_and_reference_agree_exactly(journey in journeys(), model in model(), half_life in 1..60 * DAY) {
        let (journey, touches) = touches_of(&journey);
        let rules = Rules { half_life_secs: half_life, ..rules(model) };
        let shares = attribute(&rules, &touches, at()).unwrap_or_default();
        let shares: Vec<(reference::Touch, i32)> = shares
            .iter()
            .map(|share| ((age_micros(&share.touch, at()) as i64, share.touch.affiliate_id.uuid().as_u128()), share.millionths))
            .collect();
        let micros = 1_000_000;
        prop_assert_eq!(shares, reference::shares(model, 30 * DAY * micros, half_life * micros, &journey));
    }

    #[test]
    fn models_keep_their_shape(seconds in prop::collection::btree_set(0..30 * DAY, 1..=100), half_life in 1..60 * DAY) {
        // Oldest first.
        let touches: Vec<Touch> =
            (1..).zip(seconds.into_iter().rev()).map(|(number, age)| click(number, age * 1_000_000)).collect();
        let of = |model| millionths(model, &touches);
        prop_assert_eq!(of(AttributionModel::FirstClick).len(), 1);
        prop_assert_eq!(of(AttributionModel::LastClick).len(), 1);
        let linear = of(AttributionModel::Linear);
        prop_assert!(linear.iter().max().unwrap() - linear.iter().min().unwrap() <= 1);
        let position = of(AttributionModel::PositionBased);
        prop_assert_eq!(position.first(), position.last());
        if touches.len() > 2 {
            prop_assert_eq!(position[0], 400_000);
        }
        let rules = Rules { half_life_secs: half_life, ..rules(AttributionModel::TimeDecay) };
        let decay = attribute(&rules, &touches, at()).unwrap();
        prop_assert!(decay.is_sorted_by_key(|share| share.millionths));
    }
}
