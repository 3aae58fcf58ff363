//! Keeps current what visitors are known by: keys of address hashes before they are needed, the country database.

use crate::{
    services::{ServiceError, Services},
    store::directory,
};

/// Makes and learns the keys of today and tomorrow of every tenant: when the day changes, no visitor has to wait, and
/// also while the database is away they are there. Answers 0; what could not be had is logged and tried again.
///
/// # Errors
/// As the database answers.
pub async fn prepare_keys(services: &Services) -> Result<u64, ServiceError> {
    let tenants = directory::tenants(&services.db).await?;
    services.visitors.prepare_all(&tenants).await;
    Ok(0)
}

/// Reads the country database again if its file has changed. Answers how many were read.
///
/// # Errors
/// When the runtime ends.
pub async fn reload_countries(services: &Services) -> Result<u64, ServiceError> {
    let visitors = services.visitors.clone();
    // Files are read where it may take a while.
    let reloaded = tokio::task::spawn_blocking(move || visitors.reload_countries()).await;
    reloaded.map_err(|_| ServiceError::Internal("the country database was not read"))
}
