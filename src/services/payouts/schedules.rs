//! Batches that come by themselves, on the days that affiliates' terms say.
//!
//! # Decisions
//! - A batch is named by its currency, schedule and day, which the database lets in once: any number of schedulers may look
//!   at any time. The batch is made even when nobody is paid by it: the day was looked at.
//! - It is a draft: somebody approves it and submits it.

use tributary_entity::{Instant, ids::PayoutBatchId, kinds::PayoutBatchStatus, money::Currency, payout_batch};

use super::pages;
use crate::{
    ambient,
    auth::Actor,
    domain::{
        cap::zone,
        payout_terms::{Due, Schedule},
        tenancy::TenantScope,
    },
    services::{ServiceError, Services, payout_terms::default_threshold},
    store::{
        error::{Constraint, StoreError},
        payout_batches, payout_terms, tenants,
    },
};

/// Drafts every batch of a tenant that is due and not there. Answers how many.
///
/// # Errors
/// As the database answers; what was drafted before stays.
pub async fn run_due(services: &Services, scope: &TenantScope) -> Result<u64, ServiceError> {
    let tx = services.db.snapshot(scope).await?;
    let schedules = payout_terms::schedules(&tx).await?;
    let zone = zone(&tenants::get(&tx).await?.time_zone);
    drop(tx);
    let now = services.now();
    let mut drafted = 0;
    for (currency, text, since) in schedules {
        let schedule: Schedule =
            text.parse().map_err(|error| StoreError::inconsistent("payout_terms", format!("{error}")))?;
        // Days before the first of its affiliates had the schedule are nobody's.
        if let Some(due) = schedule.last_due(now, zone).filter(|due| due.at > since) {
            drafted += u64::from(draft(services, scope, currency, schedule, due, now).await?);
        }
    }
    Ok(drafted)
}

/// Drafts the batch of a day. False when it is there.
async fn draft(
    services: &Services,
    scope: &TenantScope,
    currency: Currency,
    schedule: Schedule,
    due: Due,
    now: Instant,
) -> Result<bool, ServiceError> {
    let tx = services.db.snapshot(scope).await?;
    let is_there = payout_batches::is_drafted(&tx, currency, &schedule.to_string(), due.on).await?;
    drop(tx);
    if is_there {
        return Ok(false);
    }
    let mut tx = services.db.begin(scope).await?;
    let mut batch = payout_batch::Model {
        tenant_id: scope.tenant_id(),
        id: PayoutBatchId::from_uuid(ambient::new_uuid()),
        status: PayoutBatchStatus::Drafting,
        currency,
        minimum_minor: default_threshold(&tx, currency).await?,
        note: None,
        author: Actor::System.to_string(),
        approver: None,
        created_at: now,
        approved_at: None,
        submitted_at: None,
        by_terms: true,
        schedule: Some(schedule.to_string()),
        due_on: Some(due.on),
        earned_before: due.earned_before,
        done_to: None,
        submitter: None,
        canceller: None,
        cancelled_at: None,
    };
    match payout_batches::insert(&mut tx, batch.clone()).await {
        Err(StoreError::Constraint(Constraint::PayoutDue)) => return Ok(false),
        inserted => inserted?,
    }
    pages::work(&mut tx, &mut batch, None, now).await?;
    pages::save(&mut tx, &batch, now).await?;
    services.commit(tx).await?;
    Ok(true)
}
