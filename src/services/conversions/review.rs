//! Review: a person approves or rejects conversions.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::TimeDelta;
use serde::Serialize;
use tributary_entity::{
    Instant, conversion, conversion_history,
    ids::{AffiliateId, CampaignId, ConversionId},
    kinds::{CommissionStatus, ConversionReason, ConversionStatus, EventKind},
    money::Currency,
};
use uuid::Uuid;

use super::snapshots_by_id;
use crate::{
    auth::Viewer,
    domain::{
        commission::earned,
        conversion::{self as rules, Review, Snapshot},
        event::NewEvent,
        ledger::{self, Earned},
        problem::Problem,
        report::{self, Totals},
        text,
    },
    services::{Outcome, ServiceError, Services, holds, idempotency, ledger::post, overrides, tiers},
    store::{
        balances, campaigns, caps, commissions,
        conversions::{self, StatusChange},
        error::StoreError,
        rollups::{self, RollupKey},
        scope::Tx,
    },
};

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
        let by_id = snapshots_by_id(&tx, &input.ids).await?;
        // Those that the review could not move are told so again.
        let answers = input.ids.iter().map(|id| {
            let snapshot = by_id.get(id).ok_or_else(|| Problem::not_found(&["ids"]))?;
            rules::reviewed(&snapshot.conversion, input.review).map(|()| snapshot.clone())
        });
        return Ok(Outcome::replayed(answers.collect()));
    }
    let answers =
        review_all(&mut tx, &viewer.actor.to_string(), &input.ids, input.review, input.note.as_deref(), services.now())
            .await?;
    services.commit(tx).await?;
    let answer = |id| answers.get(id).cloned().unwrap_or_else(|| Err(Problem::not_found(&["ids"])));
    Ok(Outcome::done(input.ids.iter().map(answer).collect()))
}

/// Reviews conversions, each that may be. Answers what each is then, or why it stays; nothing of what is not there.
pub(super) async fn review_all(
    tx: &mut Tx,
    actor: &str,
    ids: &[ConversionId],
    review: Review,
    note: Option<&str>,
    now: Instant,
) -> Result<HashMap<ConversionId, Result<Snapshot, Problem>>, StoreError> {
    let distinct: BTreeSet<ConversionId> = ids.iter().copied().collect();
    let locked = conversions::lock_many(tx, &distinct.into_iter().collect::<Vec<_>>()).await?;
    let mut answers: HashMap<ConversionId, Result<Snapshot, Problem>> = HashMap::new();
    let mut accepted = Vec::with_capacity(locked.len());
    for row in locked {
        match rules::review(&row, review) {
            Ok(_) => accepted.push(row),
            Err(problem) => _ = answers.insert(row.id, Err(problem)),
        }
    }
    let changed = match review {
        Review::Approve => approve(tx, accepted, now).await?,
        Review::Reject(reason) => reject(tx, accepted, reason, now).await?,
    };
    write_history(tx, actor, &changed, note, now).await?;
    let ids: Vec<ConversionId> = changed.iter().map(|(row, _)| row.id).collect();
    let mut after = snapshots_by_id(tx, &ids).await?;
    let kind = match review {
        Review::Approve => EventKind::ConversionApproved,
        Review::Reject(_) => EventKind::ConversionRejected,
    };
    overrides::tell(tx, after.values().flat_map(|snapshot| &snapshot.commissions), now);
    for id in ids {
        let Some(snapshot) = after.remove(&id) else { continue };
        let event = NewEvent::new(kind, id.uuid(), &snapshot, now)
            .of_campaign(snapshot.conversion.campaign_id)
            .of_affiliates(snapshot.affiliates());
        tx.record(event);
        answers.insert(id, Ok(snapshot));
    }
    Ok(answers)
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
    let ids: Vec<ConversionId> = rows.iter().map(|row| row.id).collect();
    // Before earnings, as ingest does: the other way round the two would wait for each other.
    caps::give_back(tx, &ids).await?;
    tiers::undo(tx, &ids, now).await?;
    let earned = take_unapproved(tx, &rows).await?;
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
        let key = |affiliate_id, currency| RollupKey {
            bucket_at: report::hour(row.occurred_at),
            campaign_id,
            affiliate_id,
            currency,
        };
        let sale = totals.entry(key(affiliate_id, row.sale_currency)).or_default();
        sale.conversions -= 1;
        sale.sale_minor -= rules::sale_left(row);
        for Earned { affiliate_id, amount, .. } in earned.get(&row.id).into_iter().flatten() {
            totals.entry(key(*affiliate_id, amount.currency)).or_default().commission_minor -= amount.amount_minor;
        }
    }
    if !totals.is_empty() {
        rollups::add(tx, &totals).await?;
    }
    Ok(rows.into_iter().map(|row| (row, (ConversionStatus::Rejected, reason))).collect())
}

/// Takes the commissions of conversions out of the projection of what is not approved; answers what each had, net of what
/// attribution runs added or took.
async fn take_unapproved(
    tx: &mut Tx,
    rows: &[conversion::Model],
) -> Result<HashMap<ConversionId, Vec<Earned>>, StoreError> {
    let ids: Vec<ConversionId> = rows.iter().map(|row| row.id).collect();
    let mut taken: HashMap<ConversionId, Vec<Earned>> = HashMap::new();
    let mut deltas: BTreeMap<(AffiliateId, Currency), i64> = BTreeMap::new();
    for row in commissions::of_conversions(tx, &ids).await? {
        let earned = earned(&row);
        *deltas.entry((row.affiliate_id, row.currency)).or_default() -= earned.amount.amount_minor;
        taken.entry(row.conversion_id).or_default().push(earned);
    }
    if !deltas.is_empty() {
        balances::add_unapproved(tx, &deltas).await?;
    }
    Ok(taken)
}

async fn write_history(
    tx: &mut Tx,
    actor: &str,
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
        actor: actor.to_owned(),
        note: note.map(str::to_owned),
        recorded_at: now,
    });
    conversions::insert_history(tx, rows.collect())
}
