//! What is remembered between conversions, and what an affiliate is offered by it. Ingest fills it from the database and
//! holds the rows; a preview begins with an empty one. Both decide by it alone.

use std::collections::HashMap;

use chrono_tz::Tz;
use tributary_entity::{
    Instant, affiliate_group,
    ids::{AffiliateId, CampaignId, ClickId},
    kinds::RuleSource,
    money::Money,
};

use super::{
    Explanation, Modifier,
    caps::Clamp,
    choose::{self, Occasion, Origin},
    plan::Step,
    recurring::{self, Recurrence},
    tiers::{self, Counted, Part, Standing, TierKey},
};
use crate::domain::{cap, rule::Rule};

/// A customer of an affiliate in a campaign.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CustomerKey {
    pub campaign_id: CampaignId,
    pub affiliate_id: AffiliateId,
    pub customer_id: String,
}

/// What is known of the past, and grows with each conversion.
#[derive(Clone, Debug, Default)]
pub struct Book {
    pub zone: Tz,
    pub tiers: HashMap<TierKey, Counted>,
    /// When each customer's first commission was earned.
    pub firsts: HashMap<CustomerKey, Instant>,
    /// Of the affiliates that are in one.
    pub groups: HashMap<AffiliateId, affiliate_group::Model>,
    pub origins: HashMap<ClickId, Origin>,
}

/// A conversion that is to be rated.
#[derive(Clone, Copy, Debug)]
pub struct Deal<'a> {
    pub campaign_id: CampaignId,
    pub occurred_at: Instant,
    /// In the campaign's currency.
    pub sale: Money,
    /// What of it tiers count: what was not taken back.
    pub left_minor: i64,
    pub customer_id: Option<&'a str>,
}

/// What an affiliate is paid by.
#[derive(Clone, Debug)]
pub struct Offer<'r> {
    pub rule: &'r Rule,
    pub source: RuleSource,
    /// The terms that applied: the rule's, or those of a step.
    pub step: Step,
    /// The pieces of the sale; none where nothing is paid.
    pub parts: Vec<Part>,
    pub tier: Option<Standing>,
    pub modifier: Option<Modifier>,
    pub recurrence: Option<Recurrence>,
    /// What a cap cut it to before: it gets no more.
    pub clamp: Option<Clamp>,
}

impl Book {
    /// What an affiliate is offered for a conversion; none where no rule applies.
    pub fn offer<'r>(&self, rules: &'r [Rule], deal: &Deal<'_>, occasion: &Occasion<'_>) -> Option<Offer<'r>> {
        let group = self.groups.get(&occasion.affiliate_id);
        let occasion = Occasion { group_id: group.map(|group| group.id), ..*occasion };
        let (rule, source) = choose::choose(rules, &occasion)?;
        let modifier = group.filter(|group| group.modifier_ppm != 0).map(|group| Modifier {
            group_id: group.id,
            group_name: group.name.clone(),
            ppm: group.modifier_ppm,
        });
        let recurrence = rule.plan.max_months.map(|months| self.recurrence(months, deal, occasion.affiliate_id));
        let sale_minor = deal.sale.amount_minor;
        let base = rule.base();
        let parts = vec![tiers::at(base, sale_minor)];
        let mut offer = Offer { rule, source, step: base, parts, tier: None, modifier, recurrence, clamp: None };
        if recurrence.is_some_and(|recurrence| recurrence.is_over) {
            // Nor does it count for a tier: nothing was earned.
            return Some(Offer { parts: Vec::new(), ..offer });
        }
        if let (Some(plan), Some(key)) =
            (&rule.plan.tiers, self.tier_key(rule, occasion.affiliate_id, deal.occurred_at))
        {
            let before = self.tiers.get(&key).copied().unwrap_or_default();
            let (step, parts) = tiers::rate(plan, base, before, sale_minor);
            offer.tier = Some(Standing {
                basis: plan.basis,
                mode: plan.mode,
                period: plan.period,
                period_start: key.start,
                before: before.of(plan.basis),
                after: before.with(sale_minor).of(plan.basis),
                step: step.from,
            });
            (offer.step, offer.parts) = (step, parts);
        }
        Some(offer)
    }

    /// The period in which a rule's tiers count an affiliate's conversion; none where it has none.
    pub fn tier_key(&self, rule: &Rule, affiliate_id: AffiliateId, at: Instant) -> Option<TierKey> {
        let period = rule.plan.tiers.as_ref()?.period;
        let start = cap::period_start(period, at, self.zone);
        Some(TierKey { affiliate_id, rule_id: rule.head.id, period, start })
    }

    fn recurrence(&self, max_months: i32, deal: &Deal<'_>, affiliate_id: AffiliateId) -> Recurrence {
        let key = deal.customer_key(affiliate_id);
        let first_at = key.as_ref().and_then(|key| self.firsts.get(key)).copied();
        recurring::recurrence(max_months, key.is_some(), first_at, deal.occurred_at, self.zone)
    }

    /// Takes down what a conversion earned, once it counts.
    pub fn enter(&mut self, deal: &Deal<'_>, lines: &[(AffiliateId, Explanation)]) {
        for (affiliate_id, line) in lines {
            if let Some(key) = line.tier_key(*affiliate_id) {
                let counted = self.tiers.entry(key).or_default();
                *counted = counted.with(deal.left_minor);
            }
            if line.amount.amount_minor > 0
                && let Some(key) = deal.customer_key(*affiliate_id)
            {
                let first = self.firsts.entry(key).or_insert(deal.occurred_at);
                *first = deal.occurred_at.min(*first);
            }
        }
    }
}

impl Deal<'_> {
    pub fn customer_key(&self, affiliate_id: AffiliateId) -> Option<CustomerKey> {
        let customer_id = self.customer_id?.to_owned();
        Some(CustomerKey { campaign_id: self.campaign_id, affiliate_id, customer_id })
    }
}

impl Offer<'_> {
    /// What a whole conversion earns, in 10^-12 of a minor unit; none where that is past what can be held.
    pub fn exact(&self) -> Option<i128> {
        exact(&self.parts, self.modifier.as_ref())
    }

    /// Of what it gives, what is taken back with the whole sale only, and all of it; the group's modifier is left out of
    /// both. None where that is past what can be held.
    pub fn fixed(&self) -> Option<(i128, i128)> {
        let whole = exact(&self.parts, None)?;
        if self.rule.terms.is_flat_refunded_in_part {
            return Some((0, whole));
        }
        let flat = self.parts.iter().map(|part| Part { sale_minor: 0, ..*part }).collect::<Vec<_>>();
        Some((exact(&flat, None)?, whole))
    }

    pub(super) fn explanation(&self, sale: Money, share_millionths: i32, amount_minor: i64) -> Explanation {
        let Rule { head, terms, .. } = self.rule;
        let clamp = self.clamp.filter(|clamp| clamp.left_minor < amount_minor);
        let clamp = clamp.map(|clamp| Clamp { earned_minor: amount_minor, ..clamp });
        let amount_minor = clamp.map_or(amount_minor, |clamp| clamp.left_minor);
        Explanation {
            rule_id: head.id,
            rule_name: head.name.clone(),
            rule_version: terms.version,
            kind: terms.kind,
            source: self.source,
            sale,
            fx: None,
            flat_minor: self.step.flat_minor,
            rate_ppm: self.step.rate_ppm,
            share_millionths,
            amount: Money::new(amount_minor, sale.currency),
            parts: if self.parts == [tiers::at(self.step, sale.amount_minor)] {
                Vec::new()
            } else {
                self.parts.clone()
            },
            tier: self.tier,
            modifier: self.modifier.clone(),
            recurrence: self.recurrence,
            clamp,
            over: None,
        }
    }
}

fn exact(parts: &[Part], modifier: Option<&Modifier>) -> Option<i128> {
    let sum = parts.iter().try_fold(0_i128, |sum, part| sum.checked_add(part.exact()))?;
    sum.checked_mul(1_000_000 + i128::from(modifier.map_or(0, |modifier| modifier.ppm)))
}

impl Explanation {
    /// The period that counted the commission's conversion; none where no tier did.
    pub fn tier_key(&self, affiliate_id: AffiliateId) -> Option<TierKey> {
        let tier = self.tier?;
        Some(TierKey { affiliate_id, rule_id: self.rule_id, period: tier.period, start: tier.period_start })
    }

    /// By what this was paid, at a step of the rule's tiers, were the sale so much: what another share of the same
    /// conversion would be paid by. `rule` is the one in its version.
    pub fn offer<'r>(&self, rule: &'r Rule, step: Option<i64>, sale_minor: i64) -> Offer<'r> {
        let terms = Step { from: 0, flat_minor: self.flat_minor, rate_ppm: self.rate_ppm };
        let is_over = self.recurrence.is_some_and(|recurrence| recurrence.is_over);
        let (step, parts) = match (&rule.plan.tiers, self.tier) {
            _ if is_over => (terms, Vec::new()),
            // Cut again at the thresholds, from where the count stood.
            (Some(plan), Some(tier)) if plan.cuts() => {
                let before = Counted { conversions: 0, sale_minor: tier.before };
                tiers::rate(plan, rule.base(), before, sale_minor)
            }
            _ => {
                let step = step.and_then(|from| rule.step(from)).unwrap_or(terms);
                (step, vec![tiers::at(step, sale_minor)])
            }
        };
        let (modifier, recurrence) = (self.modifier.clone(), self.recurrence);
        Offer { rule, source: self.source, step, parts, tier: self.tier, modifier, recurrence, clamp: self.clamp }
    }

    /// What a step pays for the commission's conversion, with a sale of so much, at a share of it, rounded half to even.
    pub fn at_step(&self, rule: &Rule, step: i64, sale_minor: i64, share_millionths: i32) -> Option<i64> {
        let exact = self.offer(rule, Some(step), sale_minor).exact()?.checked_mul(share_millionths.into())?;
        i64::try_from(super::round_half_even(exact, super::DENOMINATOR)).ok()
    }
}

/// Which customers a rule asks for.
pub fn asks_for_firsts(rules: &[Rule]) -> bool {
    rules.iter().any(|rule| rule.plan.max_months.is_some())
}

/// Whether a rule asks what only clicks tell.
pub fn asks_for_origins(rules: &[Rule]) -> bool {
    rules.iter().any(|rule| rule.plan.criteria.reads_click())
}

/// The rules with tiers that may rate an affiliate's conversions of a goal.
pub fn tiered<'r>(rules: &'r [Rule], occasion: &Occasion<'_>) -> Vec<&'r Rule> {
    rules.iter().filter(|rule| rule.plan.tiers.is_some() && choose::concerns(rule, occasion)).collect()
}
