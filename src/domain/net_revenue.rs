//! Shares of net gaming revenue (NGR): what is left of the gross gaming revenue (GGR) of an affiliate's customers in a
//! period, who bears a loss, and what the affiliate has of it.
//!
//! # Decisions
//! - A percentage is taken of its basis where that is positive: nobody gets fees or duty back for a period in which
//!   customers won. Each is rounded by itself, half to even, once for the affiliate's customers together.
//! - What is carried over is NGR, not the share of it: a deal whose percentage changes meanwhile pays on the same revenue.
//!   What was lost first is made good first.
//! - A loss that is carried for `n` periods is made good by the `n` that follow its own, and is the tenant's then.
//! - With a high-roller limit no loss is carried for the affiliate. A customer who won that much or more in a period is set
//!   apart instead: the loss is that customer's alone, and what that customer loses later makes it good first. The other
//!   customers of the period count as if nothing had been.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::commission::round_half_even;

const WHOLE_PPM: i128 = 1_000_000;

/// What an affiliate earns of its customers' revenue, and what is deducted before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deal {
    /// Of NGR; from 0 to 1 000 000.
    pub share_ppm: i64,
    /// Each its own line, in this order.
    pub deductions: Vec<Deduction>,
    pub carryover: Carryover,
}

/// A percentage that is taken off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deduction {
    /// Such as "gaming duty".
    pub name: String,
    pub rate_ppm: i64,
    pub basis: Basis,
}

/// Of what a percentage is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Basis {
    Ggr,
    GgrLessBonuses,
}

/// Who bears a period's loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Carryover {
    /// The tenant.
    None,
    /// The affiliate, until it is made good.
    Full,
    /// The affiliate, for so many periods after the one of the loss; from 1.
    Limited(u32),
    /// The customer who won so many minor units of NGR or more; any other loss is the tenant's.
    HighRoller(i64),
}

/// What a customer's play came to in a period, in minor units of one currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// Stakes less winnings: negative where the customer won.
    pub ggr_minor: i64,
    /// Not negative.
    pub bonuses_minor: i64,
    /// Not negative.
    pub chargebacks_minor: i64,
}

/// A loss that is not made good yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// More than nothing.
    pub minor: i64,
    /// Periods that may make it good; none is without end.
    pub periods_left: Option<u32>,
}

/// What goes from one period to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// The affiliate's, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub losses: Vec<Loss>,
    /// Of customers who are set apart.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub customers: BTreeMap<String, i64>,
}

/// A step on the way to what an affiliate has, in minor units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub name: String,
    pub amount_minor: i64,
}

/// A period as it is settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// From GGR to what the share is of: they sum to it.
    pub lines: Vec<Line>,
    /// Of the customers who are not set apart; before what was carried over.
    pub ngr_minor: i64,
    /// Of NGR, losses made good; not negative.
    pub shared_minor: i64,
    /// Not negative.
    pub earned_minor: i64,
    pub carried: Carried,
}

/// Settles a period. `carried` is what the one before it left. None when a sum is past what can be held.
pub fn settle(deal: &Deal, activities: &BTreeMap<String, Activity>, carried: &Carried) -> Option<Settlement> {
    let (mut apart, mut next) = (0, Carried::default());
    let mut together = Activity::default();
    for (customer, activity) in activities {
        let ngr = i128::from(net(deal, *activity)?.1);
        let before = i128::from(carried.customers.get(customer).copied().unwrap_or_default());
        let is_high_roller = matches!(deal.carryover, Carryover::HighRoller(limit) if ngr <= -i128::from(limit));
        if before == 0 && !is_high_roller {
            together = sum(together, *activity)?;
            continue;
        }
        // Set apart: what is left of the loss stays with the customer, what is past it is shared as any other revenue.
        let left = before - ngr;
        if left > 0 {
            next.customers.insert(customer.clone(), i64::try_from(left).ok()?);
        } else {
            apart += -left;
        }
    }
    for (customer, loss) in carried.customers.iter().filter(|(customer, _)| !activities.contains_key(*customer)) {
        next.customers.insert(customer.clone(), *loss);
    }
    let (mut lines, ngr_minor) = net(deal, together)?;
    let apart_minor = i64::try_from(apart).ok()?;
    push(&mut lines, "customers set apart, past their losses", apart_minor);
    let mut left = ngr_minor.checked_add(apart_minor)?;
    let made_good = make_good(&mut next.losses, &carried.losses, left.max(0))?;
    push(&mut lines, "losses of earlier periods", -made_good);
    left -= made_good;
    if left < 0 {
        let periods_left = match deal.carryover {
            Carryover::Full => Some(None),
            Carryover::Limited(periods) => Some(Some(periods)),
            Carryover::None | Carryover::HighRoller(_) => None,
        };
        let minor = left.checked_neg()?;
        next.losses.extend(periods_left.map(|periods_left| Loss { minor, periods_left }));
        push(&mut lines, "loss that is not shared", minor);
        left = 0;
    }
    let earned = round_half_even(i128::from(left) * i128::from(deal.share_ppm), WHOLE_PPM);
    let earned_minor = i64::try_from(earned).ok()?;
    Some(Settlement { lines, ngr_minor, shared_minor: left, earned_minor, carried: next })
}

/// The lines from GGR to NGR, and NGR.
fn net(deal: &Deal, activity: Activity) -> Option<(Vec<Line>, i64)> {
    let Activity { ggr_minor, bonuses_minor, chargebacks_minor } = activity;
    let mut lines = Vec::with_capacity(deal.deductions.len() + 3);
    lines.push(Line { name: "gross gaming revenue".to_owned(), amount_minor: ggr_minor });
    push(&mut lines, "bonuses", bonuses_minor.checked_neg()?);
    push(&mut lines, "chargebacks", chargebacks_minor.checked_neg()?);
    for Deduction { name, rate_ppm, basis } in &deal.deductions {
        let of = match basis {
            Basis::Ggr => i128::from(ggr_minor),
            Basis::GgrLessBonuses => i128::from(ggr_minor) - i128::from(bonuses_minor),
        };
        let taken = round_half_even(of.max(0) * i128::from(*rate_ppm), WHOLE_PPM);
        push(&mut lines, name, i64::try_from(-taken).ok()?);
    }
    let ngr = lines.iter().try_fold(0_i64, |sum, line| sum.checked_add(line.amount_minor))?;
    Some((lines, ngr))
}

fn push(lines: &mut Vec<Line>, name: &str, amount_minor: i64) {
    if amount_minor != 0 {
        lines.push(Line { name: name.to_owned(), amount_minor });
    }
}

fn sum(one: Activity, other: Activity) -> Option<Activity> {
    Some(Activity {
        ggr_minor: one.ggr_minor.checked_add(other.ggr_minor)?,
        bonuses_minor: one.bonuses_minor.checked_add(other.bonuses_minor)?,
        chargebacks_minor: one.chargebacks_minor.checked_add(other.chargebacks_minor)?,
    })
}

/// Makes losses good by revenue, the oldest first; what is left of those that have periods left goes to `next`. Answers how
/// much of the revenue that took.
fn make_good(next: &mut Vec<Loss>, losses: &[Loss], revenue_minor: i64) -> Option<i64> {
    let mut left = revenue_minor;
    for loss in losses {
        let taken = loss.minor.min(left);
        left -= taken;
        let periods_left = match loss.periods_left {
            None => None,
            // This was the last.
            Some(..=1) => continue,
            Some(periods) => Some(periods - 1),
        };
        if loss.minor > taken {
            next.push(Loss { minor: loss.minor - taken, periods_left });
        }
    }
    revenue_minor.checked_sub(left)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn deal(percent: i64, carryover: Carryover) -> Deal {
        Deal { share_ppm: percent * 10_000, deductions: Vec::new(), carryover }
    }

    fn ggr(ggr_minor: i64) -> Activity {
        Activity { ggr_minor, ..Activity::default() }
    }

    /// What each period pays, of customers by name.
    fn earned(deal: &Deal, periods: &[&[(&str, i64)]]) -> Vec<i64> {
        let mut carried = Carried::default();
        let settle = |period: &&[(&str, i64)]| {
            let activities = period.iter().map(|(name, minor)| ((*name).to_owned(), ggr(*minor))).collect();
            let settled = settle(deal, &activities, &carried).expect("in range");
            assert_eq!(settled.lines.iter().map(|line| line.amount_minor).sum::<i64>(), settled.shared_minor);
            carried = settled.carried;
            settled.earned_minor
        };
        periods.iter().map(settle).collect()
    }

    #[test]
    fn each_deduction_is_a_line_of_its_own() {
        let percent = |name: &str, percent: i64| Deduction {
            name: name.to_owned(),
            rate_ppm: percent * 10_000,
            basis: Basis::Ggr,
        };
        let deductions = vec![percent("fees", 3), percent("duty", 15), percent("admin", 5)];
        let deal = Deal { deductions, ..deal(35, Carryover::None) };
        let activity = Activity { ggr_minor: 1_000_000, bonuses_minor: 200_000, chargebacks_minor: 20_000 };
        let activities = BTreeMap::from([("c".to_owned(), activity)]);
        let settled = settle(&deal, &activities, &Carried::default()).expect("in range");
        assert_eq!((settled.ngr_minor, settled.earned_minor), (550_000, 192_500));
        let lines: Vec<_> = settled.lines.iter().map(|line| (&line.name[..], line.amount_minor)).collect();
        assert_eq!(lines, [
            ("gross gaming revenue", 1_000_000),
            ("bonuses", -200_000),
            ("chargebacks", -20_000),
            ("fees", -30_000),
            ("duty", -150_000),
            ("admin", -50_000),
        ]);
        let mut other = deal;
        other.deductions[1].basis = Basis::GgrLessBonuses;
        assert_eq!(settle(&other, &activities, &Carried::default()).map(|settled| settled.ngr_minor), Some(580_000));
    }

    #[test]
    fn losses_are_carried_as_the_deal_says() {
        let months: [&[(&str, i64)]; 4] =
            [&[("c", 100_000)], &[("c", -60_000)], &[("c", 40_000)], &[("c", 50_000)]];
        assert_eq!(earned(&deal(30, Carryover::None), &months), [30_000, 0, 12_000, 15_000]);
        assert_eq!(earned(&deal(30, Carryover::Full), &months), [30_000, 0, 0, 9_000]);
        assert_eq!(earned(&deal(30, Carryover::Limited(1)), &months), [30_000, 0, 0, 15_000]);
        assert_eq!(earned(&deal(30, Carryover::Limited(2)), &months), [30_000, 0, 0, 9_000]);
    }

    #[test]
    fn high_roller_is_set_apart_until_the_loss_is_made_good() {
        let deal = deal(50, Carryover::HighRoller(10_000));
        let months: [&[(&str, i64)]; 5] = [
            &[("high", -15_000), ("other", 4_000)],
            &[("high", 9_000), ("other", 2_000)],
            // A loss below the limit, of somebody else: the tenant's.
            &[("other", -3_000)],
            &[("high", 8_000), ("other", 1_000)],
            &[("high", 1_000), ("other", -1_000)],
        ];
        // In the fourth, 6 000 make the loss good and 2 000 are shared.
        assert_eq!(earned(&deal, &months), [2_000, 1_000, 0, 1_500, 0]);
    }

    #[test]
    fn nobody_gets_a_percentage_back_of_a_loss() {
        let duty = Deduction { name: "duty".to_owned(), rate_ppm: 150_000, basis: Basis::Ggr };
        let deal = Deal { deductions: vec![duty], ..deal(30, Carryover::Full) };
        let activities = BTreeMap::from([("c".to_owned(), ggr(-1_000))]);
        let settled = settle(&deal, &activities, &Carried::default()).expect("in range");
        assert_eq!((settled.ngr_minor, settled.earned_minor), (-1_000, 0));
        assert_eq!(settled.carried.losses, [Loss { minor: 1_000, periods_left: None }]);
    }

    proptest! {
        #[test]
        fn no_loss_is_lost_or_made_good_twice(months in prop::collection::vec(-1_000_000i64..1_000_000, 1..40)) {
            let deal = deal(100, Carryover::Full);
            let (mut carried, mut paid) = (Carried::default(), 0);
            for ngr in &months {
                let activities = BTreeMap::from([("c".to_owned(), ggr(*ngr))]);
                let settled = settle(&deal, &activities, &carried).expect("in range");
                prop_assert!(settled.earned_minor >= 0);
                paid += settled.earned_minor;
                carried = settled.carried;
            }
            let owed: i64 = carried.losses.iter().map(|loss| loss.minor).sum();
            prop_assert_eq!(paid - owed, months.iter().sum::<i64>());
        }

        #[test]
        fn who_bears_less_of_a_loss_never_earns_less(
            months in prop::collection::vec(-1_000_000i64..1_000_000, 1..20),
            periods in 1u32..6,
        ) {
            let total = |carryover| -> i64 {
                let months: Vec<[(&str, i64); 1]> = months.iter().map(|ngr| [("c", *ngr)]).collect();
                let months: Vec<&[(&str, i64)]> = months.iter().map(|month| &month[..]).collect();
                earned(&deal(100, carryover), &months).iter().sum()
            };
            prop_assert!(total(Carryover::Full) <= total(Carryover::Limited(periods)));
            prop_assert!(total(Carryover::Limited(periods)) <= total(Carryover::None));
        }
    }
}
