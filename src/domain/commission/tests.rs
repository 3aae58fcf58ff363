//! Golden vectors of the domain's law, and the laws that hold for all amounts.

use std::collections::HashMap;

use chrono::TimeDelta;
use proptest::prelude::*;
use tributary_entity::{
    Instant, affiliate_group, cap, commission_rule, commission_rule_version,
    ids::{AffiliateGroupId, CampaignId, CapId, GoalId, OverridePlanId, TenantId},
    kinds::{CapMetric, CapPeriod, CapStatus, RuleKind, RuleSource, RuleStatus, TierBasis, TierMode},
    override_plan as override_plan_row,
};
use uuid::Uuid;

use super::{
    caps::{Clamp, Course, Room, clamp, course},
    choose::{Occasion, Origin, choose},
    plan::{Criteria, Step, Tiers},
    preview::{Caps, Event, Setting, simulate},
    *,
};
use crate::domain::{
    conversion::Rated,
    override_plan::{self, Level, NewPlan},
    rule::Rule,
};

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
            group_id: None,
            position: None,
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
            is_flat_refunded_in_part: false,
            plan: None,
            created_at: at,
        },
        plan: Plan::default(),
    }
}

fn placed(rule: Rule, position: i32, criteria: Criteria) -> Rule {
    let head = commission_rule::Model { position: Some(position), ..rule.head };
    Rule { head, plan: Plan { criteria, ..rule.plan }, ..rule }
}

fn tiered(base: (i64, i64), basis: TierBasis, mode: TierMode, steps: &[(i64, i64, i64)]) -> Rule {
    let steps = steps.iter().map(|(from, flat_minor, rate_ppm)| Step {
        from: *from,
        flat_minor: *flat_minor,
        rate_ppm: *rate_ppm,
    });
    let tiers = Tiers { basis, period: CapPeriod::Month, mode, steps: steps.collect() };
    let rule = rule(1, None, true, base.0, base.1);
    Rule { plan: Plan { tiers: Some(tiers), ..Plan::default() }, ..rule }
}

/// An offer of a rule's own terms.
fn plain<'r>(rule: &'r Rule, source: RuleSource, sale: i64) -> Offer<'r> {
    let step = rule.base();
    let parts = vec![tiers::at(step, sale)];
    Offer { rule, source, step, parts, tier: None, modifier: None, recurrence: None, clamp: None }
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
    let lines = split(eur(sale), &credits, |_| Some(plain(rule, RuleSource::CampaignDefault, sale))).expect("in range");
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
        id if id == affiliate(1) => Some(plain(&fifth, RuleSource::EnrollmentOverride, 1_000)),
        id if id == affiliate(2) => None,
        _ => Some(plain(&tenth, RuleSource::CampaignDefault, 1_000)),
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
    assert_eq!(split(eur(i64::MAX), &credits, |_| Some(plain(&most, RuleSource::CampaignDefault, i64::MAX))), None);
}

fn occasion(affiliate_id: AffiliateId) -> Occasion<'static> {
    let goal_id = GoalId::from_uuid(Uuid::from_u128(9));
    Occasion {
        affiliate_id,
        goal_id,
        origin: None,
        product_id: None,
        coupon_code: None,
        group_id: None,
        own_rule: None,
    }
}

fn own(number: u128) -> CommissionRuleId {
    CommissionRuleId::from_uuid(Uuid::from_u128(number))
}

#[test]
fn enrollment_rule_goes_before_goal_default_before_campaign_default() {
    let rules = [rule(1, None, true, 1, 0), rule(2, Some(9), true, 2, 0), rule(3, None, false, 3, 0)];
    let chosen = |rules: &[Rule], number: Option<u128>| {
        let occasion = Occasion { own_rule: number.map(own), ..occasion(affiliate(1)) };
        choose(rules, &occasion).map(|(rule, source)| (rule.terms.flat_minor, source))
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

#[test]
fn first_rule_by_position_whose_criteria_are_all_met_applies() {
    let set = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    let germany = Criteria { countries: set(&["DE", "AT"]), ..Criteria::default() };
    let shoes = Criteria { products: set(&["shoe"]), ..germany.clone() };
    let coupon = Criteria { coupons: set(&["ADA10"]), ..Criteria::default() };
    let sub =
        Criteria { subs: [("sub2".to_owned(), set(&["blog"]))].into(), sources: set(&["mail"]), ..Criteria::default() };
    let rules = [
        rule(1, None, true, 1, 0),
        placed(rule(2, None, true, 2, 0), 20, germany),
        placed(rule(3, None, true, 3, 0), 10, shoes),
        placed(rule(4, Some(8), true, 4, 0), 1, Criteria::default()),
        placed(rule(5, None, true, 5, 0), 30, coupon),
        placed(rule(6, None, true, 6, 0), 30, sub),
    ];
    let origin = |country: &str, source: &str, sub: &str| Origin {
        country: Some(country.to_owned()),
        source: Some(source.to_owned()),
        labels: [("sub2".to_owned(), sub.to_owned())].into(),
    };
    let flat = |origin: Option<&Origin>, product_id, coupon_code| {
        let occasion = Occasion { origin, product_id, coupon_code, ..occasion(affiliate(1)) };
        choose(&rules, &occasion).map(|(rule, _)| rule.terms.flat_minor)
    };
    let (german, french) = (origin("DE", "web", "blog"), origin("FR", "mail", "blog"));
    assert_eq!(flat(Some(&german), None, None), Some(2));
    assert_eq!(flat(Some(&german), Some("shoe"), None), Some(3), "the lower place, not the order of making");
    assert_eq!(flat(None, Some("shoe"), None), Some(1), "without a click no country is met");
    assert_eq!(flat(None, None, Some("ADA10")), Some(5));
    assert_eq!(flat(Some(&french), None, None), Some(6));
    assert_eq!(flat(Some(&french), None, Some("ADA10")), Some(5), "of one place the older");
}

/// A group's row.
fn group(modifier_ppm: i64) -> affiliate_group::Model {
    affiliate_group::Model {
        tenant_id: TenantId::default(),
        id: AffiliateGroupId::from_uuid(Uuid::from_u128(7)),
        name: "Gold".to_owned(),
        modifier_ppm,
        created_at: Instant::default(),
        updated_at: Instant::default(),
    }
}

fn event(place: i64, sale: i64) -> Event {
    Event {
        affiliate_id: affiliate(1),
        goal_id: GoalId::from_uuid(Uuid::from_u128(9)),
        occurred_at: at("2026-11-01T00:00:00Z") + TimeDelta::minutes(place),
        sale: eur(sale),
        rated: Some(Rated { sale: eur(sale), fx: None }),
        customer_id: None,
        product_id: None,
        coupon_code: None,
        origin: Origin::default(),
    }
}

fn at(text: &str) -> Instant {
    text.parse().expect("an instant")
}

fn setting(rules: Vec<Rule>) -> Setting {
    let (campaign_id, book) = (CampaignId::default(), Book::default());
    let (own_rules, caps, click_rates) = (HashMap::new(), Caps::default(), Vec::new());
    Setting { campaign_id, rules, own_rules, book, overrides: None, caps, click_rates }
}

fn totals(rule: Rule, sales: &[i64]) -> Vec<i64> {
    let events: Vec<Event> = (0..).zip(sales).map(|(place, sale)| event(place, *sale)).collect();
    let lines = simulate(setting(vec![rule]), &events).expect("in range");
    lines.iter().map(preview::Line::total_minor).collect()
}

fn total(rule: Rule, sales: &[i64]) -> i64 {
    totals(rule, sales).iter().sum()
}

#[test]
fn modifier_of_a_group_is_on_top_of_the_override() {
    // Default 2.00, override 3.00, tier +10 %: 3.30.
    let rules = vec![rule(1, None, true, 200, 0), rule(2, None, false, 300, 0)];
    let mut setting = setting(rules);
    setting.book.groups.insert(affiliate(1), group(100_000));
    let pays = |setting: Setting| simulate(setting, &[event(0, 0)]).expect("in range")[0].total_minor();
    assert_eq!(pays(setting.clone()), 220);
    setting.own_rules.insert(affiliate(1), own(2));
    assert_eq!(pays(setting.clone()), 330);
    // A rule of the group goes before the campaign's, and the enrollment's before that.
    let head =
        commission_rule::Model { group_id: Some(group(0).id), is_default: false, ..rule(3, None, false, 250, 0).head };
    setting.rules.push(Rule { head, ..rule(3, None, false, 250, 0) });
    assert_eq!(pays(setting.clone()), 330);
    setting.own_rules.clear();
    assert_eq!(pays(setting), 275);
}

const SALES: &[(i64, i64, i64)] = &[(20_000, 0, 60_000), (40_000, 0, 80_000)];

fn of_sales(mode: TierMode) -> Rule {
    tiered((0, 40_000), TierBasis::SaleAmount, mode, SALES)
}

#[test]
fn tiers_of_sales_pay_as_the_law_says() {
    // 4 % from 0, 6 % from 200, 8 % from 400.
    let small = [5_000; 10];
    assert_eq!(total(of_sales(TierMode::Marginal), &small), 2_800);
    assert_eq!(total(of_sales(TierMode::Whole), &small), 4_000);
    assert_eq!(total(of_sales(TierMode::Prospective), &[50_000]), 2_000);
    assert_eq!(total(of_sales(TierMode::Marginal), &[50_000]), 2_800);
    assert_eq!(total(of_sales(TierMode::Whole), &[50_000]), 4_000);
    // The threshold itself is reached, and pays nothing yet past it.
    assert_eq!(total(of_sales(TierMode::Marginal), &[20_000]), 800);
    assert_eq!(total(of_sales(TierMode::Whole), &[20_000]), 1_200);
    assert_eq!(totals(of_sales(TierMode::Prospective), &[20_000, 1_000]), [800, 60]);
}

#[test]
fn tiers_of_conversions_rate_the_whole_period() {
    // 250; 275 from the 3rd, 300 from the 5th.
    let cpa = || tiered((25_000, 0), TierBasis::Conversions, TierMode::Whole, &[(3, 27_500, 0), (5, 30_000, 0)]);
    for (count, sum) in [(1, 25_000), (2, 50_000), (3, 82_500), (4, 110_000), (5, 150_000)] {
        assert_eq!(total(cpa(), &vec![0; count]), sum, "after {count}");
    }
    let marginal = tiered((25_000, 0), TierBasis::Conversions, TierMode::Marginal, &[(3, 27_500, 0)]);
    assert_eq!(totals(marginal, &[0; 4]), [25_000, 25_000, 27_500, 27_500]);
    let prospective = tiered((25_000, 0), TierBasis::Conversions, TierMode::Prospective, &[(3, 27_500, 0)]);
    assert_eq!(totals(prospective, &[0; 4]), [25_000, 25_000, 25_000, 27_500]);
}

#[test]
fn tiers_begin_anew_with_the_period_in_the_tenant_s_time_zone() {
    let rule = tiered((100, 0), TierBasis::Conversions, TierMode::Whole, &[(2, 200, 0)]);
    let mut setting = setting(vec![rule]);
    setting.book.zone = chrono_tz::Europe::Berlin;
    let moments = ["2026-10-31T22:59:59Z", "2026-10-31T23:00:00Z", "2026-11-30T22:59:59Z", "2026-11-30T23:00:00Z"];
    let events: Vec<Event> = moments.iter().map(|moment| Event { occurred_at: at(moment), ..event(0, 0) }).collect();
    let lines = simulate(setting, &events).expect("in range");
    assert_eq!(lines.iter().map(preview::Line::total_minor).collect::<Vec<_>>(), [100, 200, 200, 100]);
}

fn on_top(levels: Vec<Level>) -> Option<override_plan::Plan> {
    let head = override_plan_row::Model {
        tenant_id: TenantId::default(),
        id: OverridePlanId::default(),
        campaign_id: None,
        current_version: 1,
        status: RuleStatus::Active,
        created_at: Instant::default(),
        updated_at: Instant::default(),
    };
    let terms = NewPlan { campaign_id: None, levels }.version(head.tenant_id, &head, head.created_at);
    Some(override_plan::Plan { head, terms })
}

#[test]
fn overrides_are_told_level_by_level_of_what_an_event_comes_to() {
    let told = |rule: Rule, levels: Vec<Level>, sales: &[i64]| {
        let setting = Setting { overrides: on_top(levels), ..setting(vec![rule]) };
        let events: Vec<Event> = (0..).zip(sales).map(|(place, sale)| event(place, *sale)).collect();
        let lines = simulate(setting, &events).expect("in range");
        let amounts =
            |line: &preview::Line| line.overrides.iter().map(|(level, money)| (*level, money.amount_minor)).collect();
        lines.iter().map(amounts).collect::<Vec<Vec<(i32, i64)>>>()
    };
    // Sale 100.00, 20 % = 20.00: 10 % and 5 % of commission = 2.00, 1.00; of sale = 10.00, 5.00.
    let fifth = || rule(1, None, true, 0, 200_000);
    let of_commission = vec![Level::OfCommission(100_000), Level::OfCommission(50_000)];
    assert_eq!(told(fifth(), of_commission.clone(), &[10_000]), [[(1, 200), (2, 100)]]);
    let of_sale = vec![Level::OfSale(100_000), Level::OfSale(50_000)];
    assert_eq!(told(fifth(), of_sale.clone(), &[10_000]), [[(1, 1_000), (2, 500)]]);
    // 4 % became 8 %: a share of the commission goes with it, one of the sale does not.
    let both = vec![of_commission[0], of_sale[1]];
    assert_eq!(told(of_sales(TierMode::Whole), both, &[20_000, 20_000]), [[(1, 160), (2, 1_000)]; 2]);
    assert_eq!(told(fifth(), Vec::new(), &[10_000]), [[(0, 0); 0]]);
}

#[test]
fn recurring_commissions_end_after_their_months() {
    let limited =
        |months| Rule { plan: Plan { max_months: Some(months), ..Plan::default() }, ..rule(1, None, true, 100, 0) };
    let paid = |months, zone: chrono_tz::Tz, moments: &[&str]| {
        let mut setting = setting(vec![limited(months)]);
        setting.book.zone = zone;
        let customer =
            |moment: &&str| Event { occurred_at: at(moment), customer_id: Some("c".to_owned()), ..event(0, 0) };
        let events: Vec<Event> = moments.iter().map(customer).collect();
        let lines = simulate(setting, &events).expect("in range");
        lines.iter().map(|line| line.total_minor() > 0).collect::<Vec<_>>()
    };
    let utc = chrono_tz::UTC;
    assert_eq!(
        paid(0, utc, &["2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z", "2027-01-01T00:00:00Z"]),
        [true, false, false]
    );
    assert_eq!(
        paid(1, utc, &["2026-01-31T12:00:00Z", "2026-02-28T11:59:59Z", "2026-02-28T12:00:00Z"]),
        [true, true, false]
    );
    assert_eq!(
        paid(12, utc, &["2026-03-01T00:00:00Z", "2027-02-28T23:59:59Z", "2027-03-01T00:00:00Z"]),
        [true, true, false]
    );
    // In Berlin the clock was set back: a month is a month there.
    let berlin = chrono_tz::Europe::Berlin;
    assert_eq!(
        paid(1, berlin, &["2026-10-20T10:00:00Z", "2026-11-20T10:59:59Z", "2026-11-20T11:00:00Z"]),
        [true, true, false]
    );
    // Without a customer each is the first of one.
    let lines = simulate(setting(vec![limited(0)]), &[event(0, 0), event(1, 0)]).expect("in range");
    assert_eq!(lines.iter().map(preview::Line::total_minor).sum::<i64>(), 200);
    let summary = lines[1].earned.as_ref().expect("earned").summary();
    assert!(summary.ends_with("no customer was named, so it counts as a new one's"), "{summary}");
}

#[test]
fn explanation_says_why_in_a_sentence() {
    let mut setting = setting(vec![of_sales(TierMode::Marginal)]);
    setting.book.groups.insert(affiliate(1), group(100_000));
    let line = simulate(setting, &[event(0, 50_000)]).expect("in range").remove(0).earned.expect("earned");
    assert_eq!(
        line.summary(),
        "rule 1 v1: 4 % of 200.00 EUR + 6 % of 200.00 EUR + 8 % of 100.00 EUR + 10 % (Gold) = 30.80 EUR; \
         tier MARGINAL from 400.00 EUR: 0.00 EUR before, 500.00 EUR with it, per MONTH since 2026-11-01T00:00:00Z"
    );
    // What was written before tiers were known is still read.
    let old = r#"{"rule_id":"rul_00000000000000000000000001","rule_name":"Old","rule_version":1,"kind":"PERCENT",
        "source":"CAMPAIGN_DEFAULT","sale":{"amount_minor":4900,"currency":"EUR"},"flat_minor":0,"rate_ppm":100000,
        "share_millionths":1000000,"amount":{"amount_minor":490,"currency":"EUR"}}"#;
    let old: Explanation = serde_json::from_str(old).expect("reads");
    assert_eq!(old.summary(), "Old v1: 10 % of 49.00 EUR = 4.90 EUR");
}

fn commission_cap(number: u128, affiliate_id: Option<AffiliateId>, amount: i64) -> cap::Model {
    cap::Model {
        tenant_id: TenantId::default(),
        id: CapId::from_uuid(Uuid::from_u128(number)),
        campaign_id: CampaignId::default(),
        enrollment_id: None,
        affiliate_id,
        metric: CapMetric::Commission,
        period: CapPeriod::Day,
        amount,
        status: CapStatus::Active,
        created_at: Instant::default(),
        updated_at: Instant::default(),
    }
}

#[test]
fn caps_cut_commissions_to_what_is_left() {
    let flat = rule(1, None, true, 600, 0);
    let credits = [(affiliate(1), 500_000), (affiliate(2), 500_000)];
    let all = commission_cap(1, None, 500);
    let own = commission_cap(2, Some(affiliate(1)), 250);
    let cut = |all_used: i64, own_used: i64| {
        let lines = split(eur(0), &credits, |_| Some(plain(&flat, RuleSource::CampaignDefault, 0)));
        let mut lines = lines.expect("in range");
        let mut rooms = [Room { cap: &all, used: all_used, taken: 0 }, Room { cap: &own, used: own_used, taken: 0 }];
        let is_left = clamp(&mut lines, &mut rooms);
        let amounts: Vec<i64> = lines.iter().map(|(_, line)| line.amount.amount_minor).collect();
        let by: Vec<_> =
            lines.iter().map(|(_, line)| line.clamp.map(|clamp| (clamp.cap_id, clamp.left_minor))).collect();
        (amounts, by, is_left)
    };
    assert_eq!(cut(0, 0), (vec![250, 250], vec![Some((own.id, 250)), Some((all.id, 250))], true));
    assert_eq!(cut(500, 0), (vec![0, 0], vec![Some((all.id, 0)), Some((all.id, 0))], false));
    assert_eq!(
        cut(100, 300),
        (vec![0, 300], vec![Some((own.id, 0)), None], true),
        "an amount that was lowered leaves nothing"
    );
}

#[test]
fn commission_that_a_cap_cut_as_it_rose_loses_first_what_it_never_had() {
    let cap_id = commission_cap(1, None, 0).id;
    let clamp = |earned_minor, left_minor| Clamp { cap_id, earned_minor, left_minor };
    // Of 25 more, 10 were left.
    let cut = Some(clamp(275, 260));
    for (has, before, difference, expected) in [
        (250, None, 25, Course::Rises(275)),
        (260, cut, 25, Course::Rises(300)),
        (260, cut, 0, Course::Falls(0, cut)),
        (260, cut, -5, Course::Falls(0, Some(clamp(270, 260)))),
        (260, cut, -15, Course::Falls(0, None)),
        (260, cut, -25, Course::Falls(-10, None)),
        (260, None, -25, Course::Falls(-25, None)),
        (20, None, -25, Course::Falls(-20, None)),
    ] {
        assert_eq!(course(has, before, difference), expected, "{has} {before:?} {difference}");
    }
}

#[test]
fn currencies_without_and_with_three_digits_are_rounded_once() {
    for (code, sale, rate, earned) in
        [("JPY", 101, 50_000, 5), ("JPY", 110, 50_000, 6), ("KWD", 10_005, 100_000, 1_000)]
    {
        let sale = Money::new(sale, code.parse().expect("known"));
        let rule = tiered((0, rate), TierBasis::SaleAmount, TierMode::Marginal, &[(1_000_000, 0, 0)]);
        let event = Event { sale, rated: Some(Rated { sale, fx: None }), ..event(0, 0) };
        let lines = simulate(setting(vec![rule]), &[event]).expect("in range");
        assert_eq!(lines[0].total_minor(), earned, "{code}");
    }
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

    #[test]
    fn marginal_of_any_split_is_the_marginal_of_the_sum_within_half_a_unit_an_order(
        sales in prop::collection::vec(0i64..60_000, 1..20), rates in prop::array::uniform3(0i64..=1_000_000),
    ) {
        let steps = [(20_000, 0, rates[1]), (40_000, 0, rates[2])];
        let rule = || tiered((0, rates[0]), TierBasis::SaleAmount, TierMode::Marginal, &steps);
        let split = total(rule(), &sales);
        let sum = total(rule(), &[sales.iter().sum()]);
        let orders = i64::try_from(sales.len()).expect("few");
        prop_assert!((split - sum).abs() * 2 <= orders + 1, "{split} and {sum}");
        // And the whole does not depend on the order of the orders but for the same rounding.
        let backwards: Vec<i64> = sales.iter().rev().copied().collect();
        prop_assert!((total(rule(), &backwards) - split).abs() <= orders);
    }

    #[test]
    fn whole_after_any_orders_is_the_reached_rate_on_all(
        sales in prop::collection::vec(0i64..60_000, 1..20), rates in prop::array::uniform3(0i64..=1_000_000),
        seed in any::<u64>(),
    ) {
        let steps = [(20_000, 0, rates[1]), (40_000, 0, rates[2])];
        let rule = || tiered((0, rates[0]), TierBasis::SaleAmount, TierMode::Whole, &steps);
        let sum: i64 = sales.iter().sum();
        let rate = if sum >= 40_000 { rates[2] } else if sum >= 20_000 { rates[1] } else { rates[0] };
        let expected: Vec<i64> = sales.iter().map(|sale| earned(0, rate, *sale, WHOLE_MILLIONTHS)).collect();
        prop_assert_eq!(totals(rule(), &sales), expected.clone());
        // In any order: the sum is the same to the unit.
        let mut shuffled = sales.clone();
        shuffled.rotate_left(usize::try_from(seed % sales.len() as u64).expect("few"));
        prop_assert_eq!(total(rule(), &shuffled), expected.iter().sum::<i64>());
    }

    #[test]
    fn whole_by_count_is_the_reached_amount_on_all(
        count in 1usize..15, amounts in prop::array::uniform3(0i64..=100_000),
    ) {
        let steps = [(3, amounts[1], 0), (7, amounts[2], 0)];
        let rule = tiered((amounts[0], 0), TierBasis::Conversions, TierMode::Whole, &steps);
        let each = amounts[if count >= 7 { 2 } else { usize::from(count >= 3) }];
        prop_assert_eq!(totals(rule, &vec![0; count]), vec![each; count]);
    }
}
