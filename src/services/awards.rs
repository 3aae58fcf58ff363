//! Awards: bonuses and adjustments by a person, what clicks earned by the clock; posted, held, released, listed.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use tributary_entity::{
    Instant, award,
    ids::{AffiliateId, AwardId, CampaignId, JournalId, TenantId},
    kinds::{AwardKind, AwardStatus, EventKind},
    money::{Currency, Money},
};

use super::{
    Outcome, ServiceError, Services, holds, idempotency,
    ledger::{debts, post, standing},
};
use crate::{
    ambient,
    auth::Viewer,
    domain::{
        award::{self as rules, AwardFilter, NewAdjustment, NewBonus, Step},
        event::NewEvent,
        ledger::Debts,
        page::{Page, PageRequest},
    },
    store::{affiliates, awards, campaigns, error::StoreError, scope::Tx},
};

/// An award that is to be posted.
pub(super) struct Award {
    pub id: AwardId,
    pub kind: AwardKind,
    pub affiliate_id: AffiliateId,
    pub campaign_id: Option<CampaignId>,
    /// Not zero.
    pub amount: Money,
    pub reason: String,
    /// How the amount came about; empty where a person said it.
    pub steps: Vec<Step>,
    pub author: String,
    pub hold_secs: i64,
}

/// Gives an affiliate a bonus: to be payable when its hold is over.
///
/// # Errors
/// The input's problems; `NOT_FOUND` for affiliate or campaign; `IDEMPOTENCY_CONFLICT`.
pub async fn post_bonus(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    input: NewBonus,
) -> Result<Outcome<award::Model>, ServiceError> {
    let input = input.check()?;
    let id = AwardId::from_uuid(ambient::new_uuid());
    let mut tx = services.begin(viewer).await?;
    if let Some(id) = idempotency::claim(services, &mut tx, viewer, key, "postBonus", &input, id.uuid()).await? {
        return Ok(Outcome::replayed(existing(&tx, AwardId::from_uuid(id)).await?));
    }
    if let Some(id) = input.campaign_id {
        campaigns::get(&tx, id).await?.ok_or_else(|| ServiceError::not_found(&["campaignId"]))?;
    }
    let award = Award {
        id,
        kind: AwardKind::Bonus,
        affiliate_id: input.affiliate_id,
        campaign_id: input.campaign_id,
        amount: input.amount,
        reason: input.reason,
        steps: Vec::new(),
        author: viewer.actor.to_string(),
        hold_secs: input.hold_secs,
    };
    by_person(services, tx, award).await
}

/// Gives an affiliate an amount at once, or takes one: from what is available, and the rest becomes a debt.
///
/// # Errors
/// The input's problems; `NOT_FOUND` for the affiliate; `IDEMPOTENCY_CONFLICT`.
pub async fn post_adjustment(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    input: NewAdjustment,
) -> Result<Outcome<award::Model>, ServiceError> {
    let input = input.check()?;
    let id = AwardId::from_uuid(ambient::new_uuid());
    let mut tx = services.begin(viewer).await?;
    if let Some(id) = idempotency::claim(services, &mut tx, viewer, key, "postAdjustment", &input, id.uuid()).await? {
        return Ok(Outcome::replayed(existing(&tx, AwardId::from_uuid(id)).await?));
    }
    let award = Award {
        id,
        kind: AwardKind::Adjustment,
        affiliate_id: input.affiliate_id,
        campaign_id: None,
        amount: input.signed(),
        reason: input.reason,
        steps: Vec::new(),
        author: viewer.actor.to_string(),
        hold_secs: 0,
    };
    by_person(services, tx, award).await
}

async fn by_person(services: &Services, mut tx: Tx, award: Award) -> Result<Outcome<award::Model>, ServiceError> {
    affiliates::get(&tx, award.affiliate_id).await?.ok_or_else(|| ServiceError::not_found(&["affiliateId"]))?;
    let row = give(&mut tx, award, services.now()).await?;
    services.commit(tx).await?;
    Ok(Outcome::done(row))
}

/// Posts an award inside another use case's transaction, and tells of it.
///
/// # Errors
/// As [`give_all`].
pub(super) async fn give(tx: &mut Tx, award: Award, now: Instant) -> Result<award::Model, StoreError> {
    let given = give_all(tx, vec![award], now).await?.pop();
    given.ok_or_else(|| StoreError::inconsistent("award", "nothing was given"))
}

/// Posts awards inside another use case's transaction, and tells of them. Balances are locked for all of them together:
/// one after the other, they would be in another order than everybody's.
///
/// # Errors
/// `JournalBusinessKey` when one was posted before; as the database answers.
pub(super) async fn give_all(tx: &mut Tx, awards: Vec<Award>, now: Instant) -> Result<Vec<award::Model>, StoreError> {
    let owners = awards.iter().map(|award| (award.affiliate_id, award.amount.currency)).collect();
    let (mut owed, mut available) = standing(tx, &owners, now).await?;
    let mut journals = Vec::with_capacity(awards.len());
    for award in &awards {
        let Award { kind, affiliate_id, amount, .. } = *award;
        let (key, in_hold) = (rules::award_key(award.id), award.is_held());
        let journal = rules::posted(key, kind, affiliate_id, amount, in_hold, &mut owed, &mut available)
            .map_err(|error| StoreError::inconsistent("journal", error))?;
        journals.push(journal.ok_or_else(|| StoreError::inconsistent("award", "an award of nothing"))?);
    }
    let posted = post(tx, &journals, now).await?;
    if posted.len() != awards.len() {
        return Err(StoreError::inconsistent("journal", "not posted"));
    }
    let tenant_id = tx.scope().tenant_id();
    let rows = awards.into_iter().zip(posted).map(|(award, journal_id)| award.row(tenant_id, journal_id, now));
    let rows = rows.collect::<Result<Vec<award::Model>, StoreError>>()?;
    awards::insert(tx, rows.clone()).await?;
    let held = rows.iter().filter(|row| row.status == AwardStatus::Pending).map(|row| row.payable_at).collect();
    holds::schedule(tx, held, now).await?;
    for row in &rows {
        let event = NewEvent::new(EventKind::AwardPosted, row.id.uuid(), row, now);
        tx.record(event.of_campaign(row.campaign_id).of_affiliate(Some(row.affiliate_id)));
    }
    Ok(rows)
}

impl Award {
    /// Whether it waits before it is payable: what takes does not.
    const fn is_held(&self) -> bool {
        self.hold_secs > 0 && self.amount.amount_minor > 0
    }

    fn row(self, tenant_id: TenantId, journal_id: JournalId, now: Instant) -> Result<award::Model, StoreError> {
        let in_hold = self.is_held();
        let explanation = if self.steps.is_empty() { None } else { Some(serde_json::to_string(&self.steps)) };
        Ok(award::Model {
            tenant_id,
            id: self.id,
            kind: self.kind,
            affiliate_id: self.affiliate_id,
            campaign_id: self.campaign_id,
            amount_minor: self.amount.amount_minor,
            currency: self.amount.currency,
            status: if in_hold { AwardStatus::Pending } else { AwardStatus::Available },
            reason: self.reason,
            explanation: explanation.transpose().map_err(|error| StoreError::inconsistent("award", error))?,
            author: self.author,
            journal_id,
            payable_at: if in_hold { now + TimeDelta::seconds(self.hold_secs) } else { now },
            released_at: (!in_hold).then_some(now),
            created_at: now,
        })
    }
}

/// Releases up to `limit` awards whose hold is over. Answers what each affiliate got.
///
/// # Errors
/// As the database answers.
pub(super) async fn release(tx: &mut Tx, now: Instant, limit: u64) -> Result<Vec<(AffiliateId, Money)>, StoreError> {
    let due = awards::lock_due(tx, now, limit).await?;
    if due.is_empty() {
        return Ok(Vec::new());
    }
    let owners: BTreeSet<(AffiliateId, Currency)> = due.iter().map(|row| (row.affiliate_id, row.currency)).collect();
    let mut owed: Debts = debts(tx, owners.iter(), now).await?;
    let mut journals = Vec::with_capacity(due.len());
    for row in &due {
        let journal = rules::released(row, &mut owed).map_err(|error| StoreError::inconsistent("journal", error))?;
        journals.extend(journal);
    }
    post(tx, &journals, now).await?;
    awards::release(tx, &due.iter().map(|row| row.id).collect::<Vec<_>>(), now).await?;
    Ok(due.into_iter().map(|row| (row.affiliate_id, Money::new(row.amount_minor, row.currency))).collect())
}

async fn existing(tx: &Tx, id: AwardId) -> Result<award::Model, ServiceError> {
    awards::get_many(tx, &[id]).await?.pop().ok_or_else(|| ServiceError::not_found(&["id"]))
}

/// The awards with these ids that the viewer may see.
///
/// # Errors
/// As the database answers.
pub async fn get_many(
    services: &Services,
    viewer: &Viewer,
    ids: &[AwardId],
) -> Result<Vec<award::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(awards::get_many(&tx, ids).await?)
}

/// A page of the awards that the viewer may see.
///
/// # Errors
/// As the database answers.
pub async fn list(
    services: &Services,
    viewer: &Viewer,
    filter: &AwardFilter,
    request: &PageRequest,
) -> Result<Page<award::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(awards::list(&tx, filter, request).await?)
}

/// How many awards a list has.
///
/// # Errors
/// As the database answers.
pub async fn count(services: &Services, viewer: &Viewer, filter: &AwardFilter) -> Result<i64, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(awards::count(&tx, filter).await?)
}
