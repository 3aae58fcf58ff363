//! What a batch must know of campaigns and affiliates, and the totals it adds up before it writes them once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tributary_entity::{
    Instant, affiliate, affiliate_group, campaign, click, enrollment, goal,
    ids::{AffiliateId, CampaignId},
    money::Currency,
};

use super::caps::BatchCaps;
use crate::{
    domain::{
        click_rate::{self, Basis, Rate},
        report::{self, Totals},
        rule::Rule,
    },
    store::{
        affiliate_groups, affiliates, campaigns, click_rates, enrollments,
        error::{Constraint, StoreError},
        goals,
        invalid_clicks::{self, InvalidKey},
        rollups::{self, RollupKey},
        rules,
        scope::Tx,
    },
};

/// The campaigns, affiliates and enrollments that a batch's clicks and conversions name.
#[derive(Default)]
pub(in crate::services) struct Programme {
    campaigns: HashMap<CampaignId, campaign::Model>,
    affiliates: HashMap<AffiliateId, affiliate::Model>,
    enrollments: HashMap<(CampaignId, AffiliateId), enrollment::Model>,
    /// Those that were looked for, whether there is an enrollment or not.
    pairs: BTreeSet<(CampaignId, AffiliateId)>,
    /// Campaigns whose goals and rules are read.
    complete: BTreeSet<CampaignId>,
    goals: HashMap<(CampaignId, String), goal::Model>,
    rules: HashMap<CampaignId, Vec<Rule>>,
    click_rates: HashMap<CampaignId, Vec<Rate>>,
    /// Of affiliates whose clicks earn; those that are in none are not there.
    groups: BTreeMap<AffiliateId, affiliate_group::Model>,
}

impl Programme {
    /// Reads what these pairs name, so far as it is not read.
    pub async fn add_pairs(
        &mut self,
        tx: &Tx,
        pairs: impl Iterator<Item = (CampaignId, AffiliateId)>,
    ) -> Result<(), StoreError> {
        let pairs: BTreeSet<_> = pairs.filter(|pair| !self.pairs.contains(pair)).collect();
        if pairs.is_empty() {
            return Ok(());
        }
        self.add_campaigns(tx, pairs.iter().map(|(id, _)| *id)).await?;
        let affiliate_ids: BTreeSet<_> =
            pairs.iter().map(|(_, id)| *id).filter(|id| !self.affiliates.contains_key(id)).collect();
        if !affiliate_ids.is_empty() {
            let rows = affiliates::get_all(tx, &affiliate_ids.into_iter().collect::<Vec<_>>()).await?;
            self.affiliates.extend(rows.into_iter().map(|row| (row.id, row)));
        }
        let wanted: Vec<_> = pairs.iter().copied().collect();
        let rows = enrollments::for_pairs(tx, &wanted).await?;
        self.enrollments.extend(rows.into_iter().map(|row| ((row.campaign_id, row.affiliate_id), row)));
        self.pairs.extend(pairs);
        Ok(())
    }

    /// Reads campaigns, so far as they are not read; those that do not exist are not there.
    pub async fn add_campaigns(&mut self, tx: &Tx, ids: impl Iterator<Item = CampaignId>) -> Result<(), StoreError> {
        let ids: BTreeSet<_> = ids.filter(|id| !self.campaigns.contains_key(id)).collect();
        if !ids.is_empty() {
            let rows = campaigns::get_many(tx, &ids.into_iter().collect::<Vec<_>>()).await?;
            self.campaigns.extend(rows.into_iter().map(|row| (row.id, row)));
        }
        Ok(())
    }

    /// Reads the goals and rules of all campaigns that are read: conversions need them.
    pub async fn add_goals_and_rules(&mut self, tx: &Tx) -> Result<(), StoreError> {
        let ids: Vec<_> = self.campaigns.keys().filter(|id| !self.complete.contains(id)).copied().collect();
        if ids.is_empty() {
            return Ok(());
        }
        let rows = goals::for_campaigns(tx, &ids).await?;
        self.goals.extend(rows.into_iter().map(|row| ((row.campaign_id, row.code.clone()), row)));
        for rule in rules::for_campaigns(tx, &ids).await? {
            self.rules.entry(rule.head.campaign_id).or_default().push(rule);
        }
        self.complete.extend(ids);
        Ok(())
    }

    /// Reads what clicks of campaigns earn.
    pub async fn add_click_rates(&mut self, tx: &Tx, ids: &[CampaignId]) -> Result<(), StoreError> {
        for rate in click_rates::in_force(tx, ids).await? {
            self.click_rates.entry(rate.head.campaign_id).or_default().push(rate);
        }
        Ok(())
    }

    /// Reads the groups of affiliates in campaigns whose clicks earn something.
    pub async fn add_groups(
        &mut self,
        tx: &Tx,
        pairs: impl Iterator<Item = (CampaignId, AffiliateId)>,
    ) -> Result<(), StoreError> {
        let earning = pairs.filter(|(campaign_id, _)| self.click_rates.contains_key(campaign_id));
        let ids: BTreeSet<AffiliateId> = earning.map(|(_, id)| id).collect();
        self.groups.extend(affiliate_groups::of_affiliates(tx, &Vec::from_iter(ids)).await?);
        Ok(())
    }

    /// What a unique valid click earns, in millionths of the major unit, and by what; none where clicks earn nothing.
    pub fn earned(&self, row: &click::Model) -> Option<(Basis, i64)> {
        let rates = self.click_rates.get(&row.campaign_id)?;
        click_rate::earned(rates.iter(), row.affiliate_id, self.groups.get(&row.affiliate_id))
    }

    /// A campaign that a caller names.
    pub fn get_campaign(&self, id: CampaignId) -> Option<&campaign::Model> {
        self.campaigns.get(&id)
    }

    /// A campaign that a click or link names; the foreign keys promise it.
    pub fn campaign(&self, id: CampaignId) -> Result<&campaign::Model, StoreError> {
        self.campaigns.get(&id).ok_or_else(|| StoreError::inconsistent("campaign", "named by a link and not there"))
    }

    /// An affiliate that a click or link names; the foreign keys promise it.
    pub fn affiliate(&self, id: AffiliateId) -> Result<&affiliate::Model, StoreError> {
        self.affiliates.get(&id).ok_or_else(|| StoreError::inconsistent("affiliate", "named by a link and not there"))
    }

    pub fn enrollment(&self, campaign_id: CampaignId, affiliate_id: AffiliateId) -> Option<&enrollment::Model> {
        self.enrollments.get(&(campaign_id, affiliate_id))
    }

    pub fn goal(&self, campaign_id: CampaignId, code: &str) -> Option<&goal::Model> {
        self.goals.get(&(campaign_id, code.to_owned()))
    }

    pub fn rules(&self, campaign_id: CampaignId) -> &[Rule] {
        self.rules.get(&campaign_id).map_or(&[], Vec::as_slice)
    }
}

/// The totals of a batch and what it takes of caps, written once.
#[derive(Default)]
pub(in crate::services) struct BatchTotals {
    totals: BTreeMap<RollupKey, Totals>,
    invalid: BTreeMap<InvalidKey, i64>,
    pub caps: BatchCaps,
}

impl BatchTotals {
    /// Counts a click, and an invalid one by its reason as well: over all reasons they sum to the total.
    ///
    /// # Errors
    /// As [`BatchTotals::add`].
    pub fn add_click(&mut self, row: &click::Model, currency: Currency) -> Result<(), StoreError> {
        let click::Model { occurred_at, campaign_id, affiliate_id, .. } = *row;
        if let Some(reason) = row.invalid_reason {
            let bucket_at = report::hour(occurred_at);
            *self.invalid.entry(InvalidKey { bucket_at, campaign_id, affiliate_id, reason }).or_default() += 1;
        }
        let is_valid = row.invalid_reason.is_none();
        let totals = Totals {
            clicks_gross: 1,
            clicks_unique: i64::from(row.is_unique && is_valid),
            clicks_invalid: i64::from(!is_valid),
            ..Totals::default()
        };
        self.add(occurred_at, campaign_id, affiliate_id, currency, totals)
    }

    /// Adds to the totals of an hour.
    ///
    /// # Errors
    /// `Constraint::CounterRange` when a sum is past what can be held.
    pub fn add(
        &mut self,
        occurred_at: Instant,
        campaign_id: CampaignId,
        affiliate_id: AffiliateId,
        currency: Currency,
        totals: Totals,
    ) -> Result<(), StoreError> {
        let key = RollupKey { bucket_at: report::hour(occurred_at), campaign_id, affiliate_id, currency };
        let sum = self.totals.entry(key).or_default();
        *sum = sum.checked_add(&totals).ok_or(StoreError::Constraint(Constraint::CounterRange))?;
        Ok(())
    }

    pub async fn write(self, tx: &mut Tx) -> Result<(), StoreError> {
        self.caps.write(tx).await?;
        if !self.totals.is_empty() {
            rollups::add(tx, &self.totals).await?;
        }
        if !self.invalid.is_empty() {
            invalid_clicks::add(tx, &self.invalid).await?;
        }
        Ok(())
    }
}
