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
use tributary_entity::{
    ids::{AffiliateId, CampaignId},
    money::{Currency, Money},
};

use super::{
    award::Step,
    commission::round_half_even,
    revenue_deal::{Basis, Carryover, Deduction, Terms},
    rule::format_percent,
};

const WHOLE_PPM: i128 = 1_000_000;

/// What a customer's play came to in a period, in minor units of one currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// Stakes less winnings: negative where the customer won.
    pub ggr_minor: i64,
    /// Negative only where a record of an earlier period is put right, as the chargebacks.
    pub bonuses_minor: i64,
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

impl Carried {
    /// All of it.
    pub fn sum_minor(&self) -> i64 {
        let losses = self.losses.iter().map(|loss| loss.minor);
        losses.chain(self.customers.values().copied()).fold(0, i64::saturating_add)
    }
}

/// A step on the way to what an affiliate has, in minor units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub name: String,
    pub amount_minor: i64,
    /// Of a deduction: what it was taken of. None for the other lines, and for all that were settled before this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken: Option<Taken>,
}

/// What a percentage was taken of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    pub rate_ppm: i64,
    pub basis: Basis,
    /// What the basis came to in the period, in minor units; more than nothing.
    pub basis_minor: i64,
}

/// A period as it is settled, in minor units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Of all customers, also of those who are set apart.
    pub ggr_minor: i64,
    /// From GGR to what the share is of: they sum to it.
    pub lines: Vec<Line>,
    /// Of the customers who are not set apart; before what was carried over.
    pub ngr_minor: i64,
    /// Of NGR, losses made good; not negative.
    pub shared_minor: i64,
    /// What the affiliate has of that.
    pub share_minor: i64,
    /// Customers who qualified.
    pub qualified: i64,
    /// For them together.
    pub qualified_minor: i64,
    pub carried: Carried,
}

impl Settled {
    /// What the affiliate gets. In range where it was settled.
    pub const fn earned_minor(&self) -> i64 {
        self.share_minor + self.qualified_minor
    }
}

/// What is left of losses when periods pass in which nothing was recorded.
pub fn pass(carried: &mut Carried, periods: u32) {
    carried.losses.retain_mut(|loss| match &mut loss.periods_left {
        None => true,
        Some(left) => {
            *left = left.saturating_sub(periods);
            *left > 0
        }
    });
}

/// Settles a period in which so many customers qualified. `carried` is what the one before it left. None when a sum is past
/// what can be held.
pub fn settle(
    terms: &Terms,
    activities: &BTreeMap<String, Activity>,
    carried: &Carried,
    qualified: usize,
) -> Option<Settled> {
    let (mut apart, mut next) = (0, Carried::default());
    let mut together = Activity::default();
    let ggr_minor = activities.values().try_fold(0_i64, |sum, activity| sum.checked_add(activity.ggr_minor))?;
    for (customer, activity) in activities {
        let ngr = i128::from(net(terms, *activity)?.1);
        let before = i128::from(carried.customers.get(customer).copied().unwrap_or_default());
        let is_high_roller =
            matches!(terms.carryover, Carryover::HighRoller(limit) if ngr <= -i128::from(limit.amount_minor));
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
    let (mut lines, ngr_minor) = net(terms, together)?;
    let apart_minor = i64::try_from(apart).ok()?;
    push(&mut lines, "customers set apart, past their losses", apart_minor);
    let mut left = ngr_minor.checked_add(apart_minor)?;
    let made_good = make_good(&mut next.losses, &carried.losses, left.max(0))?;
    push(&mut lines, "losses of earlier periods", -made_good);
    left -= made_good;
    if left < 0 {
        let periods_left = match terms.carryover {
            Carryover::Full => Some(None),
            Carryover::Limited(periods) => Some(Some(periods)),
            Carryover::None | Carryover::HighRoller(_) => None,
        };
        let minor = left.checked_neg()?;
        next.losses.extend(periods_left.map(|periods_left| Loss { minor, periods_left }));
        push(&mut lines, "loss that is not shared", minor);
        left = 0;
    }
    let share = round_half_even(i128::from(left) * i128::from(terms.share_ppm), WHOLE_PPM);
    let share_minor = i64::try_from(share).ok()?;
    let qualified = i64::try_from(qualified).ok()?;
    let qualified_minor = qualified.checked_mul(terms.qualified.map_or(0, |cpa| cpa.amount.amount_minor))?;
    share_minor.checked_add(qualified_minor)?;
    let (shared_minor, carried) = (left, next);
    Some(Settled { ggr_minor, lines, ngr_minor, shared_minor, share_minor, qualified, qualified_minor, carried })
}

/// How what is posted came about.
pub fn steps(terms: &Terms, settled: &Settled, currency: Currency) -> Vec<Step> {
    let step = |name: &str, value: String| Step { name: name.to_owned(), value };
    let money = |minor| Money::new(minor, currency).decimal();
    let mut steps = vec![
        step("net revenue that is shared", money(settled.shared_minor)),
        step("share in percent", format_percent(terms.share_ppm)),
        step("share", money(settled.share_minor)),
    ];
    if let Some(cpa) = terms.qualified {
        steps.push(step("customers who qualified", settled.qualified.to_string()));
        steps.push(step("for each of them", cpa.amount.decimal()));
    }
    steps
}

/// The lines from GGR to NGR, and NGR.
fn net(terms: &Terms, activity: Activity) -> Option<(Vec<Line>, i64)> {
    let Activity { ggr_minor, bonuses_minor, chargebacks_minor } = activity;
    let mut lines = Vec::with_capacity(terms.deductions.len() + 3);
    lines.push(Line { name: "gross gaming revenue".to_owned(), amount_minor: ggr_minor, taken: None });
    push(&mut lines, "bonuses", bonuses_minor.checked_neg()?);
    push(&mut lines, "chargebacks", chargebacks_minor.checked_neg()?);
    for Deduction { name, rate_ppm, basis } in &terms.deductions {
        let basis_minor = match basis {
            Basis::Ggr => ggr_minor,
            Basis::GgrLessBonuses => ggr_minor.checked_sub(bonuses_minor)?,
        };
        let part = round_half_even(i128::from(basis_minor.max(0)) * i128::from(*rate_ppm), WHOLE_PPM);
        let taken = Taken { rate_ppm: *rate_ppm, basis: *basis, basis_minor };
        push_taken(&mut lines, name, i64::try_from(-part).ok()?, Some(taken));
    }
    let ngr = lines.iter().try_fold(0_i64, |sum, line| sum.checked_add(line.amount_minor))?;
    Some((lines, ngr))
}

fn push(lines: &mut Vec<Line>, name: &str, amount_minor: i64) {
    push_taken(lines, name, amount_minor, None);
}

fn push_taken(lines: &mut Vec<Line>, name: &str, amount_minor: i64, taken: Option<Taken>) {
    if amount_minor != 0 {
        lines.push(Line { name: name.to_owned(), amount_minor, taken });
    }
}

/// Both together; none past what can be held.
pub fn sum(one: Activity, other: Activity) -> Option<Activity> {
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

/// Which settlements a list holds. All conditions must hold.
#[derive(Clone, Debug, Default)]
pub struct SettlementFilter {
    pub affiliate_ids: Option<Vec<AffiliateId>>,
    pub campaign_ids: Option<Vec<CampaignId>>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tributary_entity::kinds::SettlementPeriod;

    use super::{super::revenue_deal::QualifiedCpa, *};

    fn deal(percent: i64, carryover: Carryover) -> Terms {
        Terms {
            share_ppm: percent * 10_000,
            deductions: Vec::new(),
            carryover,
            period: SettlementPeriod::Month,
            wait_days: 0,
            qualified: None,
        }
    }

    fn ggr(ggr_minor: i64) -> Activity {
        Activity { ggr_minor, ..Activity::default() }
    }

    /// What each period pays, of customers by name.
    fn earned(terms: &Terms, periods: &[&[(&str, i64)]]) -> Vec<i64> {
        let mut carried = Carried::default();
        let settle = |period: &&[(&str, i64)]| {
            let activities = period.iter().map(|(name, minor)| ((*name).to_owned(), ggr(*minor))).collect();
            let settled = settle(terms, &activities, &carried, 0).expect("in range");
            assert_eq!(settled.lines.iter().map(|line| line.amount_minor).sum::<i64>(), settled.shared_minor);
            carried = settled.carried;
            settled.share_minor
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
        let deal = Terms { deductions, ..deal(35, Carryover::None) };
        let activity = Activity { ggr_minor: 1_000_000, bonuses_minor: 200_000, chargebacks_minor: 20_000 };
        let activities = BTreeMap::from([("c".to_owned(), activity)]);
        let settled = settle(&deal, &activities, &Carried::default(), 0).expect("in range");
        assert_eq!((settled.ngr_minor, settled.share_minor), (550_000, 192_500));
        let lines: Vec<_> = settled.lines.iter().map(|line| (&line.name[..], line.amount_minor)).collect();
        assert_eq!(
            lines,
            [
                ("gross gaming revenue", 1_000_000),
                ("bonuses", -200_000),
                ("chargebacks", -20_000),
                ("fees", -30_000),
                ("duty", -150_000),
                ("admin", -50_000),
            ]
        );
        let of_ggr = |rate_ppm| Some(Taken { rate_ppm, basis: Basis::Ggr, basis_minor: 1_000_000 });
        let taken: Vec<Option<Taken>> = settled.lines.iter().map(|line| line.taken).collect();
        assert_eq!(taken, [None, None, None, of_ggr(30_000), of_ggr(150_000), of_ggr(50_000)]);
        let mut other = deal;
        other.deductions[1].basis = Basis::GgrLessBonuses;
        let settled = settle(&other, &activities, &Carried::default(), 0).expect("in range");
        assert_eq!(settled.ngr_minor, 580_000);
        let duty = Taken { rate_ppm: 150_000, basis: Basis::GgrLessBonuses, basis_minor: 800_000 };
        assert_eq!(settled.lines[4].taken, Some(duty));
    }

    #[test]
    fn lines_are_read_as_they_were_stored_with_and_without_what_they_were_taken_of() {
        let earlier = r#"{"name":"duty","amount_minor":-15}"#;
        let line: Line = serde_json::from_str(earlier).expect("reads");
        assert_eq!((line.amount_minor, line.taken), (-15, None));
        assert_eq!(serde_json::to_string(&line).expect("writes"), earlier);
        let taken = Taken { rate_ppm: 150_000, basis: Basis::Ggr, basis_minor: 100 };
        let line = Line { taken: Some(taken), ..line };
        let text = serde_json::to_string(&line).expect("writes");
        assert_eq!(serde_json::from_str::<Line>(&text).expect("reads"), line);
    }

    #[test]
    fn losses_are_carried_as_the_deal_says() {
        let months: [&[(&str, i64)]; 4] = [&[("c", 100_000)], &[("c", -60_000)], &[("c", 40_000)], &[("c", 50_000)]];
        assert_eq!(earned(&deal(30, Carryover::None), &months), [30_000, 0, 12_000, 15_000]);
        assert_eq!(earned(&deal(30, Carryover::Full), &months), [30_000, 0, 0, 9_000]);
        assert_eq!(earned(&deal(30, Carryover::Limited(1)), &months), [30_000, 0, 0, 15_000]);
        assert_eq!(earned(&deal(30, Carryover::Limited(2)), &months), [30_000, 0, 0, 9_000]);
    }

    #[test]
    fn hybrid_is_a_share_and_an_amount_for_each_who_qualified() {
        let amount = Money::new(5_000, "EUR".parse().expect("known"));
        let qualified = QualifiedCpa { amount, deposits: None, stakes: None, days: None };
        let hybrid = Terms { qualified: Some(qualified), ..deal(25, Carryover::None) };
        let activities = BTreeMap::from([("c".to_owned(), ggr(-10)), ("d".to_owned(), ggr(30_010))]);
        let settled = settle(&hybrid, &activities, &Carried::default(), 2).expect("in range");
        assert_eq!((settled.share_minor, settled.qualified_minor, settled.earned_minor()), (7_500, 10_000, 17_500));
        let steps = steps(&hybrid, &settled, amount.currency);
        let steps: Vec<_> = steps.iter().map(|step| &step.value[..]).collect();
        assert_eq!(steps, ["300.00", "25", "75.00", "2", "50.00"]);
    }

    #[test]
    fn losses_run_out_in_periods_without_records() {
        let loss = |periods_left| Loss { minor: 5, periods_left };
        let mut carried = Carried { losses: vec![loss(None), loss(Some(1)), loss(Some(3))], ..Carried::default() };
        pass(&mut carried, 0);
        assert_eq!(carried.losses.len(), 3);
        pass(&mut carried, 2);
        assert_eq!(carried.losses, [loss(None), loss(Some(1))]);
    }

    #[test]
    fn high_roller_is_set_apart_until_the_loss_is_made_good() {
        let deal = deal(50, Carryover::HighRoller(Money::new(10_000, "EUR".parse().expect("known"))));
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
        let deal = Terms { deductions: vec![duty], ..deal(30, Carryover::Full) };
        let activities = BTreeMap::from([("c".to_owned(), ggr(-1_000))]);
        let settled = settle(&deal, &activities, &Carried::default(), 0).expect("in range");
        assert_eq!((settled.ngr_minor, settled.share_minor), (-1_000, 0));
        assert_eq!(settled.carried.losses, [Loss { minor: 1_000, periods_left: None }]);
    }

    proptest! {
        #[test]
        fn no_loss_is_lost_or_made_good_twice(months in prop::collection::vec(-1_000_000i64..1_000_000, 1..40)) {
            let deal = deal(100, Carryover::Full);
            let (mut carried, mut paid) = (Carried::default(), 0);
            for ngr in &months {
                let activities = BTreeMap::from([("c".to_owned(), ggr(*ngr))]);
                let settled = settle(&deal, &activities, &carried, 0).expect("in range");
                prop_assert!(settled.share_minor >= 0);
                paid += settled.share_minor;
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
