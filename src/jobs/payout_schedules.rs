//! Drafts payout batches on the days that affiliates' terms say.

use crate::{
    services::{ServiceError, Services, payouts::schedules},
    store::directory,
};

/// Drafts what is due of every tenant. Answers how many batches.
///
/// # Errors
/// As the database answers.
pub async fn run(services: &Services) -> Result<u64, ServiceError> {
    let mut drafted = 0;
    for scope in &directory::tenants(&services.db).await? {
        drafted += schedules::run_due(services, scope).await?;
    }
    Ok(drafted)
}
