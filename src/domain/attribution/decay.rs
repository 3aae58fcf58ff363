//! Halving over continuous time in whole numbers: `2^(-age / half_life)`, the same to the last bit on every machine.
//!
//! The quotient is written in binary: its whole part shifts, and each bit behind the point that is set multiplies by one
//! root of a half. The bits come from a long division, so that no quotient is ever rounded; the roots from integer square
//! roots, at compile time. Each step is short by less than two units of 2^-62, all of them together by less than 2^-55: a
//! share of a million parts is 2^-20.

/// What a touch weighs that has lost nothing: one, in units of 2^-62.
pub(super) const ONE: u64 = 1 << 62;

/// `2^(-1/2), 2^(-1/4), 2^(-1/8)..`, each the square root of the one before, in the same units.
const ROOTS: [u64; 62] = {
    let mut roots = [0; 62];
    let mut root = ONE / 2;
    let mut place = 0;
    while place < roots.len() {
        root = times_one(root).isqrt() as u64;
        roots[place] = root;
        place += 1;
    }
    roots
};

const fn times_one(value: u64) -> u128 {
    (value as u128) << 62
}

/// `2^(-age / half_life)` in units of 2^-62, rounded down: zero from 63 half-lives on. `half_life` is more than zero; both
/// are in one unit, and below 2^63.
pub(super) fn remaining(age: u64, half_life: u64) -> u64 {
    let halvings = u32::try_from(age / half_life).unwrap_or(u32::MAX);
    let mut rest = age % half_life;
    let mut weight = ONE;
    for root in ROOTS {
        rest *= 2;
        if rest >= half_life {
            rest -= half_life;
            weight = ((u128::from(weight) * u128::from(root)) >> 62) as u64;
        }
    }
    weight.checked_shr(halvings).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_half_lives_halve_exactly() {
        for halvings in 0..64 {
            assert_eq!(remaining(halvings * 7, 7), ONE >> halvings, "{halvings}");
        }
        assert_eq!(remaining(64 * 7, 7), 0);
        assert_eq!(remaining(u64::MAX >> 1, 1), 0);
    }

    #[test]
    fn roots_of_a_half_are_right_to_the_last_bits() {
        // 2^62 times 2^(-1/2) and 2^(-1/4).
        assert!(ROOTS[0].abs_diff(3_260_954_456_333_195_553) <= 2, "{}", ROOTS[0]);
        assert!(ROOTS[1].abs_diff(3_877_950_241_171_266_237) <= 2, "{}", ROOTS[1]);
        for pair in ROOTS.windows(2) {
            let square = (u128::from(pair[1]) * u128::from(pair[1])) >> 62;
            assert!(square.abs_diff(pair[0].into()) <= 4);
        }
    }

    #[test]
    fn every_microsecond_costs_something() {
        // A half-life of a year: the slowest decay there is.
        let year = 366 * 86_400 * 1_000_000;
        let mut before = ONE;
        for age in (1..2_000).chain(year / 2..year / 2 + 2_000).chain(year - 2_000..year + 2_000) {
            let weight = remaining(age, year);
            assert!(weight < before, "{age}");
            before = weight;
        }
    }
}
