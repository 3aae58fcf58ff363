//! Forgets what need not be kept: idempotency keys and refused postbacks past their time.

use chrono::TimeDelta;

use crate::{
    services::{ServiceError, Services, idempotency, postbacks::refusals},
    store::directory,
};

/// Forgets for every tenant. Answers how many rows went.
///
/// # Errors
/// As the database answers.
pub async fn run(services: &Services) -> Result<u64, ServiceError> {
    let (now, settings) = (services.now(), &services.settings);
    let keys_before = now - TimeDelta::days(settings.idempotency_days);
    let calls_before = now - TimeDelta::days(settings.postback_call_days);
    let mut deleted = 0;
    for scope in directory::tenants(&services.db).await? {
        deleted += idempotency::expire(services, &scope, keys_before).await?;
        deleted += refusals::expire(services, &scope, calls_before).await?;
    }
    Ok(deleted)
}
