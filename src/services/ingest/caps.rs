//! The caps of a batch: what is left of each period, held until the batch commits.
//!
//! # Decisions
//! - What a batch may touch is locked before anything is decided, in key order: two nodes that share a tenant decide one
//!   after the other, and never wait for each other in a circle. A tenant without caps pays one look-up.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono_tz::Tz;
use tributary_entity::{
    Instant, cap, cap_share, commission, conversion,
    ids::{AffiliateId, CampaignId, CapId, ConversionId},
    kinds::{CapMetric, ConversionReason, ConversionStatus},
};

use super::programme::Programme;
use crate::{
    domain::{
        cap::{self as rules, Demand},
        commission::{
            caps::{Clamp, Room, admit, amounts, granted},
            gross,
        },
        conversion::{Decision, Facts},
        touches::Scrutiny,
    },
    store::{
        caps::{self, UsageKey},
        error::{Constraint, StoreError},
        scope::Tx,
        tenants,
    },
};

/// Caps of the batch's campaigns, and what it takes of them.
#[derive(Default)]
pub(in crate::services) struct BatchCaps {
    /// None until a cap is met.
    zone: Option<Tz>,
    of_campaign: HashMap<CampaignId, Vec<cap::Model>>,
    /// What is used of each locked period, this batch's part included.
    used: HashMap<UsageKey, i64>,
    taken: BTreeMap<UsageKey, i64>,
    shares: Vec<cap_share::Model>,
    /// What recorded conversions have of caps, and which of them have something else by now.
    held: BTreeMap<(ConversionId, CapId), cap_share::Model>,
    changed: BTreeSet<ConversionId>,
}

impl BatchCaps {
    /// Takes the caps of campaigns, and the tenant's time zone, from what a programme has of them.
    ///
    /// # Errors
    /// As the database answers.
    pub async fn learn(
        &mut self,
        tx: &Tx,
        programme: &mut Programme,
        campaign_ids: &[CampaignId],
    ) -> Result<(), StoreError> {
        programme.add_caps(tx, campaign_ids).await?;
        for id in campaign_ids {
            let caps = programme.caps(*id).unwrap_or_default();
            self.of_campaign.entry(*id).or_insert_with(|| caps.to_vec());
        }
        if self.zone.is_none() && self.of_campaign.values().any(|caps| !caps.is_empty()) {
            self.zone = Some(rules::zone(&programme.tenant(tx).await?.time_zone));
        }
        Ok(())
    }

    /// Reads the caps of campaigns and locks what they have in the periods of these instants. Needed before clicks and
    /// conversions of those are decided; again for campaigns and instants that become known later.
    ///
    /// # Errors
    /// As the database answers.
    pub async fn prepare(
        &mut self,
        tx: &mut Tx,
        campaign_ids: &[CampaignId],
        instants: &BTreeSet<Instant>,
    ) -> Result<(), StoreError> {
        let Some(zone) = self.read(tx, campaign_ids).await? else { return Ok(()) };
        let caps = campaign_ids.iter().filter_map(|id| self.of_campaign.get(id)).flatten();
        let keys = caps
            .flat_map(|cap| instants.iter().map(move |at| (cap.id, rules::period_start(cap.period, *at, zone))))
            .collect();
        self.lock(tx, keys).await
    }

    /// Reads the caps of campaigns that are not known yet. Answers the tenant's time zone; none where there is no cap.
    async fn read(&mut self, tx: &Tx, campaign_ids: &[CampaignId]) -> Result<Option<Tz>, StoreError> {
        let new: Vec<CampaignId> =
            campaign_ids.iter().copied().filter(|id| !self.of_campaign.contains_key(id)).collect();
        if !new.is_empty() {
            self.of_campaign.extend(new.iter().map(|id| (*id, Vec::new())));
            for row in caps::for_campaigns(tx, &new).await? {
                self.of_campaign.entry(row.campaign_id).or_default().push(row);
            }
        }
        if campaign_ids.iter().filter_map(|id| self.of_campaign.get(id)).all(Vec::is_empty) {
            return Ok(None);
        }
        Ok(Some(match self.zone {
            Some(zone) => zone,
            None => *self.zone.insert(tenants::zone(tx).await?),
        }))
    }

    /// Locks what is used of periods that are not locked yet, in key order.
    async fn lock(&mut self, tx: &mut Tx, mut keys: BTreeSet<UsageKey>) -> Result<(), StoreError> {
        keys.retain(|key| !self.used.contains_key(key));
        if !keys.is_empty() {
            self.used.extend(caps::lock_used(tx, &keys).await?);
        }
        Ok(())
    }

    /// Whether a valid click is over a cap of clicks. One that is not, and is unique, is counted.
    ///
    /// # Errors
    /// `Inconsistent` when its campaign and instant were not prepared.
    pub fn click_is_over(
        &mut self,
        campaign_id: CampaignId,
        affiliate_id: AffiliateId,
        at: Instant,
        is_unique: bool,
    ) -> Result<bool, StoreError> {
        let is_meant = |cap: &cap::Model| cap.metric == CapMetric::Clicks && rules::concerns(cap, affiliate_id);
        let periods = self.periods(campaign_id, at, is_meant)?;
        if periods.iter().any(|period| rules::is_exhausted(&period.cap, period.used)) {
            return Ok(true);
        }
        for period in periods {
            self.take(period.key, i64::from(is_unique))?;
        }
        Ok(false)
    }

    /// Cuts the commissions of a conversion that would count to what caps have left. Refuses it where nothing is left of
    /// what it earned, and where it does not fit whole into a cap of conversions or sales. One that is admitted takes its
    /// share of each. What a person lets pass is neither cut nor refused, and takes its share where there is room for it.
    ///
    /// # Errors
    /// As [`BatchCaps::click_is_over`].
    pub fn admit(
        &mut self,
        id: ConversionId,
        facts: &Facts<'_>,
        mut decision: Decision,
    ) -> Result<Decision, StoreError> {
        let credited = decision.credit.as_ref().and_then(|credit| credit.affiliates().first().copied());
        let Some(affiliate_id) = credited.filter(|_| decision.status != ConversionStatus::Rejected) else {
            return Ok(decision);
        };
        let campaign = facts.campaign;
        let sale_minor = facts.rated.map_or(0, |rated| rated.sale.amount_minor);
        let earned = amounts(&decision.commissions);
        let demand = Demand { affiliate_id, sale_minor, commissions: &earned };
        let periods = self.periods(campaign.id, facts.occurred_at, |cap| demand.of(cap) > 0)?;
        let is_waived = facts.scrutiny == Scrutiny::Waived;
        if !is_waived {
            let mut rooms: Vec<Room<'_>> = periods.iter().map(Period::room).collect();
            if !admit(&mut decision.commissions, &mut rooms, affiliate_id, sale_minor) {
                return Ok(Decision::refused(ConversionReason::OverCap));
            }
        }
        let granted = amounts(&decision.commissions);
        let demand = Demand { affiliate_id, sale_minor, commissions: &granted };
        if periods.iter().all(|period| rules::fits(&period.cap, period.used, demand.of(&period.cap))) {
            self.take_all(id, periods, &demand)?;
        }
        Ok(decision)
    }

    /// Takes what a conversion demands of each cap.
    fn take_all(&mut self, id: ConversionId, periods: Vec<Period>, demand: &Demand<'_>) -> Result<(), StoreError> {
        for period in periods {
            let amount = demand.of(&period.cap);
            if amount == 0 {
                continue;
            }
            let (cap_id, period_start) = period.key;
            let tenant_id = period.cap.tenant_id;
            self.shares.push(cap_share::Model { tenant_id, conversion_id: id, cap_id, period_start, amount });
            self.take(period.key, amount)?;
        }
        Ok(())
    }

    fn periods(
        &self,
        campaign_id: CampaignId,
        at: Instant,
        is_meant: impl Fn(&cap::Model) -> bool,
    ) -> Result<Vec<Period>, StoreError> {
        let caps = self.of_campaign.get(&campaign_id).ok_or_else(unprepared)?;
        caps.iter()
            .filter(|cap| is_meant(cap))
            .map(|cap| {
                let zone = self.zone.ok_or_else(unprepared)?;
                let key = (cap.id, rules::period_start(cap.period, at, zone));
                let used = *self.used.get(&key).ok_or_else(unprepared)?;
                Ok(Period { key, used, cap: cap.clone() })
            })
            .collect()
    }

    fn take(&mut self, key: UsageKey, amount: i64) -> Result<(), StoreError> {
        for sum in [self.used.entry(key).or_default(), self.taken.entry(key).or_default()] {
            *sum = sum.checked_add(amount).ok_or(StoreError::Constraint(Constraint::CounterRange))?;
        }
        Ok(())
    }

    /// Holds what recorded conversions, locked with their commissions, have of caps. Needed before [`BatchCaps::measure`] and
    /// [`BatchCaps::fall`].
    ///
    /// # Errors
    /// As the database answers.
    pub async fn hold(&mut self, tx: &mut Tx, rows: &[conversion::Model]) -> Result<(), StoreError> {
        let campaign_ids: BTreeSet<CampaignId> = rows.iter().filter_map(|row| row.campaign_id).collect();
        let Some(zone) = self.read(tx, &campaign_ids.into_iter().collect::<Vec<_>>()).await? else { return Ok(()) };
        let ids: Vec<ConversionId> = rows.iter().map(|row| row.id).collect();
        let shares = caps::shares_of(tx, &ids).await?;
        // Of each conversion its own caps in its own periods: others are somebody else's to lock.
        let measured = rows.iter().flat_map(|row| {
            let caps = row.campaign_id.and_then(|id| self.of_campaign.get(&id)).into_iter().flatten();
            let caps = caps.filter(|cap| cap.metric == CapMetric::Commission);
            caps.map(|cap| (cap.id, rules::period_start(cap.period, row.occurred_at, zone)))
        });
        // Those that they have taken of may have begun otherwise when the tenant had another time zone.
        let taken = shares.iter().map(|share| (share.cap_id, share.period_start));
        let keys: BTreeSet<UsageKey> = measured.chain(taken).collect();
        self.lock(tx, keys).await?;
        self.held.extend(shares.into_iter().map(|share| ((share.conversion_id, share.cap_id), share)));
        Ok(())
    }

    /// By how much an affiliate's own commission changes whose terms give `earned_minor` now: down to that, or up as far as
    /// there is room for it; and what cut it. It takes that of the caps that limit it, or gives it back.
    ///
    /// # Errors
    /// `Inconsistent` when its conversion is not held.
    pub fn measure(
        &mut self,
        row: &conversion::Model,
        commission: &commission::Model,
        earned_minor: i64,
    ) -> Result<(i64, Option<Clamp>), StoreError> {
        let has_minor = gross(commission).amount_minor;
        let wanted = earned_minor.saturating_sub(has_minor);
        if wanted <= 0 {
            self.fall(row, commission.affiliate_id, -wanted)?;
            return Ok((wanted, None));
        }
        let periods = self.limiting(row, commission.affiliate_id)?;
        let rooms: Vec<Room<'_>> = periods.iter().map(Period::room).collect();
        let (granted, cut_by) = granted(&rooms, wanted);
        let clamp = cut_by.map(|cap_id| Clamp { cap_id, earned_minor, left_minor: has_minor + granted });
        for period in &periods {
            self.change(row, period, granted)?;
        }
        Ok((granted, clamp))
    }

    /// Gives back what an affiliate's own commission loses, as far as its conversion has taken it.
    ///
    /// # Errors
    /// As [`BatchCaps::measure`].
    pub fn fall(&mut self, row: &conversion::Model, affiliate_id: AffiliateId, minor: i64) -> Result<(), StoreError> {
        for period in self.limiting(row, affiliate_id)? {
            let has = self.held.get(&(row.id, period.cap.id)).map_or(0, |share| share.amount);
            self.change(row, &period, -minor.min(has))?;
        }
        Ok(())
    }

    /// The caps on commission that concern an affiliate, in the periods that a conversion is counted in.
    fn limiting(&self, row: &conversion::Model, affiliate_id: AffiliateId) -> Result<Vec<Period>, StoreError> {
        let Some(campaign_id) = row.campaign_id else { return Ok(Vec::new()) };
        let is_meant = |cap: &cap::Model| cap.metric == CapMetric::Commission && rules::concerns(cap, affiliate_id);
        let mut periods = self.periods(campaign_id, row.occurred_at, is_meant)?;
        for period in &mut periods {
            if let Some(share) = self.held.get(&(row.id, period.cap.id)) {
                period.key.1 = share.period_start;
                period.used = *self.used.get(&period.key).ok_or_else(unprepared)?;
            }
        }
        Ok(periods)
    }

    fn change(&mut self, row: &conversion::Model, period: &Period, amount: i64) -> Result<(), StoreError> {
        if amount == 0 {
            return Ok(());
        }
        let (cap_id, period_start) = period.key;
        let none =
            || cap_share::Model { tenant_id: row.tenant_id, conversion_id: row.id, cap_id, period_start, amount: 0 };
        self.held.entry((row.id, cap_id)).or_insert_with(none).amount += amount;
        self.changed.insert(row.id);
        self.take(period.key, amount)
    }

    /// Writes what was taken, and given back.
    ///
    /// # Errors
    /// As the database answers.
    pub async fn write(mut self, tx: &mut Tx) -> Result<(), StoreError> {
        self.taken.retain(|_, amount| *amount != 0);
        if !self.taken.is_empty() {
            caps::add(tx, &self.taken).await?;
        }
        if !self.changed.is_empty() {
            let has_something =
                |share: &cap_share::Model| share.amount != 0 && self.changed.contains(&share.conversion_id);
            let rows = self.held.values().filter(|share| has_something(share)).cloned().collect();
            caps::replace_shares(tx, &self.changed.iter().copied().collect::<Vec<_>>(), rows).await?;
        }
        caps::insert_shares(tx, self.shares).await
    }
}

/// A cap in the period of an instant.
struct Period {
    key: (CapId, Instant),
    used: i64,
    cap: cap::Model,
}

impl Period {
    const fn room(&self) -> Room<'_> {
        Room { cap: &self.cap, used: self.used, taken: 0 }
    }
}

fn unprepared() -> StoreError {
    StoreError::inconsistent("cap", "a campaign or instant whose caps were not prepared")
}
