//! Forgets what need not be kept: idempotency keys past their time, keys of address hashes past the fraud window, clicks
//! older than the settings want.

use chrono::{Days, TimeDelta};

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
    let window = services.now().date_naive() - Days::new(services.settings.address_key_days);
    let mut deleted = 0;
    let tenants = directory::tenants(&services.db).await?;
    for scope in &tenants {
        deleted += idempotency::expire(services, scope, before).await?;
        deleted += services.visitors.destroy_keys(scope, window).await?;
    }
    Ok(deleted + clicks::retain(services, &tenants).await?)
}
