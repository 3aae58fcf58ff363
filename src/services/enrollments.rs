//! Enrollments: enroll, apply, override the rule, move between states, list.

use tributary_entity::{
    enrollment,
    ids::{AffiliateId, CampaignId, CommissionRuleId, EnrollmentId},
    kinds::{AffiliateStatus, EnrollmentStatus, EventKind},
};

use super::{Outcome, ServiceError, Services, campaigns, idempotency};
use crate::{
    ambient,
    auth::Viewer,
    domain::{
        change::Change,
        enrollment::{self as rules, EnrollmentFilter, NewEnrollment},
        event::NewEvent,
        page::{Page, PageRequest},
        transition,
    },
    store::{self, affiliates, enrollments, error::Constraint, scope::Tx},
};

/// Enrolls an affiliate in a campaign, approved at once.
///
/// # Errors
/// `NOT_FOUND` for campaign, affiliate or rule; `INVALID_TRANSITION` when campaign or rule is archived;
/// `ALREADY_EXISTS`; `IDEMPOTENCY_CONFLICT`.
pub async fn create(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    input: NewEnrollment,
) -> Result<Outcome<enrollment::Model>, ServiceError> {
    let id = EnrollmentId::from_uuid(ambient::new_uuid());
    let mut tx = services.begin(viewer).await?;
    let claimed = idempotency::claim(services, &mut tx, viewer, key, "createEnrollment", &input, id.uuid()).await?;
    if let Some(id) = claimed {
        return Ok(Outcome::replayed(existing(&tx, EnrollmentId::from_uuid(id)).await?));
    }
    campaigns::get_open(&tx, &["campaignId"], input.campaign_id).await?;
    if affiliates::get(&tx, input.affiliate_id).await?.is_none() {
        return Err(ServiceError::not_found(&["affiliateId"]));
    }
    if let Some(rule_id) = input.rule_id {
        check_override(&tx, input.campaign_id, rule_id).await?;
    }
    let row = new_row(services, viewer, id, input, EnrollmentStatus::Approved);
    insert(services, tx, row).await
}

/// Asks for a place in a campaign, in the viewer's own name; somebody of the tenant decides.
///
/// # Errors
/// `Forbidden` for viewers who are no affiliate; `NOT_FOUND` for a campaign that is not theirs to see;
/// `INVALID_TRANSITION` when the affiliate is not active; `ALREADY_EXISTS`; `IDEMPOTENCY_CONFLICT`.
pub async fn apply(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    campaign_id: CampaignId,
) -> Result<Outcome<enrollment::Model>, ServiceError> {
    let affiliate_id = viewer.scope.own_affiliate().ok_or(ServiceError::Forbidden)?;
    let id = EnrollmentId::from_uuid(ambient::new_uuid());
    let mut tx = services.begin(viewer).await?;
    let claimed =
        idempotency::claim(services, &mut tx, viewer, key, "applyToCampaign", &campaign_id, id.uuid()).await?;
    if let Some(id) = claimed {
        return Ok(Outcome::replayed(existing(&tx, EnrollmentId::from_uuid(id)).await?));
    }
    campaigns::get_open(&tx, &["campaignId"], campaign_id).await?;
    let affiliate = affiliates::get(&tx, affiliate_id).await?;
    if affiliate.is_none_or(|affiliate| affiliate.status != AffiliateStatus::Active) {
        return Err(transition::refused(&[], "only an active affiliate can apply").into());
    }
    let input = NewEnrollment { campaign_id, affiliate_id, rule_id: None };
    let row = new_row(services, viewer, id, input, EnrollmentStatus::Pending);
    insert(services, tx, row).await
}

/// Sets or clears the rule that overrides the campaign's default. Past conversions keep what they were decided by.
///
/// # Errors
/// `NOT_FOUND`, also for the rule; `INVALID_TRANSITION` for an archived rule; `IDEMPOTENCY_CONFLICT`.
pub async fn update(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    id: EnrollmentId,
    rule_id: Change<CommissionRuleId>,
) -> Result<Outcome<enrollment::Model>, ServiceError> {
    let mut tx = services.begin(viewer).await?;
    let claimed =
        idempotency::claim(services, &mut tx, viewer, key, "updateEnrollment", &(id, &rule_id), id.uuid()).await?;
    if claimed.is_some() {
        return Ok(Outcome::replayed(existing(&tx, id).await?));
    }
    let mut row = enrollments::lock(&tx, id).await?.ok_or_else(|| ServiceError::not_found(&["id"]))?;
    if let Change::Set(rule_id) = &rule_id {
        check_override(&tx, row.campaign_id, *rule_id).await?;
    }
    rule_id.apply(&mut row.rule_id);
    row.updated_at = services.now();
    save(services, tx, row).await
}

/// Moves an enrollment to another status.
///
/// # Errors
/// `NOT_FOUND`; `INVALID_TRANSITION`; `IDEMPOTENCY_CONFLICT`.
pub async fn set_status(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    id: EnrollmentId,
    status: EnrollmentStatus,
) -> Result<Outcome<enrollment::Model>, ServiceError> {
    let mut tx = services.begin(viewer).await?;
    let claimed =
        idempotency::claim(services, &mut tx, viewer, key, "setEnrollmentStatus", &(id, status), id.uuid()).await?;
    if claimed.is_some() {
        return Ok(Outcome::replayed(existing(&tx, id).await?));
    }
    let mut row = enrollments::lock(&tx, id).await?.ok_or_else(|| ServiceError::not_found(&["id"]))?;
    row.status = rules::transition(row.status, status)?;
    row.updated_at = services.now();
    save(services, tx, row).await
}

/// Whether an affiliate may promote a campaign.
///
/// # Errors
/// As the database answers.
pub(super) async fn is_approved(
    tx: &Tx,
    campaign_id: CampaignId,
    affiliate_id: AffiliateId,
) -> Result<bool, ServiceError> {
    let rows = enrollments::for_pairs(tx, &[(campaign_id, affiliate_id)]).await?;
    Ok(rows.iter().any(|row| row.status == EnrollmentStatus::Approved))
}

async fn check_override(tx: &Tx, campaign_id: CampaignId, rule_id: CommissionRuleId) -> Result<(), ServiceError> {
    let rule = store::rules::get(tx, rule_id).await?;
    Ok(rules::check_override(campaign_id, rule.as_ref().map(|rule| &rule.head))?)
}

fn new_row(
    services: &Services,
    viewer: &Viewer,
    id: EnrollmentId,
    input: NewEnrollment,
    status: EnrollmentStatus,
) -> enrollment::Model {
    let now = services.now();
    enrollment::Model {
        tenant_id: viewer.scope.tenant_id(),
        id,
        campaign_id: input.campaign_id,
        affiliate_id: input.affiliate_id,
        status,
        rule_id: input.rule_id,
        created_at: now,
        updated_at: now,
    }
}

async fn insert(
    services: &Services,
    mut tx: Tx,
    row: enrollment::Model,
) -> Result<Outcome<enrollment::Model>, ServiceError> {
    enrollments::insert(&mut tx, row.clone()).await.map_err(ServiceError::taken(
        Constraint::EnrollmentPair,
        &["campaignId"],
        "the affiliate has an enrollment in this campaign",
    ))?;
    tx.record(changed(&row));
    services.commit(tx).await?;
    Ok(Outcome::done(row))
}

async fn save(
    services: &Services,
    mut tx: Tx,
    row: enrollment::Model,
) -> Result<Outcome<enrollment::Model>, ServiceError> {
    enrollments::update(&mut tx, row.clone()).await?;
    tx.record(changed(&row));
    services.commit(tx).await?;
    Ok(Outcome::done(row))
}

async fn existing(tx: &Tx, id: EnrollmentId) -> Result<enrollment::Model, ServiceError> {
    enrollments::get(tx, id).await?.ok_or_else(|| ServiceError::not_found(&["id"]))
}

fn changed(row: &enrollment::Model) -> NewEvent {
    NewEvent::new(EventKind::EnrollmentChanged, row.id.uuid(), row, row.updated_at)
        .of_campaign(Some(row.campaign_id))
        .of_affiliate(Some(row.affiliate_id))
}

/// The enrollments with these ids that the viewer may see.
///
/// # Errors
/// As the database answers.
pub async fn get_many(
    services: &Services,
    viewer: &Viewer,
    ids: &[EnrollmentId],
) -> Result<Vec<enrollment::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(enrollments::get_many(&tx, ids).await?)
}

/// A page of the enrollments that the viewer may see.
///
/// # Errors
/// As the database answers.
pub async fn list(
    services: &Services,
    viewer: &Viewer,
    filter: &EnrollmentFilter,
    request: &PageRequest,
) -> Result<Page<enrollment::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(enrollments::list(&tx, filter, request).await?)
}

/// How many enrollments a list has.
///
/// # Errors
/// As the database answers.
pub async fn count(services: &Services, viewer: &Viewer, filter: &EnrollmentFilter) -> Result<i64, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(enrollments::count(&tx, filter).await?)
}
