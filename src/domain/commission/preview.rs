//! A plan tried out: what rules would pay for a list of events, by the code that pays for real ones.
//!
//! # Decisions
//! - Each event is credited to one affiliate, whole: attribution is another preview's. Caps are not asked: they are a limit
//!   of what is paid, not a part of the plan.
//! - Events are taken in the order of their time, of equal ones in the order given.
//! - Overrides are told for every level of the plan, as if somebody who may earn were there, of what the event comes to once
//!   tiers have rated it anew: who is above whom is not a part of the plan.

use std::collections::{BTreeMap, HashMap};

use tributary_entity::{
    Instant,
    ids::{AffiliateId, CampaignId, CommissionRuleId, GoalId},
    kinds::TierMode,
    money::Money,
};

use super::{
    Book, Explanation,
    book::Deal,
    choose::{Occasion, Origin},
    split,
    tiers::{TierKey, reached},
};
use crate::domain::{
    attribution::WHOLE_MILLIONTHS,
    override_plan::{self, Ancestor},
    rule::Rule,
};

/// Events of one preview.
pub const EVENTS_MAX: usize = 1_000;
/// Rules of one preview.
pub const RULES_MAX: usize = 100;

/// What might happen.
#[derive(Clone, Debug)]
pub struct Event {
    pub affiliate_id: AffiliateId,
    pub goal_id: GoalId,
    pub occurred_at: Instant,
    pub sale: Money,
    pub customer_id: Option<String>,
    pub product_id: Option<String>,
    pub coupon_code: Option<String>,
    pub origin: Origin,
}

/// By what it is paid.
#[derive(Clone, Debug)]
pub struct Setting {
    pub campaign_id: CampaignId,
    pub rules: Vec<Rule>,
    /// The rules that enrollments name.
    pub own_rules: HashMap<AffiliateId, CommissionRuleId>,
    pub book: Book,
    /// What those above earn on top.
    pub overrides: Option<override_plan::Plan>,
}

/// What became of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// What it earned when it came; none where no rule applied.
    pub earned: Option<Explanation>,
    /// What later events of its period added, where tiers rate anew; negative where they took.
    pub rerated_minor: i64,
    /// What each level above would earn on that, the parent's first.
    pub overrides: Vec<(i32, Money)>,
    /// The step that it is rated at now.
    step: i64,
}

impl Line {
    /// What it comes to, in minor units.
    pub fn total_minor(&self) -> i64 {
        self.earned.as_ref().map_or(0, |earned| earned.amount.amount_minor) + self.rerated_minor
    }
}

/// What the events earn, in the order given. None when an amount is past what can be held.
pub fn simulate(mut setting: Setting, events: &[Event]) -> Option<Vec<Line>> {
    let mut lines = vec![Line::default(); events.len()];
    let mut order: Vec<usize> = (0..events.len()).collect();
    order.sort_by_key(|place| events[*place].occurred_at);
    let mut of_period: BTreeMap<TierKey, Vec<usize>> = BTreeMap::new();
    for place in order {
        let event = &events[place];
        let deal = setting.deal(event);
        let earned = setting.earned(&deal, event)?;
        setting.book.enter(&deal, &earned);
        let Some((affiliate_id, earned)) = earned.into_iter().next() else { continue };
        let key = earned.tier_key(affiliate_id);
        lines[place].step = earned.tier.map_or(0, |tier| tier.step);
        lines[place].earned = Some(earned);
        if let Some(key) = key {
            let places = of_period.entry(key).or_default();
            places.push(place);
            setting.rate_again(key, places, &mut lines)?;
        }
    }
    for (event, line) in events.iter().zip(&mut lines) {
        line.overrides = setting.on_top(event.affiliate_id, line)?;
    }
    Some(lines)
}

impl Setting {
    fn deal<'e>(&self, event: &'e Event) -> Deal<'e> {
        Deal {
            campaign_id: self.campaign_id,
            occurred_at: event.occurred_at,
            sale: event.sale,
            left_minor: event.sale.amount_minor,
            customer_id: event.customer_id.as_deref(),
        }
    }

    fn earned(&self, deal: &Deal<'_>, event: &Event) -> Option<Vec<(AffiliateId, Explanation)>> {
        let occasion = Occasion {
            affiliate_id: event.affiliate_id,
            goal_id: event.goal_id,
            origin: Some(&event.origin),
            product_id: event.product_id.as_deref(),
            coupon_code: event.coupon_code.as_deref(),
            group_id: None,
            own_rule: self.own_rules.get(&event.affiliate_id).copied(),
        };
        split(event.sale, &[(event.affiliate_id, WHOLE_MILLIONTHS)], |_| self.book.offer(&self.rules, deal, &occasion))
    }

    /// What every level of the plan would earn on what an event comes to.
    fn on_top(&self, affiliate_id: AffiliateId, line: &Line) -> Option<Vec<(i32, Money)>> {
        let (Some(plan), Some(earned)) = (&self.overrides, &line.earned) else { return Some(Vec::new()) };
        let amount = Money::new(line.total_minor(), earned.amount.currency);
        let base = Explanation { amount, ..earned.clone() };
        let somebody = |(level, _)| Ancestor { affiliate_id: AffiliateId::default(), level, may_earn: true };
        let chain: Vec<Ancestor> = (1..).zip(plan.levels()).map(somebody).collect();
        let claims = override_plan::claims(plan, affiliate_id, &base, &chain);
        let earned = override_plan::reckon(&claims)?;
        Some(claims.iter().zip(earned).map(|(claim, earned)| (claim.over.level, earned.amount)).collect())
    }

    /// Rates what a period earned at the step that it has reached.
    fn rate_again(&self, key: TierKey, places: &[usize], lines: &mut [Line]) -> Option<()> {
        let Some(rule) = self.rules.iter().find(|rule| rule.head.id == key.rule_id) else { return Some(()) };
        let Some(tiers) = rule.plan.tiers.as_ref().filter(|tiers| tiers.mode == TierMode::Whole) else {
            return Some(());
        };
        let counted = self.book.tiers.get(&key).copied().unwrap_or_default();
        let step = reached(tiers, rule.base(), counted.of(tiers.basis)).from;
        for place in places {
            let line = &mut lines[*place];
            if let Some(earned) = line.earned.as_ref().filter(|_| line.step != step) {
                let pays = |step| earned.at_step(rule, step, earned.sale.amount_minor, WHOLE_MILLIONTHS);
                line.rerated_minor = line.rerated_minor.checked_add(pays(step)?.checked_sub(pays(line.step)?)?)?;
                line.step = step;
            }
        }
        Some(())
    }
}
