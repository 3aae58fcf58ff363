//! What the database plans by, as tables grow; of no tenant.

use super::{ServiceError, Services};
use crate::store::statistics;

/// Renews it where it is out of date. Answers for how many tables.
///
/// # Errors
/// As the database answers.
pub async fn renew(services: &Services) -> Result<u64, ServiceError> {
    Ok(statistics::renew(&services.db).await?)
}
