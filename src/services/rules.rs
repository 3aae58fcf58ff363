//! Commission rules: create, change by a new version, archive.
//!
//! A rule is a part of its campaign, as a goal is: whoever changes one holds the campaign's row.

use tributary_entity::{
    commission_rule, commission_rule_version,
    ids::{CampaignId, CommissionRuleId, GoalId},
    kinds::{GoalStatus, RuleStatus},
};

use super::{Outcome, ServiceError, Services, campaigns, idempotency};
use crate::{
    ambient,
    auth::Viewer,
    domain::{
        commission::Plan,
        problem::{Problem, ProblemCode},
        rule::{self, NewRule, RULES_MAX, Rule, RuleChange},
        transition,
    },
    store::{
        affiliate_groups,
        error::{Constraint, StoreError},
        goals, rules,
        scope::Tx,
    },
};

/// The version that a rule begins with.
const FIRST_VERSION: i32 = 1;

/// Adds a rule to a campaign.
///
/// # Errors
/// The input's problems; `NOT_FOUND` for campaign or goal, `INVALID_TRANSITION` when one is archived;
/// `CURRENCY_MISMATCH`; `ALREADY_EXISTS` for a second active default; `OUT_OF_RANGE` past [`RULES_MAX`];
/// `IDEMPOTENCY_CONFLICT`.
pub async fn create(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    input: NewRule,
) -> Result<Outcome<Rule>, ServiceError> {
    let input = input.check()?;
    let id = CommissionRuleId::from_uuid(ambient::new_uuid());
    let mut tx = services.begin(viewer).await?;
    let claimed = idempotency::claim(services, &mut tx, viewer, key, "createCommissionRule", &input, id.uuid()).await?;
    if let Some(id) = claimed {
        return Ok(Outcome::replayed(existing(&tx, CommissionRuleId::from_uuid(id)).await?));
    }
    let campaign = campaigns::lock_open(&tx, &["campaignId"], input.campaign_id).await?;
    if let Some(goal_id) = input.goal_id {
        check_goal(&tx, campaign.id, goal_id).await?;
    }
    if rules::count_of_campaign(&tx, campaign.id).await? >= RULES_MAX as u64 {
        let message = format!("a campaign has at most {RULES_MAX} commission rules");
        return Err(Problem::new(ProblemCode::OutOfRange, &["campaignId"], message).into());
    }
    if let Some(group_id) = input.group_id
        && affiliate_groups::get_many(&tx, &[group_id]).await?.is_empty()
    {
        return Err(ServiceError::not_found(&["groupId"]));
    }
    let (now, tenant_id) = (services.now(), viewer.scope.tenant_id());
    let plan = input.plan(campaign.currency)?;
    let head = commission_rule::Model {
        tenant_id,
        id,
        campaign_id: campaign.id,
        goal_id: input.goal_id,
        name: input.name,
        is_default: input.is_default,
        group_id: input.group_id,
        position: input.position,
        current_version: FIRST_VERSION,
        status: RuleStatus::Active,
        created_at: now,
        updated_at: now,
    };
    let mut terms = input.terms.version(tenant_id, id, FIRST_VERSION, campaign.currency, now)?;
    terms.is_flat_refunded_in_part = input.is_flat_refunded_in_part;
    terms.plan = stored(&plan)?;
    let rule = Rule { head, terms, plan };
    rules::insert(&mut tx, rule.clone()).await.map_err(second_default())?;
    campaigns::touch(&mut tx, campaign, now).await?;
    services.commit(tx).await?;
    Ok(Outcome::done(rule))
}

/// Changes a rule. New terms become a new version; conversions from now on are decided by it, past ones keep theirs.
///
/// # Errors
/// `NOT_FOUND`; `INVALID_TRANSITION` for an archived rule; the input's problems; `CURRENCY_MISMATCH`;
/// `IDEMPOTENCY_CONFLICT`.
pub async fn update(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    id: CommissionRuleId,
    change: RuleChange,
) -> Result<Outcome<Rule>, ServiceError> {
    let mut tx = services.begin(viewer).await?;
    let claimed =
        idempotency::claim(services, &mut tx, viewer, key, "updateCommissionRule", &(id, &change), id.uuid()).await?;
    if claimed.is_some() {
        return Ok(Outcome::replayed(existing(&tx, id).await?));
    }
    let campaign = campaigns::lock(&tx, &["id"], existing(&tx, id).await?.head.campaign_id).await?;
    let head = rules::lock(&tx, id).await?.ok_or_else(|| ServiceError::not_found(&["id"]))?;
    // As it is under the lock.
    let current = existing(&tx, id).await?;
    let now = services.now();
    let head = commission_rule::Model { updated_at: now, ..change.apply(head)? };
    if change.is_new_version() {
        let (mut row, plan) = change.version(&current, &head, campaign.currency, now)?;
        row.plan = stored(&plan)?;
        rules::insert_version(&mut tx, row).await?;
    }
    rules::update(&mut tx, head).await.map_err(second_default())?;
    campaigns::touch(&mut tx, campaign, now).await?;
    let rule = existing(&tx, id).await?;
    services.commit(tx).await?;
    Ok(Outcome::done(rule))
}

/// Ends a rule for good. Enrollments that it overrides the default for fall back to the default.
///
/// # Errors
/// `NOT_FOUND`; `INVALID_TRANSITION`; `IDEMPOTENCY_CONFLICT`.
pub async fn archive(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    id: CommissionRuleId,
) -> Result<Outcome<Rule>, ServiceError> {
    let mut tx = services.begin(viewer).await?;
    let claimed = idempotency::claim(services, &mut tx, viewer, key, "archiveCommissionRule", &id, id.uuid()).await?;
    if claimed.is_some() {
        return Ok(Outcome::replayed(existing(&tx, id).await?));
    }
    let campaign = campaigns::lock(&tx, &["id"], existing(&tx, id).await?.head.campaign_id).await?;
    let mut head = rules::lock(&tx, id).await?.ok_or_else(|| ServiceError::not_found(&["id"]))?;
    head.status = rule::transition(head.status, RuleStatus::Archived)?;
    head.updated_at = services.now();
    let now = head.updated_at;
    rules::update(&mut tx, head).await?;
    campaigns::touch(&mut tx, campaign, now).await?;
    let rule = existing(&tx, id).await?;
    services.commit(tx).await?;
    Ok(Outcome::done(rule))
}

/// A plan as a version keeps it.
fn stored(plan: &Plan) -> Result<Option<String>, ServiceError> {
    plan.json().map_err(|_| ServiceError::Internal("a plan cannot be written"))
}

/// A goal of another campaign answers as none does.
async fn check_goal(tx: &Tx, campaign_id: CampaignId, goal_id: GoalId) -> Result<(), ServiceError> {
    match goals::get(tx, goal_id).await?.filter(|goal| goal.campaign_id == campaign_id) {
        None => Err(ServiceError::not_found(&["goalId"])),
        Some(goal) if goal.status == GoalStatus::Archived => {
            Err(transition::refused(&["goalId"], "the goal is archived").into())
        }
        Some(_) => Ok(()),
    }
}

fn second_default() -> impl FnOnce(StoreError) -> ServiceError {
    ServiceError::taken(Constraint::RuleDefault, &["isDefault"], "the campaign has a default rule for this goal")
}

async fn existing(tx: &Tx, id: CommissionRuleId) -> Result<Rule, ServiceError> {
    rules::get(tx, id).await?.ok_or_else(|| ServiceError::not_found(&["id"]))
}

/// The rules with these ids that the viewer may see, in their current versions.
///
/// # Errors
/// As the database answers.
pub async fn get_many(
    services: &Services,
    viewer: &Viewer,
    ids: &[CommissionRuleId],
) -> Result<Vec<Rule>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(rules::get_many(&tx, ids).await?)
}

/// The rules of those of the campaigns that the viewer may see, oldest first.
///
/// # Errors
/// As the database answers.
pub async fn of_campaigns(services: &Services, viewer: &Viewer, ids: &[CampaignId]) -> Result<Vec<Rule>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(rules::of_campaigns(&tx, ids).await?)
}

/// The newest versions of rules that the viewer has seen, each named with its current version; newest first.
///
/// # Errors
/// As the database answers.
pub async fn versions(
    services: &Services,
    viewer: &Viewer,
    rules: &[(CommissionRuleId, i32)],
) -> Result<Vec<commission_rule_version::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(rules::versions(&tx, rules).await?)
}
