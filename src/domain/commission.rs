//! Commission: which rule applies, what it earns, and why.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tributary_entity::{
    commission,
    ids::{AffiliateId, CommissionRuleId, ConversionId, GoalId},
    kinds::{CommissionStatus, RuleKind, RuleSource, RuleStatus},
    money::Money,
};

use super::{apportion::apportion, attribution::WHOLE_MILLIONTHS, ledger::Earned, override_plan::Override, rule::Rule};

/// Why a commission is what it is; stored with it, so that a later change of the rule explains nothing away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    pub rule_id: CommissionRuleId,
    pub rule_name: String,
    pub rule_version: i32,
    pub kind: RuleKind,
    pub source: RuleSource,
    /// What the customer paid.
    pub sale: Money,
    /// The rule's fixed part, in minor units of the commission's currency.
    pub flat_minor: i64,
    /// The rule's share of the sale, in millionths.
    pub rate_ppm: i64,
    /// The affiliate's share of the conversion, in millionths.
    pub share_millionths: i32,
    /// What was earned: `(flat + sale x rate) x share`, rounded half to even, once; where several affiliates share it by the
    /// same terms, their sum is rounded and split by largest remainder.
    pub amount: Money,
    /// What an override is on, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<Override>,
}

/// What a commission is now: what was reckoned, with what attribution runs added or took since.
pub const fn net(row: &commission::Model) -> Money {
    Money::new(row.amount_minor + row.adjusted_minor, row.currency)
}

/// A commission as the ledger takes it, as it is now.
pub const fn earned(row: &commission::Model) -> Earned {
    Earned { affiliate_id: row.affiliate_id, level: row.level, amount: net(row) }
}

/// Which commissions a list holds. All conditions must hold.
#[derive(Clone, Debug, Default)]
pub struct CommissionFilter {
    pub affiliate_ids: Option<Vec<AffiliateId>>,
    pub conversion_ids: Option<Vec<ConversionId>>,
    pub statuses: Option<Vec<CommissionStatus>>,
    /// 0 is an affiliate's own, the others are overrides.
    pub levels: Option<Vec<i32>>,
}

/// The rule that applies: an enrollment's own before the campaign's default for the goal before its default for all.
///
/// `rules` are the campaign's. An override that is archived, or made for another goal, does not apply.
pub fn choose(
    rules: &[Rule],
    goal_id: GoalId,
    enrollment_rule: Option<CommissionRuleId>,
) -> Option<(&Rule, RuleSource)> {
    let active = || rules.iter().filter(|rule| rule.head.status == RuleStatus::Active);
    if let Some(id) = enrollment_rule
        && let Some(rule) =
            active().find(|rule| rule.head.id == id && rule.head.goal_id.is_none_or(|bound| bound == goal_id))
    {
        return Some((rule, RuleSource::EnrollmentOverride));
    }
    let default = |goal| active().find(|rule| rule.head.is_default && rule.head.goal_id == goal);
    default(Some(goal_id)).or_else(|| default(None)).map(|rule| (rule, RuleSource::CampaignDefault))
}

/// Splits the commission of a sale among the affiliates credited with it, each by the rule that is its own; who has none
/// has no line. `credits` are in millionths of the conversion, one per affiliate, in the order of their first touch. None
/// when an amount is past what 64 bits can hold.
///
/// Affiliates with the same terms share one pool: `round_half_even((flat x 10^6 + sale x rate) x credits / 10^12)`, rounded
/// once for all of them; their parts sum to it exactly, by largest remainder, ties by the earlier touch.
pub fn split<'a>(
    sale: Money,
    credits: &[(AffiliateId, i32)],
    rule_of: impl Fn(AffiliateId) -> Option<(&'a Rule, RuleSource)>,
) -> Option<Vec<(AffiliateId, Explanation)>> {
    let mut pools: BTreeMap<(CommissionRuleId, i32), Vec<usize>> = BTreeMap::new();
    let rules: Vec<_> = credits.iter().map(|(affiliate_id, _)| rule_of(*affiliate_id)).collect();
    for (place, rule) in rules.iter().enumerate() {
        if let Some((rule, _)) = rule {
            pools.entry((rule.head.id, rule.terms.version)).or_default().push(place);
        }
    }
    let mut lines: Vec<(usize, Explanation)> = Vec::with_capacity(credits.len());
    for places in pools.into_values() {
        let members = places.iter().filter_map(|place| rules[*place].map(|rule| (rule, credits[*place].1)));
        let members: Vec<((&Rule, RuleSource), i32)> = members.collect();
        lines.extend(places.iter().copied().zip(pool(sale, &members)?));
    }
    lines.sort_unstable_by_key(|(place, _)| *place);
    Some(lines.into_iter().map(|(place, line)| (credits[place].0, line)).collect())
}

/// What those earn who share the same terms.
fn pool(sale: Money, members: &[((&Rule, RuleSource), i32)]) -> Option<Vec<Explanation>> {
    const DENOMINATOR: i128 = 1_000_000 * WHOLE_MILLIONTHS as i128;
    let exact = members.iter().map(|((rule, _), share)| whole(rule, sale).checked_mul((*share).into()));
    let exact: Vec<i128> = exact.collect::<Option<_>>()?;
    let sum = exact.iter().try_fold(0_i128, |sum, part| sum.checked_add(*part))?;
    let parts = apportion(round_half_even(sum, DENOMINATOR), &exact, DENOMINATOR);
    members.iter().zip(parts).map(|(member, part)| explanation(*member, sale, i64::try_from(part).ok()?)).collect()
}

/// What a rule earns on a whole sale, in millionths of a minor unit.
fn whole(rule: &Rule, sale: Money) -> i128 {
    i128::from(rule.terms.flat_minor) * 1_000_000 + i128::from(sale.amount_minor) * i128::from(rule.terms.rate_ppm)
}

fn explanation(
    ((rule, source), share_millionths): ((&Rule, RuleSource), i32),
    sale: Money,
    amount_minor: i64,
) -> Option<Explanation> {
    let Rule { head, terms } = rule;
    Some(Explanation {
        rule_id: head.id,
        rule_name: head.name.clone(),
        rule_version: terms.version,
        kind: terms.kind,
        source,
        sale,
        flat_minor: terms.flat_minor,
        rate_ppm: terms.rate_ppm,
        share_millionths,
        amount: Money::new(amount_minor, sale.currency),
        over: None,
    })
}

/// `numerator / denominator` to the nearest integer, ties to the even one. `denominator` is positive.
pub fn round_half_even(numerator: i128, denominator: i128) -> i128 {
    let quotient = numerator.div_euclid(denominator);
    let twice = numerator.rem_euclid(denominator) * 2;
    match twice.cmp(&denominator) {
        std::cmp::Ordering::Less => quotient,
        std::cmp::Ordering::Greater => quotient + 1,
        std::cmp::Ordering::Equal => quotient + quotient.rem_euclid(2),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tributary_entity::{
        Instant, commission_rule, commission_rule_version,
        ids::{CampaignId, TenantId},
    };
    use uuid::Uuid;

    use super::*;

    fn rule(number: u128, goal: Option<u128>, is_default: bool, flat_minor: i64, rate_ppm: i64) -> Rule {
        let at = Instant::from_timestamp(0, 0).expect("in range");
        let tenant_id = TenantId::from_uuid(Uuid::nil());
        let id = CommissionRuleId::from_uuid(Uuid::from_u128(number));
        Rule {
            head: commission_rule::Model {
                tenant_id,
                id,
                campaign_id: CampaignId::from_uuid(Uuid::nil()),
                goal_id: goal.map(|goal| GoalId::from_uuid(Uuid::from_u128(goal))),
                name: format!("rule {number}"),
                is_default,
                current_version: 1,
                status: RuleStatus::Active,
                created_at: at,
                updated_at: at,
            },
            terms: commission_rule_version::Model {
                tenant_id,
                rule_id: id,
                version: 1,
                kind: RuleKind::FlatPlusPercent,
                flat_minor,
                rate_ppm,
                created_at: at,
            },
        }
    }

    fn eur(amount_minor: i64) -> Money {
        Money::new(amount_minor, "EUR".parse().expect("known"))
    }

    fn earned(flat_minor: i64, rate_ppm: i64, sale: i64, share: i32) -> i64 {
        amounts(&rule(1, None, true, flat_minor, rate_ppm), sale, &[share])[0]
    }

    /// What affiliates 1, 2, 3.. with these shares earn by one rule.
    fn amounts(rule: &Rule, sale: i64, shares: &[i32]) -> Vec<i64> {
        let credits: Vec<(AffiliateId, i32)> = (1..).map(affiliate).zip(shares.iter().copied()).collect();
        let lines = split(eur(sale), &credits, |_| Some((rule, RuleSource::CampaignDefault))).expect("in range");
        lines.into_iter().map(|(_, line)| line.amount.amount_minor).collect()
    }

    fn affiliate(number: u128) -> AffiliateId {
        AffiliateId::from_uuid(Uuid::from_u128(number))
    }

    #[test]
    fn flat_percent_and_both_earn_what_they_say() {
        assert_eq!(earned(250, 0, 4_900, WHOLE_MILLIONTHS), 250);
        assert_eq!(earned(0, 300_000, 4_900, WHOLE_MILLIONTHS), 1_470);
        assert_eq!(earned(100, 50_000, 2_000, WHOLE_MILLIONTHS), 200);
        assert_eq!(earned(0, 200_000, 10_000, 400_000), 800);
    }

    #[test]
    fn halves_round_to_the_even_unit_once() {
        // 10 % of 0.05, 0.15, 0.25, 0.35 is 0.5, 1.5, 2.5, 3.5 cents.
        let cents: Vec<i64> = [5, 15, 25, 35].map(|sale| earned(0, 100_000, sale, WHOLE_MILLIONTHS)).into();
        assert_eq!(cents, [0, 2, 2, 4]);
        assert_eq!(round_half_even(-5, 10), 0);
        assert_eq!(round_half_even(-15, 10), -2);
    }

    #[test]
    fn parts_of_one_pool_sum_to_the_whole() {
        // 10 % of 1.00 in three: 3.34, 3.33, 3.33 cents.
        let tenth = rule(1, None, true, 0, 100_000);
        assert_eq!(amounts(&tenth, 100, &[333_334, 333_333, 333_333]), [4, 3, 3]);
        // A flat 0.01 between two has one winner: the earlier one.
        assert_eq!(amounts(&rule(1, None, true, 1, 0), 0, &[500_000, 500_000]), [1, 0]);
        // A part of a conversion: the others have no rule, and their part of it is nobody's.
        assert_eq!(amounts(&tenth, 100, &[250_000, 250_000]), [3, 2]);
    }

    #[test]
    fn each_is_paid_by_a_rule_of_its_own_or_not_at_all() {
        let (tenth, fifth) = (rule(1, None, true, 0, 100_000), rule(2, None, false, 0, 200_000));
        let credits = [(affiliate(3), 400_000), (affiliate(1), 400_000), (affiliate(2), 200_000)];
        let lines = split(eur(1_000), &credits, |id| match id {
            id if id == affiliate(1) => Some((&fifth, RuleSource::EnrollmentOverride)),
            id if id == affiliate(2) => None,
            _ => Some((&tenth, RuleSource::CampaignDefault)),
        });
        let lines = lines.expect("in range");
        let lines: Vec<_> = lines.iter().map(|(id, line)| (*id, line.amount.amount_minor, line.source)).collect();
        let own = RuleSource::EnrollmentOverride;
        assert_eq!(lines, [(affiliate(3), 40, RuleSource::CampaignDefault), (affiliate(1), 80, own)]);
    }

    #[test]
    fn what_no_amount_can_hold_is_no_commission() {
        let most = rule(1, None, true, i64::MAX, 1_000_000);
        let credits = [(affiliate(1), WHOLE_MILLIONTHS)];
        assert_eq!(split(eur(i64::MAX), &credits, |_| Some((&most, RuleSource::CampaignDefault))), None);
    }

    #[test]
    fn enrollment_rule_goes_before_goal_default_before_campaign_default() {
        let goal = GoalId::from_uuid(Uuid::from_u128(9));
        let rules = [rule(1, None, true, 1, 0), rule(2, Some(9), true, 2, 0), rule(3, None, false, 3, 0)];
        let chosen = |rules: &[Rule], own: Option<u128>| {
            choose(rules, goal, own.map(|own| CommissionRuleId::from_uuid(Uuid::from_u128(own))))
                .map(|(rule, source)| (rule.terms.flat_minor, source))
        };
        assert_eq!(chosen(&rules, Some(3)), Some((3, RuleSource::EnrollmentOverride)));
        assert_eq!(chosen(&rules, None), Some((2, RuleSource::CampaignDefault)));
        assert_eq!(chosen(&rules[..1], None), Some((1, RuleSource::CampaignDefault)));
        assert_eq!(chosen(&rules[2..], None), None);
        // An override made for one goal is not paid for another.
        let bound = [rule(1, None, true, 1, 0), rule(4, Some(8), false, 4, 0)];
        assert_eq!(chosen(&bound, Some(4)), Some((1, RuleSource::CampaignDefault)));
        let mut archived = rules.clone();
        archived[2].head.status = RuleStatus::Archived;
        assert_eq!(chosen(&archived, Some(3)), Some((2, RuleSource::CampaignDefault)));
    }

    proptest! {
        #[test]
        fn parts_are_within_a_unit_of_their_exact_value_and_sum_to_the_rounded_whole(
            sale in 0i64..=1_000_000_000, rate in 0i64..=1_000_000, flat in 0i64..=100_000,
            cuts in prop::collection::btree_set(1i32..WHOLE_MILLIONTHS, 0..20),
        ) {
            let ends: Vec<i32> = cuts.into_iter().chain([WHOLE_MILLIONTHS]).collect();
            let mut begin = 0;
            let shares: Vec<i32> = ends.iter().map(|end| end - std::mem::replace(&mut begin, *end)).collect();
            let parts = amounts(&rule(1, None, true, flat, rate), sale, &shares);
            prop_assert_eq!(parts.iter().sum::<i64>(), earned(flat, rate, sale, WHOLE_MILLIONTHS));
            let whole = i128::from(flat) * 1_000_000 + i128::from(sale) * i128::from(rate);
            for (part, share) in parts.iter().zip(&shares) {
                let error = i128::from(*part) * 1_000_000_000_000 - whole * i128::from(*share);
                prop_assert!(error.abs() < 1_000_000_000_000);
            }
        }

        #[test]
        fn rounding_is_within_half_a_unit_and_never_past_the_sale(
            sale in 0i64..=tributary_entity::money::MAX_INPUT_MINOR,
            rate in 0i64..=1_000_000,
        ) {
            let amount = earned(0, rate, sale, WHOLE_MILLIONTHS);
            prop_assert!(amount <= sale);
            let exact = i128::from(sale) * i128::from(rate);
            let error = (i128::from(amount) * 1_000_000 - exact).abs();
            prop_assert!(error * 2 <= 1_000_000);
        }
    }
}
