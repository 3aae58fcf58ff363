//! Goals: create, change, archive.
//!
//! A goal is a part of its campaign: whoever changes one holds the campaign's row, so that the bound on their number
//! holds under concurrency, and the log says that the campaign changed.

use tributary_entity::{
    goal,
    ids::{CampaignId, GoalId},
    kinds::GoalStatus,
};

use super::{Outcome, ServiceError, Services, campaigns, idempotency};
use crate::{
    ambient,
    auth::Viewer,
    domain::{
        goal::{self as rules, GOALS_MAX, GoalChange, NewGoal},
        problem::{Problem, ProblemCode},
    },
    store::{error::Constraint, goals, scope::Tx},
};

/// Adds a goal to a campaign.
///
/// # Errors
/// The input's problems; `NOT_FOUND` for the campaign, `INVALID_TRANSITION` when it is archived; `ALREADY_EXISTS` for the
/// code; `OUT_OF_RANGE` past [`GOALS_MAX`]; `IDEMPOTENCY_CONFLICT`.
pub async fn create(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    input: NewGoal,
) -> Result<Outcome<goal::Model>, ServiceError> {
    let input = input.check()?;
    let id = GoalId::from_uuid(ambient::new_uuid());
    let mut tx = services.begin(viewer).await?;
    if let Some(id) = idempotency::claim(services, &mut tx, viewer, key, "createGoal", &input, id.uuid()).await? {
        return Ok(Outcome::replayed(existing(&tx, GoalId::from_uuid(id)).await?));
    }
    let campaign = campaigns::lock_open(&tx, &["campaignId"], input.campaign_id).await?;
    if goals::count_of_campaign(&tx, campaign.id).await? >= GOALS_MAX as u64 {
        let message = format!("a campaign has at most {GOALS_MAX} goals");
        return Err(Problem::new(ProblemCode::OutOfRange, &["campaignId"], message).into());
    }
    let now = services.now();
    let row = goal::Model {
        tenant_id: viewer.scope.tenant_id(),
        id,
        campaign_id: campaign.id,
        code: input.code,
        name: input.name,
        once_per_click: input.once_per_click,
        status: GoalStatus::Active,
        created_at: now,
    };
    goals::insert(&mut tx, row.clone()).await.map_err(ServiceError::taken(
        Constraint::GoalCode,
        &["code"],
        "the campaign has a goal of this code",
    ))?;
    campaigns::touch(&mut tx, campaign, now).await?;
    services.commit(tx).await?;
    Ok(Outcome::done(row))
}

/// Changes a goal. Past conversions keep what they were decided by.
///
/// # Errors
/// `NOT_FOUND`; the input's problems; `IDEMPOTENCY_CONFLICT`.
pub async fn update(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    id: GoalId,
    change: GoalChange,
) -> Result<Outcome<goal::Model>, ServiceError> {
    let mut tx = services.begin(viewer).await?;
    if idempotency::claim(services, &mut tx, viewer, key, "updateGoal", &(id, &change), id.uuid()).await?.is_some() {
        return Ok(Outcome::replayed(existing(&tx, id).await?));
    }
    save(services, tx, id, |row| Ok(change.apply(row)?)).await
}

/// Ends a goal for good: it takes no more conversions.
///
/// # Errors
/// `NOT_FOUND`; `INVALID_TRANSITION`; `IDEMPOTENCY_CONFLICT`.
pub async fn archive(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    id: GoalId,
) -> Result<Outcome<goal::Model>, ServiceError> {
    let mut tx = services.begin(viewer).await?;
    if idempotency::claim(services, &mut tx, viewer, key, "archiveGoal", &id, id.uuid()).await?.is_some() {
        return Ok(Outcome::replayed(existing(&tx, id).await?));
    }
    save(services, tx, id, |mut row| {
        row.status = rules::transition(row.status, GoalStatus::Archived)?;
        Ok(row)
    })
    .await
}

/// The campaign's row is locked before the goal's, as when a goal is added: two locks, always in one order.
async fn save(
    services: &Services,
    mut tx: Tx,
    id: GoalId,
    change: impl FnOnce(goal::Model) -> Result<goal::Model, ServiceError>,
) -> Result<Outcome<goal::Model>, ServiceError> {
    let campaign_id = existing(&tx, id).await?.campaign_id;
    let campaign = campaigns::lock(&tx, &["id"], campaign_id).await?;
    let row = goals::lock(&tx, id).await?.ok_or_else(|| ServiceError::not_found(&["id"]))?;
    let row = change(row)?;
    goals::update(&mut tx, row.clone()).await?;
    campaigns::touch(&mut tx, campaign, services.now()).await?;
    services.commit(tx).await?;
    Ok(Outcome::done(row))
}

async fn existing(tx: &Tx, id: GoalId) -> Result<goal::Model, ServiceError> {
    goals::get(tx, id).await?.ok_or_else(|| ServiceError::not_found(&["id"]))
}

/// The goals with these ids that the viewer may see.
///
/// # Errors
/// As the database answers.
pub async fn get_many(services: &Services, viewer: &Viewer, ids: &[GoalId]) -> Result<Vec<goal::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(goals::get_many(&tx, ids).await?)
}

/// The goals of those of the campaigns that the viewer may see, oldest first.
///
/// # Errors
/// As the database answers.
pub async fn of_campaigns(
    services: &Services,
    viewer: &Viewer,
    ids: &[CampaignId],
) -> Result<Vec<goal::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(goals::of_campaigns(&tx, ids).await?)
}
