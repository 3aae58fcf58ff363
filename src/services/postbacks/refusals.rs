//! The refused calls of endpoints: listed for the tenant, so many in a minute, for some days.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use chrono::TimeDelta;
use tributary_entity::{Instant, ids::PostbackCallId, postback_call};
use uuid::Uuid;

use super::receive::{Call, Found, Refusal};
use crate::{
    ambient,
    auth::Viewer,
    domain::{
        page::{Page, PageRequest},
        postback::endpoint::CallFilter,
        tenancy::TenantScope,
    },
    services::{ServiceError, Services},
    store::{error::StoreError, postbacks},
};

/// Calls of one endpoint, or of a processor's address, that a node lists in a minute: whoever knows a token could fill the disk with the rest.
const PER_MINUTE: u32 = 100;
/// Endpoints remembered before those without anything to tell are let go.
const SWEEP_AT: usize = 10_000;

/// How many calls this node has listed lately; cheap to clone.
#[derive(Clone, Default)]
pub struct Refusals(Arc<Mutex<HashMap<Uuid, Minute>>>);

struct Minute {
    began: Instant,
    listed: u32,
    /// Since the last that was listed.
    unlisted: i64,
}

impl Refusals {
    /// Whether another call may be listed: then how many before it were not.
    pub(in crate::services) fn take(&self, id: Uuid, now: Instant) -> Option<i64> {
        let mut minutes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |minute: &Minute| now - minute.began >= TimeDelta::minutes(1);
        if minutes.len() >= SWEEP_AT {
            minutes.retain(|_, minute| !is_over(minute) || minute.unlisted > 0);
        }
        let minute = minutes.entry(id).or_insert(Minute { began: now, listed: 0, unlisted: 0 });
        if is_over(minute) {
            (minute.began, minute.listed) = (now, 0);
        }
        if minute.listed >= PER_MINUTE {
            minute.unlisted += 1;
            return None;
        }
        minute.listed += 1;
        Some(std::mem::take(&mut minute.unlisted))
    }
}

/// Lists a refused call. Its answer neither waits for another try nor fails with this one.
pub(super) async fn list(services: &Services, found: &Found, call: &Call, refusal: &Refusal) {
    let now = services.now();
    let Some(unlisted_before) = services.refusals.take(found.endpoint.id.uuid(), now) else { return };
    let row = postback_call::Model {
        tenant_id: found.scope.tenant_id(),
        id: PostbackCallId::from_uuid(ambient::new_uuid()),
        endpoint_id: found.endpoint.id,
        received_at: now,
        method: call.method.to_owned(),
        parameters: serde_json::to_string(&call.parameters.shown()).expect("texts serialize"),
        http_status: i32::from(refusal.status),
        code: refusal.code.clone(),
        message: refusal.message.clone(),
        conversion_id: refusal.recorded.as_ref().map(|receipt| receipt.conversion_id),
        unlisted_before,
    };
    if let Err(error) = insert(services, &found.scope, row).await {
        tracing::warn!(%error, postback.endpoint = %found.endpoint.id, "a refused postback was not listed");
    }
}

async fn insert(services: &Services, scope: &TenantScope, row: postback_call::Model) -> Result<(), StoreError> {
    let mut tx = services.db.begin(scope).await?;
    postbacks::insert_call(&mut tx, row).await?;
    tx.commit().await.map(drop)
}

/// A page of refused calls.
///
/// # Errors
/// As the database answers.
pub async fn page(
    services: &Services,
    viewer: &Viewer,
    filter: &CallFilter,
    request: &PageRequest,
) -> Result<Page<postback_call::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(postbacks::calls(&tx, filter, request).await?)
}

/// How many refused calls a list has.
///
/// # Errors
/// As the database answers.
pub async fn count(services: &Services, viewer: &Viewer, filter: &CallFilter) -> Result<i64, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(postbacks::count_calls(&tx, filter).await?)
}

/// Forgets a tenant's calls that were received before. Answers how many.
///
/// # Errors
/// As the database answers.
pub async fn expire(services: &Services, scope: &TenantScope, before: Instant) -> Result<u64, ServiceError> {
    let mut tx = services.db.begin(scope).await?;
    let deleted = postbacks::delete_calls_before(&mut tx, before).await?;
    tx.commit().await?;
    Ok(deleted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minute_lists_so_many_and_the_next_tells_of_the_rest() {
        let at = |secs: i64| Instant::from_timestamp(1_800_000_000 + secs, 0).expect("in range");
        let [one, other] = [1, 2].map(Uuid::from_u128);
        let refusals = Refusals::default();
        for _ in 0..PER_MINUTE {
            assert_eq!(refusals.take(one, at(0)), Some(0));
        }
        assert_eq!((refusals.take(one, at(1)), refusals.take(one, at(59))), (None, None));
        assert_eq!(refusals.take(other, at(59)), Some(0));
        assert_eq!((refusals.take(one, at(60)), refusals.take(one, at(60))), (Some(2), Some(0)));
    }
}
