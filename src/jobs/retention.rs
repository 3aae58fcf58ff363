//! Forgets what need not be kept: idempotency keys, refused postbacks and refused calls of processors past their time, keys
//! of address hashes past the fraud window, clicks older than the settings want.

use chrono::{Days, TimeDelta};

use crate::{
    services::{ServiceError, Services, clicks, idempotency, postbacks::refusals, processors::receive},
    store::directory,
};

/// Forgets for every tenant, and makes room for the next months' clicks. Answers how much was done.
///
/// # Errors
/// As the database answers.
pub async fn run(services: &Services) -> Result<u64, ServiceError> {
    let (now, settings) = (services.now(), &services.settings);
    let keys_before = now - TimeDelta::days(settings.idempotency_days);
    let calls_before = now - TimeDelta::days(settings.postback_call_days);
    let window = now.date_naive() - Days::new(settings.address_key_days);
    let mut deleted = 0;
    let tenants = directory::tenants(&services.db).await?;
    for scope in &tenants {
        deleted += idempotency::expire(services, scope, keys_before).await?;
        deleted += refusals::expire(services, scope, calls_before).await?;
        deleted += receive::expire(services, scope, calls_before).await?;
        deleted += services.visitors.destroy_keys(scope, window).await?;
    }
    Ok(deleted + clicks::retain(services, &tenants).await?)
}
