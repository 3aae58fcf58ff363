//! Commission: which rule applies, what it earns, and why.

use serde::{Deserialize, Serialize};
use tributary_entity::{
    ids::{AffiliateId, CommissionRuleId, ConversionId, GoalId},
    kinds::{CommissionStatus, RuleKind, RuleSource, RuleStatus},
    money::Money,
};

use super::{attribution::WHOLE_MILLIONTHS, rule::Rule};

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
    /// What was earned: `(flat + sale x rate) x share`, rounded half to even, once.
    pub amount: Money,
}

/// Which commissions a list holds. All conditions must hold.
#[derive(Clone, Debug, Default)]
pub struct CommissionFilter {
    pub affiliate_ids: Option<Vec<AffiliateId>>,
    pub conversion_ids: Option<Vec<ConversionId>>,
    pub statuses: Option<Vec<CommissionStatus>>,
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

/// What a rule earns on a sale in the same currency, for a share of the conversion. None when it is past what a
/// 64-bit amount can hold.
///
/// `round_half_even((flat x 10^6 + sale x rate) x share / 10^12)`
pub fn earn(rule: &Rule, source: RuleSource, sale: Money, share_millionths: i32) -> Option<Explanation> {
    let terms = &rule.terms;
    let base = i128::from(terms.flat_minor) * 1_000_000 + i128::from(sale.amount_minor) * i128::from(terms.rate_ppm);
    let amount = round_half_even(base.checked_mul(share_millionths.into())?, 1_000_000 * i128::from(WHOLE_MILLIONTHS));
    Some(Explanation {
        rule_id: rule.head.id,
        rule_name: rule.head.name.clone(),
        rule_version: terms.version,
        kind: terms.kind,
        source,
        sale,
        flat_minor: terms.flat_minor,
        rate_ppm: terms.rate_ppm,
        share_millionths,
        amount: Money::new(i64::try_from(amount).ok()?, sale.currency),
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
        earn(&rule(1, None, true, flat_minor, rate_ppm), RuleSource::CampaignDefault, eur(sale), share)
            .expect("in range")
            .amount
            .amount_minor
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
