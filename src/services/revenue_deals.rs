//! Revenue deals: set for a campaign or one affiliate in it, archive.
//!
//! A deal is a part of its campaign: whoever sets one holds the campaign's row.

use std::{collections::BTreeMap, ops::RangeInclusive};

use chrono::{Datelike, NaiveDate};
use tributary_entity::{
    ids::{AffiliateId, CampaignId, RevenueDealId, RevenueSettlementId, TenantId},
    kinds::RuleStatus,
    money::Currency,
    revenue_deal, revenue_settlement,
};

use super::{Outcome, ServiceError, Services, campaigns, idempotency, revenue_settlements};
use crate::{
    ambient,
    auth::Viewer,
    domain::{
        problem::{Problem, ProblemCode},
        revenue_deal::{self as rules, DEALS_MAX, Deal, NewDeal, Terms, minor_of},
        revenue_record::Amounts,
        revenue_settlement::{Activity, Carried, settle, sum},
        text,
    },
    store::{affiliates, error::StoreError, revenue_deals, scope::Tx},
};

/// Sets what an affiliate, or all without a deal of their own, have of their customers' net revenue: the deal's first
/// version, or one more. Periods that end from now on are settled by it.
///
/// # Errors
/// The input's problems; `NOT_FOUND` for campaign or affiliate; `INVALID_TRANSITION` when the campaign is archived;
/// `OUT_OF_RANGE` past [`DEALS_MAX`]; `IDEMPOTENCY_CONFLICT`.
pub async fn set(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    input: NewDeal,
) -> Result<Outcome<Deal>, ServiceError> {
    let new_id = RevenueDealId::from_uuid(ambient::new_uuid());
    let mut tx = services.begin(viewer).await?;
    let campaign = campaigns::lock_open(&tx, &["campaignId"], input.campaign_id).await?;
    let input = input.check(campaign.currency)?;
    if let Some(id) = input.affiliate_id {
        affiliates::get(&tx, id).await?.ok_or_else(|| ServiceError::not_found(&["affiliateId"]))?;
    }
    let before = revenue_deals::lock_of(&tx, campaign.id, input.affiliate_id).await?;
    let id = before.as_ref().map_or(new_id, |head| head.id);
    if idempotency::claim(services, &mut tx, viewer, key, "setRevenueDeal", &input, id.uuid()).await?.is_some() {
        return Ok(Outcome::replayed(existing(&tx, id).await?));
    }
    if before.is_none() && revenue_deals::of_campaigns(&tx, &[campaign.id]).await?.len() >= DEALS_MAX {
        let message = format!("a campaign has at most {DEALS_MAX} revenue deals");
        return Err(Problem::new(ProblemCode::OutOfRange, &["campaignId"], message).into());
    }
    let now = services.now();
    let head = match before {
        Some(head) => {
            let current_version = head.current_version + 1;
            let head = revenue_deal::Model { current_version, status: RuleStatus::Active, updated_at: now, ..head };
            revenue_deals::update(&mut tx, head.clone()).await?;
            head
        }
        None => {
            let head = revenue_deal::Model {
                tenant_id: viewer.scope.tenant_id(),
                id,
                campaign_id: campaign.id,
                affiliate_id: input.affiliate_id,
                current_version: 1,
                status: RuleStatus::Active,
                created_at: now,
                updated_at: now,
            };
            revenue_deals::insert(&mut tx, head.clone()).await?;
            head
        }
    };
    let terms = revenue_deals::write_terms(&input.terms)?;
    revenue_deals::insert_version(&mut tx, NewDeal::version(head.tenant_id, &head, terms, false, now)).await?;
    campaigns::touch(&mut tx, campaign, now).await?;
    // What was recorded before may be due by it.
    revenue_settlements::ask(&mut tx, now).await?;
    services.commit(tx).await?;
    Ok(Outcome::done(Deal { version: head.current_version, head, terms: input.terms, set_at: now, is_end: false }))
}

/// Ends a deal until it is set again. What is open waits for a deal.
///
/// # Errors
/// `NOT_FOUND`; `INVALID_TRANSITION`; `IDEMPOTENCY_CONFLICT`.
pub async fn archive(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    id: RevenueDealId,
) -> Result<Outcome<Deal>, ServiceError> {
    let mut tx = services.begin(viewer).await?;
    if idempotency::claim(services, &mut tx, viewer, key, "archiveRevenueDeal", &id, id.uuid()).await?.is_some() {
        return Ok(Outcome::replayed(existing(&tx, id).await?));
    }
    let campaign = campaigns::lock(&tx, &["id"], existing(&tx, id).await?.head.campaign_id).await?;
    // The campaign is held: nobody sets it meanwhile.
    let Deal { mut head, terms, .. } = existing(&tx, id).await?;
    head.status = rules::transition(head.status, RuleStatus::Archived)?;
    head.current_version += 1;
    head.updated_at = services.now();
    let now = head.updated_at;
    let end = NewDeal::version(head.tenant_id, &head, revenue_deals::write_terms(&terms)?, true, now);
    revenue_deals::insert_version(&mut tx, end).await?;
    revenue_deals::update(&mut tx, head).await?;
    campaigns::touch(&mut tx, campaign, now).await?;
    let deal = existing(&tx, id).await?;
    services.commit(tx).await?;
    Ok(Outcome::done(deal))
}

async fn existing(tx: &Tx, id: RevenueDealId) -> Result<Deal, ServiceError> {
    revenue_deals::get_many(tx, &[id]).await?.pop().ok_or_else(|| ServiceError::not_found(&["id"]))
}

/// The deals with these ids.
///
/// # Errors
/// As the database answers.
pub async fn get_many(services: &Services, viewer: &Viewer, ids: &[RevenueDealId]) -> Result<Vec<Deal>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(revenue_deals::get_many(&tx, ids).await?)
}

/// The deals of campaigns, archived ones too, oldest first.
///
/// # Errors
/// As the database answers.
pub async fn of_campaigns(services: &Services, viewer: &Viewer, ids: &[CampaignId]) -> Result<Vec<Deal>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(revenue_deals::of_campaigns(&tx, ids).await?)
}

/// The most periods that terms are tried on.
pub const TRIAL_PERIODS_MAX: usize = 120;
/// The most records of customers in all of them.
pub const TRIAL_RECORDS_MAX: usize = 1_000;

/// In which their first period may be: as those of instants, so that no period ends past what is told.
const TRIAL_YEARS: RangeInclusive<i32> = 1970..=2199;

/// Terms, and what they are tried on.
#[derive(Clone, Debug)]
pub struct Trial {
    pub currency: Currency,
    pub terms: Terms,
    /// A day of the first period.
    pub from: NaiveDate,
    /// One after the other.
    pub periods: Vec<TrialPeriod>,
}

/// What an affiliate's customers might bring in a period.
#[derive(Clone, Debug)]
pub struct TrialPeriod {
    /// By customer reference.
    pub records: Vec<(String, Amounts)>,
    /// How many customers qualify in it.
    pub qualified: i64,
}

/// Settles periods by terms that are nowhere stored, each with what the one before left. Nothing is written.
///
/// # Errors
/// The problems of the terms; `BATCH_SIZE` past [`TRIAL_PERIODS_MAX`] or [`TRIAL_RECORDS_MAX`]; `CURRENCY_MISMATCH`;
/// `OUT_OF_RANGE` when a sum is past what can be held.
pub fn preview(services: &Services, trial: Trial) -> Result<Vec<revenue_settlement::Model>, ServiceError> {
    let Trial { currency, terms, from, periods } = trial;
    let records = periods.iter().map(|period| period.records.len()).sum::<usize>();
    let too_many = Problem::batch_size(&["periods"], periods.len(), TRIAL_PERIODS_MAX)
        .or_else(|| Problem::batch_size(&["periods", "records"], records, TRIAL_RECORDS_MAX).filter(|_| records > 0));
    if let Some(problem) = too_many {
        return Err(problem.into());
    }
    if !(TRIAL_YEARS).contains(&from.year()) {
        let message = format!("from the year {} to {}", TRIAL_YEARS.start(), TRIAL_YEARS.end());
        return Err(Problem::new(ProblemCode::OutOfRange, &["from"], message).into());
    }
    let new = NewDeal { campaign_id: CampaignId::default(), affiliate_id: None, terms };
    let terms = new.check(currency)?.terms;
    let too_large = || Problem::new(ProblemCode::OutOfRange, &["periods"], "a sum is past what can be held");
    let (mut carried, mut day) = (Carried::default(), from);
    let mut settlements = Vec::with_capacity(periods.len());
    for TrialPeriod { records, qualified } in periods {
        let qualified = usize::try_from(qualified)
            .map_err(|_| Problem::new(ProblemCode::OutOfRange, &["periods", "qualified"], "not negative"))?;
        let mut activities: BTreeMap<String, Activity> = BTreeMap::new();
        for (customer, amounts) in records {
            let field = ["periods", "records", "customerId"];
            let customer = text::required(&field, &customer, text::REFERENCE_MAX)?;
            let minor = |name, money: Option<_>| {
                money.map_or(Ok(0), |money| minor_of(&["periods", "records", name], money, currency))
            };
            let activity = Activity {
                ggr_minor: minor("ggr", amounts.ggr)?,
                bonuses_minor: minor("bonuses", amounts.bonuses)?,
                chargebacks_minor: minor("chargebacks", amounts.chargebacks)?,
            };
            let before = activities.entry(customer).or_default();
            *before = sum(*before, activity).ok_or_else(too_large)?;
        }
        let records = i64::try_from(activities.len()).unwrap_or(i64::MAX);
        let settled = settle(&terms, &activities, &carried, qualified).ok_or_else(too_large)?;
        let (period_start, period_end) = terms.period_of(day);
        let lines = serde_json::to_string(&settled.lines);
        settlements.push(revenue_settlement::Model {
            tenant_id: TenantId::default(),
            id: RevenueSettlementId::default(),
            campaign_id: CampaignId::default(),
            affiliate_id: AffiliateId::default(),
            deal_id: RevenueDealId::default(),
            deal_version: 0,
            period_start,
            period_end,
            currency,
            records,
            ggr_minor: settled.ggr_minor,
            ngr_minor: settled.ngr_minor,
            shared_minor: settled.shared_minor,
            share_minor: settled.share_minor,
            qualified: settled.qualified,
            qualified_minor: settled.qualified_minor,
            lines: lines.map_err(|error| StoreError::inconsistent("revenue_settlement", error))?,
            carried_minor: settled.carried.sum_minor(),
            award_id: None,
            created_at: services.now(),
        });
        (carried, day) = (settled.carried, period_end);
    }
    Ok(settlements)
}
