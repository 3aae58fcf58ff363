//! Conversions: record through the lanes, review, list.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::TimeDelta;
use serde::Serialize;
use tributary_entity::{
    Instant, conversion, conversion_history,
    ids::{AffiliateId, CampaignId, ConversionId},
    kinds::{CommissionStatus, ConversionReason, ConversionStatus, EventKind},
    money::{Currency, Money},
};
use uuid::Uuid;

use super::{
    Outcome, ServiceError, Services, feed, holds, idempotency,
    ingest::{Item, Recorded, Work},
    ledger::post,
};
use crate::{
    auth::Viewer,
    domain::{
        commission::net,
        conversion::{self as rules, ConversionFilter, NewConversion, Review, Snapshot},
        cursor::Position,
        event::NewEvent,
        idempotency::Claim,
        ledger,
        page::{Page, PageRequest},
        problem::Problem,
        report::{self, Totals},
        tenancy::Ring,
        text,
    },
    store::{
        attributions, balances, campaigns, commissions,
        conversions::{self, StatusChange},
        error::StoreError,
        rollups::{self, RollupKey},
        scope::Tx,
    },
};

/// The most items of one batch call.
pub const BATCH_MAX: usize = 1_000;

/// One call's conversion with its key, or why its input could not be read.
pub type ConversionInput = Result<(Option<String>, NewConversion), Problem>;

/// Records conversions. Answers per item, in order; an item that is refused does not touch the others.
///
/// # Errors
/// `Overloaded` when the lane is full; `Unavailable` when nothing is known of the outcome.
pub async fn record(
    services: &Services,
    viewer: &Viewer,
    inputs: Vec<ConversionInput>,
) -> Result<Vec<Result<Outcome<Snapshot>, ServiceError>>, ServiceError> {
    let now = services.now();
    let items = inputs
        .into_iter()
        .map(|input| {
            let (key, new) = input?;
            let new = new.check(now)?;
            let claim = Claim::new(&viewer.scope, key.as_deref(), "recordConversion", &new)?;
            Ok(Item { actor: viewer.actor.clone(), claim, work: Work::Conversion(new) })
        })
        .collect();
    let answers = services.lanes.record_checked(&viewer.scope, items).await?;
    let replayed: Vec<ConversionId> = answers
        .iter()
        .filter_map(|answer| match answer {
            Ok(Recorded::Replayed(id)) => Some(ConversionId::from_uuid(*id)),
            _ => None,
        })
        .collect();
    let earlier: HashMap<Uuid, Snapshot> = if replayed.is_empty() {
        HashMap::new()
    } else {
        let tx = services.snapshot(viewer).await?;
        let rows = conversions::get_many(&tx, &replayed).await?;
        snapshots(&tx, rows).await?.into_iter().map(|snapshot| (snapshot.conversion.id.uuid(), snapshot)).collect()
    };
    Ok(answers
        .into_iter()
        .map(|answer| match answer? {
            Recorded::Conversion(snapshot) => Ok(Outcome::done(*snapshot)),
            Recorded::Replayed(id) => earlier
                .get(&id)
                .map(|snapshot| Outcome::replayed(snapshot.clone()))
                .ok_or(ServiceError::Internal("a replayed conversion is not there")),
            Recorded::Click(_) => Err(ServiceError::Internal("a conversion was answered with a click")),
        })
        .collect())
}

/// Rows with what was decided about them, in the order of the rows.
pub(super) async fn snapshots(tx: &Tx, rows: Vec<conversion::Model>) -> Result<Vec<Snapshot>, StoreError> {
    let ids: Vec<ConversionId> = rows.iter().map(|row| row.id).collect();
    let mut commissions_of: HashMap<ConversionId, Vec<_>> = HashMap::new();
    for row in commissions::of_conversions(tx, &ids).await? {
        commissions_of.entry(row.conversion_id).or_default().push(row);
    }
    let mut attributions_of: HashMap<ConversionId, Attribution> = HashMap::new();
    for attribution in newest_attributions(tx, &ids).await? {
        attributions_of.insert(attribution.0.conversion_id, attribution);
    }
    Ok(rows
        .into_iter()
        .map(|row| {
            let (decision, touches) = attributions_of.remove(&row.id).unzip();
            Snapshot {
                decision,
                touches: touches.unwrap_or_default(),
                commissions: commissions_of.remove(&row.id).unwrap_or_default(),
                conversion: row,
            }
        })
        .collect())
}

/// A decision with its touches.
pub type Attribution = (tributary_entity::attribution_decision::Model, Vec<tributary_entity::attribution_touch::Model>);

async fn newest_attributions(tx: &Tx, ids: &[ConversionId]) -> Result<Vec<Attribution>, StoreError> {
    // Oldest first: the newest version stays in the map.
    let decisions: HashMap<ConversionId, _> =
        attributions::decisions(tx, ids).await?.into_iter().map(|row| (row.conversion_id, row)).collect();
    let mut touches: HashMap<(ConversionId, i32), Vec<_>> = HashMap::new();
    for touch in attributions::touches(tx, ids).await? {
        touches.entry((touch.conversion_id, touch.version)).or_default().push(touch);
    }
    Ok(decisions
        .into_values()
        .map(|decision| {
            let touches = touches.remove(&(decision.conversion_id, decision.version)).unwrap_or_default();
            (decision, touches)
        })
        .collect())
}

/// The newest attribution decisions of conversions that the viewer may see; touches of others are left out.
///
/// # Errors
/// As the database answers.
pub async fn attributions_of(
    services: &Services,
    viewer: &Viewer,
    ids: &[ConversionId],
) -> Result<Vec<Attribution>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    let visible: Vec<ConversionId> = conversions::get_many(&tx, ids).await?.into_iter().map(|row| row.id).collect();
    Ok(newest_attributions(&tx, &visible).await?)
}

impl Snapshot {
    /// What a ring may see of it: none of another affiliate's conversion, of its own no other affiliate's lines.
    pub fn seen_by(&self, ring: Ring) -> Option<Self> {
        let Ring::Affiliate(own) = ring else { return Some(self.clone()) };
        (self.conversion.affiliate_id == Some(own)).then(|| Self {
            conversion: self.conversion.clone(),
            decision: self.decision.clone(),
            touches: self.touches.iter().filter(|touch| touch.affiliate_id == own).cloned().collect(),
            commissions: self.commissions.iter().filter(|row| row.affiliate_id == own).cloned().collect(),
        })
    }
}

/// One call's review.
#[derive(Clone, Debug, Serialize)]
pub struct ReviewInput {
    pub ids: Vec<ConversionId>,
    pub review: Review,
    pub note: Option<String>,
}

/// Reviews conversions: each one that may be is approved or rejected, each other one answered with its problem. All
/// that happens, happens in one transaction.
///
/// # Errors
/// `IDEMPOTENCY_CONFLICT`; a note that is too long; as the database answers.
pub async fn review(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    mut input: ReviewInput,
) -> Result<Outcome<Vec<Result<Snapshot, Problem>>>, ServiceError> {
    input.note = text::optional(&["note"], input.note.as_deref(), text::NOTE_MAX)?;
    let mut tx = services.begin(viewer).await?;
    let marker = input.ids.first().map_or(Uuid::nil(), |id| id.uuid());
    let claimed = idempotency::claim(services, &mut tx, viewer, key, "reviewConversions", &input, marker).await?;
    if claimed.is_some() {
        let rows = conversions::get_many(&tx, &input.ids).await?;
        let by_id: HashMap<ConversionId, Snapshot> =
            snapshots(&tx, rows).await?.into_iter().map(|snapshot| (snapshot.conversion.id, snapshot)).collect();
        // Those that the review could not move are told so again.
        let answers = input.ids.iter().map(|id| {
            let snapshot = by_id.get(id).ok_or_else(|| Problem::not_found(&["ids"]))?;
            rules::reviewed(&snapshot.conversion, input.review).map(|()| snapshot.clone())
        });
        return Ok(Outcome::replayed(answers.collect()));
    }
    let now = services.now();
    let distinct: BTreeSet<ConversionId> = input.ids.iter().copied().collect();
    let locked = conversions::lock_many(&tx, &distinct.into_iter().collect::<Vec<_>>()).await?;
    let verdicts: HashMap<ConversionId, Result<(ConversionStatus, ConversionReason), Problem>> =
        locked.iter().map(|row| (row.id, rules::review(row, input.review))).collect();
    let accepted: Vec<conversion::Model> =
        locked.into_iter().filter(|row| matches!(verdicts.get(&row.id), Some(Ok(_)))).collect();
    let changed = match input.review {
        Review::Approve => approve(&mut tx, accepted, now).await?,
        Review::Reject(reason) => reject(&mut tx, accepted, reason, now).await?,
    };
    write_history(&mut tx, viewer, &changed, input.note.as_deref(), now).await?;
    let ids: Vec<ConversionId> = changed.iter().map(|(row, _)| row.id).collect();
    let after: HashMap<ConversionId, Snapshot> = {
        let rows = conversions::get_many(&tx, &ids).await?;
        snapshots(&tx, rows).await?.into_iter().map(|snapshot| (snapshot.conversion.id, snapshot)).collect()
    };
    let kind = match input.review {
        Review::Approve => EventKind::ConversionApproved,
        Review::Reject(_) => EventKind::ConversionRejected,
    };
    for id in &ids {
        if let Some(snapshot) = after.get(id) {
            let event = NewEvent::new(kind, id.uuid(), snapshot, now)
                .of_campaign(snapshot.conversion.campaign_id)
                .of_affiliate(snapshot.conversion.affiliate_id);
            tx.record(event);
        }
    }
    services.commit(tx).await?;
    let answers = input.ids.iter().map(|id| match verdicts.get(id) {
        Some(Err(problem)) => Err(problem.clone()),
        Some(Ok(_)) | None => after.get(id).cloned().ok_or_else(|| Problem::not_found(&["ids"])),
    });
    Ok(Outcome::done(answers.collect()))
}

/// A conversion as it was, and what it became.
type Changed = (conversion::Model, (ConversionStatus, ConversionReason));

async fn approve(tx: &mut Tx, rows: Vec<conversion::Model>, now: Instant) -> Result<Vec<Changed>, StoreError> {
    let campaign_ids: BTreeSet<CampaignId> = rows.iter().filter_map(|row| row.campaign_id).collect();
    let holds: HashMap<CampaignId, i64> = campaigns::get_many(tx, &campaign_ids.into_iter().collect::<Vec<_>>())
        .await?
        .into_iter()
        .map(|campaign| (campaign.id, campaign.hold_secs))
        .collect();
    let mut by_payable: BTreeMap<Instant, Vec<ConversionId>> = BTreeMap::new();
    for row in &rows {
        let hold = row.campaign_id.and_then(|id| holds.get(&id)).copied().unwrap_or(0);
        by_payable.entry(now + TimeDelta::seconds(hold)).or_default().push(row.id);
    }
    let earned = take_unapproved(tx, &rows).await?;
    for (payable_at, ids) in &by_payable {
        let change = StatusChange {
            status: ConversionStatus::Approved,
            reason: ConversionReason::Manual,
            approved_at: Some(now),
            payable_at: Some(*payable_at),
            at: now,
        };
        conversions::set_status(tx, ids, &change).await?;
        commissions::set_status_of_conversions(tx, ids, CommissionStatus::Pending, Some(*payable_at)).await?;
    }
    let mut journals = Vec::with_capacity(rows.len());
    for row in &rows {
        let lines = earned.get(&row.id).map_or(&[][..], Vec::as_slice);
        let journal =
            ledger::conversion_approved(row.id, lines).map_err(|error| StoreError::inconsistent("journal", error))?;
        journals.extend(journal);
    }
    post(tx, &journals, now).await?;
    holds::schedule(tx, by_payable.into_keys().collect(), now).await?;
    Ok(rows.into_iter().map(|row| (row, (ConversionStatus::Approved, ConversionReason::Manual))).collect())
}

async fn reject(
    tx: &mut Tx,
    rows: Vec<conversion::Model>,
    reason: ConversionReason,
    now: Instant,
) -> Result<Vec<Changed>, StoreError> {
    let earned = take_unapproved(tx, &rows).await?;
    let ids: Vec<ConversionId> = rows.iter().map(|row| row.id).collect();
    if !ids.is_empty() {
        let change =
            StatusChange { status: ConversionStatus::Rejected, reason, approved_at: None, payable_at: None, at: now };
        conversions::set_status(tx, &ids, &change).await?;
        commissions::set_status_of_conversions(tx, &ids, CommissionStatus::Rejected, None).await?;
    }
    // Rejected conversions count nowhere.
    let mut totals: BTreeMap<RollupKey, Totals> = BTreeMap::new();
    for row in &rows {
        let (Some(campaign_id), Some(affiliate_id)) = (row.campaign_id, row.affiliate_id) else { continue };
        let bucket_at = report::hour(row.occurred_at);
        let key = |affiliate_id, currency| RollupKey { bucket_at, campaign_id, affiliate_id, currency };
        let sale = totals.entry(key(affiliate_id, row.sale_currency)).or_default();
        sale.conversions -= 1;
        sale.sale_minor -= row.sale_minor;
        for (affiliate_id, money) in earned.get(&row.id).into_iter().flatten() {
            totals.entry(key(*affiliate_id, money.currency)).or_default().commission_minor -= money.amount_minor;
        }
    }
    if !totals.is_empty() {
        rollups::add(tx, &totals).await?;
    }
    Ok(rows.into_iter().map(|row| (row, (ConversionStatus::Rejected, reason))).collect())
}

/// Takes the commissions of conversions out of the projection of what is not approved; answers what each had.
async fn take_unapproved(
    tx: &mut Tx,
    rows: &[conversion::Model],
) -> Result<HashMap<ConversionId, Vec<(AffiliateId, Money)>>, StoreError> {
    let ids: Vec<ConversionId> = rows.iter().map(|row| row.id).collect();
    let mut earned: HashMap<ConversionId, Vec<(AffiliateId, Money)>> = HashMap::new();
    let mut deltas: BTreeMap<(AffiliateId, Currency), i64> = BTreeMap::new();
    for row in commissions::of_conversions(tx, &ids).await? {
        let money = net(&row);
        *deltas.entry((row.affiliate_id, row.currency)).or_default() -= money.amount_minor;
        earned.entry(row.conversion_id).or_default().push((row.affiliate_id, money));
    }
    if !deltas.is_empty() {
        balances::add_unapproved(tx, &deltas).await?;
    }
    Ok(earned)
}

async fn write_history(
    tx: &mut Tx,
    viewer: &Viewer,
    changed: &[Changed],
    note: Option<&str>,
    now: Instant,
) -> Result<(), StoreError> {
    let rows = changed.iter().map(|(row, (status, reason))| conversion_history::Model {
        tenant_id: row.tenant_id,
        conversion_id: row.id,
        version: row.version + 1,
        from_status: Some(row.status),
        to_status: *status,
        reason: Some(*reason),
        actor: viewer.actor.to_string(),
        note: note.map(str::to_owned),
        recorded_at: now,
    });
    conversions::insert_history(tx, rows.collect()).await
}

/// The conversions with these ids that the viewer may see.
///
/// # Errors
/// As the database answers.
pub async fn get_many(
    services: &Services,
    viewer: &Viewer,
    ids: &[ConversionId],
) -> Result<Vec<conversion::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(conversions::get_many(&tx, ids).await?)
}

/// The conversion with the advertiser's reference; of several, the one that counts.
///
/// # Errors
/// As the database answers.
pub async fn get_by_order(
    services: &Services,
    viewer: &Viewer,
    order_id: &str,
) -> Result<Option<conversion::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(conversions::get_by_order(&tx, order_id).await?)
}

/// A page of the conversions that the viewer may see.
///
/// # Errors
/// As the database answers.
pub async fn list(
    services: &Services,
    viewer: &Viewer,
    filter: &ConversionFilter,
    request: &PageRequest,
) -> Result<Page<conversion::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(conversions::list(&tx, filter, request).await?)
}

/// How many conversions a list has.
///
/// # Errors
/// As the database answers.
pub async fn count(services: &Services, viewer: &Viewer, filter: &ConversionFilter) -> Result<i64, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(conversions::count(&tx, filter).await?)
}

/// The place in the event log now: a stream that begins there misses nothing that a later list holds.
///
/// # Errors
/// As the database answers.
pub async fn position(services: &Services, viewer: &Viewer) -> Result<Position, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(feed::position(&tx).await?)
}

/// The steps of a conversion's life, oldest first; empty for one that the viewer may not see.
///
/// # Errors
/// As the database answers.
pub async fn history(
    services: &Services,
    viewer: &Viewer,
    id: ConversionId,
) -> Result<Vec<conversion_history::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    if conversions::get_many(&tx, &[id]).await?.is_empty() {
        return Ok(Vec::new());
    }
    Ok(conversions::history(&tx, id).await?)
}
