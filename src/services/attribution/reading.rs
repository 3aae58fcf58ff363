//! A page of conversions with all that is needed to credit them anew: a few statements, however many there are.
//!
//! # Decisions
//! - What pages have in common (campaigns, rules, affiliates, enrollments) is read once and kept: it grows with the
//!   tenant's programme, not with its clicks and conversions, which are let go of with their page.

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::TimeDelta;
use tributary_entity::{
    attribution_decision, attribution_touch, campaign, click, commission, conversion, enrollment,
    ids::{AffiliateId, CampaignId, ClickId, CommissionRuleId, ConversionId},
    kinds::{AffiliateStatus, CommissionStatus, EnrollmentStatus},
};
use uuid::Uuid;

use crate::{
    domain::{
        attribution::{Means, TOUCHES_MAX, Touch},
        commission::{Book, Explanation, book::Deal, choose::Occasion},
        conversion::Rated,
        override_plan::{self, Plan},
        page::{List, Order, PageRequest, Position},
        reattribution::{self, Known, Trial, Verdict},
        rule::Rule,
    },
    services::{
        overrides,
        tiers::{limited_of, steps_of},
    },
    store::{
        affiliate_groups, affiliates, attributions, campaigns,
        clicks::{self, Journey},
        conversions, customers, enrollments,
        error::StoreError,
        override_plans, rules,
        scope::Tx,
        tenants,
    },
};

/// A conversion that was looked at.
pub(super) struct Judged {
    pub conversion: conversion::Model,
    pub decision: attribution_decision::Model,
    /// Those that count, overrides among them.
    pub commissions: Vec<commission::Model>,
    /// Those that do not any more.
    pub past_commissions: Vec<commission::Model>,
    /// None where it is left as it is.
    pub verdict: Option<Verdict>,
}

/// Up to `size` conversions of a trial behind a place, by their time.
pub(super) async fn page(
    tx: &Tx,
    trial: &Trial,
    after: Option<Position>,
    size: u64,
) -> Result<Vec<conversion::Model>, StoreError> {
    let list = List::new("Conversion", Order::OccurredAsc);
    let request = PageRequest { list, size, backward: false, after, before: None };
    Ok(conversions::list(tx, &trial.conversions(), &request).await?.rows)
}

/// The place of a conversion among those of a trial.
pub(super) const fn place(row: &conversion::Model) -> Position {
    Position { occurred_at: Some(row.occurred_at), id: row.id.uuid() }
}

/// Where a run goes on.
pub(super) fn resumed(occurred_at: Option<tributary_entity::Instant>, id: Option<Uuid>) -> Option<Position> {
    occurred_at.zip(id).map(|(at, id)| Position { occurred_at: Some(at), id })
}

/// Judges conversions by a trial.
pub(super) struct Reader {
    trial: Trial,
    campaigns: HashMap<CampaignId, campaign::Model>,
    rules: HashMap<CampaignId, Vec<Rule>>,
    versions: HashMap<(CommissionRuleId, i32), Rule>,
    /// Whether each is active.
    affiliates: HashMap<AffiliateId, bool>,
    /// For those who had no commission: groups, and the tenant's time zone.
    book: Book,
    /// None where there is none.
    enrollments: HashMap<(CampaignId, AffiliateId), Option<enrollment::Model>>,
    /// The override plan in force; none where there is none.
    plans: HashMap<CampaignId, Option<Plan>>,
}

impl Reader {
    pub fn new(trial: Trial) -> Self {
        Self {
            trial,
            campaigns: HashMap::new(),
            rules: HashMap::new(),
            versions: HashMap::new(),
            affiliates: HashMap::new(),
            book: Book::default(),
            enrollments: HashMap::new(),
            plans: HashMap::new(),
        }
    }

    /// Judges a page of conversions by what they have now. Those without a decision are passed over.
    pub async fn judge(
        &mut self,
        tx: &Tx,
        rows: Vec<conversion::Model>,
        commissions: Vec<commission::Model>,
    ) -> Result<Vec<Judged>, StoreError> {
        let mut past = Past::load(tx, &rows, commissions).await?;
        self.know_campaigns(tx, &rows).await?;
        self.know_versions(tx, &past).await?;
        let touches = self.touches(tx, &rows, &past).await?;
        self.know_affiliates(tx, &rows, &past, &touches).await?;
        let judged = rows.into_iter().zip(touches).filter_map(|(row, found)| self.judge_one(row, &mut past, &found));
        let mut judged: Vec<Judged> = judged.collect();
        self.add_overrides(tx, &mut judged).await?;
        Ok(judged)
    }

    /// Adds what those above earn on what the affiliates would.
    async fn add_overrides(&self, tx: &Tx, judged: &mut [Judged]) -> Result<(), StoreError> {
        let verdicts = judged.iter().filter_map(|one| one.verdict.as_ref());
        let earners = verdicts.flat_map(|verdict| &verdict.lines).map(|line| line.affiliate_id).collect();
        let plans: Vec<Plan> = self.plans.values().flatten().cloned().collect();
        let chains = overrides::chains(tx, &plans, &earners).await?;
        for Judged { conversion, commissions, verdict, .. } in judged {
            let plan = conversion.campaign_id.and_then(|id| self.plans.get(&id)?.as_ref());
            let fresh = |id: AffiliateId, base: &Explanation| match (plan, chains.get(&id)) {
                (Some(plan), Some(chain)) => override_plan::claims(plan, id, base, chain),
                _ => Vec::new(),
            };
            // Where an amount is past what can be held, it is left as it is, as where a commission is.
            *verdict = verdict.take().and_then(|verdict| verdict.with_overrides(commissions, fresh));
        }
        Ok(())
    }

    fn judge_one(&self, conversion: conversion::Model, past: &mut Past, found: &Found) -> Option<Judged> {
        let decision = past.decisions.remove(&conversion.id)?;
        let campaign = self.campaigns.get(&conversion.campaign_id?)?;
        let (commissions, past_commissions) = past.commissions.remove(&conversion.id).unwrap_or_default();
        let own: Vec<commission::Model> = commissions.iter().filter(|row| row.level == 0).cloned().collect();
        let known = Known {
            conversion: &conversion,
            decision: &decision,
            touches: past.touches.get(&conversion.id).map_or(&[][..], Vec::as_slice),
            commissions: &own,
            named: found.named,
            history: &found.history,
        };
        let enrollment = |id| self.enrollments.get(&(campaign.id, id)).and_then(Option::as_ref);
        let sale = Rated::of_row(&conversion).map(|rated| rated.sale);
        let offer_of = |id| match own.iter().find(|row| row.affiliate_id == id) {
            // What chose it then is in its explanation, which stays.
            Some(row) => {
                let rule = self.versions.get(&(row.rule_id, row.rule_version))?;
                let earned = limited_of(row).ok()?;
                Some(earned.offer(rule, past.steps.get(&(conversion.id, id)).copied(), sale?.amount_minor))
            }
            None => {
                let deal = Deal {
                    campaign_id: campaign.id,
                    occurred_at: conversion.occurred_at,
                    sale: sale?,
                    left_minor: sale?.amount_minor,
                    customer_id: conversion.customer_id.as_deref(),
                };
                let occasion = Occasion {
                    affiliate_id: id,
                    goal_id: conversion.goal_id?,
                    origin: None,
                    product_id: conversion.product_id.as_deref(),
                    coupon_code: conversion.coupon_code.as_deref(),
                    group_id: None,
                    own_rule: enrollment(id).and_then(|enrollment| enrollment.rule_id),
                };
                self.book.offer(self.rules.get(&campaign.id)?, &deal, &occasion)
            }
        };
        let may_earn = |id| {
            self.affiliates.get(&id).copied().unwrap_or(false)
                && enrollment(id).is_some_and(|enrollment| enrollment.status == EnrollmentStatus::Approved)
        };
        let verdict = reattribution::judge(&known, self.trial.rules(campaign), offer_of, may_earn);
        Some(Judged { conversion, decision, commissions, past_commissions, verdict })
    }

    async fn know_campaigns(&mut self, tx: &Tx, rows: &[conversion::Model]) -> Result<(), StoreError> {
        let missing = rows.iter().filter_map(|row| row.campaign_id).filter(|id| !self.campaigns.contains_key(id));
        let missing: Vec<CampaignId> = missing.collect::<BTreeSet<_>>().into_iter().collect();
        if missing.is_empty() {
            return Ok(());
        }
        self.book.zone = tenants::zone(tx).await?;
        self.campaigns.extend(campaigns::get_many(tx, &missing).await?.into_iter().map(|row| (row.id, row)));
        for rule in rules::for_campaigns(tx, &missing).await? {
            self.rules.entry(rule.head.campaign_id).or_default().push(rule);
        }
        let plans = override_plans::in_force(tx, &missing).await?;
        self.plans.extend(missing.into_iter().map(|id| (id, override_plan::in_force(&plans, id).cloned())));
        Ok(())
    }

    async fn know_versions(&mut self, tx: &Tx, past: &Past) -> Result<(), StoreError> {
        let named =
            past.commissions.values().flat_map(|(counting, _)| counting).map(|row| (row.rule_id, row.rule_version));
        let missing: BTreeSet<_> = named.filter(|key| !self.versions.contains_key(key)).collect();
        let missing: Vec<_> = missing.into_iter().collect();
        for missing in missing.chunks(500) {
            let rules = rules::in_versions(tx, missing).await?;
            self.versions.extend(rules.into_iter().map(|rule| ((rule.head.id, rule.terms.version), rule)));
        }
        Ok(())
    }

    /// The named click and the history of each conversion, in their order.
    async fn touches(&self, tx: &Tx, rows: &[conversion::Model], past: &Past) -> Result<Vec<Found>, StoreError> {
        let ids: Vec<ClickId> =
            rows.iter().filter_map(|row| row.click_id).collect::<HashSet<_>>().into_iter().collect();
        let clicks: HashMap<ClickId, click::Model> =
            clicks::get_many(tx, &ids).await?.into_iter().map(|click| (click.id, click)).collect();
        let customer_ids: BTreeSet<&String> = rows.iter().filter_map(|row| row.customer_id.as_ref()).collect();
        let customer_ids: Vec<String> = customer_ids.into_iter().cloned().collect();
        let customers = customers::visitors(tx, &customer_ids).await?;
        let mut found: Vec<Found> = Vec::with_capacity(rows.len());
        let mut journeys = Vec::new();
        let mut owners = Vec::new();
        for (place, row) in rows.iter().enumerate() {
            let click = row.click_id.and_then(|id| clicks.get(&id)).filter(|click| click.invalid_reason.is_none());
            found.push(Found { named: click.map(touch), history: Vec::new() });
            let Some(campaign) = row.campaign_id.and_then(|id| self.campaigns.get(&id)) else { continue };
            let source = past.decisions.get(&row.id).map(|decision| decision.source);
            if source.is_none_or(|source| !reattribution::needs_history(source, click.is_some(), self.trial.model)) {
                continue;
            }
            let told = row.visitor_id.as_deref().into_iter().chain(click.and_then(|click| click.visitor_id.as_deref()));
            let bound = row.customer_id.as_ref().and_then(|id| customers.get(id)).into_iter().flatten();
            let visitors: BTreeSet<&str> = told.chain(bound.map(String::as_str)).collect();
            let from = row.occurred_at - TimeDelta::seconds(self.trial.rules(campaign).window_secs);
            for visitor_id in visitors {
                journeys.push(Journey { campaign_id: campaign.id, visitor_id, from, until: row.occurred_at });
                owners.push(place);
            }
        }
        for (journey, step) in clicks::of_journeys(tx, &journeys, TOUCHES_MAX).await? {
            let clicked =
                Touch { means: Means::Click(step.id), affiliate_id: step.affiliate_id, occurred_at: step.occurred_at };
            found[owners[journey]].history.push(clicked);
        }
        Ok(found)
    }

    async fn know_affiliates(
        &mut self,
        tx: &Tx,
        rows: &[conversion::Model],
        past: &Past,
        touches: &[Found],
    ) -> Result<(), StoreError> {
        let mut pairs: BTreeSet<(CampaignId, AffiliateId)> = BTreeSet::new();
        for (row, found) in rows.iter().zip(touches) {
            let Some(campaign_id) = row.campaign_id else { continue };
            let touched = found.named.iter().chain(&found.history).map(|touch| touch.affiliate_id);
            let decided = past.touches.get(&row.id).into_iter().flatten().map(|touch| touch.affiliate_id);
            pairs.extend(touched.chain(decided).map(|id| (campaign_id, id)));
        }
        pairs.retain(|pair| !self.enrollments.contains_key(pair));
        let pairs: Vec<_> = pairs.into_iter().collect();
        if pairs.is_empty() {
            return Ok(());
        }
        self.enrollments.extend(pairs.iter().map(|pair| (*pair, None)));
        for row in enrollments::for_pairs(tx, &pairs).await? {
            self.enrollments.insert((row.campaign_id, row.affiliate_id), Some(row));
        }
        let missing = pairs.iter().map(|(_, id)| *id).filter(|id| !self.affiliates.contains_key(id));
        let missing: Vec<AffiliateId> = missing.collect::<BTreeSet<_>>().into_iter().collect();
        self.book.groups.extend(affiliate_groups::of_affiliates(tx, &missing).await?);
        let rows = affiliates::get_all(tx, &missing).await?;
        self.affiliates.extend(rows.into_iter().map(|row| (row.id, row.status == AffiliateStatus::Active)));
        Ok(())
    }
}

const fn touch(click: &click::Model) -> Touch {
    Touch { means: Means::Click(click.id), affiliate_id: click.affiliate_id, occurred_at: click.occurred_at }
}

/// The clicks that led to a conversion.
struct Found {
    named: Option<Touch>,
    history: Vec<Touch>,
}

/// What was decided about a page of conversions.
struct Past {
    /// The newest of each.
    decisions: HashMap<ConversionId, attribution_decision::Model>,
    /// Of those decisions.
    touches: HashMap<ConversionId, Vec<attribution_touch::Model>>,
    /// Those that count, and those that do not any more.
    commissions: HashMap<ConversionId, (Vec<commission::Model>, Vec<commission::Model>)>,
    /// The steps of tiers that commissions are rated at.
    steps: HashMap<(ConversionId, AffiliateId), i64>,
}

impl Past {
    async fn load(
        tx: &Tx,
        rows: &[conversion::Model],
        commission_rows: Vec<commission::Model>,
    ) -> Result<Self, StoreError> {
        let ids: Vec<ConversionId> = rows.iter().map(|row| row.id).collect();
        // Oldest first: the newest version stays.
        let decisions: HashMap<_, _> =
            attributions::decisions(tx, &ids).await?.into_iter().map(|row| (row.conversion_id, row)).collect();
        let mut touches: HashMap<ConversionId, Vec<_>> = HashMap::new();
        for row in attributions::touches(tx, &ids).await? {
            if decisions.get(&row.conversion_id).is_some_and(|decision| decision.version == row.version) {
                touches.entry(row.conversion_id).or_default().push(row);
            }
        }
        let mut commissions: HashMap<ConversionId, (Vec<_>, Vec<_>)> = HashMap::new();
        // What was rejected or reversed is nobody's any more, also where its conversion was taken up again.
        let counts =
            |row: &commission::Model| !matches!(row.status, CommissionStatus::Rejected | CommissionStatus::Reversed);
        for row in commission_rows {
            let (counting, others) = commissions.entry(row.conversion_id).or_default();
            if counts(&row) { counting.push(row) } else { others.push(row) }
        }
        Ok(Self { decisions, touches, commissions, steps: steps_of(tx, &ids).await? })
    }
}
