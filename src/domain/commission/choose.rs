//! Which rule applies: by level, in each level by position, the first whose criteria are met.
//!
//! # Decisions
//! - Levels, low to high: the campaign's defaults, the rules of the affiliate's group, the rule that the enrollment names.
//!   A level none of whose rules fits leaves the conversion to the one below.
//! - In a level, rules with a position come in its order, of equal ones the older first; then those without: the goal's
//!   before that for every goal.

use tributary_entity::{
    ids::{AffiliateGroupId, AffiliateId, CommissionRuleId, GoalId},
    kinds::{RuleSource, RuleStatus},
};

use super::plan::Criteria;
use crate::domain::{click::Labels, rule::Rule};

/// What a click tells of where it came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// In upper case.
    pub country: Option<String>,
    pub source: Option<String>,
    /// `sub1`..`sub10`.
    pub labels: Labels,
}

/// What is asked of a conversion, as one of its affiliates brought it.
#[derive(Clone, Copy, Debug)]
pub struct Occasion<'a> {
    pub affiliate_id: AffiliateId,
    pub goal_id: GoalId,
    /// Of the last click that is credited to the affiliate; none where a coupon is.
    pub origin: Option<&'a Origin>,
    pub product_id: Option<&'a str>,
    /// In upper case.
    pub coupon_code: Option<&'a str>,
    pub group_id: Option<AffiliateGroupId>,
    /// The rule that the enrollment names.
    pub own_rule: Option<CommissionRuleId>,
}

impl Criteria {
    /// Whether a conversion meets all of them.
    pub fn are_met(&self, occasion: &Occasion<'_>) -> bool {
        let meets = |wanted: &std::collections::BTreeSet<String>, value: Option<&str>| {
            wanted.is_empty() || value.is_some_and(|value| wanted.contains(value))
        };
        let origin = |read: fn(&Origin) -> Option<&String>| occasion.origin.and_then(read).map(String::as_str);
        meets(&self.countries, origin(|origin| origin.country.as_ref()))
            && meets(&self.products, occasion.product_id)
            && meets(&self.coupons, occasion.coupon_code)
            && meets(&self.sources, origin(|origin| origin.source.as_ref()))
            && self.subs.iter().all(|(name, wanted)| {
                meets(wanted, occasion.origin.and_then(|origin| origin.labels.get(name)).map(String::as_str))
            })
    }
}

/// The rule that applies, if any; `rules` are the campaign's.
pub fn choose<'r>(rules: &'r [Rule], occasion: &Occasion<'_>) -> Option<(&'r Rule, RuleSource)> {
    let fits = |rule: &&Rule| may_fit(rule, occasion) && rule.plan.criteria.are_met(occasion);
    let first = |source| {
        let of_level = rules.iter().filter(|rule| level(rule, occasion) == Some(source)).filter(fits);
        of_level.min_by_key(|rule| place(rule)).map(|rule| (rule, source))
    };
    first(RuleSource::EnrollmentOverride)
        .or_else(|| first(RuleSource::AffiliateGroup))
        .or_else(|| first(RuleSource::CampaignDefault))
}

/// Whether a rule may apply to an affiliate's conversions of a goal, whatever its criteria ask besides.
pub fn concerns(rule: &Rule, occasion: &Occasion<'_>) -> bool {
    may_fit(rule, occasion) && level(rule, occasion).is_some()
}

fn may_fit(rule: &Rule, occasion: &Occasion<'_>) -> bool {
    rule.head.status == RuleStatus::Active && rule.head.goal_id.is_none_or(|bound| bound == occasion.goal_id)
}

/// At which level a rule is for an affiliate.
fn level(rule: &Rule, occasion: &Occasion<'_>) -> Option<RuleSource> {
    if occasion.own_rule == Some(rule.head.id) {
        return Some(RuleSource::EnrollmentOverride);
    }
    match rule.head.group_id {
        Some(id) => (occasion.group_id == Some(id)).then_some(RuleSource::AffiliateGroup),
        None => rule.head.is_default.then_some(RuleSource::CampaignDefault),
    }
}

fn place(rule: &Rule) -> (bool, Option<i32>, bool, CommissionRuleId) {
    let unplaced = rule.head.position.is_none();
    // Between rules with a position the goal is a criterion like any other.
    (unplaced, rule.head.position, unplaced && rule.head.goal_id.is_none(), rule.head.id)
}
