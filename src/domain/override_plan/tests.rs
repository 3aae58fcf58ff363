//! Override plans: what levels earn, of what, and what becomes of that.

use proptest::prelude::*;
use tributary_entity::ids::CommissionRuleId;
use uuid::Uuid;

use super::*;
use crate::domain::commission::recurring::Recurrence;

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
fn nobody_above_earns_on_a_sale_that_is_paid_no_more() {
    let over = Recurrence { max_months: 1, is_known: true, first_at: Some(Instant::default()), is_over: true };
    let base = |is_over| Explanation { recurrence: Some(Recurrence { is_over, ..over }), ..base(100, 1_000_000, 0) };
    assert!(earned(&[Level::OfSale(100_000)], &base(true), &chain(&[true])).is_empty());
    assert_eq!(earned(&[Level::OfSale(100_000)], &base(false), &chain(&[true])), [(1, 10)]);
}

#[test]
fn overrides_follow_the_commission_or_the_sale_that_they_are_on() {
    let levels = [Level::OfCommission(100_000), Level::OfSale(50_000), Level::Flat(eur(7))];
    let before = base(10_000, WHOLE_MILLIONTHS, 2_000);
    let claims = claims(&plan(&levels), affiliate(1), &before, &chain(&[true; 3]));
    let earned = reckon(&claims).expect("in range");
    let numbered = (1..).zip(claims.iter().zip(&earned)).map(|(number, (claim, line))| commission::Model {
        id: CommissionId::from_uuid(Uuid::from_u128(number)),
        ..row(claim, line)
    });
    let rows: Vec<commission::Model> = numbered.collect();
    let overrides: Vec<_> = rows.iter().zip(&claims).map(|(row, claim)| (row, claim.over)).collect();
    let to = |base: Option<Explanation>| {
        let amounts = anew(&overrides, |_| base.clone()).expect("in range");
        amounts.into_values().collect::<Vec<_>>()
    };
    assert_eq!(to(Some(before)), [200, 500, 7]);
    assert_eq!(to(Some(base(10_000, WHOLE_MILLIONTHS, 3_000))), [300, 500, 7]);
    assert_eq!(to(Some(base(6_000, WHOLE_MILLIONTHS, 1_200))), [120, 300, 7]);
    assert!(to(None).is_empty(), "what is reckoned from nothing stays as it is");
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
        clamp: None,
        payable_at: None,
        released_at: None,
        created_at: Instant::default(),
    }
}
