//! Idempotency of the mutations that are one transaction each; ingest claims its keys in batches.

use serde::Serialize;
use tributary_entity::Instant;
use uuid::Uuid;

use super::{ServiceError, Services};
use crate::{
    auth::Viewer,
    domain::idempotency::Claim,
    store::{self, idempotency::Claimed, scope::Tx},
};

/// Claims a mutation's key, if it has one, for the object it will make or change. `Some` holds the object of the
/// earlier call: load that and answer it as replayed.
///
/// # Errors
/// `IDEMPOTENCY_CONFLICT`, a malformed key, or as the database answers.
pub async fn claim(
    services: &Services,
    tx: &mut Tx,
    viewer: &Viewer,
    key: Option<&str>,
    operation: &str,
    input: &(impl Serialize + Sync),
    result_id: Uuid,
) -> Result<Option<Uuid>, ServiceError> {
    let Some(claim) = Claim::new(&viewer.scope, key, operation, input)? else {
        return Ok(None);
    };
    match store::idempotency::claim(tx, &[(&claim, result_id)], services.now()).await?.first() {
        Some(Claimed::Replayed(id)) => Ok(Some(*id)),
        Some(Claimed::Conflict) => Err(Claim::conflict().into()),
        Some(Claimed::Fresh) | None => Ok(None),
    }
}

/// Deletes a tenant's keys older than the retention.
///
/// # Errors
/// As the database answers.
pub async fn expire(services: &Services, tx: &mut Tx, before: Instant) -> Result<u64, ServiceError> {
    let _ = services;
    Ok(store::idempotency::delete_before(tx, before).await?)
}
