//! Forgets what need not be kept: idempotency keys past their time, clicks older than the settings want.

use chrono::TimeDelta;

use crate::{
    services::{ServiceError, Services, clicks, idempotency},
    store::directory,
};

/// Forgets for every tenant, and makes room for the next months' clicks. Answers how much was done.
///
/// # Errors
/// As the database answers.
pub async fn run(services: &Services) -> Result<u64, ServiceError> {
    let before = services.now() - TimeDelta::days(services.settings.idempotency_days);
    let mut deleted = 0;
    let tenants = directory::tenants(&services.db).await?;
    for scope in &tenants {
        deleted += idempotency::expire(services, scope, before).await?;
    }
    Ok(deleted + clicks::retain(services, &tenants).await?)
}
