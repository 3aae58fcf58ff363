//! Forgets what need not be kept: idempotency keys past their time, keys of address hashes past the fraud window.

use chrono::{Days, TimeDelta};

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
    let window = services.now().date_naive() - Days::new(services.settings.address_key_days);
    let mut deleted = 0;
    for scope in directory::tenants(&services.db).await? {
        deleted += idempotency::expire(services, &scope, before).await?;
        deleted += services.visitors.destroy_keys(&scope, window).await?;
    }
    Ok(deleted)
}
