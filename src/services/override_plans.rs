//! Override plans: set for a campaign or as the tenant's default, archive.
//!
//! A plan is a part of its campaign, the default of the tenant: whoever sets one holds that row, so that there is one plan
//! whoever else sets it at the same time.

use tributary_entity::{
    ids::{CampaignId, OverridePlanId},
    kinds::{EventKind, RuleStatus},
    override_plan, override_plan_version,
};

use super::{Outcome, ServiceError, Services, campaigns, idempotency};
use crate::{
    ambient,
    auth::Viewer,
    domain::{
        event::NewEvent,
        override_plan::{self as rules, NewPlan, Plan},
    },
    store::{override_plans, scope::Tx, tenants},
};

/// Sets the levels of a campaign's plan, or of the tenant's default: its first version, or one more. Conversions from now
/// on are decided by it, past ones keep theirs. Without levels nobody above earns anything, also where there is a default.
///
/// # Errors
/// The input's problems; `NOT_FOUND` for the campaign, `INVALID_TRANSITION` when it is archived; `IDEMPOTENCY_CONFLICT`.
pub async fn set(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    input: NewPlan,
) -> Result<Outcome<Plan>, ServiceError> {
    let new_id = OverridePlanId::from_uuid(ambient::new_uuid());
    let mut tx = services.begin(viewer).await?;
    let currency = match input.campaign_id {
        Some(id) => Some(campaigns::lock_open(&tx, &["campaignId"], id).await?.currency),
        None => {
            tenants::lock(&tx).await?;
            None
        }
    };
    input.check(currency)?;
    let before = override_plans::lock_of(&tx, input.campaign_id).await?;
    let id = before.as_ref().map_or(new_id, |head| head.id);
    let claimed = idempotency::claim(services, &mut tx, viewer, key, "setOverridePlan", &input, id.uuid()).await?;
    if claimed.is_some() {
        return Ok(Outcome::replayed(existing(&tx, id).await?));
    }
    let now = services.now();
    let head = match before {
        Some(head) => {
            let current_version = head.current_version + 1;
            let head = override_plan::Model { current_version, status: RuleStatus::Active, updated_at: now, ..head };
            override_plans::update(&mut tx, head.clone()).await?;
            head
        }
        None => {
            let head = override_plan::Model {
                tenant_id: viewer.scope.tenant_id(),
                id,
                campaign_id: input.campaign_id,
                current_version: 1,
                status: RuleStatus::Active,
                created_at: now,
                updated_at: now,
            };
            override_plans::insert(&mut tx, head.clone()).await?;
            head
        }
    };
    let terms = input.version(head.tenant_id, &head, now);
    override_plans::insert_version(&mut tx, terms.clone()).await?;
    tx.record(changed(&head));
    services.commit(tx).await?;
    Ok(Outcome::done(Plan { head, terms }))
}

/// Ends a plan until it is set again: a campaign falls back to the default, and without a default nobody above earns
/// anything.
///
/// # Errors
/// `NOT_FOUND`; `INVALID_TRANSITION`; `IDEMPOTENCY_CONFLICT`.
pub async fn archive(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    id: OverridePlanId,
) -> Result<Outcome<Plan>, ServiceError> {
    let mut tx = services.begin(viewer).await?;
    let claimed = idempotency::claim(services, &mut tx, viewer, key, "archiveOverridePlan", &id, id.uuid()).await?;
    if claimed.is_some() {
        return Ok(Outcome::replayed(existing(&tx, id).await?));
    }
    let mut head = override_plans::lock(&tx, id).await?.ok_or_else(|| ServiceError::not_found(&["id"]))?;
    head.status = rules::transition(head.status, RuleStatus::Archived)?;
    head.updated_at = services.now();
    override_plans::update(&mut tx, head.clone()).await?;
    tx.record(changed(&head));
    let plan = existing(&tx, id).await?;
    services.commit(tx).await?;
    Ok(Outcome::done(plan))
}

fn changed(head: &override_plan::Model) -> NewEvent {
    NewEvent::new(EventKind::OverridePlanChanged, head.id.uuid(), head, head.updated_at).of_campaign(head.campaign_id)
}

async fn existing(tx: &Tx, id: OverridePlanId) -> Result<Plan, ServiceError> {
    override_plans::get_many(tx, &[id]).await?.pop().ok_or_else(|| ServiceError::not_found(&["id"]))
}

/// The plans with these ids.
///
/// # Errors
/// As the database answers.
pub async fn get_many(services: &Services, viewer: &Viewer, ids: &[OverridePlanId]) -> Result<Vec<Plan>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(override_plans::get_many(&tx, ids).await?)
}

/// The plans of campaigns, archived ones too.
///
/// # Errors
/// As the database answers.
pub async fn of_campaigns(services: &Services, viewer: &Viewer, ids: &[CampaignId]) -> Result<Vec<Plan>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(override_plans::of_campaigns(&tx, ids).await?)
}

/// The tenant's default plan, archived or not.
///
/// # Errors
/// As the database answers.
pub async fn default(services: &Services, viewer: &Viewer) -> Result<Option<Plan>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(override_plans::default(&tx).await?)
}

/// The newest versions of plans that the viewer has seen, each named with its current version; newest first.
///
/// # Errors
/// As the database answers.
pub async fn versions(
    services: &Services,
    viewer: &Viewer,
    plans: &[(OverridePlanId, i32)],
) -> Result<Vec<override_plan_version::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(override_plans::versions(&tx, plans).await?)
}
