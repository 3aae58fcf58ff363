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
mod tests {
    use proptest::prelude::*;
    use tributary_entity::ids::CommissionRuleId;
    use uuid::Uuid;

    use super::*;

    fn eur(amount_minor: i64) -> Money {
        Money::new(amount_minor, "EUR".parse().expect("known"))
    }

    fn affiliate(number: u128) -> AffiliateId {
        AffiliateId::from_uuid(Uuid::from_u128(number))
    }

    fn plan(levels: &[Level]) -> Plan {
        let head = override_plan::Model {
            tenant_id: TenantId::default(),
            id: OverridePlanId::default(),
            campaign_id: None,
            current_version: 1,
            status: RuleStatus::Active,
            created_at: Instant::default(),
            updated_at: Instant::default(),
        };
        let new = NewPlan { campaign_id: None, levels: levels.to_vec() };
        Plan { terms: new.version(TenantId::default(), &head, Instant::default()), head }
    }

    /// A commission of `amount` on `sale`, of an affiliate's `share`.
    fn base(sale: i64, share: i32, amount: i64) -> Explanation {
        Explanation {
            rule_id: CommissionRuleId::default(),
            rule_name: "Standard".to_owned(),
            rule_version: 3,
            kind: RuleKind::Percent,
            source: RuleSource::CampaignDefault,
            sale: eur(sale),
            flat_minor: 0,
            rate_ppm: 200_000,
            share_millionths: share,
            amount: eur(amount),
            fx: None,
            parts: Vec::new(),
            tier: None,
            modifier: None,
            recurrence: None,
            clamp: None,
            over: None,
        }
    }

    fn chain(may_earn: &[bool]) -> Vec<Ancestor> {
        let ancestor = |(level, may_earn): (i32, &bool)| Ancestor {
            affiliate_id: affiliate(100 + level.unsigned_abs() as u128),
            level,
            may_earn: *may_earn,
        };
        (1..).zip(may_earn).map(ancestor).collect()
    }

    /// Level and amount of what a chain earns on one affiliate's commission.
    fn earned(levels: &[Level], base: &Explanation, chain: &[Ancestor]) -> Vec<(i32, i64)> {
        let claims = claims(&plan(levels), affiliate(1), base, chain);
        let amounts = reckon(&claims).expect("in range");
        claims.iter().zip(amounts).map(|(claim, line)| (claim.over.level, line.amount.amount_minor)).collect()
    }

    #[test]
    fn levels_earn_of_the_commission_or_of_the_sale() {
        let whole = base(10_000, WHOLE_MILLIONTHS, 2_000);
        let two = chain(&[true, true]);
        assert_eq!(
            earned(&[Level::OfCommission(100_000), Level::OfCommission(50_000)], &whole, &two),
            [(1, 200), (2, 100)]
        );
        assert_eq!(earned(&[Level::OfSale(100_000), Level::OfSale(50_000)], &whole, &two), [(1, 1_000), (2, 500)]);
        assert_eq!(earned(&[Level::Flat(eur(150)), Level::Flat(eur(25))], &whole, &two), [(1, 150), (2, 25)]);
        // Levels without anybody, and parents without a level, earn nothing.
        assert_eq!(earned(&[Level::OfSale(100_000)], &whole, &two), [(1, 1_000)]);
        assert_eq!(earned(&[Level::OfSale(100_000), Level::OfSale(50_000)], &whole, &chain(&[true])), [(1, 1_000)]);
        assert!(earned(&[Level::OfSale(100_000)], &whole, &[]).is_empty());
    }

    #[test]
    fn who_may_not_earn_leaves_the_level_empty_and_nothing_moves_up() {
        let levels = [Level::OfCommission(100_000), Level::OfCommission(50_000)];
        let whole = base(10_000, WHOLE_MILLIONTHS, 2_000);
        assert_eq!(earned(&levels, &whole, &chain(&[false, true])), [(2, 100)]);
        assert_eq!(earned(&levels, &whole, &chain(&[true, false, true])), [(1, 200)]);
    }

    #[test]
    fn explanation_says_on_what() {
        let whole = base(10_000, WHOLE_MILLIONTHS, 2_000);
        let claims = claims(&plan(&[Level::OfCommission(100_000)]), affiliate(1), &whole, &chain(&[true]));
        let line = reckon(&claims).expect("in range").remove(0);
        assert_eq!((line.rule_name.as_str(), line.rule_version), ("Override level 1 (plan v1) on Standard", 3));
        assert_eq!((line.sale, line.rate_ppm, line.amount), (eur(2_000), 100_000, eur(200)));
        assert_eq!(line.over.map(|over| (over.level, over.base_affiliate_id)), Some((1, affiliate(1))));
    }

    #[test]
    fn chains_of_a_shared_conversion_earn_on_their_own_parts_which_sum_to_the_whole() {
        let plan = plan(&[Level::Flat(eur(1)), Level::OfSale(100_000)]);
        let shares = [333_334, 333_333, 333_333];
        let claims: Vec<Claim> = (1..)
            .zip(shares)
            .flat_map(|(number, share)| claims(&plan, affiliate(number), &base(100, share, 0), &chain(&[true, true])))
            .collect();
        let amounts: Vec<_> = reckon(&claims).expect("in range").iter().map(|line| line.amount.amount_minor).collect();
        // A cent has one winner; 10 % of 1.00 is ten cents.
        assert_eq!(amounts, [1, 4, 0, 3, 0, 3]);
    }

    #[test]
    fn campaigns_own_plan_goes_before_the_default() {
        let campaign = CampaignId::from_uuid(Uuid::from_u128(7));
        let mut own = plan(&[]);
        own.head.campaign_id = Some(campaign);
        let plans = [plan(&[Level::OfSale(1)]), own];
        assert_eq!(in_force(&plans, campaign).map(Plan::levels), Some(vec![]));
        assert_eq!(in_force(&plans, CampaignId::default()).map(Plan::levels), Some(vec![Level::OfSale(1)]));
        assert_eq!(in_force(&[], campaign), None);
    }

    #[test]
    fn flat_levels_need_the_campaigns_currency_and_levels_have_an_end() {
        let new = |levels: Vec<Level>| NewPlan { campaign_id: None, levels };
        let codes = |checked: Result<(), Vec<Problem>>| checked.err().map(|problems| problems[0].code);
        let usd = "USD".parse().expect("known");
        assert_eq!(codes(new(vec![Level::Flat(eur(1))]).check(Some(eur(0).currency))), None);
        assert_eq!(codes(new(vec![Level::Flat(eur(1))]).check(Some(usd))), Some(ProblemCode::CurrencyMismatch));
        assert_eq!(codes(new(vec![Level::Flat(eur(1))]).check(None)), Some(ProblemCode::CurrencyMismatch));
        assert_eq!(codes(new(vec![Level::OfSale(1); LEVELS_MAX + 1]).check(None)), Some(ProblemCode::OutOfRange));
    }

    #[test]
    fn cycles_and_chains_that_are_too_long_are_refused() {
        let code = |is_cycle, above_parent, below| {
            Placement { is_cycle, above_parent, below }.check().err().map(|problem| problem.code)
        };
        assert_eq!(code(true, 0, 0), Some(ProblemCode::InvalidTransition));
        assert_eq!(code(false, DEPTH_MAX - 1, 0), None);
        assert_eq!(code(false, DEPTH_MAX - 3, 2), None);
        assert_eq!(code(false, DEPTH_MAX - 3, 3), Some(ProblemCode::OutOfRange));
    }

    proptest! {
        #[test]
        fn same_commissions_make_no_difference(
            sale in 0i64..1_000_000, cuts in prop::collection::btree_set(1i32..WHOLE_MILLIONTHS, 0..6),
            rates in prop::collection::vec(0i64..=1_000_000, 1..4), of_sale in any::<bool>(),
        ) {
            let level = |rate: &i64| if of_sale { Level::OfSale(*rate) } else { Level::OfCommission(*rate) };
            let plan = plan(&rates.iter().map(level).collect::<Vec<_>>());
            let ends: Vec<i32> = cuts.into_iter().chain([WHOLE_MILLIONTHS]).collect();
            let mut begin = 0;
            let shares = ends.iter().map(|end| end - std::mem::replace(&mut begin, *end));
            let bases: Vec<_> = (1..).map(affiliate).zip(shares.map(|share| base(sale, share, sale / 7))).collect();
            let fresh = |id: AffiliateId, base: &Explanation| claims(&plan, id, base, &chain(&[true, true]));
            // In the order of their touches, which is not that of their ids.
            let claims: Vec<Claim> = bases.iter().rev().flat_map(|(id, base)| fresh(*id, base)).collect();
            let rows: Vec<commission::Model> =
                claims.iter().zip(reckon(&claims).expect("in range")).map(|(claim, line)| row(claim, &line)).collect();
            let own = |id: AffiliateId| commission::Model { level: 0, affiliate_id: id, ..rows[0].clone() };
            let all: Vec<_> = rows.iter().cloned().chain(bases.iter().map(|(id, _)| own(*id))).collect();
            let lines: Vec<Line> = bases
                .iter()
                .map(|(id, base)| Line { earned: Some(base.clone()), ..Line::blank(*id, eur(0).currency) })
                .collect();
            let again = again(&lines, &all, fresh).expect("in range");
            prop_assert_eq!(again.len(), rows.len());
            prop_assert!(again.iter().all(|line| line.difference_minor() == 0));
            let gone = again_without(&lines, &all);
            prop_assert!(gone.iter().all(|line| line.proposed_minor() == 0));
        }
    }

    /// What becomes of overrides when nobody below earns anything any more.
    fn again_without(lines: &[Line], rows: &[commission::Model]) -> Vec<Line> {
        let lines: Vec<Line> = lines.iter().map(|line| Line { earned: None, ..line.clone() }).collect();
        again(&lines, rows, |_, _| Vec::new()).expect("in range")
    }

    fn row(claim: &Claim, line: &Explanation) -> commission::Model {
        commission::Model {
            tenant_id: TenantId::default(),
            id: Default::default(),
            conversion_id: Default::default(),
            affiliate_id: claim.affiliate_id,
            level: claim.over.level,
            base_affiliate_id: Some(claim.over.base_affiliate_id),
            status: tributary_entity::kinds::CommissionStatus::Pending,
            amount_minor: line.amount.amount_minor,
            currency: line.amount.currency,
            adjusted_minor: 0,
            reversed_minor: 0,
            rule_id: line.rule_id,
            rule_version: line.rule_version,
            explanation: serde_json::to_string(line).expect("serializes"),
            payable_at: None,
            released_at: None,
            created_at: Instant::default(),
        }
    }
}
