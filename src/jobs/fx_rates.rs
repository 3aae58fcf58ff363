//! Fetches the feed of exchange rates.

use crate::{
    services::{self, ServiceError, Services},
    store::directory,
};

/// Fetches the feed, if the settings name one, for every tenant. Answers how many rates were added.
///
/// # Errors
/// As the database answers.
pub async fn feed(services: &Services) -> Result<u64, ServiceError> {
    if services.settings.fx_feed_url.is_none() {
        return Ok(0);
    }
    services::fx_rates::feed(services, &directory::tenants(&services.db).await?).await
}
