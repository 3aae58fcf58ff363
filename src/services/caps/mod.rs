//! Caps: create, change, archive, list with what is used; and whether a campaign takes more, for who must not wait.
//!
//! A cap is a part of its campaign: whoever changes one holds the campaign's row, and the log says that the campaign
//! changed. Ingest counts (`ingest::caps`), a review that rejects gives back.

mod exhaustion;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tributary_entity::{
    Instant, cap,
    ids::{CampaignId, CapId},
    kinds::CapStatus,
    money::Currency,
};

pub use exhaustion::Exhaustion;

use super::{Outcome, ServiceError, Services, campaigns, idempotency};
use crate::{
    ambient,
    auth::Viewer,
    domain::{
        cap::{self as rules, CAPS_MAX, CapAmount, CapTarget, NewCap},
        problem::{Problem, ProblemCode},
    },
    store::{self, caps, enrollments, error::Constraint, scope::Tx, tenants},
};

/// A cap with what its current period has used.
#[derive(Clone, Debug)]
pub struct CapState {
    pub cap: cap::Model,
    /// The campaign's.
    pub currency: Currency,
    pub period_start: Instant,
    /// A count, or minor units.
    pub used: i64,
}

/// Limits a campaign or an enrollment.
///
/// # Errors
/// `NOT_FOUND` for campaign or enrollment; `INVALID_TRANSITION` when the campaign is archived; the amount's problems;
/// `ALREADY_EXISTS` for the metric and period; `OUT_OF_RANGE` past [`CAPS_MAX`]; `IDEMPOTENCY_CONFLICT`.
pub async fn create(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    input: NewCap,
) -> Result<Outcome<CapState>, ServiceError> {
    let id = CapId::from_uuid(ambient::new_uuid());
    let mut tx = services.begin(viewer).await?;
    if let Some(id) = idempotency::claim(services, &mut tx, viewer, key, "createCap", &input, id.uuid()).await? {
        return Ok(Outcome::replayed(existing(&tx, CapId::from_uuid(id), services.now()).await?));
    }
    let (campaign, enrollment) = match input.target {
        CapTarget::Campaign(id) => (campaigns::lock_open(&tx, &["campaignId"], id).await?, None),
        CapTarget::Enrollment(id) => {
            let field = ["enrollmentId"];
            let row = enrollments::get(&tx, id).await?.ok_or_else(|| ServiceError::not_found(&field))?;
            (campaigns::lock_open(&tx, &field, row.campaign_id).await?, Some(row))
        }
    };
    if caps::count_of_campaign(&tx, campaign.id).await? >= CAPS_MAX as u64 {
        let message = format!("a campaign and its enrollments have at most {CAPS_MAX} caps");
        return Err(Problem::new(ProblemCode::OutOfRange, &[], message).into());
    }
    let now = services.now();
    let row = cap::Model {
        tenant_id: viewer.scope.tenant_id(),
        id,
        campaign_id: campaign.id,
        enrollment_id: enrollment.as_ref().map(|row| row.id),
        affiliate_id: enrollment.as_ref().map(|row| row.affiliate_id),
        metric: input.metric,
        period: input.period,
        amount: input.amount.stored(input.metric, campaign.currency)?,
        status: CapStatus::Active,
        created_at: now,
        updated_at: now,
    };
    caps::insert(&mut tx, row.clone()).await.map_err(ServiceError::taken(
        Constraint::CapSame,
        &["metric"],
        "there is an active cap of this metric and period",
    ))?;
    campaigns::touch(&mut tx, campaign, now).await?;
    let state = state(&tx, row, now).await?;
    services.commit(tx).await?;
    Ok(Outcome::done(state))
}

/// Changes a cap's amount. What was decided stays decided, also where less is left than nothing.
///
/// # Errors
/// `NOT_FOUND`; `INVALID_TRANSITION` for an archived cap; the amount's problems; `IDEMPOTENCY_CONFLICT`.
pub async fn update(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    id: CapId,
    amount: CapAmount,
) -> Result<Outcome<CapState>, ServiceError> {
    let mut tx = services.begin(viewer).await?;
    let claimed = idempotency::claim(services, &mut tx, viewer, key, "updateCap", &(id, &amount), id.uuid()).await?;
    if claimed.is_some() {
        return Ok(Outcome::replayed(existing(&tx, id, services.now()).await?));
    }
    save(services, tx, id, |row, currency| {
        if row.status == CapStatus::Archived {
            return Err(Problem::new(ProblemCode::InvalidTransition, &["id"], "the cap is archived"));
        }
        row.amount = amount.stored(row.metric, currency)?;
        Ok(())
    })
    .await
}

/// Ends a cap for good.
///
/// # Errors
/// `NOT_FOUND`; `INVALID_TRANSITION`; `IDEMPOTENCY_CONFLICT`.
pub async fn archive(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    id: CapId,
) -> Result<Outcome<CapState>, ServiceError> {
    let mut tx = services.begin(viewer).await?;
    if idempotency::claim(services, &mut tx, viewer, key, "archiveCap", &id, id.uuid()).await?.is_some() {
        return Ok(Outcome::replayed(existing(&tx, id, services.now()).await?));
    }
    save(services, tx, id, |row, _| {
        row.status = rules::transition(row.status, CapStatus::Archived)?;
        Ok(())
    })
    .await
}

/// The campaign's row is locked before the cap's, as when a cap is added.
async fn save(
    services: &Services,
    mut tx: Tx,
    id: CapId,
    change: impl FnOnce(&mut cap::Model, Currency) -> Result<(), Problem>,
) -> Result<Outcome<CapState>, ServiceError> {
    let now = services.now();
    let campaign_id = existing(&tx, id, now).await?.cap.campaign_id;
    let campaign = campaigns::lock(&tx, &["id"], campaign_id).await?;
    let mut row = caps::lock(&tx, id).await?.ok_or_else(|| ServiceError::not_found(&["id"]))?;
    change(&mut row, campaign.currency)?;
    row.updated_at = now;
    caps::update(&mut tx, row.clone()).await?;
    campaigns::touch(&mut tx, campaign, now).await?;
    let state = state(&tx, row, now).await?;
    services.commit(tx).await?;
    Ok(Outcome::done(state))
}

async fn existing(tx: &Tx, id: CapId, now: Instant) -> Result<CapState, ServiceError> {
    let row = caps::get_many(tx, &[id]).await?.pop().ok_or_else(|| ServiceError::not_found(&["id"]))?;
    state(tx, row, now).await
}

async fn state(tx: &Tx, row: cap::Model, now: Instant) -> Result<CapState, ServiceError> {
    states(tx, vec![row], now).await?.pop().ok_or(ServiceError::Internal("a cap without its campaign"))
}

/// Caps with what their current periods have used, in their order.
async fn states(tx: &Tx, rows: Vec<cap::Model>, now: Instant) -> Result<Vec<CapState>, ServiceError> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let zone = tenants::zone(tx).await?;
    let campaign_ids: BTreeSet<CampaignId> = rows.iter().map(|row| row.campaign_id).collect();
    let currencies: HashMap<CampaignId, Currency> =
        store::campaigns::get_many(tx, &campaign_ids.into_iter().collect::<Vec<_>>())
            .await?
            .into_iter()
            .map(|campaign| (campaign.id, campaign.currency))
            .collect();
    let starts: BTreeMap<CapId, Instant> =
        rows.iter().map(|row| (row.id, rules::period_start(row.period, now, zone))).collect();
    let used = caps::used(tx, &starts.iter().map(|(id, start)| (*id, *start)).collect()).await?;
    Ok(rows
        .into_iter()
        .filter_map(|cap| {
            let (currency, period_start) = (*currencies.get(&cap.campaign_id)?, *starts.get(&cap.id)?);
            let used = used.get(&(cap.id, period_start)).copied().unwrap_or(0);
            Some(CapState { cap, currency, period_start, used })
        })
        .collect())
}

/// The caps with these ids that the viewer may see.
///
/// # Errors
/// As the database answers.
pub async fn get_many(services: &Services, viewer: &Viewer, ids: &[CapId]) -> Result<Vec<CapState>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    states(&tx, caps::get_many(&tx, ids).await?, services.now()).await
}

/// The caps of campaigns that the viewer may see, oldest first: an affiliate sees its own enrollments'.
///
/// # Errors
/// As the database answers.
pub async fn of_campaigns(
    services: &Services,
    viewer: &Viewer,
    ids: &[CampaignId],
) -> Result<Vec<CapState>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    states(&tx, caps::of_campaigns(&tx, ids).await?, services.now()).await
}
