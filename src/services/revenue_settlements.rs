//! Net revenue becomes money: each period of an affiliate in a campaign is settled once, when it is over.
//!
//! # Decisions
//! - A record is part of the settlement of its day's period, or, where that is settled, of the next one: nothing that comes
//!   late is lost, and no settlement changes.
//! - The affiliate's row is locked first: of two who settle at once the second finds nothing open. Records are given to the
//!   settlement before they are summed, so that what comes meanwhile is in the next.
//! - Periods without records are not settled, but they pass: a loss that is carried for some periods runs out in them.
//! - What was recorded before an affiliate was suspended is earned: it is settled as anybody's, and not paid meanwhile. What
//!   comes while it may not earn is no part of any settlement.

use std::collections::BTreeSet;

use chrono::NaiveDate;
use tributary_entity::{
    Instant, campaign,
    ids::{AffiliateId, AwardId, RevenueRecordId, RevenueSettlementId},
    kinds::{AwardKind, OutboxKind},
    money::Money,
    revenue_qualification, revenue_settlement,
};

use super::{
    ServiceError, Services,
    awards::{Award, give},
    holds, publish, races,
};
use crate::{
    ambient,
    auth::{Actor, Viewer},
    domain::{
        cap,
        page::{Page, PageRequest},
        revenue_deal::{self, Deal},
        revenue_settlement::{self as rules, Carried, Settled, SettlementFilter},
        tenancy::TenantScope,
    },
    store::{
        affiliates, campaigns,
        error::StoreError,
        revenue_deals,
        revenue_records::{self, Key, Part},
        revenue_settlements,
        scope::Tx,
        tenants,
    },
};

/// Records that are looked at, and given to somebody, in one transaction.
const CLAIMED_AT_ONCE: u64 = 1_000;

/// The tenant's day.
///
/// # Errors
/// As the database answers.
pub(super) async fn today(tx: &Tx, now: Instant) -> Result<NaiveDate, StoreError> {
    Ok(now.with_timezone(&tenants::zone(tx).await?).date_naive())
}

/// Asks for what is due to be settled, when the tenant's day is over.
///
/// # Errors
/// As the database answers.
pub(super) async fn ask(tx: &mut Tx, now: Instant) -> Result<(), StoreError> {
    let zone = tenants::zone(tx).await?;
    holds::ask_each(tx, OutboxKind::SettleRevenue, std::iter::once(cap::next_day(now, zone)), now).await
}

/// Settles every period of a tenant that is over and has a deal. Answers how many. Safe to run at any time, any number of
/// times, on any number of nodes.
///
/// # Errors
/// As the database answers; what was committed before stays settled.
pub async fn settle_due(services: &Services, scope: &TenantScope) -> Result<u64, ServiceError> {
    claim(services, scope).await?;
    let mut tx = services.db.begin(scope).await?;
    if revenue_records::is_any_open(&tx).await? {
        ask(&mut tx, services.now()).await?;
    }
    let keys = revenue_records::open_keys(&tx).await?;
    publish(&*services.bus, tx).await?;
    let mut settled = 0;
    for key in keys {
        while races::outlast(|| step(services, scope, key)).await? {
            settled += 1;
        }
    }
    Ok(settled)
}

/// Settles the next period of an affiliate in a campaign. Answers whether one was due.
async fn step(services: &Services, scope: &TenantScope, key: Key) -> Result<bool, ServiceError> {
    let mut tx = services.db.begin(scope).await?;
    let settled = settle_next(&mut tx, key, services.now()).await?;
    if settled {
        publish(&*services.bus, tx).await?;
    }
    Ok(settled)
}

/// Gives records that are nobody's to whom their customers are credited to by now. They are looked for without holding
/// anything: of customers who came by themselves there may be very many, who stay nobody's.
async fn claim(services: &Services, scope: &TenantScope) -> Result<(), ServiceError> {
    let mut after = RevenueRecordId::default();
    loop {
        let tx = services.db.snapshot(scope).await?;
        let found = revenue_records::unclaimed(&tx, after, CLAIMED_AT_ONCE).await?;
        drop(tx);
        let Some((last, _)) = found.last() else { return Ok(()) };
        after = *last;
        let ids: Vec<RevenueRecordId> = found.iter().filter(|(_, credited)| *credited).map(|(id, _)| *id).collect();
        if ids.is_empty() {
            continue;
        }
        let mut tx = services.db.begin(scope).await?;
        revenue_records::claim(&mut tx, &ids).await?;
        tx.commit().await?;
    }
}

/// Settles the oldest period that is open, where it is due. Answers whether it did.
async fn settle_next(tx: &mut Tx, key: Key, now: Instant) -> Result<bool, StoreError> {
    if affiliates::lock(tx, key.1).await?.is_none() {
        return Ok(false);
    }
    let Some(period) = Period::next(tx, key).await? else { return Ok(false) };
    if !period.deal.terms.is_due(period.end, today(tx, now).await?) {
        return Ok(false);
    }
    let id = RevenueSettlementId::from_uuid(ambient::new_uuid());
    let taken = revenue_records::take(tx, key, period.end, id).await?;
    let (settled, customers) = period.reckon(tx, Part::Of(id)).await?;
    let award_id = match settled.earned_minor() {
        0 => None,
        earned_minor => Some(give(tx, period.award(&settled, earned_minor), now).await?.id),
    };
    let row = period.row(id, &settled, i64::try_from(taken).unwrap_or(i64::MAX), award_id, now)?;
    revenue_settlements::insert(tx, row).await?;
    revenue_settlements::insert_carried(tx, id, &settled.carried).await?;
    let qualified = customers.into_iter().map(|customer_id| revenue_qualification::Model {
        tenant_id: tx.scope().tenant_id(),
        campaign_id: key.0,
        customer_id,
        affiliate_id: key.1,
        settlement_id: id,
        amount_minor: period.qualified_minor(),
    });
    let qualified = qualified.collect();
    revenue_settlements::insert_qualified(tx, qualified).await?;
    Ok(true)
}

/// A period that is open, and the deal that settles it.
struct Period {
    key: Key,
    campaign: campaign::Model,
    deal: Deal,
    start: NaiveDate,
    /// The day after the last.
    end: NaiveDate,
    /// What the periods before left.
    carried: Carried,
}

impl Period {
    /// The oldest one of an affiliate in a campaign with records; none without records, or without a deal.
    async fn next(tx: &Tx, key: Key) -> Result<Option<Self>, StoreError> {
        let Some(first_day) = revenue_records::first_open_day(tx, key).await? else { return Ok(None) };
        // Not there for an affiliate who may not see it.
        let Some(campaign) = campaigns::get_many(tx, &[key.0]).await?.pop() else { return Ok(None) };
        let newest = revenue_settlements::newest(tx, key).await?;
        let mut carried = match &newest {
            None => Carried::default(),
            Some(row) => revenue_settlements::carried(tx, row.id).await?,
        };
        let settled_until = newest.map(|row| row.period_end);
        let first_day = settled_until.map_or(first_day, |until| until.max(first_day));
        let zone = tenants::zone(tx).await?;
        let deals = revenue_deals::versions(tx, key.0).await?;
        let Some((deal, start, end)) = revenue_deal::period_of_day(&deals, key.1, first_day, zone) else {
            return Ok(None);
        };
        let deal = deal.clone();
        if let Some(until) = settled_until {
            rules::pass(&mut carried, deal.terms.periods_between(until, start));
        }
        let start = settled_until.map_or(start, |until| until.max(start));
        Ok(Some(Self { key, campaign, deal, start, end, carried }))
    }

    /// What it comes to, and who qualified.
    async fn reckon(&self, tx: &Tx, part: Part) -> Result<(Settled, Vec<String>), StoreError> {
        let activities = revenue_records::activities(tx, self.key, part).await?;
        let customers = match self.deal.terms.qualified {
            None => Vec::new(),
            Some(cpa) => revenue_records::qualified(tx, self.key, self.end, cpa).await?,
        };
        let settled = rules::settle(&self.deal.terms, &activities, &self.carried, customers.len());
        let settled = settled.ok_or_else(|| StoreError::inconsistent("revenue_record", "sums out of range"))?;
        Ok((settled, customers))
    }

    fn qualified_minor(&self) -> i64 {
        self.deal.terms.qualified.map_or(0, |cpa| cpa.amount.amount_minor)
    }

    fn award(&self, settled: &Settled, earned_minor: i64) -> Award {
        let currency = self.campaign.currency;
        Award {
            id: AwardId::from_uuid(ambient::new_uuid()),
            kind: AwardKind::Revenue,
            affiliate_id: self.key.1,
            campaign_id: Some(self.key.0),
            amount: Money::new(earned_minor, currency),
            reason: format!("net revenue from {} until {}", self.start, self.end.pred_opt().unwrap_or(self.end)),
            steps: rules::steps(&self.deal.terms, settled, currency),
            author: Actor::System.to_string(),
            hold_secs: self.campaign.hold_secs,
        }
    }

    fn row(
        &self,
        id: RevenueSettlementId,
        settled: &Settled,
        records: i64,
        award_id: Option<AwardId>,
        at: Instant,
    ) -> Result<revenue_settlement::Model, StoreError> {
        let lines = serde_json::to_string(&settled.lines);
        Ok(revenue_settlement::Model {
            tenant_id: self.campaign.tenant_id,
            id,
            campaign_id: self.key.0,
            affiliate_id: self.key.1,
            deal_id: self.deal.head.id,
            deal_version: self.deal.version,
            period_start: self.start,
            period_end: self.end,
            currency: self.campaign.currency,
            records,
            ggr_minor: settled.ggr_minor,
            ngr_minor: settled.ngr_minor,
            shared_minor: settled.shared_minor,
            share_minor: settled.share_minor,
            qualified: settled.qualified,
            qualified_minor: settled.qualified_minor,
            lines: lines.map_err(|error| StoreError::inconsistent("revenue_settlement", error))?,
            carried_minor: settled.carried.sum_minor(),
            award_id,
            created_at: at,
        })
    }
}

/// What the oldest open periods of affiliates in campaigns came to so far, as if they were over: settlements that are not
/// made. None without open records or a deal, and for what is not the viewer's to see.
///
/// # Errors
/// As the database answers.
pub async fn so_far(
    services: &Services,
    viewer: &Viewer,
    keys: &[Key],
) -> Result<Vec<revenue_settlement::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    let now = services.now();
    let ids: BTreeSet<AffiliateId> = keys.iter().map(|key| key.1).collect();
    let visible = affiliates::get_many(&tx, &Vec::from_iter(ids)).await?;
    let visible: BTreeSet<AffiliateId> = visible.into_iter().map(|row| row.id).collect();
    let mut rows = Vec::new();
    for key in keys.iter().filter(|key| visible.contains(&key.1)) {
        let Some(period) = Period::next(&tx, *key).await? else { continue };
        let (settled, _) = period.reckon(&tx, Part::Before(period.end)).await?;
        rows.push(period.row(RevenueSettlementId::default(), &settled, 0, None, now)?);
    }
    Ok(rows)
}

/// The settlements with these ids that the viewer may see.
///
/// # Errors
/// As the database answers.
pub async fn get_many(
    services: &Services,
    viewer: &Viewer,
    ids: &[RevenueSettlementId],
) -> Result<Vec<revenue_settlement::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(revenue_settlements::get_many(&tx, ids).await?)
}

/// A page of the settlements that the viewer may see.
///
/// # Errors
/// As the database answers.
pub async fn list(
    services: &Services,
    viewer: &Viewer,
    filter: &SettlementFilter,
    request: &PageRequest,
) -> Result<Page<revenue_settlement::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(revenue_settlements::list(&tx, filter, request).await?)
}

/// How many settlements a list has.
///
/// # Errors
/// As the database answers.
pub async fn count(services: &Services, viewer: &Viewer, filter: &SettlementFilter) -> Result<i64, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(revenue_settlements::count(&tx, filter).await?)
}
