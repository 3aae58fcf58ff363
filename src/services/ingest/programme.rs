//! What a batch must know of campaigns and affiliates, and the totals it adds up before it writes them once.
//!
//! # Decisions
//! - What one batch has read, the next one of its lane [remembers](Memory): eight statements of a single conversion's twenty
//!   were for what is the same day after day. It is good as long as the tenant's version of it is as it was, which the commit
//!   compares (see `store::programme`); what was decided by something else is given up, and decided anew.
//! - It is forgotten after a second all the same, for what is not counted: a node of an earlier release changes something, or
//!   somebody by hand. So it never grows past what a second's batches ask for.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant as Time},
};

use tributary_entity::{
    Instant, affiliate, affiliate_group, campaign, cap, click, enrollment, goal,
    ids::{AffiliateId, CampaignId},
    money::Currency,
    tenant,
};

use super::caps::BatchCaps;
use crate::{
    domain::{
        click_rate::{self, Basis, Rate},
        override_plan::{self, Chains, Plan},
        report::{self, Totals},
        rule::Rule,
    },
    store::{
        affiliate_groups, affiliate_parents, affiliates, campaigns, caps, click_rates, enrollments,
        error::{Constraint, StoreError},
        goals,
        invalid_clicks::{self, InvalidKey},
        override_plans, programme,
        rollups::{self, RollupKey},
        rules,
        scope::Tx,
        tenants,
    },
};

/// What a lane's batches remember: a programme for each that may be under way. Whoever takes one has it alone.
#[derive(Default)]
pub(super) struct Memory(Mutex<Vec<Remembered>>);

/// A programme, and until when it is good.
pub(super) struct Remembered {
    pub programme: Programme,
    version: i64,
    read_at: Time,
}

/// After which a programme is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(1);

impl Memory {
    /// What is remembered, if it is not too old.
    pub fn take(&self) -> Option<Remembered> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|one| one.read_at.elapsed() < FORGOTTEN_AFTER);
        all.pop()
    }

    /// Remembers what a batch that was committed has read.
    pub fn put(&self, remembered: Remembered) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(remembered);
    }
}

impl Remembered {
    /// Nothing yet: what is read from now on.
    ///
    /// # Errors
    /// As the database answers.
    pub async fn begin(tx: &Tx) -> Result<Self, StoreError> {
        Ok(Self { programme: Programme::default(), version: programme::version(tx).await?, read_at: Time::now() })
    }

    /// Has a transaction commit only if all of it is still so.
    pub const fn hold(&self, tx: &mut Tx) {
        tx.rely(self.version);
    }
}

/// What a batch's clicks and conversions name, and what is agreed on it. Each is read once.
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
    /// Each of campaigns whose rates are read, which may have none.
    click_rates: HashMap<CampaignId, Vec<Rate>>,
    /// Of affiliates whose group is read; those that are in none have none.
    groups: BTreeMap<AffiliateId, Option<affiliate_group::Model>>,
    /// The active ones of each campaign whose caps are read.
    caps: HashMap<CampaignId, Vec<cap::Model>>,
    /// The campaigns whose override plans are read, with the tenant's default.
    planned: BTreeSet<CampaignId>,
    plans: Vec<Plan>,
    /// Those above affiliates, as far up as `levels` say; of each that was asked for, who may have nobody.
    chains: Chains,
    levels: i32,
    tenant: Option<tenant::Model>,
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
        let ids = unread(&self.click_rates, ids);
        if !ids.is_empty() {
            let rates = click_rates::in_force(tx, &ids).await?;
            file(&mut self.click_rates, ids, rates, |rate| rate.head.campaign_id);
        }
        Ok(())
    }

    /// Reads the groups of affiliates in campaigns whose clicks earn something.
    pub async fn add_groups_of_earning(
        &mut self,
        tx: &Tx,
        pairs: impl Iterator<Item = (CampaignId, AffiliateId)>,
    ) -> Result<(), StoreError> {
        let earns = |id: &CampaignId| self.click_rates.get(id).is_some_and(|rates| !rates.is_empty());
        let ids: Vec<AffiliateId> = pairs.filter(|(campaign_id, _)| earns(campaign_id)).map(|(_, id)| id).collect();
        self.add_groups(tx, ids.into_iter()).await
    }

    /// Reads the groups of affiliates.
    pub async fn add_groups(&mut self, tx: &Tx, ids: impl Iterator<Item = AffiliateId>) -> Result<(), StoreError> {
        let ids: BTreeSet<AffiliateId> = ids.filter(|id| !self.groups.contains_key(id)).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let ids = Vec::from_iter(ids);
        let mut groups = affiliate_groups::of_affiliates(tx, &ids).await?;
        self.groups.extend(ids.into_iter().map(|id| (id, groups.remove(&id))));
        Ok(())
    }

    /// Reads the active caps of campaigns.
    pub async fn add_caps(&mut self, tx: &Tx, ids: &[CampaignId]) -> Result<(), StoreError> {
        let ids = unread(&self.caps, ids);
        if !ids.is_empty() {
            let rows = caps::for_campaigns(tx, &ids).await?;
            file(&mut self.caps, ids, rows, |row| row.campaign_id);
        }
        Ok(())
    }

    /// Reads the override plans in force in campaigns.
    pub async fn add_plans(&mut self, tx: &Tx, ids: impl Iterator<Item = CampaignId>) -> Result<(), StoreError> {
        let ids: BTreeSet<CampaignId> = ids.filter(|id| !self.planned.contains(id)).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let found = override_plans::in_force(tx, &Vec::from_iter(ids.iter().copied())).await?;
        // The tenant's default comes with each.
        let known: BTreeSet<_> = self.plans.iter().map(|plan| plan.head.id).collect();
        self.plans.extend(found.into_iter().filter(|plan| !known.contains(&plan.head.id)));
        self.planned.extend(ids);
        Ok(())
    }

    /// Reads those above affiliates, as far up as any of the plans that are read pays; nobody where none pays.
    pub async fn add_chains(&mut self, tx: &Tx, ids: impl Iterator<Item = AffiliateId>) -> Result<(), StoreError> {
        let levels = override_plan::reach(&self.plans);
        if levels > self.levels {
            self.chains.clear();
            self.levels = levels;
        }
        let ids: BTreeSet<AffiliateId> = ids.filter(|id| !self.chains.contains_key(id)).collect();
        if levels == 0 || ids.is_empty() {
            return Ok(());
        }
        let ids = Vec::from_iter(ids);
        let mut chains = affiliate_parents::chains(tx, &ids, levels).await?;
        self.chains.extend(ids.into_iter().map(|id| (id, chains.remove(&id).unwrap_or_default())));
        Ok(())
    }

    /// The tenant.
    pub async fn tenant(&mut self, tx: &Tx) -> Result<&tenant::Model, StoreError> {
        Ok(match &mut self.tenant {
            Some(row) => row,
            none => none.insert(tenants::get(tx).await?),
        })
    }

    /// What a unique valid click earns, in millionths of the major unit, and by what; none where clicks earn nothing.
    pub fn earned(&self, row: &click::Model) -> Option<(Basis, i64)> {
        let rates = self.click_rates.get(&row.campaign_id)?;
        click_rate::earned(rates.iter(), row.affiliate_id, self.group(row.affiliate_id))
    }

    /// An affiliate's group, where it was read and there is one.
    pub fn group(&self, id: AffiliateId) -> Option<&affiliate_group::Model> {
        self.groups.get(&id)?.as_ref()
    }

    /// The active caps of a campaign whose caps were read.
    pub fn caps(&self, id: CampaignId) -> Option<&[cap::Model]> {
        self.caps.get(&id).map(Vec::as_slice)
    }

    /// The override plan in force in a campaign, of those that were read.
    pub fn plan(&self, id: CampaignId) -> Option<&Plan> {
        override_plan::in_force(&self.plans, id)
    }

    /// Those above affiliates, of those who were read.
    pub const fn chains(&self) -> &Chains {
        &self.chains
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

/// Those of campaigns of which nothing was read yet.
fn unread<T>(read: &HashMap<CampaignId, Vec<T>>, ids: &[CampaignId]) -> Vec<CampaignId> {
    ids.iter().copied().filter(|id| !read.contains_key(id)).collect()
}

/// Files what was read of campaigns; of some there may be nothing.
fn file<T>(
    read: &mut HashMap<CampaignId, Vec<T>>,
    ids: Vec<CampaignId>,
    rows: Vec<T>,
    campaign: impl Fn(&T) -> CampaignId,
) {
    read.extend(ids.into_iter().map(|id| (id, Vec::new())));
    for row in rows {
        read.entry(campaign(&row)).or_default().push(row);
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
