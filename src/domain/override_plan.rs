//! Overrides: what those above an affiliate earn on its commissions, and why.
//!
//! The tenant pays them on top: they take nothing from the affiliate below. A level is a place above the affiliate, 1 its
//! parent. Each chain earns on its own affiliate's part of a conversion. Whoever may not earn leaves its level empty, and
//! the levels above stay where they are: nothing is passed up.
//!
//! # Decisions
//! - Overrides are reckoned from the affiliates' final commissions, by whatever rule those came about: an override says
//!   what it is on, and the commission below says why that is what it is. So a share of a commission is always that share
//!   of what the commission is before anything is taken back of it: tiers, runs and adjusted sales change it with that
//!   one. A share of the sale changes with the sale and with the affiliate's part of it, a flat amount with the part alone.
//! - A cap cuts what the affiliate itself earns, and with that the shares of it; what is on top is not measured by caps, and
//!   a share of the sale and a flat amount are not cut. Nobody above earns on a sale that its rule pays no more, because
//!   the customer's time is over.
//! - An override keeps its terms and its earner for as long as the conversion is not decided anew: a plan that was set, a
//!   parent that was changed or suspended since changes nothing of it.
//! - What is taken back of an override is the fraction that the rule of the commission below takes of that one, rounded by
//!   itself: `domain::reversal`.
//! - A share of a commission is rounded by itself, as that commission was. Shares of the sale and flat amounts are parts of
//!   one whole where several affiliates share a conversion: they are rounded together for each level and version of a
//!   plan, and split by largest remainder, ties by the affiliate below.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tributary_entity::{
    Instant, commission,
    ids::{AffiliateId, CampaignId, CommissionId, OverridePlanId, TenantId},
    kinds::{RuleKind, RuleSource, RuleStatus},
    money::{Currency, Money},
    override_plan, override_plan_version,
};

use super::{
    apportion::apportion,
    attribution::WHOLE_MILLIONTHS,
    commission::{Explanation, net, round_half_even},
    problem::{Problem, ProblemCode},
    reattribution::Line,
    transition,
};

/// The most levels that a plan pays.
pub const LEVELS_MAX: usize = 10;
/// The most affiliates above another one.
pub const DEPTH_MAX: i32 = 20;
/// The most versions that are shown of a plan.
pub const VERSIONS_SHOWN: i32 = 100;

/// What a level earns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Level {
    /// Millionths of the commission below.
    OfCommission(i64),
    /// Millionths of the affiliate's part of the sale.
    OfSale(i64),
    /// An amount for the whole conversion; of a shared one, the affiliate's part of it.
    Flat(Money),
}

impl Level {
    const fn flat_minor(self) -> i64 {
        match self {
            Self::Flat(money) => money.amount_minor,
            Self::OfCommission(_) | Self::OfSale(_) => 0,
        }
    }

    /// What it earns of a commission; none for one that earns by the sale, or a fixed amount.
    pub fn of_commission(self, commission_minor: i64) -> Option<i128> {
        match self {
            Self::OfCommission(rate_ppm) => {
                Some(round_half_even(i128::from(commission_minor) * i128::from(rate_ppm), 1_000_000))
            }
            Self::OfSale(_) | Self::Flat(_) => None,
        }
    }

    const fn rate_ppm(self) -> i64 {
        match self {
            Self::OfCommission(rate_ppm) | Self::OfSale(rate_ppm) => rate_ppm,
            Self::Flat(_) => 0,
        }
    }
}

/// A plan with the levels of one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub head: override_plan::Model,
    pub terms: override_plan_version::Model,
}

impl Plan {
    /// What each level earns, the first above the affiliate first.
    pub fn levels(&self) -> Vec<Level> {
        levels(&self.terms)
    }
}

/// What each level of a version earns, the first above the affiliate first.
pub fn levels(terms: &override_plan_version::Model) -> Vec<Level> {
    serde_json::from_str(&terms.levels).unwrap_or_default()
}

/// The plan that holds in a campaign: its own, or else the tenant's default. `plans` are active ones.
pub fn in_force(plans: &[Plan], campaign_id: CampaignId) -> Option<&Plan> {
    let of = |id: Option<CampaignId>| plans.iter().find(|plan| plan.head.campaign_id == id);
    of(Some(campaign_id)).or_else(|| of(None))
}

/// How many levels up any of these plans pays.
pub fn reach(plans: &[Plan]) -> i32 {
    plans.iter().map(|plan| plan.levels().len()).max().and_then(|levels| i32::try_from(levels).ok()).unwrap_or_default()
}

/// A plan as a caller sets it.
#[derive(Clone, Debug, Serialize)]
pub struct NewPlan {
    /// None sets the tenant's default.
    pub campaign_id: Option<CampaignId>,
    pub levels: Vec<Level>,
}

impl NewPlan {
    /// Checks the levels. `currency` is the campaign's; none for the tenant's default.
    ///
    /// # Errors
    /// `OUT_OF_RANGE` past [`LEVELS_MAX`]; `CURRENCY_MISMATCH` for a flat amount in another currency, and for any in the
    /// default, which holds for campaigns of all currencies.
    pub fn check(&self, currency: Option<Currency>) -> Result<(), Vec<Problem>> {
        if self.levels.len() > LEVELS_MAX {
            let message = format!("a plan has at most {LEVELS_MAX} levels");
            return Err(vec![Problem::new(ProblemCode::OutOfRange, &["levels"], message)]);
        }
        let wrong = self.levels.iter().filter_map(|level| match (level, currency) {
            (Level::Flat(flat), Some(currency)) if flat.currency != currency => {
                Some(format!("the campaign's commissions are in {currency}"))
            }
            (Level::Flat(_), None) => Some("the default holds for campaigns of all currencies".to_owned()),
            _ => None,
        });
        let problem = |message| Problem::new(ProblemCode::CurrencyMismatch, &["levels", "flat", "currency"], message);
        let problems: Vec<Problem> = wrong.map(problem).collect();
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// The levels as a version of a plan.
    pub fn version(
        &self,
        tenant_id: TenantId,
        head: &override_plan::Model,
        at: Instant,
    ) -> override_plan_version::Model {
        let levels = serde_json::to_string(&self.levels).expect("levels serialize: no maps, no floats");
        override_plan_version::Model {
            tenant_id,
            plan_id: head.id,
            version: head.current_version,
            levels,
            created_at: at,
        }
    }
}

/// An archived plan is set again, not moved.
const TRANSITIONS: &[(RuleStatus, RuleStatus)] = &[(RuleStatus::Active, RuleStatus::Archived)];

/// Moves a status.
///
/// # Errors
/// `INVALID_TRANSITION`.
pub fn transition(from: RuleStatus, to: RuleStatus) -> Result<RuleStatus, Problem> {
    transition::step(TRANSITIONS, "an override plan", from, to)
}

/// Somebody above an affiliate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ancestor {
    pub affiliate_id: AffiliateId,
    /// 1 is the parent.
    pub level: i32,
    pub may_earn: bool,
}

/// Who is above each affiliate, the nearest first. Who has nobody above is not in it.
pub type Chains = BTreeMap<AffiliateId, Vec<Ancestor>>;

/// What an affiliate's parent would make of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The affiliate is the new parent or above it.
    pub is_cycle: bool,
    /// How many are above the new parent.
    pub above_parent: i32,
    /// How many levels are below the affiliate.
    pub below: i32,
}

impl Placement {
    /// Whether the affiliate may be there.
    ///
    /// # Errors
    /// `INVALID_TRANSITION` for a cycle; `OUT_OF_RANGE` past [`DEPTH_MAX`].
    pub fn check(self) -> Result<(), Problem> {
        let field = &["parentId"];
        if self.is_cycle {
            return Err(transition::refused(field, "the parent is the affiliate itself or below it"));
        }
        if self.above_parent + 1 + self.below > DEPTH_MAX {
            let message = format!("an affiliate has at most {DEPTH_MAX} others above it");
            return Err(Problem::new(ProblemCode::OutOfRange, field, message));
        }
        Ok(())
    }
}

/// What an override is on; stored in its explanation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    pub plan_id: OverridePlanId,
    pub plan_version: i32,
    /// 1 is the parent of the affiliate below.
    pub level: i32,
    /// Whose own commission it is on.
    pub base_affiliate_id: AffiliateId,
    pub terms: Level,
}

/// Somebody who earns an override, and on what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub affiliate_id: AffiliateId,
    pub over: Override,
    /// Why the commission below is what it is.
    pub base: Explanation,
}

/// The claims of those above an affiliate on its commission, by a plan.
pub fn claims(plan: &Plan, base_affiliate_id: AffiliateId, base: &Explanation, chain: &[Ancestor]) -> Vec<Claim> {
    if base.recurrence.is_some_and(|recurrence| recurrence.is_over) {
        return Vec::new();
    }
    let claim = |(level, terms): (i32, Level)| {
        let ancestor = chain.iter().find(|ancestor| ancestor.level == level && ancestor.may_earn)?;
        let over =
            Override { plan_id: plan.head.id, plan_version: plan.terms.version, level, base_affiliate_id, terms };
        Some(Claim { affiliate_id: ancestor.affiliate_id, over, base: base.clone() })
    };
    (1..).zip(plan.levels()).filter_map(claim).collect()
}

/// What each claim earns, in their order. None when an amount is past what 64 bits can hold.
pub fn reckon(claims: &[Claim]) -> Option<Vec<Explanation>> {
    let mut pools: BTreeMap<(i32, OverridePlanId, i32), Vec<usize>> = BTreeMap::new();
    let mut amounts = vec![0_i128; claims.len()];
    for (place, Claim { over, base, .. }) in claims.iter().enumerate() {
        match over.terms.of_commission(base.amount.amount_minor) {
            Some(amount) => amounts[place] = amount,
            None => pools.entry((over.level, over.plan_id, over.plan_version)).or_default().push(place),
        }
    }
    const DENOMINATOR: i128 = 1_000_000 * WHOLE_MILLIONTHS as i128;
    for mut places in pools.into_values() {
        places.sort_unstable_by_key(|place| claims[*place].over.base_affiliate_id);
        let exact: Vec<i128> = places.iter().map(|place| part(&claims[*place])).collect::<Option<_>>()?;
        let sum = exact.iter().try_fold(0_i128, |sum, part| sum.checked_add(*part))?;
        let parts = apportion(round_half_even(sum, DENOMINATOR), &exact, DENOMINATOR);
        for (place, part) in places.into_iter().zip(parts) {
            amounts[place] = part;
        }
    }
    claims.iter().zip(amounts).map(|(claim, amount)| Some(explanation(claim, i64::try_from(amount).ok()?))).collect()
}

/// A claim's part of what its level earns on the whole conversion, in 1e-12 of a minor unit.
fn part(Claim { over, base, .. }: &Claim) -> Option<i128> {
    let whole = i128::from(over.terms.flat_minor()) * 1_000_000
        + i128::from(base.sale.amount_minor) * i128::from(over.terms.rate_ppm());
    whole.checked_mul(base.share_millionths.into())
}

fn explanation(Claim { over, base, .. }: &Claim, amount_minor: i64) -> Explanation {
    let (kind, on, fx, share_millionths) = match over.terms {
        Level::OfCommission(_) => (RuleKind::Percent, base.amount, None, WHOLE_MILLIONTHS),
        Level::OfSale(_) => (RuleKind::Percent, base.sale, base.fx, base.share_millionths),
        Level::Flat(_) => (RuleKind::Flat, base.sale, None, base.share_millionths),
    };
    Explanation {
        rule_id: base.rule_id,
        rule_name: format!("Override level {} (plan v{}) on {}", over.level, over.plan_version, base.rule_name),
        rule_version: base.rule_version,
        kind,
        source: RuleSource::OverridePlan,
        sale: on,
        fx,
        flat_minor: over.terms.flat_minor(),
        rate_ppm: over.terms.rate_ppm(),
        share_millionths,
        amount: Money::new(amount_minor, base.amount.currency),
        parts: Vec::new(),
        tier: None,
        modifier: None,
        recurrence: None,
        clamp: None,
        over: Some(*over),
    }
}

/// What the overrides of a conversion become when its affiliates' own commissions become `lines`.
///
/// An override that was earned keeps its terms and its earner, whatever was set since; affiliates who had no commission
/// yet get `fresh` claims. `rows` are all commissions of the conversion that count. None when an amount cannot be held.
pub fn again(
    lines: &[Line],
    rows: &[commission::Model],
    fresh: impl Fn(AffiliateId, &Explanation) -> Vec<Claim>,
) -> Option<Vec<Line>> {
    let mut claims: Vec<Claim> = Vec::new();
    let mut again: BTreeMap<(AffiliateId, i32, AffiliateId), Line> = BTreeMap::new();
    let earned_by = |id| lines.iter().find(|line| line.affiliate_id == id).and_then(|line| line.earned.as_ref());
    for row in rows.iter().filter(|row| row.level > 0) {
        let stored: Explanation = serde_json::from_str(&row.explanation).ok()?;
        let over = stored.over?;
        let line = Line {
            level: over.level,
            base_affiliate_id: Some(over.base_affiliate_id),
            current_minor: net(row).amount_minor,
            ..Line::blank(row.affiliate_id, row.currency)
        };
        again.insert((over.base_affiliate_id, over.level, row.affiliate_id), line);
        if let Some(base) = earned_by(over.base_affiliate_id) {
            claims.push(Claim { affiliate_id: row.affiliate_id, over, base: base.clone() });
        }
    }
    let had_one = |id| rows.iter().any(|row| row.level == 0 && row.affiliate_id == id);
    for line in lines.iter().filter(|line| !had_one(line.affiliate_id)) {
        claims.extend(line.earned.iter().flat_map(|base| fresh(line.affiliate_id, base)));
    }
    for (claim, earned) in claims.iter().zip(reckon(&claims)?) {
        let Claim { affiliate_id, over, .. } = claim;
        let blank = Line {
            level: over.level,
            base_affiliate_id: Some(over.base_affiliate_id),
            ..Line::blank(*affiliate_id, earned.amount.currency)
        };
        again.entry((over.base_affiliate_id, over.level, *affiliate_id)).or_insert(blank).earned = Some(earned);
    }
    Some(again.into_values().collect())
}

/// What overrides come to, before anything is taken back of them, where the commissions below become what `base_of`
/// answers; none of those below whom it does not answer. None when an amount cannot be held.
pub fn anew(
    overrides: &[(&commission::Model, Override)],
    base_of: impl Fn(AffiliateId) -> Option<Explanation>,
) -> Option<BTreeMap<CommissionId, i64>> {
    let claim = |(row, over): &(&commission::Model, Override)| {
        let base = base_of(over.base_affiliate_id)?;
        Some((row.id, Claim { affiliate_id: row.affiliate_id, over: *over, base }))
    };
    let (ids, claims): (Vec<CommissionId>, Vec<Claim>) = overrides.iter().filter_map(claim).unzip();
    let amounts = reckon(&claims)?.into_iter().map(|earned| earned.amount.amount_minor);
    Some(ids.into_iter().zip(amounts).collect())
}

#[cfg(test)]
mod tests;
