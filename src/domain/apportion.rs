//! Splitting a whole into integers that sum to it exactly: by largest remainder.

use std::cmp::Reverse;

/// Rounds parts, each exactly `numerator / denominator`, to integers that sum to `whole`: all are rounded down, and what is
/// then missing goes by ones to those with the largest remainders; of equal ones to those that come first.
///
/// `denominator` is positive, and `whole` their exact sum rounded to an integer, either way.
pub fn apportion(whole: i128, numerators: &[i128], denominator: i128) -> Vec<i128> {
    let mut parts: Vec<i128> = numerators.iter().map(|numerator| numerator.div_euclid(denominator)).collect();
    let missing = usize::try_from(whole - parts.iter().sum::<i128>()).unwrap_or_default();
    let mut places: Vec<usize> = (0..parts.len()).collect();
    // A stable sort: equal remainders stay in their order.
    places.sort_by_key(|place| Reverse(numerators[*place].rem_euclid(denominator)));
    for place in places.into_iter().take(missing) {
        parts[place] += 1;
    }
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn largest_remainders_get_what_is_missing() {
        assert_eq!(apportion(100, &[100, 100, 100], 3), [34, 33, 33]);
        // 1.25, 2.5, 2.25 of 6.
        assert_eq!(apportion(6, &[5, 10, 9], 4), [1, 3, 2]);
        assert_eq!(apportion(5, &[5, 10, 7], 4), [1, 2, 2]);
        assert_eq!(apportion(0, &[], 1), [0_i128; 0]);
    }

    proptest! {
        #[test]
        fn parts_sum_to_the_whole_and_are_within_one(
            weights in prop::collection::vec(0_i128..=1 << 62, 1..100), whole in 0_i128..=1_000_000_000,
        ) {
            let sum: i128 = weights.iter().sum();
            prop_assume!(sum > 0);
            let numerators: Vec<i128> = weights.iter().map(|weight| weight * whole).collect();
            let parts = apportion(whole, &numerators, sum);
            prop_assert_eq!(parts.iter().sum::<i128>(), whole);
            for (part, numerator) in parts.iter().zip(&numerators) {
                prop_assert!((part * sum - numerator).abs() < sum);
            }
        }
    }
}
