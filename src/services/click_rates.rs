//! Click rates: set for a campaign, or a group or one affiliate in it; archive.
//!
//! A rate is a part of its campaign: whoever sets one holds the campaign's row.

use tributary_entity::{
    click_rate,
    ids::{CampaignId, ClickRateId},
    kinds::RuleStatus,
};

use super::{Outcome, ServiceError, Services, campaigns, idempotency};
use crate::{
    ambient,
    auth::Viewer,
    domain::{
        click_rate::{self as rules, NewRate, RATES_MAX, Rate},
        problem::{Problem, ProblemCode},
    },
    store::{affiliate_groups, affiliates, click_rates, scope::Tx},
};

/// Sets what clicks earn, from the next one on: the rate's first version, or one more.
///
/// # Errors
/// `NOT_FOUND` for campaign, affiliate or group; `INVALID_TRANSITION` when the campaign is archived; `OUT_OF_RANGE` past
/// [`RATES_MAX`] and for both an affiliate and a group; `IDEMPOTENCY_CONFLICT`.
pub async fn set(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    input: NewRate,
) -> Result<Outcome<Rate>, ServiceError> {
    let input = input.check()?;
    let new_id = ClickRateId::from_uuid(ambient::new_uuid());
    let mut tx = services.begin(viewer).await?;
    let campaign = campaigns::lock_open(&tx, &["campaignId"], input.campaign_id).await?;
    if let Some(id) = input.affiliate_id {
        affiliates::get(&tx, id).await?.ok_or_else(|| ServiceError::not_found(&["affiliateId"]))?;
    }
    if let Some(id) = input.group_id
        && affiliate_groups::get_many(&tx, &[id]).await?.is_empty()
    {
        return Err(ServiceError::not_found(&["groupId"]));
    }
    let before = click_rates::lock_of(&tx, campaign.id, input.affiliate_id, input.group_id).await?;
    let id = before.as_ref().map_or(new_id, |head| head.id);
    if idempotency::claim(services, &mut tx, viewer, key, "setClickRate", &input, id.uuid()).await?.is_some() {
        return Ok(Outcome::replayed(existing(&tx, id).await?));
    }
    let is_new = before.is_none();
    if is_new && click_rates::of_campaigns(&tx, &[campaign.id]).await?.len() >= RATES_MAX {
        let message = format!("a campaign has at most {RATES_MAX} click rates");
        return Err(Problem::new(ProblemCode::OutOfRange, &["campaignId"], message).into());
    }
    let now = services.now();
    let head = click_rate::Model {
        tenant_id: viewer.scope.tenant_id(),
        id,
        campaign_id: campaign.id,
        affiliate_id: input.affiliate_id,
        group_id: input.group_id,
        current_version: before.as_ref().map_or(1, |head| head.current_version + 1),
        status: RuleStatus::Active,
        created_at: before.as_ref().map_or(now, |head| head.created_at),
        updated_at: now,
    };
    if is_new {
        click_rates::insert(&mut tx, head.clone()).await?;
    } else {
        click_rates::update(&mut tx, head.clone()).await?;
    }
    let terms = input.version(head.tenant_id, &head, now);
    click_rates::insert_version(&mut tx, terms.clone()).await?;
    campaigns::touch(&mut tx, campaign, now).await?;
    services.commit(tx).await?;
    Ok(Outcome::done(Rate { head, terms }))
}

/// Ends a rate until it is set again. What has accrued is posted all the same.
///
/// # Errors
/// `NOT_FOUND`; `INVALID_TRANSITION`; `IDEMPOTENCY_CONFLICT`.
pub async fn archive(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    id: ClickRateId,
) -> Result<Outcome<Rate>, ServiceError> {
    let mut tx = services.begin(viewer).await?;
    if idempotency::claim(services, &mut tx, viewer, key, "archiveClickRate", &id, id.uuid()).await?.is_some() {
        return Ok(Outcome::replayed(existing(&tx, id).await?));
    }
    let campaign = campaigns::lock(&tx, &["id"], existing(&tx, id).await?.head.campaign_id).await?;
    let mut head = click_rates::lock(&tx, id).await?.ok_or_else(|| ServiceError::not_found(&["id"]))?;
    head.status = rules::transition(head.status, RuleStatus::Archived)?;
    head.updated_at = services.now();
    let now = head.updated_at;
    click_rates::update(&mut tx, head).await?;
    campaigns::touch(&mut tx, campaign, now).await?;
    let rate = existing(&tx, id).await?;
    services.commit(tx).await?;
    Ok(Outcome::done(rate))
}

async fn existing(tx: &Tx, id: ClickRateId) -> Result<Rate, ServiceError> {
    click_rates::get_many(tx, &[id]).await?.pop().ok_or_else(|| ServiceError::not_found(&["id"]))
}

/// The rates with these ids.
///
/// # Errors
/// As the database answers.
pub async fn get_many(services: &Services, viewer: &Viewer, ids: &[ClickRateId]) -> Result<Vec<Rate>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(click_rates::get_many(&tx, ids).await?)
}

/// The rates of campaigns, archived ones too, oldest first.
///
/// # Errors
/// As the database answers.
pub async fn of_campaigns(services: &Services, viewer: &Viewer, ids: &[CampaignId]) -> Result<Vec<Rate>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(click_rates::of_campaigns(&tx, ids).await?)
}
