//! Bonus rules: make, archive, list. What they give is given by `bonus_grants`.

use tributary_entity::{
    bonus_rule,
    ids::{BonusRuleId, CampaignId},
    kinds::{EventKind, RuleStatus},
};

use super::{Outcome, ServiceError, Services, bonus_grants, campaigns, idempotency};
use crate::{
    ambient,
    auth::Viewer,
    domain::{
        bonus_rule::{self as rules, BonusRuleFilter, NewBonusRule, RULES_MAX},
        cap,
        event::NewEvent,
        page::{Page, PageRequest},
        problem::{Problem, ProblemCode},
    },
    store::{bonus_rules, scope::Tx, tenants},
};

/// Makes a rule, which counts from the current period on, and asks for it to be decided when that is over.
///
/// # Errors
/// The input's problems; `NOT_FOUND` for the campaign, `INVALID_TRANSITION` when it is archived; `OUT_OF_RANGE` past
/// [`RULES_MAX`]; `IDEMPOTENCY_CONFLICT`.
pub async fn create(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    input: NewBonusRule,
) -> Result<Outcome<bonus_rule::Model>, ServiceError> {
    let input = input.check()?;
    let id = BonusRuleId::from_uuid(ambient::new_uuid());
    let mut tx = services.begin(viewer).await?;
    if let Some(id) = idempotency::claim(services, &mut tx, viewer, key, "createBonusRule", &input, id.uuid()).await? {
        return Ok(Outcome::replayed(existing(&tx, BonusRuleId::from_uuid(id)).await?));
    }
    // Who adds to a list that is bounded holds what it is a list of.
    let tenant = match input.campaign_id {
        Some(id) => {
            campaigns::lock_open(&tx, &["campaignId"], id).await?;
            tenants::get(&tx).await?
        }
        None => tenants::lock(&tx).await?,
    };
    if bonus_rules::count_of(&tx, input.campaign_id).await? >= RULES_MAX {
        let message = format!("at most {RULES_MAX} bonus rules for a campaign, and for all of them together");
        return Err(Problem::new(ProblemCode::OutOfRange, &["campaignId"], message).into());
    }
    let (now, zone) = (services.now(), cap::zone(&tenant.time_zone));
    let row = input.row(tenant.tenant_id, id, now, zone);
    bonus_rules::insert(&mut tx, row.clone()).await?;
    bonus_grants::ask(&mut tx, &row, zone, now).await?;
    tx.record(changed(&row));
    services.commit(tx).await?;
    Ok(Outcome::done(row))
}

/// Ends a rule: it gives nothing more, also not for periods that are over and not decided yet.
///
/// # Errors
/// `NOT_FOUND`; `INVALID_TRANSITION`; `IDEMPOTENCY_CONFLICT`.
pub async fn archive(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    id: BonusRuleId,
) -> Result<Outcome<bonus_rule::Model>, ServiceError> {
    let mut tx = services.begin(viewer).await?;
    if idempotency::claim(services, &mut tx, viewer, key, "archiveBonusRule", &id, id.uuid()).await?.is_some() {
        return Ok(Outcome::replayed(existing(&tx, id).await?));
    }
    let mut row = bonus_rules::lock(&tx, id).await?.ok_or_else(|| ServiceError::not_found(&["id"]))?;
    row.status = rules::transition(row.status, RuleStatus::Archived)?;
    row.updated_at = services.now();
    bonus_rules::update(&mut tx, row.clone()).await?;
    tx.record(changed(&row));
    services.commit(tx).await?;
    Ok(Outcome::done(row))
}

fn changed(row: &bonus_rule::Model) -> NewEvent {
    NewEvent::new(EventKind::BonusRuleChanged, row.id.uuid(), row, row.updated_at).of_campaign(row.campaign_id)
}

async fn existing(tx: &Tx, id: BonusRuleId) -> Result<bonus_rule::Model, ServiceError> {
    bonus_rules::get_many(tx, &[id]).await?.pop().ok_or_else(|| ServiceError::not_found(&["id"]))
}

/// The rules with these ids.
///
/// # Errors
/// As the database answers.
pub async fn get_many(
    services: &Services,
    viewer: &Viewer,
    ids: &[BonusRuleId],
) -> Result<Vec<bonus_rule::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(bonus_rules::get_many(&tx, ids).await?)
}

/// The rules of campaigns, archived ones too, oldest first.
///
/// # Errors
/// As the database answers.
pub async fn of_campaigns(
    services: &Services,
    viewer: &Viewer,
    ids: &[CampaignId],
) -> Result<Vec<bonus_rule::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(bonus_rules::of_campaigns(&tx, ids).await?)
}

/// A page of the tenant's rules.
///
/// # Errors
/// As the database answers.
pub async fn list(
    services: &Services,
    viewer: &Viewer,
    filter: &BonusRuleFilter,
    request: &PageRequest,
) -> Result<Page<bonus_rule::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(bonus_rules::list(&tx, filter, request).await?)
}

/// How many rules a list has.
///
/// # Errors
/// As the database answers.
pub async fn count(services: &Services, viewer: &Viewer, filter: &BonusRuleFilter) -> Result<i64, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(bonus_rules::count(&tx, filter).await?)
}
