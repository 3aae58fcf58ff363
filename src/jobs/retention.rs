//! Forgets what need not be kept: idempotency keys past their time.

use chrono::TimeDelta;

use crate::{
    services::{ServiceError, Services, idempotency},
    store::directory,
};

/// Forgets for every tenant. Answers how many rows went.
///
/// # Errors
/// As the database answers.
pub async fn run(services: &Services) -> Result<u64, ServiceError> {
    let before = services.now() - TimeDelta::days(services.settings.idempotency_days);
    let mut deleted = 0;
    for scope in directory::tenants(&services.db).await? {
        deleted += idempotency::expire(services, &scope, before).await?;
    }
    Ok(deleted)
}
