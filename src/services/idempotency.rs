//! Idempotency of the mutations that are one transaction each; ingest claims its keys in batches.

use serde::Serialize;
use tributary_entity::Instant;
use uuid::Uuid;

use super::{ServiceError, Services};
use crate::{
    auth::Viewer,
    domain::{idempotency::Claim, tenancy::TenantScope},
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
    let claim = Claim::new(&viewer.scope, key, operation, input)?;
    take(services, tx, claim, result_id).await
}

/// As [`claim`], for a caller without a credential who calls itself `who`.
///
/// # Errors
/// As [`claim`].
pub async fn claim_public(
    services: &Services,
    tx: &mut Tx,
    who: &str,
    key: Option<&str>,
    operation: &str,
    input: &(impl Serialize + Sync),
    result_id: Uuid,
) -> Result<Option<Uuid>, ServiceError> {
    let claim = Claim::public(tx.scope(), who, key, operation, input)?;
    take(services, tx, claim, result_id).await
}

async fn take(
    services: &Services,
    tx: &mut Tx,
    claim: Option<Claim>,
    result_id: Uuid,
) -> Result<Option<Uuid>, ServiceError> {
    let Some(claim) = claim else {
        return Ok(None);
    };
    match store::idempotency::claim(tx, &[(&claim, result_id)], services.now()).await?.first() {
        Some(Claimed::Used(earlier)) => Ok(Some(earlier.result_of(&claim).ok_or_else(Claim::conflict)?)),
        Some(Claimed::Fresh) | None => Ok(None),
    }
}

/// Deletes a tenant's keys older than the retention. Answers how many.
///
/// # Errors
/// As the database answers.
pub async fn expire(services: &Services, scope: &TenantScope, before: Instant) -> Result<u64, ServiceError> {
    let mut tx = services.db.begin(scope).await?;
    let deleted = store::idempotency::delete_before(&mut tx, before).await?;
    tx.commit().await?;
    Ok(deleted)
}
