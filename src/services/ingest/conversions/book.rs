//! The book of a batch: what rules ask of the past, read and held before anything is decided, and written once.
//!
//! # Decisions
//! - What the batch may count is locked first, in key order, after caps and before earnings: two nodes that share a tenant
//!   decide one after the other. It is a little more than what is counted then, as criteria are not asked yet.
//! - A tenant whose rules ask for nothing pays nothing.
//! - `WHOLE` tiers rate what was there before in work of their own, however much it is: the batch asks for it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tributary_entity::{
    Instant, click,
    ids::{AffiliateId, ClickId, ConversionId},
    kinds::TierMode,
    tier_share,
};

use super::{Lead, Past, Taken, facts};
use crate::{
    domain::{
        cap,
        commission::{
            Book, Explanation,
            book::{CustomerKey, Deal, asks_for_firsts, asks_for_origins, tiered},
            choose::Origin,
            tiers::{Counted, TierKey},
        },
        conversion as rules,
        fx_rate::Rates,
    },
    services::{ingest::programme::Programme, tiers as noun},
    store::{error::StoreError, scope::Tx, tiers},
};

/// The book, and what a batch writes into it.
pub(super) struct BatchBook {
    pub book: Book,
    counted: BTreeMap<TierKey, Counted>,
    shares: Vec<tier_share::Model>,
    /// Periods in which earlier conversions are rated otherwise now.
    risen: BTreeSet<TierKey>,
}

impl BatchBook {
    /// Reads and locks what the rules of these conversions may ask.
    pub async fn load(
        tx: &mut Tx,
        leads: &[&Lead<'_, '_>],
        known: &HashMap<ClickId, click::Model>,
        programme: &mut Programme,
        rates: &Rates,
        now: Instant,
    ) -> Result<Self, StoreError> {
        let mut book = Book::default();
        let promoters: BTreeSet<AffiliateId> = leads.iter().flat_map(|lead| lead.affiliates()).collect();
        programme.add_groups(tx, promoters.iter().copied()).await?;
        book.groups = promoters.into_iter().filter_map(|id| Some((id, programme.group(id)?.clone()))).collect();
        let asks_for_time = leads
            .iter()
            .filter_map(|lead| lead.trace.campaign_id)
            .flat_map(|id| programme.rules(id))
            .any(|rule| rule.plan.tiers.is_some() || rule.plan.max_months.is_some());
        if asks_for_time {
            book.zone = cap::zone(&programme.tenant(tx).await?.time_zone);
        }
        let mut wanted = Wanted::default();
        for lead in leads {
            wanted.add(lead, programme, &book, rates, now)?;
        }
        let missing: BTreeSet<ClickId> = wanted.clicks.iter().copied().filter(|id| !known.contains_key(id)).collect();
        let loaded = super::load_clicks(tx, missing).await?;
        let origins = wanted.clicks.iter().filter_map(|id| known.get(id).or_else(|| loaded.get(id)));
        book.origins = origins.map(|click| (click.id, origin(click))).collect();
        // In this order everywhere.
        book.tiers = tiers::lock(tx, &wanted.tiers).await?.into_iter().collect();
        if !wanted.customers.is_empty() {
            tiers::lock_customers(tx, &wanted.customers).await?;
            book.firsts = tiers::first_commissions(tx, &wanted.customers).await?.into_iter().collect();
        }
        Ok(Self { book, counted: BTreeMap::new(), shares: Vec::new(), risen: BTreeSet::new() })
    }

    /// Takes down what a conversion that counts earned.
    pub fn enter(&mut self, tx: &Tx, id: ConversionId, deal: &Deal<'_>, lines: &[(AffiliateId, Explanation)]) {
        self.book.enter(deal, lines);
        for (affiliate_id, line) in lines {
            let (Some(tier), Some(key)) = (line.tier, line.tier_key(*affiliate_id)) else { continue };
            let counted = self.counted.entry(key).or_default();
            *counted = counted.with(deal.left_minor);
            self.shares.push(tier_share::Model {
                tenant_id: tx.scope().tenant_id(),
                conversion_id: id,
                affiliate_id: *affiliate_id,
                rule_id: line.rule_id,
                rule_version: line.rule_version,
                period: tier.period,
                period_start: tier.period_start,
                mode: tier.mode,
                is_counted: true,
                sale_minor: deal.left_minor,
                step: tier.step,
                is_due: false,
            });
            // The first of a step finds the others below it.
            if tier.mode == TierMode::Whole && tier.step > tier.before {
                self.risen.insert(key);
            }
        }
    }

    /// Writes what was counted, once the conversions are there.
    pub async fn write(self, tx: &mut Tx, now: Instant) -> Result<(), StoreError> {
        if !self.counted.is_empty() {
            tiers::add(tx, &self.counted).await?;
        }
        tiers::insert_shares(tx, self.shares)?;
        noun::ask(tx, &self.risen, now).await
    }
}

/// What conversions may ask for.
#[derive(Default)]
struct Wanted {
    clicks: BTreeSet<ClickId>,
    tiers: BTreeSet<TierKey>,
    customers: BTreeSet<CustomerKey>,
}

impl Wanted {
    fn add(
        &mut self,
        lead: &Lead<'_, '_>,
        programme: &Programme,
        book: &Book,
        rates: &Rates,
        now: Instant,
    ) -> Result<(), StoreError> {
        let Some(campaign_id) = lead.trace.campaign_id else { return Ok(()) };
        let rules = programme.rules(campaign_id);
        let asks_for_firsts = asks_for_firsts(rules);
        let has_tiers = rules.iter().any(|rule| rule.plan.tiers.is_some());
        if !(asks_for_firsts || has_tiers || asks_for_origins(rules)) {
            return Ok(());
        }
        let promoters = super::promoters(lead, programme, campaign_id)?;
        // As if nothing were taken: what a duplicate would ask is little more.
        let past = Past { taken: &Taken::default(), book, rates };
        let facts = facts(lead, programme, &promoters, past, campaign_id, now)?;
        // What waits for a rate earns nothing yet.
        let Some(rated) = facts.rated else { return Ok(()) };
        let Ok((goal, credit)) = rules::credit(&facts) else { return Ok(()) };
        let deal = facts.deal(rated.sale);
        for affiliate_id in credit.affiliates() {
            if asks_for_origins(rules) {
                self.clicks.extend(credit.last_click_of(affiliate_id));
            }
            if asks_for_firsts {
                self.customers.extend(deal.customer_key(affiliate_id));
            }
            let occasion = facts.occasion(goal, affiliate_id, None);
            let keys = tiered(rules, &occasion).into_iter();
            self.tiers.extend(keys.filter_map(|rule| book.tier_key(rule, affiliate_id, deal.occurred_at)));
        }
        Ok(())
    }
}

fn origin(click: &click::Model) -> Origin {
    let labels = click.labels.as_deref().and_then(|labels| serde_json::from_str(labels).ok()).unwrap_or_default();
    Origin {
        country: click.country.as_ref().map(|code| code.to_ascii_uppercase()),
        source: click.source.clone(),
        labels,
    }
}
