//! The tree of affiliates: who is put under whom.

use tributary_entity::{affiliate, affiliate_parent, ids::AffiliateId};

use super::{Outcome, ServiceError, Services, affiliates as noun, idempotency};
use crate::{
    auth::Viewer,
    store::{affiliate_parents, affiliates, scope::Tx, tenants},
};

/// Puts an affiliate under another one, or under none. What was earned stays with whom it was earned by.
///
/// # Errors
/// `NOT_FOUND` for either; `INVALID_TRANSITION` when the parent is the affiliate itself or below it; `OUT_OF_RANGE` when
/// somebody would have too many others above; `IDEMPOTENCY_CONFLICT`.
pub async fn set(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    id: AffiliateId,
    parent_id: Option<AffiliateId>,
) -> Result<Outcome<affiliate::Model>, ServiceError> {
    let mut tx = services.begin(viewer).await?;
    // Trees change one after the other: two changes, each good by itself, may be a cycle together. Before the key is
    // claimed: two calls that hold the tenant's row for their keys would wait for each other here.
    tenants::lock(&tx).await?;
    let input = (id, parent_id);
    let claimed = idempotency::claim(services, &mut tx, viewer, key, "setAffiliateParent", &input, id.uuid()).await?;
    if claimed.is_some() {
        return Ok(Outcome::replayed(existing(&tx, &["id"], id).await?));
    }
    let row = affiliates::lock(&tx, id).await?.ok_or_else(|| ServiceError::not_found(&["id"]))?;
    if let Some(parent_id) = parent_id {
        existing(&tx, &["parentId"], parent_id).await?;
        affiliate_parents::placement(&tx, id, parent_id).await?.check()?;
    }
    let now = services.now();
    affiliate_parents::set(&mut tx, id, parent_id, now).await?;
    noun::save(services, tx, affiliate::Model { updated_at: now, ..row }).await
}

async fn existing(tx: &Tx, field: &[&str], id: AffiliateId) -> Result<affiliate::Model, ServiceError> {
    affiliates::get(tx, id).await?.ok_or_else(|| ServiceError::not_found(field))
}

/// The parents of those of the affiliates that the viewer may see and that have one.
///
/// # Errors
/// As the database answers.
pub async fn of(
    services: &Services,
    viewer: &Viewer,
    ids: &[AffiliateId],
) -> Result<Vec<affiliate_parent::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(affiliate_parents::of(&tx, ids).await?)
}
