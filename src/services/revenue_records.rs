//! Revenue records: what customers brought is recorded once, listed, and bound to whose customers they are.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::NaiveDate;
use tributary_entity::{
    Instant,
    ids::{AffiliateId, CampaignId, RevenueRecordId},
    kinds::ConversionReason,
    money::Currency,
    revenue_record,
};

use super::{Outcome, ServiceError, Services, ingest::programme::Programme, revenue_settlements};
use crate::{
    ambient,
    auth::Viewer,
    domain::{
        conversion::Promoter,
        page::{Page, PageRequest},
        problem::{Problem, ProblemCode},
        revenue_record::{self as rules, NewRecord, RecordFilter},
    },
    store::{affiliates, campaigns, revenue_records, scope::Tx},
};

/// The most records of one call.
pub const BATCH_MAX: usize = 1_000;

/// What became of one record.
pub type Answer = Result<Outcome<revenue_record::Model>, ServiceError>;

/// Records what customers brought. Answers per record, in order; one that is refused does not touch the others. A record
/// whose reference was recorded before in its campaign is that one. One whose affiliate may not earn now is recorded with
/// the reason, and counts for nothing.
///
/// # Errors
/// As the database answers; nothing is recorded then.
pub async fn record(
    services: &Services,
    viewer: &Viewer,
    inputs: Vec<Result<NewRecord, Problem>>,
) -> Result<Vec<Answer>, ServiceError> {
    let mut tx = services.begin(viewer).await?;
    let known = Known::load(services, &tx, &inputs).await?;
    let rows: Vec<Result<revenue_record::Model, ServiceError>> =
        inputs.into_iter().map(|input| known.row(viewer, &input?)).collect();
    // Of two with one reference the second is a repetition of the first.
    let mut fresh: BTreeMap<(CampaignId, &str), &revenue_record::Model> = BTreeMap::new();
    for row in rows.iter().filter_map(|row| row.as_ref().ok()) {
        fresh.entry((row.campaign_id, &row.reference)).or_insert(row);
    }
    // In this order everywhere: two calls with the same references must not wait for each other.
    let fresh: Vec<revenue_record::Model> = fresh.into_values().cloned().collect();
    if fresh.is_empty() {
        return Ok(rows.into_iter().map(|row| row.map(Outcome::done)).collect());
    }
    revenue_records::insert_missing(&mut tx, fresh.clone()).await?;
    revenue_records::claim(&mut tx, &fresh.iter().map(|row| row.id).collect::<Vec<_>>()).await?;
    let mut found = found(&tx, &fresh).await?;
    refuse(&mut tx, &mut found, &fresh).await?;
    revenue_settlements::ask(&mut tx, services.now()).await?;
    let answers = rows.into_iter().map(|row| answer(row?, &found)).collect();
    services.commit(tx).await?;
    Ok(answers)
}

/// By campaign and reference, what is recorded now.
type Found = HashMap<(CampaignId, String), revenue_record::Model>;

async fn found(tx: &Tx, rows: &[revenue_record::Model]) -> Result<Found, ServiceError> {
    let mut by_campaign: BTreeMap<CampaignId, Vec<String>> = BTreeMap::new();
    for row in rows {
        by_campaign.entry(row.campaign_id).or_default().push(row.reference.clone());
    }
    let mut found = HashMap::with_capacity(rows.len());
    for (id, references) in by_campaign {
        let rows = revenue_records::of_references(tx, id, references).await?;
        found.extend(rows.into_iter().map(|row| ((id, row.reference.clone()), row)));
    }
    Ok(found)
}

/// Of what is new, says what counts for nothing, as its affiliate may not earn now.
async fn refuse(tx: &mut Tx, found: &mut Found, fresh: &[revenue_record::Model]) -> Result<(), ServiceError> {
    let fresh: HashSet<RevenueRecordId> = fresh.iter().map(|row| row.id).collect();
    let credited = |row: &revenue_record::Model| row.affiliate_id.filter(|_| fresh.contains(&row.id));
    let mut programme = Programme::default();
    let pairs = found.values().filter_map(|row| Some((row.campaign_id, credited(row)?)));
    programme.add_pairs(tx, pairs).await?;
    let mut refused: BTreeMap<ConversionReason, Vec<RevenueRecordId>> = BTreeMap::new();
    for row in found.values_mut() {
        let Some(id) = credited(row) else { continue };
        let affiliate = programme.affiliate(id)?;
        row.reason = Promoter { affiliate, enrollment: programme.enrollment(row.campaign_id, id) }.refusal();
        if let Some(reason) = row.reason {
            refused.entry(reason).or_default().push(row.id);
        }
    }
    for (reason, ids) in refused {
        revenue_records::refuse(tx, &ids, reason).await?;
    }
    Ok(())
}

fn answer(sent: revenue_record::Model, found: &Found) -> Answer {
    let row = found.get(&(sent.campaign_id, sent.reference.clone()));
    let row = row.ok_or(ServiceError::Internal("a record is neither new nor there"))?;
    if row.id == sent.id {
        return Ok(Outcome::done(row.clone()));
    }
    if rules::is_same(row, &sent) {
        return Ok(Outcome::replayed(row.clone()));
    }
    let message = "this reference was recorded with something else";
    Err(Problem::new(ProblemCode::IdempotencyConflict, &["reference"], message).into())
}

/// What the records of a call are about.
struct Known {
    now: Instant,
    today: NaiveDate,
    currencies: HashMap<CampaignId, Currency>,
    affiliates: HashSet<AffiliateId>,
}

impl Known {
    async fn load(services: &Services, tx: &Tx, inputs: &[Result<NewRecord, Problem>]) -> Result<Self, ServiceError> {
        let now = services.now();
        let today = revenue_settlements::today(tx, now).await?;
        let named = || inputs.iter().filter_map(|input| input.as_ref().ok());
        let ids: BTreeSet<CampaignId> = named().map(|input| input.campaign_id).collect();
        // Archived ones too: their customers go on.
        let campaigns = campaigns::get_many(tx, &Vec::from_iter(ids)).await?.into_iter();
        let ids: BTreeSet<AffiliateId> = named().filter_map(|input| input.affiliate_id).collect();
        let affiliates = affiliates::get_many(tx, &Vec::from_iter(ids)).await?.into_iter();
        Ok(Self {
            now,
            today,
            currencies: campaigns.map(|campaign| (campaign.id, campaign.currency)).collect(),
            affiliates: affiliates.map(|affiliate| affiliate.id).collect(),
        })
    }

    fn row(&self, viewer: &Viewer, input: &NewRecord) -> Result<revenue_record::Model, ServiceError> {
        let currency = self.currencies.get(&input.campaign_id);
        let currency = *currency.ok_or_else(|| ServiceError::not_found(&["campaignId"]))?;
        if input.affiliate_id.is_some_and(|id| !self.affiliates.contains(&id)) {
            return Err(ServiceError::not_found(&["affiliateId"]));
        }
        let id = RevenueRecordId::from_uuid(ambient::new_uuid());
        Ok(input.row(viewer.scope.tenant_id(), id, currency, self.today, self.now)?)
    }
}

/// The records with these ids that the viewer may see.
///
/// # Errors
/// As the database answers.
pub async fn get_many(
    services: &Services,
    viewer: &Viewer,
    ids: &[RevenueRecordId],
) -> Result<Vec<revenue_record::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(revenue_records::get_many(&tx, ids).await?)
}

/// A page of the records that the viewer may see.
///
/// # Errors
/// As the database answers.
pub async fn list(
    services: &Services,
    viewer: &Viewer,
    filter: &RecordFilter,
    request: &PageRequest,
) -> Result<Page<revenue_record::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(revenue_records::list(&tx, filter, request).await?)
}

/// How many records a list has.
///
/// # Errors
/// As the database answers.
pub async fn count(services: &Services, viewer: &Viewer, filter: &RecordFilter) -> Result<i64, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(revenue_records::count(&tx, filter).await?)
}
