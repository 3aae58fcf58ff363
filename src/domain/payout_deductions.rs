//! What is taken off payouts before they are paid: tax that is withheld, and what affiliates bear of the cost of payments.
//!
//! # Decisions
//! - Tax is a part of the gross amount, rounded once, half to even; the fee is a fixed amount, and never more than is left.
//! - They are reckoned when a payout is drafted, and stay: who approves it approves them.
//! - A payment that failed gives everything back. One that came back gives back what it paid and the tax, as nothing was
//!   received; what it cost was spent.

use tributary_entity::{payout, payout_terms};

use super::commission::round_half_even;

/// Millionths of the whole.
const WHOLE_PPM: i128 = 1_000_000;

/// What is taken off an affiliate's payouts in a currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deductions {
    /// Millionths of the gross amount, 0 to 1,000,000.
    pub withholding_ppm: i64,
    /// Minor units, never negative.
    pub fee_minor: i64,
}

/// A gross amount in its parts, in minor units. None is negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amounts {
    pub gross_minor: i64,
    pub tax_minor: i64,
    pub fee_minor: i64,
}

impl Amounts {
    /// What is paid.
    pub const fn net_minor(self) -> i64 {
        self.gross_minor - self.tax_minor - self.fee_minor
    }
}

/// The parts of a payout.
pub const fn amounts(payout: &payout::Model) -> Amounts {
    Amounts { gross_minor: payout.gross_minor, tax_minor: payout.tax_minor, fee_minor: payout.fee_minor }
}

/// What a payout pays.
pub const fn net_minor(payout: &payout::Model) -> i64 {
    amounts(payout).net_minor()
}

impl Deductions {
    /// An affiliate's, its own terms filled up from the tenant's.
    pub fn of_terms(own: Option<&payout_terms::Model>, default: Option<&payout_terms::Model>) -> Self {
        let first = |part: fn(&payout_terms::Model) -> Option<i64>| own.and_then(part).or(default.and_then(part));
        Self {
            withholding_ppm: first(|terms| terms.withholding_ppm).unwrap_or(0),
            fee_minor: first(|terms| terms.fee_minor).unwrap_or(0),
        }
    }

    /// A gross amount in its parts.
    pub fn of(self, gross_minor: i64) -> Amounts {
        let tax = round_half_even(i128::from(gross_minor) * i128::from(self.withholding_ppm), WHOLE_PPM);
        // At most the gross amount, as the rate is at most the whole.
        let tax_minor = i64::try_from(tax).unwrap_or(gross_minor).min(gross_minor);
        Amounts { gross_minor, tax_minor, fee_minor: self.fee_minor.min(gross_minor - tax_minor) }
    }

    /// What of an available amount is paid, where `floor` says what of a net amount can be; the rest stays. None when
    /// nothing is left to pay.
    pub fn cut(self, available_minor: i64, floor: impl Fn(i64) -> Option<i64>) -> Option<Amounts> {
        let all = self.of(available_minor);
        let net = floor(all.net_minor()).filter(|net| *net > 0)?;
        if net == all.net_minor() {
            return Some(all);
        }
        // One more minor unit of gross is one more of net or none: the least gross that nets as much nets just that.
        let (mut least, mut enough) = (net, available_minor);
        while least < enough {
            let middle = least + (enough - least) / 2;
            if self.of(middle).net_minor() < net {
                least = middle + 1;
            } else {
                enough = middle;
            }
        }
        Some(self.of(enough))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tax_is_rounded_half_to_even_and_the_fee_takes_what_is_left() {
        let deductions = Deductions { withholding_ppm: 150_000, fee_minor: 25 };
        assert_eq!(deductions.of(10_000), Amounts { gross_minor: 10_000, tax_minor: 1_500, fee_minor: 25 });
        assert_eq!(deductions.of(10_000).net_minor(), 8_475);
        // 1.5 and 4.5 are halves.
        assert_eq!((deductions.of(10).tax_minor, deductions.of(30).tax_minor), (2, 4));
        assert_eq!(deductions.of(20), Amounts { gross_minor: 20, tax_minor: 3, fee_minor: 17 });
        assert_eq!(deductions.cut(20, Some), None);
        assert_eq!(Deductions::default().cut(20, Some).map(Amounts::net_minor), Some(20));
        let everything = Deductions { withholding_ppm: 1_000_000, fee_minor: 0 };
        assert_eq!(everything.cut(i64::MAX, Some), None);
    }

    #[test]
    fn what_a_processor_cannot_pay_stays_with_its_tax() {
        let deductions = Deductions { withholding_ppm: 100_000, fee_minor: 50 };
        let whole = |net: i64| Some(net - net % 100).filter(|net| *net >= 100);
        // 1,234 would net 1,061: 1,000 are paid, of the least that nets them.
        let amounts = deductions.cut(1_234, whole).expect("enough");
        assert_eq!((amounts.net_minor(), amounts.gross_minor, amounts.tax_minor), (1_000, 1_167, 117));
        assert_eq!(deductions.cut(160, whole), None);
    }

    proptest! {
        #[test]
        fn parts_are_never_negative_and_sum_to_the_whole(
            available in 1..=i64::MAX, withholding_ppm in 0..=1_000_000_i64, fee_minor in 0..=i64::MAX, step in 1..=10_000_i64,
        ) {
            let deductions = Deductions { withholding_ppm, fee_minor };
            let floor = |net: i64| Some(net - net % step);
            let all = deductions.of(available);
            prop_assert!(all.tax_minor >= 0 && all.fee_minor >= 0 && all.net_minor() >= 0);
            if let Some(amounts) = deductions.cut(available, floor) {
                prop_assert_eq!(Some(amounts.net_minor()), floor(all.net_minor()));
                prop_assert!(amounts.gross_minor <= available);
                prop_assert_eq!(deductions.of(amounts.gross_minor), amounts);
            }
        }
    }
}
